"""Columns that know together what none of them knows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.audit import effect
from tradewind.audit.question import Aim, Question

FloatArray = NDArray[np.float64]

#: Aims of a question that are put to all columns together: the nearest single bars. Trees see only the first.
MOST_AIMS = 3
MOST_ACCOMPLICES = 6
#: A member belongs to the group when it brings at least this share of what the group knows.
_WORTHWHILE = 0.02
_FEWEST_ROWS = 250
_MOST_TREE_ROWS = 4_000
_TREE_FOLDS = 3


@dataclass(frozen=True, slots=True)
class Conspiracy:
    """Columns that explain an aim together: what the whole group explains, and how."""

    columns: tuple[str, ...]
    aim: Aim
    effect: float
    how: str


def agreed(questions: Sequence[Question], forms: Mapping[str, FloatArray]) -> Conspiracy | None:
    """Return the weakest of the conspiracies, None unless every question finds one."""
    found = []
    for question in questions:
        group = conspiracy(question, forms)
        if group is None:
            return None
        found.append(group)
    return min(found, key=lambda group: group.effect)


def conspiracy(question: Question, forms: Mapping[str, FloatArray]) -> Conspiracy | None:
    """Return the smallest group of columns found guilty together of an aim, None where there is none.

    Parameters
    ----------
    question
        What may be known too early.
    forms
        Columns that are innocent alone, in the table's order; each is taken beyond the past.
    """
    names = list(forms)
    if len(names) < 2 or len(question.order) < _FEWEST_ROWS:
        return None
    table = np.column_stack([_usable(question.beyond(forms[name])) for name in names])
    for j in range(min(MOST_AIMS, len(question.aims))):
        y = question.answers[:, j]
        known = np.isfinite(y)
        found = _group(table[known], y[known], names, question.guilty, trees=j == 0)
        if found is not None:
            return Conspiracy(found[0], question.aims[j], found[1], found[2])
    return None


def _usable(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    if not known.any() or float(values[known].std()) == 0.0:
        return np.zeros_like(values)
    return np.where(known, (values - values[known].mean()) / values[known].std(), 0.0)


def _group(
    table: FloatArray, y: FloatArray, names: list[str], guilty: float, *, trees: bool
) -> tuple[tuple[str, ...], float, str] | None:
    folds = np.array_split(np.arange(len(y)), effect.FOLDS)
    together = _linear_share(table, y, folds)
    if together >= guilty:
        chosen, share = _smallest(table, y, folds, together)
        return tuple(names[j] for j in chosen), share, "straight line"
    share, importance = _tree_share(table, y) if trees else (0.0, np.zeros(len(names)))
    if share < guilty:
        return None
    chosen = [int(j) for j in np.argsort(-importance)[:MOST_ACCOMPLICES] if importance[j] >= 0.1 * importance.max()]
    return tuple(names[j] for j in chosen), share, "trees"


def _linear_share(table: FloatArray, y: FloatArray, folds: list[NDArray[np.int64]]) -> float:
    """Return the share of y explained by a ridge regression in stretches of time it was not fitted on."""
    error = total = 0.0
    for unseen in folds:
        seen = np.setdiff1d(np.arange(len(y)), unseen)
        x, mean = table[seen], y[seen].mean()
        gram = x.T @ x + 1e-3 * len(seen) * np.eye(x.shape[1])
        beta = np.linalg.solve(gram, x.T @ (y[seen] - mean))
        error += float(((y[unseen] - mean - table[unseen] @ beta) ** 2).sum())
        total += float(((y[unseen] - mean) ** 2).sum())
    return 1.0 - error / total if total > 0.0 else 0.0


def _smallest(
    table: FloatArray, y: FloatArray, folds: list[NDArray[np.int64]], together: float
) -> tuple[list[int], float]:
    """Add the most telling column until the group knows nearly what all know."""
    chosen: list[int] = []
    share = 0.0
    while len(chosen) < min(MOST_ACCOMPLICES, table.shape[1]) and share < 0.95 * together:
        rest = [j for j in range(table.shape[1]) if j not in chosen]
        gains = {j: _linear_share(table[:, [*chosen, j]], y, folds) for j in rest}
        best = max(gains, key=lambda j: gains[j])
        if gains[best] < share + _WORTHWHILE:
            break
        chosen, share = [*chosen, best], gains[best]
    return chosen, max(share, 0.0)


def _tree_share(table: FloatArray, y: FloatArray) -> tuple[float, FloatArray]:
    """Return the share explained by boosted trees on unseen stretches, and how much each column brought."""
    import lightgbm

    settings = {
        "objective": "l2", "num_leaves": 8, "learning_rate": 0.15, "min_data_in_leaf": 20, "verbose": -1,
        "num_threads": 1, "seed": 0, "deterministic": True, "force_col_wise": True, "feature_fraction": 0.5,
        "max_bin": 31,
    }  # fmt: skip
    rows = np.linspace(0, len(y) - 1, min(len(y), _MOST_TREE_ROWS)).astype(np.int64)
    table, y = table[rows], y[rows]
    error = total = 0.0
    importance = np.zeros(table.shape[1])
    for unseen in np.array_split(np.arange(len(y)), _TREE_FOLDS):
        seen = np.setdiff1d(np.arange(len(y)), unseen)
        trees = lightgbm.train(settings, lightgbm.Dataset(table[seen], y[seen]), num_boost_round=40)
        error += float(((y[unseen] - trees.predict(table[unseen])) ** 2).sum())
        total += float(((y[unseen] - y[seen].mean()) ** 2).sum())
        importance += trees.feature_importance("gain")
    return (1.0 - error / total if total > 0.0 else 0.0), importance
