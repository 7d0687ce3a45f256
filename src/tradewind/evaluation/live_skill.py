"""How good the forecasts of a running corridor have been: coverage, skill, reliability and direction, of each seat.

Everything is read from stored forecasts whose outcome is known; nothing is forecast again. Figures are means over the
forecasts; the naive forecast they are compared with is the normal one of zero mean whose standard deviation was stored
with each of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.challenge_direction import counts, direction_scores
from tradewind.evaluation.model_registry import (
    ALIASES,
    CHALLENGER,
    CHAMPION,
    current,
    lineage_of,
    member_of,
    name_of,
    stack,
)
from tradewind.stats.losses import brier, pinball

if TYPE_CHECKING:
    from tradewind.market.store.records import ModelDecision, ModelRecord, Prediction, Records

FloatArray = NDArray[np.float64]

ROLLING_DATES: Final = 100
"""Dates that a rolling figure is the mean of."""

SHOWN_POINTS: Final = 200
"""Points of a rolling figure that are shown."""

BINS: Final = 10

NEWEST: Final = 20_000
"""Forecasts that a report reads by default, the newest."""


@dataclass(frozen=True, eq=False)
class Resolved:
    """Forecasts whose outcome is known, as arrays ``(n,)`` in the order of their time.

    Attributes
    ----------
    times, symbols, horizons, models, regimes
        What each is about, and whose it is; texts are empty where nobody said.
    levels, quantiles
        ``Q`` and ``(n, Q)`` log returns.
    outcome, scale
        What came, and the naive forecast's standard deviation (NaN where it was not stored).
    """

    times: NDArray[np.datetime64]
    symbols: NDArray[np.str_]
    horizons: NDArray[np.int64]
    models: NDArray[np.str_]
    regimes: NDArray[np.str_]
    levels: tuple[float, ...]
    quantiles: FloatArray
    outcome: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> Resolved:
        """Lay stored forecasts side by side: those with an outcome and the levels that most of them have."""
        known = [one for one in predictions if one.outcome is not None and one.quantiles]
        usual = Counter(tuple(sorted(one.quantiles, key=float)) for one in known).most_common(1)
        names = usual[0][0] if usual else ()
        kept = [one for one in known if tuple(sorted(one.quantiles, key=float)) == names]
        return cls(
            times=np.array([one.time.replace(tzinfo=None) for one in kept], dtype="datetime64[us]"),
            symbols=np.array([one.symbol for one in kept], dtype=np.str_),
            horizons=np.array([one.horizon_bars for one in kept], dtype=np.int64),
            models=np.array([one.model or "" for one in kept], dtype=np.str_),
            regimes=np.array([one.regime or "" for one in kept], dtype=np.str_),
            levels=tuple(float(name) for name in names),
            quantiles=np.array([[one.quantiles[n] for n in names] for one in kept]).reshape(len(kept), len(names)),
            outcome=np.array([one.outcome for one in kept], dtype=np.float64),
            scale=np.array([math.nan if one.scale is None else one.scale for one in kept], dtype=np.float64),
        )

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.outcome)

    def part(self, chosen: NDArray[np.bool_]) -> Resolved:
        """Return some of them."""
        names = ("times", "symbols", "horizons", "models", "regimes", "quantiles", "outcome", "scale")
        return Resolved(levels=self.levels, **{name: getattr(self, name)[chosen] for name in names})

    def probability_up(self) -> FloatArray:
        """Return the probability that each gave to a rise."""
        from tradewind.stats.distribution import grid, probability_above

        if not len(self):
            return np.empty(0)
        return probability_above(self.quantiles, np.zeros(len(self)), grid(self.levels))

    def inside(self, coverage: float) -> FloatArray:
        """Return 1 where the outcome lay in the central interval nearest to a coverage, else 0."""
        from tradewind.calibration.coverage import inside, interval_levels

        return inside(self.quantiles, self.outcome, interval_levels(self.levels, coverage))


def skill_of(resolved: Resolved) -> dict[str, Any]:
    """Return how good some forecasts were; None for what cannot be told.

    ``coverage`` by the interval's nominal coverage in per cent, ``pinball_skill`` the share of the naive forecast's
    loss saved, ``brier`` and ``calibration_error`` of the probability of a rise (the latter in ten bins of as many
    forecasts), and ``direction``: the side of the median against the sign of what came.
    """
    if not len(resolved):
        return {**dict.fromkeys(_FIGURES), "forecasts": 0, "dates": 0, "coverage": {}, "direction": None}
    rose, said = (resolved.outcome > 0).astype(np.float64), resolved.probability_up()
    direction = _direction(resolved)
    table = reliability_of(said, rose)
    return {
        "forecasts": len(resolved),
        "dates": len(np.unique(resolved.times)),
        "coverage": coverage_of(resolved),
        "coverage_80": _mean(resolved.inside(0.8)),
        "pinball": float(_pinball(resolved).mean()),
        "pinball_skill": _pinball_skill(resolved),
        "brier": _mean(brier(rose, said)),
        "calibration_error": _calibration_error(table),
        "hit_rate": direction["accuracy"],
        "direction": direction,
    }


_FIGURES: Final = ("coverage_80", "pinball", "pinball_skill", "brier", "calibration_error", "hit_rate")


def coverage_of(resolved: Resolved) -> dict[str, float | None]:
    """Return what share of the outcomes each central interval held, by its nominal coverage in per cent."""
    from tradewind.calibration.coverage import inside, mirrored_pairs

    pairs = mirrored_pairs(resolved.levels)
    names = [f"{100 * (resolved.levels[high] - resolved.levels[low]):.0f}" for low, high in pairs]
    return {
        name: _mean(inside(resolved.quantiles, resolved.outcome, pair)) for name, pair in zip(names, pairs, strict=True)
    }


def reliability_of(
    probability: FloatArray, happened: FloatArray | NDArray[np.bool_], bins: int = BINS
) -> list[dict[str, float | int]]:
    """Return what was said against how often it came, in bins of as many forecasts: probability, happened, n."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1])) if probability.size else np.empty(0)
    place = np.searchsorted(edges, probability, side="right")
    rows: list[dict[str, float | int]] = []
    for number in np.unique(place):
        own = place == number
        came = {"probability": float(probability[own].mean()), "happened": float(happened[own].mean())}
        rows.append({**came, "n": int(own.sum())})
    return rows


