"""Long/short books from scores: market neutral, sector neutral, 130/30.

A book is the nearest one to the scores' own that has no exposure it should not have. With ``d`` the weights away from a
base (nothing, or the equal-weight portfolio for 130/30), ``v`` the names' variances and ``X`` the exposures (one, beta,
sector dummies), it is the solution of

    minimise  Σ v (d - s score / v)²   subject to   Xᵀ d = 0,  least ≤ base + d ≤ most

so what is given up for neutrality is given up where it costs least risk (Grinold & Kahn 2000, ch. 15, with a diagonal
risk model), and caps and names that cannot be borrowed are part of the problem and not trimmed afterwards. The problem
is solved exactly through its dual, which has one variable an exposure (semismooth Newton steps; Qi & Sun 1993), for
all bars at once; the scale ``s`` is the one at which the gross weight is what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tradewind.errors import InputError
from tradewind.settings import Section

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

REASONS = (
    "",
    "no scores",
    "too few names",
    "the scores do not differ beyond the exposures",
    "limits keep the gross weight below what was asked for",
    "limits leave no book with these exposures",
)
"""What is to be said of a book, by code; the weights of ``no scores`` are NaN."""

TOLERANCE = 1e-8
_ROUNDS, _STEPS, _HALVINGS = 60, 60, 40

_LARGEST_SCALE = 100.0
"""Times the gross asked for: scores scaled further only move names from limit to limit, away from the scores."""


class LongShortSection(Section):
    """How scores become a long/short book."""

    book: Literal["none", "market_neutral", "sector_neutral", "one_thirty_thirty"] = Field(
        "none", description="none: positions come one by one from signals"
    )
    gross_max: float = Field(1.6, gt=0, le=1.6, description="sum of absolute weights of the book")
    position_max: float = Field(0.10, gt=0, le=1, description="largest absolute weight of one position")


@dataclass(frozen=True, eq=False)
class LongShortBook:
    """Weights with what they expose to.

    Attributes
    ----------
    weight
        ``(T, N)`` fractions of equity; NaN on bars without any score: positions stay as they are.
    gross, net, beta
        ``(T,)`` of the book; the beta of 130/30 is that beyond its base's.
    sector_net
        ``(T,)`` largest absolute net weight of a sector, beyond the base's.
    reason
        ``(T,)`` index into :data:`REASONS`; 0 where the book is what was asked for.
    """

    weight: FloatArray
    gross: FloatArray
    net: FloatArray
    beta: FloatArray
    sector_net: FloatArray
    reason: NDArray[np.int8]

    def times(self) -> dict[str, int]:
        """Return on how many bars each thing was to be said."""
        return {text: int(np.sum(self.reason == code)) for code, text in enumerate(REASONS) if text}


def market_neutral(
    score: FloatArray,
    volatility: FloatArray,
    beta: FloatArray,
    *,
    position_max: float | FloatArray = 0.10,
    gross: float = 1.6,
    borrowable: BoolArray | None = None,
    sectors: Sequence[str] = (),
) -> LongShortBook:
    """Return the book with no net weight and no beta.

    Parameters
    ----------
    score
        ``(T, N)``, or ``(N,)`` for one bar: expected returns or any ranking, higher is better; NaN is no opinion and
        no position. Only differences count.
    volatility, beta
        Of the same shape or ``(N,)``, as known at each bar; a name without either gets no position.
    position_max
        Largest absolute weight of a name, or ``(T, N)`` of each.
    gross
        Sum of absolute weights; less where limits do not let it be reached.
    borrowable
        ``(T, N)`` names that may be short; the others are only bought. All where None.
    sectors
        ``(N,)`` only to report their net weights.

    Raises
    ------
    InputError
        Shapes that differ, or limits that make no sense.
    """
    problem = _Problem.of(score, volatility, beta, position_max, gross, borrowable, sectors)
    return problem.solved(np.zeros(problem.score.shape), by_sector=False)


def sector_neutral(
    score: FloatArray,
    volatility: FloatArray,
    beta: FloatArray,
    sectors: Sequence[str],
    *,
    position_max: float | FloatArray = 0.10,
    gross: float = 1.6,
    borrowable: BoolArray | None = None,
) -> LongShortBook:
    """Return the book with no net weight in any sector and no beta; see :func:`market_neutral`.

    A name that is alone in its sector gets no position. ``"unknown"`` counts as a sector like any other.
    """
    problem = _Problem.of(score, volatility, beta, position_max, gross, borrowable, sectors)
    if len(sectors) != problem.score.shape[1]:
        raise InputError(f"{len(sectors)} sectors for {problem.score.shape[1]} names")
    return problem.solved(np.zeros(problem.score.shape), by_sector=True)


def one_thirty_thirty(
    score: FloatArray,
    volatility: FloatArray,
    beta: FloatArray,
    sectors: Sequence[str] = (),
    *,
    short: float = 0.30,
    position_max: float | FloatArray = 0.10,
    borrowable: BoolArray | None = None,
) -> LongShortBook:
    """Return the book with ``1 + short`` long and ``short`` short; see :func:`market_neutral`.

    It is fully invested and has the beta (and, where ``sectors`` are given, the sector weights) of the equal-weight
    portfolio of the names that have a score.
    """
    if not 0 < short <= 0.3:
        raise InputError(f"short is {short}", hint="it lies in (0, 0.3]: the gross weight is at most 160 %")
    problem = _Problem.of(score, volatility, beta, position_max, 1.0 + 2.0 * short, borrowable, sectors)
    count = problem.known.sum(axis=1, keepdims=True)
    base = np.where(problem.known, 1.0 / np.maximum(count, 1), 0.0)
    return problem.solved(base, by_sector=bool(sectors))


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is asked for, as ``(T, N)`` arrays; names without an opinion have zeros and ``known`` False."""

    score: FloatArray
    variance: FloatArray
    beta: FloatArray
    known: BoolArray
    can_short: BoolArray
    sectors: tuple[str, ...]
    position_max: FloatArray
    gross: float

    @classmethod
    def of(
        cls,
        score: FloatArray,
        volatility: FloatArray,
        beta: FloatArray,
        position_max: float | FloatArray,
        gross: float,
        borrowable: BoolArray | None,
        sectors: Sequence[str],
    ) -> _Problem:
        scores = np.atleast_2d(np.asarray(score, dtype=np.float64))
        most = _shaped(position_max, scores.shape, "position_max")
        if not ((most >= 0) & (most <= 1)).all() or (most.size and not most.any()) or not 0 < gross <= 1.6 + TOLERANCE:
            raise InputError(f"position_max is {position_max}, gross {gross}", hint="they lie in (0, 1] and (0, 1.6]")
        sigma, exposure = (
            _shaped(values, scores.shape, name) for values, name in ((volatility, "volatility"), (beta, "beta"))
        )
        known = np.isfinite(scores) & np.isfinite(sigma) & (sigma > 0) & np.isfinite(exposure)
        can = (
            np.ones(scores.shape, dtype=np.bool_)
            if borrowable is None
            else _shaped(borrowable, scores.shape, "borrowable") > 0
        )
        scores, exposure = np.where(known, scores, 0.0), np.where(known, exposure, 0.0)
        return cls(scores, np.where(known, sigma, 1.0) ** 2, exposure, known, can, tuple(sectors), most, gross)

    def solved(self, base: FloatArray, *, by_sector: bool) -> LongShortBook:
        """Return the book around ``base``."""
        exposures = self._exposures(by_sector)
        least = np.where(self.known, np.where(self.can_short, -self.position_max, 0.0), 0.0) - base
        most = np.where(self.known, self.position_max, 0.0) - base
        tilt = self._tilt(exposures)
        allowed = _Set(self.variance / self.variance.mean(axis=1, keepdims=True), exposures, least, most)
        away, reached, feasible = _scaled(tilt, base, allowed, self.gross)
        weight = np.where(np.abs(base + away) > TOLERANCE, base + away, 0.0)
        reason = self._reason(tilt, weight, reached, feasible)
        weight[np.isin(reason, [REASONS.index("too few names"), len(REASONS) - 1])] = 0.0
        weight[~self.known.any(axis=1)] = np.nan
        return self._book(weight, base, reason)

    def _exposures(self, by_sector: bool) -> FloatArray:
        """Return ``(T, N, K)`` one (or the sectors) and beta, each scaled to about one."""
        groups = sorted(set(self.sectors)) if by_sector else []
        dummies = [np.array([s == group for s in self.sectors]) for group in groups] or [np.ones(self.score.shape[1])]
        size = np.sqrt((self.beta**2).sum(axis=1) / np.maximum(self.known.sum(axis=1), 1))[:, None]
        columns = [*(self.known * dummy for dummy in dummies), self.beta / np.where(size > 0, size, 1.0)]
        return np.stack(columns, axis=-1).astype(np.float64)

    def _tilt(self, exposures: FloatArray) -> FloatArray:
        """Return score / variance with every exposure taken out, of gross one; zero where nothing is left."""
        inverse = np.where(self.known, 1.0 / self.variance, 0.0)
        weighed = exposures * inverse[:, :, None]
        factor = np.linalg.pinv(exposures.transpose(0, 2, 1) @ weighed, rcond=1e-10, hermitian=True)
        common = np.einsum("tnk,tkl,tl->tn", exposures, factor, np.einsum("tnk,tn->tk", weighed, self.score))
        left = np.where(self.known, self.score - common, 0.0)
        rounding = np.abs(left) <= 1e-9 * np.abs(self.score).max(axis=1, initial=0.0, keepdims=True)
        tilt = np.where(rounding, 0.0, left) * inverse
        size = np.abs(tilt).sum(axis=1, keepdims=True)
        return np.asarray(tilt / np.where(size > 0, size, 1.0))

    def _reason(
        self, tilt: FloatArray, weight: FloatArray, reached: BoolArray, feasible: BoolArray
    ) -> NDArray[np.int8]:
        count = self.known.sum(axis=1)
        conditions = [count == 0, count < 2, ~feasible, ~tilt.any(axis=1), ~reached]
        codes = [REASONS.index(text) for text in ("no scores", "too few names", REASONS[5], REASONS[3], REASONS[4])]
        return np.select(conditions, codes, 0).astype(np.int8)

    def _book(self, weight: FloatArray, base: FloatArray, reason: NDArray[np.int8]) -> LongShortBook:
        held = np.nan_to_num(weight)
        away = held - np.where(held.any(axis=1, keepdims=True), base, 0.0)
        groups = [np.array([s == group for s in self.sectors]) for group in sorted(set(self.sectors))]
        nets = [np.abs(away[:, columns].sum(axis=1)) for columns in groups] or [np.full(len(held), np.nan)]
        gross, net = np.abs(held).sum(axis=1), held.sum(axis=1)
        return LongShortBook(weight, gross, net, (away * self.beta).sum(axis=1), np.max(nets, axis=0), reason)


