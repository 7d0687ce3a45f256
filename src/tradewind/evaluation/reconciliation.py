"""A back-test's books against those of the same days on paper or at a broker: every cent of the difference has a cause.

A share comes to its splits times the last price, and the dividends on the way. So each fill has an effect on the last
equity, and two books differ by the effects of fills that one of them lacks, or made at another price, in another
quantity, at another time or cost. What is left is what corporate actions, financing and valuation did differently. The
causes add up to the difference of equity, to the cent; what none explains says so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import polars as pl

from tradewind.errors import DataError
from tradewind.execution import kernel as k
from tradewind.execution.book import Book
from tradewind.execution.brokers.base import Execution, Movement
from tradewind.execution.records import COST_KINDS, Records, TimeArray, fills_table, ledger_table
from tradewind.execution.simulator import Simulation

CAUSES = (
    "missing_fill", "extra_fill", "price", "quantity", "timing", "cost", "corporate_action", "financing", "deposit",
    "valuation", "unexplained",
)  # fmt: skip
"""Why two books differ. ``missing_fill``: the back-test alone has it; ``extra_fill``: the other one alone."""

WHY_OTHER_SIZE = "a limit, the volume, or another equity"
SHOWN = 200
FILL, OPENING = "fill", ("deposit", "carried")
ACTIONS = ("split", "cash_in_lieu", "dividend")
FINANCING = ("interest", "borrow")
LEDGER: dict[str, Any] = {
    "time": pl.Datetime("us", "UTC"), "symbol": pl.String, "kind": pl.String, "shares": pl.Float64, "cents": pl.Int64
}  # fmt: skip
LARGEST_DENOMINATOR = 64
"""Of a split's ratio, where shares were rounded and only about show it."""


@dataclass(frozen=True, eq=False)
class Books:
    """An account's life in tables.

    Attributes
    ----------
    ledger
        Every movement in order of happening: ``time, symbol, kind, shares, cents``; kinds as in
        :func:`tradewind.execution.records.ledger_table`.
    fills
        ``time, symbol, quantity, price, cash`` (in currency, without costs), and where they are known ``commission,
        spread, slippage, impact`` and ``decided_at``.
    marks
        Last price by symbol of what is held.
    """

    ledger: pl.DataFrame
    fills: pl.DataFrame
    marks: Mapping[str, float]

    @classmethod
    def of(cls, simulation: Simulation) -> Books:
        """Return the books of a simulation, or of a paper account that went through the same desk."""
        return cls(simulation.ledger, simulation.fills, _marks(simulation.book))

    @classmethod
    def booked(cls, records: Records, times: TimeArray, columns: tuple[str, ...], start: float, book: Book) -> Books:
        """Return the books that records are about, from the first of ``times`` on, with ``start`` in cash."""
        ledger = ledger_table(records, times, columns, start)
        return cls(ledger, fills_table(records, times, columns), _marks(book))

    @classmethod
    def journal(
        cls, executions: Iterable[Execution], movements: Iterable[Movement], start: float, marks: Mapping[str, float]
    ) -> Books:
        """Return the books of a broker's executions, whose fees count as commission, and movements."""
        own = sorted(executions, key=lambda one: (one.time, one.execution_id))
        moved = sorted(movements, key=lambda one: (one.time, one.movement_id))
        cash = [-round(one.quantity * one.price * 100) for one in own]
        fees = [round(one.fee * 100) for one in own]
        first = min((*(one.time for one in own), *(one.time for one in moved)), default=None)
        rows: list[tuple[Any, ...]] = [(first, "", OPENING[0], 0.0, round(start * 100))]
        rows += [(e.time, e.symbol, FILL, e.quantity, c) for e, c in zip(own, cash, strict=True)]
        rows += [(e.time, e.symbol, "commission", 0.0, -f) for e, f in zip(own, fees, strict=True) if f]
        rows += [(m.time, m.symbol, m.kind, m.quantity, round(m.cash * 100)) for m in moved]
        rows[1:] = sorted(rows[1:], key=lambda row: (row[0], row[2] not in ACTIONS))
        ledger = pl.DataFrame(rows, schema=LEDGER, orient="row")
        fills = pl.DataFrame(
            {
                "time": pl.Series([e.time for e in own], dtype=LEDGER["time"]),
                "symbol": pl.Series([e.symbol for e in own], dtype=pl.String),
                "quantity": pl.Series([e.quantity for e in own], dtype=pl.Float64),
                "price": pl.Series([e.price for e in own], dtype=pl.Float64),
                "cash": pl.Series([c / 100 for c in cash], dtype=pl.Float64),
                "commission": pl.Series([f / 100 for f in fees], dtype=pl.Float64),
            }
        )
        return cls(ledger, fills, marks)

    @property
    def shares(self) -> dict[str, float]:
        """Return what is held at the end by symbol."""
        held = self.ledger.filter(pl.col("symbol") != "").group_by("symbol").agg(pl.col("shares").sum())
        return {name: shares for name, shares in held.sort("symbol").rows() if abs(shares) > 1e-9}

    def equity_cents(self) -> int:
        """Return cash and what is held at its last price, in cents; ``DataError`` where a price is not known."""
        cash = int(self.ledger["cents"].sum())
        lacking = [name for name in self.shares if name not in self.marks]
        if lacking:
            raise DataError(f"there is no last price of {', '.join(lacking)}, which is held", hint="hand in its mark")
        return cash + sum(round(shares * self.marks[name] * 100) for name, shares in self.shares.items())


