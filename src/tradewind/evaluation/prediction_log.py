"""Every forecast of a run's newest bar, stored; and what became of the earlier ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
            lineage=plan.head.lineage or plan.playbook.name,
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
