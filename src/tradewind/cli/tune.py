"""`tradewind tune`: search a playbook's declared ranges before its test period, every trial counted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tradewind.cli.common import (
    AsOfOption,
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    emit,
    failures,
    instant,
    note,
    one_system,
    progress_bar,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind tune my-system.toml --trials 40 --write my-tuned-system.toml")
    def tune(
        playbook: PlaybookArgument,
        trials: Annotated[
            int | None,
            typer.Option("--trials", min=1, help="Trials in all, earlier ones included; tune.trials without it."),
        ] = None,
        write: Annotated[
            Path | None, typer.Option("--write", help="Write a new playbook with the best settings; never over a file.")
        ] = None,
        source: SourceOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Say what would be searched on which bars; judge nothing.")
        ] = False,
        json: JsonOption = False,
    ) -> None:
        """Search the ranges of [tune] on the bars before the first test block; goes on where it was stopped.

        Every trial is counted among those that deflate the Sharpe ratio of the playbook's back-test.
        """
        with failures(json):
            from tradewind.evaluation.tuning.search import tune as search

            _require_free(write)
            workspace = one_system(playbook, source, set_)
            with progress_bar() as progress:
                result = search(workspace, progress, trials=trials, as_of=instant(as_of), dry_run=dry_run)
            written = None if dry_run else _write(write, workspace.plan.playbook, result)
            if json:
                emit(result if dry_run else {**result, "written": written})
            elif dry_run:
                _show_plan(result)
            else:
                _show(result)
                note(_about_file(write, written))


def _require_free(file: Path | None) -> None:
    """Refuse a place that cannot be written before hours are spent."""
    from tradewind.errors import InputError

    if file is None:
        return
    if file.exists():
        raise InputError(f"{file} exists already", hint="choose another name; nothing was searched")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent}", hint="make it first, or choose another place")


def _write(file: Path | None, book: Any, result: Mapping[str, Any]) -> Path | None:
    """Write the playbook with the best settings; none where nothing was better than the playbook as it stands."""
    from tradewind.evaluation.tuning.rewrite import written_from

    best = result["best"]
    if file is None or not best["settings"]:
        return None
    period = result["period"]
    text = written_from(book, best["settings"], _heading(book.path.name, result, period))
    with file.open("x", encoding="utf-8") as opened:
        opened.write(text)
    return file


def _heading(name: str, result: Mapping[str, Any], period: Mapping[str, Any]) -> str:
    return (
        f"{name} after `tradewind tune`: the best of {len(result['trials'])} trials by {result['objective']} "
        f"({result['best']['value']:.5g};\n"
        f"as it stood: {result['as_it_stands']['value']:.5g}) on bars {period['from']} to {period['to']}. Keep "
        "playbook.lineage: these trials are counted there."
    )


def _about_file(asked: Path | None, written: Path | None) -> str:
    if written is not None:
        return f"wrote {written}; now: tradewind backtest {written}"
    return "" if asked is None else f"nothing was better than the playbook as it stands: {asked} is not written"


def _show_plan(result: Mapping[str, Any]) -> None:
    """Print what would be searched."""
    typer.echo(_where(result))
    for block in result["period"]["blocks"]:
        typer.echo(f"  {block['from']} to {block['to']}, learning from {block['train_bars']:,} bars")
    for key, declared in result["ranges"].items():
        typer.echo(f"  {key}: " + ", ".join(f"{name} {value}" for name, value in declared.items()))
    typer.echo(f"{result['trials_done']} of {result['trials_wanted']} trials are judged already")


def _where(result: Mapping[str, Any]) -> str:
    period = result["period"]
    return (
        f"{result['direction']} {result['objective']} on {period['bars']:,} bars {period['from']} to {period['to']}; "
        f"the test begins {period['test_from']}, and nothing of it is seen. Inner blocks: {len(period['blocks'])}"
    )


def _show(result: Mapping[str, Any]) -> None:
    """Print the trials, the best first, and its settings as a piece of a playbook."""
    from rich.console import Console
    from rich.table import Table

    from tradewind.evaluation.tuning.rewrite import fragment

    console = Console(file=sys.stdout, highlight=False, markup=False, width=None if sys.stdout.isatty() else 140)
    console.print(_where(result))
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "state", result["objective"], "Sharpe"):
        table.add_column(name, justify="left" if name == "state" else "right")
    table.add_column("settings")
    for trial in _ordered(result):
        table.add_row(*_row(trial))
    console.print(table)
    best = result["best"]
    console.print(f"\nBest: trial {best['number']}" + ("" if best["settings"] else ", the playbook as it stands"))
    if best["settings"]:
        typer.echo("\n" + fragment(best["settings"]))
    console.print(f"{result['lineage_trials']} trials are counted in the lineage {result['lineage']!r}.")
    console.print(f"Note: {result['note']}.")


def _ordered(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return trials with a value from best to worst, then the others by number."""
    sign = 1.0 if result["direction"] == "minimize" else -1.0
    return sorted(result["trials"], key=lambda t: (t["value"] is None, sign * (t["value"] or 0.0), t["number"]))


def _row(trial: Mapping[str, Any]) -> tuple[str, ...]:
    from tradewind.cli.show import number

    said = ", ".join(f"{k.rpartition('.')[2]} {_short(v)}" for k, v in trial["settings"].items()) or "as it stands"
    said = f"{said}: {trial['error']}" if trial["error"] else said
    return str(trial["number"]), trial["state"], number(trial["value"], 5), number(trial["sharpe"]), said


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
