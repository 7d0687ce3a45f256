"""Columns that know together what none of them knows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.audit import effect
from tradewind.audit.question import Aim, Question

FloatArray = NDArray[np.float64]

#: Aims of a question that are put to all columns together: the nearest single bars. Trees see only the first.
MOST_AIMS = 3
MOST_ACCOMPLICES = 6
#: Members that bring less than this share of the variance are left out, down to this part of what all know.
_WORTHWHILE = 0.02
_NEARLY_ALL = 0.9
_RIDGE = 1e-5
_FEWEST_ROWS = 250
#: Rows among which a column's variance must be shared out: two for each stretch of time.
_FEWEST_VARYING = 2.0 * effect.FOLDS
#: Decimals of the share of the variance to which two columns' worth is compared: beyond them lies rounding, which
#: differs between processors, and the first column of the table is preferred.
_TIE_DECIMALS = 6
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
    """Return the members common to the conspiracies that the questions find, None unless every question finds one.

    Where nobody is in all of them the smallest is returned. The effect is the weakest one's.
    """
    found = []
    for question in questions:
        group = conspiracy(question, forms)
        if group is None:
            return None
        found.append(group)
    smallest = min(found, key=lambda group: len(group.columns))
    common = tuple(name for name in smallest.columns if all(name in group.columns for group in found))
    return replace(smallest, columns=common or smallest.columns, effect=min(group.effect for group in found))


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
    rests = [question.beyond(forms[name]) for name in names]
    for j in range(min(MOST_AIMS, len(question.aims))):
        y = question.answers[:, j]
        known = np.isfinite(y)
        table = np.column_stack([_usable(rest[known]) for rest in rests])
        found = _group(table, y[known], names, question.guilty, trees=j == 0)
        if found is not None:
            return Conspiracy(found[0], question.aims[j], found[1], found[2])
    return None


def _usable(values: FloatArray) -> FloatArray:
    """Return a column with mean 0 and variance 1, all 0 where it varies in too few rows to be tried on unseen ones."""
    known = np.isfinite(values)
    if not known.any() or float(values[known].std()) == 0.0:
        return np.zeros_like(values)
    standard = np.where(known, (values - values[known].mean()) / values[known].std(), 0.0)
    return standard if _rows_that_vary(standard) >= _FEWEST_VARYING else np.zeros_like(values)


def _rows_that_vary(standard: FloatArray) -> float:
    """Return among how many rows the variance is shared out (the inverse Herfindahl index of the squares)."""
    squares = standard**2
    return float(squares.sum() ** 2 / (squares**2).sum())


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
    chosen = [
        int(j)
        for j in np.argsort(-importance, kind="stable")[:MOST_ACCOMPLICES]
        if importance[j] >= 0.1 * importance.max()
    ]
    return tuple(names[j] for j in chosen), share, "trees"


def _linear_share(table: FloatArray, y: FloatArray, folds: list[NDArray[np.int64]]) -> float:
    """Return the share of y explained by a ridge regression in stretches of time it was not fitted on.

    y is clipped, so guesses are too: one wild row that two columns hide in their difference must not outweigh all.
    """
    error = total = 0.0
    for unseen in folds:
        seen = np.setdiff1d(np.arange(len(y)), unseen)
        x, mean = table[seen], y[seen].mean()
        gram = x.T @ x + _RIDGE * len(seen) * np.eye(x.shape[1])
        beta = np.linalg.solve(gram, x.T @ (y[seen] - mean))
        guess = np.clip(mean + table[unseen] @ beta, y[seen].min(), y[seen].max())
        error += float(((y[unseen] - guess) ** 2).sum())
        total += float(((y[unseen] - mean) ** 2).sum())
    return 1.0 - error / total if total > 0.0 else 0.0


def _smallest(
    table: FloatArray, y: FloatArray, folds: list[NDArray[np.int64]], together: float
) -> tuple[list[int], float]:
    """Drop the columns that tell least, first by halves and then one by one, while the group knows nearly all."""
    chosen, share = list(range(table.shape[1])), together
    while len(chosen) > 1:
        worth = _worth(table[:, chosen], y)
        order = [chosen[j] for j in np.argsort(-np.round(worth, _TIE_DECIMALS), kind="stable")]
        fewer = order[: len(order) // 2] if len(order) > MOST_ACCOMPLICES else order[:-1]
        left = _linear_share(table[:, fewer], y, folds)
        if left < max(_NEARLY_ALL * together, share - _WORTHWHILE):
            if len(order) <= MOST_ACCOMPLICES:
                break
            fewer = order[:-1]
            left = _linear_share(table[:, fewer], y, folds)
            if left < _NEARLY_ALL * together:
                break
        chosen, share = fewer, left
    return sorted(chosen), share


def _worth(table: FloatArray, y: FloatArray) -> FloatArray:
    """Return the share of y's variance by which the error grows when each column is left out, ``(columns,)``."""
    inverse = np.linalg.inv(table.T @ table + _RIDGE * len(y) * np.eye(table.shape[1]))
    beta = inverse @ (table.T @ (y - y.mean()))
    return np.asarray(beta**2 / np.diag(inverse)) / float(((y - y.mean()) ** 2).sum())


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
