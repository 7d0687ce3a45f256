"""`tradewind explain`: one recommendation from raw bars to order, every number on the way."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.backtest import run_backtest
from tradewind.cli.common import (
    AsOfOption,
    JsonOption,
    SetOption,
    SourceOption,
    emit,
    failures,
    instant,
    open_workspace,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind explain AAPL --as-of 2012-06-29")
    def explain(
        symbol: Annotated[str, typer.Argument(help="The symbol to follow.")],
        playbook: Annotated[str, typer.Option("--playbook", help="A shipped name or a TOML file.")] = "sample",
        source: SourceOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        json: JsonOption = False,
    ) -> None:
        """Follow one recommendation from raw bars to order, with every number on the way."""
        with failures(json):
            from tradewind.evaluation.explain import explain as explain_
            from tradewind.evaluation.prediction_log import as_datetime
            from tradewind.evaluation.sector_baselines import known

            workspace = open_workspace(playbook, source, set_)
            record, _ = run_backtest(workspace, instant(as_of), report=False, counts=False, verb="explain")
            moment = as_datetime(record.world.panel.times[-1])
            steps = explain_(record, symbol, known(workspace, moment))
            if json:
                emit({**steps, "run": record.run})
                return
            from tradewind.cli.steps import show_steps

            show_steps(steps)
