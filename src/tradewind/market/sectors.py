"""The eleven GICS sectors, and what is typical of each: before any data is seen, and as fitted (row A2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from tradewind.errors import DataError
from tradewind.market.panel import Panel
from tradewind.market.tables import column_of, read_table
from tradewind.settings import Section

if TYPE_CHECKING:
    from tradewind.market.store.records import SectorFitRecord

FloatArray = NDArray[np.float64]

#: The GICS sectors by their official names; data that says anything else is ``unknown``.
SECTORS: Final = (
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
)
UNKNOWN: Final = "unknown"

_ALIASES: Final[Mapping[str, str]] = {
    "basic materials": "Materials",
    "communication": "Communication Services",
    "communications": "Communication Services",
    "consumer cyclical": "Consumer Discretionary",
    "consumer defensive": "Consumer Staples",
    "finance": "Financials",
    "financial": "Financials",
    "financial services": "Financials",
    "healthcare": "Health Care",
    "technology": "Information Technology",
    "telecommunication services": "Communication Services",
    "telecommunications": "Communication Services",
    "telecommunications services": "Communication Services",
}


class SectorProfile(Section):
    """What is typical of a sector: a prior, which ``tradewind sectors fit`` replaces by an estimate."""

    daily_volatility_pct: float = Field(gt=0, description="typical standard deviation of daily returns, %")
    daily_volume_shares: float = Field(gt=0, description="typical shares traded a day")
    sentiment_weight: float = Field(ge=0, description="multiplies the sentiment conditions of the rules")
    news_per_week: float = Field(ge=0, description="typical number of articles a week")
    rsi: float = Field(ge=0, le=100, description="typical RSI(14)")
    beta: float = Field(description="typical slope against the market")


def _profile(vol: float, millions: float, weight: float, news: float, rsi: float, beta: float) -> SectorProfile:
    return SectorProfile(
        daily_volatility_pct=vol,
        daily_volume_shares=millions * 1e6,
        sentiment_weight=weight,
        news_per_week=news,
        rsi=rsi,
        beta=beta,
    )


_OTHER = _profile(2.0, 10, 1.0, 30, 50, 1.0)

#: The baselines of row A2. Sectors it does not name have the profile of "any other".
BASELINES: Final[Mapping[str, SectorProfile]] = {
    **dict.fromkeys((*SECTORS, UNKNOWN), _OTHER),
    "Information Technology": _profile(2.5, 25, 1.5, 50, 55, 1.3),
    "Financials": _profile(1.8, 15, 1.2, 30, 50, 1.1),
    "Health Care": _profile(2.0, 8, 1.8, 40, 52, 0.9),
    "Consumer Discretionary": _profile(2.2, 12, 1.3, 35, 53, 1.2),
    "Consumer Staples": _profile(1.2, 10, 0.8, 20, 50, 0.7),
    "Communication Services": _profile(2.3, 18, 1.4, 45, 52, 1.1),
}


def official(name: str | None) -> str:
    """Return the GICS name of a sector however providers spell it, or ``unknown``."""
    plain = (name or "").strip().lower()
    by_name = {sector.lower(): sector for sector in SECTORS}
    return by_name.get(plain) or _ALIASES.get(plain, UNKNOWN)


def read_sectors(path: Path) -> dict[str, str]:
    """Read symbol -> GICS sector from a table with such columns; raises ``DataError`` without them."""
    table = read_table(path)
    symbol = column_of(table, ("symbol", "ticker"))
    sector = column_of(table, ("gics sector", "sector", "gics_sector"))
    if symbol is None or sector is None:
        raise DataError(f"{path} lacks a symbol or a sector column; it has {', '.join(table.columns)}")
    pairs = table.select(pl.col(symbol).cast(pl.String), pl.col(sector).cast(pl.String)).drop_nulls(symbol)
    return {name: official(kind) for name, kind in pairs.iter_rows()}


@dataclass(frozen=True)
class SectorFit:
    """What stored bars say is typical of one sector.

    Attributes
    ----------
    profile
        The estimate where there is one, the prior elsewhere.
    symbols
        How many symbols it rests on; 0: the profile is the prior.
    estimated
        Names of the numbers that were estimated. News is not stored, so its two numbers are always the prior's.
    bars
        How many daily returns it rests on.
    share_of_bars
        Part of all daily returns of the fit.
    """

    sector: str
    profile: SectorProfile
    symbols: int
    estimated: tuple[str, ...]
    bars: int = 0
    share_of_bars: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fit for the records, without the sector's name."""
        return {
            "profile": self.profile.model_dump(),
            "symbols": self.symbols,
            "estimated": list(self.estimated),
            "bars": self.bars,
            "share_of_bars": round(self.share_of_bars, 6),
        }


@dataclass(frozen=True)
class Baseline:
    """What is believed to be typical of a sector at a moment: the newest estimate known then, else the prior.

    Attributes
    ----------
    profile
        The numbers believed; those that could not be estimated are the prior's.
    estimated
        Names of the numbers that were estimated; empty for a prior.
    as_of
        The last bar that the estimate rests on; None for a prior.
    symbols, share_of_bars
        How many symbols and what part of the fit's daily returns it rests on.
    """

    sector: str
    profile: SectorProfile
    estimated: tuple[str, ...] = ()
    as_of: datetime | None = None
    symbols: int = 0
    share_of_bars: float = 0.0

    @property
    def basis(self) -> str:
        """Where the numbers come from, in words."""
        if self.as_of is None:
            return "prior"
        return f"fitted on {self.symbols} symbol{'s' * (self.symbols > 1)} up to {self.as_of:%Y-%m-%d}"


