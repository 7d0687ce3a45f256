"""Books instead of single positions: an optimised or a long/short book takes the place of the targets of sizing.

What a rule says then only opens and closes names (optimiser, ``among = "signals"``) or nothing at all. Sizing's caps
and factors, which are about one position at a time, have no say in a book but for the regime's multiplier, which scales
all of it, and a rule's pyramid; limits are part of the problem. Every name has a stop, its signal's own or else the
forecast's, and no time exit: a book is chosen anew before long. Until then a long/short book that a stop took a name
out of is not neutral.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Belief, Signals, forecast_exits, stop_distance, target_distance
from tradewind.errors import DataError
from tradewind.evaluation.optimise import Asked, along, market_note, pose, section_of
from tradewind.evaluation.plan import Plan
from tradewind.market import tiers
from tradewind.models.assembly import bar_returns, log_prices
from tradewind.portfolio import long_short
from tradewind.portfolio.borrow import BorrowTerms, terms
from tradewind.portfolio.long_short import LongShortBook
from tradewind.portfolio.optimiser import ConflictError, OptimiserSection, Solution, optimise
from tradewind.portfolio.optimiser.views import forecast_moments
from tradewind.portfolio.rebalancing import Chosen, Path, Question, Wishes, bound_by, walk
from tradewind.portfolio.sizing import Targets, regime_multiplier
from tradewind.risk.along import RiskAlong

if TYPE_CHECKING:
    from tradewind.evaluation.corridor import World

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NAMES_SHOWN = 6


def chosen(world: World, belief: Belief, signals: Signals, targets: Targets) -> tuple[Signals, Targets]:
    """Return signals and targets with the book that the plan asks for in the place of the sized positions."""
    if world.plan.long_short.book != "none":
        return long_short_book(world, belief, signals, targets)
    if world.plan.holds_a_book:
        return optimised_book(world, belief, signals, targets)
    return signals, targets


# -- the optimiser -------------------------------------------------------------------------------------------


def optimised_book(world: World, belief: Belief, signals: Signals, targets: Targets) -> tuple[Signals, Targets]:
    """Return the targets that the optimiser chooses on the bars on which it is due, NaN on the others."""
    desk = _Optimiser(world, belief, signals, section_of(world.plan), _multiplier(world, belief), _tier_limit(world))
    path = walk(wishes(world, belief, targets), desk.choose, desk.settings)
    short = (path.weight < 0).any()
    notes = (*desk.notes(path), *(lending_notes(world, borrow_terms(world)) if short else ()))
    told = _with_book(belief, signals, path.weight, "the optimiser", notes)
    return told, _replaced(targets, path.weight, "optimiser", path.bound, path.names)


def wishes(world: World, belief: Belief, targets: Targets) -> Wishes:
    """Return who may enter, stay and leave at each close, by sized signals or by the universe alone."""
    plan, shape = world.plan, world.panel.shape
    lend = borrow_terms(world).available if plan.execution.short_allowed else np.zeros(shape, np.bool_)
    shorts = lend & (not plan.optimiser.long_only)
    if plan.optimiser.among == "universe":
        wanted, opens, side = np.full(shape, np.nan), np.ones(shape, np.bool_), np.where(shorts, 0.0, 1.0)
    else:
        wanted, side = targets.weight, np.sign(np.nan_to_num(targets.weight))
        opens = (side > 0) | ((side < 0) & shorts)
    growth = np.exp(np.nan_to_num(bar_returns(log_prices(world.panel))))
    return Wishes(plan.decision.due(shape[0]), growth, world.panel.mask, _usable(belief), wanted, opens, side)


@dataclass(eq=False)
class _Optimiser:
    """Answers the questions of a walk, and remembers what has to be said of the answers."""

    world: World
    belief: Belief
    signals: Signals
    settings: OptimiserSection
    multiplier: FloatArray
    most: FloatArray
    left_out: Counter[str] = field(default_factory=Counter)
    names_left_out: dict[str, set[str]] = field(default_factory=dict)
    fallbacks: int = 0
    _known: RiskAlong = field(init=False)
    _part: FloatArray = field(init=False)
    _factor: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self._known = along(self.world)
        self._part = self._factor = np.ones(len(self.world.panel.symbols))

    def choose(self, question: Question) -> Chosen | str:
        """Return the optimum from what is held, scaled by the regime and built in parts; words where there is none.

        What is held counts as it was before it was scaled: that a regime changes is no trade of the optimiser's.
        """
        share, symbols = float(self.multiplier[question.row]), self.world.panel.symbols
        weight, bound = np.where(question.admitted, 0.0, np.nan), [""] * len(symbols)
        if not share > 0:
            return Chosen(weight, ["regime"] * len(symbols))
        asked = Asked(self._known, question.admitted, question.held / self._factor, question.side)
        try:
            posed = pose(self.world, self.belief.forecast, question.row, self.settings, asked)
            solution = optimise(posed.problem, self.settings)
        except (ConflictError, DataError) as error:
            return shorten(error.what, 200, placeholder=" …")
        self._part = self._parts(question.row)
        self._factor = share * self._part
        self._remember(question, solution)
        limits = bound_by(solution.binding, solution.names, posed.problem.sectors)
        for name, own, limit in zip(solution.names, solution.weights, limits, strict=True):
            column = symbols.index(name)
            bound[column] = limit or ("pyramid" if self._part[column] < 1 else "")
            if np.isfinite(own):
                weight[column] = own * self._factor[column]
        most = self.most[question.row]
        bound = ["tier_limit" if abs(w) > cap else name for w, cap, name in zip(weight, most, bound, strict=True)]
        return Chosen(np.clip(weight, -most, most), bound)

    def _parts(self, row: int) -> FloatArray:
        """Return the share of its weight that each name has come to ask for: that of its last signal."""
        asked = self.signals.scale
        return self._part if asked is None else np.where(self.signals.action[row] != 0, asked[row], self._part)

    def _remember(self, question: Question, solution: Solution) -> None:
        self.fallbacks += solution.objective != self.settings.objective
        stuck = {s for s, there in zip(self.world.panel.symbols, question.admitted, strict=True) if not there}
        for name, why in solution.excluded.items():
            reason = "held without a bar at that close, left as they are" if name in stuck else why
            self.left_out[reason] += 1
            self.names_left_out.setdefault(reason, set()).add(name)

    def notes(self, path: Path) -> tuple[str, ...]:
        """Return what a result must say of the walk."""
        said = [f"targets are the optimiser's ({self.settings.objective}), chosen on {len(path.rebalances)} bars"]
        if path.refused:
            reasons = Counter(why for _, why in path.refused)
            row, times = path.refused[0][0], self.world.panel.times
            most, often = reasons.most_common(1)[0]
            said.append(
                f"optimiser: on {len(path.refused)} bars there was no book and the old one was kept, first at "
                f"{str(times[row])[:10]}; {often} times: {most}"
            )
        for reason, count in sorted(self.left_out.items()):
            said.append(f"optimiser: left out {count} times ({_some(sorted(self.names_left_out[reason]))}): {reason}")
        if self.fallbacks:
            said.append(
                f"optimiser: on {self.fallbacks} bars no book had a positive expected return after costs: min_variance "
                "was solved instead"
            )
        return tuple(said)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


# -- long/short ----------------------------------------------------------------------------------------------


def long_short_book(world: World, belief: Belief, signals: Signals, targets: Targets) -> tuple[Signals, Targets]:
    """Return the targets of a long/short book on the bars on which positions may change, NaN on the others."""
    plan = world.plan
    rows = np.flatnonzero(plan.decision.due(len(world.panel)) & _usable(belief).any(axis=1))
    lend = borrow_terms(world)
    book = _book(world, belief, rows, lend)
    weight, bound = np.full(world.panel.shape, np.nan), np.zeros(world.panel.shape, np.int16)
    share = _multiplier(world, belief)[rows][:, None]
    weight[rows] = np.where(world.panel.mask[rows], book.weight * share, np.nan)
    most = np.fmin(room(plan)[0], _tier_limit(world)[rows])
    bound[rows] = np.abs(book.weight) >= most * (1 - 1e-6)
    notes = [f"{_said(plan)} on {_counted(book)}", *market_note(world), *lending_notes(world, lend)]
    told = _with_book(belief, signals, weight, _said(plan), tuple(notes), alone=True)
    return told, _replaced(targets, weight, "long_short", bound, ("", "position_max"))


def room(plan: Plan) -> tuple[float, float]:
    """Return the largest weight of a name and of the whole of a long/short book, inside all limits on orders."""
    own, limits = plan.long_short, plan.limits
    gross = min(own.gross_max, limits.gross_max, plan.execution.margin_leverage_max)
    return min(own.position_max, limits.position_max), gross


def _book(world: World, belief: Belief, rows: NDArray[np.int64], lend: BorrowTerms) -> LongShortBook:
    """Return the book of some rows from what is expected of each name then."""
    plan, (largest, gross) = world.plan, room(world.plan)
    most, bars = np.fmin(largest, _tier_limit(world)[rows]), plan.decision.horizon_bars
    index = belief.horizon_index(bars)
    quantiles = belief.forecast.quantiles[rows, :, index]
    moments = forecast_moments(quantiles.reshape(-1, quantiles.shape[-1]), belief.forecast.levels)
    score, deviation = (values.reshape(quantiles.shape[:2]) for values in moments)
    score = np.where(_usable(belief)[rows], score, np.nan)
    betas, sectors, can = betas_at(world, rows), world.panel.sectors, lend.available[rows]
    if plan.long_short.book == "one_thirty_thirty":
        short = min(0.3, (gross - 1.0) / 2.0)
        return long_short.one_thirty_thirty(
            score, deviation, betas, sectors, short=short, position_max=most, borrowable=can
        )
    if plan.long_short.book == "sector_neutral":
        return long_short.sector_neutral(
            score, deviation, betas, sectors, position_max=most, gross=gross, borrowable=can
        )
    return long_short.market_neutral(
        score, deviation, betas, position_max=most, gross=gross, borrowable=can, sectors=sectors
    )


def betas_at(world: World, rows: NDArray[np.int64]) -> FloatArray:
    """Return the betas known at some rising rows, ``(K, N)``."""
    known = along(world)
    found = np.full((len(rows), len(world.panel.symbols)), np.nan)
    for place, row in enumerate(rows):
        betas = known.at(int(row)).betas()
        found[place] = np.nan if betas is None else betas
    return found


def _said(plan: Plan) -> str:
    return f"the {plan.long_short.book.replace('_', ' ')} book"


def _counted(book: LongShortBook) -> str:
    """Return on how many bars a book stood, and on how many it was not what was asked for."""
    short = [f"{text} on {count}" for text, count in book.times().items() if count]
    held = int((book.gross > 0).sum())
    mean = float(book.gross[book.gross > 0].mean()) if held else 0.0
    return f"{held} bars, mean gross {mean:.2f}" + (f"; {', '.join(short)}" if short else "")


# -- both ----------------------------------------------------------------------------------------------------


def borrow_terms(world: World) -> BorrowTerms:
    """Return what can be borrowed at each close of a world's panel."""
    return terms(world.plan.borrow, world.panel.times, world.panel.symbols)


