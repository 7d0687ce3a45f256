"""`tradewind drift`: what the monitor would have seen of a change, and how often it speaks of nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tradewind.cli.common import (
    JsonOption,
    PlaybookArgument,
    SetOption,
    SourceOption,
    emit,
    failures,
    open_workspace,
    progress_bar,
)

app = typer.Typer(help="Drift: whether the world is still that of the training data.", no_args_is_help=True)


@app.command(epilog="Example: tradewind drift simulate dual-model --source synthetic --change variance")
def simulate(
    playbook: PlaybookArgument = "dual-model",
    source: SourceOption = None,
    set_: SetOption = None,
    change: Annotated[
        str,
        typer.Option(
            help="mean_shift, variance, correlation, mirrored_features, sign_flip, dead_feature, missing_feature or "
            "broken_champion."
        ),
    ] = "mean_shift",
    size: Annotated[
        float | None, typer.Option(help="Of a mean_shift in deviations, of a variance as a factor; default: 2 and 3.")
    ] = None,
    share: Annotated[float | None, typer.Option(help="Share of the features that change; default: all.")] = None,
    seat: Annotated[str | None, typer.Option(help="Whose champion is watched; default: the first.")] = None,
    train_bars: Annotated[int | None, typer.Option(help="Bars that each simulated life learns from.")] = None,
    life_bars: Annotated[int | None, typer.Option(help="Bars of each simulated life.")] = None,
    json: JsonOption = False,
) -> None:
    """Plant a change into the playbook's own history: whether it is seen, how late, what follows, what is imagined."""
    with failures(json):
        from tradewind.live.drift_of_playbook import planted_change, simulate_drift

        with progress_bar() as progress:
            result = simulate_drift(
                open_workspace(playbook, source, set_),
                planted_change(change, size=size, share=share),
                seat=seat,
                train_bars=train_bars,
                life_bars=life_bars,
                progress=progress,
            )
        if json:
            emit(result)
        else:
            _show(result)


def _show(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"[bold]{result['change']}[/] planted at {result['changed_at']} into {result['seat']}")
    if result["detected"]:
        console.print(f"seen after {result['delay_bars']} bars: {result['what']}")
    else:
        console.print("not seen within the life of the model")
    console.print(f"then: {result['action']}  (previous champion: {result['previous']})")
    for reason in result["reasons"]:
        console.print(f"[dim]· {reason}[/]")
    console.print(
        f"without a change {result['false_alarm_rate']:.1%} of the windows read drift "
        f"(95 %: {_span(result['false_alarm_interval'])}), in {result['false_alarm_lives']:.0%} of {result['lives']} "
        f"lives ({_span(result['false_alarm_lives_interval'])}); "
        f"with it {result['detected_share']:.0%} of the lives saw it ({_span(result['detected_interval'])})"
    )
    if result["lives_left_out"]:
        console.print(f"[dim]· {result['lives_left_out']} lives have no outcomes to compare with[/]")


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.0%} to {interval[1]:.0%}"
