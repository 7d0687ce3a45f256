"""`tradewind paper`: a playbook's paper account, and the days of the past traded on paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tradewind.cli.common import (
    FromOption,
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    ToOption,
    emit,
    failures,
    instant,
    open_workspace,
    progress_bar,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind paper sample --replay --from 2011-01-03 --to 2011-12-30")
    def paper(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        set_: SetOption = None,
        replay: Annotated[
            bool, typer.Option("--replay", help="Trade stored days in a new account, and compare with the back-test.")
        ] = False,
        from_: FromOption = None,
        to: ToOption = None,
        account: Annotated[str, typer.Option(help="Name of the account; default: the playbook's.")] = "",
        json: JsonOption = False,
    ) -> None:
        """Take the paper account over the bars it has not seen: orders, fills and book are kept, through any kill."""
        with failures(json):
            from tradewind.evaluation.paper import paper as run

            with progress_bar() as progress:
                workspace = open_workspace(playbook, source, set_)
                result = run(
                    workspace,
                    progress,
                    replay=replay,
                    opened=instant(from_, first=True),
                    as_of=instant(to),
                    account=account,
                )
            if json:
                emit(result)
            else:
                _show(result)
            if result.get("equal") is False:
                raise typer.Exit(3)
            if result["halted"] and not replay:
                raise typer.Exit(4)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from tradewind.cli.show import number
    from tradewind.evaluation.reconciliation import said

    console = Console(highlight=False)
    console.print(f"[bold]{result['account']}[/]  {result['bars']:,} bars, {result['from']} to {result['to']}")
    console.print(
        f"equity {number(result['equity'])}, cash {number(result['cash'])}, profit {number(result['profit'])}; "
        f"{result['fills']:,} fills"
    )
    lots = result["lots"]
    console.print(
        f"lots, first in, first out: realised {number(lots['realised'])}, unrealised {number(lots['unrealised'])}, "
        f"financing {number(lots['financing'])}; {lots['open']:,} open"
    )
    table = Table(title="Positions", title_justify="left", box=None, pad_edge=False)
    for name in ("symbol", "timeframe"):
        table.add_column(name)
    for name in ("shares", "price", "value", "stop"):
        table.add_column(name, justify="right")
    for row in result["positions"]:
        figures = (number(row[name]) for name in ("shares", "price", "value", "stop"))
        table.add_row(row["symbol"], row["timeframe"] or "", *figures)
    console.print(table if result["positions"] else "nothing is held")
    for order in result["waiting"]:
        console.print(
            f"· waits: {order['side']} {number(order['quantity'])} {order['symbol']} {order['time_in_force']}"
        )
    for name, times in result["limits"].items():
        if times:
            console.print(f"[dim]· {name} bound {times:,} times[/]")
    if result["halted"]:
        console.print(f"[red]halted by {result['halted']}[/]: `tradewind release` lets it go on")
    if "equal" in result:
        same = "the same ledger as the back-test" if result["equal"] else "[red]another ledger than the back-test[/]"
        console.print(f"{same}: {result['ledger_hash'][:16]}")
        for line in said(result["reconciliation"]):
            console.print(f"[dim]· {line}[/]")
