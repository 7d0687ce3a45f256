"""Whether forecasts still keep their word: what their outcomes say, against the validation period.

Every figure is one a bar, the mean over the symbols (which move together) and horizons whose outcome came with it, and
a band is what the mean over so many bars can be by chance in a whole life, outcomes that overlap included.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.coverage import inside, interval_levels
from tradewind.errors import DataError, InputError
from tradewind.live.drift_tail import fitted_tail, tail_excess
from tradewind.live.settings_drift import DriftSection
from tradewind.stats import adwin
from tradewind.stats.bootstrap import automatic_block_length
from tradewind.stats.distribution import grid, probability_above, quantile
from tradewind.stats.losses import brier, pinball

FloatArray = NDArray[np.float64]

FIGURES: Final = ("coverage", "brier", "loss", "hit", "location", "confidence")
"""Share inside of the central interval; squared error of the probability of a rise; pinball loss in units of the
forecast's own spread, at most half of one; share of directions that were right; that loss less the loss of the same
forecast about zero, so what its location costs, below zero where it earns; twice the distance of the probability of a
rise from half.
"""

_COVERAGE, _BRIER, _LOSS, _HIT, _LOCATION, _CONFIDENCE = range(len(FIGURES))
_WORSE: Final = np.array([-1.0, 1.0, 1.0, -1.0, 1.0, 0.0])
"""Which way is worse; confidence has none."""

LOSS_MOST: Final = 0.5
"""Spreads that one forecast loses at most: a single gap would be worth a week of forecasts that are too narrow."""

BARS_MIN: Final = 20
_BLOCKS: Final = 4
_PARTS: Final = (12, 3, 1)
"""A band for the mean of all the newest bars, one for that of a third of them, and one for a twelfth."""

_WIDTH_MIN: Final = 2
_SURE: Final = 2.0
_ARRAYS: Final = ("expected", "widths", "low", "high", "usual", "losses", "newest")


def outcomes(
    quantiles: FloatArray, levels: Sequence[float], returns: FloatArray, horizons: Sequence[int], coverage: float = 0.8
) -> FloatArray:
    """Return what became known of forecasts at each bar, ``(T, 6)`` in the order of :data:`FIGURES`.

    Parameters
    ----------
    quantiles
        ``(T, N, H, Q)`` log returns said at the close of each bar; NaN: no forecast.
    returns
        ``(T, N, H)`` what they were about, as labels have it: row ``t`` holds the return to ``t + h``.

    Notes
    -----
    A forecast of ``h`` bars counts at bar ``t + h``, and its confidence at bar ``t``. NaN where nothing became known.
    """
    made = figures(quantiles, levels, returns, coverage)
    known = np.full(made.shape, np.nan)
    for column, horizon in enumerate(horizons):
        known[horizon:, :, column] = made[: len(made) - horizon, :, column] if horizon < len(made) else np.nan
    known[..., _CONFIDENCE] = made[..., _CONFIDENCE]
    return _mean(known.reshape(len(known), -1, len(FIGURES)))


def figures(quantiles: FloatArray, levels: Sequence[float], returns: FloatArray, coverage: float = 0.8) -> FloatArray:
    """Return the figures of single forecasts, ``(..., 6)``: quantiles ``(..., Q)`` and outcomes ``(...)``.

    Confidence needs no outcome; NaN otherwise where there is none, where there is no forecast, or neither up nor down.
    """
    chance = np.asarray(probability_above(quantiles, 0.0, grid(levels)))
    happened = np.where(np.isfinite(returns) & (returns != 0), (returns > 0).astype(np.float64), np.nan)
    spread = quantiles[..., -1] - quantiles[..., 0]
    about_zero = quantiles - quantile(quantiles, np.array([0.5]), grid(levels))
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(spread > 0, spread, np.nan)
        loss, plain = (pinball(returns, said, levels).mean(axis=-1) / unit for said in (quantiles, about_zero))
        right = np.where(np.isnan(happened) | np.isnan(chance), np.nan, (chance > 0.5) == (happened > 0.5))
    return np.stack(
        [
            inside(quantiles, returns, interval_levels(levels, coverage)),
            brier(happened, chance),
            np.minimum(loss, LOSS_MOST),
            np.where(chance == 0.5, np.nan, right),
            loss - plain,
            np.abs(2.0 * chance - 1.0),
        ],
        axis=-1,
    )


def _mean(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


@dataclass(frozen=True, eq=False)
class ConceptReference:
    """What a model's forecasts were worth in its validation period.

    Attributes
    ----------
    expected
        ``(6,)`` means of the figures.
    widths
        ``(W,)`` over how many of the newest bars means are taken, rising: short ones see a sudden change soon, long
        ones a small one at all.
    low, high
        ``(W, 6)`` between which those means stay for a model's life, with the probability asked for: the lowest
        coverage and share of directions, the highest Brier score, loss and cost of the location. Infinite for others.
    usual
        ``(6,)`` deviation of a mean over the most bars from what the rest of the validation expects.
    losses
        ``(T,)`` loss of each bar of the validation with outcomes, in time order: ADWIN is told how many of them a new
        one exceeds, so that it sees values in [0, 1] whose mean was one half.
    newest
        ``(C, 6)`` the last bars with outcomes of the validation: what the rolling means begin with.
    stride_bars
        Bars whose mean is one value for ADWIN, which takes values for independent: the block length of the losses.
    """

    expected: FloatArray
    widths: NDArray[np.int64]
    low: FloatArray
    high: FloatArray
    usual: FloatArray
    losses: FloatArray
    newest: FloatArray
    stride_bars: int

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays that are stored without pickle."""
        held = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        return {**held, "stride_bars": np.array([self.stride_bars])}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ConceptReference:
        """Return what :meth:`arrays` said."""
        return cls(**{name: arrays[name] for name in _ARRAYS}, stride_bars=int(arrays["stride_bars"][0]))