def _shaped(values: float | FloatArray | BoolArray, shape: tuple[int, ...], name: str) -> FloatArray:
    try:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), shape)
    except ValueError:
        raise InputError(f"{name} has shape {np.shape(values)}, the scores have {shape}") from None


@dataclass(frozen=True, eq=False)
class _Set:
    """What a book may be: ``Xᵀ d = 0`` and ``least ≤ d ≤ most``, distances weighed by ``variance``; ``(T, N[, K])``."""

    variance: FloatArray
    exposures: FloatArray
    least: FloatArray
    most: FloatArray

    def rows(self, rows: NDArray[np.int64]) -> _Set:
        return _Set(self.variance[rows], self.exposures[rows], self.least[rows], self.most[rows])

    def at(self, wanted: FloatArray, dual: FloatArray) -> FloatArray:
        """Return the weights that the dual variables imply."""
        pull = np.einsum("tnk,tk->tn", self.exposures, dual)
        return np.clip(wanted - pull / self.variance, self.least, self.most)

    def missed(self, away: FloatArray) -> FloatArray:
        """Return ``(T, K)`` exposures that are left."""
        return np.einsum("tnk,tn->tk", self.exposures, away)

    def value(self, wanted: FloatArray, away: FloatArray, dual: FloatArray) -> FloatArray:
        """Return the dual objective, which the solution maximises, ``(T,)``."""
        distance = 0.5 * (self.variance * (away - wanted) ** 2).sum(axis=1)
        return np.asarray(distance + (dual * self.missed(away)).sum(axis=1))

    def ascent(self, wanted: FloatArray, away: FloatArray, dual: FloatArray) -> FloatArray:
        """Return the Newton step of the dual: the names held by no limit are those that give way."""
        free = (away > self.least) & (away < self.most)
        give = np.where(free, 1.0 / self.variance, 0.0)[:, :, None] * self.exposures
        curvature = self.exposures.transpose(0, 2, 1) @ give
        size = np.einsum("tnk,tn->t", self.exposures**2, 1.0 / self.variance)
        ridge = (1e-7 * size + 1e-300)[:, None, None] * np.eye(curvature.shape[1])
        return np.asarray(np.linalg.solve(curvature + ridge, self.missed(away)[:, :, None])[:, :, 0])


