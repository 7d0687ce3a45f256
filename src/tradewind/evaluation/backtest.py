"""The walk over history: from a plan to its track record, verdict and recommendations."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.coverage import CoverageReport
from tradewind.errors import InputError
from tradewind.evaluation import corridor, runs
from tradewind.evaluation.account import Clock, by_session, opening_row, session_start, trade
from tradewind.evaluation.benchmarks_judged import benchmarks, by_regime
from tradewind.evaluation.book_result import book_result, risk_flags
from tradewind.evaluation.contamination import contamination_flags
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.ensemble import ensemble_flags, ensemble_result, member_notes
from tradewind.evaluation.fold_cache import code_version, panel_digest
from tradewind.evaluation.forecast_quality import (
    quality_table,
    reliability,
    superior_ability,
    superior_ability_reason,
    unscored,
)
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.positions import closed_positions, last_decisions, positions, positions_table
from tradewind.evaluation.prediction_log import log_run
from tradewind.evaluation.recommend import Decision
from tradewind.evaluation.sleeves import NAIVE, Walked, walk
from tradewind.evaluation.track_record import Trials, book_returns, periods_per_year, summarise
from tradewind.evaluation.verdict import headline, judge_targets, red_flags
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.simulator import Simulation
from tradewind.execution.trading import Trading
from tradewind.market.store.failures import storage_failures
from tradewind.market.store.lake import Pin
from tradewind.models.ensembles.combine import Combined
from tradewind.models.forecast import Forecast
from tradewind.stats.metrics import performance

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrackRecord:
    """A finished back-test.

    Attributes
    ----------
    walked
        Every system of the playbook with its world, forecasts and decisions; results are told by the first.
    tradings
        The account's life on its finest bars: ``base``, ``delay_1`` (one bar later), ``double_costs``.
    simulations
        The same as seen on the bars and symbols of the first system.
    start
        Row of these bars from which the book trades: the first out-of-sample forecast.
    result
        The JSON object, free of everything that changes from run to run.
    run
        What does change: id, times, places.
    """

    walked: Walked
    tradings: Mapping[str, Trading]
    simulations: Mapping[str, Simulation]
    start: int
    result: dict[str, Any]
    manifest: runs.Manifest
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def decision(self) -> Decision:
        """The first system's world, calibrated forecast, signals and targets of every bar."""
        return self.walked.primary.decision

    @property
    def world(self) -> World:
        """The bars, features and labels behind it."""
        return self.decision.world

    @property
    def forecasts(self) -> Mapping[str, Forecast]:
        """Uncalibrated out-of-sample forecasts by model; the traded model's calibrated one is the decision's."""
        return self.walked.primary.forecasts

    @property
    def coverage(self) -> CoverageReport:
        """Realised coverage of the calibrated intervals."""
        return self.walked.primary.coverage

    @property
    def combined(self) -> Combined | None:
        """The ensemble, where the playbook trades one or compares it."""
        return self.walked.primary.combined

    def led_by(self, timeframe: str) -> TrackRecord:
        """Return it with this system's world, forecasts and decisions in front; the account stays as it is."""
        return replace(self, walked=self.walked.led_by(timeframe))

    def to_dict(self) -> dict[str, Any]:
        """Return the result with its ``run`` part."""
        return {**self.result, "run": self.run}


