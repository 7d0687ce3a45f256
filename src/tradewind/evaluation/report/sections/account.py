"""One account under one set of rules: its timeframes, what each had and made, and what every position rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.evaluation.report.formats import (
    bars,
    change,
    count,
    missing,
    money,
    percent,
    short_money,
    words,
)
from tradewind.evaluation.report.markup import Markup, empty, figure, node, section
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, Scale, around, milliseconds, spaced
from tradewind.evaluation.report.sections.attribution import attribution
from tradewind.evaluation.report.sections.positions import closed, decisions, positions
from tradewind.evaluation.report.tables import Column, Table, download

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord
    from tradewind.execution.trading import Trading

SERIES = ("s1", "s2", "s3", "s4", "s5")
COLUMNS = 400
"""So many sessions of the stacked picture side by side; where there are more, some are left out."""


def account(record: TrackRecord) -> Markup | None:
    """Return the chapter; None where nothing was ever filled."""
    trading, result = record.tradings["base"], record.result
    if not len(trading.simulation.records.fills):
        return None
    several = len(trading.desk.coordinator.names) > 1
    lead = "Every order passed one desk: coordinator, then limits, then the fill. "
    lead += f"{len(trading.desk.coordinator.names)} timeframes share the account. " if several else ""
    lead += "Here is what each position rests on, and where the profit came from, to the cent."
    pictures = [timeframes(result), capital(trading), profits(trading)] if several else []
    return section(
        "account", "The account", lead, *pictures, positions(result["positions"]), closed(result["closed_positions"]),
        decisions(result["decisions"]), attribution(result["attribution"]),
    )  # fmt: skip


def timeframes(result: Mapping[str, Any]) -> Markup:
    """Return the table of timeframes, those included that could not be walked."""
    columns = [
        Column("Timeframe", text=True), Column("Bars"), Column("Model", text=True), Column("Rule", text=True),
        Column("Horizon"), Column("Capital"), Column("Now"), Column("Profit"), Column("Bound by", text=True),
    ]  # fmt: skip
    table, earned = Table("timeframes", "Timeframes of the account", columns), result["attribution"]["by_timeframe"]
    for name, row in result["timeframes"].items():
        if not row["available"]:
            nothing = missing(row["why"])
            table.add([name, *[nothing] * 7, node("span", row["why"])], [name, *[None] * 7, row["why"]])
            continue
        often = sorted(row["times_bound"].items(), key=lambda item: -item[1])
        bound = ", ".join(f"{words(reason)} {times:,}×" for reason, times in often)
        values = [name, row["timeframe"], row["model"], row["rule"], row["horizon_bars"], row["capital"]]
        values += [row["capital_now"], earned[name], bound]
        cells = [
            node("b", name), row["timeframe"], words(row["model"]), words(row["rule"]), bars(row["horizon_bars"]),
            percent(0)(row["capital"]), percent(0)(row["capital_now"]), change(earned[name], money),
            bound or missing("no limit took anything"),
        ]  # fmt: skip
        table.add(cells, values)
    conflicts = result["limits"].get("coordinator_conflict", {}).get("times_bound", 0)
    caption = f"Conflicts, which the longer bars won: {count(conflicts)}. What a timeframe may not use stays in cash."
    return figure("Timeframes", table.render(), caption=caption, class_="wide")


def capital(trading: Trading) -> Markup:
    """Return the timeframes' shares of capital over time, stacked."""
    names, rows = trading.desk.coordinator.names, trading.session_rows
    if len(rows) < 2:
        return figure("Capital by timeframe", empty("fewer than two sessions were traded"), class_="wide")
    kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), COLUMNS)).astype(np.int64))
    at, shares = milliseconds(trading.simulation.times[rows[kept]]), trading.share[kept]
    top = max(1.0, float(shares.sum(axis=1).max()))
    plot = Plot(around(at, margin=0), Scale(0.0, top), label="Share of capital by timeframe, stacked", height=170)
    below = np.zeros(len(at))
    for name, kind, share in zip(names, SERIES, shares.T, strict=False):
        plot.area(at, below, below + share, f"{kind}-area", words(name))
        below = below + share
    plot.axis_y(percent(0), 4)
    plot.axis_time()
    key = legend(*((f"{kind}-area", words(name)) for name, kind in zip(names, SERIES, strict=False)))
    csv = _over_time("capital_by_timeframe", trading, trading.share)
    caption = "Shares of equity that each may use, tilted by what it earned for its risk; the rest stays in cash."
    return figure("Capital by timeframe", key, plot.render(), csv, caption=caption, class_="wide")


def profits(trading: Trading) -> Markup:
    """Return each timeframe's profit over time, summed up."""
    names, rows = trading.desk.coordinator.names, trading.session_rows
    title = "Profit by timeframe"
    if len(rows) < 2:
        return figure(title, empty("fewer than two sessions were traded"), class_="wide")
    sleeve_of = trading.desk.coordinator.sleeve_of
    parts = [trading.profit[:, sleeve_of == i].sum(axis=1) for i in range(len(names))]
    earned: Array = np.cumsum(np.column_stack(parts), axis=0) / 100
    at = milliseconds(trading.simulation.times[rows])
    plot = Plot(around(at, margin=0), around(earned, [0.0]), label=f"{title}, summed up", height=220, class_="ends")
    plot.axis_y(short_money)
    plot.level(0, "zero")
    for name, kind, line in zip(names, SERIES, earned.T, strict=False):
        plot.line(at, line, kind, words(name))
    places = spaced([100 - plot.y.share(float(v)) for v in earned[-1]], gap=7, low=3, high=97)
    for amount, kind, top in zip(earned[-1], SERIES, places, strict=False):
        plot.tag(100, top, money(float(amount)), f"right {kind}")
    plot.axis_time()
    plot.hover("0")
    key = legend(*zip(SERIES, map(words, names), strict=False))
    csv = _over_time("profit_by_timeframe", trading, earned)
    return figure(
        title, key, plot.render(), csv, caption="After costs, in currency, summed up since the start.", class_="wide"
    )


def _over_time(name: str, trading: Trading, values: Array) -> Markup:
    days = np.datetime_as_string(trading.simulation.times[trading.session_rows], unit="D").tolist()
    rows = [[day, *row] for day, row in zip(days, np.round(values, 4).tolist(), strict=True)]
    return download(name, ["session", *trading.desk.coordinator.names], rows)
