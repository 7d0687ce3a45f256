"""Train/test splits on time that cannot leak: purged, embargoed walk-forward; combinatorial purged folds.

Everything is counted in bars (rows of the panel). A label opened at row ``t`` is resolved at its ``end`` row;
a training row is kept only if its label was known *before* the test block opens, embargo included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """One split.

    Attributes
    ----------
    train
        Rows to learn from, rising.
    test
        Rows to forecast, rising. The model may be fitted with what was known at the close of ``test[0] - 1``.
    purge_cut
        First row (before the test block) that was purged or embargoed: walk-forward training labels are all
        resolved before the test block less the embargo. Equal to ``test[0]`` where nothing was.
    number
        Counts from 0.
    """

    train: Rows
    test: Rows
    purge_cut: int
    number: int


def walk_forward(
    rows: int,
    *,
    min_train_bars: int,
    test_bars: int,
    longest_horizon_bars: int,
    embargo_bars: int = 0,
    window: Literal["expanding", "rolling"] = "expanding",
    train_bars: int | None = None,
    first_row: int = 0,
) -> Iterator[Fold]:
    """Yield consecutive, non-overlapping test blocks, each with the training rows that were known before it.

    Parameters
    ----------
    rows
        Bars in the panel, ``T``.
    min_train_bars
        Training rows (after purge and embargo) before the first test block.
    test_bars
        Length of a test block: the model is refitted this often. The last block may be shorter.
    longest_horizon_bars
        Horizon of the longest label: a label opened at ``t`` is known at ``t + longest_horizon_bars``.
    embargo_bars
        Further bars kept between the last training label's end and the test block.
    window
        ``expanding`` keeps all history, ``rolling`` the last ``train_bars`` (default ``min_train_bars``).
    first_row
        Where usable history begins (after warm-up).

    Raises
    ------
    InputError
        When not even one test row remains.
    """
    _check(min_train_bars, test_bars, longest_horizon_bars, embargo_bars)
    gap = longest_horizon_bars + embargo_bars
    start = first_row + min_train_bars + gap
    if start >= rows:
        raise InputError(
            f"{rows} bars are too few: warm-up {first_row} + training {min_train_bars} + purge "
            f"{longest_horizon_bars} + embargo {embargo_bars} leave nothing to test on",
            hint="use a longer history or smaller min_train_bars",
        )
    keep = rows if window == "expanding" else (train_bars or min_train_bars)
    for number, first in enumerate(range(start, rows, test_bars)):
        cut = first - gap
        train = np.arange(max(first_row, cut - keep), cut, dtype=np.int64)
        yield Fold(train, np.arange(first, min(first + test_bars, rows), dtype=np.int64), cut, number)


def purge(train: Rows, end: Rows, test: Rows, *, embargo_bars: int = 0, start: Rows | None = None) -> Rows:
    """Return the training rows whose labels share no bar with the test rows' labels.

    Parameters
    ----------
    train, test
        Row numbers.
    end
        ``(T,)`` row at which the label of each row is resolved (the longest over symbols and horizons).
    embargo_bars
        Bars kept free on both sides of every test stretch: before it, so that a label's end stays clear of
        it; after its last label's end, because features there still remember the test stretch.
    start
        ``(T,)`` row at which each label opens; by default the row itself.
    """
    opened = np.arange(len(end), dtype=np.int64) if start is None else start
    keep = np.ones(len(train), dtype=bool)
    for first, last in _stretches(test):
        until = int(np.max(end[first : last + 1]))
        before = end[train] < int(opened[first]) - embargo_bars
        after = opened[train] > until + embargo_bars
        keep &= before | after
    return train[keep]


def combinatorial_purged(
    rows: int,
    *,
    longest_horizon_bars: int,
    folds: int = 10,
    test_folds: int = 2,
    embargo_bars: int = 0,
) -> Iterator[Fold]:
    """Yield every choice of ``test_folds`` of the ``folds`` blocks as test set (López de Prado 2018, ch. 12).

    The combinations are skfolio's ``CombinatorialPurgedCV``; its purging is widened to the label's end, on
    both sides of every test block. ``test`` is the union of the blocks; use :func:`combinatorial_paths` to
    join the forecasts into complete histories.
    """
    splitter = _skfolio_splitter(folds, test_folds, longest_horizon_bars, embargo_bars)
    end = np.arange(rows, dtype=np.int64) + longest_horizon_bars
    for number, (train, tests) in enumerate(splitter.split(np.zeros((rows, 1)))):
        test = np.sort(np.concatenate(tests)).astype(np.int64)
        kept = purge(np.asarray(train, dtype=np.int64), end, test, embargo_bars=embargo_bars)
        yield Fold(kept, test, int(test[0]) - longest_horizon_bars - embargo_bars, number)


def combinatorial_paths(folds: int, test_folds: int) -> NDArray[np.int64]:
    """Return, for each split and each of its test blocks, the number of the path that it joins (skfolio)."""
    splitter = _skfolio_splitter(folds, test_folds, 0, 0)
    return np.asarray(splitter.get_path_ids(), dtype=np.int64)


def _skfolio_splitter(folds: int, test_folds: int, purged: int, embargo: int):  # type: ignore[no-untyped-def]
    from skfolio.model_selection import CombinatorialPurgedCV

    return CombinatorialPurgedCV(n_folds=folds, n_test_folds=test_folds, purged_size=purged, embargo_size=embargo)


def _stretches(rows: Rows) -> list[tuple[int, int]]:
    """Return the first and last row of every run of consecutive rows."""
    breaks = np.flatnonzero(np.diff(rows) > 1)
    firsts = np.concatenate(([0], breaks + 1))
    lasts = np.concatenate((breaks, [len(rows) - 1]))
    return [(int(rows[a]), int(rows[b])) for a, b in zip(firsts, lasts, strict=True)]


def _check(min_train: int, test: int, horizon: int, embargo: int) -> None:
    for name, value, least in (
        ("min_train_bars", min_train, 1),
        ("test_bars", test, 1),
        ("longest_horizon_bars", horizon, 0),
        ("embargo_bars", embargo, 0),
    ):
        if value < least:
            raise InputError(f"{name} is {value}, it must be at least {least}")
