"""The command line: one file per verb, nothing heavy imported before it is needed."""

from __future__ import annotations

from typing import Annotated

import typer

from tradewind import __version__
from tradewind.cli import (
    alerts,
    audit,
    backtest,
    backup,
    broker,
    check,
    config,
    demo,
    doctor,
    drift,
    explain,
    features,
    halt,
    init,
    live,
    models,
    optimise,
    pairs,
    paper,
    ranks,
    recommend,
    report,
    reproduce,
    retrain,
    risk,
    sectors,
    stress,
    sync,
    train,
    tune,
)

app = typer.Typer(
    name="tradewind",
    help="Calibrated market forecasts, honest trades. Not financial advice; past performance proves nothing.",
    epilog="Start with `tradewind demo`. "
    "Exit codes: 0 fine, 1 failed, 2 usage, 3 the data or an audit says no, 4 safety stop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS = (
    init, sync, train, tune, backtest, recommend, explain, ranks, paper, live, retrain, halt, optimise, pairs, stress,
    risk, report, reproduce, backup, demo, doctor,
)  # fmt: skip
for verb in VERBS:
    verb.add_to(app)
app.add_typer(config.app, name="config")
app.add_typer(check.app, name="data")
app.add_typer(features.app, name="features")
app.add_typer(models.app, name="models")
app.add_typer(audit.app, name="audit")
app.add_typer(broker.app, name="broker")
app.add_typer(drift.app, name="drift")
app.add_typer(alerts.app, name="alerts")
app.add_typer(sectors.app, name="sectors")
app.add_typer(sectors.tiers, name="tiers")


@app.callback(invoke_without_command=True)
def tradewind(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Say each phase, and where in the code an error arose.")
    ] = False,
) -> None:
    """Calibrated market forecasts, honest trades."""
    from tradewind.cli import common

    common.QUIET, common.VERBOSE = quiet, verbose
    if version:
        typer.echo(f"tradewind {__version__}")
        raise typer.Exit


def run() -> None:
    """Entry point of the `tradewind` command."""
    app()
