"""ADWIN2: a window that forgets what was before a change of the mean (Bifet & Gavaldà 2007), as a fold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

BUCKETS: Final = 5
"""Buckets of one size that are kept before the two oldest become one of twice the size."""

_SIZES: Final = 40
_LEAST: Final = 5
_GRACE: Final = 10


@dataclass(frozen=True, eq=False)
class AdwinState:
    """The window as buckets of 1, 2, 4, … values.

    Attributes
    ----------
    total, deviation
        ``(40, 6)`` sum of each bucket's values and of their squared deviations from its mean; a row holds the buckets
        of one size, the oldest first.
    held
        ``(40,)`` buckets in each row.
    """

    total: FloatArray
    deviation: FloatArray
    held: NDArray[np.int64]

    @classmethod
    def empty(cls) -> AdwinState:
        """Return the window before any value."""
        shape = (_SIZES, BUCKETS + 1)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(_SIZES, dtype=np.int64))

    @property
    def width(self) -> int:
        """How many values the window covers."""
        return int(self.held @ (1 << np.arange(_SIZES)))

    @property
    def mean(self) -> float:
        """The mean of the window; NaN while it is empty."""
        return float(self.total.sum()) / self.width if self.width else math.nan

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays that are stored without pickle."""
        return {"total": self.total, "deviation": self.deviation, "held": self.held}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> AdwinState:
        """Return what :meth:`arrays` said."""
        return cls(arrays["total"], arrays["deviation"], arrays["held"])


def step(state: AdwinState, value: float, delta: float = 0.002) -> tuple[AdwinState, int]:
    """Take in a value in [0, 1].

    Parameters
    ----------
    delta
        Bound on the probability of seeing a change at a value where there is none, for values that are independent:
        of a series that depends on its past give means over so many that they hardly do.

    Returns
    -------
    The new window, and 1 where the mean has risen, -1 where it has fallen, 0 where nothing is known of a change.
    """
    if not 0.0 <= value <= 1.0:
        raise InputError(f"ADWIN takes values in [0, 1], not {value}")
    window = AdwinState(state.total.copy(), state.deviation.copy(), state.held.copy())
    _insert(window, value)
    changed = 0
    while direction := _cut(window, delta):
        changed = direction
        _forget_oldest(window)
    return window, changed


def _insert(window: AdwinState, value: float) -> None:
    """Append a bucket of one value, and join the two oldest of every size that has one too many."""
    _append(window, 0, value, 0.0)
    for row in range(_SIZES - 1):
        if window.held[row] <= BUCKETS:
            break
        size = float(1 << row)
        (first, second), (a, b) = window.total[row, :2], window.deviation[row, :2]
        apart = size / 2.0 * ((first - second) / size) ** 2
        _append(window, row + 1, first + second, a + b + apart)
        _drop(window, row, 2)


def _append(window: AdwinState, row: int, total: float, deviation: float) -> None:
    place = window.held[row]
    window.total[row, place], window.deviation[row, place] = total, deviation
    window.held[row] += 1


def _drop(window: AdwinState, row: int, count: int) -> None:
    for values in (window.total, window.deviation):
        values[row, :-count] = values[row, count:].copy()
        values[row, -count:] = 0.0
    window.held[row] -= count


def _forget_oldest(window: AdwinState) -> None:
    _drop(window, int(np.flatnonzero(window.held)[-1]), 1)


def _buckets(window: AdwinState) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sizes, sums and squared deviations of all buckets, the oldest first."""
    rows = np.repeat(np.arange(_SIZES)[::-1], window.held[::-1])
    order = np.concatenate([np.arange(held) for held in window.held[::-1]])
    return (1 << rows).astype(np.float64), window.total[rows, order], window.deviation[rows, order]


def _cut(window: AdwinState, delta: float) -> int:
    """Return the sign of the change between the parts of the window, where some cut says that there is one; else 0."""
    size, total, deviation = _buckets(window)
    width = float(size.sum())
    if width <= _GRACE:
        return 0
    mean = total.sum() / width
    variance = float((deviation + size * (total / size - mean) ** 2).sum()) / width
    old, old_total = np.cumsum(size)[:-1], np.cumsum(total)[:-1]
    new = width - old
    gap = (total.sum() - old_total) / new - old_total / old
    usable = (old >= _LEAST) & (new >= _LEAST)
    confidence = math.log(2.0 * math.log(width) / delta)
    with np.errstate(divide="ignore"):
        inverse = 1.0 / np.maximum(old - _LEAST + 1.0, 1.0) + 1.0 / np.maximum(new - _LEAST + 1.0, 1.0)
    bound = np.sqrt(2.0 * inverse * variance * confidence) + 2.0 / 3.0 * confidence * inverse
    found = np.flatnonzero(usable & (np.abs(gap) > bound))
    return int(np.sign(gap[found[0]])) if found.size else 0
