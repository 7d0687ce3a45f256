"""A book whose weights are chosen together, walked over bars: when it is due, what it has become, and what it is then.

What is held is taken to be the last targets as prices carried them, cash included, and not what an account came to own:
so a path of targets depends on prices and forecasts alone, and not on fills, stops or an account's other systems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradewind.portfolio.optimiser.settings import OptimiserSection
from tradewind.portfolio.optimiser.solve import Binding, rebalance_due

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Wishes:
    """What a walk is told of each bar, all known at its close; ``(T, N)`` but for ``due``.

    Attributes
    ----------
    due
        ``(T,)`` bars on which positions may change.
    growth
        Gross return over the bar, 1 where there is none.
    trades
        There is a bar.
    usable
        A name may be held after this close.
    wanted
        What a rule asks for: a weight of this sign, 0 for none, NaN where it has no word. Who is held and asked for
        otherwise leaves.
    opens
        A name may be taken into the book.
    side
        Sign that its weight must not be against then; 0: either. Who is only held stays on its side.
    """

    due: BoolArray
    growth: FloatArray
    trades: BoolArray
    usable: BoolArray
    wanted: FloatArray
    opens: BoolArray
    side: FloatArray

    def leaves(self, row: int, held: FloatArray) -> BoolArray:
        """Return who must leave the book at a close, ``(N,)``: others are asked for, or nothing is known any more."""
        otherwise = np.isfinite(self.wanted[row]) & (np.sign(self.wanted[row]) != np.sign(held))
        return np.asarray((held != 0) & self.trades[row] & (otherwise | ~self.usable[row]))


class Question(NamedTuple):
    """What is to be chosen at the close of a row: who takes part ``(N,)``, what is held, and on which side."""

    row: int
    admitted: BoolArray
    held: FloatArray
    side: FloatArray


class Chosen(NamedTuple):
    """Weights ``(N,)``, NaN for a name that is left as it is, and by name what bound it ("" where nothing)."""

    weight: FloatArray
    bound: Sequence[str]


@dataclass(frozen=True, eq=False)
class Path:
    """What a walk wants.

    Attributes
    ----------
    weight
        ``(T, N)`` targets; NaN is no word.
    bound
        ``(T, N)`` int16 index into ``names``; 0 where nothing bound.
    rebalances
        Rows on which a book was chosen.
    refused
        Rows on which none could be, and why; the old book was kept.
    """

    weight: FloatArray
    bound: NDArray[np.int16]
    names: tuple[str, ...]
    rebalances: tuple[int, ...]
    refused: tuple[tuple[int, str], ...]


def carried(weight: FloatArray, growth: FloatArray) -> FloatArray:
    """Return what weights ``(N,)`` are after a bar with these gross returns, what is not invested in cash."""
    moved = weight * growth
    worth = 1.0 + float((moved - weight).sum())
    return moved / worth if worth > 0 else np.zeros(len(weight))


def walk(wishes: Wishes, choose: Callable[[Question], Chosen | str], settings: OptimiserSection) -> Path:
    """Return the targets of every bar; row ``t`` from rows up to it.

    On due bars names leave that must. A book is chosen where one is due by :func:`rebalance_due`: the first on the
    first due bar on which somebody takes part.

    Parameters
    ----------
    choose
        Answers a question with weights, or says in words why there are none: the old book is then kept until the next
        time that one is due.
    """
    count, width = wishes.growth.shape
    weight, bound = np.full((count, width), np.nan), np.zeros((count, width), np.int16)
    names: dict[str, int] = {"": 0}
    held, target = np.zeros(width), np.zeros(width)
    rebalances: list[int] = []
    refused: list[tuple[int, str]] = []
    last = -settings.every_bars
    for row in range(count):
        held = carried(held, wishes.growth[row]) if held.any() else held
        if not wishes.due[row]:
            continue
        leaves = wishes.leaves(row, held)
        held, target = np.where(leaves, 0.0, held), np.where(leaves, 0.0, target)
        weight[row] = np.where(leaves, 0.0, np.nan)
        admitted = wishes.usable[row] & ((held != 0) | wishes.opens[row])
        if not admitted.any() or rebalance_due(held, target, row - last, settings) is None:
            continue
        side = np.where(wishes.opens[row], wishes.side[row], np.sign(held))
        last, found = row, choose(Question(row, admitted, held, side))
        if isinstance(found, str):
            refused.append((row, found))
            continue
        told = np.isfinite(found.weight)
        nobody = wishes.trades[row] & (held == 0)  # what an order left over is closed with the next book
        weight[row] = np.where(told, found.weight, np.where(nobody, 0.0, weight[row]))
        bound[row] = [names.setdefault(name, len(names)) for name in found.bound]
        held = np.where(told, found.weight, held)
        target = held.copy()
        rebalances.append(row)
    return Path(weight, bound, tuple(names), tuple(rebalances), tuple(refused))


def bound_by(binding: Sequence[Binding], names: Sequence[str], sectors: Sequence[str]) -> list[str]:
    """Return for each name the limit that binds it, the dearest first; "" where none does.

    A limit on a name, its pair, group or sector comes before those on the whole book, which bind where one more unit
    of them would be worth something.
    """
    apart = [one for one in binding if one.of and one.name not in ("long_only", "side")]
    whole = [one.name for one in binding if not one.of and one.shadow_price]
    named = [(one.name, {part for half in one.of.split(" and ") for part in half.split(", ")}) for one in apart]
    found = []
    for name, sector in zip(names, sectors, strict=True):
        own = [limit for limit, of in named if name in of or (limit.startswith("sector") and sector in of)]
        found.append(next(iter([*own, *whole]), ""))
    return found
