"""The monitor of one model: a fold that reads, at each bar, whether the world is still that of its training data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.live import drift_concept as concept
from tradewind.live.drift_concept import ConceptReading, ConceptReference, ConceptState
from tradewind.live.drift_reference import DISTANCES, DriftReference
from tradewind.live.drift_tail import tail_p
from tradewind.live.drift_window import Histograms, WindowState
from tradewind.live.settings_drift import DriftSection
from tradewind.stats import drift as distances

FloatArray = NDArray[np.float64]
Level = Literal["ok", "watch", "drift"]

LEVELS: Final[tuple[Level, ...]] = ("ok", "watch", "drift")
SHOWN: Final = 20
"""Features that a payload holds at most, the worst first, beside all that have drifted."""

_JOINT_NEEDED: Final = 2
_SILENCE_MARGIN: Final = 2.0
_NEVER: Final = np.datetime64("NaT", "us")
_PSI, _JS, _KS, _WASSERSTEIN = range(len(DISTANCES))


@dataclass(frozen=True, eq=False)
class DriftState:
    """What the monitor remembers between two bars.

    Attributes
    ----------
    window, concept
        Of the folds; ``concept`` is None where nothing is known of the model's validation.
    runs
        ``(M,)`` readings in a row in which each feature had drifted.
    kept
        ``(3,)`` readings in a row that spoke of too many features, of how they hang together, and of outcomes.
    since
        Close of the bar since which the level is what it is; NaT while it is ``ok``.
    level
        Number of the level in :data:`LEVELS`.
    """

    window: WindowState
    concept: ConceptState | None
    runs: NDArray[np.int64]
    kept: NDArray[np.int64]
    since: np.datetime64
    level: int

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays that are stored without pickle."""
        own: dict[str, NDArray[Any]] = {
            "runs": self.runs,
            "kept": self.kept,
            "since": np.array([self.since]).astype("datetime64[us]").astype(np.int64),
            "level": np.array([self.level]),
            **{f"window/{name}": values for name, values in self.window.arrays().items()},
        }
        told = {} if self.concept is None else self.concept.arrays()
        return {**own, **{f"concept/{name}": values for name, values in told.items()}}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> DriftState:
        """Return what :meth:`arrays` said."""
        of_concept = _under("concept/", arrays)
        return cls(
            WindowState.of_arrays(_under("window/", arrays)),
            ConceptState.of_arrays(of_concept) if of_concept else None,
            arrays["runs"],
            arrays["kept"],
            arrays["since"].view("datetime64[us]")[0],
            int(arrays["level"][0]),
        )


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class DriftReading:
    """What the monitor said at the close of a bar.

    Attributes
    ----------
    time, level, since
        ``ok``; ``watch``: something has drifted; ``drift``: enough of it, for long enough, to act upon. Since when.
    names, measured, excess, p, thresholds
        ``M`` features, their distances ``(4, M)`` in the order of :data:`DISTANCES`, how far the largest lies beyond
        what is usual within the training data, how rare that is there, and from which stability index on each would
        have drifted by itself.
    ks_p
        ``(M,)`` p-value of the Kolmogorov–Smirnov statistic, for as many independent observations as a window is worth.
    drifted, silent
        ``(M,)`` and ``(F,)``: which have drifted at this bar, and which have had no new value for too long.
    share_drifted, share_limit
        Share of the features that have drifted, and from which share on it is too many.
    concept
        What outcomes say; None where nothing is known of the model's validation.
    persistence, needed
        Readings in a row that spoke of drift, and how many are needed.
    recent_bars
        Newest bars that are surely of the changed world, or began in it: those readings and a window before them. On
        their outcomes champions are compared.
    triggers
        Why to train again: ``accuracy``, ``psi``, ``age``.
    stability
        Mean stability index of the features beyond that within the training data, over about a month of daily bars or
        four hours of others.
    warm
        Whether the window is full: the data say nothing before.
    reasons
        In words.
    """

    time: np.datetime64
    level: Level
    since: np.datetime64
    names: tuple[str, ...]
    measured: FloatArray
    excess: FloatArray
    p: FloatArray
    thresholds: FloatArray
    ks_p: FloatArray
    drifted: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    share_drifted: float
    share_limit: float
    concept: ConceptReading | None
    persistence: int
    needed: int
    recent_bars: int
    triggers: tuple[str, ...]
    stability: float
    warm: bool
    reasons: tuple[str, ...]

    @property
    def what(self) -> str:
        """The reasons in one sentence."""
        if self.level == "ok":
            return "nothing that the training data did not show" if self.warm else "too few bars yet"
        return "; ".join(self.reasons)

    def to_dict(self, seat: str, model_id: str, action: str | None = None) -> dict[str, Any]:
        """Return the payload of topic ``drift``."""
        return {
            "seat": seat,
            "model_id": model_id,
            "time": _iso(self.time),
            "level": self.level,
            "since": _iso(self.since),
            "data": {
                "warm": self.warm,
                "share_drifted": self.share_drifted,
                "share_limit": self.share_limit,
                "stability": self.stability,
                "features": [self._feature(column) for column in self.worst()],
            },
            "concept": _nothing_known() if self.concept is None else self.concept.to_dict(),
            "persistence": {"bars": self.persistence, "needed": self.needed},
            "triggers": list(self.triggers),
            "action": action,
            "what": self.what,
        }

    def worst(self, most: int = SHOWN) -> list[int]:
        """Return the numbers of the features to show: what has drifted, what is silent, then others; the rarest first.

        P-values are no order: all ordinary features have the same, and of the rarest they are too small for a number.
        """
        silent = np.concatenate([self.silent, np.zeros(len(self.names) - len(self.silent), dtype=bool)])
        marked = self.drifted | silent
        order = np.lexsort((-np.where(np.isnan(self.excess), -np.inf, self.excess), ~silent, ~self.drifted))
        return [int(column) for column in order[: max(most, int(marked.sum()))]]

    def _feature(self, column: int) -> dict[str, Any]:
        named = dict(zip(DISTANCES, self.measured[:, column], strict=True))
        return {
            "name": self.names[column],
            "psi": _number(named["psi"]),
            "js": _number(named["js"]),
            "ks": _number(named["ks"]),
            "ks_p": _number(self.ks_p[column]),
            "wasserstein": _number(named["wasserstein"]),
            "threshold": _number(self.thresholds[column]),
            "p": _number(self.p[column]),
            "drifted": bool(self.drifted[column]),
            "silent": bool(column < len(self.silent) and self.silent[column]),
        }


