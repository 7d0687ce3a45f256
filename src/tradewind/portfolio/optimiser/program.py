"""A convex programme in standard form, put together from named blocks of constraints and solved by Clarabel.

Minimise ``x'Px / 2 + q'x`` where, in every block, ``bound - A x`` lies in the block's cone. The matrices are laid out
here and not through cvxpy: for ten names the latter spends a hundred times as long on it as the solver on the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Cone = Literal["nonnegative", "zero", "second_order"]

TOLERANCE = 1e-9
"""Feasibility and relative gap that the solver is asked for."""

SOLVED = ("Solved", "AlmostSolved")
INFEASIBLE = ("PrimalInfeasible", "AlmostPrimalInfeasible")


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of constraints with one name: ``bound - A x`` lies in ``cone``.

    Attributes
    ----------
    name
        What a person calls it; empty for the definition of a variable, which is no limit.
    row, column, value
        ``A`` as triplets.
    bound
        ``(m,)``; in a second-order cone the first row bounds the norm of the others.
    of
        What each row is about; empty: the book.
    said
        The limit in words with its value.
    limit
        The value alone.
    unit
        How much a bound changes with the value.
    """

    name: str
    row: IntArray
    column: IntArray
    value: FloatArray
    bound: FloatArray
    cone: Cone = "nonnegative"
    of: tuple[str, ...] = ()
    said: str = ""
    limit: float = float("nan")
    unit: float = 1.0

    def times(self, x: FloatArray) -> FloatArray:
        """Return ``A x``, ``(m,)``."""
        found = np.bincount(self.row, self.value * x[self.column], minlength=len(self.bound))
        return np.asarray(found, dtype=np.float64)

    def excess(self, x: FloatArray) -> float:
        """Return by how much ``x`` is outside of the block, at most 0 inside."""
        slack = self.bound - self.times(x)
        if self.cone == "second_order":
            return float(np.linalg.norm(slack[1:]) - slack[0])
        return float(np.abs(slack).max()) if self.cone == "zero" else float(-slack.min(initial=np.inf))


def block(
    name: str,
    parts: Sequence[tuple[IntArray, IntArray, FloatArray]],
    bound: FloatArray,
    *,
    cone: Cone = "nonnegative",
    of: tuple[str, ...] = (),
    said: str = "",
    limit: float = float("nan"),
    unit: float = 1.0,
) -> Block:
    """Return the block of several groups of triplets ``(row, column, value)``."""
    row, column, value = (np.concatenate([part[i] for part in parts]) for i in range(3))
    bounds = np.asarray(bound, dtype=np.float64)
    return Block(name, row, column, value.astype(np.float64), bounds, cone, of, said, limit, unit)


def diagonal(columns: IntArray, value: float | FloatArray, first_row: int = 0) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the triplets of one entry a row, for consecutive rows."""
    return np.arange(first_row, first_row + len(columns)), columns, np.broadcast_to(value, len(columns)).astype(float)


def summed(columns: IntArray, value: float | FloatArray = 1.0, row: int = 0) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the triplets of one row with an entry a column."""
    return np.full(len(columns), row), columns, np.broadcast_to(value, len(columns)).astype(float)


def dense(matrix: FloatArray, columns: IntArray, first_row: int = 0) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the triplets of a matrix in these columns, without its zeros."""
    row, column = np.nonzero(matrix)
    return row + first_row, columns[column], matrix[row, column]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the solver said: ``x (n,)`` and, block by block, the price of each row (its dual variable)."""

    status: str
    x: FloatArray
    prices: tuple[FloatArray, ...]
    iterations: int

    @property
    def solved(self) -> bool:
        """Whether ``x`` is optimal."""
        return self.status in SOLVED

    @property
    def infeasible(self) -> bool:
        """Whether no ``x`` fulfils all blocks; the prices are then a certificate of it (Farkas)."""
        return self.status in INFEASIBLE


