"""How often the leak auditor accuses clean columns of a table, and how often it catches guilty ones.

Clean: every feature of ours on random walks and on real stocks (where the open data lies beside the project), and
published indicator tables. Guilty: columns that know the next return under noise of several sizes, that know it in
a part of the sample only, and a set of classical leaks, each on random walks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.audit import FrameAudit, audit_frame
from tradewind.features import compute, registry
from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
STRENGTHS = (0.1, 0.2, 0.3, 0.5, 0.9)
PARTS = (0.05, 0.1, 0.2, 0.5)
LENGTHS = (250, 600, 1_500)
REPEATS = 15
AIMS = {"alarms_per_1000_clean_columns": 0.0, "caught_strong": 1.0, "caught_in_a_tenth": 0.95, "caught_classical": 1.0}


def run() -> dict[str, Any]:
    started = time.perf_counter()
    rng = np.random.default_rng(7)
    clean = _clean_study(rng)
    strength, part = _strength_study(rng), _part_study(rng)
    classical = _classical_study(rng)
    figures = {
        **clean,
        "caught_by_strength": strength,
        "caught_by_part_of_sample": part,
        "caught_classical": classical,
        "seconds_2000_by_84": _speed(rng),
        "seconds": time.perf_counter() - started,
    }
    reached = {
        "alarms_per_1000_clean_columns": figures["alarms_per_1000_clean_columns"] <= 0.0,
        "caught_strong": min(v for k, v in strength.items() if float(k) >= 0.3) >= 1.0,
        "caught_in_a_tenth": min(v for k, v in part.items() if float(k) >= 0.1) >= 0.95,
        "caught_classical": min(classical.values()) >= 1.0,
    }
    return {"name": "audit", "ratios": {}, "figures": figures, "aims": AIMS, "met": all(reached.values())}


def _clean_study(rng: np.random.Generator) -> dict[str, Any]:
    tables = {f"walk {i}": _table(_walks(rng, LENGTHS[i % 3]), 0) for i in range(6)}
    tables.update(_real_tables(rng))
    accused, columns = {}, 0
    for name, table in tables.items():
        audit = audit_frame(table, time="time", price="close")
        columns += len(audit.examined)
        accused.update({f"{name}: {leak.column}": round(leak.effect, 3) for leak in audit.leaks})
    for name in ("NASDAQ", "DJI"):
        path = DATA / f"papers/cnnpred_{name}.parquet"
        if path.exists():
            audit = audit_frame(path, time="Date", price="Close")
            columns += len(audit.examined)
            accused.update({f"cnnpred {name}: {leak.column}": round(leak.effect, 3) for leak in audit.leaks})
    return {
        "clean_tables": len(tables),
        "clean_columns": columns,
        "accused": accused,
        "alarms_per_1000_clean_columns": 1_000.0 * len(accused) / max(columns, 1),
    }


def _real_tables(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    path = DATA / "daily/sp500_ohlcv_2005_2016.parquet"
    if not path.exists():
        return {}
    bars = pl.read_parquet(path)
    names = sorted(bars["ticker"].unique().to_list())
    chosen = [str(name) for name in rng.choice(names, 6, replace=False)]
    return {
        name: _table(_panel_of(bars.filter(pl.col("ticker") == name).sort("date").tail(LENGTHS[i % 3])), 0)
        for i, name in enumerate(chosen)
    }


def _panel_of(bars: pl.DataFrame) -> Panel:
    times = bars["date"].cast(pl.Datetime("us")).to_numpy() + np.timedelta64(21, "h")
    fields = {
        name: bars[name].cast(pl.Float64).to_numpy()[:, None] for name in ("open", "high", "low", "close", "volume")
    }
    fields["split"] = bars["split_coefficient"].cast(pl.Float64).to_numpy()[:, None]
    fields["dividend"] = bars["dividend_amount"].cast(pl.Float64).to_numpy()[:, None]
    return _dense(times, fields)


def _walks(rng: np.random.Generator, bars: int) -> Panel:
    close = _walk(rng, bars)[:, None]
    first = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 0.003, close.shape))
    wide = np.abs(rng.normal(0.0, 0.004, close.shape))
    fields = {
        "open": first,
        "high": np.maximum(first, close) * np.exp(wide),
        "low": np.minimum(first, close) * np.exp(-wide),
        "close": close,
        "volume": np.round(np.exp(rng.normal(12.0, 0.5, close.shape))),
        "split": np.ones(close.shape),
        "dividend": np.zeros(close.shape),
    }
    return _dense(np.datetime64("2010-01-01T21:00", "us") + np.arange(bars) * np.timedelta64(1, "D"), fields)


def _dense(times: NDArray[np.datetime64], fields: dict[str, FloatArray]) -> Panel:
    everywhere = np.ones(fields["close"].shape, dtype=bool)
    return Panel(times.astype("datetime64[us]"), ("X",), ("X",), fields, everywhere, everywhere)


def _table(panel: Panel, column: int) -> pl.DataFrame:
    features = compute(panel, registry.select(("all",)))
    values = {name: features.values[:, column, j].astype(np.float64) for j, name in enumerate(features.names)}
    values.pop("close", None)
    return pl.DataFrame({"time": panel.times, "close": panel.adjusted("close")[:, column], **values})


def _walk(rng: np.random.Generator, bars: int) -> FloatArray:
    slow = np.clip(np.exp(0.3 * np.cumsum(rng.normal(0.0, 0.05, bars))), 0.3, 3.0)
    return 100.0 * np.exp(np.cumsum(0.01 * slow * rng.standard_t(4, bars) / np.sqrt(2.0)))


def _next_return(price: FloatArray) -> FloatArray:
    return np.r_[np.diff(np.log(price)), np.nan]


def _audit(price: FloatArray, columns: dict[str, FloatArray]) -> FrameAudit:
    dates = np.datetime64("2010-01-01") + np.arange(len(price))
    return audit_frame(pl.DataFrame({"time": dates, "close": price, **columns}), time="time", price="close")


def _strength_study(rng: np.random.Generator) -> dict[str, float]:
    """Share caught of columns whose correlation with the next return, squared, is the strength."""
    price = _walk(rng, 1_000)
    step = _next_return(price)
    step = step / np.nanstd(step)
    columns = {
        f"{s}:{i}": np.sqrt(s) * step + np.sqrt(1.0 - s) * rng.standard_normal(len(step))
        for s in STRENGTHS
        for i in range(REPEATS)
    }
    return _caught(_audit(price, columns), STRENGTHS)


def _part_study(rng: np.random.Generator) -> dict[str, float]:
    """Share caught of columns that are the next return in one part of the sample and noise elsewhere."""
    price = _walk(rng, 1_500)
    step = _next_return(price)
    columns = {}
    for part in PARTS:
        for i in range(REPEATS):
            column = rng.normal(0.0, np.nanstd(step), len(step))
            length = int(part * len(step))
            first = int(rng.integers(0, len(step) - length))
            column[first : first + length] = step[first : first + length]
            columns[f"{part}:{i}"] = column
    return _caught(_audit(price, columns), PARTS)


def _caught(audit: FrameAudit, levels: tuple[float, ...]) -> dict[str, float]:
    guilty = [leak.column for leak in audit.leaks if not leak.together_with]
    return {str(level): sum(name.startswith(f"{level}:") for name in guilty) / REPEATS for level in levels}


CLASSICAL: dict[str, Callable[[FloatArray], FloatArray]] = {
    "shift": lambda p: np.r_[p[1:], np.nan],
    "momentum_newest_first": lambda p: np.r_[p[:-3] / p[3:] - 1.0, np.full(3, np.nan)],
    "centred_mean": lambda p: np.convolve(p, np.ones(9) / 9.0, mode="same"),
    "backward_ema_20": lambda p: _ema(p[::-1], 20)[::-1],
    "backward_ema_100": lambda p: _ema(p[::-1], 100)[::-1],
    "week_close_filled_back": lambda p: p[np.minimum(np.arange(len(p)) // 5 * 5 + 4, len(p) - 1)],
    "direction_of_5_bars": lambda p: np.sign(np.r_[p[5:] - p[:-5], np.full(5, np.nan)]),
}


def _ema(values: FloatArray, span: int) -> FloatArray:
    out, alpha = values.copy(), 2.0 / (span + 1.0)
    for t in range(1, len(values)):
        out[t] = alpha * values[t] + (1.0 - alpha) * out[t - 1]
    return out


def _classical_study(rng: np.random.Generator) -> dict[str, float]:
    caught = dict.fromkeys(CLASSICAL, 0)
    for _ in range(REPEATS):
        price = _walk(rng, 1_000)
        for leak in _audit(price, {name: make(price) for name, make in CLASSICAL.items()}).leaks:
            caught[leak.column] += 1
    return {name: count / REPEATS for name, count in caught.items()}


def _speed(rng: np.random.Generator) -> float:
    price = _walk(rng, 2_000)
    columns = {f"x{i}": np.cumsum(rng.standard_normal(2_000)) for i in range(84)}
    started = time.perf_counter()
    _audit(price, columns)
    return time.perf_counter() - started
