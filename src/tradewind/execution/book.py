"""What an account owns and has asked for, between two bars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.execution import kernel as k
from tradewind.execution.settings import AccountSection, ExecutionSection

FloatArray = NDArray[np.float64]

NOT_A_NUMBER_AT_FIRST = (
    k.MARK,
    k.ENTRY,
    k.STOP,
    k.TAKE,
    k.TRAIL,
    k.EXTREME,
    k.DUE,
    k.TARGET,
    k.LAST,
    k.VARIANCE,
    k.VOLUME,
    k.ATR,
)


@dataclass(frozen=True, eq=False)
class Book:
    """The whole state of an account at a bar's close; everything the next step needs besides the next bar.

    Attributes
    ----------
    symbols
        One a column of ``state``.
    state
        ``(31, N)`` float64, rows as laid out in :mod:`tradewind.execution.kernel`.
    scalars
        Cash and equity in cents, accruals, counters, as laid out there.
    time
        The close that the book stands at; NaT before the first bar.
    orders
        ``(M, 19)`` explicit orders that are not finished, as the kernel keeps them.
    """

    symbols: tuple[str, ...]
    state: FloatArray
    scalars: FloatArray
    time: np.datetime64
    orders: FloatArray

    @classmethod
    def opened(cls, symbols: tuple[str, ...], account: AccountSection, *, ranges: bool = True) -> Book:
        """Return the book of a new account: cash and nothing else.

        ``ranges`` keeps each symbol's average true range up to date, which only ``trailing_atr`` orders need.
        """
        if not symbols:
            raise InputError("an account cannot trade an empty universe", hint="name at least one symbol")
        state = np.zeros((k.STATE_ROWS, len(symbols)))
        for row in NOT_A_NUMBER_AT_FIRST:
            state[row] = np.nan
        scalars = np.zeros(k.SCALARS)
        scalars[k.CASH] = scalars[k.EQUITY] = np.rint(account.start_capital * 100)
        scalars[k.ROW] = -1
        scalars[k.RANGES] = ranges
        return cls(symbols, state, scalars, np.datetime64("NaT"), np.empty((0, k.ORDER_FIELDS)))

    def copy(self) -> Book:
        """Return a book of its own with the same content."""
        return replace(self, state=self.state.copy(), scalars=self.scalars.copy(), orders=self.orders.copy())

    @property
    def row(self) -> int:
        """Return the number of the last bar taken, −1 before the first."""
        return int(self.scalars[k.ROW])

    @property
    def cash(self) -> float:
        """Return the cash, in currency."""
        return float(self.scalars[k.CASH] / 100)

    @property
    def equity(self) -> float:
        """Return cash plus positions at the last close, in currency."""
        return float(self.scalars[k.EQUITY] / 100)

    @property
    def shares(self) -> FloatArray:
        """Return the shares held, ``(N,)``; negative is short."""
        return self.state[k.SHARES]

    @property
    def counts(self) -> dict[str, int]:
        """Return how often something happened that a reader should know of."""
        return {name: int(self.scalars[k.AMBIGUOUS + place]) for place, name in enumerate(k.COUNTER_NAMES)}


def kernel_settings(execution: ExecutionSection) -> FloatArray:
    """Return the settings as the kernel reads them: fractions, not basis points."""
    p = np.zeros(k.SCALARS + k.PARAMS)
    p[k.P_AT_CLOSE] = execution.entry == "next_close"
    p[k.P_COMMISSION] = execution.commission_bps / 1e4
    p[k.P_PER_SHARE] = execution.commission_per_share
    p[k.P_MINIMUM] = execution.commission_minimum
    p[k.P_SPREAD] = execution.spread_bps / 2 / 1e4
    p[k.P_SLIPPAGE] = execution.slippage_bps / 1e4
    p[k.P_IMPACT] = execution.impact_coefficient
    p[k.P_LOOKBACK] = execution.impact_lookback_bars
    p[k.P_PARTICIPATION] = execution.participation_max
    p[k.P_CARRY] = execution.participation_remainder == "carry"
    p[k.P_SHORT_ALLOWED] = execution.short_allowed
    p[k.P_BORROW] = execution.borrow_bps_per_year / 1e4
    p[k.P_INTEREST] = execution.cash_interest_rate
    p[k.P_MARGIN_INTEREST] = execution.margin_interest_rate
    p[k.P_LEVERAGE] = execution.margin_leverage_max
    p[k.P_MAINTENANCE] = execution.margin_maintenance
    p[k.P_GRID] = k.MILLION if execution.fractional_shares else 1.0
    p[k.P_BAND] = execution.rebalance_band
    p[k.P_DELISTED_AFTER] = execution.delisted_after_bars
    p[k.P_HAIRCUT] = execution.delisting_haircut
    return p[k.SCALARS :]
