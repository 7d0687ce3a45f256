"""Feature importances out of whatever a model says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

MOST = 15


def importances(record: TrackRecord) -> tuple[str, dict[str, float]] | None:
    """Return a model's name and its features' shares, largest first: the traded model's, else the first that has any."""
    for name, forecast in _traded_first(record).items():
        found = _search(forecast.explanation)
        if found:
            total = sum(found.values()) or 1.0
            top = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST]
            return name, {feature: value / total for feature, value in top}
    return None


def _traded_first(record: TrackRecord) -> dict[str, Any]:
    traded = record.decision.belief.forecast.model
    return {traded: record.decision.belief.forecast, **record.forecasts}


def _search(said: Any) -> dict[str, float]:
    """Return the first mapping of names to numbers under a key that speaks of importance, however deep."""
    if not isinstance(said, Mapping):
        return {}
    for key, value in said.items():
        if "importance" in str(key):
            found = _as_numbers(value)
            if found:
                return found
    return next((found for value in said.values() if (found := _search(value))), {})


def _as_numbers(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float) and v > 0}
    if isinstance(value, list | tuple):
        pairs = [entry for entry in value if isinstance(entry, list | tuple) and len(entry) == 2]
        return {str(k): float(v) for k, v in pairs if isinstance(v, int | float) and v > 0}
    return {}
