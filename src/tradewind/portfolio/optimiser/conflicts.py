"""Limits that cannot hold together: the fewest of them that contradict each other, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.portfolio.optimiser.program import Answer, Block, Program

FloatArray = NDArray[np.float64]

UPPER = ("position_max", "gross_max", "net_max", "sector_max", "sector_net_max", "beta_max", "turnover_max")
LOWER = ("net_min", "beta_min")
"""Limits whose value can be said that would end a conflict: raised, and lowered."""


class ConflictError(InputError):
    """Limits of an optimisation contradict each other.

    ``constraints`` names an irreducible set of them: without any one, the others can hold.
    """

    def __init__(self, what: str, *, hint: str, constraints: tuple[str, ...]) -> None:
        super().__init__(what, hint=hint)
        self.constraints = constraints


def conflict(
    limits: Sequence[Block], definitions: Sequence[Block], size: int, answer: Answer | None = None
) -> ConflictError:
    """Return the error that names limits in conflict, in words, and what would end it.

    Parameters
    ----------
    limits, definitions
        Named blocks, and those that define variables.
    size
        Number of variables.
    answer
        The infeasible answer to a programme whose blocks begin with the limits. What its certificate (Farkas) does
        not use cannot be part of the contradiction that it proves, which leaves few limits to try.
    """
    suspects = list(limits)
    if answer is not None:
        priced = [
            one
            for one, p in zip(limits, answer.prices, strict=False)
            if np.abs(p).max(initial=0.0) > 1e-6 * _top(answer)
        ]
        suspects = priced if not feasible([*priced, *definitions], size) else suspects
    core = _families(irreducible(suspects, definitions, size))
    words = [_said(family) for family in core]
    said = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    what = f"{said} cannot hold together" if len(words) > 1 else f"{said} cannot hold"
    hint = _remedies(core, definitions, size)
    return ConflictError(what, hint=hint, constraints=tuple(family[0].name for family in core))


def irreducible(limits: Sequence[Block], definitions: Sequence[Block], size: int) -> list[Block]:
    """Return limits that contradict each other while any fewer of them do not.

    Deletion filter (Chinneck & Dravnieks 1991): each is left out in turn, for good where the others still contradict.
    The last ones go first, so that what remains is as plain as can be.
    """
    core = list(limits)
    for one in reversed(limits):
        without = [other for other in core if other is not one]
        if not feasible([*without, *definitions], size):
            core = without
    return core


def feasible(blocks: Sequence[Block], size: int) -> bool:
    """Return whether all blocks can hold together."""
    return not Program(size, None, np.zeros(size), blocks).solve().infeasible if blocks else True


def needed(family: Sequence[Block], others: Sequence[Block], size: int) -> float | None:
    """Return the value of a limit at which the others can hold beside it; None where there is none.

    All its rows give way alike (an elastic programme: the least that they must).
    """
    elastic = [_giving(one, size) for one in family]
    positive = Block("", np.zeros(1, dtype=np.int64), np.array([size]), np.array([-1.0]), np.zeros(1))
    linear = np.zeros(size + 1)
    linear[size] = 1.0
    answer = Program(size + 1, None, linear, [*elastic, positive, *others]).solve()
    if not answer.solved:
        return None
    return family[0].limit + float(answer.x[size]) * (1.0 if family[0].name in UPPER else -1.0)


def _giving(one: Block, column: int) -> Block:
    """Return a block each of whose bounds is raised by one more variable."""
    count = len(one.bound)
    return replace(
        one,
        row=np.concatenate([one.row, np.arange(count)]),
        column=np.concatenate([one.column, np.full(count, column)]),
        value=np.concatenate([one.value, np.full(count, -1.0)]),
    )


def _families(core: Sequence[Block]) -> list[list[Block]]:
    """Return blocks that are one setting together: all sectors of ``sector_max``."""
    names = dict.fromkeys(one.name for one in core)
    return [[one for one in core if one.name == name] for name in names]


def _said(family: Sequence[Block]) -> str:
    """Say a setting with its value, and of what it is where it is of several."""
    more = [one.of[0] for one in family[1:]]
    return ", ".join([family[0].said, *more[:4]]) + (f" and {len(more) - 4} more" if len(more) > 4 else "")


def _remedies(core: Sequence[Sequence[Block]], definitions: Sequence[Block], size: int) -> str:
    """Say which value of each limit alone would end the conflict."""
    said = []
    for family in core:
        name = family[0].name
        if name in UPPER or name in LOWER:
            others = [one for other in core if other is not family for one in other]
            value = needed(family, [*others, *definitions], size)
            word = "at least" if name in UPPER else "at most"
            said += [] if value is None else [f"{name} {word} {value:.4g}"]
    alone = "nothing is relaxed silently: change one of them"
    return f"{alone}, e.g. {' or '.join(said)}" if said else alone


def _top(answer: Answer) -> float:
    return max((float(np.abs(p).max(initial=0.0)) for p in answer.prices), default=0.0)