def backtest(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    as_of: datetime | None = None,
    opened: datetime | None = None,
    pin: Pin | None = None,
    trials_until: datetime | None = None,
    counts: bool = True,
    symbol: str | None = None,
) -> TrackRecord:
    """Walk the corridor over history and judge the result; the trial is counted in the records.

    Parameters
    ----------
    as_of
        Use only bars known then (default: all).
    opened
        Open the account at the first close from then on (default: with the first forecast).
    pin
        Use only what the store held then: a reproduction sees its original data.
    trials_until
        Count only trials first seen by then (for a reproduction).
    counts
        Whether this look is a trial. Asking for a recommendation is not: nothing is chosen by it.
    symbol
        Refuse the walk where the universe lacks this symbol (``InputError``).
    """
    started, clock = workspace.clock.now(), time.perf_counter()
    walked = walk(workspace, progress, as_of=as_of, pin=pin, symbol=symbol)
    tradings = _tradings(workspace.plan, walked, opened)
    progress("trade", 1, 1)
    primary, laid = walked.primary, Clock.of([one.wanted for one in walked.sleeves])
    simulations = {name: by_session(one, laid, primary.world.panel) for name, one in tradings.items()}
    start = session_start(tradings["base"], laid, primary.world.panel)
    manifest = _manifest(workspace, walked, started, as_of, opened)
    own = _own_trial(manifest, book_returns(simulations["base"], start), primary.world, start)
    trials = _trials(workspace, own, trials_until, counts=counts)
    result = _result(workspace, walked, tradings, laid, simulations, start, trials)
    progress("judge", 1, 1)
    run = {
        "id": manifest.run,
        "started": started.isoformat(),
        "seconds": round(time.perf_counter() - clock, 2),
        "home": str(workspace.home),
    }
    return TrackRecord(walked, tradings, simulations, start, result, manifest, run)


def save(record: TrackRecord, workspace: Workspace, *, verb: str = "backtest") -> Path:
    """Write manifest, result, forecasts and weights of a run, and log it in the records; return its folder."""
    folder = workspace.home / "runs" / record.manifest.run
    runs.write(folder, "manifest.json", record.manifest.to_dict())
    write_forecasts(record, folder / "forecasts.parquet")
    write_weights(record, folder / "weights.parquet")
    write_positions(record, folder / "positions.parquet")
    runs.write(folder, "result.json", clean(record.to_dict()))
    log_run(record, workspace.records, verb=verb, result_path=str(folder / "result.json"))
    return folder


def clean(value: Any) -> Any:
    """Return a result as JSON can say it, NaN as null; the form that is compared by ``reproduce``."""
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return clean(value.tolist())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def write_forecasts(record: TrackRecord, path: Path) -> None:
    """Write every out-of-sample forecast in long form (Parquet or CSV by extension).

    Columns: symbol, time (UTC close of the deciding bar), horizon (bars), q05 … q95 (log return from that close) and
    p_down, p_neutral, p_up where the model has classes.
    """
    import polars as pl

    forecast = record.decision.belief.forecast
    row, column, horizon = np.nonzero(forecast.available)
    table = {
        "symbol": np.asarray(forecast.symbols)[column],
        "time": forecast.times[row],
        "horizon": np.asarray(forecast.horizons, dtype=np.int64)[horizon],
    }
    quantiles = forecast.quantiles[row, column, horizon]
    table |= {f"q{round(level * 100):02d}": quantiles[:, i] for i, level in enumerate(forecast.levels)}
    if forecast.probabilities is not None:
        chances = forecast.probabilities[row, column, horizon]
        table |= {name: chances[:, i] for i, name in enumerate(("p_down", "p_neutral", "p_up"))}
    _write_table(pl.DataFrame(table), path)


def write_weights(record: TrackRecord, path: Path) -> None:
    """Write the target weights decided at each close, one row a decision (symbol, time, weight)."""
    import polars as pl

    weight = corridor.scheduled(record.world, record.decision.targets)
    row, column = np.nonzero(np.isfinite(weight))
    panel = record.world.panel
    table = pl.DataFrame(
        {
            "symbol": np.asarray(panel.symbols)[column],
            "time": panel.times[row],
            "weight": weight[row, column],
        }
    )
    _write_table(table, path)


def write_positions(record: TrackRecord, path: Path) -> None:
    """Write every position of the account, open or over: what asked for it, how it was sized and what bound it."""
    laid = Clock.of([one.wanted for one in record.walked.sleeves])
    table = positions_table(record.walked, record.tradings["base"], laid)
    with storage_failures(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path)


