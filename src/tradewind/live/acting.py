"""A decision as the account hears it: held back where drift has stopped it, and as persons ordered.

After an order the symbol is left alone until the rule says something new of it: a BUY or SELL that it was not giving at
that close already. Its HOLD, or a signal that goes on, undoes nothing that a person decided; what the rule was giving
is what it said itself, also where it was held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Action, Signals
from tradewind.evaluation.recommend import Decision
from tradewind.execution.manual import ManualOrder
from tradewind.live.ordered import bracket_at
from tradewind.live.quiet import Spans, covered, why
from tradewind.market.calendar import instant
from tradewind.market.panel import Panel
from tradewind.stats.growing import Growing

BY_HAND: Final = "order"
"""The step of sizing that a person's weight is said to come from."""

SAID: Final = ("action", "decided", "close", "cover", "clause", "stop", "target")
ASKED: Final = ("weight", "bound_by")

Fields = dict[str, Any]
"""Arrays ``(B, N)`` of what is changed of signals and targets, by name."""


class _Standing(NamedTuple):
    """An order whose symbol the rule has said nothing new of: its clause, and what side the rule spoke of last."""

    clause: int
    side: int


def acted_on(decision: Decision, held: Spans, orders: Sequence[ManualOrder]) -> Decision:
    """Return a decision as the account hears it: held back where ``held`` covers it, and as persons ordered.

    Parameters
    ----------
    orders
        Those that were applied, in that order; those of bars and symbols that are not there are left out.
    """
    panel = decision.world.panel
    orders = [one for one in orders if one.symbol in panel.symbols and _instant_of(one) in panel.times]
    if not orders and not covered(panel.times, held).any():
        return decision
    fields, _ = _history(decision, held, orders)
    return _with(decision, fields, held, [words for one in orders for words in _clauses(one, decision)])


class Acted:
    """What the account hears of a running corridor: :func:`acted_on`, of which only the newest row is worked out.

    Before the first order and the first span that is held back it keeps nothing, and hands decisions through.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Growing] = {}
        self._clauses: list[str] = []
        self._standing: dict[int, _Standing] = {}
        self._taken = 0

    def step(self, decision: Decision, held: Spans, orders: Sequence[ManualOrder]) -> Decision:
        """Return the decision of the newest close; ``orders`` has all that were applied, and only grows."""
        panel = decision.world.panel
        now = panel.times[-1]
        came = list(takewhile(lambda one: _instant_of(one) <= now, orders[self._taken :]))
        self._taken += len(came)
        came = [one for one in came if one.symbol in panel.symbols]
        if self._rows:
            came = [one for one in came if _instant_of(one) == now]
            fields = self._newest(decision, held, came)
            for name, rows in self._rows.items():
                rows.extend(fields[name])
        else:
            came = [one for one in came if _instant_of(one) in panel.times]
            if not came and not held:
                return decision
            fields, self._standing = _history(decision, held, came)
            self._rows = {name: Growing(rows) for name, rows in fields.items()}
        self._clauses += [words for one in came for words in _clauses(one, decision)]
        return _with(decision, {name: rows.view for name, rows in self._rows.items()}, held, self._clauses)

    def _newest(self, decision: Decision, held: Spans, came: Sequence[ManualOrder]) -> Fields:
        """Return the newest row, at which some orders were applied."""
        signals, panel, newest = decision.signals, decision.world.panel, np.array([0])
        row = len(panel) - 1
        fields = _fields(decision, slice(row, row + 1))
        if covered(panel.times[row:], held)[0]:
            _hush(fields, newest, len(signals.clauses))
        due = bool(decision.world.plan.decision.due(row + 1)[row])
        for column, standing in list(self._standing.items()):
            side = int(np.sign(signals.action[row, column]))
            speaks = due and bool(signals.decided[row, column])
            if speaks and side and side != standing.side:
                del self._standing[column]
                continue
            self._standing[column] = standing._replace(side=side if speaks else standing.side)
            _let_stand(fields, newest, column, standing.clause)
        for number, order in enumerate(came, start=len(self._clauses) // 2):
            column, clause = panel.symbols.index(order.symbol), _clause_of(signals, number)
            _put(fields, 0, column, order, decision, clause)
            self._standing[column] = _Standing(clause + 1, int(np.sign(signals.action[row, column])))
        return fields


def _history(decision: Decision, held: Spans, orders: Sequence[ManualOrder]) -> tuple[Fields, dict[int, _Standing]]:
    """Return all rows, and the orders that still stand after the last, by column."""
    signals, panel = decision.signals, decision.world.panel
    fields = _fields(decision, slice(None))
    _hush(fields, np.flatnonzero(covered(panel.times, held)), len(signals.clauses))
    due = decision.world.plan.decision.due(len(panel))
    places = [_place(order, panel) for order in orders]
    standing: dict[int, _Standing] = {}
    for number, (order, (row, column)) in enumerate(zip(orders, places, strict=True)):
        clause = _clause_of(signals, number)
        _put(fields, row, column, order, decision, clause)
        word, side = _new_word(signals, due, row, column)
        end = min([word, *(r for r, c in places[number + 1 :] if c == column)])
        _let_stand(fields, np.arange(row + 1, end), column, clause + 1)
        if end == len(panel):
            standing[column] = _Standing(clause + 1, side)
    return fields, standing


def _fields(decision: Decision, rows: slice) -> Fields:
    made = {name: getattr(decision.signals, name)[rows].copy() for name in SAID}
    made |= {name: getattr(decision.targets, name)[rows].copy() for name in ASKED}
    return made | {"by_hand": np.zeros(made["action"].shape, np.bool_)}


def _with(decision: Decision, fields: Fields, held: Spans, ordered: Sequence[str]) -> Decision:
    """Return a decision with other fields; ``ordered`` are the clauses of orders."""
    signals, targets = decision.signals, decision.targets
    signals = replace(
        signals,
        **{name: fields[name] for name in SAID},
        clauses=(*signals.clauses, why(held), *ordered),  # the first of them also without a stop: numbers must stay
        exits=(*signals.exits, signals.exits[0]) if signals.exits else (),
        by_hand=fields["by_hand"] if ordered else None,
    )
    steps = (*targets.steps, BY_HAND) if ordered else targets.steps
    return replace(
        decision, signals=signals, targets=replace(targets, **{name: fields[name] for name in ASKED}, steps=steps)
    )


def _hush(fields: Fields, rows: NDArray[np.int64], clause: int) -> None:
    """Say HOLD at some rows, and ask nothing of the account there."""
    fields["action"][rows], fields["clause"][rows], fields["weight"][rows] = Action.HOLD, clause, np.nan
    fields["close"][rows] = fields["cover"][rows] = False


def _put(fields: Fields, at: int, column: int, order: ManualOrder, decision: Decision, clause: int) -> None:
    """Let an order take the rule's place at a row of some fields."""
    row, _ = _place(order, decision.world.panel)
    fields["decided"][at, column] = fields["by_hand"][at, column] = True
    fields["close"][at, column] = fields["cover"][at, column] = False
    fields["clause"][at, column], fields["bound_by"][at, column] = clause, len(decision.targets.steps)
    if order.side == "CLOSE":
        fields["action"][at, column], fields["weight"][at, column] = Action.HOLD, 0.0
        return
    assert order.weight is not None
    action = Action[order.side]
    fields["action"][at, column], fields["weight"][at, column] = action, int(action) * order.weight
    fields["stop"][at, column], fields["target"][at, column] = bracket_at(order, decision.world.panel, row, column)