def lending_notes(world: World, lend: BorrowTerms) -> tuple[str, ...]:
    """Say what of the terms is assumed, and which names cost more or less than is charged for all of them."""
    charged = world.plan.execution.borrow_bps_per_year
    other = (lend.bps != charged).any(axis=0)
    if not other.any():
        return lend.notes
    names = [symbol for symbol, differs in zip(world.panel.symbols, other, strict=True) if differs]
    low, high = float(lend.bps[:, other].min()), float(lend.bps[:, other].max())
    said = f"borrow: {charged:g} bp a year are charged for every short; {_some(names)} cost {low:g} to {high:g}"
    return (*lend.notes, said)


def _usable(belief: Belief) -> BoolArray:
    return belief.tradable & np.isfinite(belief.sigma(belief.settings.horizon_bars))


def _multiplier(world: World, belief: Belief) -> FloatArray:
    """Return the share of the book that the regime allows, ``(T,)``: one where the playbook asks for none."""
    if world.plan.sizing.regime_multipliers:
        return regime_multiplier(belief)
    return np.ones(len(world.panel))


def _tier_limit(world: World) -> FloatArray:
    """Return the largest weight that a name's price allows, ``(T, N)``: infinite where the playbook does not ask."""
    if not world.plan.limits.tier_limits:
        return np.full(world.panel.shape, np.inf)
    return np.nan_to_num(tiers.by_tier(world.panel.close, "position_limit_pct") / 100)


