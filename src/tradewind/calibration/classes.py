"""Probability calibration of an event, online: a fold whose feedback is delayed by the horizon.

What is remembered is a histogram of forecast probabilities with how often the event came true, every date counting as
one observation however many symbols it has, and the past fading. At each bar the map from forecast to calibrated
probability is fitted to that histogram and pulled towards the identity by a prior of so many dates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.events_kernel import BINS, METHODS, advance
from tradewind.errors import InputError, did_you_mean

FloatArray = NDArray[np.float64]
Method = Literal["platt", "beta", "isotonic"]

_LEARNT: Final = ("weight", "forecast", "happened", "pending")


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
        if method not in METHODS:
            raise did_you_mean("probability calibration", method, METHODS)
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
        after = replace(state, bars=state.bars + len(probability), **{n: getattr(state, n).copy() for n in _LEARNT})
        calibrated = np.empty(probability.shape)
        advance(
            state.bars, _contiguous(probability), _contiguous(known), after.weight, after.forecast, after.happened,
            after.pending, self._decay, self._prior, METHODS.index(self.method), calibrated,
        )  # fmt: skip
        return after, calibrated


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


def _contiguous(values: FloatArray) -> FloatArray:
    return np.ascontiguousarray(values, dtype=np.float64)
