"""`tradewind config show`: every resolved value with its origin."""

from __future__ import annotations

from typing import Any

import typer

from tradewind.cli.common import (
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    emit,
    failures,
    load_plan,
)

app = typer.Typer(help="Settings: what is in force, and why.", no_args_is_help=True)
SECRET_WORDS = ("key", "token", "secret", "password", "credential")


@app.callback()
def _group() -> None:
    """Settings: what is in force, and why."""


@app.command(epilog="Example: tradewind config show nasdaq-tft --source synthetic")
def show(
    playbook: PlaybookArgument = "sample",
    source: SourceOption = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Print every resolved value with its origin; secrets are hidden."""
    with failures(json):
        rows = resolved(load_plan(playbook, source, set_))
        if json:
            emit({"playbook": playbook, "values": rows})
            return
        width = max(len(row["key"]) for row in rows)
        for row in rows:
            typer.echo(f"{row['key']:<{width}}  {row['value']!s:<40}  {row['origin']}")


def resolved(plan: Any) -> list[dict[str, Any]]:
    """Return key, value and origin of every setting of a plan, secrets masked."""
    rows: list[dict[str, Any]] = []
    origins = plan.playbook.origins
    for name, section in plan.sections().items():
        for key, value in section.model_dump(mode="json").items():
            dotted = f"{name}.{key}"
            rows.append({"key": dotted, "value": hide(key, value), "origin": origins.get(dotted, "default")})
    rows += _of_timeframes(plan)
    for key, value in plan.playbook.source_options.items():
        place = plan.playbook.place(f"source.{plan.playbook.source}.options.{key}")
        rows.append({"key": f"source.{plan.data.source}.options.{key}", "value": hide(key, value), "origin": place})
    return rows


def _of_timeframes(plan: Any) -> list[dict[str, Any]]:
    """Return what the timeframes of a plan say otherwise than the playbook, each value with its origin."""
    return [
        {
            "key": (dotted := f"timeframes.{name}.{section}.{key}"),
            "value": hide(key, part.sections()[section].model_dump(mode="json")[key]),
            "origin": plan.playbook.origins.get(dotted, "default"),
        }
        for name, part in plan.timeframes.items()
        for section, narrowed in plan.playbook.values["timeframes"][name].items()
        for key in narrowed
    ]


def hide(key: str, value: Any) -> Any:
    """Return the value, or a mask where its name says that it is secret."""
    if isinstance(value, dict):
        return {k: hide(k, v) for k, v in value.items()}
    return "********" if value and any(word in key.lower() for word in SECRET_WORDS) else value
