"""`tradewind features list`: the registry, or what one playbook takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tradewind.cli.common import JsonOption, emit, failures, load_plan

if TYPE_CHECKING:
    from tradewind.features.spec import FeatureSpec

app = typer.Typer(help="The registry of features.", no_args_is_help=True)

KEYS = (
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


@app.callback()
def _group() -> None:
    """The registry of features."""


@app.command("list", epilog="Example: tradewind features list --family volatility")
def list_(
    family: Annotated[str | None, typer.Option("--family", help="Only this family.")] = None,
    playbook: Annotated[
        str | None, typer.Option("--playbook", help="Only those of this playbook, forecasts among them included.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List every feature: family, unit, look-back, whether critical, description, source, and why it cannot be had."""
    with failures(json):
        from tradewind.errors import did_you_mean
        from tradewind.features.registry import specs

        known = list(specs().values()) if playbook is None else _of_playbook(playbook)
        families = sorted({spec.family for spec in known})
        if family is not None and family not in families:
            raise did_you_mean("feature family", family, families)
        rows = [{key: getattr(spec, key) for key in KEYS} for spec in known if family in (None, spec.family)]
        if json:
            emit({"count": len(rows), "families": families, "features": rows})
            return
        for row in rows:
            columns = f"{row['name']:<28} {row['family']:<14} {row['unit']:<14} {row['look_back_bars']:>4}"
            missing = f" (not available: {row['unavailable']})" if row["unavailable"] else ""
            typer.echo(f"{columns}  {row['description']}{' [critical]' * row['critical']}{missing}")
        typer.echo(f"{len(rows)} features in {len({row['family'] for row in rows})} families")


def _of_playbook(playbook: str) -> list[FeatureSpec]:
    """Return what a playbook's models see, and what it asks for and cannot have."""
    from tradewind.features.registry import get, members
    from tradewind.labels.horizons import resolve
    from tradewind.models.as_features import specs_of

    plan = load_plan(playbook, None, None)
    horizons, _ = resolve(plan.labels, plan.data.timeframe)
    asked = [get(name) for name in members(plan.features.include, plan.features.exclude)]
    return [*asked, *specs_of(plan.features.forecasts, horizons)]
