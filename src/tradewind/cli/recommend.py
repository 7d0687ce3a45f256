"""`tradewind recommend`: what to do now (or as of then), with the reasons."""

from __future__ import annotations

from typing import Any

import typer

from tradewind.cli.backtest import run_backtest
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
    open_workspace,
    require_timeframe,
    say_timeframe,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind recommend sample --as-of 2012-06-29")
    def recommend(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        timeframe: TimeframeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Recommend one action per symbol at the newest close, beside the track record that backs it."""
        with failures(json):
            workspace = open_workspace(playbook, source, set_)
            require_timeframe(workspace, timeframe)
            record, _ = run_backtest(workspace, instant(as_of), report=False, counts=False, verb="recommend")
            say_timeframe(record, timeframe)
            result = record.to_dict()
            if timeframe is not None:
                result |= _of(record.led_by(timeframe))
            if json:
                keys = (
                    "playbook",
                    "source",
                    "as_of",
                    "verdict",
                    "recommendations",
                    "coverage",
                    "red_flags",
                    "notes",
                    "warnings",
                    "run",
                )
                emit({key: result[key] for key in keys})
                return
            from tradewind.cli.show import number, percent, show_result

            show_result(result)
            for row in result["recommendations"]:
                typer.echo(
                    f"\n{row['symbol']}  {row['action']}  {percent(row['confidence'])}  at {number(row['entry'])}"
                )
                for reason in row["reasons"]:
                    typer.echo(f"  - {reason}")


def _of(record: Any) -> dict[str, Any]:
    """Return what is recommended by the system that leads a record."""
    recommended = record.decision.recommendations()
    return {
        "as_of": recommended[0]["as_of"],
        "recommendations": recommended,
        "coverage": record.coverage.to_dict(),
        "notes": [*record.world.notes, *record.decision.signals.notes],
    }
