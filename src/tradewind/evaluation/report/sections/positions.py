"""What is held and what was last decided: which forecast asked for it, what sized it and which limit bound it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.evaluation.report.formats import (
    arrow,
    bars,
    change,
    is_missing,
    missing,
    money,
    percent,
    price,
    quantity,
    shown,
    words,
)
from tradewind.evaluation.report.markup import Markup, empty, figure, node, together
from tradewind.evaluation.report.tables import Column, Table

SHOWN = 12
"""So many positions and decisions stand in full; more positions are folded away, more decisions are in the CSV file."""

MOST_POSITIONS = 200
CSV_POSITION = (
    "symbol", "timeframe", "side", "shares", "price", "value", "weight", "profit", "entered", "entry_price", "wished",
    "sent", "bound_by", "stop", "take_profit", "trailing_stop",
)  # fmt: skip
CSV_CLOSED = (
    "symbol", "timeframe", "side", "shares", "profit", "entered", "entry_price", "left", "left_price", "ended_by",
    "wished", "sent", "bound_by",
)  # fmt: skip
CSV_ASKED = ("model", "rule", "decided_at", "action", "horizon_bars", "confidence", "event", "median")
NOT_BOUND = "nothing stood between what was wished and what was sent"


def positions(found: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the table of open positions."""
    title = "Open positions"
    if not found:
        return figure(title, empty("nothing is held at the last close"), class_="wide")
    columns = [
        Column("Name", text=True), Column("Held"), Column("Value"), Column("Open profit"), Column("Since"),
        Column("Asked for by", text=True), Column("Sized by", text=True), Column("Wished → sent", text=True),
        Column("Bound by", text=True), Column("Gets out at", text=True),
    ]  # fmt: skip
    table = Table("open_positions", title, columns)
    for row in found[:MOST_POSITIONS]:
        table.add(_position(row), [*(row[k] for k in CSV_POSITION), *_asked_values(row), _steps_words(row["sized_by"])])
    heads = [*CSV_POSITION, *CSV_ASKED, "sized_by"]
    saved = Table(table.name, title, [Column(head) for head in heads], values=table.values)
    left = len(found) - len(table.rows)
    caption = (
        "Steps of sizing are shares of the timeframe's capital; wished and sent are shares of equity, before and after "
        "coordinator and limits, when the position was decided."
    )
    caption += f" {left} smaller ones are not shown." if left > 0 else ""
    first, others = (Table(table.name, title, columns, rows) for rows in (table.rows[:SHOWN], table.rows[SHOWN:]))
    more = (
        node("details", node("summary", f"{len(others.rows)} more"), others.alone("explained")) if others.rows else None
    )
    return figure(title, first.alone("explained"), more, saved.download(), caption=caption, class_="wide")


