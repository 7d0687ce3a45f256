"""Every forecast of a run's newest bar, stored; and what became of the earlier ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.market.store.records import Prediction, Records, Run, SignalRecord

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

TARGET = "log_return"


def log_run(record: TrackRecord, records: Records, *, verb: str, result_path: str) -> None:
    """Store the run, its newest forecasts and signals, and resolve earlier forecasts whose outcome is known now."""
    manifest, plan = record.manifest, record.world.plan
    records.record_run(
        Run(
            id=manifest.run,
            verb=verb,
            playbook=plan.playbook.name,
            lineage=plan.playbook.lineage,
            playbook_hash=plan.playbook.content_hash,
            data_version=manifest.data_version,
            code_version=manifest.code,
            started=datetime.fromisoformat(manifest.started),
            status="done",
            seconds=record.run["seconds"],
            seeds=manifest.seeds,
            environment=manifest.environment,
            manifest=manifest.to_dict(),
            result_path=result_path,
        )
    )
    records.record_predictions(newest_predictions(record))
    records.record_signals(newest_signals(record))
    records.resolve_all(resolved(record, records), at=datetime.fromisoformat(manifest.started))


def resolved(record: TrackRecord, records: Records) -> list[tuple[Prediction, float]]:
    """Return the earlier forecasts, made on the same source, whose outcome lies in the record's bars."""
    panel, labels = record.world.panel, record.world.labels
    rows = {as_datetime(time): row for row, time in enumerate(panel.times)}
    origins: dict[str, bool] = {}
    found: list[tuple[Prediction, float]] = []
    for made in records.unresolved(until=as_datetime(panel.times[-1])):
        if made.run not in origins:
            origins[made.run] = origin(records.get_run(made.run).manifest) == origin(record.manifest.to_dict())
        known = made.symbol in panel.symbols and made.horizon_bars in labels.horizons and made.target == TARGET
        if not (origins[made.run] and known and made.time in rows):
            continue
        place = rows[made.time], panel.symbols.index(made.symbol), labels.horizons.index(made.horizon_bars)
        outcome = float(labels.returns[place])
        if np.isfinite(outcome):
            found.append((made, outcome))
    return found


def origin(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what names the bars a run saw: source, its options and the bar size."""
    playbook = manifest["playbook"]
    timeframe = playbook["values"].get("data", {}).get("timeframe", "1d")
    return playbook["source"], json.dumps(playbook["source_options"], sort_keys=True, default=str), timeframe


def newest_predictions(record: TrackRecord) -> list[Prediction]:
    """Return the calibrated forecasts of the newest bar."""
    forecast, row = record.decision.belief.forecast, len(record.world.panel) - 1
    found = []
    for column, index in zip(*np.nonzero(forecast.available[row]), strict=True):
        quantiles = zip(forecast.levels, forecast.quantiles[row, column, index], strict=True)
        found.append(
            Prediction(
                run=record.manifest.run,
                symbol=forecast.symbols[column],
                time=as_datetime(forecast.times[row]),
                target=TARGET,
                horizon_bars=forecast.horizons[index],
                quantiles={f"{level:g}": float(value) for level, value in quantiles},
            )
        )
    return found


def newest_signals(record: TrackRecord) -> list[SignalRecord]:
    """Return the recommendations of the newest bar."""
    return [
        SignalRecord(
            run=record.manifest.run,
            symbol=said["symbol"],
            time=as_datetime(record.world.panel.times[-1]),
            action=said["action"],
            horizon_bars=said["horizon_bars"],
            confidence=said["confidence"],
            weight=said["weight"],
            detail={key: said[key] for key in ("entry", "stop", "target", "bound_by", "reasons")},
        )
        for said in record.result["recommendations"]
    ]


def as_datetime(time: np.datetime64) -> datetime:
    """Return a panel's instant as an aware datetime."""
    return datetime.fromtimestamp(float(time.astype("datetime64[us]").astype(np.int64)) / 1e6, tz=UTC)
