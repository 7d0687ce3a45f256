"""`tradewind models …`: trained models as they are stored, compared, exported and promoted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradewind.cli.common import JsonOption, emit, failures, home_folder, note, progress_bar
from tradewind.cli.show import number, percent

if TYPE_CHECKING:
    from tradewind.evaluation.model_registry import ModelRegistry
    from tradewind.evaluation.workspace import Workspace
    from tradewind.models.artefact import Artefact

app = typer.Typer(
    help="Trained models: list, show, compare, forecast, export, promote, roll back.", no_args_is_help=True
)

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="An id, the beginning of one, champion, challenger, PLAYBOOK:champion, or PLAYBOOK/MEMBER:champion."
    ),
]
FamilyOption = Annotated[str | None, typer.Option("--playbook", help="Only models of this playbook's family.")]
TrustOption = Annotated[
    bool, typer.Option("--trust-pickle", help="Read pickled parts: whoever wrote the file can run anything here.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
EngineOption = Annotated[str, typer.Option("--engine", help="What runs it: torch (as trained), onnx or tflite.")]


@app.callback()
def _group() -> None:
    """Trained models."""


@app.command("list", epilog="Example: tradewind models list --playbook sample")
def list_(playbook: FamilyOption = None, json: JsonOption = False) -> None:
    """List trained models, newest first, with their skill out of sample and what aliases mean them."""
    with failures(json):
        rows = _registry().listed(playbook)
        if json:
            emit({"count": len(rows), "models": rows})
            return
        if not rows:
            of = f" of {playbook}" if playbook else ""
            typer.echo(f"no trained model{of} here yet: `tradewind train {playbook or 'PLAYBOOK'}` makes some")
        for row in rows:
            skill = " / ".join(percent(own["pinball_skill"]) for own in row["metrics"].values())
            marks = ", ".join(
                [*_titles(row), *(f"exported {e}" for e in row["exports"]), *["files missing"] * (not row["stored"])]
            )
            typer.echo(
                f"{row['id']:<44} {row['playbook']:<14} until {row['trained_until'][:10]}  loss saved {skill}  {marks}"
            )


@app.command(epilog="Example: tradewind models show champion")
def show(model: ModelArgument, playbook: FamilyOption = None, json: JsonOption = False) -> None:
    """Show a model's card: what it was trained on and with, its scores out of sample, its exported files."""
    with failures(json):
        from tradewind.evaluation.model_registry import exports_of

        artefact = _registry().artefact(model, playbook)
        told = {"id": artefact.id, "folder": str(artefact.folder), "exports": exports_of(artefact.folder)}
        card = told | {key: value for key, value in artefact.card.items() if key != "state"}
        if json:
            emit(card)
            return
        _show(card)


@app.command(epilog="Example: tradewind models compare champion challenger")
def compare(
    first: ModelArgument, second: ModelArgument, playbook: FamilyOption = None, json: JsonOption = False
) -> None:
    """Compare two models on the dates that both forecast out of sample, and what differs between them."""
    with failures(json):
        from tradewind.evaluation.stored_models import compared

        registry = _registry()
        found = compared(registry.artefact(first, playbook), registry.artefact(second, playbook))
        if json:
            emit(found)
            return
        typer.echo(
            f"{found['models'][0]}  against  {found['models'][1]}" + ("" if found["same_data"] else "  (other data)")
        )
        for horizon, row in found["horizons"].items():
            saved = "–" if row["saved_by_second"] is None else f"{row['saved_by_second']:+.2%}"
            p = "–" if row["dm_p"] is None else f"{row['dm_p']:.3f}"
            typer.echo(
                f"{horizon:>4} bars: the second saves {saved} of the loss over {row['dates']:,} dates of "
                f"{found['symbols']} symbols, p {p}"
            )
        if not found["horizons"]:
            typer.echo("they share no horizon")
        for name, (old, new) in found["differences"].items():
            typer.echo(f"{name}: {old} → {new}")


@app.command(epilog="Example: tradewind models forecast champion --engine onnx")
def forecast(
    model: ModelArgument,
    playbook: FamilyOption = None,
    engine: EngineOption = "torch",
    trust_pickle: TrustOption = False,
    json: JsonOption = False,
) -> None:
    """Forecast the newest bar with a stored model, calibrated on from what its calibrator remembered."""
    with failures(json):
        from tradewind.evaluation.stored_models import forecast_with

        artefact = _registry().artefact(model, playbook)
        with progress_bar() as progress:
            world = _world(artefact, progress)
            made = forecast_with(artefact, world, _predictor(artefact, engine, trust_pickle)).rounded()
        told = {
            "model": artefact.id,
            "engine": engine,
            "as_of": str(made.times[-1])[:19] + "Z",
            "calibrated": artefact.card["calibrator"] is not None,
            "levels": made.levels,
        }
        rows = {symbol: _newest(made, column) for column, symbol in enumerate(made.symbols)}
        if json:
            emit(told | {"forecasts": rows})
            return
        raw = "" if told["calibrated"] else " (not calibrated)"
        typer.echo(f"{artefact.id} by {engine}, as of {told['as_of']}: log returns at levels {made.levels}{raw}")
        for symbol, own in rows.items():
            for horizon, told_of in own.items():
                said = "no forecast" if told_of is None else "  ".join(f"{q:+.4f}" for q in told_of["quantiles"])
                typer.echo(f"{symbol:<8} {horizon:>4} bars  {said}")


