"""A person's order: what it may be, and at which close it is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from tradewind.decisions.signals import Signals
from tradewind.errors import InputError
from tradewind.evaluation.corridor import World
from tradewind.execution.manual import ManualOrder
from tradewind.market import tiers
from tradewind.market.calendar import instant
from tradewind.market.panel import Panel


class Bracket(NamedTuple):
    """Distances from the last price as fractions of it, NaN for none."""

    stop: float
    target: float


@dataclass(frozen=True)
class Bounds:
    """What an order of one symbol may be.

    Attributes
    ----------
    price
        The last close, raw; None where there was none yet.
    weight_max
        The largest position, a fraction of equity.
    stop_distance
        The rule's at the last close, else the price tier's, as a fraction of the price; None where neither has any.
    """

    price: float | None
    weight_max: float
    short_allowed: bool
    fractional_shares: bool
    stop_distance: float | None


def bounds(world: World, signals: Signals | None, column: int) -> Bounds:
    """Return what an order may be after the last close of a panel."""
    plan, close = world.plan, world.panel.close[:, column]
    seen = np.flatnonzero(np.isfinite(close))
    price = float(close[seen[-1]]) if len(seen) else np.nan
    most, tier = plan.limits.position_max, np.array([price])
    if plan.limits.tier_limits:
        most = float(np.fmin(most, tiers.by_tier(tier, "position_limit_pct")[0] / 100))
    said = np.nan if signals is None else float(signals.stop[-1, column])
    stop = said if np.isfinite(said) else float(tiers.by_tier(tier, "stop_loss_pct")[0]) / 100
    return Bounds(
        price=price if len(seen) else None,
        weight_max=most,
        short_allowed=plan.execution.short_allowed,
        fractional_shares=plan.execution.fractional_shares,
        stop_distance=stop if np.isfinite(stop) else None,
    )


def require_within(order: ManualOrder, allowed: Bounds) -> None:
    """Raise ``InputError`` with the reason where an order is none that the account may get."""
    if allowed.price is None:
        raise InputError(f"{order.symbol} has no price yet", hint="wait for its first bar")
    if order.side == "CLOSE":
        return
    if order.side == "SELL" and not allowed.short_allowed:
        raise InputError(
            "this account opens no shorts: execution.short_allowed = false", hint="CLOSE sells what is held"
        )
    if order.weight is None:
        raise InputError(f"a {order.side} needs a weight", hint="say what fraction of equity is to be held after it")
    if order.weight > allowed.weight_max + 1e-12:
        raise InputError(
            f"{order.weight:.2%} of equity is more than one position may be, {allowed.weight_max:.2%}",
            hint="ask for less, or raise limits.position_max",
        )
    bracket(order, allowed.price)


def bracket(order: ManualOrder, price: float, ratio: float = 1.0) -> Bracket:
    """Return the distances of an order's stop and target from a price, where a share has become ``ratio`` shares.

    Raises ``InputError`` where the stop is not on the losing side of it, or the target not on the winning one.
    """
    side = 1 if order.side == "BUY" else -1
    below, above = ("below", "above") if side > 0 else ("above", "below")
    if order.stop is None:
        raise InputError(f"a {order.side} needs a stop", hint=f"give a price {below} {price:g}")
    stop = side * (1 - order.stop / ratio / price)
    target = np.nan if order.target is None else side * (order.target / ratio / price - 1)
    if not 0 < stop < 1:
        raise InputError(
            f"the stop {order.stop / ratio:g} must lie {below} the last price, {price:g}"
            + (", and not as far away as the price itself" if stop >= 1 else ""),
            hint="a stop ends a position that loses",
        )
    if target <= 0 or (side < 0 and target >= 1):
        raise InputError(f"the target {order.target:g} must lie {above} the last price, {price:g}")
    return Bracket(stop, target)


def came_due(
    orders: Sequence[ManualOrder], panel: Panel, at: datetime, halted: str
) -> tuple[list[ManualOrder], list[ManualOrder]]:
    """Return which of the orders that wait are applied at the newest bar, and which are refused there.

    An order is never applied at a close before it was asked for, and waits while its symbol has no bar. What would open
    something is refused while trading is ``halted``, and where the price has passed its stop or target.
    """
    applied, refused, row = [], [], len(panel) - 1
    for order in orders:
        if order.symbol not in panel.symbols:
            refused.append(replace(order, state="refused", why=f"{order.symbol} is not traded any more"))
            continue
        column = panel.symbols.index(order.symbol)
        if order.asked_at > at or not panel.mask[row, column]:
            continue
        try:
            if halted and order.side != "CLOSE":
                raise InputError(f"trading is halted: {halted}")
            if order.side != "CLOSE":
                bracket_at(order, panel, row, column)
        except InputError as error:
            refused.append(replace(order, state="refused", why=error.what))
        else:
            applied.append(replace(order, state="applied", effective=at))
    return applied, refused


def bracket_at(order: ManualOrder, panel: Panel, row: int, column: int) -> Bracket:
    """Return the distances of an order's stop and target from the close of a row, in the shares of then."""
    seen = int(np.searchsorted(panel.times, instant(order.seen), side="right"))
    return bracket(order, float(panel.close[row, column]), float(np.prod(panel.split[seen : row + 1, column])))
