"""`tradewind features list`: the registry."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures

app = typer.Typer(help="The registry of features.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The registry of features."""


@app.command("list", epilog="Example: tradewind features list --family volatility")
def list_(
    family: Annotated[str | None, typer.Option("--family", help="Only this family.")] = None,
    json: JsonOption = False,
) -> None:
    """List every feature: family, unit, look-back, whether critical, description, source, and why it cannot be had."""
    with failures(json):
        from tradewind.errors import did_you_mean
        from tradewind.features.registry import specs

        known = list(specs().values())
        families = sorted({spec.family for spec in known})
        if family is not None and family not in families:
            raise did_you_mean("feature family", family, families)
        wanted = [spec for spec in known if family in (None, spec.family)]
        keys = (
            "name",
            "family",
            "unit",
            "look_back_bars",
            "critical",
            "scale_free",
            "unavailable",
            "description",
            "source",
        )
        rows = [{key: getattr(spec, key) for key in keys} for spec in wanted]
        if json:
            emit({"count": len(rows), "families": families, "features": rows})
            return
        for row in rows:
            columns = f"{row['name']:<28} {row['family']:<14} {row['unit']:<14} {row['look_back_bars']:>4}"
            missing = f" (not available: {row['unavailable']})" if row["unavailable"] else ""
            typer.echo(f"{columns}  {row['description']}{' [critical]' * row['critical']}{missing}")
        typer.echo(f"{len(rows)} features in {len({row['family'] for row in rows})} families")
