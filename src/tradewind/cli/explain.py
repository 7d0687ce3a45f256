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
    TimeframeOption,
    emit,
    failures,
    instant,
    open_workspace,
    require_timeframe,
    say_timeframe,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind explain AAPL sample --as-of 2012-06-29")
    def explain(
        symbol: Annotated[str, typer.Argument(help="The symbol to follow.")],
        playbook: Annotated[
            str | None, typer.Argument(help="A playbook: a shipped name or a TOML file.", show_default="sample")
        ] = None,
        named: Annotated[str | None, typer.Option("--playbook", help="The playbook, said as an option.")] = None,
        source: SourceOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        timeframe: TimeframeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Follow one recommendation from raw bars to order, with every number on the way."""
        with failures(json):
            from tradewind.evaluation.explain import explain as explain_
            from tradewind.evaluation.prediction_log import as_datetime
            from tradewind.evaluation.sector_baselines import known

            workspace = open_workspace(_one_of(playbook, named), source, set_)
            require_timeframe(workspace, timeframe)
            record, _ = run_backtest(
                workspace, instant(as_of), report=False, counts=False, verb="explain", symbol=symbol
            )
            say_timeframe(record, timeframe)
            record = record if timeframe is None else record.led_by(timeframe)
            moment = as_datetime(record.world.panel.times[-1])
            steps = explain_(record, symbol, known(workspace, moment))
            if json:
                emit({**steps, "run": record.run})
                return
            from tradewind.cli.steps import show_steps

            show_steps(steps)


def _one_of(playbook: str | None, named: str | None) -> str:
    """Return the playbook, however it was said; ``InputError`` where two different ones were."""
    from tradewind.errors import InputError

    if playbook and named and playbook != named:
        raise InputError(f"two playbooks were given: {playbook} and --playbook {named}", hint="leave one of them out")
    return playbook or named or "sample"
