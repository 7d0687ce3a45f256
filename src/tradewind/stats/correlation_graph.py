"""The graph of who moves with whom: pairwise correlations of a window, and where each node stands in it."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MEASURES = ("degree", "eigenvector", "clustering", "pagerank")
"""What :func:`graph_measures` returns, in order."""

FEWEST_NODES = 3
"""A graph of fewer nodes says nothing of them."""

_DAMPING, _TOLERANCE, _STEPS = 0.85, 1e-10, 200
_STILL = 1e-12

compiled = njit(nogil=True, cache=True, error_model="numpy")


def graph_measures(
    returns: FloatArray, nodes: BoolArray, *, bars: int = 30, least: int = 20, threshold: float = 0.3
) -> FloatArray:
    """Return each node's place in the graph of correlations over the last ``bars`` rows, at every row.

    Two nodes are joined where their correlation over the rows that both have is above ``threshold``. Row ``t`` depends
    on the rows up to ``t`` only.

    Parameters
    ----------
    returns
        ``(T, N)``; NaN where missing.
    nodes
        ``(T, N)``: who may be in the graph of a row. In it are those who also have a return at that row and at least
        ``least`` in the window.
    bars, least, threshold
        Rows of the window, how many of them a pair must have in common, and above what it is joined.

    Returns
    -------
    ``(T, N, 4)`` in the order of :data:`MEASURES`, NaN for who is not in the graph and where it has fewer than three
    nodes: the share of the others that a node is joined with; its eigenvector centrality (Bonacich 1972), at most 200
    steps of the power method from equal weights, with a root mean square of one; the share of pairs among its
    neighbours that are joined (Watts & Strogatz 1998), 0 with fewer than two; its PageRank (Page et al. 1999) with
    damping 0.85, one on average.

    Raises
    ------
    InputError
        Shapes that differ, a window of fewer than 3 rows, or ``least`` outside of 3 to ``bars``.
    """
    if returns.shape != nodes.shape or returns.ndim != 2:
        raise InputError(f"returns {returns.shape} and nodes {nodes.shape} must be one (time, node) grid")
    if not 3 <= least <= bars:
        raise InputError(f"least = {least} must lie between 3 and bars = {bars}")
    history = np.concatenate([np.full((bars - 1, returns.shape[1]), np.nan), np.asarray(returns, dtype=np.float64)])
    found = np.empty((len(MEASURES), *returns.shape))
    measure_rows(history, nodes, found[0], found[1], found[2], found[3], bars, least, threshold)
    return np.moveaxis(found, 0, -1)


def correlation_matrix(window: FloatArray, least: int) -> FloatArray:
    """Return Pearson correlations of all pairs of columns over the rows that both have, ``(N, N)``.

    NaN on the diagonal, where fewer than ``least`` rows are common, and where one did not move.
    """
    held = np.ascontiguousarray(window, dtype=np.float64)
    return np.asarray(_correlations(np.where(np.isfinite(held), held, 0.0), np.isfinite(held).astype(float), least))


@compiled
def measure_rows(history, nodes, degree, eigenvector, clustering, pagerank, bars, least, threshold):  # type: ignore[no-untyped-def]
    """Fill the four measures ``(T, N)`` from ``(bars - 1 + T, N)`` returns; see :func:`graph_measures`."""
    for t in range(nodes.shape[0]):
        degree[t], eigenvector[t], clustering[t], pagerank[t] = np.nan, np.nan, np.nan, np.nan
        window = history[t : t + bars]
        inside = _inside(window, nodes[t], least)
        count = inside.shape[0]
        if count < FEWEST_NODES:
            continue
        moves, there = _gathered(window, inside)
        joined = _joined(_correlations(moves, there, least), threshold)
        neighbours = joined.sum(axis=0)
        closed = _clustering(joined, neighbours)
        central = _eigenvector(joined)
        ranks = _pagerank(joined, neighbours)
        for place in range(count):
            j = inside[place]
            degree[t, j] = neighbours[place] / (count - 1)
            clustering[t, j] = closed[place]
            eigenvector[t, j] = central[place] * np.sqrt(count)
            pagerank[t, j] = ranks[place] * count


@compiled
def _inside(window, nodes, least):  # type: ignore[no-untyped-def]
    chosen = np.empty(nodes.shape[0], dtype=np.int64)
    count = 0
    for j in range(nodes.shape[0]):
        if not (nodes[j] and np.isfinite(window[-1, j])):
            continue
        seen = 0
        for k in range(window.shape[0]):
            seen += int(np.isfinite(window[k, j]))
        if seen >= least:
            chosen[count] = j
            count += 1
    return chosen[:count]


@compiled
def _gathered(window, inside):  # type: ignore[no-untyped-def]
    """Returns of some columns, 0 where missing, and 1 where there is one."""
    shape = (window.shape[0], inside.shape[0])
    moves, there = np.zeros(shape), np.zeros(shape)
    for k in range(shape[0]):
        for place in range(shape[1]):
            value = window[k, inside[place]]
            if np.isfinite(value):
                moves[k, place], there[k, place] = value, 1.0
    return moves, there


@compiled
def _correlations(moves, there, least):  # type: ignore[no-untyped-def]
    """Six sums over the rows of each pair; the same for a pair whatever else stands beside it."""
    rows, count = moves.shape
    found = np.full((count, count), np.nan)
    sums = np.empty((6, count))
    for i in range(count):
        sums[:, i:] = 0.0
        common, first, second, first_square, second_square, product = sums
        for k in range(rows):
            if there[k, i] == 0.0:
                continue
            x = moves[k, i]
            square = x * x
            for j in range(i + 1, count):
                y, both = moves[k, j], there[k, j]
                common[j] += both
                first[j] += x * both
                second[j] += y
                first_square[j] += square * both
                second_square[j] += y * y
                product[j] += x * y
        for j in range(i + 1, count):
            n = common[j]
            one = first_square[j] - first[j] * first[j] / n
            other = second_square[j] - second[j] * second[j] / n
            if n >= least and one > _STILL * first_square[j] and other > _STILL * second_square[j]:
                found[i, j] = (product[j] - first[j] * second[j] / n) / np.sqrt(one * other)
                found[j, i] = found[i, j]
    return found


@compiled
def _joined(correlations, threshold):  # type: ignore[no-untyped-def]
    count = correlations.shape[0]
    joined = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if correlations[i, j] > threshold:
                joined[i, j] = 1.0
    return joined


@compiled
def _clustering(joined, neighbours):  # type: ignore[no-untyped-def]
    """Share of joined pairs among the neighbours; rows as bits, so that common neighbours are counted 64 at a time."""
    count = joined.shape[0]
    bits = np.zeros((count, (count + 63) // 64), dtype=np.uint64)
    for i in range(count):
        for j in range(count):
            if joined[i, j] != 0.0:
                bits[i, j // 64] |= np.uint64(1) << np.uint64(j % 64)
    closed = np.zeros(count)
    for i in range(count):
        twice = np.uint64(0)
        for j in range(count):
            if joined[i, j] != 0.0:
                for word in range(bits.shape[1]):
                    twice += _ones(bits[i, word] & bits[j, word])
        if neighbours[i] > 1.0:
            closed[i] = twice / (neighbours[i] * (neighbours[i] - 1.0))
    return closed


@compiled
def _ones(word):  # type: ignore[no-untyped-def]
    """How many bits are set (Warren, Hacker's Delight, section 5-1)."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _passed_on(joined, values, out):  # type: ignore[no-untyped-def]
    """``joined @ values``, summed over the nodes in their order whatever the machine."""
    out[:] = 0.0
    for j in range(values.shape[0]):
        value = values[j]
        row = joined[j]
        for i in range(values.shape[0]):
            out[i] += row[i] * value


@compiled
def _eigenvector(joined):  # type: ignore[no-untyped-def]
    """Power method on the adjacency plus the identity, which keeps two halves of a graph from swapping."""
    count = joined.shape[0]
    now, after = np.full(count, 1.0 / np.sqrt(count)), np.empty(count)
    for _ in range(_STEPS):
        _passed_on(joined, now, after)
        after += now
        after /= np.sqrt((after * after).sum())
        moved = np.abs(after - now).sum()
        now, after = after, now
        if moved < _TOLERANCE * count:
            break
    return now


@compiled
def _pagerank(joined, neighbours):  # type: ignore[no-untyped-def]
    """A node without neighbours hands its rank to all."""
    count = joined.shape[0]
    now, after = np.full(count, 1.0 / count), np.empty(count)
    handed = np.empty(count)
    for _ in range(_STEPS):
        lost = 0.0
        for j in range(count):
            handed[j] = now[j] / neighbours[j] if neighbours[j] > 0.0 else 0.0
            lost += now[j] if neighbours[j] == 0.0 else 0.0
        _passed_on(joined, handed, after)
        moved = 0.0
        for j in range(count):
            after[j] = _DAMPING * (after[j] + lost / count) + (1.0 - _DAMPING) / count
            moved += abs(after[j] - now[j])
        now, after = after, now
        if moved < _TOLERANCE:
            break
    return now