@app.command(epilog="Example: tradewind models export champion --format onnx")
def export(
    model: ModelArgument,
    format_: Annotated[str, typer.Option("--format", help="onnx, or tflite (LiteRT).")] = "onnx",
    playbook: FamilyOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also copy the files into this folder.")] = None,
    json: JsonOption = False,
) -> None:
    """Write a network for another runtime; its answers are compared with the model's on real windows first."""
    with failures(json):
        from tradewind.evaluation.model_exports import export as export_

        artefact = _registry().artefact(model, playbook)
        with progress_bar() as progress:
            report = export_(artefact, _world(artefact, progress), format_, out)
        if json:
            emit(report)
            return
        for path in report["files"]:
            typer.echo(path)
        typer.echo(
            f"agrees with the model to {report['max_difference']:.1e} on {report['windows']:,} windows "
            f"(limit {report['limit']:.0e})"
        )


@app.command(epilog="Example: tradewind models promote challenger")
def promote(
    model: ModelArgument, playbook: FamilyOption = None, reason: ReasonOption = "", json: JsonOption = False
) -> None:
    """Make a model the champion of its seat; the present one is kept for `rollback`."""
    with failures(json):
        _say(_registry().promote(model, playbook, reason=reason), json)


@app.command(epilog="Example: tradewind models rollback --playbook sample")
def rollback(playbook: FamilyOption = None, reason: ReasonOption = "", json: JsonOption = False) -> None:
    """Bring back the champion before the present one, which becomes the challenger."""
    with failures(json):
        _say(_registry().rollback(playbook, reason=reason), json)


def _titles(row: Mapping[str, Any]) -> list[str]:
    """Say of which seats a model is champion or challenger; of its family's own seat that needs no name."""
    own = row["playbook"]
    return [alias if seat == own else f"{alias} of {seat}" for alias, seats in row["seats"].items() for seat in seats]


def _registry() -> ModelRegistry:
    from tradewind.clock import SystemClock
    from tradewind.evaluation.model_registry import ModelRegistry as Registry
    from tradewind.market.store.home import records_url
    from tradewind.market.store.records import Records

    home = home_folder()
    home.mkdir(parents=True, exist_ok=True)
    return Registry(home, Records(records_url(home)), SystemClock())


def _workspace(artefact: Artefact) -> Workspace:
    from tradewind.evaluation.plan import Plan
    from tradewind.evaluation.runs import playbook_of
    from tradewind.evaluation.workspace import Workspace as Workspace_

    return Workspace_(Plan.of(playbook_of(artefact.card["manifest"]["playbook"])), home_folder())


def _world(artefact: Artefact, progress: Any) -> Any:
    from tradewind.evaluation.corridor import build_world
    from tradewind.evaluation.data import load_or_sync
    from tradewind.evaluation.fold_cache import FoldCache

    workspace = _workspace(artefact)
    loaded = load_or_sync(workspace, progress)
    return build_world(workspace.plan, loaded.panel, loaded.notes, FoldCache(workspace.home / "folds"), progress)


def _predictor(artefact: Artefact, engine: str, trust_pickle: bool) -> Any:
    from tradewind.evaluation.model_exports import predictor

    return predictor(artefact, engine, trust_pickle=trust_pickle)


def _newest(made: Any, column: int) -> dict[str, dict[str, list[float]] | None]:
    """Return what is forecast of one symbol at the newest bar, by horizon; None where there is no forecast."""
    return {
        str(h): {
            name: [float(v) for v in values[-1, column, i]] for name, values in made.arrays.items() if name != "score"
        }
        if made.available[-1, column, i]
        else None
        for i, h in enumerate(made.horizons)
    }


def _say(state: dict[str, Any], json: bool) -> None:
    if json:
        emit(state)
        return
    typer.echo(f"{state['lineage']}: champion {state['champion']}, challenger {state['challenger'] or 'none'}")
    if state["champions_before"]:
        note(f"before: {', '.join(state['champions_before'][::-1])}")


def _show(card: dict[str, Any]) -> None:
    manifest, question = card["manifest"], card["question"]
    typer.echo(f"{card['id']}  ({card['model']}, version {card['version']})")
    typer.echo(
        f"trained on {manifest['trained_from'][:10]} … {manifest['trained_until'][:10]}: {manifest['samples']:,} "
        f"samples of {len(manifest['symbols'])} symbols from {manifest['source']}, "
        f"playbook {manifest['playbook']['name']}"
    )
    typer.echo(
        f"{len(card['features'])} features, horizons {question['horizons_bars']} bars of {question['timeframe']}, "
        f"parameters {card['parameters']}"
    )
    for horizon, row in card["metrics"].items():
        skill = f"loss saved {percent(row['pinball_skill'])} (p {number(row['dm_p'], 3)})"
        typer.echo(
            f"{horizon:>4} bars out of sample: {skill}, 80 % intervals held {percent(row['coverage_80'])}, "
            f"rank IC {number(row['rank_ic'], 3)}, n {row['n']:,}"
        )
    for one in card["exports"]:
        typer.echo(f"exported to {one['format']}: differs by at most {one['max_difference']:.1e}")
    for flag in manifest["flags"]:
        typer.echo(f"⚑ {flag}")
    typer.echo(f"{card['folder']}  digest {card['digest'][:16]}…, code {manifest['code']}")
