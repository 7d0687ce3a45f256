from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tradewind.features.table import Features
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.base import Windows

HORIZONS = (1, 5)


def a_panel(bars: int = 700, symbols: int = 6, seed: int = 1, closes_only: bool = False) -> Panel:
    """A market with clustered volatility and fat tails; the last symbol starts late, one bar is missing."""
    rng = np.random.default_rng(seed)
    volatility = 0.012 * np.exp(_persistent(rng, bars)[:, None] * 0.5 + rng.normal(0, 0.2, symbols))
    market = rng.standard_t(5, (bars, 1)) * 0.6
    returns = volatility * (market + 0.6 * rng.standard_t(5, (bars, symbols)))
    close = 50 * np.exp(np.cumsum(returns, axis=0))
    spread = volatility * np.abs(rng.normal(0, 1, (2, bars, symbols))) * (0.0 if closes_only else 1.0)
    opened = close if closes_only else close * np.exp(-0.5 * returns)
    mask = np.ones((bars, symbols), dtype=bool)
    mask[: bars // 3, -1] = False
    mask[bars - 40, 0] = False
    fields = {
        "open": opened,
        "high": np.maximum(close, opened) * np.exp(spread[0]),
        "low": np.minimum(close, opened) * np.exp(-spread[1]),
        "close": close,
        "volume": rng.integers(10_000, 1_000_000, (bars, symbols)).astype(float),
    }
    fields = {name: np.where(mask, values, np.nan) for name, values in fields.items()}
    fields |= {"split": np.ones((bars, symbols)), "dividend": np.zeros((bars, symbols))}
    names = tuple(f"S{i}" for i in range(symbols))
    times = np.datetime64("2010-01-04T21:00:00", "us") + np.arange(bars) * np.timedelta64(1, "D")
    return Panel(times, names, names, fields, mask, mask.copy(), version=f"made-{seed}-{bars}")


def the_windows(panel: Panel, rows: np.ndarray, horizons: tuple[int, ...] = HORIZONS) -> Windows:
    """All symbols at these rows; features are a few lagged returns."""
    log_close = np.log(panel.close)
    returns = np.vstack([np.full((1, panel.shape[1]), np.nan), np.diff(log_close, axis=0)])
    forward = np.full((*panel.shape, len(horizons)), np.nan)
    for index, horizon in enumerate(horizons):
        forward[:-horizon, :, index] = log_close[horizon:] - log_close[:-horizon]
    end = np.arange(len(panel))[:, None, None] + np.asarray(horizons) + np.zeros((1, panel.shape[1], 1), int)
    labels = Labels(horizons, forward, np.full(panel.shape, 0.01), end, np.ones_like(forward))
    before = np.vstack([np.full((1, panel.shape[1]), np.nan), np.abs(returns[:-1])])
    values = np.stack([returns, np.abs(returns), before], axis=-1).astype(np.float32)
    features = Features(panel.times, panel.symbols, ("last_return", "last_size", "size_before"), values)
    grid_rows, grid_columns = np.meshgrid(rows, np.arange(panel.shape[1]), indexing="ij")
    return Windows(panel, features, labels, grid_rows.ravel(), grid_columns.ravel())


@pytest.fixture(scope="session")
def make_panel() -> Callable[..., Panel]:
    return a_panel


@pytest.fixture(scope="session")
def make_windows() -> Callable[..., Windows]:
    return the_windows


@pytest.fixture(scope="session")
def rescaled() -> Callable[[Panel, float], Panel]:
    def rescale(panel: Panel, factor: float) -> Panel:
        priced = {k: v * factor if k in ("open", "high", "low", "close") else v for k, v in panel.fields.items()}
        return replace(panel, fields=priced)

    return rescale


def _persistent(rng: np.random.Generator, bars: int) -> np.ndarray:
    level = np.zeros(bars)
    for t in range(1, bars):
        level[t] = 0.98 * level[t - 1] + 0.2 * rng.normal()
    return level
