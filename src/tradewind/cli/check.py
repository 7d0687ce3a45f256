"""`tradewind data check`: is what is stored fit for use."""

from __future__ import annotations

import typer

from tradewind.cli.common import JsonOption, PlaybookArgument, SetOption, SourceOption, emit, failures, open_workspace

app = typer.Typer(help="The stored data.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The stored data."""


@app.command(epilog="Example: tradewind data check sample")
def check(
    playbook: PlaybookArgument = "sample", source: SourceOption = None, set_: SetOption = None, json: JsonOption = False
) -> None:
    """Check the stored bars of a playbook: schema, duplicates, consistency, outliers, stale feeds, gaps, traps."""
    with failures(json):
        from tradewind.evaluation.data import check_data

        report = check_data(open_workspace(playbook, source, set_))
        emit(report.to_dict()) if json else typer.echo(report.to_text())
        if not report.usable:
            raise typer.Exit(3)
