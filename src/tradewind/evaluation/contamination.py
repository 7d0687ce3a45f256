"""Models that have read the future: pretrained ones know the world up to the day their weights were made."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.evaluation.plan import Plan
from tradewind.models.base import Origin, origin_of
from tradewind.models.settings import ENSEMBLE


def contamination_flags(
    plan: Plan, times: NDArray[np.datetime64], left_out: Collection[str] = ()
) -> list[dict[str, str]]:
    """Return a red flag for each pretrained model that forecast bars from before its weights were known.

    Parameters
    ----------
    times
        Closes of the bars that were forecast.
    left_out
        Models that forecast nothing.
    """
    found = []
    for name, origin in _origins(plan, left_out):
        when = _early(origin, times)
        if when:
            said = f"{name} forecasts with weights that were trained elsewhere ({origin.name}), {when}: what came after"
            found.append({"code": "contaminated", "message": f"{said} may be what it remembers, not what it foresaw"})
    return found


def _origins(plan: Plan, left_out: Collection[str]) -> Iterator[tuple[str, Origin]]:
    members = plan.ensemble.members if ENSEMBLE in plan.models.all else ()
    for name in dict.fromkeys((*plan.models.all, *members, *plan.features.forecasts)):
        if name == ENSEMBLE or name in left_out:
            continue
        origin = _origin(name, plan.models.parameters.get(name, {}))
        if origin is not None:
            yield name, origin


def _origin(name: str, parameters: dict[str, Any]) -> Origin | None:
    """Return a model's origin; None too for an ensemble's member whose weights are not there: it forecast nothing."""
    try:
        return origin_of(name, parameters)
    except DataError:
        return None


def _early(origin: Origin, times: NDArray[np.datetime64]) -> str:
    """Say which of the bars came before the weights; nothing where none did."""
    if origin.known_at is None:
        return "and nobody said when"
    early = times < np.datetime64(origin.known_at, "D") + np.timedelta64(1, "D")
    return f"known on {origin.known_at}, after {early.mean():.0%} of the forecast bars" if early.any() else ""
