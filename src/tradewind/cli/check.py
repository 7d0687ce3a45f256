"""`tradewind data check`: is what is stored fit for use."""

from __future__ import annotations

from typing import Any

import typer

from tradewind.cli.common import (
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    TimeframeOption,
    emit,
    failures,
    one_system,
)

app = typer.Typer(help="The stored data.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The stored data."""


@app.command(epilog="Example: tradewind data check sample")
def check(
    playbook: PlaybookArgument = "sample",
    source: SourceOption = None,
    set_: SetOption = None,
    timeframe: TimeframeOption = None,
    json: JsonOption = False,
) -> None:
    """Check the stored bars of a playbook: schema, duplicates, consistency, outliers, stale feeds, gaps, traps."""
    with failures(json):
        from tradewind.evaluation.data import check_data

        report = check_data(one_system(playbook, source, set_, timeframe))
        emit(report.to_dict()) if json else typer.echo(_text(report.to_dict()))
        if report.excluded:
            raise typer.Exit(3)


def _text(report: dict[str, Any]) -> str:
    """Return the findings for a reader: counts first, then examples."""
    lines = [f"{report['bars']:,} bars of {report['symbols']} symbols; {report['excluded']} unfit for use"]
    lines += [f"  {check:<28} {count:>8,}" for check, count in report["counts"].items()]
    lines += ["for example:"] if report["examples"] else []
    lines += [_example(row) for row in report["examples"]]
    return "\n".join(lines)


def _example(row: dict[str, Any]) -> str:
    what = row["check"] if row["detail"] is None else f"{row['check']}: {row['detail']}"
    return "  ".join(filter(None, (f"    {row['symbol']}", row["time"], what)))
