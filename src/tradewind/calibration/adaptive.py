"""Panel-wide adaptive conformal calibration: a fold with feedback delayed by the horizon.

Two layers, both multiplying the distance of each quantile from the forecast's own median (so the score is
normalised by the forecast's own width, as in conformalised quantile regression with scaling):

*memory*
    One slow tracker per horizon and level: stochastic approximation of the factor at which that level would have
    been exceeded exactly as often as it promises, from the panel's mean per *date* (names move together, so a date
    is one observation), plus a shrunk factor per symbol. It learns what is permanently wrong.
*control*
    The coverage still owed: the sum over dates of (missed - promised), pending forecasts counted with
    the misses now expected given the path so far. The width is raised in proportion, so the average coverage over
    any long stretch is what was promised whatever the market does (adaptive conformal inference, Gibbs & Candès
    2021, in its integral form: Angelopoulos, Candès & Tibshirani 2023), and it is repaid where it costs least
    pinball loss: when the forecasts are narrower than usual for the name.

The outcome of a forecast made at bar ``t`` for horizon ``h`` is used at bar ``t + h``, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.coverage import CoverageReport, coverage_report, interval_levels
from tradewind.calibration.kernel import advance
from tradewind.calibration.settings import CalibrationSection
from tradewind.errors import InputError
from tradewind.labels.targets import Labels
from tradewind.models.forecast import Forecast

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive bars of forecasts, and of outcomes that became known at those bars.

    Attributes
    ----------
    quantiles
        ``(B, N, H, Q)`` made at each bar, never crossing, NaN for "no forecast".
    outcomes
        ``(B, N, H)``: at bar ``t`` the log return from ``t - h`` to ``t``, NaN where unknown. Not the label of
        bar ``t``: what it resolves.
    """

    quantiles: FloatArray
    outcomes: FloatArray


@dataclass(frozen=True, eq=False)
class CalibratorState:
    """All that the calibrator remembers between bars.

    Attributes
    ----------
    bars
        Bars seen.
    level
        ``(H, Q)`` log width factor of each level; the median's entry is its shift in forecast deviations.
    symbol
        ``(N, H)`` log width factor of each symbol against the pool.
    owed
        ``(H,)`` sum over resolved dates of missed less promised share.
    dates
        ``(H,)`` dates resolved so far.
    usual
        ``(N, H)`` slow average of the log width of the forecasts.
    learnt, issued
        Rings over the last ``max(horizons)`` bars of the memory layer's quantiles ``(L, H, N, Q)`` and of the
        steered interval as it was issued ``(L, H, N, 2)``.
    path, path_ring
        ``(N,)`` and ``(L, N)`` cumulated one-bar log returns, for what pending forecasts have seen so far.
    """

    bars: int
    level: FloatArray
    symbol: FloatArray
    owed: FloatArray
    dates: NDArray[np.int64]
    usual: FloatArray
    learnt: FloatArray
    issued: FloatArray
    path: FloatArray
    path_ring: FloatArray

    def copy(self) -> CalibratorState:
        """Return a state that shares nothing with this one."""
        return replace(self, **{name: getattr(self, name).copy() for name in _ARRAYS})


_ARRAYS = ("level", "symbol", "owed", "dates", "usual", "learnt", "issued", "path", "path_ring")


class ConformalCalibrator:
    """The fold ``step(state, block) -> (state, calibrated quantiles)``. Splitting a block changes no bit.

    Parameters
    ----------
    settings
        Steps and limits.
    horizons
        Horizons in bars, ``H``. Where 1 is among them its outcomes also tell what pending forecasts have seen.
    levels
        ``Q`` rising levels with the median and at least one mirrored pair.
    """

    def __init__(self, settings: CalibrationSection, horizons: Sequence[int], levels: Sequence[float]) -> None:
        self.settings = settings
        self.horizons = tuple(int(h) for h in horizons)
        self.levels = tuple(float(p) for p in levels)
        if 0.5 not in self.levels:
            raise InputError(f"calibration needs the median among the levels {self.levels}")
        self._pair = interval_levels(self.levels, settings.coverage)
        self._constants = _constants(settings, self.horizons, self.levels)

    def initial_state(self, n_symbols: int) -> CalibratorState:
        """Return the state before the first bar: forecasts are taken at their word."""
        count, width, ring = len(self.horizons), len(self.levels), max(self.horizons)
        return CalibratorState(
            bars=0,
            level=np.zeros((count, width)),
            symbol=np.zeros((n_symbols, count)),
            owed=np.zeros(count),
            dates=np.zeros(count, dtype=np.int64),
            usual=np.full((n_symbols, count), np.nan),
            learnt=np.full((ring, count, n_symbols, width), np.nan),
            issued=np.full((ring, count, n_symbols, 2), np.nan),
            path=np.zeros(n_symbols),
            path_ring=np.full((ring, n_symbols), np.nan),
        )

    def step(self, state: CalibratorState, block: Block) -> tuple[CalibratorState, FloatArray]:
        """Advance over a block; return the new state and the calibrated quantiles ``(B, N, H, Q)``.

        At each bar the outcomes that became known are learnt from first, then the bar's forecasts are adjusted.
        """
        self._check(state, block)
        after = state.copy()
        quantiles = np.ascontiguousarray(block.quantiles, dtype=np.float64)
        outcomes = np.ascontiguousarray(block.outcomes, dtype=np.float64)
        adjusted = np.full_like(quantiles, np.nan)
        arrays = tuple(getattr(after, name) for name in _ARRAYS)
        advance(state.bars, quantiles, outcomes, adjusted, self._pair, *arrays, *self._constants)
        return replace(after, bars=state.bars + len(quantiles)), adjusted

    def _check(self, state: CalibratorState, block: Block) -> None:
        expected = (len(block.quantiles), len(state.path), len(self.horizons), len(self.levels))
        if block.quantiles.shape != expected or block.outcomes.shape != expected[:3]:
            raise InputError(
                f"block has quantiles {block.quantiles.shape} and outcomes {block.outcomes.shape}, "
                f"the calibrator expects {expected} and {expected[:3]}"
            )


