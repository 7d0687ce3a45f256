"""`tradewind audit`: does anything know more than it may."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from tradewind.cli.common import (
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    TimeframeOption,
    emit,
    failures,
    one_system,
    progress_bar,
)


class PlaybookByDefault(TyperGroup):
    """A group whose unknown first word is taken for a playbook: ``tradewind audit sample``."""

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]
        """Put ``playbook`` in front of anything that is not a command of the group."""
        if args and args[0] not in self.commands:
            args = ["playbook", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(help="Prove that nothing knows more than it may.", no_args_is_help=True, cls=PlaybookByDefault)


@app.callback()
def _group() -> None:
    """Prove that nothing knows more than it may: `audit PLAYBOOK`, or `audit frame FILE` for a table of yours."""


@app.command(epilog="Example: tradewind audit sample --json")
def playbook(
    name: PlaybookArgument = "sample",
    source: SourceOption = None,
    timeframe: TimeframeOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Recompute a playbook on truncated, perturbed and shuffled futures; exit 3 where anything changes the past."""
    with failures(json):
        from tradewind.audit.playbook import audit_playbook

        with progress_bar() as progress:
            report = audit_playbook(one_system(name, source, set_, timeframe), progress)
        emit(report.to_dict()) if json else typer.echo(report.to_text())
        if report.findings:
            raise typer.Exit(3)


@app.command(epilog="Example: tradewind audit frame features.parquet --time date --price close")
def frame(
    file: Annotated[Path, typer.Argument(help="A CSV or Parquet table.")],
    time: Annotated[str, typer.Option("--time", help="Column with the row's time.")],
    price: Annotated[
        str | None, typer.Option("--price", help="Look for columns that know future returns of this.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Look for columns that determine this in the same row.")
    ] = None,
    symbol: Annotated[
        str | None, typer.Option("--symbol", help="Column with the symbol, where there are several.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Look for columns of any table that know the future; exit 3 where there are some."""
    with failures(json):
        from tradewind.audit.frame import audit_frame

        report = audit_frame(file, time=time, price=price, target=target, symbol=symbol)
        emit(report.to_dict()) if json else typer.echo(report.to_text())
        if report.leaks:
            raise typer.Exit(3)
