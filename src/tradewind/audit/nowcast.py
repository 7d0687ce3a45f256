"""What a column says about the target of its own row, beyond what earlier rows say.

The rule: a column is guilty when it explains more than the guilty share of the target of its own row that is
left after everything in earlier rows has been taken into account. Earlier rows are the lagged table; the
target's own earlier values count as known or as unknown, whichever clears the column, because the earlier values
of a forward label are not known yet.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tradewind.audit import effect
from tradewind.audit.effect import Past
from tradewind.audit.foresight import within
from tradewind.audit.past import ROWS_PER_CONTROL, shift
from tradewind.audit.question import Aim, Question, Suspicion
from tradewind.audit.tables import UserTable
from tradewind.errors import DataError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LATER_ROWS = 5
#: A column of an earlier row that explains this much of an unpredictable target knows it too early.
GUILTY_LATER = 0.5
TARGET_LAGS = 5
_FEWEST_ROWS = 60


def with_target(table: UserTable, target: str) -> tuple[UserTable, tuple[str, ...]]:
    """Return the rows that have a target, and what was left out."""
    values = table.series(target)
    known = np.isfinite(values)
    if int(known.sum()) < _FEWEST_ROWS:
        raise DataError(f"{int(known.sum())} rows have a target; {_FEWEST_ROWS} are needed to judge anything")
    if float(np.ptp(values[known])) == 0.0:
        raise DataError(f"{target!r} is constant: there is nothing to determine")
    notice = f"{int((~known).sum())} rows without a target in {target!r} were left out"
    return table.rows(known), () if known.all() else (notice,)


def form(values: FloatArray, table: UserTable) -> FloatArray:
    """Return the form in which a column enters the lagged table, ``(n,)``: logs where it is positive."""
    one = values[:, 0]
    spread = float(np.nanmax(one)) > 1.2 * float(np.nanmin(one)) > 0.0
    return within(np.log(one) if spread else one, table)


class Nowcast:
    """The questions about the target of the same row and of later rows.

    Parameters
    ----------
    table
        Rows that all have a target.
    target
        Its column.
    guilty
        The share explained from which a column is guilty.
    """

    def __init__(self, table: UserTable, target: str, *, guilty: float) -> None:
        self.table, self.target = table, target
        self._y = within(table.series(target), table)
        self._own = np.column_stack([_filled(shift(self._y, k, table.group)) for k in range(1, TARGET_LAGS + 1)])
        self._order = np.argsort(table.times, kind="stable")
        self._times = int(np.unique(table.times).size)
        self._guilty = guilty
        self.white = self._is_white()

    def later(self) -> Question | None:
        """Return the question about the target of later rows; None where the target's own past predicts it."""
        if not self.white:
            return None
        group = self.table.group
        aims = {
            Aim(k, 1, f"{self.target} {k} row{'s' * (k > 1)} later"): shift(self._y, -k, group)
            for k in range(1, LATER_ROWS + 1)
        }
        here = np.column_stack([_filled(self._y), self._own])
        return self._ask(aims, Past(here, self._after(TARGET_LAGS)), max(GUILTY_LATER, self._guilty))

    def same_row(self, too_early: set[str]) -> tuple[Question, Question]:
        """Return the question with the target's own past unknown, then known; columns known early are no control."""
        aim = Aim(0, 1, f"{self.target} in the same row")
        lagged = self._lagged(too_early)
        pasts = (
            Past(lagged, self._after(1)),
            Past(np.column_stack([self._own, lagged]), self._after(TARGET_LAGS)),
        )
        unknown, known = (self._ask({aim: self._y}, past, self._guilty) for past in pasts)
        return unknown, known

    def judge(self, name: str, values: FloatArray, questions: tuple[Question, Question]) -> Suspicion | None:
        """Return the weaker of the two suspicions against a column, None where it cannot know anything."""
        shapes = [within(values[:, j], self.table) for j in range(values.shape[1])]
        if values.shape[1] == 1:
            shapes.append(form(values, self.table))
        found = [s for s in (q.put_to(name, shapes) for q in questions) if s is not None]
        if len(found) < len(questions):
            return None
        weakest = min(found, key=lambda s: (s.guilty, s.whole, s.effect))
        return replace(weakest, guilty=all(s.guilty for s in found))

    def _after(self, rows: int) -> BoolArray:
        """Return the rows with so many before them, ``(n,)``; those with one, or all, where too few would be left."""
        for lag in (rows, 1):
            there = np.isfinite(shift(self._y, lag, self.table.group))
            if int(there.sum()) >= _FEWEST_ROWS:
                return there
        return np.ones(len(self._y), dtype=np.bool_)

    def _ask(self, answers: dict[Aim, FloatArray], past: Past, guilty: float) -> Question:
        columns = len(self.table.columns)
        return Question.about(answers, past, self._order, guilty=guilty, columns=columns, times=self._times)

    def _lagged(self, too_early: set[str]) -> FloatArray:
        """Return the row before of the columns that say most about the target, as many as the rows can carry."""
        group = self.table.group
        lags = {
            name: shift(form(values, self.table), 1, group)
            for name, values in self.table.columns.items()
            if values.shape[1] == 1 and name not in {self.target, *too_early}
        }
        few = max(2, len(self._y) // ROWS_PER_CONTROL - TARGET_LAGS)
        here = {name: form(self.table.columns[name], self.table) for name in lags}
        says = {name: _kinship(here[name] - lag, self._y) + _kinship(lag, self._y) for name, lag in lags.items()}
        chosen = sorted(lags, key=lambda name: -says[name])[:few]
        return np.column_stack([_filled(lags[name]) for name in chosen] or [_filled(self._own[:, 0])])

    def _is_white(self) -> bool:
        rest = effect.clipped(Past(self._own).beyond(self._y))
        known = np.isfinite(rest)
        whole = effect.clipped(self._y)
        return bool(known.any()) and float(rest[known].var()) > 0.8 * float(whole[np.isfinite(whole)].var())


def _kinship(x: FloatArray, y: FloatArray) -> float:
    """Return the squared rank correlation."""
    known = np.isfinite(x) & np.isfinite(y)
    if int(known.sum()) < 3:
        return 0.0
    a, b = effect.normal_scores(x[known]), effect.normal_scores(y[known])
    if float(a.std()) == 0.0 or float(b.std()) == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1] ** 2)


def _filled(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    mean = float(values[known].mean()) if known.any() else 0.0
    return np.where(known, values, mean)
