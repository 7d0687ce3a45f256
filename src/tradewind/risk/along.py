"""Covariance and betas of a universe as known at one bar after another: both folds, stepped along a history once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.risk import beta as slopes
from tradewind.risk import covariance as ewma

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(eq=False)
class RiskAlong:
    """What is known of the joint risk at a row, for rows that rise.

    A bar is taken in once, whoever asks of which symbols: pairs do not look at each other, so that the sums of some
    symbols are those that they would have alone, bit for bit.

    Parameters
    ----------
    returns
        ``(T, N)`` one-bar log returns, those of row ``t`` known at its close; NaN is missing.
    market
        ``(T,)`` of the market, None where nobody asks for betas.
    half_life_bars, shrinkage, least
        As in :func:`tradewind.risk.covariance.covariance` and :func:`tradewind.risk.beta.betas`.
    row
        The last bar that is past; at first the last one that is left out.
    """

    returns: FloatArray
    market: FloatArray | None
    half_life_bars: float
    shrinkage: float
    least: int
    row: int = -1
    _covariance: ewma.CovarianceState = field(init=False, repr=False)
    _beta: slopes.BetaState = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin with sums of nothing."""
        symbols = self.returns.shape[1]
        self._covariance = ewma.initial_state(symbols, self.half_life_bars)
        self._beta = slopes.initial_state(symbols, self.half_life_bars)

    def at(self, row: int) -> RiskAlong:
        """Take in all bars up to a row; raises ``InputError`` where it lies before one that was asked for."""
        if row < self.row:
            raise InputError(f"row {row} comes after row {self.row} was asked for", hint="ask in the order of the rows")
        block = slice(self.row + 1, row + 1)
        self._covariance = ewma.step(self._covariance, self.returns[block], in_place=True)
        if self.market is not None:
            self._beta = slopes.step(self._beta, self.returns[block], self.market[block])
        self.row = row
        return self

    def covariance(self, columns: IntArray) -> FloatArray:
        """Return the covariance of one bar's returns of some symbols (rising numbers), ``(K, K)``."""
        return ewma.covariance(self._part(columns), shrinkage=self.shrinkage, least=self.least)

    def unmeasured_pairs(self, columns: IntArray) -> int:
        """Return how many pairs of those have too few bars in common and get the mean correlation."""
        return ewma.unmeasured_pairs(self._part(columns), least=self.least)

    def betas(self) -> FloatArray | None:
        """Return the betas of all symbols, shrunk towards one, ``(N,)``; None without a market."""
        return None if self.market is None else slopes.betas(self._beta, least=self.least).shrunk

    def _part(self, columns: IntArray) -> ewma.CovarianceState:
        state, box = self._covariance, np.ix_(columns, columns)
        return replace(
            state,
            products=state.products[box],
            weights=state.weights[box],
            common=state.common[box],
            squares=state.squares[box],
            weights_squared=state.weights_squared[columns],
        )
