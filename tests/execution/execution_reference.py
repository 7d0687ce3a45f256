"""A slow simulator in plain Python, written from docs/fill-rules.md alone: the oracle for the compiled one.

One dictionary per position, one pass per rule, no arrays. It covers targets with brackets (R1 to R36), not tickets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tradewind.execution import AccountSection, ExecutionSection, TradePlan
from tradewind.market.panel import Panel


@dataclass
class Position:
    shares: float
    entry: float
    best: float
    stop: float = math.nan
    take: float = math.nan
    trail: float = math.nan
    due: float = math.nan
    leaving: str = ""

    def live_until(self, bar: float) -> None:
        if math.isfinite(bar):
            self.due = bar if math.isnan(self.due) else max(self.due, bar)

    def aim(self, stop: float, take: float, price: float) -> None:
        """Put stop and target at distances from a price that need not be the entry's."""
        side = math.copysign(1, self.shares)
        self.stop = side * (1 - price * (1 - side * stop) / self.entry)
        self.take = side * (price * (1 + side * take) / self.entry - 1)


@dataclass
class Wish:
    shares: float
    row: int
    stop: float
    take: float
    trail: float
    bars: float
    priority: float


@dataclass
class Reference:
    panel: Panel
    plan: TradePlan
    rules: ExecutionSection
    account: AccountSection
    cash: float = 0.0
    positions: dict[int, Position] = field(default_factory=dict)
    wishes: dict[int, Wish] = field(default_factory=dict)
    marks: dict[int, float] = field(default_factory=dict)
    silent: dict[int, int] = field(default_factory=dict)
    used: dict[int, float] = field(default_factory=dict)
    fills: list[tuple[int, int, float, float, str]] = field(default_factory=list)
    equity: list[float] = field(default_factory=list)
    due_interest: float = 0.0
    due_borrow: float = 0.0
    called: bool = False
    ambiguous: int = 0

    def run(self) -> Reference:
        self.cash = round(self.account.start_capital, 2)
        for t in range(len(self.panel)):
            self.hear(t)
            self.accrue(t)
            self.corporate_actions(t)
            auction = "open" if self.rules.entry == "next_open" else "close"
            self.finish_exits(t)
            if auction == "open":
                self.reach(t, "open")
            for i in sorted(self.positions):
                self.bracket(t, i)
            self.mark(t, "close")
            for i, position in self.positions.items():
                if self.panel.mask[t, i]:
                    extreme, better = ("high", max) if position.shares > 0 else ("low", min)
                    position.best = better(position.best, self.price(t, i, extreme))
            for i in sorted(self.positions):
                position = self.positions[i]
                if self.panel.mask[t, i] and not position.leaving and t >= position.due:
                    self.leave(t, i, self.price(t, i, "close"), "time", closing=True)
            if auction == "close":
                self.reach(t, "close")
            self.equity.append(self.worth())
            gross = sum(abs(self.value(i)) for i in self.positions)
            self.called = gross > 0 and self.worth() < self.rules.margin_maintenance * gross
        return self

    def price(self, t: int, i: int, name: str) -> float:
        return float(self.panel.fields[name][t, i])

    def value(self, i: int) -> float:
        return round(self.positions[i].shares * self.marks[i], 2) if i in self.positions else 0.0

    def worth(self) -> float:
        return round(self.cash + sum(self.value(i) for i in self.positions), 2)

    def lots(self, shares: float) -> float:
        grid = 1e6 if self.rules.fractional_shares else 1.0
        return math.trunc(shares * grid + math.copysign(1e-7, shares)) / grid

    def accrue(self, t: int) -> None:
        if t == 0:
            return
        years = (self.panel.times[t] - self.panel.times[t - 1]).item().total_seconds() / 86400 / 365
        shorts = -sum(min(self.value(i), 0.0) for i in self.positions)
        free = self.cash - shorts
        if free > 0:
            self.due_interest += free * self.rules.cash_interest_rate * years
        elif self.cash < 0:
            self.due_interest += self.cash * self.rules.margin_interest_rate * years
        self.due_borrow -= shorts * self.rules.borrow_bps_per_year / 1e4 * years
        for due in ("due_interest", "due_borrow"):
            paid = round(getattr(self, due), 2)
            setattr(self, due, getattr(self, due) - paid)
            self.cash = round(self.cash + paid, 2)

    def hear(self, t: int) -> None:
        if self.called:
            self.wishes.clear()
            for position in self.positions.values():
                position.leaving = "margin_call"
            return
        row = t - 1 - self.plan.delay_bars
        if row < 0:
            return
        worth = max(self.worth(), 0.0)
        for i in range(self.panel.shape[1]):
            weight = self.plan.weight[row, i]
            if math.isnan(weight):
                continue
            self.wishes.pop(i, None)
            if i not in self.marks:
                continue
            if weight < 0 and not self.rules.short_allowed:
                weight = 0.0
            held = self.positions[i].shares if i in self.positions else 0.0
            if i in self.positions:
                self.positions[i].leaving = ""
            target = self.lots(weight * worth / self.marks[i])
            fields = (self.plan.stop, self.plan.take_profit, self.plan.trail, self.plan.max_bars, self.plan.priority)
            wish = Wish(target, row, *(math.nan if f is None else float(f[row, i]) for f in fields))
            if held * target > 0 and math.isinf(wish.bars):
                self.positions[i].aim(wish.stop, wish.take, self.marks[i])
                self.positions[i].trail, self.positions[i].due = wish.trail, math.nan
            elif held * target > 0 and not math.isnan(wish.bars):
                self.positions[i].live_until(t + (self.rules.entry == "next_close") + wish.bars - 1)
            change = abs(target - held)
            if change == 0 or (held * target > 0 and change * self.marks[i] < self.rules.rebalance_band * worth):
                continue
            self.wishes[i] = wish

    def corporate_actions(self, t: int) -> None:
        self.used = {}
        for i in range(self.panel.shape[1]):
            ratio, dividend = self.price(t, i, "split"), self.price(t, i, "dividend")
            position = self.positions.get(i)
            if ratio != 1:
                self.split(i, ratio)
                position = self.positions.get(i)
            if position and dividend:
                self.cash = round(self.cash + round(position.shares * dividend, 2), 2)
            if self.panel.mask[t, i]:
                self.marks[i] = self.price(t, i, "open")
                self.silent[i] = 0
            else:
                self.silent[i] = self.silent.get(i, 0) + 1
        for i in range(self.panel.shape[1]):
            if self.silent[i] == self.rules.delisted_after_bars:
                self.wishes.pop(i, None)
                if i in self.positions:
                    position = self.positions[i]
                    loss = self.rules.delisting_haircut if position.shares > 0 else 0.0
                    self.fill(t, i, -position.shares, self.marks[i] * (1 - loss), "delisted")

    def split(self, i: int, ratio: float) -> None:
        if i in self.marks:
            self.marks[i] /= ratio
        if i in self.wishes:
            self.wishes[i].shares = self.lots(self.wishes[i].shares * ratio)
        if i in self.positions:
            position = self.positions[i]
            exact = position.shares * ratio
            position.shares = self.lots(exact)
            position.entry /= ratio
            position.best /= ratio
            self.cash = round(self.cash + round((exact - position.shares) * self.marks[i], 2), 2)
            if position.shares == 0:
                del self.positions[i]

    def finish_exits(self, t: int) -> None:
        for i in sorted(self.positions):
            if self.positions[i].leaving and self.panel.mask[t, i]:
                self.leave(t, i, self.price(t, i, "open"), self.positions[i].leaving)

    def reach(self, t: int, auction: str) -> None:
        waiting = [i for i in sorted(self.wishes) if self.panel.mask[t, i]]
        for i in waiting:
            held = self.positions[i].shares if i in self.positions else 0.0
            target = self.wishes[i].shares
            if held * (target - held) < 0:
                self.work(t, i, -held if held * target <= 0 else target - held, auction)
        order = sorted(
            waiting,
            key=lambda i: (
                -self.wishes[i].priority if self.wishes[i].priority == self.wishes[i].priority else math.inf,
                i,
            ),
        )
        for i in order:
            held = self.positions[i].shares if i in self.positions else 0.0
            missing = round(self.wishes[i].shares - held, 6)
            if missing and held * missing >= 0:
                self.work(t, i, missing, auction)
        for i in waiting:
            held = self.positions[i].shares if i in self.positions else 0.0
            exhausted = self.volume_left(t, i) <= 0
            if self.rules.participation_remainder == "cancel" or held == self.wishes[i].shares or not exhausted:
                del self.wishes[i]

    def work(self, t: int, i: int, shares: float, auction: str) -> None:
        wish = self.wishes[i]
        before, held = len(self.fills), self.positions.get(i)
        entry = held.entry if held else math.nan
        self.trade(t, i, shares, self.price(t, i, auction), "signal", closing=auction == "close")
        position = self.positions.get(i)
        if position and len(self.fills) > before:
            if held and math.isinf(wish.bars):
                position.aim(position.stop, position.take, entry)
                return
            for name in ("stop", "take", "trail"):
                if not math.isnan(getattr(wish, name)):
                    setattr(position, name, getattr(wish, name))
            if not math.isnan(wish.bars):
                position.live_until(t + (auction == "close") + wish.bars - 1)

    def volume_left(self, t: int, i: int) -> float:
        volume = self.price(t, i, "volume")
        return (
            math.inf
            if math.isnan(volume)
            else self.lots(max(self.rules.participation_max * volume - self.used.get(i, 0.0), 0.0))
        )

    def costs(self, shares: float, price: float, passive: bool) -> float:
        r = self.rules
        notional = abs(shares) * price
        commission = max(r.commission_minimum, notional * r.commission_bps / 1e4 + abs(shares) * r.commission_per_share)
        taking = 0.0 if passive else round(notional * r.spread_bps / 2e4, 2) + round(notional * r.slippage_bps / 1e4, 2)
        return round(round(commission, 2) + taking, 2)

    def trade(
        self, t: int, i: int, shares: float, price: float, reason: str, passive: bool = False, closing: bool = False
    ) -> None:
        size = min(abs(shares), self.volume_left(t, i))
        held = self.positions[i].shares if i in self.positions else 0.0
        if held * shares >= 0:
            size = self.afford(size, price, passive)
        if size > 0:
            self.fill(t, i, math.copysign(size, shares), price, reason, passive, closing)

    def afford(self, size: float, price: float, passive: bool) -> float:
        """The largest quantity within leverage, by bisection on the grid."""
        gross = sum(abs(self.value(i)) for i in self.positions)
        room = self.rules.margin_leverage_max * self.worth() - gross

        def fits(q: float) -> bool:
            return round(q * price, 2) + self.rules.margin_leverage_max * self.costs(q, price, passive) <= room + 1e-9

        if fits(size):
            return size
        grid = 1e6 if self.rules.fractional_shares else 1.0
        low, high = 0, math.floor(size * grid)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle / grid) else (low, middle)
        return low / grid

    def fill(
        self, t: int, i: int, shares: float, price: float, reason: str, passive: bool = False, closing: bool = False
    ) -> None:
        paid = round(shares * price, 2) + self.costs(shares, price, passive)
        self.cash = round(self.cash - paid, 2)
        self.used[i] = self.used.get(i, 0.0) + abs(shares)
        self.marks[i] = price
        self.fills.append((t, i, shares, price, reason))
        position = self.positions.get(i)
        if position is None:
            self.positions[i] = Position(shares, price, price)
            return
        if position.shares * shares > 0:
            total = abs(position.shares) + abs(shares)
            position.entry = (abs(position.shares) * position.entry + abs(shares) * price) / total
        position.shares = round(position.shares + shares, 6)
        if position.shares == 0:
            del self.positions[i]

    def leave(self, t: int, i: int, price: float, reason: str, passive: bool = False, closing: bool = False) -> None:
        self.wishes.pop(i, None)
        self.trade(t, i, -self.positions[i].shares, price, reason, passive, closing)
        if i in self.positions:
            self.positions[i].leaving = reason

    def bracket(self, t: int, i: int) -> None:
        position = self.positions[i]
        if position.leaving or not self.panel.mask[t, i]:
            return
        long = position.shares > 0
        open_, high, low = (self.price(t, i, name) for name in ("open", "high", "low"))
        levels = []
        if not math.isnan(position.stop):
            levels.append((position.entry * (1 - position.stop if long else 1 + position.stop), "stop"))
        if not math.isnan(position.trail):
            levels.append((position.best * (1 - position.trail if long else 1 + position.trail), "trail"))
        take = position.entry * (1 + position.take if long else 1 - position.take)
        level, reason = math.nan, ""
        for candidate, name in levels:
            if not reason or (candidate > level if long else candidate < level):
                level, reason = candidate, name
        stopped = low <= level if long else high >= level
        reached = high >= take if long else low <= take
        if open_ <= level if long else open_ >= level:
            self.leave(t, i, open_, reason)
        elif open_ >= take if long else open_ <= take:
            self.leave(t, i, open_, "take_profit", passive=True)
        elif stopped:
            self.ambiguous += reached
            self.leave(t, i, level, reason)
        elif reached:
            self.leave(t, i, take, "take_profit", passive=True)

    def mark(self, t: int, name: str) -> None:
        for i in range(self.panel.shape[1]):
            if self.panel.mask[t, i]:
                self.marks[i] = self.price(t, i, name)
