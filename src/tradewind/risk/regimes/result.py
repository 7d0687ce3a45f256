"""The regimes of a history: what was known at each session's close, and how good it has been."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.risk.regimes.detector import UNSURE, FitEvent, RegimeDetector, RegimeRows
from tradewind.risk.regimes.naming import LABELS
from tradewind.risk.regimes.observations import Observations
from tradewind.risk.regimes.settings import RegimesSection
from tradewind.stats.bootstrap import bootstrap_interval

FloatArray = NDArray[np.float64]
ByteArray = NDArray[np.int8]
IntArray = NDArray[np.int64]
TimeArray = NDArray[np.datetime64]

_SHOWN_ALERTS = 20


@dataclass(frozen=True)
class RegimeAlert:
    """A change of the confirmed regime."""

    time: np.datetime64
    before: str
    after: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return ``time``, ``from``, ``to`` and the filtered ``probability`` of the new regime."""
        return {
            "time": _text(self.time),
            "from": self.before,
            "to": self.after,
            "probability": round(self.probability, 6),
        }


@dataclass(frozen=True, eq=False)
class Spell:
    """A run of sessions in one confirmed regime: rows ``start:stop``."""

    label: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Regimes:
    """What the model knew at each session's close; no row knows anything of a later one.

    Attributes
    ----------
    times
        Closes of the sessions, UTC, ``(T,)``.
    labels
        Names of the regimes, in the order of the columns of ``probability``.
    rows
        See :class:`~tradewind.risk.regimes.detector.RegimeRows`; its arrays are also attributes of this object.
    price
        The market as a price, ``(T,)``, for pictures.
    alerts
        Changes of the confirmed regime, oldest first; empty where they are switched off.
    notes
        What stands for what, what was missing, and each fit that did not come about as it should.
    dwell_sessions
        Sessions in a row that it took to confirm a regime.
    """

    times: TimeArray
    labels: tuple[str, ...]
    rows: RegimeRows
    price: FloatArray
    alerts: tuple[RegimeAlert, ...]
    notes: tuple[str, ...]
    dwell_sessions: int = 1

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self.times)

    @property
    def probability(self) -> FloatArray:
        """Return filtered probabilities ``(T, 4)``; NaN before the first fit."""
        return self.rows.probability

    @property
    def state(self) -> ByteArray:
        """Return the regime that is probable enough at each session, ``(T,)``; -1 where unsure."""
        return self.rows.state

    @property
    def regime(self) -> ByteArray:
        """Return the confirmed regime, ``(T,)``: held while the state is unsure; -1 before the first."""
        return self.rows.regime

    @property
    def multiplier(self) -> FloatArray:
        """Return the smoothed multiplier of exposure, ``(T,)``; NaN where no regime was known."""
        return self.rows.multiplier

    def row_at(self, times: TimeArray) -> IntArray:
        """Return the last session that had closed at each instant; -1 before the first.

        A bar inside a session sees the session before, the bar that closes it sees its own.
        """
        return np.searchsorted(self.times, np.asarray(times, dtype="datetime64[us]"), side="right") - 1

    def multiplier_at(self, times: TimeArray) -> FloatArray:
        """Return the multiplier in force at each instant; NaN where no regime was known."""
        row = self.row_at(times)
        return (
            np.where(row >= 0, self.multiplier[np.maximum(row, 0)], np.nan) if len(self) else np.full(len(row), np.nan)
        )

    def regime_at(self, times: TimeArray) -> ByteArray:
        """Return the confirmed regime in force at each instant; -1 where none was."""
        return np.append(self.regime, np.int8(UNSURE))[self.row_at(times)]

    def spells(self) -> list[Spell]:
        """Return the runs of confirmed regimes, oldest first; the last may go on."""
        edges = np.flatnonzero(np.diff(self.regime)) + 1
        bounds = [0, *edges.tolist(), len(self)]
        runs = [(a, b) for a, b in pairwise(bounds) if a < b]
        return [Spell(self.labels[self.regime[a]], a, b) for a, b in runs if self.regime[a] != UNSURE]

    def average_duration_sessions(self) -> dict[str, float | None]:
        """Return the mean length of each regime's spells, the last one as long as it is so far; None for no spell."""
        lengths: dict[str, list[int]] = {label: [] for label in self.labels}
        for spell in self.spells():
            lengths[spell.label].append(spell.stop - spell.start)
        return {label: float(np.mean(own)) if own else None for label, own in lengths.items()}

    def switches(self) -> int:
        """Return how often the confirmed regime changed."""
        return max(0, len(self.spells()) - 1)

    def switches_at_fits(self) -> int:
        """Return how many of the switches began in the first session of a new fit: the model moved, not the market."""
        fitted = {event.row for event in self.rows.fits if event.kind == "fitted"}
        return sum(spell.start - self.dwell_sessions + 1 in fitted for spell in self.spells()[1:])

    def next_session(self) -> dict[str, dict[str, float | int | None]]:
        """Return what the market did in the session after each one of a confirmed regime.

        ``sessions``, mean log return and its standard deviation: what acting on the regime would have met, not what
        the regime was named for.
        """
        following = np.diff(np.log(self.price))
        known = np.isfinite(following)
        parts = (following[known & (self.regime[:-1] == i)] for i in range(len(self.labels)))
        return {label: _moments(part) for label, part in zip(self.labels, parts, strict=True)}

    def share_of_time(self) -> dict[str, float | None]:
        """Return the share of sessions in each confirmed regime, of those with one."""
        known = self.regime[self.regime != UNSURE]
        return {label: float(np.mean(known == i)) if len(known) else None for i, label in enumerate(self.labels)}

    def log_likelihood(self) -> dict[str, Any]:
        """Return how well each session was predicted at the one before, against one Gaussian of the same window.

        In nats a session, means over the sessions that both predicted; the gain carries its 95 % interval from the
        stationary bootstrap and is negative where the regimes lose. ``return_alone`` is about the market's return.
        """
        rows = self.rows
        return {
            **_compared(rows.log_likelihood, rows.one_state),
            "return_alone": _compared(rows.return_log_likelihood, rows.return_one_state),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        known = np.isfinite(self.probability).all(axis=1)
        fits = [event.kind for event in self.rows.fits]
        return {
            "labels": list(self.labels),
            "sessions": len(self),
            "sessions_known": int(known.sum()),
            "current": self._current(),
            "average_duration_sessions": self.average_duration_sessions(),
            "share_of_time": self.share_of_time(),
            "share_unsure": float(np.mean(self.state[known] == UNSURE)) if known.any() else None,
            "switches": self.switches(),
            "switches_at_fits": self.switches_at_fits(),
            "next_session": self.next_session(),
            "log_likelihood": self.log_likelihood(),
            "fits": {
                "made": fits.count("fitted"),
                "kept_previous": fits.count("kept"),
                "none": fits.count("none"),
                "renamed": sum(event.renamed for event in self.rows.fits),
            },
            "alerts": [alert.to_dict() for alert in self.alerts[-_SHOWN_ALERTS:]],
            "notes": list(self.notes),
        }

    def _current(self) -> dict[str, Any] | None:
        """Return what holds at the last session; None where no regime is known."""
        if not len(self) or not np.isfinite(self.probability[-1]).all():
            return None
        spells = self.spells()
        shares = self.probability[-1].tolist()
        return {
            "time": _text(self.times[-1]),
            "regime": spells[-1].label if spells else None,
            "since": _text(self.times[spells[-1].start]) if spells else None,
            "sure": bool(self.state[-1] != UNSURE),
            "probability": {label: round(p, 6) for label, p in zip(self.labels, shares, strict=True)},
            "multiplier": round(float(self.multiplier[-1]), 6),
        }


def detect(seen: Observations, settings: RegimesSection | None = None) -> Regimes:
    """Return the regimes of a history of observations.

    A prefix of the observations gives a prefix of every row, exactly: it is one block through the fold that goes on
    with each new session.
    """
    wanted = settings or RegimesSection()
    detector = RegimeDetector(wanted, seen.names)
    _, rows = detector.step(detector.initial_state(), seen.values)
    alerts = _alerts(seen.times, rows) if wanted.alert else ()
    notes = (*seen.notes, *_fit_notes(seen.times, rows.fits), *_too_short(seen, wanted))
    return Regimes(seen.times, LABELS, rows, seen.price, alerts, notes, wanted.dwell_sessions)


def _alerts(times: TimeArray, rows: RegimeRows) -> tuple[RegimeAlert, ...]:
    changed = np.flatnonzero((rows.regime[1:] != rows.regime[:-1]) & (rows.regime[:-1] != UNSURE)) + 1
    return tuple(
        RegimeAlert(
            times[row],
            LABELS[rows.regime[row - 1]],
            LABELS[rows.regime[row]],
            float(rows.probability[row, rows.regime[row]]),
        )
        for row in changed.tolist()
    )


def _fit_notes(times: TimeArray, fits: tuple[FitEvent, ...]) -> list[str]:
    """Return one line for each thing that was not as it should be, with how often and when first and last."""
    when: dict[str, list[str]] = {}
    prefix = {"fitted": "", "kept": "the previous fit was kept: ", "none": "no model yet: "}
    for event in fits:
        told = [prefix[event.kind] + note for note in event.notes]
        told += ["names were given anew, the states having changed places"] if event.renamed else []
        for line in told:
            when.setdefault(line, []).append(str(times[event.row])[:10])
    return [
        f"{line} ({days[0]})" if len(days) == 1 else f"{line} ({len(days)} fits, {days[0]} to {days[-1]})"
        for line, days in when.items()
    ]


def _too_short(seen: Observations, wanted: RegimesSection) -> list[str]:
    if len(seen) > wanted.look_back_sessions:
        return []
    return [f"no model: {len(seen)} sessions, the first fit needs {wanted.look_back_sessions} before it"]


def _compared(model: FloatArray, baseline: FloatArray) -> dict[str, Any]:
    both = np.isfinite(model) & np.isfinite(baseline)
    if not both.any():
        return {"regimes": None, "one_state": None, "gain": None, "gain_95": None, "sessions": 0}
    gain = bootstrap_interval(model[both] - baseline[both], _mean, samples=1000)
    ends = [gain.low, gain.high]
    return {
        "regimes": float(np.mean(model[both])),
        "one_state": float(np.mean(baseline[both])),
        "gain": float(np.mean(model[both] - baseline[both])),
        "gain_95": ends if np.isfinite(ends).all() else None,
        "sessions": int(both.sum()),
    }


def _moments(returns: FloatArray) -> dict[str, float | int | None]:
    return {
        "sessions": len(returns),
        "mean_return": float(np.mean(returns)) if len(returns) else None,
        "deviation": float(np.std(returns)) if len(returns) else None,
    }


def _mean(values: FloatArray) -> FloatArray:
    return np.asarray(values.mean(axis=-1))


def _text(time: np.datetime64) -> str:
    return f"{str(time)[:19]}Z"
