"""How a stock moves with the market, in its middle and in its tails: a copula of each stock with each market.

Risk model of D5: Kendall's tau, correlation and the dependence of falls and of rises of every stock with SPY and QQQ,
from standardised residuals. A stock with less history than a tail needs borrows its shape from all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.risk.copulas import (
    AS_ONE,
    ENOUGH_ROWS,
    FREEDOM,
    LEAST_ROWS,
    kendall_tau,
    pair_log_likelihood,
    pseudo_observations,
    student_scores,
    tail_dependence,
)

FloatArray = NDArray[np.float64]
Family = Literal["student", "asymmetric"]

EMPIRICAL_TAIL = 0.05
"""Share of the rows that the empirical cross-check calls a tail."""

_GRID = np.geomspace(*FREEDOM, 20)


@dataclass(frozen=True, eq=False)
class MarketDependence:
    """Dependence of ``N`` stocks on ``M`` markets; every array is ``(N, M)``, NaN where unknown.

    Attributes
    ----------
    kendall, correlation
        Kendall's tau-b, and the copula's correlation ``sin(π τ / 2)``.
    freedom
        Degrees of freedom of the Student-t copula; infinite where an asymmetric family was better.
    lower, upper
        Tail dependence: the probability that the stock falls (rises) without bound given that the market does.
    lower_seen, upper_seen
        How often both were in their worst (best) 5 % over how often the market was, as a check.
    observations
        Rows that both have.
    reasons
        Why a pair is unknown, pooled or a special case, in words; empty where there is nothing to say.
    """

    kendall: FloatArray
    correlation: FloatArray
    freedom: FloatArray
    lower: FloatArray
    upper: FloatArray
    lower_seen: FloatArray
    upper_seen: FloatArray
    observations: NDArray[np.int64]
    reasons: tuple[tuple[str, ...], ...]

    @property
    def benefit(self) -> FloatArray:
        """Simple diversification benefit ``1 - correlation`` in (0, 2): a hedge scores highest (not ``1 - |r|``)."""
        return 1.0 - self.correlation


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Stocks and markets side by side, ``(T, P)`` pseudo-observations over the rows that both have."""

    stock: FloatArray
    market: FloatArray
    tau: FloatArray
    rows: NDArray[np.int64]

    @property
    def correlation(self) -> FloatArray:
        return np.asarray(np.sin(0.5 * np.pi * self.tau))


def market_dependence(
    residuals: FloatArray,
    market: FloatArray,
    *,
    family: Family = "student",
    enough_rows: int = ENOUGH_ROWS,
    least_rows: int = LEAST_ROWS,
) -> MarketDependence:
    """Fit a copula to each stock with each market.

    Parameters
    ----------
    residuals, market
        Standardised residuals ``(T, N)`` and ``(T, M)``, oldest first, NaN where missing; all of them enter, so hand
        over what was known.
    family
        ``student``: correlation from Kendall's tau, degrees of freedom by profile likelihood; falls and rises are then
        alike. ``asymmetric``: Student-t, BB1 or BB7 with their rotations by BIC (Joe 1997, section 5.2), whose tails
        differ; some 40 ms a pair, and only where there are ``enough_rows``.
    enough_rows
        With fewer rows, a pair takes the degrees of freedom of greatest likelihood over all pairs; its reason says so.
    least_rows
        With fewer rows, nothing is said about a pair.

    Raises
    ------
    InputError
        Tables that don't fit together, an unknown family, or limits out of order.
    """
    if residuals.ndim != 2 or market.ndim != 2 or len(residuals) != len(market):
        raise InputError(f"residuals {residuals.shape} and markets {market.shape} must be (bar, name), of one length")
    if family not in get_args(Family) or not 2 < least_rows <= enough_rows:
        raise InputError(f"the family {family!r} must be of {get_args(Family)}, rows 2 < {least_rows} <= {enough_rows}")
    pairs = _side_by_side(residuals, market)
    enough, apart = pairs.rows >= enough_rows, np.abs(pairs.tau) < AS_ONE
    known = (pairs.rows >= least_rows) & np.isfinite(pairs.tau)
    freedom = _freedoms(pairs, known & apart, enough)
    lower = np.where(known, tail_dependence(_exact(pairs), np.where(apart, freedom, 1.0)), np.nan)
    upper = lower.copy()
    if family == "asymmetric":
        for pair in np.flatnonzero(known & apart & enough):
            freedom[pair], lower[pair], upper[pair] = _best_family(pairs.stock[:, pair], pairs.market[:, pair])
    lower_seen, upper_seen = _seen(pairs, known)
    shape = (residuals.shape[1], market.shape[1])
    spoken = iter(_reasons(pairs, known, enough, apart, freedom, least_rows, enough_rows))
    return MarketDependence(
        kendall=np.where(known, pairs.tau, np.nan).reshape(shape),
        correlation=np.where(known, _exact(pairs), np.nan).reshape(shape),
        freedom=freedom.reshape(shape),
        lower=lower.reshape(shape),
        upper=upper.reshape(shape),
        lower_seen=lower_seen.reshape(shape),
        upper_seen=upper_seen.reshape(shape),
        observations=pairs.rows.reshape(shape),
        reasons=tuple(tuple(next(spoken) for _ in range(shape[1])) for _ in range(shape[0])),
    )


