"""`tradewind sync`: bring the lake up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
            from tradewind.evaluation.data import smaller_bars, synchronise

            workspace = open_workspace(playbook, source, set_)
            names = tuple(workspace.plan.timeframes)
            with progress_bar() as progress:
                places = [smaller_bars(workspace.system(name)[1]) for name in names] or [workspace]
                reports = [synchronise(place, progress, dry_run=dry_run) for place in places]
            if json:
                parts = {name: report.to_dict() for name, report in zip(names, reports, strict=False)}
                emit({"playbook": playbook, **({"timeframes": parts} if parts else reports[0].to_dict())})
                return
            for number, report in enumerate(reports):
                _show(report, names[number] if names else "", "would store" if dry_run else "stored")


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
    for text in (*(f"no data for {s}" for s in report.without_data), *report.notes):
        typer.echo(f"  {text}")
