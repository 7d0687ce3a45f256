"""What each position adds to the risk of the book: Euler's allocation, which sums to the whole.

Volatility and expected shortfall are homogeneous of degree one in the weights, so each is the sum of weight times
marginal risk (Tasche 1999; Euler's theorem). For expected shortfall the marginal risk is minus the mean return of the
name in the book's worst scenarios.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.risk.value_at_risk import needed_sessions

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Contributions:
    """A risk of the book and its parts.

    Attributes
    ----------
    total
        The risk, as a fraction of equity; NaN where unknown, and ``reason`` says why.
    component
        ``(N,)`` part of each position; they sum to ``total``. Negative: it lowers the risk.
    marginal
        ``(N,)`` what a little more of each name would add, per unit of weight. NaN for names without history.
    """

    total: float
    component: FloatArray
    marginal: FloatArray
    reason: str = ""

    @property
    def share(self) -> FloatArray:
        """Each position's part of the whole, ``(N,)``; NaN where the book has no risk."""
        return self.component / self.total if self.total else np.full_like(self.component, np.nan)


def volatility_contributions(covariance: FloatArray, weights: FloatArray) -> Contributions:
    """Return the parts of ``sqrt(w' C w)``: weight times ``(C w) / volatility``.

    Only what is held must be known of the covariance ``(N, N)``.
    """
    held = _weights(weights, covariance.shape)
    mine = np.flatnonzero(held)
    part = covariance[np.ix_(mine, mine)]
    if not np.isfinite(held).all() or not np.isfinite(part).all():
        return _unknown(len(held), "a weight or a covariance of a held name is unknown")
    slope = covariance[:, mine] @ held[mine]
    volatility = math.sqrt(max(float(held[mine] @ slope[mine]), 0.0))
    if volatility == 0:
        return Contributions(0.0, np.zeros(len(held)), np.zeros(len(held)))
    marginal = slope / volatility
    return Contributions(volatility, np.where(held != 0, held * marginal, 0.0), marginal)


def cvar_contributions(scenarios: FloatArray, weights: FloatArray, *, level: float = 0.95) -> Contributions:
    """Return the parts of the expected shortfall over scenarios ``(S, N)`` of returns, past or simulated.

    The tail is that of :mod:`tradewind.risk.value_at_risk`: the worst ``S (1 - level)`` losses, a fraction of one where
    it isn't whole. Scenarios that lack a return of a held name are left out.
    """
    held = _weights(weights, (scenarios.shape[1],) * 2)
    mine = np.flatnonzero(held)
    if not np.isfinite(held).all():
        return _unknown(len(held), "a weight is unknown")
    if not mine.size:
        return Contributions(0.0, np.zeros(len(held)), np.zeros(len(held)))
    known = scenarios[np.isfinite(scenarios[:, mine]).all(axis=1)]
    if len(known) < (least := needed_sessions(level)):
        return _unknown(len(held), f"{len(known)} scenarios have returns of every held name, {least} are needed")
    tail = tail_weights(-(known[:, mine] @ held[mine]), level)
    worst = tail > 0
    marginal = -(tail[worst] @ known[worst])
    component = np.where(held != 0, held * marginal, 0.0)
    return Contributions(float(component.sum()), component, marginal)


def tail_weights(losses: FloatArray, level: float) -> FloatArray:
    """Return the weights ``(S,)``, summing to 1, under which the mean loss is the expected shortfall."""
    order = np.argsort(-losses, kind="stable")
    mass = len(losses) * (1.0 - level)
    found = np.zeros(len(losses))
    found[order] = np.clip(mass - np.arange(len(losses)), 0.0, 1.0) / mass
    return found


def _weights(weights: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    held = np.asarray(weights, dtype=np.float64)
    if shape != (len(held),) * 2:
        raise InputError(f"there are {len(held)} weights and {shape[-1]} names")
    return held


def _unknown(names: int, reason: str) -> Contributions:
    return Contributions(math.nan, np.full(names, np.nan), np.full(names, np.nan), reason)
