"""`tradewind sectors` and `tradewind tiers`: what is typical of a sector (row A2) and of a price (row A3)."""

from __future__ import annotations

from typing import Any

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
    one_system,
    progress_bar,
)

app = typer.Typer(help="The GICS sectors and what is typical of each.", no_args_is_help=True)
tiers = typer.Typer(help="The price tiers and their limits.", no_args_is_help=True)
_NUMBERS = ("daily_volatility_pct", "daily_volume_shares", "sentiment_weight", "news_per_week", "rsi", "beta")


@app.callback()
def _sectors() -> None:
    """The GICS sectors and what is typical of each."""


@tiers.callback()
def _tiers() -> None:
    """The price tiers and their limits."""


@app.command("list", epilog="Example: tradewind sectors list")
def list_(json: JsonOption = False) -> None:
    """List the baselines that are believed before any data is seen."""
    with failures(json):
        from tradewind.market.sectors import BASELINES

        _show([{"sector": name, **profile.model_dump()} for name, profile in BASELINES.items()], json, {})


@app.command(epilog="Example: tradewind sectors fit nasdaq-tft --source synthetic")
def fit(
    playbook: PlaybookArgument = "sample",
    source: SourceOption = None,
    set_: SetOption = None,
    as_of: AsOfOption = None,
    json: JsonOption = False,
) -> None:
    """Re-estimate the baselines from the stored daily bars of a playbook, and keep them with their origin."""
    with failures(json):
        from tradewind.evaluation import sector_baselines

        with progress_bar() as progress:
            found = sector_baselines.fit(one_system(playbook, source, set_), progress, as_of=instant(as_of))
        rows = [
            {"sector": name, **row["profile"], **{k: v for k, v in row.items() if k != "profile"}}
            for name, row in found.sectors.items()
        ]
        head = {"playbook": playbook, "from": found.provenance["from"], "to": found.provenance["to"]}
        _show(rows, json, {**head, "kept_as_of": found.as_of.isoformat()})


@app.command(epilog="Example: tradewind sectors show sample --as-of 2010-06-30")
def show(
    playbook: PlaybookArgument = "sample",
    source: SourceOption = None,
    set_: SetOption = None,
    as_of: AsOfOption = None,
    json: JsonOption = False,
) -> None:
    """Show the prior of each sector beside what was fitted on the playbook's data and was known then."""
    with failures(json):
        from tradewind.evaluation.sector_baselines import known
        from tradewind.market.sectors import BASELINES

        rows: list[dict[str, Any]] = []
        for name, believed in known(one_system(playbook, source, set_), instant(as_of)).items():
            rows.append({"sector": name, **BASELINES[name].model_dump(), "basis": "prior"})
            if believed.as_of is not None:
                numbers = {key: getattr(believed.profile, key) for key in believed.estimated}
                rest = {"symbols": believed.symbols, "share_of_bars": believed.share_of_bars}
                as_of_ = {"as_of": believed.as_of.isoformat(), "basis": believed.basis}
                rows.append({"sector": name, **dict.fromkeys(_NUMBERS), **numbers, **rest, **as_of_})
        _show(rows, json, {"playbook": playbook})


@tiers.command("list", epilog="Example: tradewind tiers list --json")
def list_tiers(json: JsonOption = False) -> None:
    """List the price tiers: range, typical volatility, least volume, position limit, stop, horizon."""
    with failures(json):
        from tradewind.market.tiers import TIERS

        rows = [{"tier": name, **tier.model_dump()} for name, tier in TIERS.items()]
        if json:
            emit({"tiers": rows})
            return
        typer.echo("tier      price USD    volatility    volume  limit   stop  horizon")
        for row in rows:
            prices = f"{row['lower_usd']:g} to {row['upper_usd']:g}" if row["upper_usd"] < 1e9 else "500 and more"
            figures = f"{row['daily_volatility_pct']:>8.1f} %  {row['min_daily_volume_shares'] / 1e6:>5.1f} M"
            limits = f"{row['position_limit_pct']:>4.0f} %  {row['stop_loss_pct']:>3.0f} %"
            typer.echo(f"{row['tier']:<6} {prices:>12}  {figures}  {limits}  {row['ideal_horizon']}")


def _show(rows: list[dict[str, Any]], json: bool, head: dict[str, Any]) -> None:
    if json:
        emit({**head, "sectors": rows})
        return
    for key, value in head.items():
        typer.echo(f"{key.replace('_', ' ')}: {value}")
    typer.echo(f"{'sector':<24} {'vol %':>6} {'volume M':>9} {'news w.':>8} {'news/wk':>8} {'RSI':>5} {'beta':>6}")
    for row in rows:
        volatility, volume, weight, news, rsi, beta = (row[name] for name in _NUMBERS)
        millions = None if volume is None else volume / 1e6
        figures = " ".join(
            f"{'–' if value is None else f'{value:.{places}f}':>{width}}"
            for value, width, places in (
                (volatility, 6, 2), (millions, 9, 1), (weight, 8, 1), (news, 8, 0), (rsi, 5, 1), (beta, 6, 2)
            )
        )  # fmt: skip
        typer.echo(f"{row['sector']:<24} {figures}  {_basis(row)}".rstrip())


def _basis(row: dict[str, Any]) -> str:
    """Return what a row rests on; empty where that is said above."""
    if "basis" in row:
        return str(row["basis"])
    if "symbols" not in row:
        return ""
    count = row["symbols"]
    return f"from {count} symbol{'s' * (count > 1)}, {row['share_of_bars']:.0%} of the bars" if count else "prior"
