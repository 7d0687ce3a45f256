"""`tradewind pairs`: cointegrated pairs of a universe, with every test counted (row C16)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from tradewind.cli.common import (
    AsOfOption,
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    TimeframeOption,
    emit,
    failures,
    instant,
    one_system,
    progress_bar,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind pairs sample --json")
    def pairs(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        json: JsonOption = False,
    ) -> None:
        """Pairs whose prices move together for good: found, tested again out of sample, and traded after costs."""
        with failures(json):
            from tradewind.evaluation.pairs import find_pairs

            with progress_bar() as progress:
                result = find_pairs(one_system(playbook, source, set_, timeframe), progress, as_of=instant(as_of))
            if json:
                emit(result)
            else:
                _show(result)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 110)
    if result["pairs"]:
        title = f"Pairs formed on {result['formed_on'][:10]}, as of {result['as_of'][:10]}"
        console.print(_pairs_table(title, result["pairs"]))
    else:
        console.print(f"\n[bold yellow]No pairs[/]  {result['reason']}\n")
        console.print(_pairs_table("Nearest to being found", result["nearest"]))
    for symbol, why in result["left_out"].items():
        console.print(f"[dim]· {symbol} was left out: {why}[/]")
    console.print(_windows(result))
    console.print(_record(result))
    for text in (*result["flags"], *result["notes"]):
        console.print(f"[dim]· {text}[/]")
    for text in result["warnings"]:
        console.print(f"[dim]! {text}[/]")


def _pairs_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    from rich.table import Table

    from tradewind.cli.show import number

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("log price ~ ratio × other")
    for name in ("ratio", "t", "p", "q", "trace", "half-life", "z now"):
        table.add_column(name, justify="right")
    table.add_column("would do")
    for row in rows:
        tests = (number(row["hedge_ratio"]), number(row["t"]), number(row["p"], 4), number(row["q"], 3))
        rest = (number(row["johansen_trace"], 1), number(row["half_life_bars"], 1), number(row.get("z")))
        does = f"{row['action']}: {row['why']}" if "action" in row else ""
        table.add_row(f"{row['dependent']} ~ {row['other']}", *tests, *rest, does)
    return table


def _windows(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    from tradewind.cli.show import percent

    total = result["survival"]
    table = Table(title="Out of sample, by window", title_justify="left", box=None, pad_edge=False)
    table.add_column("formed on")
    for name in ("tests", "found", "traded", "retested", "survived at 5 %", "of those not found", "trades"):
        table.add_column(name, justify="right")
    for row in result["windows"]:
        counts = ("–" if row[key] is None else f"{row[key]:,}" for key in ("tests", "found", "traded", "retested"))
        survived = "–" if row["survived"] is None else f"{row['survived']:,}"
        opened = f"{row['events'].get('opened', 0):,}"
        table.add_row(row["formed_on"], *counts, survived, percent(row["share_of_pairs_not_found"]), opened)
    table.caption = (
        f"{percent(total['share'])} of {total['retested']:,} pairs found survived; chance alone lets "
        f"{percent(total['expected_by_chance'])}, pairs not found {percent(total['share_of_pairs_not_found'])}"
    )
    table.caption_justify = "left"
    return table


def _record(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    from tradewind.cli.show import number, percent

    record = result["track_record"]
    title = f"Trading the rule, out of sample {record['from']} to {record['to']}, after costs and borrow"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    if record["reason"]:
        table.add_row(record["reason"])
        table.add_row(f"{result['trials']:,} pairs tested, each a trial")
        return table
    low, high = record["sharpe_ci"]
    rows = (
        ("Sharpe ratio", f"{number(record['sharpe'])}   95 % interval {number(low)} … {number(high)}"),
        ("deflated Sharpe ratio", f"{percent(record['deflated_sharpe'])} over {result['trials']:,} pairs tested"),
        ("annual return", percent(record["annual_return"])),
        ("volatility", percent(record["volatility"])),
        ("maximum drawdown", percent(record["max_drawdown"])),
        ("trades", f"{record['trades_of_pairs']:,} of pairs, {record['trades_of_legs']:,} of legs"),
        ("costs, borrow included", number(record["costs"]["total"])),
    )
    for row in rows:
        table.add_row(*row)
    return table