def rolling_coverage(resolved: Resolved, dates: int = ROLLING_DATES) -> list[dict[str, Any]]:
    """Return the mean coverage of the 80 % intervals over each run of dates, at its last one; the newest points."""
    if not len(resolved):
        return []
    times, place = np.unique(resolved.times, return_inverse=True)
    count = np.bincount(place, minlength=len(times))
    by_date = np.bincount(place, weights=resolved.inside(0.8), minlength=len(times)) / count
    width = min(dates, len(times))
    summed = np.concatenate(([0.0], np.cumsum(by_date)))
    means = (summed[width:] - summed[:-width]) / width
    chosen = np.unique(np.linspace(0, len(means) - 1, min(SHOWN_POINTS, len(means))).astype(np.int64))
    return [{"time": _iso(times[width - 1 + i]), "value": float(means[i])} for i in chosen]


def by(resolved: Resolved, key: NDArray[Any]) -> dict[str, dict[str, Any]]:
    """Return the skill of each group of forecasts; those without a name are in none."""
    named = [name for name in np.unique(key) if str(name)]
    return {str(name): skill_of(resolved.part(key == name)) for name in named}


def seat_report(
    records: Records,
    seat: str,
    *,
    horizon_bars: int | None = None,
    runs: Collection[str] | None = None,
    limit: int = NEWEST,
    decisions: int = 20,
    champion: str | None = None,
    decided: Sequence[ModelDecision] = (),
) -> dict[str, Any]:
    """Return everything about a seat: who sits there and sat before, how good its forecasts are, what was decided.

    Parameters
    ----------
    horizon_bars
        Count only forecasts over this horizon; default: all together.
    runs
        Count only forecasts of these live sessions; default: of all that were no replay.
    limit
        Read at most so many forecasts, the newest; ``live.forecasts`` and ``live.resolved`` count all.
    decisions
        Show at most so many, the newest first.
    champion, decided
        Who forecasts in a session that moves no champion of the records (a replay), and what was decided in it, the
        newest last.
    """
    runs = _no_replays(records) if runs is None else runs
    made, known = records.count_predictions(seat, runs=runs)
    resolved = Resolved.of(records.predictions_of(seat, runs=runs, resolved=True, limit=limit))
    if horizon_bars is not None:
        resolved = resolved.part(resolved.horizons == horizon_bars)
    changes = records.alias_changes(seat)
    now, entries = current(changes), {one.id: one for one in records.models(lineage_of(seat))}
    now = now if champion is None else {**now, CHAMPION: champion}
    sitting = {alias: _about(entries.get(now.get(alias) or "")) for alias in ALIASES}
    sits = entries.get(now.get(CHAMPION) or "")
    known_decisions = [*reversed(decided), *records.model_decisions(seat, limit=decisions)][:decisions]
    return {
        "seat": name_of(seat),
        "key": seat,
        "model": member_of(seat) or (sits.model if sits else None),
        "champion": sitting[CHAMPION],
        "challenger": sitting[CHALLENGER],
        "champions_before": stack(changes)[:-1],
        "live": _live(resolved, made, known),
        "reliability": reliability_of(resolved.probability_up(), resolved.outcome > 0),
        "decisions": [told(one) for one in known_decisions],
    }