def believed(fits: Iterable[SectorFitRecord] = (), moment: datetime | None = None) -> dict[str, Baseline]:
    """Return what is believed of every sector at a moment, sectors in the usual order.

    Parameters
    ----------
    fits
        Stored fits of one lake, by the last bar they rest on.
    moment
        Fits that rest on later bars are not known yet; None: all are.
    """
    found = {name: Baseline(name, BASELINES[name]) for name in (*SECTORS, UNKNOWN)}
    for fit in fits:
        if moment is None or fit.as_of <= moment:
            rows = {name: row for name, row in fit.sectors.items() if name in found and row["estimated"]}
            found |= {name: _stored(name, row, fit.as_of) for name, row in rows.items()}
    return found


def _stored(sector: str, row: Mapping[str, Any], as_of: datetime) -> Baseline:
    profile = SectorProfile.model_validate(row["profile"])
    return Baseline(sector, profile, tuple(row["estimated"]), as_of, row["symbols"], row["share_of_bars"])


def fit_profiles(panel: Panel, rsi: FloatArray, *, least_bars: int = 60) -> tuple[SectorFit, ...]:
    """Estimate the baselines of every sector from a panel of daily bars (row A2), sectors in the usual order.

    Each symbol with at least ``least_bars`` returns gives one number; the sector's is their median, so that no single
    name decides. Beta is the least-squares slope against the benchmark index where the panel has one, else against
    the mean of all symbols.

    Parameters
    ----------
    rsi
        RSI(14) of the same bars, ``(T, N)``; NaN is missing.
    """
    if panel.timeframe != "1d":
        raise DataError(f"the panel has {panel.timeframe} bars", hint="sector baselines are of daily bars")
    by_symbol = _typical(panel, rsi)
    bars = np.isfinite(_returns(panel)).sum(axis=0)
    enough = bars >= least_bars
    if not enough.any():
        raise DataError(f"no symbol has {least_bars} daily returns", hint="sync more history first")
    sectors, bars = np.array(panel.sectors), np.where(enough, bars, 0)
    return tuple(_fit(name, by_symbol, enough & (sectors == name), bars) for name in (*SECTORS, UNKNOWN))


def _fit(
    sector: str, by_symbol: Mapping[str, FloatArray], columns: NDArray[np.bool_], bars: NDArray[np.int64]
) -> SectorFit:
    prior = BASELINES[sector]
    known = {name: values[columns] for name, values in by_symbol.items()}
    found = {name: float(np.nanmedian(v)) for name, v in known.items() if np.isfinite(v).any()}
    profile = SectorProfile.model_validate({**prior.model_dump(), **found})
    own = int(bars[columns].sum())
    return SectorFit(sector, profile, int(columns.sum()), tuple(found), own, own / int(bars.sum()))


def recent(panel: Panel, column: int, bars: int = 60) -> dict[str, float | None]:
    """Return a symbol's own volatility (%) and shares a day over its last bars, as the baselines count them.

    None where it has less than half of these bars.
    """
    returns = _returns(panel)[-bars:, column]
    shares = np.where(panel.mask, panel.volume, np.nan)[-bars:, column]
    known, traded = returns[np.isfinite(returns)], shares[np.isfinite(shares)]
    return {
        "daily_volatility_pct": 100 * float(known.std()) if 2 * known.size >= bars else None,
        "daily_volume_shares": float(np.median(traded)) if 2 * traded.size >= bars else None,
    }


def _typical(panel: Panel, rsi: FloatArray) -> dict[str, FloatArray]:
    """Return the numbers of each symbol, ``(N,)``; NaN where a symbol has none."""
    returns = _returns(panel)
    deviation = _over_bars(returns, np.nanstd)
    return {
        "daily_volatility_pct": np.where(deviation > 0, 100 * deviation, np.nan),
        "daily_volume_shares": _positive(_over_bars(panel.volume, np.nanmedian)),
        "rsi": _over_bars(rsi, np.nanmean),
        "beta": _slopes(returns, _market(panel, returns)),
    }


def _returns(panel: Panel) -> FloatArray:
    """Return log returns since the bar before, ``(T - 1, N)``; NaN where either bar is missing."""
    price = np.where(panel.mask, panel.adjusted("close"), np.nan)
    return np.asarray(np.diff(np.log(np.where(price > 0, price, np.nan)), axis=0))


def _market(panel: Panel, returns: FloatArray) -> FloatArray:
    index = panel.context.get("index")
    if index is not None and np.isfinite(index).any():
        return np.asarray(np.diff(np.log(np.where(index > 0, index, np.nan))))
    known = np.isfinite(returns)
    total, count = np.where(known, returns, 0.0).sum(axis=1), known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _slopes(returns: FloatArray, market: FloatArray) -> FloatArray:
    """Return each column's least-squares slope on the market over the bars that both have."""
    both = np.isfinite(returns) & np.isfinite(market)[:, None]
    count = np.maximum(both.sum(axis=0), 1)
    x, y = np.where(both, market[:, None], 0.0), np.where(both, returns, 0.0)
    spread = (x**2).sum(axis=0) - x.sum(axis=0) ** 2 / count
    together = (x * y).sum(axis=0) - x.sum(axis=0) * y.sum(axis=0) / count
    return np.divide(together, spread, out=np.full(returns.shape[1], np.nan), where=spread > 1e-12)


def _over_bars(values: FloatArray, statistic: Callable[[FloatArray], float]) -> FloatArray:
    columns = [column[np.isfinite(column)] for column in np.asarray(values, dtype=np.float64).T]
    return np.array([float(statistic(column)) if column.size else np.nan for column in columns])


def _positive(values: FloatArray) -> FloatArray:
    return np.where(values > 0, values, np.nan)
