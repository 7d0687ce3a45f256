"""`tradewind train`: fit every model of a playbook fold by fold and keep the forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

    @app.command(epilog="Example: tradewind train sample")
    def train(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        json: JsonOption = False,
    ) -> None:
        """Fit every model on each walk-forward fold; finished folds are kept, so it goes on after an interruption."""
        with failures(json):
            from tradewind.evaluation.training import train as train_

            with progress_bar() as progress:
                report = train_(one_system(playbook, source, set_, timeframe), progress, as_of=instant(as_of))
            if json:
                emit(report)
                return
            for name, row in report["models"].items():
                if "left_out" in row:
                    typer.echo(f"{name:<24} left out: {row['left_out']}")
                    continue
                typer.echo(f"{name:<24} {row['folds']} folds, {row['forecasts']:,} forecasts, version {row['version']}")
                for member, kept in row.get("members", {name: row}).items():
                    typer.echo(f"  {_kept(member, kept)}")
            for seat, state in report["seats"].items():
                champion, challenger = (state[alias] or "none" for alias in ("champion", "challenger"))
                typer.echo(f"champion {champion}, challenger {challenger}: `tradewind models show {seat}:champion`")


def _kept(name: str, told: Mapping[str, Any]) -> str:
    """Say what became of the last fold's model."""
    if "not_stored" in told:
        return f"{name} is not stored: {told['not_stored']}"
    damaged = f"; a damaged one is now {told['put_aside']}" if "put_aside" in told else ""
    return f"stored as {told['artefact']}{damaged}"
