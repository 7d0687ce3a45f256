"""What a model leaned on, out of whatever it says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

MOST = 12
KINDS = {
    "importance": "share of the gain in its last fit",
    "weights": "weights of its last fit",
    "coefficients": "weights of its last fit",
    "effects": "strongest effects on the expected return in its last fit",
}
INTERCEPTS = frozenset({"level", "intercept", "const"})


@dataclass(frozen=True)
class Influence:
    """How much each input weighed: which model says so, in what sense, and the values, largest first."""

    model: str
    sense: str
    values: Mapping[str, float]

    @property
    def signed(self) -> bool:
        """Whether the values have directions (weights), not shares."""
        return self.sense != KINDS["importance"]

    @property
    def effects(self) -> bool:
        """Whether the values are effects on the expected return alone."""
        return self.sense.startswith(KINDS["effects"])


def influences(record: TrackRecord) -> list[Influence]:
    """Return what the traded model says it leaned on, and where it has no shares those of the first model that has."""
    traded = record.decision.belief.forecast
    horizon = str(record.decision.belief.settings.horizon_bars)
    own = [_influence(traded.model, kind, traded.explanation.get(kind), horizon) for kind in KINDS]
    found = [i for i in own if i is not None]
    if any(not i.signed for i in found):
        return found[:1]
    others = (
        _influence(name, "importance", forecast.explanation.get("importance"), horizon)
        for name, forecast in record.forecasts.items()
    )
    return [*found[:2], *[i for i in others if i is not None][:1]]


def _influence(model: str, kind: str, said: Any, horizon: str) -> Influence | None:
    nested = said.get(horizon) if isinstance(said, Mapping) and isinstance(said.get(horizon), Mapping) else said
    values = {k: v for k, v in _numbers(nested).items() if k not in INTERCEPTS and v}
    if not values:
        return None
    if kind == "importance":
        total = sum(values.values()) or 1.0
        values = {name: value / total for name, value in values.items()}
    top = sorted(values.items(), key=lambda pair: (-abs(pair[1]), pair[0]))[:MOST]
    where = f", {horizon} bars ahead" if nested is not said else ""
    return Influence(model, KINDS[kind] if not where else f"{KINDS[kind]}{where}", dict(top))


def _numbers(said: Any) -> dict[str, float]:
    """Return names and numbers from a mapping or a list of pairs; what is neither is left out."""
    pairs = said.items() if isinstance(said, Mapping) else said if isinstance(said, list | tuple) else ()
    clean = (pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2)
    return {str(name): float(value) for name, value in clean if isinstance(value, int | float)}