def require_table(path: Path) -> None:
    """Raise ``InputError`` for a file whose extension does not say how to write it."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"cannot write {path}: unknown extension {path.suffix!r}", hint="use .parquet or .csv")


def _write_table(table: Any, path: Path) -> None:
    import polars as pl

    require_table(path)
    table = table.with_columns(pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    with storage_failures(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            table.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        else:
            table.write_parquet(path)


def _tradings(plan: Plan, walked: Walked, opened: datetime | None) -> dict[str, Trading]:
    """Let the account live through its bars: as it is, one bar late, and at double costs."""
    wanted = [one.wanted for one in walked.sleeves]
    start = opening_row(Clock.of(wanted), opened)
    return {
        "base": trade(plan, wanted, start=start),
        "delay_1": trade(plan, wanted, start=start, delay_bars=1),
        "double_costs": trade(plan, wanted, plan.execution.scaled(2.0), start=start),
    }


def _manifest(
    workspace: Workspace, walked: Walked, started: datetime, as_of: datetime | None, opened: datetime | None
) -> runs.Manifest:
    plan = workspace.plan
    seen = [panel_digest(one.world.panel) for one in walked.sleeves]
    data_version = seen[0] if len(seen) == 1 else hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:32]
    asked = [plan.playbook.content_hash, data_version, *([] if opened is None else [opened.isoformat()])]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
    return runs.Manifest(
        run=runs.new_run_id(plan.playbook.name, key, started),
        playbook=runs.playbook_record(plan.playbook),
        data_version=data_version,
        started=started.isoformat(),
        pin=walked.pin.to_dict(),
        as_of=None if as_of is None else as_of.isoformat(),
        opened=None if opened is None else opened.isoformat(),
        code=code_version(),
        environment=runs.environment(),
        seeds={"models": plan.models.seed, "bootstrap": plan.evaluation.seed},
        trial_key=key,
    )


@dataclass(frozen=True, eq=False)
class _OwnTrial:
    """The configuration that is being looked at; ``bars`` names the bars that its returns are over."""

    key: str
    bars: str
    run: str
    seen: datetime
    sharpe: float | None
    returns: FloatArray


def _own_trial(manifest: runs.Manifest, returns: FloatArray, world: World, start: int) -> _OwnTrial:
    panel = world.panel
    sharpe = float(performance.sharpe(returns, periods_per_year=periods_per_year(panel.timeframe)).value)
    bars = hashlib.sha256(f"{world.plan.data.source} {panel.timeframe}".encode() + panel.times[start:].tobytes())
    return _OwnTrial(
        key=manifest.trial_key,
        bars=bars.hexdigest()[:12],
        run=manifest.run,
        seen=datetime.fromisoformat(manifest.started),
        sharpe=sharpe if np.isfinite(sharpe) else None,
        returns=returns,
    )


def _trials(workspace: Workspace, own: _OwnTrial, until: datetime | None, *, counts: bool) -> Trials:
    """Return the trials of the lineage in the order they were first seen; this one is counted if it is a trial."""
    folder = workspace.home / "trials"
    records, lineage = workspace.records, workspace.plan.playbook.lineage
    if counts:
        if runs.read_array(folder / f"{own.key}-{own.bars}.npy") is None:
            runs.write_array(folder / f"{own.key}-{own.bars}.npy", own.returns)
        records.record_trial(lineage, own.key, run=own.run, seen=own.seen, sharpe=own.sharpe)
    known = [t for t in records.trials(lineage) if t.trial_key != own.key and (until is None or t.first_seen <= until)]
    stored = [runs.read_array(folder / f"{t.trial_key}-{own.bars}.npy") for t in known]
    series = (*(one for one in stored if one is not None), own.returns)
    sharpes = tuple(s for s in (*(t.sharpe for t in known), own.sharpe) if s is not None)
    return Trials(len(known) + 1, sharpes, series)


def _result(
    workspace: Workspace,
    walked: Walked,
    tradings: Mapping[str, Trading],
    laid: Clock,
    simulations: Mapping[str, Simulation],
    start: int,
    trials: Trials,
) -> dict[str, Any]:
    plan, primary = workspace.plan, walked.primary
    decision, world, forecasts, combined = primary.decision, primary.world, primary.forecasts, primary.combined
    own_plan, left_out = primary.plan, primary.left_out
    shown = {f"{own_plan.models.use} (calibrated)": decision.belief.forecast, **forecasts}
    quality = quality_table(shown, world.labels.returns, NAIVE, world.labels.horizons)
    superior = superior_ability(shown, world.labels.returns, NAIVE, world.labels.horizons)
    own = quality[f"{own_plan.models.use} (calibrated)"]
    record = summarise(world, simulations["base"], start, trials)
    covered = primary.coverage.to_dict()
    together = None if combined is None else ensemble_result(combined, world.labels.returns, quality, own_plan.ensemble)
    flags = red_flags(world.panel.flags, own, record, world.panel.timeframe)
    flags += [] if together is None else ensemble_flags(together)
    flags += contamination_flags(own_plan, world.panel.times[start:], left_out)
    account = book_result(plan, walked, tradings["base"], laid, simulations["base"], start)
    flags += risk_flags(account["var"])
    notes = () if combined is None else member_notes(combined)
    times = world.panel.times
    return {
        "playbook": plan.playbook.name,
        "playbook_hash": plan.playbook.content_hash,
        "source": plan.data.source,
        "as_of": str(np.datetime_as_string(times[-1], unit="s")) + "Z",
        "verdict": headline(record, own, covered),
        "recommendations": decision.recommendations(),
        "coverage": covered,
        "track_record": record,
        "robustness": {name: _variant(world, s, start) for name, s in simulations.items() if name != "base"},
        "forecast_quality": quality | {name: unscored(why, world.labels.horizons) for name, why in left_out.items()},
        **({} if together is None else {"ensemble": together}),
        "superior_ability_p": superior,
        "superior_ability_reason": superior_ability_reason(superior, left_out),
        "reliability": _reliability(decision, start),
        "limits_bound": decision.targets.times_bound(),
        **account,
        "positions": positions(walked, tradings["base"], laid),
        "closed_positions": closed_positions(walked, tradings["base"], laid),
        "decisions": last_decisions(walked, tradings["base"], laid),
        "benchmarks": benchmarks(world, simulations["base"], start),
        "by_regime": by_regime(world, simulations["base"], start),
        "red_flags": flags,
        "targets": judge_targets(plan.targets, record, own),
        "universe": {
            "symbols": len(world.panel.symbols),
            "dropped": primary.loaded.dropped,
            "timeframe": world.panel.timeframe,
        },
        "period": {
            "bars": len(world.panel),
            "from": str(times[0])[:10],
            "out_of_sample_from": str(times[start])[:10],
            "to": str(times[-1])[:10],
        },
        "notes": [*world.notes, *decision.signals.notes, *notes, *(_left_out(*pair) for pair in left_out.items())],
        "warnings": list(plan.head.warnings),
    }


def _left_out(name: str, why: str) -> str:
    return f"models.compare: {name} is left out of the comparison, as it could not be fitted: {why}"


def _variant(world: World, simulation: Simulation, start: int) -> dict[str, float]:
    returns = book_returns(simulation, start)
    per_year = periods_per_year(world.panel.timeframe)
    return {
        "sharpe": performance.sharpe(returns, periods_per_year=per_year).value,
        "annual_return": performance.annual_return(returns, periods_per_year=per_year).value,
    }


def _reliability(decision: Decision, start: int) -> dict[str, Any]:
    """Return how often the event came true for longs of the rule's main trade where it was thought so sure.

    ``brier`` beside ``brier_as_forecast`` says what recalibration has saved, ``brier_of_base_rate`` what is to be
    beaten: the mean squared error of saying the realised frequency each time.
    """
    odds, settings = decision.signals.odds, decision.belief.settings
    came = odds.event.outcome(decision.belief, odds.trade).long[start:]
    said, raw = odds.calibrated.long[start:], odds.raw.long[start:]
    known = np.isfinite(came) & np.isfinite(said)
    happened = came[known]
    usable = said[np.isfinite(said)]
    return {
        "event": odds.event.name,
        "horizon_bars": odds.trade.bars,
        "table": reliability(said[known], happened > 0),
        "happened": float(happened.mean()) if happened.size else None,
        "brier": _squared(said[known] - happened),
        "brier_as_forecast": _squared(raw[known] - happened),
        "brier_of_base_rate": _squared(happened - happened.mean()) if happened.size else None,
        "threshold": settings.confidence_min,
        "threshold_passed": float(np.mean(usable >= settings.confidence_min)) if usable.size else None,
    }


def _squared(error: FloatArray) -> float | None:
    return float(np.mean(error**2)) if error.size else None
