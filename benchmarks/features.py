"""A hundred features of 1,500 symbols over 2,670 days: against a TA-Lib loop and pandas-ta-classic.

All compute the same hundred features (``_features_set.py``) and write them as float32 into memory that was touched
before, each in its own natural layout. TA-Lib's loop runs on one thread, pandas-ta too (it cannot do otherwise);
Tradewind splits symbols over two, and ``one_thread`` gives the ratio without that. Rounds of TA-Lib and Tradewind
alternate and the best of each counts; where other work shares the machine, the ratio of CPU seconds is the steadier
one. pandas-ta is timed on some of the symbols and scaled up: its loop is linear in them. ``differs_from_talib`` names
the features whose newest values are not TA-Lib's, running totals aside.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._features_set import SETS, labels
from benchmarks.peers import run_peer
from tradewind.features import FeatureEngine
from tradewind.features import expression as e
from tradewind.features.expression import CLOSE, HIGH, LOW, OPEN, TRUE_RANGE, TYPICAL, VOLUME, Expr
from tradewind.features.families.momentum import relative_strength, stochastic
from tradewind.market.panel import Panel

AIMS = {"talib_loop": 1.5, "pandas_ta": 20.0}
SYMBOLS, BARS = 1500, 2670
THREADS = 2
ROUNDS = 3
PANDAS_TA_SYMBOLS = 30
RUNNING_TOTALS = ("obv[].0", "ad[].0")
"""These depend on where they start, and TA-Lib starts one bar earlier."""


def market(bars: int, symbols: int, seed: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(r.normal(0, 0.015, (bars, symbols)), axis=0))
    opens = np.vstack([close[:1], close[:-1]]) * np.exp(0.006 * r.normal(size=(bars, symbols)))
    high = np.maximum(opens, close) * np.exp(np.abs(r.normal(0, 0.006, (bars, symbols))))
    low = np.minimum(opens, close) * np.exp(-np.abs(r.normal(0, 0.006, (bars, symbols))))
    volume = np.round(1e6 * np.exp(r.normal(0, 0.5, (bars, symbols))))
    return {"open": opens, "high": high, "low": low, "close": close, "volume": volume}


def as_panel(data: dict[str, np.ndarray]) -> Panel:
    shape = data["close"].shape
    names = tuple(f"S{i:04d}" for i in range(shape[1]))
    fields = data | {"split": np.ones(shape), "dividend": np.zeros(shape)}
    days = np.datetime64("2005-01-03T21:00", "us") + np.arange(shape[0]) * np.timedelta64(1, "D")
    everywhere = np.ones(shape, dtype=bool)
    return Panel(days, names, names, fields, everywhere, everywhere)


def bands(n: int) -> list[Expr]:
    middle, width = e.mean(CLOSE, n), 2.0 * e.deviation(CLOSE, n)
    return [middle + width, middle - width]


def macd(fast: int, slow: int, signal: int) -> list[Expr]:
    line = e.ema(CLOSE, fast) - e.ema(CLOSE, slow)
    return [line, e.ema(line, signal), line - e.ema(line, signal)]


def slow_stochastic(n: int, slow: int, signal: int) -> list[Expr]:
    k = e.mean(stochastic(HIGH, LOW, CLOSE, n), slow)
    return [k, e.mean(k, signal)]


def stochastic_rsi(n: int, k: int, d: int) -> list[Expr]:
    rsi = relative_strength(CLOSE, n)
    fast = stochastic(rsi, rsi, rsi, k)
    return [fast, e.mean(fast, d)]


def directional(n: int) -> list[Expr]:
    up, down, span = e.delta(HIGH), -e.delta(LOW), e.wilder(TRUE_RANGE, n)
    plus = 100.0 * e.wilder(e.where(up - down, e.maximum(up, 0.0), 0.0), n) / span
    minus = 100.0 * e.wilder(e.where(down - up, e.maximum(down, 0.0), 0.0), n) / span
    return [e.wilder(100.0 * abs(plus - minus) / (plus + minus), n), plus, minus]


def aroon(n: int) -> list[Expr]:
    down = 100.0 - e.bars_since_lowest(LOW, n + 1) * (100.0 / n)
    up = 100.0 - e.bars_since_highest(HIGH, n + 1) * (100.0 / n)
    return [down, up, up - down]


def money_flow(n: int) -> list[Expr]:
    move, flow = e.sign(e.delta(TYPICAL)), TYPICAL * VOLUME
    into, out = (e.total(e.maximum(m, 0.0) * flow, n) for m in (move, -move))
    return [100.0 * into / (into + out)]


def trix(n: int) -> list[Expr]:
    smooth = e.ema(e.ema(e.ema(CLOSE, n), n), n)
    return [100.0 * (smooth / e.lag(smooth, 1) - 1.0)]


def ultimate() -> list[Expr]:
    buying = CLOSE - e.minimum(LOW, e.lag(CLOSE, 1))
    a, b, c = (e.total(buying, n) / e.total(TRUE_RANGE, n) for n in (7, 14, 28))
    return [100.0 * (4.0 * a + 2.0 * b + c) / 7.0]


OURS = {
    "sma": lambda n: [e.mean(CLOSE, n)],
    "ema": lambda n: [e.ema(CLOSE, n)],
    "stdev": lambda n: [e.deviation(CLOSE, n)],
    "donchian": lambda n: [e.highest(HIGH, n), e.lowest(LOW, n)],
    "roc": lambda n: [100.0 * (CLOSE / e.lag(CLOSE, n) - 1.0)],
    "mom": lambda n: [e.delta(CLOSE, n)],
    "rsi": lambda n: [relative_strength(CLOSE, n)],
    "cci": lambda n: [(TYPICAL - e.mean(TYPICAL, n)) / (0.015 * e.mean_absolute_deviation(TYPICAL, n))],
    "willr": lambda n: [stochastic(HIGH, LOW, CLOSE, n) - 100.0],
    "mfi": money_flow,
    "atr": lambda n: [e.wilder(TRUE_RANGE, n)],
    "natr": lambda n: [100.0 * e.wilder(TRUE_RANGE, n) / CLOSE],
    "bbands": bands,
    "macd": macd,
    "stoch": slow_stochastic,
    "stochrsi": stochastic_rsi,
    "adx": directional,
    "aroon": aroon,
    "trix": trix,
    "linreg_slope": lambda n: [e.beta(CLOSE, e.age(CLOSE), n)],
    "psar": lambda: [e.parabolic_stop(HIGH, LOW, 0.02, 0.2)],
    "obv": lambda: [e.cumulative(e.sign(e.delta(CLOSE)) * VOLUME)],
    "ad": lambda: [e.cumulative((2.0 * CLOSE - HIGH - LOW) / (HIGH - LOW) * VOLUME)],
    "ultosc": ultimate,
    "bop": lambda: [(CLOSE - OPEN) / (HIGH - LOW)],
}


def expressions() -> dict[str, Expr]:
    found = [x for kind, sets in SETS for params in sets for x in OURS[kind](*params)]
    return dict(zip(labels(), found, strict=True))


def timed(engine: FeatureEngine, panel: Panel, out: np.ndarray) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of one pass over the whole history."""
    start, busy = time.perf_counter(), time.process_time()
    engine.step(engine.initial_state(panel.shape[1]), panel, out=out)
    return time.perf_counter() - start, time.process_time() - busy


