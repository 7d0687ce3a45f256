"""`tradewind init`: copy a shipped playbook to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind init my-system.toml --from sample")
    def init(
        file: Annotated[Path, typer.Argument(help="The new playbook.")] = Path("my-playbook.toml"),
        template: Annotated[str, typer.Option("--from", help="A shipped playbook, or your own.")] = "sample",
        json: JsonOption = False,
    ) -> None:
        """Copy a playbook to edit; an existing file is never overwritten."""
        with failures(json):
            from tradewind.errors import InputError
            from tradewind.playbook import find

            if file.exists():
                raise InputError(f"{file} exists already", hint="choose another name; nothing was written")
            text = find(template).read_text("utf-8")
            if not file.parent.is_dir():
                raise InputError(f"there is no folder {file.parent}", hint="make it first, or choose another place")
            file.write_text(text, "utf-8")
            if json:
                emit({"playbook": file, "from": template})
            else:
                typer.echo(f"wrote {file} (from {template}). Edit it, then: tradewind backtest {file}")
