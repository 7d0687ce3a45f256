"""Operations over all symbols and the bars of a window at once. What they remember are the bars before a block.

A window is of the calendar's bars, not of each symbol's own: what is compared happened at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.features.expression import Parameter
from tradewind.features.primitives import State
from tradewind.stats.correlation_graph import MEASURES, measure_rows

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Joint:
    """A compiled operation on ``(bars - 1 + T, N)`` values; the first of its parameters is ``bars``.

    ``run(history, nodes, *outputs, *params)`` fills ``(T, N)`` outputs; ``nodes`` are members with a bar.
    """

    run: Callable[..., Any]
    outputs: int

    def start(self, n_symbols: int, params: tuple[Parameter, ...]) -> State:
        """Return the state before the first bar."""
        nothing = np.zeros((0, n_symbols))
        return State(nothing, nothing.astype(np.int64), np.full((int(params[0]) - 1, n_symbols), np.nan))

    def answer(
        self,
        history: FloatArray,
        nodes: NDArray[np.bool_],
        outputs: Sequence[FloatArray],
        params: Sequence[Parameter],
    ) -> None:
        """Fill the outputs of the bars of ``nodes``."""
        self.run(history, nodes, *outputs, *params)


def remembered(state: State, values: FloatArray) -> FloatArray:
    """Return the bars before a block and the block, and remember what the next one needs."""
    history = np.concatenate([state.ring, values])
    state.ring[:] = history[len(values) :]
    return history


JOINT: dict[str, Joint] = {"correlation_graph": Joint(measure_rows, len(MEASURES))}
