"""Markets with known truth, and columns with known guilt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
Plant = Callable[[FloatArray, np.random.Generator], FloatArray]


def panel_of(rng: np.random.Generator, bars: int = 240, symbols: int = 4) -> Panel:
    """A small market with gaps, a late joiner, splits, dividends and a market-wide series."""
    shape = (bars, symbols)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0, 0.015, shape), axis=0))
    first = close * np.exp(rng.normal(0.0, 0.005, shape))
    high = np.maximum(first, close) * np.exp(np.abs(rng.normal(0.0, 0.004, shape)))
    low = np.minimum(first, close) * np.exp(-np.abs(rng.normal(0.0, 0.004, shape)))
    mask = rng.random(shape) > 0.02
    mask[: bars // 4, 1] = False
    split, dividend = np.ones(shape), np.zeros(shape)
    split[bars - 20, 0] = 2.0
    dividend[bars - 10, 2] = 0.4
    volume = np.round(np.exp(rng.normal(12.0, 0.5, shape)))
    prices = {"open": first, "high": high, "low": low, "close": close, "volume": volume}
    names = tuple(f"S{j}" for j in range(symbols))
    return Panel(
        times=np.datetime64("2015-01-01T21:00", "us") + np.arange(bars) * np.timedelta64(1, "D"),
        symbols=names,
        instruments=names,
        fields={**{k: np.where(mask, v, np.nan) for k, v in prices.items()}, "split": split, "dividend": dividend},
        mask=mask,
        member=np.ones(shape, dtype=bool),
        context={"vix": 20.0 + np.cumsum(rng.normal(0.0, 0.2, bars))},
    )


def walk(rng: np.random.Generator, bars: int) -> FloatArray:
    """A random walk with Student-t steps and slow volatility: prices that nobody can forecast."""
    slow = np.exp(0.3 * np.cumsum(rng.normal(0.0, 0.05, bars)))
    steps = 0.01 * np.clip(slow, 0.3, 3.0) * rng.standard_t(4, bars) / np.sqrt(2.0)
    return 100.0 * np.exp(np.cumsum(steps))


def table_of(price: FloatArray, columns: dict[str, FloatArray], start: str = "2010-01-01") -> pl.DataFrame:
    """A user's table: date, close and columns."""
    dates = np.datetime64(start) + np.arange(len(price))
    return pl.DataFrame({"date": dates, "close": price, **columns})


def ahead(values: FloatArray, bars: int) -> FloatArray:
    """Values of ``bars`` rows later; NaN at the end."""
    return np.r_[values[bars:], np.full(bars, np.nan)]


def behind(values: FloatArray, bars: int) -> FloatArray:
    """Values of ``bars`` rows earlier; NaN at the start."""
    return np.r_[np.full(bars, np.nan), values[:-bars]]


def ema(values: FloatArray, span: int) -> FloatArray:
    """An exponential moving average of the past."""
    out, alpha = values.copy(), 2.0 / (span + 1.0)
    for t in range(1, len(values)):
        out[t] = alpha * values[t] + (1.0 - alpha) * out[t - 1]
    return out


def rolling(values: FloatArray, bars: int, of: Callable[..., FloatArray]) -> FloatArray:
    """A statistic of the last ``bars`` rows; NaN while there are fewer."""
    windows = np.lib.stride_tricks.sliding_window_view(values, bars)
    return np.r_[np.full(bars - 1, np.nan), of(windows, axis=1)]


def centred(values: FloatArray, half: int, of: Callable[..., FloatArray]) -> FloatArray:
    """A statistic of ``half`` rows before to ``half`` rows after."""
    return ahead(rolling(values, 2 * half + 1, of), half)


def returns_of(price: FloatArray) -> FloatArray:
    """Log returns; the first is 0."""
    return np.r_[0.0, np.diff(np.log(price))]


def _barrier(price: FloatArray, _rng: np.random.Generator) -> FloatArray:
    """Which of two barriers is touched first within ten bars: a label taken for a feature."""
    out = np.zeros(len(price))
    for t in range(len(price)):
        path = np.log(price[t + 1 : t + 11] / price[t])
        touched = np.flatnonzero(np.abs(path) > 0.02)
        out[t] = np.sign(path[touched[0]]) if touched.size else 0.0
    return out


