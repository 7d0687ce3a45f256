"""`tradewind doctor`: is this installation and this home folder well."""

from __future__ import annotations

import typer

from tradewind.cli.common import JsonOption, emit, failures, home_folder


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind doctor")
    def doctor(json: JsonOption = False) -> None:
        """Check versions, disk, memory, lakes, records and models' files; say what to do about anything wrong."""
        with failures(json):
            from tradewind.evaluation.health import examine
            from tradewind.live.checks import of_a_home

            findings = examine(home_folder())
            if all(f["ok"] for f in findings):  # a store that is broken has been named already
                findings += of_a_home(home_folder())
            if json:
                emit({"healthy": all(f["ok"] for f in findings), "checks": findings})
            else:
                for finding in findings:
                    typer.echo(f"{'ok ' if finding['ok'] else 'BAD'}  {finding['check']:<24} {finding['detail']}")
            if not all(f["ok"] for f in findings):
                raise typer.Exit(3)
