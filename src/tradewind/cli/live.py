"""`tradewind live`: a playbook on a clock, with its page; `tradewind parity`: the proof that it is the back-test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tradewind.cli.common import (
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

ReplayOption = Annotated[
    bool, typer.Option("--replay", help="Live through stored days again, on their own clock; no network.")
]
SpeedOption = Annotated[
    str, typer.Option("--speed", help="Of a replay: max, or so many times as fast as it was (60: a minute a second).")
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs."""

    @app.command(epilog="Example: tradewind live dual-model --source synthetic --replay --speed 300")
    def live(
        playbook: PlaybookArgument = "dual-model",
        source: SourceOption = None,
        set_: SetOption = None,
        replay: ReplayOption = False,
        from_: FromOption = None,
        to: ToOption = None,
        speed: SpeedOption = "60",
        until_done: Annotated[
            bool, typer.Option("--until-done", help="End with the replay's last bar instead of staying there.")
        ] = False,
        anew: Annotated[
            bool, typer.Option("--anew", help="Begin a replay again, even where one of the same days was interrupted.")
        ] = False,
        port: Annotated[int | None, typer.Option("--port", help="Port of the page; default: [server] port.")] = None,
        page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the page and the API.")] = True,
        json: JsonOption = False,
    ) -> None:
        """Run the corridor on a clock: forecast, decide and trade on paper at every close, and show all of it.

        Trading is on paper. Where nothing is trained yet, it trains first. Killed at any moment, it goes on from the
        last bar that was booked.
        """
        with failures(json):
            from tradewind.server.running import Run, run

            workspace = open_workspace(playbook, source, set_)
            wanted = Run(
                replay=replay,
                opened=instant(from_, first=True),
                until=instant(to),
                speed=_speed(speed),
                until_done=until_done,
                page=page,
                port=port,
                anew=anew,
            )
            with progress_bar() as progress:
                result = run(workspace, wanted, progress=progress, say=note)
            if json:
                emit(result)
            else:
                _show(result)
            if result["parity"]["equal"] is False:
                raise typer.Exit(3)

    @app.command(epilog="Example: tradewind parity dual-model --source synthetic")
    def parity(
        playbook: PlaybookArgument = "dual-model",
        source: SourceOption = None,
        set_: SetOption = None,
        day: Annotated[
            str | None,
            typer.Option("--day", metavar="DATE", help="One stored day; default: all that nobody learnt."),
        ] = None,
        json: JsonOption = False,
    ) -> None:
        """Prove that live is the back-test: replay stored days, walk them again at once, name the first difference.

        Features bit for bit, forecasts to 1e-6, signals, targets, orders and the ledger exactly.
        """
        with failures(json):
            from tradewind.server.running import prove

            with progress_bar() as progress:
                result = prove(
                    open_workspace(playbook, source, set_),
                    opened=instant(day, first=True),
                    until=instant(day),
                    progress=progress,
                )
            if json:
                emit(result)
            else:
                _say_timeframes(result)
                _say_parity(result)
            if not result["equal"]:
                raise typer.Exit(3)


def _speed(text: str) -> Any:
    from tradewind.errors import InputError

    if text == "max":
        return "max"
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--speed {text}: neither `max` nor a number", hint="300 is five minutes a second") from None


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    from tradewind.cli.show import number

    console = Console(highlight=False)
    console.print(f"[bold]{result['account']}[/]  {result['from']} to {result['to']}")
    console.print(
        f"{result['bars']:,} bars, {result['forecasts']:,} forecasts, {result['signals']:,} signals, "
        f"{result['orders']:,} orders, {result['fills']:,} fills; equity {number(result['equity'])}"
    )
    latency = result["latency_ms"]
    if latency["p50"] is not None:
        console.print(
            f"from a bar's arrival to its push: p50 {latency['p50']:.0f} ms, p95 {latency['p95']:.0f} ms, "
            f"p99 {latency['p99']:.0f} ms"
        )
    _say_timeframes(result)
    _say_parity(result["parity"])


def _say_timeframes(result: Mapping[str, Any]) -> None:
    """Say which timeframes ran, and why others could not."""
    if result["timeframes"]:
        ran = ", ".join(f"{name} ({size})" for name, size in result["timeframes"].items())
        typer.echo(f"timeframes: {ran}")
    for name, why in result["unavailable"].items():
        typer.echo(f"{name} is not available: {why}")


def _say_parity(result: Mapping[str, Any]) -> None:
    if result["equal"] is None:
        typer.echo("parity: nothing was kept to compare")
        return
    if result["equal"]:
        typer.echo(f"parity: {result['bars']:,} bars are the back-test's: features, forecasts, signals, ledger")
        return
    first = result["first_difference"]
    typer.echo(
        f"parity: not the back-test's. First: {first['part']} at {first['time']} {first['symbol']}, {first['what']}: "
        f"live {first['live']}, back-test {first['backtest']}"
    )
