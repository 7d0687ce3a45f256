"""What every verb shares: its options, its output and its exit code."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.errors import TradewindError

if TYPE_CHECKING:
    from tradewind.evaluation.plan import Plan

PlaybookArgument = Annotated[
    str, typer.Argument(help="A playbook: a shipped name (sample, nasdaq-tft) or a TOML file.")
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="Use this source instead of the playbook's (sample, synthetic, files, yahoo)."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="Use only what was known then (ISO 8601, UTC unless said)."),
]

FromOption = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="Open the account at the first close from then on.")
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Stop there: use only what was known then, as --as-of does.")
]


def load_plan(playbook: str, source: str | None, overrides: list[str] | None) -> Plan:
    """Read and validate a playbook with its flags and the environment."""
    from tradewind.evaluation.plan import Plan
    from tradewind.evaluation.validate import validated
    from tradewind.playbook import load

    return validated(Plan.of(load(playbook, source=source, overrides=parse_overrides(overrides), environ=os.environ)))


def parse_overrides(pairs: list[str] | None) -> dict[str, str]:
    """Split ``section.key=value`` flags."""
    from tradewind.errors import InputError

    parsed: dict[str, str] = {}
    for pair in pairs or []:
        key, sign, value = pair.partition("=")
        if not sign:
            raise InputError(f"--set {pair}: no '=' in it", hint="write it as section.key=value")
        parsed[key.strip()] = value.strip()
    return parsed


def instant(text: str | None, *, first: bool = False) -> Any:
    """Read an instant given on the command line; a bare date means the end of that day, or its beginning, UTC."""
    from datetime import UTC, datetime, time

    from tradewind.errors import InputError

    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is not a date or time", hint="write it as 2012-06-29 or 2012-06-29T20:00:00"
        ) from None
    if len(text) <= 10:
        parsed = datetime.combine(parsed.date(), time.min if first else time(23, 59, 59, 999999))
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def emit(result: Mapping[str, Any]) -> None:
    """Print one JSON object: no NaN, no infinity (null instead), keys in order of meaning."""
    sys.stdout.write(json.dumps(plain(result), allow_nan=False, default=str) + "\n")


def plain(value: Any) -> Any:
    """Return a value as JSON can say it; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


@contextmanager
def failures(as_json: bool) -> Iterator[None]:
    """Turn our errors into a message on stderr (an object on stdout with ``--json``) and their exit code."""
    try:
        yield
    except TradewindError as error:
        raise _said(error, as_json) from None
    except KeyboardInterrupt:
        typer.echo("tradewind: interrupted; what was stored stays stored, the same command continues", err=True)
        raise typer.Exit(130) from None
    except Exception as failure:
        from tradewind.market.store.failures import explain

        explained = explain(failure, home_folder())
        if explained is None:
            raise
        raise _said(explained, as_json) from None


def _said(error: TradewindError, as_json: bool) -> typer.Exit:
    """Say an error and return the exit that ends the verb."""
    if VERBOSE:
        typer.echo("".join(traceback.format_exception(error)), err=True)
    if as_json:
        emit({"error": {"kind": type(error).__name__, "what": error.what, "hint": error.hint}})
    typer.secho(f"tradewind: {error}", err=True, fg="red" if sys.stderr.isatty() else None)
    return typer.Exit(error.exit_code)


def note(text: str) -> None:
    """Say something on stderr, where it never disturbs a program that reads stdout; nothing with ``-q``."""
    if not QUIET:
        typer.echo(text, err=True)


QUIET = False
"""Set by ``-q``: no progress, no notes."""

VERBOSE = False
"""Set by ``-v``: each phase as a line where there is no terminal for a bar, and where in the code an error arose."""


def home_folder() -> Path:
    """Return where state lives: ``TRADEWIND_HOME``, else ``./.tradewind``."""
    return Path(os.environ.get("TRADEWIND_HOME", ".tradewind"))


@contextmanager
def progress_bar() -> Iterator[Any]:
    """Yield a ``(phase, done, total)`` callback: a bar on a terminal, elsewhere silent or, with ``-v``, lines."""
    if QUIET or not sys.stderr.isatty():
        yield _lines() if VERBOSE else lambda _phase, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done, total=total)

        yield show


def _lines() -> Callable[[str, int, int], None]:
    """Return a callback that says when a phase begins."""
    said: set[str] = set()

    def show(phase: str, _done: int, total: int) -> None:
        if phase not in said:
            said.add(phase)
            note(f"{phase}: {total} steps")

    return show


TimeframeOption = Annotated[
    str | None,
    typer.Option(
        "--timeframe", metavar="NAME", help="Which of the playbook's [timeframes]; default: that nearest to daily bars."
    ),
]


def one_system(playbook: str, source: str | None, overrides: list[str] | None, timeframe: str | None = None) -> Any:
    """Return the workspace of a playbook, or of one of its timeframes, for verbs that look at one system."""
    workspace = open_workspace(playbook, source, overrides)
    require_timeframe(workspace, timeframe)
    if not workspace.plan.timeframes:
        return workspace
    chosen = workspace.system(timeframe)
    if timeframe is None:
        others = ", ".join(name for name in workspace.plan.timeframes if name != chosen[0])
        note(f"looking at the timeframe {chosen[0]} (others: {others}; --timeframe NAME)")
    return chosen[1]


def require_timeframe(workspace: Any, timeframe: str | None) -> None:
    """Raise ``InputError`` for a timeframe that the playbook does not have, before anything is computed."""
    if timeframe is None:
        return
    if not workspace.plan.timeframes:
        from tradewind.errors import InputError

        raise InputError(f"{workspace.plan.playbook.name} has no timeframes", hint="leave --timeframe out")
    workspace.system(timeframe)


def say_timeframe(record: Any, timeframe: str | None) -> None:
    """Say which timeframe of several is looked at where none was asked for."""
    names = [one.name for one in record.walked.sleeves]
    if timeframe is None and len(names) > 1:
        note(f"looking at the timeframe {names[0]} (others: {', '.join(names[1:])}; --timeframe NAME)")


def open_workspace(playbook: str, source: str | None, overrides: list[str] | None) -> Any:
    """Return the workspace of a playbook in the home folder."""
    from tradewind.evaluation.workspace import Workspace

    return Workspace(load_plan(playbook, source, overrides), home_folder())
