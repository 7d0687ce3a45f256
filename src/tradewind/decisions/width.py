"""Row C3: no trade is opened on a forecast that says too little, because its interval is too wide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.settings import DecisionSection

if TYPE_CHECKING:
    from tradewind.decisions.signals import Belief, Signals

FloatArray = NDArray[np.float64]

USUAL_HALF_LIFE_BARS = 250.0
UNOPENED = "of the trade that the rule would have opened"


def narrow_enough(belief: Belief, signals: Signals) -> NDArray[np.bool_]:
    """Return where the 80 % interval over each signal's horizon is within the playbook's limits, ``(T, N)``.

    Its width is a fraction of the price; what is usual for a symbol is the slow average (half-life 250 bars) of the
    widths forecast up to that bar. A missing interval is not narrow.
    """
    settings = belief.settings
    fine = np.ones(signals.action.shape, dtype=np.bool_)
    if not limited(settings):
        return fine
    for bars in np.unique(signals.horizon_bars):
        width = interval_width(belief, int(bars))
        within = width <= (settings.interval_width_max or np.inf)
        if settings.interval_width_usual_max is not None:
            within &= width <= settings.interval_width_usual_max * usual(width)
        fine = np.where(signals.horizon_bars == bars, within, fine)
    return fine


def limited(settings: DecisionSection) -> bool:
    """Return whether the playbook limits the width at all."""
    return settings.interval_width_max is not None or settings.interval_width_usual_max is not None


def interval_width(belief: Belief, bars: int) -> FloatArray:
    """Return the width of the 80 % interval as a fraction of the price, ``(T, N)``."""
    levels, quantiles = belief.forecast.levels, belief.quantiles(bars)
    return np.asarray(np.exp(quantiles[..., levels.index(0.9)]) - np.exp(quantiles[..., levels.index(0.1)]))


def usual(width: FloatArray) -> FloatArray:
    """Return the geometric average of each symbol's widths so far, the newer counting more, ``(T, N)``."""
    step = 1.0 - 0.5 ** (1.0 / USUAL_HALF_LIFE_BARS)
    known = np.log(np.where(width > 0, width, np.nan))
    average = np.full(width.shape, np.nan)
    now = np.full(width.shape[1], np.nan)
    for t, row in enumerate(known):
        now = np.where(np.isfinite(now), now + step * np.nan_to_num(row - now), row)
        average[t] = now
    return np.asarray(np.exp(average))


def hold_where(signals: Signals, where: NDArray[np.bool_], said: str) -> Signals:
    """Return the signals with HOLD and these words where something keeps the rule from opening.

    What is held may still be closed by the side that the rule would have taken.
    """
    kept = where & (signals.action != 0)
    if not kept.any():
        return signals
    from tradewind.decisions.signals import Exits

    return replace(
        signals,
        action=np.where(kept, 0, signals.action).astype(np.int8),
        close=signals.close | (kept & (signals.action < 0)),
        cover=signals.cover | (kept & (signals.action > 0)),
        clause=np.where(kept, len(signals.clauses), signals.clause).astype(np.int16),
        clauses=(*signals.clauses, said),
        exits=(*signals.exits, Exits(UNOPENED, UNOPENED)) if signals.exits else (),
    )
