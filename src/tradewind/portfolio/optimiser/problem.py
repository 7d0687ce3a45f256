"""What is to be optimised: names with their risk, what is expected of them, and what is held already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.stats.correlation_matrix import positive_semidefinite

FloatArray = NDArray[np.float64]

_UNEVEN = 1e-8
"""Difference between a covariance and its transpose, relative to its size, that is rounding and not a mistake."""

ROUNDING = 1e-10
"""Eigenvalue of a correlation matrix, per name, that is zero."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Names, and what is known of them at one close. Returns are simple, over one horizon.

    Attributes
    ----------
    names
        ``N`` symbols.
    covariance
        ``(N, N)`` of the returns over the horizon; a row with NaN is a name of unknown risk.
    expected
        ``(N,)`` expected returns over the horizon, None where there is no belief; NaN: none of that name.
    uncertainty
        ``(N,)`` standard deviation of those expectations (not of the returns), for the robust form.
    scenarios, probabilities
        ``(S, N)`` returns over the horizon and ``(S,)`` how probable each is (None: alike).
    previous
        ``(N,)`` weights held now; None: nothing.
    sectors
        Of each name; empty: unknown.
    beta
        ``(N,)`` against the market.
    side
        ``(N,)`` sign that a weight must not be against: 1 no short, -1 no long, 0 either; None: all either.
    horizon_years
        Length of the horizon, so that a volatility can be given as an annual one.
    observations
        Bars that the covariance was estimated from, where that is known.
    """

    names: tuple[str, ...]
    covariance: FloatArray
    expected: FloatArray | None = None
    uncertainty: FloatArray | None = None
    scenarios: FloatArray | None = None
    probabilities: FloatArray | None = None
    previous: FloatArray | None = None
    sectors: tuple[str, ...] = ()
    beta: FloatArray | None = None
    side: FloatArray | None = None
    horizon_years: float = 1.0
    observations: int | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        count = len(self.names)
        shapes = {"covariance": (count, count)} | dict.fromkeys(
            ("expected", "uncertainty", "previous", "beta", "side"), (count,)
        )
        if self.scenarios is not None:
            shapes |= {"scenarios": (len(self.scenarios), count), "probabilities": (len(self.scenarios),)}
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise InputError(f"{name} has shape {values.shape}, {count} names need {shape}")
        if self.sectors and len(self.sectors) != count:
            raise InputError(f"{len(self.sectors)} sectors for {count} names")
        if len(set(self.names)) != count:
            raise InputError("a name stands twice among the names of a problem")

    def part(self, kept: NDArray[np.int64]) -> Problem:
        """Return the problem of some of its names, by their number."""
        cut = {
            name: getattr(self, name)[kept]
            for name in ("expected", "uncertainty", "previous", "beta", "side")
            if self.has(name)
        }
        if self.scenarios is not None:
            cut["scenarios"] = self.scenarios[:, kept]
        sectors = tuple(self.sectors[i] for i in kept) if self.sectors else ()
        names = tuple(self.names[i] for i in kept)
        return replace(self, names=names, covariance=self.covariance[np.ix_(kept, kept)], sectors=sectors, **cut)

    def has(self, name: str) -> bool:
        """Return whether something optional is known."""
        return getattr(self, name) is not None


@dataclass(frozen=True, eq=False)
class Frozen:
    """What is held in names that are not optimised: it stays as it is, and counts against the limits."""

    gross: float = 0.0
    net: float = 0.0
    beta: float = 0.0
    sector_gross: Mapping[str, float] = field(default_factory=dict)
    sector_net: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A problem that can be solved: every name has a risk, and the covariance is one.

    Attributes
    ----------
    problem
        Of the names that take part alone.
    columns
        Their numbers among all names.
    correlation
        ``(K, K)`` of those names.
    excluded
        Name to why it does not take part.
    frozen
        What is held in those.
    notes
        What was repaired or has to be known.
    """

    problem: Problem
    columns: NDArray[np.int64]
    correlation: FloatArray
    excluded: Mapping[str, str]
    frozen: Frozen
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        """Names that take part."""
        return len(self.columns)

    @property
    def previous(self) -> FloatArray:
        """Weights held now in the names that take part, ``(K,)``."""
        held = self.problem.previous
        return np.zeros(self.count) if held is None else held


