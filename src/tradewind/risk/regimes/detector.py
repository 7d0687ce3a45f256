"""The regimes of a market as a fold over its sessions: refit on the past, filter, name, smooth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.risk.regimes.hidden_markov import Fit, NoFitError, fit_window
from tradewind.risk.regimes.naming import LABELS, named
from tradewind.risk.regimes.settings import RegimesSection

FloatArray = NDArray[np.float64]
ByteArray = NDArray[np.int8]

UNSURE = -1


@dataclass(frozen=True)
class FitEvent:
    """What came of one fit, made before the session ``row`` was seen."""

    row: int
    kind: Literal["fitted", "kept", "none"]
    renamed: bool = False
    iterations: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DetectorState:
    """All that the detector remembers between sessions.

    Attributes
    ----------
    seen
        Sessions seen.
    window
        The last ``window_sessions`` observations or fewer, ``(n, K)``.
    fit
        The model in use, its states in the order of the labels; None before the first.
    predicted
        ``(S,)`` log probabilities of the regimes at the next session, before it is seen.
    multiplier
        The smoothed multiplier; NaN before the first fit.
    regime, candidate, run
        The confirmed regime, the one that may take its place, and for how many sessions in a row it was named.
    """

    seen: int
    window: FloatArray
    fit: Fit | None = None
    predicted: FloatArray = field(default_factory=lambda: np.zeros(0))
    multiplier: float = float("nan")
    regime: int = UNSURE
    candidate: int = UNSURE
    run: int = 0


@dataclass(frozen=True, eq=False)
class RegimeRows:
    """What the detector says about a block of ``B`` sessions; each row is known at its session's close.

    Attributes
    ----------
    probability
        ``(B, 4)`` filtered, in the order of the labels; NaN before the first fit.
    state
        ``(B,)`` the regime that has ``confidence_min``; -1 where none has.
    regime
        ``(B,)`` the confirmed regime: it changes when another has been the state for ``dwell_sessions`` in a row and
        otherwise stays, also while the state is unsure; -1 before the first.
    multiplier
        ``(B,)`` smoothed mean of the regimes' multipliers under the filtered probabilities; NaN before the first fit.
    log_likelihood, one_state
        ``(B,)`` log density of each session as predicted at the one before, by the model and by one Gaussian of the
        same window, in the window's deviations; NaN where there was neither.
    return_log_likelihood, return_one_state
        The same of the market's return alone.
    fits
        What came of the fits inside the block.
    """

    probability: FloatArray
    state: ByteArray
    regime: ByteArray
    multiplier: FloatArray
    log_likelihood: FloatArray
    one_state: FloatArray
    return_log_likelihood: FloatArray
    return_one_state: FloatArray
    fits: tuple[FitEvent, ...]


class RegimeDetector:
    """The fold ``step(state, block) -> (state, rows)``. Splitting a block changes no bit.

    A fit uses the sessions before the one that it is first used for; it is then run over its window from the start,
    so the probabilities are always those of one model's forward pass and nothing is ever smoothed backwards.

    Parameters
    ----------
    settings
        Windows, confidence, multipliers.
    names
        What the columns of the observations are; ``return`` must be among them.
    """

    def __init__(self, settings: RegimesSection, names: Sequence[str]) -> None:
        if "return" not in names:
            raise InputError(f"observations {list(names)} lack the market's 'return', which names the regimes")
        self.settings = settings
        self.names = tuple(names)
        self._multipliers = np.array([getattr(settings.multipliers, label) for label in LABELS])
        half_life = settings.smoothing_half_life_sessions
        self._decay = 0.5 ** (1.0 / half_life) if half_life > 0 else 0.0

    def initial_state(self) -> DetectorState:
        """Return the state before the first session: no regime is known."""
        return DetectorState(0, np.empty((0, len(self.names))))

    def step(self, state: DetectorState, block: FloatArray) -> tuple[DetectorState, RegimeRows]:
        """Advance over a block of observations ``(B, K)``, NaN for missing."""
        values = np.ascontiguousarray(block, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise InputError(f"block has shape {values.shape}, the detector expects (B, {len(self.names)})")
        parts: list[RegimeRows] = []
        done = 0
        while done < len(values) or not parts:
            events: tuple[FitEvent, ...] = ()
            if done < len(values) and self._is_due(state.seen):
                state, event = self._refitted(state)
                events = (event,)
            stop = min(len(values), done + self._until_due(state.seen))
            state, rows = self._filtered(state, values[done:stop])
            parts.append(replace(rows, fits=events))
            done = stop
        return state, _joined(parts)

    def _is_due(self, seen: int) -> bool:
        since = seen - self.settings.look_back_sessions
        return since >= 0 and since % self.settings.refit_sessions == 0

    def _until_due(self, seen: int) -> int:
        """Return how many sessions may be filtered before the next fit."""
        since = seen - self.settings.look_back_sessions
        return -since if since < 0 else self.settings.refit_sessions - since % self.settings.refit_sessions

    def _refitted(self, state: DetectorState) -> tuple[DetectorState, FitEvent]:
        """Fit the window; where that fails the model in use stays."""
        try:
            found = fit_window(state.window, self.names, self.settings, state.fit)
        except NoFitError as error:
            return state, FitEvent(state.seen, "none" if state.fit is None else "kept", notes=(str(error),))
        fit, renamed = named(found, self.names, state.fit)
        predicted = fit.initial()
        fit.filter(state.window, predicted)
        event = FitEvent(state.seen, "fitted", renamed, fit.iterations, fit.notes)
        return replace(state, fit=fit, predicted=predicted), event

    def _filtered(self, state: DetectorState, values: FloatArray) -> tuple[DetectorState, RegimeRows]:
        """Filter sessions between two fits."""
        window = np.concatenate([state.window, values])[-self.settings.window_sessions :]
        after = replace(state, seen=state.seen + len(values), window=window)
        if state.fit is None:
            return after, _unknown(len(values))
        predicted = state.predicted.copy()
        filtered, density, leading = state.fit.filter(values, predicted)
        one, one_leading = state.fit.one_state(values)
        probability = filtered / filtered.sum(axis=1, keepdims=True)
        multiplier, last = self._smoothed(probability, state.multiplier)
        named_state = np.where(
            probability.max(axis=1) >= self.settings.confidence_min, probability.argmax(axis=1), UNSURE
        ).astype(np.int8)
        regime, held = self._confirmed(named_state, (state.regime, state.candidate, state.run))
        after = replace(after, predicted=predicted, multiplier=last, regime=held[0], candidate=held[1], run=held[2])
        return after, RegimeRows(probability, named_state, regime, multiplier, density, one, leading, one_leading, ())

    def _smoothed(self, probability: FloatArray, last: float) -> tuple[FloatArray, float]:
        """Return the exponentially smoothed expected multiplier, and its last value."""
        result = np.empty(len(probability))
        for row, shares in enumerate(probability):
            expected = float(np.sum(shares * self._multipliers))
            last = expected if np.isnan(last) else self._decay * last + (1.0 - self._decay) * expected
            result[row] = last
        return result, last

    def _confirmed(self, state: ByteArray, held: tuple[int, int, int]) -> tuple[ByteArray, tuple[int, int, int]]:
        """Return the regime that has been confirmed by each session, and what is held at the last one."""
        regime, candidate, run = held
        result = np.empty(len(state), dtype=np.int8)
        for row, now in enumerate(state.tolist()):
            run = run + 1 if now == candidate else 1
            candidate = now
            if now != UNSURE and run >= self.settings.dwell_sessions:
                regime = now
            result[row] = regime
        return result, (regime, candidate, run)


def _unknown(rows: int) -> RegimeRows:
    nothing = np.full(rows, np.nan)
    unsure = np.full(rows, UNSURE, dtype=np.int8)
    return RegimeRows(
        np.full((rows, len(LABELS)), np.nan), unsure, unsure, nothing, nothing, nothing, nothing, nothing, ()
    )


def _joined(parts: Sequence[RegimeRows]) -> RegimeRows:
    arrays = {
        name: np.concatenate([getattr(p, name) for p in parts])
        for name in RegimeRows.__dataclass_fields__
        if name != "fits"
    }
    return RegimeRows(**arrays, fits=tuple(event for p in parts for event in p.fits))
