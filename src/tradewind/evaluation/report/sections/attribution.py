"""Where the profit came from: bars to both sides of zero for every split, and the factors year by year."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.evaluation.report.formats import change, money, words
from tradewind.evaluation.report.markup import Markup, empty, figure, node
from tradewind.evaluation.report.tables import Column, Table, download

SPLITS = {
    "by_factor": "By factor",
    "by_timeframe": "By timeframe",
    "by_model": "By model",
    "by_sector": "By sector",
    "by_cost": "By cost",
    "by_symbol": "By symbol",
}
CAPTIONS = {
    "by_factor": "Market: value held times the beta known then times the index. Sector: what its names did beyond "
    "their betas. Selection: the rest of what was held. Trading: fills until their session's close.",
    "by_timeframe": "What each timeframe's positions made, after their costs.",
    "by_model": "After costs. An ensemble's profit is shared by its members' weights: who was listened to.",
    "by_sector": "After costs.",
    "by_cost": "Price moves before costs, and what took from them.",
    "by_symbol": "After costs: the largest gains and losses; the CSV file holds all.",
}
MOST_BARS = 14


def attribution(found: Mapping[str, Any]) -> Markup:
    """Return the splits as bars, each with its CSV file, and the table of years."""
    cards = [_card(found[name], name) for name in SPLITS if _tells(found[name], name)]
    notes = [node("p", note, class_="aside") for note in found["notes"]]
    grid = node("div", *cards, class_="grid")
    total = change(found["total"], money)
    lead = figure(
        "Where the profit came from",
        node("p", "Profit since the account opened: ", node("b", total), class_="total"),
        *notes,
        caption="Every split adds up to it, to the cent.",
        class_="wide",
    )
    return node("div", lead, grid, years(found["by_year"]))


def years(found: Mapping[str, Mapping[str, float]]) -> Markup:
    """Return the factors by year."""
    if not found:
        return figure("Factors by year", empty("no session was traded"), class_="wide")
    names = [name for name in next(iter(found.values())) if name != "total"]
    columns = [Column("Year", text=True), *(Column(words(name)) for name in names), Column("Total")]
    table = Table("attribution_by_year", "Profit by factor and year", columns)
    for year, parts in found.items():
        cells = [year, *(change(parts[name], money) for name in names), node("b", change(parts["total"], money))]
        table.add(cells, [year, *(parts[name] for name in names), parts["total"]])
    caption = "In currency of the account; each row adds up to its total."
    return figure("Factors by year", table.render(), caption=caption, class_="wide")


def balance(parts: Mapping[str, float]) -> Markup:
    """Return amounts as bars to the left and to the right of zero."""
    low, high = min(0.0, *parts.values()), max(0.0, *parts.values())
    span = (high - low) or 1.0
    zero = -low / span * 100
    rows = []
    for name, amount in parts.items():
        width = abs(amount) / span * 100
        left = zero - width if amount < 0 else zero
        bar = node("i", class_=f"bar {'down' if amount < 0 else 'up'}", style=f"left:{left:.1f}%;width:{width:.1f}%")
        line = node("i", class_="zero", style=f"left:{zero:.1f}%")
        rows.append(
            node(
                "li",
                node("span", words(name), class_="name", title=name),
                node("span", bar, line, class_="track"),
                node("span", change(amount, money), class_="figure"),
            )
        )
    return node("ul", *rows, class_="meters balance")


def _tells(parts: Mapping[str, float], name: str) -> bool:
    """Return whether a split says more than the total."""
    return name in ("by_factor", "by_cost") or len([key for key in parts if key != "financing"]) > 1


def _card(parts: Mapping[str, float], name: str) -> Markup:
    if name in ("by_symbol", "by_sector", "by_model"):
        parts = dict(sorted(parts.items(), key=lambda item: -item[1]))
    shown = {key: amount for key, amount in parts.items() if amount or name != "by_cost"}
    if len(shown) > MOST_BARS:
        ordered, half = list(shown.items()), MOST_BARS // 2
        shown = dict([*ordered[:half], *ordered[-half:]])
    csv = download(f"attribution_{name}", [name.removeprefix("by_"), "profit"], list(parts.items()))
    body = balance(shown) if shown else empty("nothing was traded")
    return figure(SPLITS[name], body, csv, caption=CAPTIONS[name])