def _side_by_side(residuals: FloatArray, market: FloatArray) -> _Pairs:
    """Pair every stock with every market; ranks are taken over the rows that both have."""
    both = np.isfinite(residuals)[:, :, None] & np.isfinite(market)[:, None, :]
    flat = (len(residuals), residuals.shape[1] * market.shape[1])
    stock, other = (
        pseudo_observations(np.where(both, side, np.nan).reshape(flat))
        for side in (residuals[:, :, None], market[:, None, :])
    )
    return _Pairs(stock, other, kendall_tau(residuals, market).ravel(), both.sum(axis=0).ravel())


def _exact(pairs: _Pairs) -> FloatArray:
    """Correlations, those of names that are the same one (or its opposite) exactly so."""
    return np.where(np.abs(pairs.tau) < AS_ONE, pairs.correlation, np.sign(pairs.tau))


def _freedoms(pairs: _Pairs, usable: NDArray[np.bool_], enough: NDArray[np.bool_]) -> FloatArray:
    """Degrees of freedom of each pair: its own where it has rows enough, else those of all usable pairs together."""
    found = np.full(len(usable), np.nan)
    chosen = np.flatnonzero(usable)
    if not len(chosen):
        return found
    scores = student_scores(np.stack([pairs.stock[:, chosen], pairs.market[:, chosen]]))
    correlation = pairs.correlation[chosen]

    def likelihood(freedom: float) -> FloatArray:
        stock, market = scores(freedom)
        return pair_log_likelihood(stock, market, correlation, freedom)

    profile = np.stack([likelihood(freedom) for freedom in _GRID])
    own, pooled = _peak(profile), _peak(profile.sum(axis=1, keepdims=True))
    found[chosen] = np.where(enough[chosen], own, pooled)
    return found


def _peak(profile: FloatArray) -> FloatArray:
    """Return where each column of a profile over the grid is greatest, by a parabola through the best three points."""
    best = np.clip(np.argmax(profile, axis=0), 1, len(profile) - 2)
    left, middle, right = (np.take_along_axis(profile, (best + k)[None], axis=0)[0] for k in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    shift = np.divide(0.5 * (left - right), bend, out=np.where(right > left, 1.0, -1.0), where=bend < 0)
    step = np.log(_GRID[1] / _GRID[0])
    return np.asarray(_GRID[best] * np.exp(step * np.clip(shift, -1.0, 1.0)))


def _best_family(stock: FloatArray, market: FloatArray) -> tuple[float, float, float]:
    """Return the degrees of freedom and the lower and upper tail dependence of the best of three families."""
    import pyvinecopulib as pv

    family = pv.BicopFamily
    controls = pv.FitControlsBicop(family_set=[family.student, family.bb1, family.bb7], selection_criterion="bic")
    both = np.isfinite(stock) & np.isfinite(market)
    pair = pv.Bicop.from_data(np.asfortranarray(np.column_stack([stock, market])[both]), controls=controls)
    freedom = float(pair.parameters[1, 0]) if pair.family == family.student else np.inf
    tails = np.asarray(pair.taildep)
    return freedom, float(tails[0, 0]), float(tails[1, 1])


def _seen(pairs: _Pairs, known: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    low = (pairs.stock <= EMPIRICAL_TAIL) & (pairs.market <= EMPIRICAL_TAIL)
    high = (pairs.stock >= 1.0 - EMPIRICAL_TAIL) & (pairs.market >= 1.0 - EMPIRICAL_TAIL)
    expected = EMPIRICAL_TAIL * np.maximum(pairs.rows, 1)
    lower, upper = (np.where(known, tail.sum(axis=0) / expected, np.nan) for tail in (low, high))
    return lower, upper


def _reasons(
    pairs: _Pairs,
    known: NDArray[np.bool_],
    enough: NDArray[np.bool_],
    apart: NDArray[np.bool_],
    freedom: FloatArray,
    least_rows: int,
    enough_rows: int,
) -> list[str]:
    """Say of each pair why it is unknown, pooled or special."""

    def reason(pair: int) -> str:
        rows = pairs.rows[pair]
        if rows < least_rows:
            return f"unknown: {rows} rows in common, of {least_rows} needed"
        if not known[pair]:
            return "unknown: one of the two does not vary"
        if not apart[pair]:
            return "the two are the same series" if pairs.tau[pair] > 0 else "the two are opposites"
        return (
            "" if enough[pair] else f"tails pooled: {rows} rows, {enough_rows} for its own; {freedom[pair]:.1f} shared"
        )

    return [reason(pair) for pair in range(len(known))]
