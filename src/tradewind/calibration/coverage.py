"""What forecasts promised and what they kept: coverage over time, by year and symbol, reliability and PIT."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.models.forecast import Forecast
from tradewind.stats import distribution

FloatArray = NDArray[np.float64]

ROLLING_DATES = 100


@dataclass(frozen=True, eq=False)
class HorizonCoverage:
    """How one horizon's central interval did.

    Attributes
    ----------
    horizon, nominal
        Bars ahead; what the interval promised.
    realised, n
        Share of the outcomes inside and their number, all symbols and dates alike.
    by_date
        ``(T,)`` share of that date's symbols inside, NaN on dates without an outcome.
    by_year, by_symbol
        Realised coverage of each calendar year and of each symbol.
    by_volatility
        Realised coverage of the dates whose forecasts were narrow for what had been forecast before (``calm``), wide
        (``wild``) or neither (``usual``); the first 60 dates are in none.
    rolling_deviation, worst_rolling_deviation
        Mean and largest distance between nominal and the mean of ``by_date`` over 100 consecutive dates with an
        outcome; NaN with fewer.
    reliability
        ``(level, share of outcomes at or below that quantile)`` for every level.
    """

    horizon: int
    nominal: float
    realised: float
    n: int
    by_date: FloatArray
    by_year: Mapping[int, float]
    by_symbol: Mapping[str, float]
    by_volatility: Mapping[str, float]
    rolling_deviation: float
    worst_rolling_deviation: float
    reliability: tuple[tuple[float, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form; undefined figures are None."""
        return {
            "nominal": self.nominal,
            "realised": _number(self.realised),
            "n": self.n,
            "by_year": {str(year): _number(value) for year, value in self.by_year.items()},
            "by_volatility": {name: _number(value) for name, value in self.by_volatility.items()},
            "rolling_100_deviation": _number(self.rolling_deviation),
            "rolling_100_worst": _number(self.worst_rolling_deviation),
            "reliability": [{"level": level, "realised": _number(share)} for level, share in self.reliability],
        }


