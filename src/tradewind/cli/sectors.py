"""`tradewind sectors` and `tradewind tiers`: what is typical of a sector (row A2) and of a price (row A3)."""

from __future__ import annotations

from typing import Any

import typer

from tradewind.cli.common import JsonOption, PlaybookArgument, SetOption, SourceOption, emit, failures, open_workspace

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
    playbook: PlaybookArgument = "sample", source: SourceOption = None, set_: SetOption = None, json: JsonOption = False
) -> None:
    """Re-estimate the baselines from the stored daily bars of a playbook; what cannot be estimated stays the prior."""
    with failures(json):
        from tradewind.evaluation.data import load_or_sync
        from tradewind.features import compute
        from tradewind.market.sectors import fit_profiles

        panel = load_or_sync(open_workspace(playbook, source, set_)).panel
        fits = fit_profiles(panel, compute(panel, ["rsi_14"]).column("rsi_14").astype("float64"))
        rows = [
            {"sector": f.sector, **f.profile.model_dump(), "symbols": f.symbols, "estimated": list(f.estimated)}
            for f in fits
        ]
        _show(rows, json, {"playbook": playbook, "from": str(panel.times[0])[:10], "to": str(panel.times[-1])[:10]})


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
        typer.echo(f"{key}: {value}")
    typer.echo(f"{'sector':<24} {'vol %':>6} {'volume M':>9} {'news w.':>8} {'news/wk':>8} {'RSI':>5} {'beta':>6}")
    for row in rows:
        volatility, volume, weight, news, rsi, beta = (row[name] for name in _NUMBERS)
        figures = f"{volatility:>6.2f} {volume / 1e6:>9.1f} {weight:>8.1f} {news:>8.0f} {rsi:>5.1f} {beta:>6.2f}"
        symbols = row.get("symbols")
        basis = "" if symbols is None else f"  from {symbols} symbols" if symbols else "  prior"
        typer.echo(f"{row['sector']:<24} {figures}{basis}")
