"""What the rooms above ask the simulator to do: target weights with their brackets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TradePlan:
    """Target positions decided at the close of each bar, with the bracket each order carries.

    Row ``t`` may use what was known at the close of bar ``t``; it fills in bar ``t + 1 + delay_bars`` or later.
    All arrays are ``(T, N)`` float64; ``None`` stands for all-NaN. Distances are fractions of the entry price.

    Attributes
    ----------
    weight
        Target position as a fraction of equity at the close (negative is short); NaN leaves the position,
        its bracket and any order still waiting exactly as they are; 0 closes.
    stop
        Distance of the protective stop on the losing side of the entry price, in (0, 1); NaN for none.
    take_profit
        Distance of the profit target on the winning side, above 0; NaN for none.
    trail
        Distance of the trailing stop from the best price since entry, in (0, 1); NaN for none.
    max_bars
        The position is closed at the close of the bar in which it has been held so many bars since a row last named a
        weight on its side, or filled; a new time never ends before the old. NaN leaves it, at an entry: never.
        Infinite holds for good: the row's bracket is then the whole one, NaN for none, and what is held on its side has
        it before the next open, whether it trades or not, at the levels that its distances from the close give.
    priority
        Orders that compete for cash are served from the largest to the smallest, ties in symbol order;
        NaN comes last.
    delay_bars
        Every decision is sent so many bars late (and sized when it is sent): 0 in earnest, 1 to see how much
        of a result depends on speed.
    """

    weight: FloatArray
    stop: FloatArray | None = None
    take_profit: FloatArray | None = None
    trail: FloatArray | None = None
    max_bars: FloatArray | None = None
    priority: FloatArray | None = None
    delay_bars: int = 0

    def __post_init__(self) -> None:
        """Refuse shapes that differ and distances that make no sense."""
        if self.weight.ndim != 2:
            raise InputError(f"plan weights have shape {self.weight.shape}, expected (bars, symbols)")
        if self.delay_bars < 0:
            raise InputError(f"delay_bars is {self.delay_bars}", hint="a delay is 0 or more bars")
        if np.isinf(self.weight).any():
            raise InputError("plan weights contain infinities", hint="use NaN to leave a position as it is")
        for name, least, most in (
            ("stop", 0.0, 1.0),
            ("take_profit", 0.0, np.inf),
            ("trail", 0.0, 1.0),
            ("max_bars", 0.0, np.inf),
            ("priority", -np.inf, np.inf),
        ):
            self._check(name, least, most)

    def _check(self, name: str, least: float, most: float) -> None:
        values = getattr(self, name)
        if values is None:
            return
        if values.shape != self.weight.shape:
            raise InputError(f"plan {name} has shape {values.shape}, the weights have {self.weight.shape}")
        bad = (values <= least) | ((values >= most) & (name != "max_bars"))
        if name != "priority" and bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            raise InputError(
                f"plan {name} is {values[row, column]} in row {row}, column {column}",
                hint=f"it must lie strictly between {least:g} and {most:g}, or be NaN for none",
            )

    @classmethod
    def hold(cls, shape: tuple[int, int]) -> TradePlan:
        """Return the plan that never trades: for books driven by explicit orders alone."""
        return cls(weight=np.full(shape, np.nan))

    def delayed(self, bars: int) -> TradePlan:
        """Return this plan with every decision sent ``bars`` later than now."""
        from dataclasses import replace

        return replace(self, delay_bars=self.delay_bars + bars)
