"""`tradewind optimise`: the best book inside the limits, as of the newest close."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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
    note,
    one_system,
    progress_bar,
)

MOST_ROWS = 25
"""Weights and limits printed for people; the largest come first."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind optimise sample --objective min_cvar --json")
    def optimise(
        playbook: PlaybookArgument = "sample",
        objective: Annotated[
            str | None,
            typer.Option(
                help="max_sharpe, mean_variance, min_variance, min_cvar, risk_parity, hierarchical; or the playbook's"
            ),
        ] = None,
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        html: Annotated[
            Path | None, typer.Option("--html", help="Draw the weights and the efficient frontier into this file.")
        ] = None,
        json: JsonOption = False,
    ) -> None:
        """Choose weights together: from forecasts as views and the newest covariance, inside all limits."""
        with failures(json):
            from tradewind.evaluation.optimise import optimised

            with progress_bar() as progress:
                workspace = one_system(playbook, source, set_, timeframe)
                result = optimised(workspace, progress, objective=objective, as_of=instant(as_of))
            if html is not None:
                from tradewind.evaluation.report import write_page
                from tradewind.evaluation.report.page import optimiser_page

                note(f"drawn in {write_page(optimiser_page(result), html)}")
            if json:
                emit(result)
            else:
                show(result)


def show(result: Mapping[str, Any]) -> None:
    """Print weights, promises and what binds for people."""
    import sys

    from rich.console import Console

    from tradewind.cli.show import percent

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 110)
    when = f"as of {result['as_of']}, over {result['horizon_bars']} bars"
    console.print(f"\n[bold]{result['objective']}[/] {when}: {result['status']}")
    console.print(
        f"expected {percent(result['expected_return'])}, volatility {percent(result['volatility'])} "
        f"({percent(result['annual_volatility'])} a year), mean loss beyond {result['cvar_level']:.0%} "
        f"{percent(result['cvar'])}; turnover {percent(result['turnover'])}, cost {percent(result['cost'])}\n"
    )
    console.print(_weights(result))
    if result["binding"]:
        console.print(_binding(result))
    for symbol, why in result["excluded"].items():
        console.print(f"[dim]· {symbol} takes no part: {why}[/]")
    for text in result["notes"]:
        console.print(f"[dim]· {text}[/]")


def _weights(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    from tradewind.cli.show import percent

    table = Table(title="Weights", title_justify="left", box=None, pad_edge=False, min_width=24)
    table.add_column("symbol")
    table.add_column("weight", justify="right")
    rows = sorted(((w, name) for name, w in result["weights"].items() if w), key=lambda row: -abs(row[0]))
    for weight, name in rows[:MOST_ROWS]:
        table.add_row(name, percent(weight))
    rest = len(rows) - MOST_ROWS
    table.caption = f"… and {rest} more: see --json" if rest > 0 else None if rows else "nothing: all in cash"
    return table


def _binding(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="Limits that bind", title_justify="left", box=None, pad_edge=False, min_width=40)
    for name, side in (("limit", "left"), ("of", "left"), ("value", "right"), ("shadow price", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for row in result["binding"][:MOST_ROWS]:
        table.add_row(row["name"], row["of"] or "", f"{row['limit']:g}", f"{row['shadow_price']:.4g}")
    return table