def newest_bar(panel: Panel) -> float:
    """Return microseconds to bring all hundred features of all symbols to one new bar."""
    engine = FeatureEngine.of(expressions(), threads=1)
    state, _ = engine.step(engine.initial_state(panel.shape[1]), panel.rows(0, 300))
    bars = [panel.rows(t, t + 1) for t in range(300, 360)]
    seconds = []
    for bar in bars:
        start = time.perf_counter()
        engine.step(state, bar)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) * 1e6


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Return the features whose newest values differ from TA-Lib's by more than 1e-4 of their spread."""
    gap = np.abs(ours - theirs).max(axis=0) / (np.abs(theirs).max(axis=0) + 1e-9)
    return {n: float(f"{g:.1e}") for n, g in zip(labels(), gap, strict=True) if g > 1e-4 and n not in RUNNING_TOTALS}


def run() -> dict[str, Any]:
    data = market(BARS, SYMBOLS, seed=7)
    panel = as_panel(data)
    two = FeatureEngine.of(expressions(), threads=THREADS)
    one = FeatureEngine.of(expressions(), threads=1)
    out = np.zeros((BARS, SYMBOLS, len(two.names)), dtype=np.float32)
    timed(two, panel.rows(0, 300), out[:300])  # compile
    ours, alone, talib = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, values in data.items():
            np.save(Path(folder) / f"{name}.npy", np.ascontiguousarray(values.T))
        for _ in range(ROUNDS):
            talib.append(run_peer("features", "features_talib.py", folder, "1"))
            alone.append(timed(one, panel, out))
            ours.append(timed(two, panel, out))
        pandas_ta = run_peer("features", "features_pandas_ta.py", folder, str(PANDAS_TA_SYMBOLS))
        differences = largest_difference(out[-1], np.load(Path(folder) / "talib_last.npy"))
    best, best_alone, best_talib = min(ours)[0], min(alone)[0], min(t["seconds"] for t in talib)
    cpu_alone, cpu_talib = min(c for _, c in alone), min(t["cpu_seconds"] for t in talib)
    all_pandas_ta = pandas_ta["seconds"] * SYMBOLS / pandas_ta["symbols"]
    size = BARS * SYMBOLS * len(two.names)
    ratios = {"talib_loop": best_talib / best, "pandas_ta": all_pandas_ta / best}
    return {
        "name": "features",
        "ratios": {k: round(v, 2) for k, v in ratios.items()},
        "figures": {
            "threads": {"tradewind": THREADS, "talib_loop": 1, "pandas_ta": 1},
            "one_thread": {
                "talib_loop": round(best_talib / best_alone, 2),
                "pandas_ta": round(all_pandas_ta / best_alone, 2),
                "talib_loop_by_cpu_seconds": round(cpu_talib / cpu_alone, 2),
            },
            "features": len(two.names),
            "symbols": SYMBOLS,
            "bars": BARS,
            "seconds": round(best, 2),
            "seconds_one_thread": round(best_alone, 2),
            "seconds_talib_loop": round(best_talib, 2),
            "seconds_pandas_ta_scaled_from": {
                "symbols": pandas_ta["symbols"],
                "seconds": round(pandas_ta["seconds"], 2),
                "all_symbols": round(all_pandas_ta, 1),
            },
            "million_row_features_per_second": round(size / best / 1e6, 1),
            "newest_bar_all_symbols_us": round(newest_bar(panel), 1),
            "differs_from_talib": differences,
            "versions": {"talib": talib[0]["version"], "pandas_ta_classic": pandas_ta["version"]},
        },
        "aims": AIMS,
        "met": all(ratios[peer] >= aim for peer, aim in AIMS.items()),
    }