@dataclass(frozen=True, eq=False)
class CoverageReport:
    """Coverage of every horizon's central interval, in the order of the forecast's horizons."""

    horizons: tuple[HorizonCoverage, ...]

    def __getitem__(self, horizon: int) -> HorizonCoverage:
        """Return the coverage of one horizon in bars."""
        for entry in self.horizons:
            if entry.horizon == horizon:
                return entry
        raise InputError(f"no horizon of {horizon} bars here", hint=f"there are {[h.horizon for h in self.horizons]}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form, by horizon."""
        return {str(entry.horizon): entry.to_dict() for entry in self.horizons}


def coverage_report(forecast: Forecast, outcomes: FloatArray, coverage: float = 0.8) -> CoverageReport:
    """Return what the central interval nearest to ``coverage`` kept.

    Parameters
    ----------
    forecast
        Quantiles ``(T, N, H, Q)``.
    outcomes
        ``(T, N, H)`` realised log returns of the same rows, NaN where unresolved.
    """
    low, high = interval_levels(forecast.levels, coverage)
    years = forecast.times.astype("datetime64[Y]").astype(np.int64) + 1970
    return CoverageReport(
        tuple(
            _horizon(forecast, outcomes[:, :, index], index, (low, high), years)
            for index in range(len(forecast.horizons))
        )
    )


def interval_levels(levels: Sequence[float], coverage: float) -> tuple[int, int]:
    """Return the indices of the mirrored pair of levels whose nominal coverage is nearest to the wanted one."""
    pairs = mirrored_pairs(levels)
    if not pairs:
        raise InputError(f"no central interval in the levels {tuple(levels)}", hint="forecast p and 1 - p for some p")
    return min(pairs, key=lambda pair: abs(levels[pair[1]] - levels[pair[0]] - coverage))


def mirrored_pairs(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Return index pairs ``(p, 1 - p)`` with ``p`` below one half, outermost first."""
    return [
        (low, high)
        for low, p in enumerate(levels)
        for high, q in enumerate(levels)
        if p < 0.5 and math.isclose(p + q, 1.0, abs_tol=1e-9)
    ]


def inside(quantiles: FloatArray, outcomes: FloatArray, pair: tuple[int, int]) -> FloatArray:
    """Return 1 where the outcome lies in the closed interval, 0 where not, NaN where either is missing."""
    low, high = quantiles[..., pair[0]], quantiles[..., pair[1]]
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(outcomes)
    with np.errstate(invalid="ignore"):
        return np.where(known, (outcomes >= low) & (outcomes <= high), np.nan)


def coverage_by_date(hit: FloatArray) -> FloatArray:
    """Return the share of each date's symbols that were inside, ``(T,)``, NaN on dates without an outcome."""
    return _means(hit, axis=1)


def rolling_deviation(by_date: FloatArray, nominal: float, dates: int = ROLLING_DATES) -> FloatArray:
    """Return the distance between nominal and the mean over each run of ``dates`` dates with an outcome."""
    known = by_date[np.isfinite(by_date)]
    if len(known) < dates:
        return np.empty(0)
    summed = np.concatenate(([0.0], np.cumsum(known)))
    return np.asarray(np.abs((summed[dates:] - summed[:-dates]) / dates - nominal))


def volatility_rank(width: FloatArray, warm_up: int = 60) -> FloatArray:
    """Return which share of the dates before had a smaller average log width, ``(T,)``.

    Known at each date: only widths ``(T, N)`` forecast by then are compared. NaN on the first ``warm_up`` dates and
    where nothing was forecast.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        level = _means(np.where(width > 0, np.log(width), np.nan), axis=1)
    place, seen = np.full(len(level), np.nan), list[float]()
    for t, value in enumerate(level):
        if math.isfinite(value):
            if len(seen) >= warm_up:
                place[t] = bisect.bisect_left(seen, value) / len(seen)
            bisect.insort(seen, value)
    return place


def reliability_table(quantiles: FloatArray, outcomes: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return, for every level, the share of outcomes at or below its quantile, ``(Q,)``."""
    known = np.isfinite(quantiles).all(axis=-1) & np.isfinite(outcomes)
    if not known.any():
        return np.full(len(levels), np.nan)
    return np.asarray((outcomes[known][:, None] <= quantiles[known]).mean(axis=0))


def pit_histogram(
    forecast: Forecast, outcomes: FloatArray, index: int, bins: int = 20
) -> tuple[FloatArray, FloatArray]:
    """Return the share of outcomes in each of ``bins`` equal slices of the forecast's probability, and the edges.

    Flat at ``1 / bins`` where the distributions are calibrated; a U says too narrow, a hump too wide.
    """
    values = distribution.pit(
        forecast.quantiles[:, :, index], outcomes[:, :, index], distribution.grid(forecast.levels)
    )
    known = values[np.isfinite(values)]
    count, edges = np.histogram(known, bins=bins, range=(0.0, 1.0))
    return count / max(known.size, 1), edges


def _horizon(
    forecast: Forecast, outcomes: FloatArray, index: int, pair: tuple[int, int], years: NDArray[np.int64]
) -> HorizonCoverage:
    quantiles, levels = forecast.quantiles[:, :, index], forecast.levels
    hit = inside(quantiles, outcomes, pair)
    nominal = float(levels[pair[1]] - levels[pair[0]])
    by_date, by_symbol = coverage_by_date(hit), _means(hit, axis=0)
    rolling = rolling_deviation(by_date, nominal)
    place = volatility_rank(quantiles[..., pair[1]] - quantiles[..., pair[0]])
    terciles = {"calm": place < 1 / 3, "usual": (place >= 1 / 3) & (place <= 2 / 3), "wild": place > 2 / 3}
    realised = reliability_table(quantiles, outcomes, levels)
    return HorizonCoverage(
        horizon=forecast.horizons[index],
        nominal=round(nominal, 12),
        realised=_mean(hit),
        n=int(np.isfinite(hit).sum()),
        by_date=by_date,
        by_year={int(year): _mean(hit[years == year]) for year in np.unique(years) if _any(hit[years == year])},
        by_symbol={s: float(v) for s, v in zip(forecast.symbols, by_symbol, strict=True) if math.isfinite(v)},
        by_volatility={name: _mean(hit[dates]) for name, dates in terciles.items() if _any(hit[dates])},
        rolling_deviation=_mean(rolling),
        worst_rolling_deviation=float(rolling.max()) if rolling.size else math.nan,
        reliability=tuple((float(level), float(share)) for level, share in zip(levels, realised, strict=True)),
    )


def _any(values: FloatArray) -> bool:
    return bool(np.isfinite(values).any())


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _means(values: FloatArray, axis: int) -> FloatArray:
    count = np.isfinite(values).sum(axis=axis)
    return np.where(count > 0, np.nansum(values, axis=axis) / np.maximum(count, 1), np.nan)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
