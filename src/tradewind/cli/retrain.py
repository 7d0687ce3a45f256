"""`tradewind retrain`: train anew on all that is known; a challenger that proves better becomes champion."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.common import (
    AsOfOption,
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    TimeframeOption,
    emit,
    failures,
    instant,
    one_system,
    progress_bar,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind retrain dual-model --source synthetic")
    def retrain(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what would be decided; nobody is promoted, no look is counted.")
        ] = False,
        json: JsonOption = False,
    ) -> None:
        """Read corporate actions, train every seat's model anew, judge it against its champion, promote or keep.

        Run again after an interruption it goes on; run again on the same data it comes to the same decision.
        """
        with failures(json):
            from tradewind.evaluation.retraining import lines_of
            from tradewind.evaluation.retraining import retrain as retrain_

            with progress_bar() as progress:
                result = retrain_(
                    one_system(playbook, source, set_, timeframe), progress, as_of=instant(as_of), dry_run=dry_run
                )
            if json:
                emit(result)
                return
            for line in lines_of(result):
                typer.echo(line)
            if result["report"]:
                typer.echo(f"report: {result['report']}")
