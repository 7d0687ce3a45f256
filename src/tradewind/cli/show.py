"""How results look in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_ROWS = 25
"""Recommendations printed; the surest come first."""

MOST_POSITIONS = 12
"""Open positions printed; the heaviest come first."""


def show_result(result: Mapping[str, Any]) -> None:
    """Print verdict, recommendations and track record for people."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 110)
    colour = {"good": "green", "bad": "red"}.get(result["verdict"]["word"], "yellow")
    console.print(f"\n[bold {colour}]Verdict[/]  {result['verdict']['text']}\n")
    console.print(_recommendations(result))
    for text in _exits(result["recommendations"]):
        console.print(f"[dim]· {text}[/]")
    console.print(_record(result))
    console.print(_benchmarks(result["benchmarks"]))
    if len(result["timeframes"]) > 1:
        console.print(_timeframes(result))
    if result["positions"]:
        console.print(_positions(result["positions"]))
    console.print(_attribution(result["attribution"]))
    console.print(_limits(result["limits"]))
    console.print(_compliance(result["compliance"]))
    console.print(_coverage(result))
    if "ensemble" in result:
        console.print(_ensemble(result["ensemble"]))
    if result["targets"]:
        console.print(_targets(result))
    for flag in result["red_flags"]:
        console.print(f"[red]⚑[/] {flag['message']}")
    for text in result["notes"]:
        console.print(f"[bold yellow]{text}[/]" if text.startswith("WARNING") else f"[dim]· {text}[/]")
    for text in result["warnings"]:
        console.print(f"[dim]! {text}[/]")


def _recommendations(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title=f"Recommendations as of {result['as_of']}", title_justify="left", box=None, pad_edge=False)
    for name in ("", "symbol", "action"):
        table.add_column(name)
    for name in ("confidence", "close", "stop", "target", "weight", "80 % interval"):
        table.add_column(name, justify="right")
    for row in result["recommendations"][:MOST_ROWS]:
        table.add_row(*_recommendation(row))
    left = len(result["recommendations"]) - MOST_ROWS
    if left > 0:
        table.caption = f"… and {left} more: see the report, or --json"
    return table


def _exits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say once what the targets and stops of the printed actions are."""
    acting = [row for row in rows[:MOST_ROWS] if row["action"] != "HOLD"]
    notes = ((name, row[f"{name}_note"]) for name in ("target", "stop") for row in acting)
    return list(dict.fromkeys(f"{name}: {note}" for name, note in notes if note))


def _recommendation(row: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = row["intervals"].get(str(row["horizon_bars"]), {}).get("80", (None, None))
    mark = {"BUY": "▲", "SELL": "▼"}.get(row["action"].removeprefix("STRONG_"), "·")
    interval = "–" if low is None else f"{number(low)} … {number(high)} in {row['horizon_bars']} bars"
    prices = (number(row["entry"]), number(row["stop"]), number(row["target"]))
    return mark, row["symbol"], row["action"], percent(row["confidence"]), *prices, percent(row["weight"]), interval


def _record(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    record, robust = result["track_record"], result["robustness"]
    low, high = record["sharpe_ci"]
    period = result["period"]
    title = f"Track record, out of sample {period['out_of_sample_from']} to {period['to']}, after costs"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    rows = (
        ("Sharpe ratio", f"{number(record['sharpe'])}   95 % interval {number(low)} … {number(high)}"),
        ("holding the universe", f"{number(record['baseline_sharpe'])}"),
        ("deflated Sharpe ratio", f"{percent(record['deflated_sharpe'])} over {record['trials']} trial(s)"),
        (
            "probability of overfitting",
            percent(record["pbo"]) if record["pbo"] is not None else f"none: {record['pbo_reason']}",
        ),
        ("annual return", percent(record["annual_return"])),
        ("maximum drawdown", percent(record["max_drawdown"])),
        ("trades, win rate", f"{record['trades']}, {percent(record['win_rate'])}"),
        (
            "bars with a position",
            f"{percent(record['share_of_bars_invested'])}; longest time in cash {record['longest_flat_bars']:,} bars",
        ),
        ("one bar later", f"Sharpe {number(robust['delay_1']['sharpe'])}"),
        ("doubled costs", f"Sharpe {number(robust['double_costs']['sharpe'])}"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _benchmarks(found: Mapping[str, Any]) -> Any:
    """Return by how much the book was ahead of what else could have been held, with intervals."""
    table = _table("Book less benchmark", "against", ("return a year", "Sharpe ratio", "alpha a year", "verdict"))
    for name, row in found["against"].items():
        if row["available"]:
            how = ((row["excess"], percent), (row["sharpe_difference"], number), (row["alpha"], percent))
            table.add_row(
                name.replace("_", " "), *(_with_interval(one, format_) for one, format_ in how), row["verdict"]
            )
    return table


def _with_interval(one: Mapping[str, Any], how: Callable[[float | None], str]) -> str:
    low, high = one["ci"]
    return f"{how(one['value'])}  ({how(low)} … {how(high)})"


def _timeframes(result: Mapping[str, Any]) -> Any:
    """Return what each timeframe is and made; those that could not be walked say why."""
    heads = ("bars", "model", "capital", "now", "profit", "bound by")
    table, earned = _table("Timeframes of the account", "", heads), result["attribution"]["by_timeframe"]
    for name, row in result["timeframes"].items():
        if not row["available"]:
            table.add_row(name, *["–"] * 5, row["why"])
            continue
        bound = ", ".join(f"{reason} {times:,}×" for reason, times in row["times_bound"].items())
        shares = percent(row["capital"]), percent(row["capital_now"])
        table.add_row(name, row["timeframe"], row["model"], *shares, number(earned[name]), bound or "–")
    return table


def _positions(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return what is held, which forecast asked for it and which limit bound it."""
    heads = ("shares", "weight", "profit", "since", "asked for by", "wished", "sent", "bound by")
    table = _table("Open positions", "", heads)
    for row in rows[:MOST_POSITIONS]:
        name = row["symbol"] if row["timeframe"] == "all" else f"{row['symbol']} {row['timeframe']}"
        numbers = number(row["shares"]), percent(row["weight"]), number(row["profit"], 0), (row["entered"] or "–")[:10]
        table.add_row(name, *numbers, _asked(row), percent(row["wished"]), percent(row["sent"]), row["bound_by"] or "–")
    left = len(rows) - MOST_POSITIONS
    if left > 0:
        table.caption = f"… and {left} more: see the report, or --json"
    return table


