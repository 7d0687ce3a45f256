"""`tradewind risk`: volatility, tails, dependence and a score of each name, at the newest close."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, cast

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

if TYPE_CHECKING:
    from tradewind.risk.garch import Asked

KINDS = ("garch", "gjr", "egarch", "best")

MOST_ROWS = 40
"""Names printed; the riskiest come first."""


def add_to(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command(epilog="Example: tradewind risk sample --kind best --symbols AAPL,MSFT --json")
    def risk(
        playbook: PlaybookArgument = "sample",
        symbols: Annotated[
            list[str] | None,
            typer.Option("--symbols", metavar="NAME,NAME", help="Only these names; default: the whole universe."),
        ] = None,
        kind: Annotated[
            str, typer.Option(help="Model of volatility: garch, gjr, egarch or best (the smallest BIC).")
        ] = "garch",
        source: SourceOption = None,
        timeframe: TimeframeOption = None,
        set_: SetOption = None,
        as_of: AsOfOption = None,
        json: JsonOption = False,
    ) -> None:
        """Each name's volatility, the eight risk features, a score from 1 to 10, and what moves together."""
        with failures(json):
            from tradewind.errors import did_you_mean
            from tradewind.evaluation.risk_of_names import risk_of_names

            if kind not in KINDS:
                raise did_you_mean("volatility model", kind, KINDS)
            asked = [name for part in symbols or () for name in part.split(",") if name]
            with progress_bar() as progress:
                workspace = one_system(playbook, source, set_, timeframe)
                chosen = cast("Asked", kind)
                result = risk_of_names(workspace, progress, symbols=asked, kind=chosen, as_of=instant(as_of))
            if json:
                emit(result)
            else:
                show(result)


def show(result: Mapping[str, Any]) -> None:
    """Print the result for people."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 118)
    models = result["volatility_models"]
    used = ", ".join(f"{count} by {name}" for name, count in models["used"].items())
    console.print(
        f"\n[bold]{result['playbook']}[/] as of {result['as_of']}: {len(result['symbols'])} names over "
        f"{result['sessions']} sessions; volatility {used}\n"
    )
    for table in (_names(result), _dependence(result), _pairs(result["correlations"])):
        console.print(table)
    for text in _said(result):
        console.print(f"[dim]· {text}[/]")
    for text in result["warnings"]:
        console.print(f"[dim]! {text}[/]")


def _ordered(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the names, the highest score first; those without one by their volatility, those without either last."""

    def key(item: tuple[str, Mapping[str, Any]]) -> tuple[float, float]:
        known = (item[1]["risk_score"], item[1]["features"]["volatility_forecast"])
        first, second = (-1.0 if value != value else value for value in known)
        return -first, -second

    return sorted(result["symbols"].items(), key=key)


def _names(result: Mapping[str, Any]) -> Any:
    from tradewind.cli.show import number, percent

    horizon = result["horizon_sessions"]
    heads = ("score", "model", "vol. now", f"next {horizon}", "regime", f"VaR 95 % / {horizon}", "benefit", "remark")
    table = _table("Risk of each name: volatility a year, value at risk over the horizon", heads, left=("remark",))
    rows = _ordered(result)
    for symbol, row in rows[:MOST_ROWS]:
        features, volatility = row["features"], row["volatility"]
        table.add_row(
            symbol,
            number(row["risk_score"], 1),
            volatility["used"],
            percent(volatility["now"]),
            percent(volatility["horizon"]),
            volatility["regime"],
            percent(features["value_at_risk"]),
            percent(features["diversification_benefit"]),
            volatility["why"] or ("" if _of_markets(row["reason"]) else row["reason"]),
        )
    left = len(rows) - MOST_ROWS
    table.caption = f"… and {left} more: see --json" if left > 0 else None
    return table


def _dependence(result: Mapping[str, Any]) -> Any:
    from tradewind.cli.show import number, percent

    heads = tuple(
        f"{market} {what}" for market in ("SPY", "QQQ") for what in ("corr.", "freedom", "both fall", "both rise")
    )
    table = _table("Student-t copula with the two markets: correlation and dependence of tails", heads)
    for symbol, row in _ordered(result)[:MOST_ROWS]:
        cells = []
        for one in row["dependence"].values():
            cells += [number(one["correlation"]), number(one["freedom"], 1)]
            cells += [percent(one["lower_tail"]), percent(one["upper_tail"])]
        table.add_row(symbol, *cells)
    return table


def _pairs(found: Mapping[str, Any]) -> Any:
    from tradewind.cli.show import number

    table = _table("Most correlated pairs", ("newest (EWMA)", "shrunk", "Ledoit–Wolf"))
    for row in found["pairs"]:
        table.add_row(" – ".join(row["symbols"]), *(number(row[key]) for key in ("ewma", "shrunk", "ledoit_wolf")))
    table.caption = found["reason"] or f"mean of all pairs {number(found['mean'])}"
    return table


def _said(result: Mapping[str, Any]) -> list[str]:
    """Return what tables do not say: the book of all, fallbacks, what stands in for the markets, what is missing."""
    from tradewind.cli.show import number, percent

    book, score = result["book"], result["score"]
    said = [
        f"all names held alike: {percent(book['diversification_benefit'])} less expected shortfall than each for "
        f"itself, Student-t copula with {number(book['freedom'], 1)} degrees of freedom"
        if not book["reason"]
        else f"diversification: {book['reason']}",
        score["reason"] or f"scores against {score['measurements']:,} measurements of {score['sessions']} sessions",
    ]
    fell_back = result["volatility_models"]["fell_back"]
    said += [
        f"not {result['volatility_models']['asked']} ({cause}): {', '.join(who)}" for cause, who in fell_back.items()
    ]
    for market, row in result["markets"].items():
        said.append(f"{market.upper()}: {row['reason'] or row['series']}")
    return [*said, *_remarks(result), *book["notes"]]


def _remarks(result: Mapping[str, Any]) -> list[str]:
    """Return what there is to say of dependence, once for all names that it is said of."""
    said: dict[str, list[str]] = {}
    for symbol, row in result["symbols"].items():
        for market, one in row["dependence"].items():
            if one["reason"] and result["markets"][market]["available"]:
                said.setdefault(f"{market.upper()}: {one['reason']}", []).append(symbol)
    return [f"{', '.join(who[:8])}{' …' * (len(who) > 8)}: {reason}" for reason, who in said.items()]


def _of_markets(reason: str) -> bool:
    """Return whether a remark is about markets alone, which is said below the tables."""
    return reason.startswith(("SPY:", "QQQ:"))


def _table(title: str, heads: tuple[str, ...], left: tuple[str, ...] = ()) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, caption_justify="left")
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="left" if head in left else "right")
    return table
