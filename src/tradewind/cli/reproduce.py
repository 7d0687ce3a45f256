"""`tradewind reproduce`: compute a run again and compare every number."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures, home_folder, progress_bar


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind reproduce latest")
    def reproduce(
        run: Annotated[str, typer.Argument(help="A run id, or `latest`.")] = "latest", json: JsonOption = False
    ) -> None:
        """Compute a run again from its manifest; exit 0 where every number agrees, 3 where one does not."""
        with failures(json):
            from tradewind.evaluation import runs
            from tradewind.evaluation.reproduce import reproduce as reproduce_

            folder = runs.folder_of(home_folder(), run)
            with progress_bar() as progress:
                answer = reproduce_(home_folder(), folder, progress)
            if json:
                emit(answer)
            elif answer["equal"]:
                typer.echo(f"{folder.name}: every number agrees")
            else:
                for row in answer["differences"][:20]:
                    typer.echo(f"{row['path']}: {row['before']} → {row['after']}")
                changed = ", ".join(answer["changed"]) or "nothing known"
                typer.echo(f"{len(answer['differences'])} differences; changed since: {changed}")
            if not answer["equal"]:
                raise typer.Exit(3)