class DriftMonitor:
    """Watches one model.

    Parameters
    ----------
    reference
        Of the data that it was trained on.
    expected
        Of its validation period; None where there is none: then outcomes say nothing.
    settings
        The playbook's.
    trained_until
        The last bar of its training data, UTC; None where that is not known: then age sets nothing off.
    """

    def __init__(
        self,
        reference: DriftReference,
        expected: ConceptReference | None = None,
        settings: DriftSection | None = None,
        trained_until: np.datetime64 | None = None,
    ) -> None:
        self.reference, self.expected = reference, expected
        self.settings = settings or DriftSection()
        self.trained_until = trained_until
        self._thresholds = reference.thresholds(_PSI)

    def start(self, symbols: int, history: NDArray[np.float32] | None = None) -> DriftState:
        """Return the state before the first bar, the window filled with the newest bars ``(T, N, F)`` of history."""
        window = self.reference.start(symbols)
        if history is not None and len(history):
            window, _ = self.reference.step(window, history[-4 * self.reference.window_bars :])
        told = None if self.expected is None else concept.start(self.expected)
        zero = np.zeros(len(self.reference.names), dtype=np.int64)
        return DriftState(window, told, zero, np.zeros(3, dtype=np.int64), _NEVER, 0)

    def step(
        self,
        state: DriftState,
        times: NDArray[np.datetime64],
        features: NDArray[np.float32],
        known: FloatArray | None = None,
    ) -> tuple[DriftState, list[DriftReading]]:
        """Take in bars, one or many: the readings are the same, bit for bit.

        Parameters
        ----------
        times
            ``(T,)`` closes, UTC.
        features
            ``(T, N, F)`` what is known at each close; NaN is missing.
        known
            ``(T, 6)`` what became known of the model's forecasts at each, as
            :func:`tradewind.live.drift_concept.outcomes` has it; None: nothing.

        Returns
        -------
        The new state and a reading of each bar.
        """
        if features.shape != (len(times), len(state.window.last), self.reference.features):
            wanted = (len(times), len(state.window.last), self.reference.features)
            raise InputError(f"features have shape {features.shape}, the monitor knows {wanted}")
        readings = []
        for row in range(len(times)):
            bar = None if known is None else known[row]
            state, reading = self._bar(state, times[row], features[row : row + 1], bar)
            readings.append(reading)
        return state, readings

    def _bar(
        self, state: DriftState, time: np.datetime64, features: NDArray[np.float32], bar: FloatArray | None
    ) -> tuple[DriftState, DriftReading]:
        window, seen = self.reference.step(state.window, features)
        told, of_outcomes = self._outcomes(state.concept, bar)
        data = self._data(Histograms(seen.window.counts[0], seen.window.beyond[0]), warm=bool(seen.full[0]))
        silent = self._silent(seen.silent[0])
        stability = self._stability(seen.fading[0])
        runs = np.where(data.drifted, state.runs + 1, 0)
        joint = int(data.drifted[self.reference.features :].sum())
        speak = (
            data.share >= self.reference.share_limit,
            joint >= _JOINT_NEEDED,
            of_outcomes is not None and bool(of_outcomes.broken),
        )
        kept = np.where(speak, state.kept + 1, 0)
        needed = self.settings.persist_bars
        lasting = runs >= needed
        watched = bool(lasting.any() or silent.any() or speak[2] or (of_outcomes is not None and of_outcomes.adwin))
        level = 2 if kept.max() >= needed else int(watched or bool(speak[0]))
        since = state.since if level == state.level else (time.astype("datetime64[us]") if level else _NEVER)
        reading = DriftReading(
            time.astype("datetime64[us]"),
            LEVELS[level],
            since,
            self.reference.names,
            data.measured,
            data.excess,
            data.p,
            self._thresholds,
            data.ks_p,
            data.drifted,
            silent,
            data.share,
            self.reference.share_limit,
            of_outcomes,
            int(kept.max()),
            needed,
            int(kept.max()) + self.reference.window_bars,
            self._triggers(time, of_outcomes, stability),
            stability,
            data.warm,
            (),
        )
        said = replace(reading, reasons=self._reasons(reading, lasting, kept))
        return DriftState(window, told, runs, kept, since, level), said

    def _data(self, window: Histograms, *, warm: bool) -> _Data:
        reference = self.reference
        measured = reference.distances(window)
        excess = reference.excess(measured) if warm else np.full(len(reference.names), math.nan)
        p = tail_p(excess)
        ks_p = distances.kolmogorov_smirnov_p(measured[_KS], reference.window_size, reference.total_size)
        drifted = reference.drifted(p)
        return _Data(measured, excess, p, ks_p, drifted, reference.share(drifted), warm)

    def _silent(self, runs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which features have been silent for longer than ever, by a margin and a window at least."""
        own, longest = runs[: self.reference.features], self.reference.silence
        return (own > np.maximum(_SILENCE_MARGIN * longest, self.reference.window_bars)) & self._watched

    @property
    def _watched(self) -> NDArray[np.bool_]:
        return self.reference.watched[: self.reference.features]

    def _stability(self, fading: FloatArray) -> float:
        """Return by how much the features' mean stability index is above that within the training data."""
        index = distances.population_stability(self.reference.counts, fading) - self.reference.stability
        own = index[: self.reference.features][self._watched]
        return float(own.mean()) if own.size else 0.0

    def _outcomes(
        self, state: ConceptState | None, bar: FloatArray | None
    ) -> tuple[ConceptState | None, ConceptReading | None]:
        if state is None or self.expected is None:
            return None, None
        nothing = np.full(len(concept.FIGURES), math.nan)
        return concept.step(state, nothing if bar is None else bar, self.expected, self.settings.adwin_delta)

    def _triggers(self, time: np.datetime64, told: ConceptReading | None, stability: float) -> tuple[str, ...]:
        found = []
        if told is not None and told.accuracy_lost >= self.settings.accuracy_drop:
            found.append("accuracy")
        if stability > self.settings.psi_max:
            found.append("psi")
        if self.trained_until is not None and time - self.trained_until >= np.timedelta64(
            self.settings.age_days_max, "D"
        ):
            found.append("age")
        return tuple(found)

    def _reasons(self, reading: DriftReading, lasting: NDArray[np.bool_], kept: NDArray[np.int64]) -> tuple[str, ...]:
        names = np.array(reading.names, dtype=object)
        found = []
        if kept[0]:
            found.append(
                f"{reading.share_drifted:.0%} of the features have drifted, at most {reading.share_limit:.0%} are usual"
            )
        if kept[1]:
            found.append("features hang together in another way than in the training data")
        if reading.concept is not None and reading.concept.broken:
            found.append(f"forecasts are worse than in validation: {', '.join(reading.concept.broken)}")
        elif reading.concept is not None and reading.concept.adwin:
            found.append("ADWIN saw the loss rise")
        if lasting.any() and not kept[0]:
            found.append(f"drifted: {_some(names[lasting])}")
        if reading.silent.any():
            found.append(f"no new value: {_some(names[: len(reading.silent)][reading.silent])}")
        return tuple(found)


@dataclass(frozen=True, eq=False)
class _Data:
    measured: FloatArray
    excess: FloatArray
    p: FloatArray
    ks_p: FloatArray
    drifted: NDArray[np.bool_]
    share: float
    warm: bool


def _some(names: NDArray[np.object_], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _nothing_known() -> dict[str, Any]:
    names = ("coverage", "coverage_expected", "brier", "brier_expected", "hit_rate", "hit_rate_expected", "loss_ratio")
    return {**dict.fromkeys(names), "adwin": False, "confidence_shift": None, "broken": []}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _iso(time: np.datetime64) -> str | None:
    return None if np.isnat(time) else f"{np.datetime_as_string(time, unit='us').removesuffix('.000000')}+00:00"
