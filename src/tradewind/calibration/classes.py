"""Probability calibration of an event, online: a fold whose feedback is delayed by the horizon.

What is remembered is a histogram of forecast probabilities with how often the event came true, every date counting as
one observation however many symbols it has, and the past fading. At each bar the map from forecast to calibrated
probability is fitted to that histogram and pulled towards the identity by a prior of so many dates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError, did_you_mean

FloatArray = NDArray[np.float64]
Method = Literal["platt", "beta", "isotonic"]

BINS = 100
SMALLEST = 1e-4
NEWTON_STEPS = 25
ANCHORS = (np.arange(20) + 0.5) / 20
"""Probabilities at which the prior holds the shape of a map."""


@dataclass(frozen=True, eq=False)
class EventState:
    """What the calibrator remembers.

    Attributes
    ----------
    bars
        Bars seen.
    weight, forecast, happened
        ``(BINS,)`` faded number of dates, sum of forecast probabilities and of outcomes per bin.
    pending
        ``(h, N)`` ring of the probabilities forecast over the last ``h`` bars.
    """

    bars: int
    weight: FloatArray
    forecast: FloatArray
    happened: FloatArray
    pending: FloatArray


class EventCalibrator:
    """The fold ``step(state, probability, known) -> (state, calibrated)``.

    Parameters
    ----------
    horizon_bars
        Bars until a forecast's outcome is known.
    method
        ``platt`` (logistic in the log odds; Platt 1999), ``beta`` (Kull, Silva Filho & Flach 2017) or ``isotonic``
        (pool adjacent violators; Zadrozny & Elkan 2002).
    half_life_bars
        After how many bars an outcome counts half.
    prior_dates
        Weight of the belief that the forecast means what it says, in independent dates.
    """

    def __init__(
        self,
        horizon_bars: int,
        method: Method = "beta",
        half_life_bars: float = 500.0,
        prior_dates: float = 50.0,
    ) -> None:
        if method not in _MAPS:
            raise did_you_mean("probability calibration", method, _MAPS)
        if horizon_bars < 1 or half_life_bars <= 0 or prior_dates <= 0:
            raise InputError(
                f"horizon {horizon_bars}, half-life {half_life_bars} and prior {prior_dates} must be positive"
            )
        self.horizon_bars = horizon_bars
        self.method = method
        self._decay = 0.5 ** (1.0 / half_life_bars)
        self._prior = prior_dates * horizon_bars

    def initial_state(self, n_symbols: int) -> EventState:
        """Return the state before the first bar: probabilities are taken at their word."""
        empty = np.zeros(BINS)
        return EventState(0, empty, empty, empty, np.full((self.horizon_bars, n_symbols), np.nan))

    def step(self, state: EventState, probability: FloatArray, known: FloatArray) -> tuple[EventState, FloatArray]:
        """Advance over a block.

        Parameters
        ----------
        probability
            ``(B, N)`` forecast at each bar, NaN for none.
        known
            ``(B, N)``: 1 or 0 at bar ``t`` for whether the event forecast at ``t - horizon_bars`` came true.
        """
        if probability.shape != known.shape or probability.shape[1:] != state.pending.shape[1:]:
            raise InputError(f"probabilities {probability.shape} and outcomes {known.shape} do not fit the state")
        calibrated = np.full(probability.shape, np.nan)
        for row in range(len(probability)):
            state = self._learn(state, known[row])
            calibrated[row] = self._map(state, probability[row])
            pending = state.pending.copy()
            pending[state.bars % self.horizon_bars] = probability[row]
            state = replace(state, bars=state.bars + 1, pending=pending)
        return state, calibrated

    def _learn(self, state: EventState, known: FloatArray) -> EventState:
        made = state.pending[state.bars % self.horizon_bars]
        both = np.isfinite(made) & np.isfinite(known)
        weight, forecast, happened = (self._decay * a for a in (state.weight, state.forecast, state.happened))
        if both.any():
            p, y = made[both], known[both]
            bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
            share = 1.0 / p.size
            weight = weight + np.bincount(bins, minlength=BINS) * share
            forecast = forecast + np.bincount(bins, p, BINS) * share
            happened = happened + np.bincount(bins, y, BINS) * share
        return replace(state, weight=weight, forecast=forecast, happened=happened)

    def _map(self, state: EventState, probability: FloatArray) -> FloatArray:
        known = np.isfinite(probability)
        result = np.full(probability.shape, np.nan)
        if known.any():
            result[known] = _MAPS[self.method](state, self._prior, probability[known])
        return result


def calibrate_event(
    probability: FloatArray, happened: FloatArray, horizon_bars: int, method: Method = "beta", **options: float
) -> FloatArray:
    """Return ``(T, N)`` probabilities calibrated bar by bar over history.

    ``happened`` ``(T, N)`` is about the same rows as the forecasts (1, 0 or NaN); it is used ``horizon_bars`` later.
    """
    calibrator = EventCalibrator(horizon_bars, method, **options)
    known = np.full(happened.shape, np.nan)
    known[horizon_bars:] = happened[:-horizon_bars]
    return calibrator.step(calibrator.initial_state(probability.shape[1]), probability, known)[1]


def _platt(state: EventState, prior: float, probability: FloatArray) -> FloatArray:
    return _logistic_map(
        state, prior, probability, lambda p: np.stack([_logit(p), np.ones_like(p)], axis=1), (1.0, 0.0)
    )


def _beta(state: EventState, prior: float, probability: FloatArray) -> FloatArray:
    def design(p: FloatArray) -> FloatArray:
        inner = np.clip(p, SMALLEST, 1.0 - SMALLEST)
        return np.stack([np.log(inner), -np.log1p(-inner), np.ones_like(p)], axis=1)

    return _logistic_map(state, prior, probability, design, (1.0, 1.0, 0.0))


def _logistic_map(
    state: EventState,
    prior: float,
    probability: FloatArray,
    design: Callable[[FloatArray], FloatArray],
    identity: tuple[float, ...],
) -> FloatArray:
    """Fit a logistic regression to the histogram, with pseudo-outcomes that agree with the forecasts as prior.

    Half of them lie where the forecasts do and hold the level, half everywhere and hold the shape: forecasts that
    are all alike say nothing about how others should be mapped. A shape that would turn the order round is left out.
    """
    full = state.weight > 1e-9
    if not full.any():
        return probability
    weight, p = state.weight[full], state.forecast[full] / state.weight[full]
    believed = 0.5 * prior * weight / weight.sum()
    everywhere = np.full(len(ANCHORS), 0.5 * prior / len(ANCHORS))
    x = design(np.concatenate([p, ANCHORS]))
    weights = np.concatenate([weight + believed, everywhere])
    events = np.concatenate([state.happened[full] + believed * p, everywhere * ANCHORS])
    start, kept = np.asarray(identity), np.ones(len(identity), dtype=np.bool_)
    coefficients = _newton(x, weights, events, start)
    while (coefficients[:-1] < 0.0).any():
        kept[:-1] &= coefficients[:-1] >= 0.0
        coefficients = np.zeros(len(identity))
        coefficients[kept] = _newton(x[:, kept], weights, events, start[kept])
    return _sigmoid(design(probability) @ coefficients)


def _newton(x: FloatArray, weight: FloatArray, events: FloatArray, start: FloatArray) -> FloatArray:
    """Return the maximum-likelihood coefficients; a whisper of ridge towards the start keeps them unique."""
    coefficients, ridge = start.copy(), 1e-6 * np.eye(len(start))
    for _ in range(NEWTON_STEPS):
        chance = _sigmoid(x @ coefficients)
        slope = x.T @ (events - weight * chance) - ridge @ (coefficients - start)
        curvature = (x * (weight * chance * (1.0 - chance))[:, None]).T @ x + ridge
        move = np.linalg.solve(curvature, slope)
        longest = float(np.abs(move).max())
        coefficients = coefficients + move / max(longest, 1.0)
        if longest < 1e-10:
            break
    return np.asarray(coefficients)


def _isotonic(state: EventState, prior: float, probability: FloatArray) -> FloatArray:
    full = state.weight > 1e-9
    if not full.any():
        return probability
    weight, p = state.weight[full], state.forecast[full] / state.weight[full]
    believed = prior * weight / weight.sum()
    total = weight + believed
    level = _pool_adjacent_violators((state.happened[full] + believed * p) / total, total)
    return np.asarray(np.interp(probability, p, level))


def _pool_adjacent_violators(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the non-decreasing sequence that is nearest in weighted squares."""
    means: list[float] = []
    masses: list[float] = []
    counts: list[int] = []
    for value, mass in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        masses.append(mass)
        counts.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mean, weight, count = means.pop(), masses.pop(), counts.pop()
            joined = masses[-1] + weight
            means[-1] = (means[-1] * masses[-1] + mean * weight) / joined
            masses[-1] = joined
            counts[-1] += count
    return np.repeat(means, counts)


def _logit(p: FloatArray) -> FloatArray:
    inner = np.clip(p, SMALLEST, 1.0 - SMALLEST)
    return np.log(inner) - np.log1p(-inner)


def _sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -50.0, 50.0))))


_MAPS: dict[str, Callable[[EventState, float, FloatArray], FloatArray]] = {
    "platt": _platt,
    "beta": _beta,
    "isotonic": _isotonic,
}
