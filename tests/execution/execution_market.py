"""Small markets, typed by hand, for the tests of the execution room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tradewind.execution import AccountSection, ExecutionSection, TradePlan
from tradewind.market.panel import Panel

NAN = float("nan")
Candle = tuple[float, ...]
HALT: Candle = (NAN, NAN, NAN, NAN)


def panel_of(
    *symbols: Sequence[Candle],
    volume: float | Sequence[Sequence[float]] = 1e9,
    splits: dict[tuple[int, int], float] | None = None,
    dividends: dict[tuple[int, int], float] | None = None,
) -> Panel:
    """Each argument is one symbol: a list of (open, high, low, close); days follow each other on the calendar."""
    bars = np.array(symbols, dtype=float).transpose(1, 0, 2)
    shape = bars.shape[:2]
    fields = {name: np.ascontiguousarray(bars[:, :, k]) for k, name in enumerate(("open", "high", "low", "close"))}
    mask = ~np.isnan(fields["open"])
    fields["volume"] = np.where(mask, np.broadcast_to(np.asarray(volume, dtype=float), shape), NAN)
    fields["split"], fields["dividend"] = np.ones(shape), np.zeros(shape)
    for place, ratio in (splits or {}).items():
        fields["split"][place] = ratio
    for place, amount in (dividends or {}).items():
        fields["dividend"][place] = amount
    return panel_from(fields, mask)


def panel_from(fields: dict[str, np.ndarray], mask: np.ndarray) -> Panel:
    names = tuple(f"S{i}" for i in range(mask.shape[1]))
    times = np.datetime64("2020-01-01T21:00", "us") + np.arange(len(mask)) * np.timedelta64(1, "D")
    return Panel(times, names, names, fields, mask, mask)


def flat(price: float, bars: int) -> list[Candle]:
    return [(price, price, price, price)] * bars


def plan_of(
    panel: Panel, weights: dict[int | tuple[int, int], float], delay_bars: int = 0, **bracket: float | list[float]
) -> TradePlan:
    """Weights by row (of the first symbol) or (row, column); brackets (one value, or one a row) stand where they do."""
    weight = np.full(panel.shape, NAN)
    for place, value in weights.items():
        weight[place if isinstance(place, tuple) else (place, 0)] = value
    spread = {k: np.where(np.isnan(weight), NAN, np.reshape(v, (-1, 1))) for k, v in bracket.items()}
    return TradePlan(weight, delay_bars=delay_bars, **spread)


FREE = ExecutionSection.free(fractional_shares=False)
THOUSAND = AccountSection(start_capital=1000.0)
