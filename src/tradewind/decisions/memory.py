"""What need not be worked out again when a belief has grown by a bar.

What was said at a close stays said: rules cannot look ahead, and the auditor proves it. So whatever depends on a row
alone is kept, and a fold goes on from its state. Without a memory everything is worked out from the first bar on, with
the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.stats.growing import Growing

FloatArray = NDArray[np.float64]


class Memory:
    """The rows that were worked out for one belief, which may only grow; another belief wants another memory."""

    def __init__(self) -> None:
        self._rows: dict[str, Growing] = {}
        self._states: dict[str, Any] = {}
        self._of: dict[str, Memory] = {}

    def of(self, name: str) -> Memory:
        """Return the memory of a part, such as a member of an ensemble."""
        return self._of.setdefault(name, Memory())

    def rows(self, what: str, count: int, work_out: Callable[[int], FloatArray]) -> FloatArray:
        """Return ``count`` rows of something, those that are not known yet from ``work_out(first of them)``."""
        held = self._rows.get(what)
        if held is None or len(held) > count:
            held = self._rows[what] = Growing(work_out(0))
        elif len(held) < count:
            held.extend(work_out(len(held)))
        return held.view

    def fold(self, what: str, count: int, start: Callable[[], Any], step: Callable[[Any, int], Any]) -> FloatArray:
        """Return ``count`` rows of a fold: ``step(state, first row)`` returns the new state and the rows from there."""

        def work_out(first: int) -> FloatArray:
            before = start() if first == 0 else self._states[what]
            self._states[what], rows = step(before, first)
            return np.asarray(rows)

        return self.rows(what, count, work_out)