@dataclass
class Program:
    """A programme of ``size`` variables that can be solved again with other linear terms or bounds.

    Parameters
    ----------
    quadratic
        ``(k, k)`` symmetric, on the first ``k`` variables; None: a linear programme.
    linear
        ``(size,)``.
    blocks
        Constraints, in the order in which the answer prices them.
    """

    size: int
    quadratic: FloatArray | None
    linear: FloatArray
    blocks: Sequence[Block]
    _solver: Any = field(default=None, repr=False)

    def solve(self, linear: FloatArray | None = None, bound: FloatArray | None = None) -> Answer:
        """Return the answer, with another linear term or other bounds where they are given.

        Both stay for the next call. The factorisation's pattern is kept, and a solution never depends on what was
        asked before. Raises ``DataError`` where the solver gives up.
        """
        if self._solver is None:
            self._solver = self._begun()
        changes = {name: value for name, value in (("q", linear), ("b", bound)) if value is not None}
        if changes:
            self._solver.update(**changes)
        found = self._solver.solve()
        status = str(found.status)
        if status not in (*SOLVED, *INFEASIBLE, "DualInfeasible", "AlmostDualInfeasible"):
            status = "AlmostSolved" if self._good_enough(np.array(found.x)) else status
        prices = np.split(np.array(found.z), np.cumsum([len(b.bound) for b in self.blocks])[:-1])
        return Answer(status, np.array(found.x), tuple(prices), int(found.iterations))

    def _good_enough(self, x: FloatArray) -> bool:
        """Whether a solver that stopped early stopped inside all blocks, so that its answer may be judged by them."""
        return bool(np.isfinite(x).all()) and max((b.excess(x) for b in self.blocks), default=0.0) < 1e-7

    @property
    def bounds(self) -> FloatArray:
        """The bounds of all blocks, one after the other."""
        return np.concatenate([b.bound for b in self.blocks])

    def _begun(self) -> Any:
        import clarabel

        kinds = {
            "nonnegative": clarabel.NonnegativeConeT,
            "zero": clarabel.ZeroConeT,
            "second_order": clarabel.SecondOrderConeT,
        }
        cones = [kinds[b.cone](len(b.bound)) for b in self.blocks]
        return clarabel.DefaultSolver(
            _upper(self.quadratic, self.size), self.linear, self._matrix(), self.bounds, cones, _settings()
        )

    def _matrix(self) -> Any:
        from scipy.sparse import csc_matrix

        starts = np.cumsum([0, *(len(b.bound) for b in self.blocks)])
        row = np.concatenate([b.row + start for b, start in zip(self.blocks, starts[:-1], strict=True)])
        column, value = (np.concatenate([getattr(b, name) for b in self.blocks]) for name in ("column", "value"))
        return csc_matrix((value, (row, column)), shape=(int(starts[-1]), self.size))


def require(answer: Answer, what: str) -> Answer:
    """Return an answer that is optimal; raises ``DataError`` for any other."""
    if answer.solved:
        return answer
    raise DataError(
        f"{what} was not solved: the solver ended with {answer.status} after {answer.iterations} iterations",
        hint="look for values of wildly different size in what is expected and in the covariance",
    )


def _upper(quadratic: FloatArray | None, size: int) -> Any:
    """Return the upper triangle of the quadratic term as the solver takes it, ``(size, size)``."""
    from scipy.sparse import csc_matrix

    if quadratic is None:
        return csc_matrix((size, size))
    count = len(quadratic)
    column, row, start = _triangle(count)
    pointers = np.concatenate([start, np.full(size - count, start[-1])])
    return csc_matrix((quadratic[column, row], row, pointers), shape=(size, size))


@cache
def _triangle(count: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return column and row of an upper triangle, column by column, and where each begins."""
    column, row = np.tril_indices(count)
    return column, row, np.concatenate([[0], np.cumsum(np.arange(1, count + 1))])


def _settings() -> Any:
    """Return the solver's settings: silent, on one thread so that sums keep their order, and open to new bounds."""
    import clarabel

    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads, settings.presolve_enable = False, 1, False
    settings.tol_feas = settings.tol_gap_rel = settings.tol_gap_abs = TOLERANCE
    return settings
