"""A decision that is held back: HOLD, and nothing asked of the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.recommend import Decision

Spans = Mapping[str, Sequence[tuple[np.datetime64, np.datetime64 | None]]]
"""By seat: closes between which, both included, its recommendations were stopped; None: they still are."""


def covered(times: NDArray[np.datetime64], held: Spans) -> NDArray[np.bool_]:
    """Return which closes any span covers, ``(T,)``."""
    still = np.zeros(len(times), dtype=bool)
    for spans in held.values():
        for first, last in spans:
            still |= (times >= first) & (True if last is None else times <= last)
    return still


def quieted(decision: Decision, rows: NDArray[np.int64], why: str) -> Decision:
    """Return a decision that says HOLD at some rows, and asks nothing of the account there."""
    signals, targets = decision.signals, decision.targets
    action, clause = signals.action.copy(), signals.clause.copy()
    close, cover, weight = signals.close.copy(), signals.cover.copy(), targets.weight.copy()
    action[rows], clause[rows] = 0, len(signals.clauses)
    close[rows], cover[rows], weight[rows] = False, False, np.nan
    exits = (*signals.exits, signals.exits[0]) if signals.exits else ()
    held = replace(
        signals,
        action=action,
        clause=clause,
        close=close,
        cover=cover,
        clauses=(*signals.clauses, f"recommendations are stopped: the forecasts of {why} have drifted"),
        exits=exits,
    )
    return replace(decision, signals=held, targets=replace(targets, weight=weight))