def _filled_back(price: FloatArray, _rng: np.random.Generator) -> FloatArray:
    """The close of each week, written on every day of the week."""
    last = np.minimum((np.arange(len(price)) // 5) * 5 + 4, len(price) - 1)
    return price[last]


def _noisy(price: FloatArray, rng: np.random.Generator) -> FloatArray:
    step = ahead(returns_of(price), 1)
    return step + rng.normal(0.0, np.nanstd(step), len(step))


#: Name -> (how the column is made, leads that may be named).
FUTURE_PLANTS: dict[str, tuple[Plant, range]] = {
    "next return": (lambda p, _: ahead(returns_of(p), 1), range(1, 2)),
    "return three bars ahead": (lambda p, _: ahead(returns_of(p), 3), range(3, 4)),
    "next return under as much noise": (_noisy, range(1, 2)),
    "sign of the next return": (lambda p, _: np.sign(ahead(returns_of(p), 1)), range(1, 2)),
    "rank of the next return": (lambda p, _: np.argsort(np.argsort(ahead(returns_of(p), 1))) * 1.0, range(1, 2)),
    "price two bars ahead": (lambda p, _: ahead(p, 2), range(1, 3)),
    "price ahead after a whole-sample scaler": (lambda p, _: (ahead(p, 1) - p.mean()) / p.std(), range(1, 2)),
    "return over the next ten bars": (lambda p, _: ahead(p, 10) / p - 1.0, range(5, 16)),
    "momentum of rows sorted newest first": (lambda p, _: p / ahead(p, 1) - 1.0, range(1, 2)),
    "centred mean of the price": (lambda p, _: centred(p, 5, np.mean), range(1, 11)),
    "centred mean of returns": (lambda p, _: centred(returns_of(p), 3, np.mean), range(1, 6)),
    "centred median": (lambda p, _: centred(p, 4, np.median), range(1, 6)),
    "backward EMA of 10": (lambda p, _: ema(p[::-1], 10)[::-1], range(1, 21)),
    "backward EMA of 50": (lambda p, _: ema(p[::-1], 50)[::-1], range(1, 61)),
    "chikou span": (lambda p, _: ahead(p, 26), range(5, 61)),
    "highest close of the next five bars": (lambda p, _: ahead(rolling(p, 5, np.max), 5), range(1, 11)),
    "close of the week, filled back": (_filled_back, range(1, 6)),
    "first barrier touched": (_barrier, range(1, 16)),
    "centred volatility": (lambda p, _: centred(returns_of(p), 10, np.std), range(1, 21)),
    "size of the next return": (lambda p, _: np.abs(ahead(returns_of(p), 1)), range(1, 2)),
}

CLEAN_PLANTS: dict[str, Plant] = {
    "return": lambda p, _: returns_of(p),
    "sign of the return": lambda p, _: np.sign(returns_of(p)),
    "previous return": lambda p, _: behind(returns_of(p), 1),
    "mean of 20": lambda p, _: rolling(p, 20, np.mean),
    "mean of 5 over mean of 50": lambda p, _: rolling(p, 5, np.mean) / rolling(p, 50, np.mean),
    "EMA of 10": lambda p, _: ema(p, 10),
    "EMA of 200": lambda p, _: ema(p, 200),
    "momentum of 20": lambda p, _: p / behind(p, 20) - 1.0,
    "volatility of 21": lambda p, _: rolling(returns_of(p), 21, np.std),
    "highest of 60": lambda p, _: rolling(p, 60, np.max),
    "where in the range of 14": lambda p, _: (
        (p - rolling(p, 14, np.min)) / (rolling(p, 14, np.max) - rolling(p, 14, np.min))
    ),
    "whole-sample scaler of the price": lambda p, _: (p - p.mean()) / p.std(),
    "another random walk": lambda p, rng: walk(rng, len(p)),
    "noise": lambda p, rng: rng.standard_normal(len(p)),
    "Cauchy noise": lambda p, rng: rng.standard_cauchy(len(p)),
    "slow noise": lambda p, rng: ema(rng.standard_normal(len(p)), 100),
    "trend": lambda p, _: np.arange(len(p)) * 1.0,
    "weekday": lambda p, _: np.arange(len(p)) % 5 * 1.0,
    "rare pattern": lambda p, rng: (rng.random(len(p)) < 0.01) * 1.0,
    "drawdown": lambda p, _: p / np.maximum.accumulate(p) - 1.0,
}
