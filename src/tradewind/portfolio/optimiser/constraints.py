"""The limits of a book as named blocks of constraints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.portfolio.optimiser.problem import Prepared
from tradewind.portfolio.optimiser.program import Block, block, dense, diagonal, summed
from tradewind.portfolio.optimiser.settings import OptimiserSection

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NOWHERE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the variables stand: weights first, then what only limits and costs need.

    Attributes
    ----------
    weight
        ``w``.
    size
        At least ``|w|``, name by name; the weights themselves in a book without shorts, empty where no limit asks.
    trade
        At least ``|w - held|``; empty where trades are free and unlimited.
    robust
        At least the deviation of the book's expected return; empty without an uncertainty set.
    total
        Variables in all.
    """

    weight: IntArray
    size: IntArray
    trade: IntArray
    robust: IntArray
    total: int

    @classmethod
    def of(cls, prepared: Prepared, settings: OptimiserSection, *, costs: bool, robust: bool) -> Layout:
        """Return the layout that a problem needs; whether its objective counts costs and an uncertainty set."""
        count = prepared.count
        asked = settings.gross_max, settings.sector_max, settings.graph_correlation_min
        lengths = [
            count if not settings.long_only and any(limit is not None for limit in asked) else 0,
            count if settings.turnover_max is not None or costs else 0,
            1 if robust else 0,
        ]
        places = np.split(np.arange(count, count + sum(lengths)), np.cumsum(lengths)[:-1])
        weight = np.arange(count)
        size = weight if settings.long_only else places[0]
        return cls(weight, size, places[1], places[2], count + sum(lengths))

    def lifted(self, weight: FloatArray, prepared: Prepared) -> FloatArray:
        """Return all variables at these weights, ``(total,)``, each as small as its definition allows."""
        x = np.zeros(self.total)
        if len(self.size):
            x[self.size] = np.abs(weight)
        x[self.weight] = weight
        if len(self.trade):
            x[self.trade] = np.abs(weight - prepared.previous)
        if len(self.robust):
            x[self.robust] = np.linalg.norm(_deviations(prepared) * weight)
        return x


