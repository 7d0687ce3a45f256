"""What was held and what it cost: exposure, costs, limits and the last round trips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.evaluation.report.formats import arrow, change, decimal, money, percent, price, quantity, words
from tradewind.evaluation.report.markup import Markup, empty, figure, node, section
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import around, milliseconds
from tradewind.evaluation.report.sections.forecasts import meters
from tradewind.evaluation.report.tables import Column, Table, download

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

SHOWN_TRADES, SAVED_TRADES = 50, 3000
UNSCROLLED_TRADES = 20
"""So many trades stand in full; more scroll inside their card, which then says so."""

CSV = (
    "symbol", "side", "entry_time", "exit_time", "quantity", "entry_price", "exit_price", "gross_pnl", "costs",
    "dividends", "borrow", "pnl", "return", "bars_held", "exit_reason",
)  # fmt: skip


def trading(record: TrackRecord) -> Markup:
    """Return the chapter on positions, costs and trades."""
    found = record.result["track_record"]
    lead = (
        f"{_trips(found)}. Fills pay commission, spread, slippage and impact; "
        "a bar that held both stop and target was resolved against us."
    )
    side_by_side = node("div", costs(record), limits(record), class_="grid")
    return section("trading", "Positions and costs", lead, exposure(record), side_by_side, trades(record))


def exposure(record: TrackRecord) -> Markup:
    """Return gross and net exposure over time."""
    simulation, start = record.simulations["base"], record.start
    gross, net = simulation.gross_exposure[start:], simulation.net_exposure[start:]
    if not np.nan_to_num(gross).any():
        return figure("Exposure", empty("nothing was held"), class_="wide")
    times = milliseconds(record.world.panel.times[start:])
    plot = Plot(around(times, margin=0), around([0.0], gross, net, margin=0.04), label="Exposure over time", height=170)
    plot.axis_y(percent(0), 4)
    known = np.isfinite(net)
    long_only = bool(np.array_equal(gross[known], net[known]))
    plot.area(times[known], 0.0, net[known], "s1-fill soft")
    plot.line(times, net, "s1", "net")
    if not long_only:
        plot.line(times, gross, "s2", "gross")
    plot.level(0, "zero")
    plot.axis_time()
    plot.hover("0%")
    key = None if long_only else legend(("s1", "net: long less short"), ("s2", "gross: long plus short"))
    return figure(
        "Exposure", key, plot.render(), caption="Positions as a share of equity at each close.", class_="wide"
    )


def costs(record: TrackRecord) -> Markup:
    """Return what was paid by kind."""
    paid = {k: v for k, v in record.result["track_record"]["costs"].items() if k != "total"}
    total = record.result["track_record"]["costs"]["total"]
    caption = f"In currency of the account; {money(total)} in all. Negative: received."
    body = meters(paid, money, "s2") if any(paid.values()) else empty("nothing was paid")
    return figure("Costs by kind", body, download("costs", ["kind", "paid"], list(paid.items())), caption=caption)


def limits(record: TrackRecord) -> Markup:
    """Return which limit determined how many sizes."""
    bound = record.result["limits_bound"]
    body = meters(bound, lambda v: f"{int(v):,}", "s3") if bound else empty("no position was opened")
    csv = download("limits", ["limit", "times"], list(bound.items()))
    return figure("What set the sizes", body, csv, caption="How often each step of sizing was the one that bound.")


def _trips(found: Mapping[str, Any]) -> str:
    """Say how many of the counted trades are over; the others are held still, at their last close."""
    held = found.get("open_trades") or 0
    closed = f"{found['trades'] - held:,} round trips were closed"
    return f"{closed} and {held:,} positions were still open at the end" if held else closed


def trades(record: TrackRecord) -> Markup:
    """Return the last fifty round trips, the newest first."""
    closed = record.simulations["base"].trades
    if not len(closed):
        return figure("Trades", empty("no round trip was closed"), class_="wide")
    table = Table(
        "trades",
        "The last round trips",
        [
            Column("Symbol", text=True), Column("Side", text=True), Column("In"), Column("Out"), Column("Quantity"),
            Column("Price in"), Column("Price out"), Column("Costs"), Column("Net profit"), Column("Return"),
            Column("Bars"), Column("Ended by", text=True),
        ],
    )  # fmt: skip
    for row in closed.tail(SHOWN_TRADES).reverse().iter_rows(named=True):
        table.add(_cells(row), [])
    saved = closed.select(CSV).tail(SAVED_TRADES).with_columns(_text_times()).rows()
    note = f"The last {min(len(closed), SHOWN_TRADES)} of {len(closed):,}; the CSV file holds "
    note += "all of them." if len(closed) <= SAVED_TRADES else f"the last {SAVED_TRADES:,}."
    scrolls = len(table.rows) > UNSCROLLED_TRADES
    note += f" ↕ Scroll inside the table to see all {len(table.rows)} rows." if scrolls else ""
    return figure("Trades", table.alone(tall=scrolls), download("trades", CSV, saved), caption=note, class_="wide")


def _cells(row: dict[str, Any]) -> list[str]:
    side = 1 if row["side"] == "long" else -1
    return [
        row["symbol"],
        f"{arrow(side)} {row['side']}",
        str(row["entry_time"])[:10],
        str(row["exit_time"])[:10],
        quantity(row["quantity"]),
        price(row["entry_price"]),
        price(row["exit_price"]),
        decimal(2)(row["costs"]),
        change(row["pnl"], decimal(2)),
        change(row["return"], percent(2)),
        f"{row['bars_held']:,}",
        words(row["exit_reason"]),
    ]


def _text_times() -> list[Any]:
    import polars as pl

    return [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%SZ") for name in ("entry_time", "exit_time")]