def calibrate(
    forecast: Forecast, labels: Labels, settings: CalibrationSection, first_row: int = 0
) -> tuple[Forecast, CoverageReport]:
    """Return the forecast calibrated bar by bar over history, and the coverage that it realised.

    Parameters
    ----------
    forecast
        Out-of-sample forecasts; every bar is calibrated with what was known at its close.
    labels
        Outcomes, for the same symbols; every forecast horizon must be among the labels'.
    settings
        ``method = "none"`` gives the forecast back unchanged, with its coverage.
    first_row
        Row of the labels at which the forecast's time axis begins.
    """
    outcomes = _outcomes(forecast, labels, first_row)
    if settings.method == "none":
        return forecast, coverage_report(forecast, outcomes, settings.coverage)
    if settings.method != "adaptive":
        raise InputError(
            f"the calibration {settings.method!r} needs the training rows of each fold, not the forecasts alone",
            hint="use tradewind.calibration.blocked.conformal",
        )
    calibrator = ConformalCalibrator(settings, forecast.horizons, forecast.levels)
    block = Block(forecast.quantiles, became_known(outcomes, forecast.horizons))
    _, quantiles = calibrator.step(calibrator.initial_state(len(forecast.symbols)), block)
    calibrated = replace(forecast, quantiles=quantiles)
    return calibrated, coverage_report(calibrated, outcomes, settings.coverage)


def became_known(outcomes: FloatArray, horizons: Sequence[int]) -> FloatArray:
    """Return outcomes moved from the bar that they are about to the bar at which they are known, ``t + h``."""
    known = np.full_like(outcomes, np.nan)
    for index, h in enumerate(horizons):
        known[h:, :, index] = outcomes[:-h, :, index]
    return known


def _outcomes(forecast: Forecast, labels: Labels, first_row: int) -> FloatArray:
    missing = [h for h in forecast.horizons if h not in labels.horizons]
    if missing:
        raise InputError(f"forecast horizons {missing} are not labelled; labels have {labels.horizons}")
    rows = slice(first_row, first_row + len(forecast.times))
    part = labels.returns[rows][:, :, [labels.horizons.index(h) for h in forecast.horizons]]
    if part.shape != forecast.score.shape:
        raise InputError(
            f"labels from row {first_row} have shape {part.shape}, the forecast has {forecast.score.shape}"
        )
    return part


def _constants(
    settings: CalibrationSection, horizons: Sequence[int], levels: Sequence[float]
) -> tuple[NDArray[Any], ...]:
    """Return what the kernel needs: horizons, control steps, levels, mirrors, scores, gains and the settings."""
    from scipy import special

    h, p = np.asarray(horizons, dtype=np.int64), np.asarray(levels)
    score = special.ndtri(p)
    gain = np.abs(score) * np.exp(-0.5 * score**2) / np.sqrt(2.0 * np.pi)
    mirror = np.array([_mirror(p, i) for i in range(len(p))], dtype=np.int64)
    step = settings.control_step / np.sqrt(h)
    options = np.array(
        [
            settings.control_limit,
            settings.memory_step,
            settings.skew_step,
            settings.symbol_step,
            settings.symbol_limit,
        ]
    )
    return h, step, p, mirror, score, gain, options


def _mirror(levels: FloatArray, index: int) -> int:
    """Return the index of the level ``1 - p``, or the level's own index where there is none."""
    found = np.flatnonzero(np.isclose(levels, 1.0 - levels[index], rtol=0.0, atol=1e-9))
    return int(found[0]) if found.size else index