def prepare(problem: Problem, needs: tuple[str, ...] = ()) -> Prepared:
    """Leave out names that something is unknown of, repair the covariance, and say both.

    Parameters
    ----------
    needs
        Of ``expected``, ``beta``, ``scenarios`` those that every name must have.

    Raises
    ------
    DataError
        No name is left.
    InputError
        Something needed is not there at all, or the covariance is not symmetric.
    """
    missing = [name for name in needs if not problem.has(name)]
    if missing:
        raise InputError(f"the problem has no {' and no '.join(missing)}", hint="give it, or choose another objective")
    excluded = _excluded(problem, needs)
    kept = np.array([i for i, name in enumerate(problem.names) if name not in excluded], dtype=np.int64)
    if not kept.size:
        raise DataError(f"no name can be optimised: {'; '.join(f'{n}: {why}' for n, why in excluded.items())}")
    part = problem.part(kept)
    covariance, correlation, notes = repaired(part.covariance)
    frozen, said = _frozen(problem, excluded)
    if problem.observations is not None and problem.observations < len(kept):
        notes = (*notes, _too_few(len(kept), problem.observations))
    return Prepared(replace(part, covariance=covariance), kept, correlation, excluded, frozen, (*notes, *said))


def repaired(covariance: FloatArray) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    """Return a covariance without negative eigenvalues, its correlation, and what was done to it.

    The correlations are repaired and the variances kept (:func:`positive_semidefinite`). Raises ``InputError`` where it
    is not symmetric.
    """
    deviation = np.sqrt(np.diag(covariance))
    scaled = covariance / np.outer(deviation, deviation)
    if np.abs(scaled - scaled.T).max(initial=0.0) > _UNEVEN:
        raise InputError(f"the covariance is not symmetric: it differs by {np.abs(scaled - scaled.T).max():.2g}")
    scaled = (scaled + scaled.T) / 2
    np.fill_diagonal(scaled, 1.0)
    if _semidefinite(scaled):
        return (covariance + covariance.T) / 2, scaled, ()
    least = float(np.linalg.eigvalsh(scaled)[0])
    mended = positive_semidefinite(scaled)
    moved = float(np.abs(mended - scaled).max())
    note = (
        f"the covariance was none: its correlations had an eigenvalue of {least:.2g}; they were repaired (Rebonato & "
        f"Jäckel), the largest change of one is {moved:.2g}"
    )
    return mended * np.outer(deviation, deviation), mended, (note,)


def _semidefinite(correlation: FloatArray) -> bool:
    """Whether no eigenvalue is below zero by more than rounding; a tenth of the time of looking at them."""
    try:
        np.linalg.cholesky(correlation + ROUNDING * len(correlation) * np.eye(len(correlation)))
    except np.linalg.LinAlgError:
        return False
    return True


def _excluded(problem: Problem, needs: tuple[str, ...]) -> dict[str, str]:
    """Return the names that cannot take part, each with the first reason."""
    variance = np.diag(problem.covariance)
    known = np.isfinite(variance) & (variance > 0)
    reasons = {"risk unknown: it has no finite positive variance": known}
    gaps = ~np.isfinite(problem.covariance) & known & known[:, None]
    while gaps.any():  # the name with most unknown covariances goes first: the fewest are lost
        worst = int(np.argmax(gaps.sum(axis=1)))
        known = known & (np.arange(len(known)) != worst)
        gaps &= known & known[:, None]
    reasons["risk unknown: covariances with others are missing"] = known
    for name, why in (("expected", "no forecast"), ("beta", "beta unknown"), ("scenarios", "scenarios are missing")):
        values = getattr(problem, name)
        if name in needs and values is not None:
            reasons[why] = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=0)
    found: dict[str, str] = {}
    for why, usable in reasons.items():
        for i in np.flatnonzero(~usable):
            found.setdefault(problem.names[i], why)
    return found


def _frozen(problem: Problem, excluded: Mapping[str, str]) -> tuple[Frozen, tuple[str, ...]]:
    """Return what is held in excluded names, and a word on it."""
    held = np.zeros(len(problem.names)) if problem.previous is None else problem.previous
    out = np.array([name in excluded for name in problem.names]) & (held != 0)
    if not out.any():
        return Frozen(), ()
    beta = np.zeros(len(held)) if problem.beta is None else np.nan_to_num(problem.beta)
    sectors = problem.sectors or ("unknown",) * len(held)
    inside = {s: out & np.array([one == s for one in sectors]) for s in sorted(set(sectors))}
    names = ", ".join(f"{problem.names[i]} ({held[i]:.1%})" for i in np.flatnonzero(out))
    notes = [f"held, not optimised and left as they are, counted against gross, net and sector limits: {names}"]
    if problem.beta is not None and (unknown := out & ~np.isfinite(problem.beta)).any():
        without = ", ".join(problem.names[i] for i in np.flatnonzero(unknown))
        notes.append(f"held with an unknown beta, which the book's beta leaves out: {without}")
    return Frozen(
        gross=float(np.abs(held[out]).sum()),
        net=float(held[out].sum()),
        beta=float(held[out] @ beta[out]),
        sector_gross={s: float(np.abs(held[where]).sum()) for s, where in inside.items()},
        sector_net={s: float(held[where].sum()) for s, where in inside.items()},
    ), tuple(notes)


def _too_few(names: int, bars: int) -> str:
    return (
        f"{names} names from {bars} bars: without shrinkage the covariance is singular, and what looks riskless in it "
        "need not be"
    )
