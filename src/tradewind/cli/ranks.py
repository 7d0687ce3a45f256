"""`tradewind ranks`: the probability of ending in each bucket of the universe."""

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

    @app.command(epilog="Example: tradewind ranks sample --horizon 20 --buckets 5 --json")
    def ranks(
        playbook: PlaybookArgument = "sample",
        horizon: Annotated[int, typer.Option(min=1, help="Horizon in bars.")] = 20,
        buckets: Annotated[int, typer.Option(min=2, max=20, help="Equal parts of the universe.")] = 5,
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        json: JsonOption = False,
    ) -> None:
        """Each symbol's probability of ending in each bucket of the universe's returns, lowest bucket first."""
        with failures(json):
            from tradewind.evaluation.ranking import rank_probabilities

            with progress_bar() as progress:
                workspace = one_system(playbook, source, set_, timeframe)
                result = rank_probabilities(workspace, horizon, buckets, progress, as_of=instant(as_of))
            if json:
                emit(result)
                return
            typer.echo(f"as of {result['as_of']}, over {horizon} bars; bucket 1 is the lowest")
            for symbol, row in result["symbols"].items():
                typer.echo(f"{symbol:<8} " + "  ".join(f"{p:6.1%}" for p in row))
