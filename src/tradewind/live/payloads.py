"""What a running corridor shows: bars, fans, recommendations, as JSON says them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Action, Signals
from tradewind.evaluation.recommend import Decision, recommendation
from tradewind.live.served import Timeline
from tradewind.live.trader import iso
from tradewind.market.calendar import calendar, instant
from tradewind.market.panel import Panel
from tradewind.market.tiers import tier_of
from tradewind.models.forecast import Forecast

AHEAD = timedelta(days=60)
"""How far ahead closes are looked for that horizons end at."""


def bar(panel: Panel, row: int, column: int) -> dict[str, Any]:
    """Return one bar of a symbol."""
    fields = ("open", "high", "low", "close", "volume")
    return {
        "symbol": panel.symbols[column],
        "time": iso(panel.times[row]),
        **{name: finite(panel.fields[name][row, column]) for name in fields},
    }


def horizon_ends(panel: Panel, row: int, horizons: tuple[int, ...]) -> list[str | None]:
    """Return the close at which each horizon ends, by the bars that there are and then by the exchange's calendar."""
    later = panel.times[row + 1 :]
    missing = max(horizons) - len(later)
    if missing > 0:
        later = np.concatenate([later, _planned(panel.timeframe, panel.times[-1])[:missing]])
    return [iso(later[h - 1]) if h <= len(later) else None for h in horizons]


@lru_cache(maxsize=8)
def _planned(timeframe: str, after: np.datetime64) -> NDArray[np.datetime64]:
    """Return the closes that the exchange's calendar has after one, as far as is looked ahead."""
    last = after.astype("datetime64[us]").item().replace(tzinfo=UTC)
    return calendar("XNYS").bar_closes(timeframe, last + timedelta(microseconds=1), last + AHEAD)


def next_close(panel: Panel, now: datetime) -> str | None:
    """Return the first close by the exchange's calendar after the newest bar that is not before ``now``."""
    planned = _planned(panel.timeframe, panel.times[-1])
    later = planned[planned >= instant(now)]
    return iso(later[0]) if len(later) else None


def fan(forecast: Forecast, row: int, column: int, close: float, ends: list[str | None]) -> dict[str, Any]:
    """Return a forecast in prices, by horizon."""
    said = {}
    fans = (close * np.exp(forecast.quantiles[row, column])).round(6).tolist()
    for horizon, end, prices in zip(forecast.horizons, ends, fans, strict=True):
        if all(map(math.isfinite, prices)):
            said[str(horizon)] = {"time": end, "levels": forecast.levels, "prices": prices}
    return said


def forecast(
    panel: Panel,
    row: int,
    column: int,
    calibrated: Mapping[str, Forecast],
    combined: Forecast | None,
    serving: Mapping[str, Timeline],
    signals: Signals | None,
) -> dict[str, Any]:
    """Return everything that was forecast of a symbol at one close."""
    close = float(panel.close[row, column])
    horizons = next(iter(calibrated.values())).horizons
    ends = horizon_ends(panel, row, horizons)
    models = {}
    for name, one in calibrated.items():
        artefact = _artefact_at(serving[name], panel.times[row])
        models[name] = {
            "model_id": artefact,
            "version": one.version or None,
            "calibrated": True,
            "horizons": fan(one, row, column, close, ends),
            "p_up": _p_up(signals, name, row, column),
        }
    whole = None
    if combined is not None:
        whole = {
            "model_id": None,
            "version": combined.version or None,
            "calibrated": True,
            "horizons": fan(combined, row, column, close, ends),
            "p_up": None if signals is None else finite(signals.odds.calibrated.long[row, column]),
        }
    return {
        "symbol": panel.symbols[column],
        "time": iso(panel.times[row]),
        "close": finite(close),
        "models": models,
        "combined": whole,
    }


def _artefact_at(since: Timeline, at: np.datetime64) -> str:
    began = [one for start, one in since if start <= at] or [since[0][1]]
    return began[-1].artefact.id


def _p_up(signals: Signals | None, name: str, row: int, column: int) -> float | None:
    if signals is None or name not in signals.agreement:
        return None
    return finite(signals.agreement[name].long[row, column])


def signal(decision: Decision, row: int, column: int) -> dict[str, Any]:
    """Return the recommendation for a symbol, with what each model would have done by itself."""
    said = recommendation(decision, row, column)
    least = decision.belief.settings.confidence_min
    alone = {}
    for name, sides in said.pop("agreement", {}).items():
        long, short = sides["long"], sides["short"]
        action, chance = "HOLD", long
        if long is not None and long >= least and long >= (short or 0.0):
            action = "BUY"
        elif short is not None and short >= least:
            action, chance = "SELL", short
        alone[name] = {"action": action, "probability": chance}
    said.pop("disagreement", None)
    return {**said, "agreement": alone}


def watched(
    panel: Panel, row: int, column: int, before: NDArray[np.float64], signals: Signals | None
) -> dict[str, Any]:
    """Return one line of the watch-list; ``before`` are the closes of the session before ``(N,)``."""
    price = finite(panel.close[row, column])
    known = finite(before[column])
    action = None if signals is None else Action(int(signals.action[row, column])).name
    return {
        "symbol": panel.symbols[column],
        "sector": panel.sectors[column],
        "tier": tier_of(price) if price is not None else None,
        "price": price,
        "change": price / known - 1 if price is not None and known else None,
        "action": action,
        "confidence": None if signals is None else finite(signals.confidence[row, column]),
        "time": iso(panel.times[row]),
    }


def finite(value: Any) -> float | None:
    """Return a number as JSON says it: None where there is none."""
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def stamp(moment: datetime | None) -> str | None:
    """Return an instant as JSON says it."""
    return None if moment is None else moment.astimezone(UTC).isoformat()
