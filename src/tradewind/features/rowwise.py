"""Operations without memory: elementwise maps, and cross-sections over the symbols of one bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

compiled = njit(nogil=True, cache=True, error_model="numpy")

FEWEST_MEMBERS = 3
"""A cross-section of fewer members with a value says nothing and is missing."""


@compiled
def ratio(x, y, out, first, last):  # type: ignore[no-untyped-def]
    """``x / y``; missing where ``y`` is zero."""
    for t in range(x.shape[0]):
        for j in range(first, last):
            d = y[t, j]
            out[t, j] = x[t, j] / (d if d != 0.0 else np.nan)


@compiled
def select(condition, x, y, out, first, last):  # type: ignore[no-untyped-def]
    """``x`` where the condition is positive, ``y`` where it is not, missing where it is missing."""
    for t in range(x.shape[0]):
        for j in range(first, last):
            c = condition[t, j]
            out[t, j] = x[t, j] if c > 0.0 else (y[t, j] if c <= 0.0 else np.nan)


def _log(x: FloatArray, out: FloatArray) -> None:
    np.log(x, out=out)
    np.copyto(out, np.nan, where=np.isinf(out))


UFUNCS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "absolute": np.absolute,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "log": _log,
}
KERNELS: dict[str, Callable[..., Any]] = {"ratio": ratio, "select": select}


@dataclass(frozen=True, slots=True)
class Section:
    """Who stands in each bar's cross-section.

    ``present`` and ``member`` ``(T, N)``; ``sector`` is a code for each symbol ``(N,)``, -1 where unknown.
    """

    present: NDArray[np.bool_]
    member: NDArray[np.bool_]
    sector: NDArray[np.int64]


@compiled
def _ranks(x, ordered, out):  # type: ignore[no-untyped-def]
    for t in range(x.shape[0]):
        line = ordered[t]
        count = np.searchsorted(line, np.nan)
        for j in range(x.shape[1]):
            out[t, j] = np.nan
            if count >= FEWEST_MEMBERS and x[t, j] == x[t, j]:
                below = np.searchsorted(line[:count], x[t, j])
                up_to = below
                while up_to < count and line[up_to] == x[t, j]:
                    up_to += 1
                out[t, j] = 0.5 * (below + up_to) / count


def rank(x: FloatArray, out: FloatArray, section: Section) -> None:
    """Share of members with a smaller value, ties counted half."""
    ordered = np.sort(np.where(section.member & np.isfinite(x), x, np.nan), axis=1)
    _ranks(x, ordered, out)


@compiled
def _moment(x, out, present, member, sector, by_sector, want_deviation):  # type: ignore[no-untyped-def]
    groups = 1
    for j in range(sector.shape[0]):
        groups = max(groups, sector[j] + 1)
    group = sector if by_sector else np.zeros(sector.shape[0], dtype=np.int64)
    count, centre, square = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    for t in range(x.shape[0]):
        for g in range(groups):
            count[g] = 0.0
            centre[g] = 0.0
            square[g] = 0.0
        for j in range(x.shape[1]):
            if group[j] >= 0 and member[t, j] and abs(x[t, j]) < np.inf:
                count[group[j]] += 1.0
                centre[group[j]] += x[t, j]
        for g in range(groups):
            centre[g] /= count[g]
        if want_deviation:
            for j in range(x.shape[1]):
                if group[j] >= 0 and member[t, j] and abs(x[t, j]) < np.inf:
                    square[group[j]] += (x[t, j] - centre[group[j]]) ** 2
            for g in range(groups):
                centre[g] = np.sqrt(square[g] / count[g])
        for j in range(x.shape[1]):
            g = group[j]
            known = g >= 0 and present[t, j] and count[g] >= FEWEST_MEMBERS
            out[t, j] = centre[g] if known else np.nan


def mean(x: FloatArray, out: FloatArray, section: Section) -> None:
    """Mean over the members with a value."""
    _moment(x, out, section.present, section.member, section.sector, False, False)


def deviation(x: FloatArray, out: FloatArray, section: Section) -> None:
    """Standard deviation over the members with a value."""
    _moment(x, out, section.present, section.member, section.sector, False, True)


def sector_mean(x: FloatArray, out: FloatArray, section: Section) -> None:
    """Mean over the members of the symbol's sector."""
    _moment(x, out, section.present, section.member, section.sector, True, False)


CROSS_SECTIONS: dict[str, Callable[[FloatArray, FloatArray, Section], None]] = {
    "rank": rank,
    "mean": mean,
    "deviation": deviation,
    "sector_mean": sector_mean,
}
