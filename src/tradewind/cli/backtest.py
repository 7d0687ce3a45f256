"""`tradewind backtest`: the walk over history, its verdict and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tradewind.cli.common import (
    AsOfOption,
    FromOption,
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    ToOption,
    emit,
    failures,
    instant,
    note,
    open_workspace,
    progress_bar,
)
from tradewind.errors import InputError


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind backtest sample --set decision.horizon_bars=5")
    def backtest(
        playbook: PlaybookArgument = "sample",
        source: SourceOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        from_: FromOption = None,
        to: ToOption = None,
        forecasts: Annotated[
            Path | None, typer.Option("--forecasts", help="Write every out-of-sample forecast (.parquet or .csv).")
        ] = None,
        weights: Annotated[
            Path | None, typer.Option("--weights", help="Write the weights decided at each close (.parquet or .csv).")
        ] = None,
        report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
        json: JsonOption = False,
    ) -> None:
        """Walk forward over history, trade on out-of-sample forecasts only, and judge the result."""
        with failures(json):
            from tradewind.evaluation.backtest import require_table, write_forecasts, write_weights

            if to is not None and as_of is not None:
                raise InputError("--to and --as-of both say what is known", hint="give one of them")
            for path in filter(None, (forecasts, weights)):
                require_table(path)
            record, folder = run_backtest(
                open_workspace(playbook, source, set_),
                instant(to or as_of),
                opened=instant(from_, first=True),
                report=report,
            )
            if forecasts is not None:
                write_forecasts(record, forecasts)
            if weights is not None:
                write_weights(record, weights)
            if json:
                emit(record.to_dict())
            else:
                from tradewind.cli.show import show_result

                show_result(record.to_dict())
                note(f"run {record.run['id']} in {record.run['seconds']} s; files in {folder}")


def run_backtest(
    workspace: Any,
    as_of: Any = None,
    *,
    opened: Any = None,
    report: bool = True,
    counts: bool = True,
    verb: str = "backtest",
    symbol: str | None = None,
) -> tuple[Any, Path]:
    """Run, store and (unless told not to) report; return the track record and its folder."""
    from tradewind.evaluation.backtest import backtest, save

    with progress_bar() as progress:
        record = backtest(workspace, progress, as_of=as_of, opened=opened, counts=counts, symbol=symbol)
    folder = save(record, workspace, verb=verb)
    if report:
        from tradewind.evaluation.report import write_report

        record.run["report"] = str(write_report(record, folder / "report.html"))
    return record, folder
