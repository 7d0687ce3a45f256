"""`tradewind sync`: bring the lake up to date."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.common import (
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    emit,
    failures,
    open_workspace,
    progress_bar,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind sync nasdaq-tft --source synthetic")
    def sync(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        set_: SetOption = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be stored; store nothing.")] = False,
        json: JsonOption = False,
    ) -> None:
        """Fetch what the playbook needs into the lake; run it again to go on after an interruption."""
        with failures(json):
            from tradewind.evaluation.data import synchronise

            workspace = open_workspace(playbook, source, set_)
            with progress_bar() as progress:
                report = synchronise(workspace, progress, dry_run=dry_run)
            content = report.to_dict()
            if json:
                emit({"playbook": playbook, **content})
                return
            bars, actions = content["bars"], content["actions"]
            word = "would store" if dry_run else "stored"
            typer.echo(
                f"{report.source}: {word} {bars['added']:,} new and {bars['corrected']:,} corrected bars of "
                f"{report.symbols} symbols ({bars['unchanged']:,} unchanged), {actions['added']:,} corporate actions"
            )
            if report.members is not None:
                typer.echo(f"  {report.members.to_text()}")
            for reason, count in report.excluded.items():
                typer.echo(f"  {count:,} bars excluded: {reason}")
            for text in (*(f"no data for {s}" for s in report.without_data), *report.notes):
                typer.echo(f"  {text}")
