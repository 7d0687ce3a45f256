"""One recommendation followed from raw bars to order, with every number on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tradewind.evaluation.backtest import TrackRecord
from tradewind.evaluation.data import require_symbol
from tradewind.evaluation.recommend import recommendation
from tradewind.market.sectors import Baseline, believed, recent

BARS_SHOWN = 5

SECTOR_BARS = 60
"""Daily bars over which a symbol is compared with its sector."""

SECTOR_NUMBERS = ("daily_volatility_pct", "daily_volume_shares")


def explain(record: TrackRecord, symbol: str, baselines: Mapping[str, Baseline] | None = None) -> dict[str, Any]:
    """Return the steps for one symbol at the record's newest close, in the order of the corridor.

    ``baselines`` is what is believed of the sectors at that close; the priors when None. Raises ``InputError`` for
    a symbol that is not in the universe.
    """
    panel = record.world.panel
    require_symbol(panel, symbol)
    row, column = len(panel) - 1, panel.symbols.index(symbol)
    said = recommendation(record.decision, row, column)
    return {
        "symbol": symbol,
        "as_of": said["as_of"],
        "sector": _sector(record, column, baselines or believed()),
        "1_bars": _bars(record, row, column),
        "2_features": _features(record, row, column),
        "3_forecasts": _forecasts(record, row, column),
        **_ensemble(record, row, column),
        "4_calibration": _calibration(record, row, column),
        "5_decision": {k: said[k] for k in ("action", "confidence", "event", "horizon_bars", "reasons")},
        "6_size": _size(record, row, column, said),
        "7_order": _order(record, said),
        "provenance": {
            "data_version": record.manifest.data_version,
            "code": record.manifest.code,
            "playbook_hash": record.manifest.playbook["hash"],
            "flags": list(panel.flags),
        },
    }


def _sector(record: TrackRecord, column: int, baselines: Mapping[str, Baseline]) -> dict[str, Any]:
    """Return the symbol's volatility and volume beside what is typical of its sector."""
    panel = record.world.panel
    typical = baselines[panel.sectors[column]]
    own = recent(panel, column, SECTOR_BARS) if panel.timeframe == "1d" else {}
    beside = {name: _beside(own.get(name), getattr(typical.profile, name)) for name in SECTOR_NUMBERS}
    return {"sector": typical.sector, "basis": typical.basis, "bars": SECTOR_BARS, **beside}


def _beside(own: float | None, typical: float) -> dict[str, float | None]:
    return {"symbol": own, "typical": typical, "ratio": None if own is None else own / typical}


def _bars(record: TrackRecord, row: int, column: int) -> list[dict[str, Any]]:
    panel = record.world.panel
    rows = range(max(0, row - BARS_SHOWN + 1), row + 1)
    names = ("open", "high", "low", "close", "volume")
    return [
        {
            "time": str(np.datetime_as_string(panel.times[t], unit="s")) + "Z",
            **{name: float(panel.fields[name][t, column]) for name in names},
            "adjustment_factor": float(panel.factor[t, column]),
        }
        for t in rows
    ]


def _features(record: TrackRecord, row: int, column: int) -> dict[str, float | None]:
    features = record.world.features
    values = features.values[row, column]
    return {n: (float(v) if np.isfinite(v) else None) for n, v in zip(features.names, values, strict=True)}


def _forecasts(record: TrackRecord, row: int, column: int) -> dict[str, Any]:
    return {
        name: {
            "version": forecast.version,
            "horizons": {
                str(h): _quantiles(forecast.levels, forecast.quantiles[row, column, i])
                for i, h in enumerate(forecast.horizons)
            },
        }
        for name, forecast in record.forecasts.items()
    }


def _ensemble(record: TrackRecord, row: int, column: int) -> dict[str, Any]:
    """Return each member's share of the symbol's forecast by horizon, and how far members are apart."""
    combined = record.decision.combined
    if combined is None:
        return {}
    apart = combined.disagreement_at(row, column)
    shares = combined.shares_at(row, column)
    horizons = {h: {"shares": own, **apart[h]} for h, own in shares.items()}
    return {"3_ensemble": {"method": record.world.plan.ensemble.method, "horizons": horizons}}


def _calibration(record: TrackRecord, row: int, column: int) -> dict[str, Any]:
    raw = record.forecasts[record.world.plan.models.use]
    after = record.decision.belief.forecast
    return {
        str(h): {
            "before": _quantiles(raw.levels, raw.quantiles[row, column, i]),
            "after": _quantiles(after.levels, after.quantiles[row, column, i]),
        }
        for i, h in enumerate(after.horizons)
    }


def _quantiles(levels: tuple[float, ...], values: Any) -> dict[str, float | None]:
    pairs = zip(levels, values, strict=True)
    return {f"q{round(level * 100):02d}": (float(v) if np.isfinite(v) else None) for level, v in pairs}


def _size(record: TrackRecord, row: int, column: int, said: dict[str, Any]) -> dict[str, Any]:
    plan, signals = record.world.plan, record.decision.signals
    return {
        "stop_distance": float(signals.stop[row, column]),
        "risk_per_trade": plan.sizing.risk_per_trade,
        "risk_weight": plan.sizing.risk_per_trade / float(signals.stop[row, column]),
        "position_max": plan.limits.position_max,
        **({} if record.decision.share == 1.0 else {"of_share_of_capital": record.decision.share}),
        "bound_by": said["bound_by"],
        "weight": said["weight"],
    }


def _order(record: TrackRecord, said: dict[str, Any]) -> dict[str, Any]:
    execution, account = record.world.plan.execution, record.world.plan.account
    if not said["weight"]:
        return {"order": None, "why": "no new position is recommended"}
    return {
        "order": "market",
        "fills": execution.entry.replace("_", " "),
        "shares": said["shares"],
        "notional": said["weight"] * account.start_capital,
        "equity": account.start_capital,
        "stop": said["stop"],
        "time_exit_bars": said["horizon_bars"],
    }