def _asked(row: Mapping[str, Any]) -> str:
    asked = row["asked_by"]
    if asked is None:
        return str(row["why"])
    return (
        f"{asked['model']}, {asked['horizon_bars']} bars: {percent(asked['median'])}, P {percent(asked['confidence'])}"
    )


def _attribution(found: Mapping[str, Any]) -> Any:
    """Return the profit by factor and cost, each of which adds up to the whole to the cent."""
    parts = found["by_factor"]
    table = _table("Where the profit came from", "", tuple(parts), min_width=8)
    table.add_column("total", justify="right", no_wrap=True)
    table.add_row("by factor", *(number(amount) for amount in parts.values()), number(found["total"]))
    return table


def _limits(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which limits are in force and how often each bound."""
    said = ", ".join(f"{name} {row['times_bound']:,}×" for name, row in found.items())
    return f"[dim]Limits, and how often each bound: {said}[/]"


def _compliance(found: Mapping[str, Any]) -> str:
    """Say whether every limit was kept at each session's end, and how often one was not."""
    broken = [(name, check) for name, check in found["checks"].items() if check["sessions_in_breach"]]
    said = ", ".join(
        f"{name} beyond its tolerance at {check['sessions_in_breach']:,} ({check['unanswered']:,} without an answer)"
        for name, check in broken
    )
    return f"[dim]Compliance at {found['sessions']:,} sessions' ends: {said or 'every limit was kept'}[/]"


def _table(title: str, first: str, heads: Sequence[str], *, min_width: int | None = None) -> Any:
    """Return an empty table whose first column is text and whose others stand to the right."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", min_width=min_width)
    return table


def _coverage(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="Coverage of 80 % intervals", title_justify="left", box=None, min_width=30)
    for name in ("horizon", "promised", "held"):
        table.add_column(name, justify="right")
    for horizon, row in result["coverage"].items():
        table.add_row(f"{horizon} bar{'s' * (horizon != '1')}", percent(row["nominal"]), percent(row["realised"]))
    return table


def _ensemble(ensemble: Mapping[str, Any]) -> Any:
    """Return the members' newest weights and the loss they save, beside the ensemble's and equal weights'."""
    from rich.table import Table

    title = f"Ensemble by {ensemble['method'].replace('_', ' ')}: newest weight, loss saved"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for horizon in ensemble["pinball_skill"]:
        table.add_column(f"{horizon} bar{'s' * (horizon != '1')}", justify="right")
    for name in next(iter(ensemble["pinball_skill"].values())):
        both = ((ensemble["weights_last"][h].get(name), own[name]) for h, own in ensemble["pinball_skill"].items())
        table.add_row(
            name, *(f"{percent(weight) if weight is not None else ''}  {percent(s):>6}" for weight, s in both)
        )
    return table


def _targets(result: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title="The playbook's own targets", title_justify="left", box=None, pad_edge=False)
    for name in ("target", "measured", "verdict"):
        table.add_column(name)
    for row in result["targets"]:
        measured = percent(row["measured"]) if row["unit"] == "share" else number(row["measured"])
        table.add_row(row["target"], measured, row["verdict"])
    return table


def number(value: float | None, decimals: int = 2) -> str:
    """Return a number with so many decimals, or a dash where there is none."""
    return "–" if value is None or value != value else f"{value:,.{decimals}f}"


def percent(value: float | None) -> str:
    """Return a share in percent, or a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.1%}"
