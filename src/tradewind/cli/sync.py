"""`tradewind sync`: bring the lake up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from tradewind.market.sync import SyncReport


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
            from tradewind.evaluation.data import synchronise_all

            workspace = open_workspace(playbook, source, set_)
            with progress_bar() as progress:
                reports, unavailable = synchronise_all(workspace, progress, dry_run=dry_run)
            if json:
                emit({"playbook": playbook, **_parts(reports, unavailable)})
                return
            for report in dict.fromkeys(map(id, reports.values())):
                names = [name for name, own in reports.items() if id(own) == report]
                _show(reports[names[0]], ", ".join(names), "would store" if dry_run else "stored")
            for name, why in unavailable.items():
                typer.echo(f"nothing for {name}: {why}")


def _parts(reports: Mapping[str, SyncReport], unavailable: Mapping[str, str]) -> dict[str, Any]:
    """Return what was stored, by timeframe where the playbook has any."""
    if "" in reports:
        return dict(reports[""].to_dict())
    return {"timeframes": {name: report.to_dict() for name, report in reports.items()}, "unavailable": unavailable}


def _show(report: SyncReport, timeframe: str, word: str) -> None:
    """Say what one sync brought."""
    content = report.to_dict()
    bars, actions = content["bars"], content["actions"]
    of = f" for {timeframe}" if timeframe else ""
    typer.echo(
        f"{report.source}: {word}{of} {bars['added']:,} new and {bars['corrected']:,} corrected bars of "
        f"{report.symbols} symbols ({bars['unchanged']:,} unchanged), {actions['added']:,} corporate actions"
    )
    if report.members is not None:
        typer.echo(f"  {report.members.to_text()}")
    for reason, count in report.excluded.items():
        typer.echo(f"  {count:,} bars excluded: {reason}")
    if report.without_data:
        typer.echo(f"  no data for {', '.join(report.without_data)}")
    for text in report.notes:
        typer.echo(f"  {text}")
