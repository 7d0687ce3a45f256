"""`tradewind halt` and `tradewind release`: the kill switch."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures, home_folder


def add_to(app: typer.Typer) -> None:
    """Add both verbs."""

    @app.command(epilog='Example: tradewind halt --reason "the news is bad"')
    def halt(
        reason: Annotated[str, typer.Option(help="Why, for whoever comes after you.")] = "halted by hand",
        json: JsonOption = False,
    ) -> None:
        """Stop all trading of this home: nothing is opened until a release; stops go on protecting what is held."""
        _switch("halt", reason, json)

    @app.command(epilog='Example: tradewind release --reason "looked at it"')
    def release(
        reason: Annotated[str, typer.Option(help="What was looked at.")] = "released by hand",
        json: JsonOption = False,
    ) -> None:
        """Let trading go on after a halt, by hand or by a limit, and recommendations that drift has stopped."""
        _switch("release", reason, json)


def _switch(action: str, reason: str, as_json: bool) -> None:
    with failures(as_json):
        from functools import partial

        from tradewind.execution.controls import Controls
        from tradewind.live.session import stops
        from tradewind.market.store.home import records_url
        from tradewind.market.store.records import Records

        home = home_folder()
        home.mkdir(parents=True, exist_ok=True)
        records = Records(records_url(home))
        try:
            stopped = stops(records)
            controls = Controls(records)
            act = controls.halt if action == "halt" else partial(controls.release, stopped=bool(stopped))
            state = act(reason, getpass.getuser())
        finally:
            records.close()
        found = {
            "halted": state.halted,
            "since": state.since,
            "reasons": list(state.reasons),
            "by": state.by,
            "stopped_by_drift": [one.why for one in stopped] if action == "halt" else [],
        }
        if as_json:
            emit(found)
        elif state.halted:
            typer.echo(f"trading is halted since {state.since:%Y-%m-%d %H:%M} UTC: {'; '.join(state.reasons)}")
        else:
            typer.echo("trading may go on")
            for one in stopped:
                typer.echo(f"{one.seat} of {one.playbook} recommends again from the next bar on")