def reconcile_books(
    backtest: Books | Simulation,
    paper: Books | Simulation,
    *,
    same_within: timedelta = timedelta(0),
    near: timedelta = timedelta(days=5),
) -> dict[str, Any]:
    """Return why two books of the same days differ.

    Parameters
    ----------
    backtest, paper
        What was tested, and what happened.
    same_within
        Fills of one symbol and side no further apart are taken as one moment: bars say their close, brokers the second.
    near
        How far apart fills may be that stand for each other and are told as a matter of timing.

    Returns
    -------
    dict
        ``equity`` of both and the ``difference`` (paper less back-test); ``by_cause`` and ``by_symbol`` in currency,
        which sum to it exactly; ``counts``; the ``first`` difference and all ``differences`` in order of time;
        ``equal`` where there is none, and ``explained`` where no more is left than a cent a movement.

    Raises
    ------
    DataError
        Something held has no last price.
    """
    tested, happened = (Books.of(one) if isinstance(one, Simulation) else one for one in (backtest, paper))
    worth = _Worth.of(tested, happened)
    pairs = _paired(_groups(tested, worth), _groups(happened, worth), same_within, near)
    found = [difference for pair in pairs for difference in _of_pair(*pair, same_within)]
    found += _of_actions(tested, happened, worth)
    found += _of_account(tested, happened, FINANCING, "financing") + _of_account(tested, happened, OPENING, "deposit")
    found += _of_marks(happened, worth)
    equity = tested.equity_cents(), happened.equity_cents()
    total = equity[1] - equity[0]
    rest = total - sum(one.cents for one in found)
    movements = len(tested.ledger) + len(happened.ledger)
    if rest:
        what = "rounding" if abs(rest) <= movements else "no known cause"
        found.append(Difference(None, "", "unexplained", rest, what))
    found.sort(key=lambda one: (one.time is None, one.time or _NEVER))
    return {
        "equal": not found,
        "explained": abs(rest) <= movements,
        "equity": {"backtest": equity[0] / 100, "paper": equity[1] / 100, "difference": total / 100},
        "by_cause": {cause: sum(d.cents for d in found if d.cause == cause) / 100 for cause in CAUSES},
        "by_symbol": _by_symbol(found),
        "counts": {cause: sum(d.cause == cause for d in found) for cause in CAUSES},
        "fills": {"backtest": len(tested.fills), "paper": len(happened.fills)},
        "matched": sum(one is not None and other is not None for one, other in pairs),
        "first": found[0].to_dict() if found else None,
        "differences": [one.to_dict() for one in found[:SHOWN]],
        "left_out": max(0, len(found) - SHOWN),
    }