def _with_book(
    belief: Belief,
    signals: Signals,
    weight: FloatArray,
    book: str,
    notes: tuple[str, ...],
    *,
    alone: bool = False,
) -> Signals:
    """Return the signals with what a book wants among them: its side, with a stop and a target for it.

    Where ``alone`` the book is the only one to ask for anything.
    """
    bars = belief.settings.horizon_bars
    side = np.sign(np.nan_to_num(weight)).astype(np.int8)
    differs = np.sign(signals.action) != side
    adopted = differs if alone else differs & (side != 0)
    long, short = signals.odds.calibrated
    words = ("nothing is asked of this name", "asks for a long", "asks for a short")
    exits = tuple(forecast_exits(belief, bars, one) for one in (1, 1, -1)) if signals.exits else ()
    return replace(
        signals,
        action=np.where(adopted, side, signals.action).astype(np.int8),
        confidence=np.where(adopted, np.where(side < 0, short, long), signals.confidence),
        stop=np.where(adopted | ~np.isfinite(signals.stop), stop_distance(belief, bars), signals.stop),
        target=np.where(adopted, target_distance(belief, bars, side), signals.target),
        horizon_bars=np.where(adopted, bars, signals.horizon_bars),
        clause=np.where(adopted, len(signals.clauses) + side % 3, signals.clause).astype(np.int16),
        clauses=(*signals.clauses, *(f"{book}: {said}" for said in words)),
        exits=(*signals.exits, *exits),
        notes=(*signals.notes, *notes),
    )


def _replaced(
    targets: Targets, weight: FloatArray, step: str, bound: NDArray[np.int16], names: tuple[str, ...]
) -> Targets:
    """Return the book's weights as targets, its step after those of sizing; limits are named as sizing names them."""
    steps = tuple(dict.fromkeys((*targets.steps, step, *(name for name in names if name))))
    place = np.array([steps.index(name or step) for name in names], dtype=np.int16)
    return Targets(weight, place[bound], steps, {**targets.after, step: np.nan_to_num(weight)})
