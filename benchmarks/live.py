"""The running corridor: from a bar's arrival to its recommendations on a WebSocket, and what running it costs.

A bar of 20 (and of 200) symbols arrives; features are brought up to date, an LSTM and a Transformer answer through ONNX
Runtime, forecasts are calibrated, the two have to agree, limits are asked, the paper account lives through the bar,
everything is stored (SQLite, synchronous) and said; a client in another process notes when the bar's last event came.
A week of five-minute bars is lived through, and after each session it is noted how much memory the process holds. It is
a process that was started with trained models, as on any day but the first.
The networks are trained for one short epoch: how good they are does not matter here, how large they are does.

The peer of the update is what would be done without folds: everything worked out again over the whole history at each
bar, by the same functions (``recomputed_ms``).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tradewind.clock import SystemClock
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.workspace import Workspace
from tradewind.features import FeatureEngine
from tradewind.features.registry import select
from tradewind.live.parity import backtest_of
from tradewind.live.replay import Replay
from tradewind.live.service import LiveRuntime
from tradewind.live.settings import LiveSection
from tradewind.market.panel import Panel
from tradewind.market.sources.replay import ReplayClock
from tradewind.playbook import load
from tradewind.server.serve import serve
from tradewind.server.settings import ServerSettings

AIM_P95_MS = 150.0
NAMES = {20: 27, 200: 262}
"""Symbols that live in these months, and how many have to be invented for it."""

SESSION, WEEK = 78, 5
"""Five-minute bars of a session, and sessions that are lived through."""

FEATURE_SYMBOLS, FEATURE_BARS = 1_453, 60
SMALL = {"epochs": 1, "epoch_windows": 600}


def run() -> dict[str, Any]:
    measured = {count: _in_its_own_process(count) for count in NAMES}
    twenty = measured[20]
    return {
        "name": "live",
        "ratios": {"recomputing_everything": twenty["recomputed_ms"] / twenty["latency_ms"]["p50"]},
        "figures": {
            **{f"symbols_{count}": found for count, found in measured.items()},
            "feature_update_1453_symbols_ms": _feature_update(),
        },
        "aims": {"p95_ms_20_symbols": AIM_P95_MS},
        "met": bool(twenty["latency_ms"]["p95"] < AIM_P95_MS and twenty["dropped"] == 0),
    }


def _in_its_own_process(symbols: int) -> dict[str, Any]:
    here = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "benchmarks.live", str(symbols), home]
        for _ in ("trained", "measured"):
            done = subprocess.run(command, cwd=here, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


async def _lived(symbols: int, home: Path) -> dict[str, Any]:
    """Live through a week; where nothing is trained yet, train and do no more."""
    trained = (home / "models").exists()
    began = time.perf_counter()
    runtime = await _prepared(Workspace(_plan(symbols), home))
    seconds = time.perf_counter() - began
    try:
        if not trained:
            return {}
        return {**await _measured(runtime), "start_seconds": round(seconds, 2), "symbols": _width(runtime)}
    finally:
        await runtime.close()


async def _prepared(workspace: Workspace) -> LiveRuntime:
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = LiveRuntime(workspace, LiveSection(), "REPLAY", clock, SystemClock())
    await runtime.prepare(anew=True)
    return runtime


def _width(runtime: LiveRuntime) -> int:
    assert runtime.prepared is not None
    return len(runtime.prepared.panel.symbols)


async def _measured(runtime: LiveRuntime) -> dict[str, Any]:
    prepared = runtime.prepared
    assert prepared is not None
    serving = await serve(runtime, ServerSettings(port=0))
    replay = Replay(runtime, prepared, runtime.clock, "max")  # type: ignore[arg-type]
    bars = [one async for one in replay.bars()][: WEEK * SESSION]
    url = serving.url.replace("http", "ws") + "/ws"
    client = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._live_client", url, bars[-1][1]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert client.stdout is not None
    await asyncio.to_thread(client.stdout.readline)
    memory, by_session = _memory_mb(), []
    arrived = {}
    for number, (bar, name) in enumerate(bars, start=1):
        arrived[name] = time.perf_counter()
        await runtime.take(bar, name)
        if number % SESSION == 0:
            by_session.append(_memory_mb())
        await asyncio.sleep(0.05)  # bars do not come one upon the other
    text = await asyncio.to_thread(client.stdout.readline)
    client.wait()
    received = json.loads(text)
    spent = [1e3 * (received[name] - at) for name, at in arrived.items() if name in received]
    began = time.perf_counter()
    panel = prepared.corridor.world.panel
    backtest_of(prepared.workspace, panel, prepared.corridor.serving, cache=prepared.cache)
    recomputed = time.perf_counter() - began
    with suppress(Exception):
        await serving.stop()
    stages = runtime.health_of.latency.to_dict()["stages"]
    return {
        "bars": len(bars),
        "received": len(spent),
        "latency_ms": {f"p{q}": round(float(np.percentile(spent, q)), 1) for q in (50, 95, 99)},
        "stages_p50_ms": {name: round(found["p50"], 2) for name, found in stages.items()},
        "recomputed_ms": round(1e3 * recomputed, 1),
        "dropped": runtime.bus.dropped,
        "memory_mb_at_start": memory,
        "memory_mb_after_sessions": by_session,
        "history_bars": len(panel),
    }


def _memory_mb() -> int:
    """Return the resident memory of this process."""
    return round(psutil.Process().memory_info().rss / 2**20)


def _plan(symbols: int) -> Plan:
    overrides = {
        "data.start": "2023-11-20",
        "evaluation.min_train_bars": "1560",
        "evaluation.refit_bars": "600",
        "models.compare": "[]",
    }
    for name in ("lstm", "transformer"):
        overrides |= {f"models.parameters.{name}.{key}": str(value) for key, value in SMALL.items()}
    playbook = load("dual-model", source="synthetic", overrides=overrides)
    options = {**playbook.source_options, "n_symbols": NAMES[symbols]}
    object.__setattr__(playbook, "source_options", options)
    return Plan.of(playbook)


def _feature_update() -> float:
    """Return the median milliseconds that one new bar of 1,453 symbols takes, for all core features."""
    panel = _market(FEATURE_SYMBOLS, 400)
    engine = FeatureEngine(select(["core"], []))
    state = engine.initial_state(FEATURE_SYMBOLS)
    engine.step(state, panel.rows(0, 400 - FEATURE_BARS))
    spent = []
    for row in range(400 - FEATURE_BARS, 400):
        began = time.perf_counter()
        engine.step(state, panel.rows(row, row + 1))
        spent.append(1e3 * (time.perf_counter() - began))
    return round(float(np.median(spent)), 2)


def _market(symbols: int, bars: int) -> Panel:
    rng = np.random.default_rng(7)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (bars, symbols)), axis=0))
    fields = {
        "open": close * 0.999,
        "high": close * 1.004,
        "low": close * 0.996,
        "close": close,
        "volume": rng.uniform(1e5, 1e6, close.shape),
        "split": np.ones(close.shape),
        "dividend": np.zeros(close.shape),
    }
    times = np.datetime64("2022-01-03T21:00:00", "us") + np.arange(bars) * np.timedelta64(1, "D")
    names = tuple(f"S{i}" for i in range(symbols))
    there = np.ones(close.shape, dtype=bool)
    return Panel(times, names, names, fields, there, there)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_lived(int(sys.argv[1]), Path(sys.argv[2])))))
