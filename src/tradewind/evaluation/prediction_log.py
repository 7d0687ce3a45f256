"""Every forecast of a run's newest bar, or of a running corridor's bars, stored; and what became of the earlier ones.

The ``run`` of a forecast is a back-test's or a live session's id. Its ``target`` names what is forecast and, where
several models forecast the same, by whom: ``log_return`` is what decisions are made on, ``log_return:lstm`` a member's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.market.store.records import Prediction, Records, Run, SignalRecord

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord
    from tradewind.evaluation.plan import Plan
    from tradewind.models.forecast import Forecast

TARGET = "log_return"

CLASSES = ("down", "neutral", "up")


def target_of(model: str | None = None) -> str:
    """Return the target of a forecast: of the traded one, or of one model beside others."""
    return TARGET if model is None else f"{TARGET}:{model}"


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
    known = Outcomes(panel.times, panel.symbols, labels.horizons, labels.returns, origin(record.manifest.to_dict()))
    return known.of(records)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of bars: the log returns from each of them, over every horizon.

    Attributes
    ----------
    times, symbols, horizons, returns
        As labels have them: ``(T,)``, ``N``, ``H`` in bars, ``(T, N, H)`` with NaN where it is not known yet.
    origin
        What names the bars, as :func:`origin` and :func:`origin_of_plan` say it: outcomes are of no other bars.
    """

    times: NDArray[np.datetime64]
    symbols: Sequence[str]
    horizons: Sequence[int]
    returns: NDArray[np.float64]
    origin: tuple[Any, ...]

    def of(self, records: Records, runs: Collection[str] | None = None) -> list[tuple[Prediction, float]]:
        """Return the forecasts without an outcome, of some runs where given, whose outcome is in here."""
        rows = {as_datetime(time): row for row, time in enumerate(self.times)}
        columns = {symbol: column for column, symbol in enumerate(self.symbols)}
        places = {horizon: place for place, horizon in enumerate(self.horizons)}
        same: dict[str, bool] = {}
        found: list[tuple[Prediction, float]] = []
        for made in records.unresolved(until=as_datetime(self.times[-1]), runs=runs):
            if made.run not in same:
                same[made.run] = origin_of_run(records, made.run) == self.origin
            at = rows.get(made.time), columns.get(made.symbol), places.get(made.horizon_bars)
            if not same[made.run] or None in at or made.target.partition(":")[0] != TARGET:
                continue
            outcome = float(self.returns[at])
            if np.isfinite(outcome):
                found.append((made, outcome))
        return found

    def resolve(self, records: Records, *, at: datetime, runs: Collection[str] | None = None) -> int:
        """Note what became of all forecasts that can be told, together; return how many. Again it changes nothing.

        However late: what a corridor forecast before it died is resolved by the next one, or by a back-test.
        """
        found = self.of(records, runs)
        records.resolve_all(found, at=at)
        return len(found)


def origin(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what names the bars a run saw: source, its options and the bar size."""
    playbook = manifest["playbook"]
    timeframe = playbook["values"].get("data", {}).get("timeframe", "1d")
    return playbook["source"], json.dumps(playbook["source_options"], sort_keys=True, default=str), timeframe


def origin_of_plan(plan: Plan) -> tuple[Any, ...]:
    """Return what names the bars a plan sees, as :func:`origin` does; a live session keeps it in its detail."""
    options = json.dumps(dict(plan.playbook.source_options), sort_keys=True, default=str)
    return plan.playbook.source, options, plan.playbook.values.get("data", {}).get("timeframe", "1d")


def origin_of_run(records: Records, run: str) -> tuple[Any, ...] | None:
    """Return what names the bars of a back-test or of a live session; None where neither is known."""
    for session in records.live_sessions():
        if session.id == run:
            return tuple(session.detail.get("origin", ())) or None
    try:
        return origin(records.get_run(run).manifest)
    except (InputError, LookupError):
        return None


def predictions_at(
    forecast: Forecast,
    row: int,
    *,
    run: str,
    model: str | None = None,
    seat: str | None = None,
    artefact: str | None = None,
    regime: str | None = None,
    scale: NDArray[np.float64] | None = None,
) -> list[Prediction]:
    """Return one bar's forecasts as they are stored.

    Parameters
    ----------
    forecast
        Calibrated, as it was served.
    run
        The live session or the back-test.
    model
        Who forecasts beside others; None: what decisions are made on.
    seat, artefact
        Where it sits, and which stored model that is.
    regime
        The market's, as known then.
    scale
        ``(N,)`` standard deviation of the naive forecast over one bar, NaN where it has none.
    """
    quantiles = forecast.quantiles[row]
    levels, said = [f"{level:g}" for level in forecast.levels], quantiles.tolist()
    chances = _chances(forecast, row)
    naive = np.full(len(forecast.symbols), np.nan) if scale is None else scale
    scales = _plain(naive[:, None] * np.sqrt(forecast.horizons))
    at, target = as_datetime(forecast.times[row]), target_of(model)
    return [
        Prediction(
            run=run,
            symbol=forecast.symbols[column],
            time=at,
            target=target,
            horizon_bars=forecast.horizons[index],
            quantiles=dict(zip(levels, said[column][index], strict=True)),
            probabilities=chances[column][index],
            seat=seat,
            model=artefact,
            regime=regime,
            scale=scales[column][index],
        )
        for column, index in np.argwhere(np.isfinite(quantiles).all(axis=-1)).tolist()
    ]


def _chances(forecast: Forecast, row: int) -> list[list[dict[str, float]]]:
    """Return the probabilities of the classes by symbol and horizon; empty where the model has none."""
    if forecast.probabilities is None:
        return [[{} for _ in forecast.horizons] for _ in forecast.symbols]
    values = forecast.probabilities[row]
    known = np.isfinite(values).all(axis=-1).tolist()
    return [
        [dict(zip(CLASSES, one, strict=True)) if there else {} for one, there in zip(*both, strict=True)]
        for both in zip(values.tolist(), known, strict=True)
    ]


def _plain(values: NDArray[np.float64]) -> list[list[float | None]]:
    """Return a table of numbers as JSON says them: None where there is none."""
    return [[value if math.isfinite(value) else None for value in row] for row in values.tolist()]


def newest_predictions(record: TrackRecord) -> list[Prediction]:
    """Return the calibrated forecasts of the newest bar."""
    return predictions_at(record.decision.belief.forecast, len(record.world.panel) - 1, run=record.manifest.run)


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