def _let_stand(fields: Fields, rows: NDArray[np.int64], column: int, clause: int) -> None:
    """Leave a symbol alone at some rows after an order, whatever the rule goes on to say."""
    fields["weight"][rows, column] = np.nan
    fields["close"][rows, column] = fields["cover"][rows, column] = False
    running = rows[fields["action"][rows, column] != Action.HOLD]
    fields["action"][running, column], fields["clause"][running, column] = Action.HOLD, clause
    fields["by_hand"][running, column] = True


def _clause_of(signals: Signals, number: int) -> int:
    """Return the clause of an order; the one behind it is that of the rows on which it stands."""
    return len(signals.clauses) + 1 + 2 * number


def _clauses(order: ManualOrder, decision: Decision) -> tuple[str, str]:
    row, column = _place(order, decision.world.panel)
    rule_said = Action(int(decision.signals.action[row, column])).name
    return order.words, f"{order.words}; the rule's {rule_said} of then goes on and does not undo it"


def _instant_of(order: ManualOrder) -> np.datetime64:
    assert order.effective is not None
    return instant(order.effective)


def _place(order: ManualOrder, panel: Panel) -> tuple[int, int]:
    return int(np.searchsorted(panel.times, _instant_of(order))), panel.symbols.index(order.symbol)


def _new_word(signals: Signals, due: NDArray[np.bool_], row: int, column: int) -> tuple[int, int]:
    """Return the row at which the rule says BUY or SELL anew after ``row``, and the side that it spoke of before.

    The row is the number of rows where it has not.
    """
    spoken = np.flatnonzero(signals.decided[row + 1 :, column] & due[row + 1 :]) + row + 1
    side = np.sign(signals.action[[row, *spoken], column])
    new = np.flatnonzero((side[1:] != 0) & (side[1:] != side[:-1]))
    if len(new):
        return int(spoken[new[0]]), int(side[new[0]])
    return len(signals.action), int(side[-1])