def _scaled(tilt: FloatArray, base: FloatArray, allowed: _Set, gross: float) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Return the book at the scale that makes its gross weight ``gross``, where that was reached, and where one exists.

    Gross is continuous in the scale; the scale is bracketed, then found by false position and halving in turn.
    """
    every = np.arange(len(tilt))
    low, high = np.zeros(len(tilt)), np.full(len(tilt), gross * (1.0 + 1e-12))
    best, dual = _projected(np.zeros_like(tilt), allowed, np.zeros(allowed.exposures.shape[::2]))
    feasible = np.abs(allowed.missed(best)).max(axis=1) <= TOLERANCE
    size_low = np.abs(base + best).sum(axis=1)
    size_high = np.full(len(tilt), np.nan)

    def at(scale: FloatArray, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray, BoolArray]:
        away, dual[rows] = _projected(tilt[rows] * scale[:, None], allowed.rows(rows), dual[rows])
        exact = np.abs(allowed.rows(rows).missed(away)).max(axis=1) <= TOLERANCE
        return away, np.abs(base[rows] + away).sum(axis=1), exact

    bracketed = np.zeros(len(tilt), dtype=np.bool_)
    rows = every[feasible & tilt.any(axis=1)]
    while rows.size and high[rows[0]] < _LARGEST_SCALE * gross:
        away, size, exact = at(high[rows], rows)
        kept = exact & (size <= gross + TOLERANCE)
        best[rows[kept]], low[rows[kept]], size_low[rows[kept]] = away[kept], high[rows[kept]], size[kept]
        size_high[rows], bracketed[rows] = size, exact & (size >= gross - TOLERANCE)
        rows = rows[exact & ~bracketed[rows]]
        high[rows] *= 4.0
    rows = every[bracketed & (size_low < gross - TOLERANCE)]
    for turn in range(_ROUNDS):
        if not rows.size:
            break
        share = (gross - size_low[rows]) / (size_high[rows] - size_low[rows])
        scale = low[rows] + (high[rows] - low[rows]) * (0.5 if turn % 3 == 2 else share)
        away, size, exact = at(scale, rows)
        below = (size <= gross + TOLERANCE) & exact
        best[rows[below]] = away[below]
        low[rows[below]], size_low[rows[below]] = scale[below], size[below]
        high[rows[~below]], size_high[rows[~below]] = scale[~below], size[~below]
        rows = rows[~(below & (size >= gross - TOLERANCE))]
    return best, size_low >= gross - 10 * TOLERANCE, feasible


def _projected(wanted: FloatArray, allowed: _Set, dual: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the allowed weights that are nearest to the wanted ones, and their dual variables.

    Where nothing is allowed the exposures do not vanish; the caller looks.
    """
    dual = dual.copy()
    away = allowed.at(wanted, dual)
    rows = np.arange(len(wanted))
    for _ in range(_STEPS):
        rows = rows[np.abs(allowed.rows(rows).missed(away[rows])).max(axis=1) > 0.01 * TOLERANCE]
        if not rows.size:
            break
        dual[rows], away[rows] = _stepped(wanted[rows], allowed.rows(rows), away[rows], dual[rows])
    return away, dual


def _stepped(wanted: FloatArray, allowed: _Set, away: FloatArray, dual: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the dual variables and weights after one step, halved until the dual objective rises."""
    step = allowed.ascent(wanted, away, dual)
    slope = (step * allowed.missed(away)).sum(axis=1)
    before, length = allowed.value(wanted, away, dual), np.ones(len(wanted))
    for _ in range(_HALVINGS):
        tried = dual + length[:, None] * step
        new = allowed.at(wanted, tried)
        short = allowed.value(wanted, new, tried) < before + 1e-4 * length * slope - 1e-14 * np.abs(before)
        if not short.any():
            break
        length = np.where(short, length / 2.0, length)
    return tried, new
