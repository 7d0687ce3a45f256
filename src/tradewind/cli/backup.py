"""`tradewind backup` and `restore`: one verified archive of everything stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures, home_folder


def add_to(app: typer.Typer) -> None:
    """Add both verbs."""

    @app.command(epilog="Example: tradewind backup tradewind.tar")
    def backup(file: Annotated[Path, typer.Argument(help="The archive to write.")], json: JsonOption = False) -> None:
        """Write lake, records and runs into one verified archive, also while others read and write."""
        with failures(json):
            from tradewind.market.store.backup import backup as backup_

            report = backup_(home_folder(), file)
            emit(report.to_dict()) if json else typer.echo(report.to_text())

    @app.command(epilog="Example: TRADEWIND_HOME=restored tradewind restore tradewind.tar")
    def restore(
        file: Annotated[Path, typer.Argument(help="The archive to read.")],
        replace: Annotated[bool, typer.Option("--replace", help="Move a home with data aside first.")] = False,
        json: JsonOption = False,
    ) -> None:
        """Restore an archive into an empty home; a home with data is never overwritten, at most moved aside."""
        with failures(json):
            from tradewind.market.store.backup import restore as restore_

            report = restore_(file, home_folder(), replace=replace)
            emit(report.to_dict()) if json else typer.echo(report.to_text())
