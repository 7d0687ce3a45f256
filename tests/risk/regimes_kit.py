"""Markets whose regimes are known, for the tests of those who have to find them."""

from __future__ import annotations

import numpy as np

from tradewind.market.panel import Panel
from tradewind.risk.regimes import Observations, RegimesSection

DAILY_MEAN = np.array([0.0012, -0.0015, -0.0005, 0.0])
DAILY_DEVIATION = np.array([0.007, 0.010, 0.030, 0.004])
"""Of bull, bear, volatile and range, in the order of the labels."""

QUICK = RegimesSection(use=True, look_back_sessions=120, window_sessions=300, refit_sessions=60, starts=2)


def days(count: int, first: str = "2010-01-04T21:00:00") -> np.ndarray:
    return np.datetime64(first, "us") + np.arange(count) * np.timedelta64(1, "D")


def a_path(seed: int, sessions: int, stay: float = 0.985) -> np.ndarray:
    """Return the true regimes, each followed by any other."""
    rng = np.random.default_rng(seed)
    path = np.zeros(sessions, dtype=int)
    for t in range(1, sessions):
        path[t] = path[t - 1] if rng.random() < stay else (path[t - 1] + rng.integers(1, 4)) % 4
    return path


def a_market(seed: int, sessions: int, stay: float = 0.985) -> tuple[np.ndarray, Observations]:
    """Return true regimes, and observations that are independent given them: a hidden Markov model indeed."""
    path = a_path(seed, sessions, stay)
    rng = np.random.default_rng(1000 + seed)
    mean, deviation = DAILY_MEAN[path], DAILY_DEVIATION[path]
    returns = mean + deviation * rng.standard_normal(sessions)
    volatility = np.log(deviation) + 0.3 * rng.standard_normal(sessions)
    momentum = 21 * mean + 0.3 * np.sqrt(21) * deviation * rng.standard_normal(sessions)
    values = np.column_stack([returns, volatility, momentum])
    price = 100 * np.exp(np.cumsum(returns))
    return path, Observations(days(sessions), ("return", "volatility", "momentum"), values, price)


def a_panel(seed: int, sessions: int, symbols: int = 4) -> Panel:
    """Return daily bars with an index, VIX and two foreign indices, all driven by regimes."""
    rng = np.random.default_rng(seed)
    path = a_path(seed, sessions, stay=0.97)
    market = DAILY_MEAN[path] + DAILY_DEVIATION[path] * rng.standard_normal(sessions)
    own = market[:, None] + 0.01 * rng.standard_normal((sessions, symbols))
    close = 50.0 * np.exp(np.cumsum(own, axis=0))
    context = {"index": 1000 * np.exp(np.cumsum(market)), "vix": 1600 * DAILY_DEVIATION[path] + rng.random(sessions)}
    for name in ("ftse", "all_ordinaries"):
        context[name] = 5000 * np.exp(np.cumsum(0.6 * market + 0.005 * rng.standard_normal(sessions)))
    volume = np.exp(13 + rng.standard_normal((sessions, symbols)))
    return bars(days(sessions), close, volume, context)


def bars(
    times: np.ndarray, close: np.ndarray, volume: np.ndarray, context: dict[str, np.ndarray], timeframe: str = "1d"
) -> Panel:
    mask = np.isfinite(close)
    names = tuple(f"S{i}" for i in range(close.shape[1]))
    fields = {name: close.copy() for name in ("open", "high", "low", "close")}
    fields |= {"volume": volume, "split": np.ones(close.shape), "dividend": np.zeros(close.shape)}
    return Panel(times, names, names, fields, mask, np.ones(close.shape, dtype=bool), context, timeframe=timeframe)
