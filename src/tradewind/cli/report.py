"""`tradewind report`: where the report of a run is, or make it again."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures, home_folder


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind report latest")
    def report(
        run: Annotated[str, typer.Argument(help="A run id, or `latest`.")] = "latest", json: JsonOption = False
    ) -> None:
        """Say where the report of a run is; where it is missing, compute the run again and write it."""
        with failures(json):
            from tradewind.evaluation import runs

            folder = runs.folder_of(home_folder(), run)
            path = folder / "report.html"
            if not path.is_file():
                from tradewind.evaluation.report import write_report
                from tradewind.evaluation.reproduce import repeat

                write_report(repeat(home_folder(), folder), path)
            result = runs.read(folder, "result.json")
            if json:
                emit({"run": folder.name, "report": path, "verdict": result["verdict"]})
            else:
                typer.echo(f"{result['verdict']['text']}\n{path}")