def definitions(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> list[Block]:
    """Return what makes sizes, trades and the robust deviation what they are."""
    count, w = prepared.count, layout.weight
    found = []
    if len(layout.size) and layout.size is not w:
        sides = [part for i, side in enumerate((1.0, -1.0)) for part in _between(w, layout.size, side, i * count)]
        found.append(block("", sides, np.zeros(2 * count)))
    if len(layout.trade):
        sides = [part for i, side in enumerate((1.0, -1.0)) for part in _between(w, layout.trade, side, i * count)]
        found.append(block("", sides, np.concatenate([prepared.previous, -prepared.previous])))
    if len(layout.robust):
        parts = [summed(layout.robust, -1.0), diagonal(w, -_deviations(prepared), 1)]
        found.append(block("", parts, np.zeros(count + 1), cone="second_order"))
    return found


def limits(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> list[Block]:
    """Return the limits that are set, in the order in which a conflict names them.

    Raises ``InputError`` where a limit on beta is set and no beta is known.
    """
    makers = (_position, _side, _gross, _net, _sectors, _beta, _pairs, _graph, _turnover, _volatility)
    return [one for make in makers for one in make(prepared, settings, layout)]


def _between(w: IntArray, above: IntArray, side: float, first_row: int) -> list[tuple[IntArray, IntArray, FloatArray]]:
    """Return the triplets of ``side * w <= above``, name by name."""
    return [diagonal(w, side, first_row), diagonal(above, -1.0, first_row)]


def _deviations(prepared: Prepared) -> FloatArray:
    found = prepared.problem.uncertainty
    return np.zeros(prepared.count) if found is None else np.nan_to_num(found)


def _position(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    names, most, count = prepared.problem.names, settings.position_max, prepared.count
    if settings.long_only:
        yield block(
            "long_only", [diagonal(layout.weight, -1.0)], np.zeros(count), of=names, said="long_only", limit=0.0
        )
    if most is None:
        return
    parts, of = [diagonal(layout.weight, 1.0)], names
    if not settings.long_only:
        parts, of = [*parts, diagonal(layout.weight, -1.0, count)], (*names, *names)
    said = f"position_max {most:g} with {count} {'name' if count == 1 else 'names'}"
    yield block("position_max", parts, np.full(len(of), most), of=of, said=said, limit=most)


def _side(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    """Yield the side that each name may be on, where it is not free; a book without shorts knows the one already."""
    side = prepared.problem.side
    if side is None:
        return
    bound_to = np.flatnonzero(side < 0 if settings.long_only else side)
    if not bound_to.size:
        return
    of = tuple(prepared.problem.names[i] for i in bound_to)
    parts = [diagonal(layout.weight[bound_to], -side[bound_to])]
    yield block("side", parts, np.zeros(len(of)), of=of, said="the side of each name", limit=0.0)


def _gross(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    if settings.gross_max is not None:
        most, held = settings.gross_max, prepared.frozen.gross
        said = f"gross_max {most:g}" + _held(held)
        yield block("gross_max", [summed(layout.size)], np.array([most - held]), said=said, limit=most)


def _net(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    held, least, most = prepared.frozen.net, settings.net_min, settings.net_max
    if least == most:
        bound = np.array([most - held])
        said = f"net_min = net_max = {most:g}" + _held(held)
        yield block("net", [summed(layout.weight)], bound, cone="zero", said=said, limit=most)
        return
    if least is not None:
        said = f"net_min {least:g}" + _held(held)
        yield block("net_min", [summed(layout.weight, -1.0)], np.array([held - least]), said=said, limit=least)
    said = f"net_max {most:g}" + _held(held)
    yield block("net_max", [summed(layout.weight)], np.array([most - held]), said=said, limit=most)


def _sectors(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    """Yield one block a sector; names without a known sector are no sector of their own."""
    sectors = np.array(prepared.problem.sectors or ("unknown",) * prepared.count)
    for sector in sorted(set(sectors.tolist()) - {"unknown"}):
        inside = np.flatnonzero(sectors == sector)
        if (most := settings.sector_max) is not None:
            held = prepared.frozen.sector_gross.get(sector, 0.0)
            said = f"sector_max {most:g} of {sector}" + _held(held)
            bound = np.array([most - held])
            yield block("sector_max", [summed(layout.size[inside])], bound, of=(sector,), said=said, limit=most)
        if (most := settings.sector_net_max) is not None:
            held = prepared.frozen.sector_net.get(sector, 0.0)
            parts = [summed(layout.weight[inside]), summed(layout.weight[inside], -1.0, 1)]
            said = f"sector_net_max {most:g} of {sector}" + _held(held)
            bound = np.array([most - held, most + held])
            yield block("sector_net_max", parts, bound, of=(sector, sector), said=said, limit=most)


def _beta(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    if settings.beta_min is None and settings.beta_max is None:
        return
    beta, held = prepared.problem.beta, prepared.frozen.beta
    if beta is None:
        raise InputError("beta is limited and no name has one", hint="take out beta_min and beta_max, or give betas")
    for name, least, side in (("beta_min", settings.beta_min, -1.0), ("beta_max", settings.beta_max, 1.0)):
        if least is not None:
            bound = np.array([side * (least - held)])
            yield block(name, [summed(layout.weight, side * beta)], bound, said=f"{name} {least:g}", limit=least)


def _pairs(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    """Yield the limit of pairs that move together: a long and a short of two alike hedge each other and are let be."""
    threshold, most = settings.pairwise_correlation_max, settings.pair_max or settings.position_max
    if threshold is None or most is None:
        return
    one, other = np.nonzero(np.triu(np.abs(prepared.correlation) > threshold, 1))
    if settings.long_only:
        alike = prepared.correlation[one, other] > 0
        one, other = one[alike], other[alike]
    if not len(one):
        return
    names, sign = prepared.problem.names, np.sign(prepared.correlation[one, other])
    parts = [diagonal(layout.weight[one], 1.0), diagonal(layout.weight[other], sign)]
    of = tuple(f"{names[i]} and {names[j]}" for i, j in zip(one, other, strict=True))
    if not settings.long_only:
        parts += [diagonal(layout.weight[one], -1.0, len(one)), diagonal(layout.weight[other], -sign, len(one))]
        of = (*of, *of)
    said = f"pair_max {most:g} of {len(one)} {'pair' if len(one) == 1 else 'pairs'} correlated above {threshold:g}"
    yield block("pairwise_correlation_max", parts, np.full(len(of), most), of=of, said=said, limit=most)


def _graph(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    if settings.graph_correlation_min is None:
        return
    joined = prepared.correlation > settings.graph_correlation_min
    whole = settings.graph_scope == "component"
    groups = components(joined) if whole else neighbourhoods(joined)
    groups = [inside for inside in groups if len(inside) > 1]
    if not groups:
        return
    names, most = prepared.problem.names, settings.graph_max
    parts = [summed(layout.size[inside], 1.0, row) for row, inside in enumerate(groups)]
    of = tuple(_group(names, inside) for inside in groups)
    said = f"graph_max {most:g} of {len(groups)} {settings.graph_scope}{'s' if len(groups) > 1 else ''}"
    yield block("graph_max", parts, np.full(len(groups), most), of=of, said=said, limit=most)


def components(joined: NDArray[np.bool_]) -> list[IntArray]:
    """Return the connected components of a graph ``(N, N)``, each as its nodes."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(csr_matrix(joined), directed=False)
    return [np.flatnonzero(label == k) for k in range(int(label.max(initial=-1)) + 1)]


def neighbourhoods(joined: NDArray[np.bool_]) -> list[IntArray]:
    """Return each node with its neighbours, every set of them once."""
    closed = joined | np.eye(len(joined), dtype=np.bool_)
    return [np.flatnonzero(row) for row in np.unique(closed, axis=0)[::-1]]


def _group(names: tuple[str, ...], inside: IntArray) -> str:
    first = ", ".join(names[i] for i in inside[:4])
    return first + (f" and {len(inside) - 4} more" if len(inside) > 4 else "")


def _turnover(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    if (most := settings.turnover_max) is not None:
        said = f"turnover_max {most:g}" + (" from what is held" if prepared.previous.any() else " from cash")
        yield block("turnover_max", [summed(layout.trade)], np.array([most]), said=said, limit=most)


def _volatility(prepared: Prepared, settings: OptimiserSection, layout: Layout) -> Iterator[Block]:
    if (most := settings.volatility_max) is not None:
        root = factor(prepared.problem.covariance)
        bound = np.concatenate([[most * np.sqrt(prepared.problem.horizon_years)], np.zeros(len(root))])
        size = float(bound[0]) or 1.0
        parts = [dense(-root / size, layout.weight, 1)]
        said, unit = f"volatility_max {most:g}", 1.0 / most
        yield block("volatility_max", parts, bound / size, cone="second_order", said=said, limit=most, unit=unit)


def factor(covariance: FloatArray) -> FloatArray:
    """Return ``F`` with ``F'F`` the covariance, ``(K, N)``: triangular, or its root without what is zero of it."""
    try:
        return np.asarray(np.linalg.cholesky(covariance).T)
    except np.linalg.LinAlgError:
        pass  # singular
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * 1e-14
    return np.asarray((vectors[:, kept] * np.sqrt(values[kept])).T)


def _held(held: float) -> str:
    return f" ({held:g} of it held and not optimised)" if held else ""