def said(result: Mapping[str, Any]) -> list[str]:
    """Return a reconciliation in words: the verdict, the causes by size, the first difference."""
    equity = result["equity"]
    if result["equal"]:
        return [f"the books agree: {result['matched']:,} orders filled alike, equity {equity['paper']:,.2f}"]
    lines = [
        f"paper has {equity['paper']:,.2f}, the back-test {equity['backtest']:,.2f}: {equity['difference']:+,.2f}",
        *(
            f"{cause.replace('_', ' ')}: {amount:+,.2f} ({result['counts'][cause]:,})"
            for cause, amount in sorted(result["by_cause"].items(), key=lambda pair: -abs(pair[1]))
            if result["counts"][cause]
        ),
    ]
    first = result["first"]
    where = " ".join(filter(None, (first["time"], first["symbol"])))
    return [*lines, f"first: {where}: {first['what']}"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One reason why the second book's equity is another, in cents; ``time`` None for one of the whole account."""

    time: datetime | None
    symbol: str
    cause: str
    cents: int
    what: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, money in currency."""
        return {
            "time": None if self.time is None else f"{self.time:%Y-%m-%dT%H:%M:%SZ}",
            "symbol": self.symbol,
            "cause": self.cause,
            "amount": self.cents / 100,
            "what": self.what,
        }


_NEVER = datetime.max


@dataclass(frozen=True, slots=True)
class _Action:
    """A corporate action as both books tell it together: ``ratio`` of a split, cents a share of a dividend."""

    time: datetime
    kind: str
    ratio: float = 1.0
    cents: float = 0.0


@dataclass(frozen=True, eq=False)
class _Worth:
    """What one share at a time came to at the end, in cents."""

    actions: Mapping[str, Sequence[_Action]]
    marks: Mapping[str, float]
    held: tuple[Mapping[str, list[tuple[datetime, float]]], Mapping[str, list[tuple[datetime, float]]]]

    @classmethod
    def of(cls, tested: Books, happened: Books) -> _Worth:
        told: dict[tuple[str, datetime, str], tuple[float, float]] = {}
        for one in (tested, happened):
            for key, before, amount in _told_actions(one):
                if abs(before) > abs(told.get(key, (0.0, 0.0))[0]):
                    told[key] = before, amount
        actions: dict[str, list[_Action]] = defaultdict(list)
        in_order = sorted(told.items(), key=lambda item: (item[0][1], item[0][2] != "split"))
        for (symbol, time, kind), (before, amount) in in_order:
            if kind == "split":
                actions[symbol].append(_Action(time, kind, ratio=_ratio(before, amount)))
            else:
                actions[symbol].append(_Action(time, kind, cents=amount / before))
        return cls(actions, {**happened.marks, **tested.marks}, (_held(tested), _held(happened)))

    def of_share(self, symbol: str, time: datetime) -> float:
        """Return what a share held after ``time`` came to: dividends on the way, and the price of what it became."""
        number, value = 1.0, 0.0
        for action in self.actions.get(symbol, ()):
            if action.time > time:
                number *= action.ratio
                value += number * action.cents
        mark = self.marks.get(symbol, 0.0)
        return value + number * mark * 100


def _told_actions(books: Books) -> Iterable[tuple[tuple[str, datetime, str], float, float]]:
    """Yield each split and dividend of what was held: its key, the shares before, the shares or cents it brought."""
    held: dict[str, float] = defaultdict(float)
    for time, symbol, kind, shares, cents in books.ledger.select(*LEDGER).iter_rows():
        if kind in ("split", "dividend") and abs(held[symbol]) > 1e-9:
            yield (symbol, time, kind), held[symbol], float(shares if kind == "split" else cents)
        held[symbol] += shares


def _ratio(before: float, gained: float) -> float:
    """Return a split's ratio; the simple fraction beside it where rounded shares only about show it."""
    ratio = 1.0 + gained / before
    simple = float(Fraction(ratio).limit_denominator(LARGEST_DENOMINATOR))
    return simple if abs(simple - ratio) * abs(before) <= 1.0 else ratio


def _held(books: Books) -> dict[str, list[tuple[datetime, float]]]:
    """Return by symbol what each movement made of the shares held."""
    found: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
    moved = books.ledger.filter((pl.col("symbol") != "") & (pl.col("shares") != 0))
    for time, symbol, shares in moved.select("time", "symbol", "shares").iter_rows():
        before = found[symbol][-1][1] if found[symbol] else 0.0
        found[symbol].append((time, before + shares))
    return found


def _held_before(path: Sequence[tuple[datetime, float]], time: datetime) -> float:
    """Return the shares held when a bar began."""
    last = 0.0
    for moment, shares in path:
        if moment >= time:
            break
        last = shares
    return last


@dataclass(eq=False)
class _Group:
    """The fills of one order, or of one symbol, side and moment.

    ``worth`` is what the shares came to at the end, ``cash`` what they brought, ``costs`` what was paid, all in cents.
    """

    symbol: str
    side: int
    decided_at: datetime | None
    time: datetime
    quantity: float = 0.0
    cash: float = 0.0
    costs: float = 0.0
    worth: float = 0.0
    effect: float = field(init=False, default=0.0)

    @property
    def price(self) -> float:
        """Return the mean price."""
        return abs(self.cash / self.quantity) / 100 if self.quantity else math.nan

    def __str__(self) -> str:
        """Say what was done."""
        verb = "bought" if self.side > 0 else "sold"
        return f"{verb} {abs(self.quantity):,.6g} at {self.price:,.4f}"


def _groups(books: Books, worth: _Worth) -> list[_Group]:
    """Return the fills of each order; of each moment where nobody says what decided them."""
    fills = books.fills
    costs = [name for name in COST_KINDS if name in fills.columns]
    paid = pl.sum_horizontal(costs) if costs else pl.lit(0.0)
    decided = pl.col("decided_at") if "decided_at" in fills.columns else pl.lit(None)
    table = fills.select("time", "symbol", "quantity", "cash", paid.alias("paid"), decided.alias("decided_at"))
    found: dict[tuple[str, int, datetime | None, datetime | None], _Group] = {}
    for time, symbol, quantity, cash, cost, decided_at in table.iter_rows():
        side = 1 if quantity > 0 else -1
        key = (symbol, side, decided_at, time if decided_at is None or decided_at >= time else None)
        one = found.setdefault(key, _Group(symbol, side, decided_at, time))
        one.quantity += quantity
        one.cash += round(cash * 100)
        one.costs += round(cost * 100)
        one.worth += quantity * worth.of_share(symbol, time)
    for one in found.values():
        one.effect = one.worth + one.cash
    return list(found.values())


Pair = tuple[_Group | None, _Group | None]


def _paired(tested: list[_Group], happened: list[_Group], same_within: timedelta, near: timedelta) -> list[Pair]:
    """Return which fills stand for which: of the same decision, of the same moment, of moments that are near."""
    pairs: list[Pair] = []
    theirs: dict[tuple[str, int], list[_Group]] = defaultdict(list)
    for other in happened:
        theirs[other.symbol, other.side].append(other)
    left = sorted(tested, key=lambda one: one.time)
    for reach in (None, same_within, near):
        alone = []
        for one in left:
            others = theirs[one.symbol, one.side]
            fitting = [other for other in others if _fits(one, other, reach)]
            if not fitting:
                alone.append(one)
                continue
            nearest = min(fitting, key=lambda other: abs(other.time - one.time))
            others.remove(nearest)
            pairs.append((one, nearest))
        left = alone
    return [*pairs, *((one, None) for one in left), *((None, other) for rest in theirs.values() for other in rest)]


def _fits(one: _Group, other: _Group, reach: timedelta | None) -> bool:
    if reach is None:
        return one.decided_at is not None and one.decided_at == other.decided_at
    return abs(one.time - other.time) <= reach


def _of_pair(one: _Group | None, other: _Group | None, same_within: timedelta) -> list[Difference]:
    """Return what sets two fills that stand for each other apart; costs are compared for the same quantity."""
    if one is None or other is None:
        return [_alone(one, other)] if one is not None or other is not None else []
    share = other.quantity / one.quantity
    quantity = (share - 1.0) * (one.effect - one.costs)
    rest = other.effect - share * one.effect
    together = abs(other.time - one.time) <= same_within
    parts = (
        ("quantity", quantity, f"the back-test {one}, paper {abs(other.quantity):,.6g}: {WHY_OTHER_SIZE}"),
        ("price", rest if together else 0.0, f"the back-test {one}, paper at {other.price:,.4f}"),
        ("timing", 0.0 if together else rest, f"the back-test {one} at {one.time:%Y-%m-%d %H:%M}, paper {other}"),
        ("cost", share * one.costs - other.costs, f"cost {other.costs / 100:,.2f}, not {share * one.costs / 100:,.2f}"),
    )
    time = one.time if together else min(one.time, other.time)
    return [
        Difference(time, one.symbol, cause, round(cents), what)
        for cause, cents, what in parts
        if round(cents) or (cause == "timing" and not together)
    ]


def _alone(one: _Group | None, other: _Group | None) -> Difference:
    if one is not None:
        return Difference(one.time, one.symbol, "missing_fill", round(one.costs - one.effect), f"paper never {one}")
    assert other is not None
    what = f"paper {other}, the back-test did not"
    return Difference(other.time, other.symbol, "extra_fill", round(other.effect - other.costs), what)


def _of_actions(tested: Books, happened: Books, worth: _Worth) -> list[Difference]:
    """Return what each split or dividend did differently than its rate says, for the shares that each book held."""
    off: dict[tuple[datetime, str], float] = defaultdict(float)
    for sign, books, held in ((-1, tested, worth.held[0]), (1, happened, worth.held[1])):
        actual = _actual(books)
        for symbol, actions in worth.actions.items():
            before, at = 0.0, None
            for action in actions:
                if action.time != at:
                    before, at = _held_before(held.get(symbol, ()), action.time), action.time
                shares, cents = actual.pop((symbol, action.time, action.kind), (0.0, 0))
                gained = before * (action.ratio - 1.0)
                deviation = (shares - gained) * worth.of_share(symbol, action.time) + cents - before * action.cents
                off[action.time, symbol] += sign * deviation
                before += gained
        for (symbol, time, _), (shares, cents) in actual.items():
            off[time, symbol] += sign * (shares * worth.of_share(symbol, time) + cents)
    return [
        Difference(time, symbol, "corporate_action", round(cents), "a split or dividend was booked differently")
        for (time, symbol), cents in off.items()
        if abs(cents) >= 1.0
    ]


def _actual(books: Books) -> dict[tuple[str, datetime, str], tuple[float, int]]:
    """Return shares and cents of the corporate actions that a book holds."""
    rows = books.ledger.filter(pl.col("kind").is_in(ACTIONS))
    summed = rows.group_by("symbol", "time", "kind").agg(pl.col("shares").sum(), pl.col("cents").sum())
    return {(s, t, kind): (shares, cents) for s, t, kind, shares, cents in summed.iter_rows()}


def _of_account(tested: Books, happened: Books, kinds: Sequence[str], cause: str) -> list[Difference]:
    """Return the difference of movements that belong to no fill, day by day."""
    known = set(CAUSES) | {FILL, *COST_KINDS, *ACTIONS, *FINANCING, *OPENING}
    by_day: dict[Any, int] = defaultdict(int)
    for sign, books in ((-1, tested), (1, happened)):
        kind = pl.col("kind")
        wanted = kind.is_in(kinds) | ~kind.is_in(known) if cause == "deposit" else kind.is_in(kinds)
        for time, cents in books.ledger.filter(wanted).select("time", "cents").iter_rows():
            by_day[None if cause == "deposit" else time] += sign * cents
    what = {"financing": "interest or borrowing", "deposit": "cash paid in or out, or other movements"}[cause]
    return [Difference(time, "", cause, cents, what) for time, cents in by_day.items() if cents]


def _of_marks(happened: Books, worth: _Worth) -> list[Difference]:
    """Return what the last prices differ by on what paper holds."""
    rows = []
    for symbol, shares in happened.shares.items():
        mark = happened.marks.get(symbol, worth.marks.get(symbol, 0.0))
        cents = round(shares * (mark - worth.marks.get(symbol, mark)) * 100)
        if cents:
            what = f"valued at {mark:,.4f}, not {worth.marks[symbol]:,.4f}"
            rows.append(Difference(None, symbol, "valuation", cents, what))
    return rows


def _by_symbol(found: Sequence[Difference]) -> dict[str, float]:
    cents: dict[str, int] = defaultdict(int)
    for one in found:
        cents[one.symbol or "account"] += one.cents
    return {name: amount / 100 for name, amount in sorted(cents.items(), key=lambda pair: -abs(pair[1]))}


def _marks(book: Book) -> dict[str, float]:
    pairs = zip(book.symbols, book.state[k.MARK].tolist(), strict=True)
    return {name: price for name, price in pairs if math.isfinite(price)}
