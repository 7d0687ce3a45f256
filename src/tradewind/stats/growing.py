"""Arrays that grow by rows: what was handed out of them before never changes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROOM: Final = 256
"""Rows that there is room for at least."""


class Growing:
    """An array that grows along its first axis.

    Parameters
    ----------
    first
        What it begins with, ``(T, ...)``; copied.
    """

    def __init__(self, first: NDArray[Any]) -> None:
        self._rows = len(first)
        self._held = np.empty((max(2 * len(first), ROOM), *first.shape[1:]), dtype=first.dtype)
        self._held[: self._rows] = first

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows

    def extend(self, rows: NDArray[Any]) -> None:
        """Put rows ``(B, ...)`` behind the last."""
        stop = self._rows + len(rows)
        if stop > len(self._held):
            wider = np.empty((2 * stop, *self._held.shape[1:]), dtype=self._held.dtype)
            wider[: self._rows] = self._held[: self._rows]
            self._held = wider
        self._held[self._rows : stop] = rows
        self._rows = stop

    @property
    def view(self) -> NDArray[Any]:
        """All rows so far."""
        return self._held[: self._rows]