def concept_reference(
    known: FloatArray, longest_horizon_bars: int, life_bars: int, settings: DriftSection | None = None
) -> ConceptReference:
    """Measure a validation period.

    Parameters
    ----------
    known
        ``(T, 6)`` of :func:`outcomes` of forecasts whose bars the model had not seen.
    life_bars
        Bars until the next retraining.

    Notes
    -----
    The validation is cut into four blocks, and each mean over so many bars of one is compared with the mean of the
    three others, as the newest bars will be with the whole. The decline of the upper tenth of these differences, in
    episodes that do not overlap, says how large a one comes once in so many lives (:func:`fitted_tail`). The
    probability is shared between the figures, the widths and the windows of a life.

    Raises
    ------
    DataError
        Fewer than 20 bars with outcomes.
    """
    settings = settings or DriftSection()
    series = known[np.isfinite(known[:, :_CONFIDENCE]).all(axis=1)]
    sure = _mean(series[None, :, _CONFIDENCE])
    series = np.where(np.isfinite(series), series, sure)
    if len(series) < BARS_MIN:
        raise DataError(
            f"only {len(series)} bars of the validation have outcomes: {BARS_MIN} are the least to know a model by",
            hint="validate on more bars",
        )
    longest = len(series) // _BLOCKS
    widths = np.unique([min(max(settings.concept_bars // part, _WIDTH_MIN), longest) for part in _PARTS])
    share = settings.concept_false_alarm / (np.count_nonzero(_WORSE) * len(widths))
    expected = series.mean(axis=0)
    away, usual = zip(*(_band(series, int(width), life_bars, share) for width in widths), strict=True)
    matters = settings.concept_worse_min * expected[[_COVERAGE, _BRIER, _LOSS, _HIT, _LOSS, _CONFIDENCE]]
    worst = expected + _WORSE * np.maximum(away, matters)
    low, high = np.where(_WORSE < 0, worst, -np.inf), np.where(_WORSE > 0, worst, np.inf)
    stride = math.ceil(min(automatic_block_length(series[:, _LOSS]), longest_horizon_bars))
    return ConceptReference(
        expected, widths, low, high, usual[-1], series[:, _LOSS], series[-int(widths[-1]) :], stride
    )


def _band(series: FloatArray, width: int, life_bars: int, share: float) -> tuple[FloatArray, FloatArray]:
    """Return how far a mean over so many bars strays to the worse in a life, ``(6,)``, and how far it usually does."""
    cuts = np.linspace(0, len(series), _BLOCKS + 1).round().astype(int)
    away = []
    for first, stop in itertools.pairwise(cuts):
        rest = np.concatenate([series[:first], series[stop:]]).mean(axis=0)
        away.append(np.lib.stride_tricks.sliding_window_view(series[first:stop], width, axis=0).mean(axis=-1) - rest)
    strayed = np.concatenate(away)
    usual = np.maximum(np.sqrt((strayed**2).mean(axis=0)), 1e-12)
    start, scale = fitted_tail(_WORSE * strayed / usual, width)
    return usual * (start + scale * tail_excess(share / max(life_bars / width, 1.0))), usual


@dataclass(frozen=True, eq=False)
class ConceptState:
    """What the fold remembers: the newest bars with outcomes, ADWIN's window and the losses on their way into it.

    ``since_change`` counts the bars with outcomes since ADWIN last saw the loss rise; -1: never.
    """

    newest: FloatArray
    window: adwin.AdwinState
    waiting: FloatArray
    since_change: int

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays that are stored without pickle."""
        own = {"newest": self.newest, "waiting": self.waiting, "since_change": np.array([self.since_change])}
        return {**own, **{f"adwin/{name}": values for name, values in self.window.arrays().items()}}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ConceptState:
        """Return what :meth:`arrays` said."""
        window = {name[6:]: values for name, values in arrays.items() if name.startswith("adwin/")}
        held = adwin.AdwinState.of_arrays(window)
        return cls(arrays["newest"], held, arrays["waiting"], int(arrays["since_change"][0]))


@dataclass(frozen=True, slots=True)
class ConceptReading:
    """What the newest bars with outcomes say of a model, beside what was expected of it.

    Attributes
    ----------
    figures, expected
        By :data:`FIGURES`.
    loss_ratio
        Mean loss over the validation's.
    adwin
        Whether ADWIN saw the loss rise within these bars.
    confidence_shift
        Mean confidence less the validation's, in deviations of such means.
    broken
        Figures whose mean over some of the widths left its band; ``loss (ADWIN)`` where ADWIN saw a rise and the loss
        is unusually high.
    accuracy_lost
        How much less of the directions were right, where that is more than twice the deviation of such means; else 0.
    """

    figures: Mapping[str, float]
    expected: Mapping[str, float]
    loss_ratio: float
    adwin: bool
    confidence_shift: float
    broken: tuple[str, ...]
    accuracy_lost: float

    def to_dict(self) -> dict[str, Any]:
        """Return the ``concept`` part of a reading of drift."""
        return {
            "coverage": self.figures["coverage"],
            "coverage_expected": self.expected["coverage"],
            "brier": self.figures["brier"],
            "brier_expected": self.expected["brier"],
            "hit_rate": self.figures["hit"],
            "hit_rate_expected": self.expected["hit"],
            "loss_ratio": _number(self.loss_ratio),
            "adwin": self.adwin,
            "confidence_shift": _number(self.confidence_shift),
            "broken": list(self.broken),
        }


def start(reference: ConceptReference) -> ConceptState:
    """Return the state at the end of the validation: its last bars are the newest, and ADWIN has seen all of it."""
    state = ConceptState(reference.newest, adwin.AdwinState.empty(), np.empty(0), -1)
    for loss in reference.losses:
        state = _told_adwin(state, loss, reference, 1e-300)
    return state


def step(
    state: ConceptState, bar: FloatArray, reference: ConceptReference, delta: float
) -> tuple[ConceptState, ConceptReading]:
    """Take in the figures ``(6,)`` of one bar; NaN where nothing became known, and then the state stays."""
    if bar.shape != (len(FIGURES),):
        raise InputError(f"a bar has {len(FIGURES)} figures, not {bar.shape}")
    if np.isfinite(bar[:_CONFIDENCE]).all():
        newest = np.concatenate([state.newest[1:], bar[None]])
        aged = state.since_change + (state.since_change >= 0)
        state = _told_adwin(ConceptState(newest, state.window, state.waiting, aged), bar[_LOSS], reference, delta)
    return state, _read(state, reference)


def _told_adwin(state: ConceptState, loss: float, reference: ConceptReference, delta: float) -> ConceptState:
    exceeded = np.searchsorted(np.sort(reference.losses), loss) / len(reference.losses)
    waiting = np.append(state.waiting, exceeded)
    if len(waiting) < reference.stride_bars:
        return ConceptState(state.newest, state.window, waiting, state.since_change)
    window, changed = adwin.step(state.window, float(waiting.mean()), delta)
    return ConceptState(state.newest, window, np.empty(0), 0 if changed > 0 else state.since_change)


def _read(state: ConceptState, reference: ConceptReference) -> ConceptReading:
    means = np.stack([_mean(state.newest[None, -int(width) :])[0] for width in reference.widths])
    mean = means[-1]
    away = (mean - reference.expected) / reference.usual
    with np.errstate(invalid="ignore"):
        out = np.asarray(np.any((means < reference.low) | (means > reference.high), axis=0))
    risen = 0 <= state.since_change < len(state.newest)
    broken = [name for name, left in zip(FIGURES, out, strict=True) if left]
    if risen and not out[_LOSS] and away[_LOSS] > _SURE:
        broken.append("loss (ADWIN)")
    lost = float(reference.expected[_HIT] - mean[_HIT])
    expected = float(reference.expected[_LOSS])
    return ConceptReading(
        dict(zip(FIGURES, map(_number, mean), strict=True)),  # type: ignore[arg-type]
        dict(zip(FIGURES, map(_number, reference.expected), strict=True)),  # type: ignore[arg-type]
        float(mean[_LOSS]) / expected if expected > 0 else math.nan,
        risen,
        float(away[_CONFIDENCE]),
        tuple(broken),
        lost if lost > _SURE * reference.usual[_HIT] else 0.0,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