def closed(found: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Return the table of positions that are over; None where there are none."""
    if not found:
        return None
    title = "Positions closed lately"
    columns = [
        Column("Name", text=True), Column("Held"), Column("Profit"), Column("From"), Column("To"),
        Column("Asked for by", text=True), Column("Sized by", text=True), Column("Wished → sent", text=True),
        Column("Bound by", text=True), Column("Ended by", text=True),
    ]  # fmt: skip
    table = Table("closed_positions", title, columns)
    for row in found:
        cells = [
            _name(row),
            _held(row),
            change(row["profit"], money),
            (row["entered"] or "")[:10],
            (row["left"] or "")[:10],
            _asked(row),
            _sized(row["sized_by"]),
            _wish(row),
            _bound(row),
            words(row["ended_by"]),
        ]
        table.add(cells, [*(row[key] for key in CSV_CLOSED), *_asked_values(row), _steps_words(row["sized_by"])])
    heads = (*CSV_CLOSED, *CSV_ASKED, "sized_by")
    saved = Table(table.name, title, [Column(head) for head in heads], values=table.values)
    first = Table(table.name, title, columns, table.rows[:SHOWN])
    caption = f"The newest {len(first.rows)}, explained as above; the CSV file holds {len(found)}."
    return figure(title, first.alone("explained"), saved.download(), caption=caption, class_="wide")


def decisions(found: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the table of the last decisions."""
    title = "The last decisions"
    if not found:
        return figure(title, empty("nothing was ever wished"), class_="wide")
    columns = [
        Column("Decided"), Column("Name", text=True), Column("Asked for by", text=True), Column("Wished"),
        Column("Sent"), Column("Bound by", text=True),
    ]  # fmt: skip
    table = Table("last_decisions", title, columns)
    for row in found:
        cells = [
            row["time"][:16].replace("T", " "),
            _name(row),
            _asked(row),
            shown(row["wished"], percent(1), "no wish: a limit cut what was held"),
            shown(row["sent"], percent(1), "nothing was sent"),
            _bound(row),
        ]
        plain = [row[key] for key in ("time", "symbol", "timeframe", "wished", "sent", "bound_by")]
        table.add(cells, [*plain, *_asked_values(row)])
    heads = ["time", "symbol", "timeframe", "wished", "sent", "bound_by", *CSV_ASKED]
    saved = Table(table.name, title, [Column(head) for head in heads], values=table.values)
    caption = "Shares of equity, the newest first; 0 closes. What was sent waits for the next bar."
    caption += f" The CSV file holds {len(found)}." if len(found) > SHOWN else ""
    first = Table(table.name, title, columns, table.rows[:SHOWN])
    return figure(title, first.alone("explained"), saved.download(), caption=caption, class_="wide")


def _position(row: Mapping[str, Any]) -> list[str]:
    return [
        _name(row),
        _held(row),
        together([money(row["value"]), node("small", shown(row["weight"], percent(1)))]),
        change(row["profit"], money),
        (row["entered"] or "")[:10],
        _asked(row),
        _sized(row["sized_by"]),
        _sent(row),
        _bound(row),
        _exits(row),
    ]


def _held(row: Mapping[str, Any]) -> Markup:
    side = 1 if row["side"] == "long" else -1
    return together([f"{arrow(side)} {quantity(abs(row['shares']))}", node("small", f"at {price(row['entry_price'])}")])


def _name(row: Mapping[str, Any]) -> Markup:
    frame = None if row["timeframe"] == "all" else node("small", row["timeframe"])
    return node("span", node("b", row["symbol"]), frame)


def _asked(row: Mapping[str, Any]) -> Markup:
    asked = row["asked_by"]
    if asked is None:
        return node("span", row["why"])
    said = f"{words(asked['model'])}, {bars(asked['horizon_bars'])}: "
    median = shown(asked["median"], percent(2, signed=True), "no forecast over this horizon")
    sure = shown(asked["confidence"], percent(0), "no confidence")
    numbers = [node("span", *pair, class_="nowrap") for pair in (("median ", median, ", "), ("P = ", sure))]
    title = f"{words(asked['action'])} by {words(asked['rule'])}; P of {words(asked['event'])}"
    members = asked.get("members") or {}
    mixed = ", ".join(f"{words(name)} {percent(0)(share)}" for name, share in members.items() if share)
    return node("span", said, *numbers, node("small", mixed) if mixed else None, title=title)


def _sized(path: Mapping[str, float]) -> Markup:
    """Return the steps that changed the weight, each with what it left."""
    if not path:
        return missing("no size was asked for")
    kept, last = [], None
    for name, weight in path.items():
        if last is None or abs(weight - last) > 1e-12:
            kept.append(f"{words(name)} {percent(1)(weight)}")
        last = weight
    return node("span", " → ".join(kept), title=_steps_words(path))


def _sent(row: Mapping[str, Any]) -> Markup:
    """Return what was wished and sent when the position was decided, and by the newest decision where it is another."""
    first, latest = _wish(row), row["latest"]
    asked = row["asked_by"] or {}
    if latest is None or latest["decided_at"] == asked.get("decided_at"):
        return first
    said = f"latest ({latest['decided_at'][:10]}): "
    bound = f", {words(latest['bound_by'])}" if latest["bound_by"] else ""
    return together([first, node("small", said, _wish(latest), bound)])


def _wish(row: Mapping[str, Any]) -> Markup:
    wished, sent = (shown(row[k], percent(1), "not decided by a forecast") for k in ("wished", "sent"))
    return node("span", wished, " → ", sent, class_="nowrap")


def _bound(row: Mapping[str, Any]) -> Markup:
    if not row["bound_by"]:
        return missing(NOT_BOUND)
    since = row.get("bound_since") or {}
    often = ", ".join(f"{words(name)} {times:,}×" for name, times in since.items())
    return node("span", words(row["bound_by"]), title=f"since it was opened: {often}" if often else None)


def _exits(row: Mapping[str, Any]) -> Markup:
    levels = {"stop": "stop", "take_profit": "target", "trailing_stop": "trail"}
    known = [f"{label} {price(row[key])}" for key, label in levels.items() if not is_missing(row[key])]
    return node("span", ", ".join(known)) if known else missing("neither stop nor target is set")


def _steps_words(path: Mapping[str, float]) -> str:
    return "; ".join(f"{words(name)} {weight:.2%}" for name, weight in path.items())


def _asked_values(row: Mapping[str, Any]) -> list[Any]:
    asked = row["asked_by"] or {}
    return [asked.get(key) for key in CSV_ASKED]
