"""`tradewind stress`: what the book could lose now, and how."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

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
    one_system,
    progress_bar,
)


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind stress sample --shock market=-0.1 --shock symbol.AAPL=-0.2")
    def stress(
        playbook: PlaybookArgument = "sample",
        shock: Annotated[
            list[str] | None,
            typer.Option(
                "--shock",
                metavar="KIND.NAME=MOVE",
                help="market=-0.1, symbol.AAPL=-0.2, sector.Energy=-0.3, factor.vix=0.5; all of them are one scenario.",
            ),
        ] = None,
        level: Annotated[
            float | None,
            typer.Option(min=0.51, max=0.999, help="Confidence of value at risk; default: the playbook's."),
        ] = None,
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        json: JsonOption = False,
    ) -> None:
        """Value at risk by every method, what each position adds, scenarios, and how long it takes to get out."""
        with failures(json):
            from tradewind.evaluation.stress import stress as put_to_the_test

            with progress_bar() as progress:
                workspace = one_system(playbook, source, set_, timeframe)
                result = put_to_the_test(workspace, progress, shocks=shock or (), level=level, as_of=instant(as_of))
            if json:
                emit(result)
            else:
                show(result)


def show(result: Mapping[str, Any]) -> None:
    """Print the result for people."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 110)
    words = "the playbook's targets" if result["book"] == "targets" else "equal weights"
    console.print(
        f"\n[bold]{result['playbook']}[/] as of {result['as_of']}: {words}, {len(result['weights'])} names, "
        f"gross {result['gross']:.0%}, net {result['net']:.0%}, volatility {_percent(result['volatility'])} a year"
    )
    if result["book_reason"]:
        console.print(f"[yellow]! {result['book_reason']}[/]")
    for table in (_methods(result), _scenarios(result), _positions(result)):
        console.print(table)
    for text in (*_ways_out(result["liquidity"]), *_left_out(result), *result["notes"]):
        console.print(f"[dim]· {text}[/]")
    for text in result["warnings"]:
        console.print(f"[dim]! {text}[/]")


def _methods(result: Mapping[str, Any]) -> Any:
    table = _table(f"Loss over one session at {result['level']:.1%}, and this book through history")
    for name in ("method", "value at risk", "shortfall", "exceptions", "promised", "Kupiec p", "in a row p"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, row in result["var"].items():
        test = result["var_tests"].get(name)
        judged = ("", "", "", "") if test is None else _judged(test)
        table.add_row(name.replace("_", " "), _percent(row["var"], 2), _percent(row["cvar"], 2), *judged)
    reasons = [f"{name.replace('_', ' ')}: {row['reason']}" for name, row in result["var"].items() if row["reason"]]
    table.caption = "; ".join(reasons) or None
    return table


def _judged(test: Mapping[str, Any]) -> tuple[str, str, str, str]:
    counted = f"{test['exceptions']} of {test['sessions']:,}"
    return counted, f"{test['expected']:.1f}", _number(test["kupiec_p"], 3), _number(test["independence_p"], 3)


def _scenarios(result: Mapping[str, Any]) -> Any:
    table = _table("Scenarios: the book as it stands, held through")
    for name in ("scenario", "loss", "worst on the way", "priced", "worst names, or why there is nothing"):
        table.add_column(name, justify="right" if name in ("loss", "worst on the way", "priced") else "left")
    for row in result["scenarios"]:
        worst = ", ".join(f"{one['symbol']} {_percent(one['loss'])}" for one in row["worst"][:3])
        label = f"{row['name']}  {row['description']}".strip()
        table.add_row(
            label, _percent(row["loss"]), _percent(row["worst_loss"]), f"{row['covered']:.0%}", row["reason"] or worst
        )
    return table


def _positions(result: Mapping[str, Any], most: int = 25) -> Any:
    table = _table("Positions, what they add to the risk, and the days it takes to sell them")
    for name in ("symbol", "weight", "of volatility", "of shortfall", "days"):
        table.add_column(name, justify="left" if name == "symbol" else "right")
    volatility, shortfall = (result["contributions"][name]["by_symbol"] for name in ("volatility", "cvar"))
    days = {row["symbol"]: row["days"] for row in result["liquidity"]["positions"]}
    order = sorted(result["weights"], key=lambda symbol: -abs(result["weights"][symbol]))
    for symbol in order[:most]:
        table.add_row(
            symbol,
            _percent(result["weights"][symbol]),
            _percent(volatility[symbol]["share"], 0),
            _percent(shortfall[symbol]["share"], 0),
            _days(days[symbol]),
        )
    if len(order) > most:
        table.caption = f"… and {len(order) - most} more: see --json"
    return table


def _ways_out(found: Mapping[str, Any]) -> list[str]:
    sold = ", ".join(f"{share:.0%} in {days}" for days, share in found["liquidated"].items())
    said = [f"selling {found['participation']:.0%} of each day's volume, of the book at least {sold} days is closed"]
    for key, words in (
        ("unknown", "volume unknown"),
        ("without_volume", "no volume at all"),
        ("above_adv_share_max", f"above {found['adv_share_max']:.0%} of a day's volume"),
    ):
        said += [f"{words}: {', '.join(found[key])}"] if found[key] else []
    return said


def _left_out(result: Mapping[str, Any]) -> list[str]:
    said = []
    for row in result["scenarios"]:
        said += [f"{row['name']}: {symbol} is not priced: {why}" for symbol, why in row["unpriced"].items()]
        said += [
            f"{row['name']}: {p['symbol']}: {p['via']}"
            for p in row["positions"]
            if row["kind"] == "history" and p["via"]
        ]
        said += [f"{row['name']}: {note}" for note in row["notes"]]
    return said


def _table(title: str) -> Any:
    from rich.table import Table

    return Table(title=title, title_justify="left", box=None, pad_edge=False, caption_justify="left")


def _days(value: float | None) -> str:
    if value is None or value != value:
        return "unknown"
    return "never" if value == float("inf") else "<0.01" if value < 0.01 else f"{value:,.2f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}%}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"
