"""What a rule may know besides bars, features and forecasts: the regime, the calendar of a company, its fundamentals.

All of it is laid on the rows of one panel, as known at each close; what no source told is NaN, and a rule that needs it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BULL, BEAR, VOLATILE, RANGE = range(4)
REGIMES = ("bull", "bear", "volatile", "range")


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Known at each close of a panel; None where the playbook does not ask for it.

    Attributes
    ----------
    regime
        ``(T,)`` int8 index into :data:`REGIMES`, -1 where unsure or not yet known.
    multiplier
        ``(T,)`` share of risk that the regime allows, NaN where not yet known.
    earnings_in
        ``(T, N)`` sessions until the next earnings date known then; 0: today after the close or tomorrow before the open.
    price_earnings, growth, dividend_yield
        ``(T, N)`` as filed and known then.
    notes
        What is missing, and why.
    """

    regime: NDArray[np.int8] | None = None
    multiplier: FloatArray | None = None
    earnings_in: FloatArray | None = None
    price_earnings: FloatArray | None = None
    growth: FloatArray | None = None
    dividend_yield: FloatArray | None = None
    notes: tuple[str, ...] = ()
