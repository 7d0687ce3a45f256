"""Closes at which drift has stopped recommendations: HOLD, and nothing asked of the account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Spans = Mapping[str, Sequence[tuple[np.datetime64, np.datetime64 | None]]]
"""By seat: closes between which, both included, its recommendations were stopped; None: they still are."""


def covered(times: NDArray[np.datetime64], held: Spans) -> NDArray[np.bool_]:
    """Return which closes any span covers, ``(T,)``."""
    still = np.zeros(len(times), dtype=bool)
    for spans in held.values():
        for first, last in spans:
            still |= (times >= first) & (True if last is None else times <= last)
    return still


def why(held: Spans) -> str:
    """Say why nothing is recommended at such closes."""
    return f"recommendations are stopped: the forecasts of {', '.join(held)} have drifted"
