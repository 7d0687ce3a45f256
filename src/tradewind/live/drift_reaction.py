"""What follows from a reading of drift: nothing, another training, the previous champion, or no recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tradewind.live.drift_monitor import DriftReading
from tradewind.live.settings_drift import DriftSection
from tradewind.stats.diebold_mariano import DieboldMariano, diebold_mariano

Action = Literal["none", "rolled_back", "stopped", "retrain"]

_TRIGGERS: Mapping[str, str] = {
    "accuracy": "fewer directions are right than in validation, by more than is allowed and more than by chance",
    "psi": "features have moved away from the training data (population stability index)",
    "age": "the training data are too old",
}


@dataclass(frozen=True, slots=True)
class Reaction:
    """What to do, and why.

    Attributes
    ----------
    action
        ``rolled_back``: the previous champion takes over; ``stopped``: recommendations are HOLD until a model is
        promoted or a person releases them; ``retrain``: a challenger is to be trained; ``none``.
    retrain
        Whether a challenger is to be trained, whatever else is done.
    reasons
        In words.
    evidence
        The numbers of the comparison of the two champions; empty where there was none.
    """

    action: Action
    retrain: bool
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]


def reaction(
    reading: DriftReading,
    champion_losses: ArrayLike | None = None,
    previous_losses: ArrayLike | None = None,
    settings: DriftSection | None = None,
    *,
    horizon_bars: int = 1,
) -> Reaction:
    """Decide what follows.

    Parameters
    ----------
    champion_losses, previous_losses
        Losses on the same bars ``(T,)``, ``(T, N)`` or ``(T, N, H)``, NaN where a forecast or its outcome is missing;
        smaller is better. Only of forecasts whose outcome came with one of the newest ``reading.recent_bars`` bars:
        what was lost before the change says nothing. None: there is no previous champion, or nothing is known of one.
    horizon_bars
        Longest horizon of the forecasts.

    Notes
    -----
    Drift alone does not say that the previous champion would do better: it takes over only if the test of Diebold and
    Mariano says that it lost less on these bars. Else nothing that is there can be trusted, and recommendations stop.

    Ask again at each bar that reads drift. Right after a change too little is known, and recommendations stop at once;
    the previous champion takes over when outcomes have shown that it is better. What calls for a retraining (accuracy,
    stability index, age) never stops or replaces a model.
    """
    settings = settings or DriftSection()
    wanted = tuple(_TRIGGERS[name] for name in reading.triggers)
    if reading.level != "drift":
        return Reaction("retrain" if wanted else "none", bool(wanted), wanted, {})
    better, why, evidence = _compared(champion_losses, previous_losses, settings, horizon_bars)
    reasons = (*reading.reasons, why, *wanted)
    return Reaction("rolled_back" if better else "stopped", True, reasons, evidence)


def _compared(
    champion: ArrayLike | None, previous: ArrayLike | None, settings: DriftSection, horizon_bars: int
) -> tuple[bool, str, dict[str, Any]]:
    """Return whether the previous champion is better, why, and the numbers."""
    if champion is None or previous is None:
        return False, "there is no previous champion to go back to", {}
    tested = diebold_mariano(_by_bar(champion), _by_bar(previous), horizon_bars)
    p = _one_sided(tested)
    evidence = {
        "bars": tested.n,
        "loss_difference": tested.difference if tested.n else None,
        "statistic": None if np.isnan(tested.statistic) else tested.statistic,
        "p_value": p,
    }
    if tested.n < settings.rollback_bars_min:
        least = settings.rollback_bars_min
        return False, f"only {tested.n} bars know the outcomes of both champions, {least} are needed", evidence
    if p is None or p >= settings.rollback_significance:
        said = "it does not differ" if p is None else f"p = {p:.2g}"
        return False, f"the previous champion is not better on the newest {tested.n} bars ({said})", evidence
    return True, f"the previous champion lost less on the newest {tested.n} bars (p = {p:.2g})", evidence


def _by_bar(losses: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.asarray(losses, dtype=np.float64)
    return values.reshape(len(values), -1) if values.ndim > 1 else values


def _one_sided(tested: DieboldMariano) -> float | None:
    """Return the p-value of the previous champion having been no better; None where the two do not differ."""
    if np.isnan(tested.p_value):
        return None
    return tested.p_value / 2.0 if tested.statistic > 0 else 1.0 - tested.p_value / 2.0
