"""`tradewind broker`: what has to be true before an order leaves this machine. Nothing is traded here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tradewind.cli.common import (
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    emit,
    failures,
    note,
    open_workspace,
)

app = typer.Typer(help="The broker of a playbook: is it ready, does it agree with our books?", no_args_is_help=True)

LiveOption = Annotated[
    bool, typer.Option("--live", help="Connect to the account with real money; asks for a typed phrase.")
]
ConfirmOption = Annotated[
    str, typer.Option("--confirm", metavar="PHRASE", help='What has to be typed: "live" and the last digits.')
]


@app.callback()
def _group() -> None:
    """Ask the broker of a playbook whether it is ready and agrees with our books."""


@app.command(epilog="Example: tradewind broker check ai-semis --set broker.name=alpaca")
def check(
    playbook: PlaybookArgument = "sample",
    source: SourceOption = None,
    set_: SetOption = None,
    live: LiveOption = False,
    confirm: ConfirmOption = "",
    json: JsonOption = False,
) -> None:
    """Look at everything that has to be true before an order goes out; exit 4 where it is not."""
    with failures(json):
        from tradewind.execution.brokers.preflight import preflight
        from tradewind.execution.journal import Journal

        workspace, broker, journal, controls = _connected(playbook, source, set_, live, confirm)
        plan = workspace.plan
        paper = Journal(workspace.records, f"paper:{plan.playbook.name}", clock=workspace.clock)
        checks = preflight(
            broker,
            journal,
            controls,
            plan.limits,
            clock=workspace.clock,
            settings=plan.broker,
            capital=plan.account.start_capital,
            paper=paper,
        )
        ready = all(one.passed for one in checks if one.required)
        rows = [{"name": c.name, "passed": c.passed, "required": c.required, "said": c.said} for c in checks]
        if json:
            emit({"broker": broker.name, "live": broker.live, "ready": ready, "checks": rows})
        else:
            for row in rows:
                mark = "✓" if row["passed"] else ("✗" if row["required"] else "!")
                typer.echo(f"{mark} {row['name']:<16} {row['said']}")
            note("ready to trade" if ready else "not ready to trade")
        if not ready:
            raise typer.Exit(4)


@app.command(epilog="Example: tradewind broker reconcile ai-semis --set broker.name=alpaca")
def reconcile(
    playbook: PlaybookArgument = "sample",
    source: SourceOption = None,
    set_: SetOption = None,
    live: LiveOption = False,
    confirm: ConfirmOption = "",
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over positions and fills that our books do not explain.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Take over the broker's truth into our books; what they do not explain halts trading, unless it is adopted."""
    with failures(json):
        from tradewind.execution.reconcile import reconcile as reconcile_

        workspace, broker, journal, controls = _connected(playbook, source, set_, live, confirm)
        found = reconcile_(journal, broker, controls, clock=workspace.clock, adopt=adopt)
        differences = [str(difference) for difference in found.differences]
        held = journal.replay()
        if json:
            emit({"broker": broker.name, "differences": differences, "positions": held.positions, "cash": held.cash})
            return
        for said in differences or ["no differences"]:
            typer.echo(said)


def _connected(
    playbook: str, source: str | None, set_: list[str] | None, live: bool, confirm: str
) -> tuple[Any, Any, Any, Any]:
    """Return workspace, broker, the journal of the account and the kill switch."""
    from tradewind.errors import InputError
    from tradewind.execution.brokers.preflight import open_broker
    from tradewind.execution.controls import Controls
    from tradewind.execution.journal import Journal

    workspace = open_workspace(playbook, source, set_)
    settings = workspace.plan.broker
    if settings.name == "paper":
        raise InputError(
            "the playbook trades on paper, and that needs no broker",
            hint="`tradewind paper` runs it; for a broker: --set broker.name=alpaca",
        )
    broker = open_broker(settings.name, settings, live=live, confirmation=confirm)
    account = f"{broker.name}:{broker.account_number()}"  # type: ignore[attr-defined]
    journal = Journal(workspace.records, account, clock=workspace.clock)
    return workspace, broker, journal, Controls(workspace.records, clock=workspace.clock)