def told(decision: ModelDecision) -> dict[str, Any]:
    """Return a decision as JSON says it."""
    return {
        "at": decision.at.isoformat(),
        "decision": decision.decision,
        "champion": decision.champion,
        "challenger": decision.challenger,
        "reasons": list(decision.reasons),
        "evidence": dict(decision.evidence),
        "by": decision.by,
    }


def _live(resolved: Resolved, made: int, known: int) -> dict[str, Any]:
    whole = skill_of(resolved)
    return {
        **whole,
        "forecasts": made,
        "resolved": known,
        "judged": len(resolved),
        "coverage_rolling": rolling_coverage(resolved),
        "by_regime": by(resolved, resolved.regimes),
        "by_symbol": by(resolved, resolved.symbols),
        "by_model": by(resolved, resolved.models),
        "by_horizon": by(resolved, resolved.horizons.astype(np.str_)),
    }


def _no_replays(records: Records) -> list[str]:
    return [one.id for one in records.live_sessions() if one.mode != "REPLAY"]


def _about(record: ModelRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "id": record.id,
        "version": record.version,
        "trained_until": record.trained_until.isoformat(),
        "made": record.made.isoformat(),
    }


def _direction(resolved: Resolved) -> Mapping[str, Any]:
    """Return accuracy, precision, recall and F1 of the side of the median, where both it and the outcome are not 0."""
    middle = int(np.argmin(np.abs(np.asarray(resolved.levels) - 0.5)))
    called = np.sign(resolved.quantiles[:, middle]).astype(np.int8)
    came = np.sign(resolved.outcome).astype(np.int8)
    decided = (called != 0) & (came != 0)
    return direction_scores(counts(called[:, None], came[:, None], decided[:, None]).sum(axis=0))


def _pinball(resolved: Resolved) -> FloatArray:
    return np.asarray(pinball(resolved.outcome, resolved.quantiles, resolved.levels).mean(axis=-1))


def _pinball_skill(resolved: Resolved) -> float | None:
    """Return the share of the naive loss saved, on the forecasts whose naive one is known."""
    from scipy.special import ndtri

    there = np.isfinite(resolved.scale) & (resolved.scale > 0)
    if not there.any():
        return None
    part = resolved.part(there)
    naive = part.scale[:, None] * ndtri(np.asarray(part.levels))
    loss = pinball(part.outcome, naive, part.levels).mean(axis=-1)
    return 1.0 - float(_pinball(part).mean() / loss.mean())


def _calibration_error(table: Sequence[Mapping[str, float | int]]) -> float | None:
    """Return the mean distance between what was said and how often it came, each bin by its forecasts."""
    total = sum(row["n"] for row in table)
    return sum(row["n"] * abs(row["probability"] - row["happened"]) for row in table) / total if total else None


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def _iso(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}+00:00"
