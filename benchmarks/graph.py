"""One update of the correlation graph of 500 stocks, and a decade of them, against networkx.

Correlations of 30 bars, pairs above 0.3 joined, then degree and eigenvector centrality, clustering and PageRank of
every stock. An update is one new bar through the feature engine; a decade is 2,520 bars at once. CPU seconds on one
thread; the engine's clock also counts what its state costs. networkx has the same windows, its correlations are
numpy's, and its answers on them are the oracle. ``samba`` is the graph inside the network: what a date of 500 stocks
takes to be connected, and to be forecast by a network of the default size, in double precision.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.features import as_panel
from benchmarks.peers import run_peer
from tradewind.features import FeatureEngine
from tradewind.features.families.correlation_graph import BARS, FAMILY, THRESHOLD
from tradewind.market.panel import Panel
from tradewind.models.networks.network import Block, Shape
from tradewind.models.networks.samba import Samba
from tradewind.models.networks.training import threads
from tradewind.stats.correlation_graph import MEASURES, graph_measures

STOCKS, DECADE = 500, 2520
AIMS = {"networkx": 100.0}
UPDATE_SECONDS = 5.0
LARGEST_DIFFERENCE = 1e-6
COMPARED = 5
UPDATES = 60
CHANNELS = 103

NAMES = tuple(spec.name for spec in FAMILY.specs)


def market(bars: int) -> Panel:
    """Stocks with a market and twenty groups in common: about half of the pairs are joined."""
    draw = np.random.default_rng(11)
    group = np.repeat(np.arange(20), STOCKS // 20)
    shared = 0.7 * draw.normal(size=(bars, 1)) + 0.6 * draw.normal(size=(bars, 20))[:, group]
    close = 50 * np.exp(np.cumsum(0.01 * (shared + draw.normal(size=(bars, STOCKS))), axis=0))
    return as_panel(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": np.ones_like(close)})


def run() -> dict[str, Any]:
    panel = market(DECADE)
    with threads(1):
        update, decade, connected, forecast = one_bar(panel), whole(panel), *in_the_network()
    returns = returns_of(panel)
    rows = np.linspace(BARS, DECADE - 1, COMPARED).astype(int)
    windows = np.stack([returns[row - BARS + 1 : row + 1] for row in rows])
    ours = np.stack([graph_measures(w, np.ones(w.shape, bool), bars=BARS, threshold=THRESHOLD)[-1] for w in windows])
    peer, theirs = networkx(windows)
    difference = np.abs(ours - theirs * [1.0, STOCKS**0.5, 1.0, STOCKS]).max(axis=(0, 1))
    ratios = {"networkx": peer["seconds"] / update}
    met = ratios["networkx"] >= AIMS["networkx"] and update <= UPDATE_SECONDS
    return {
        "name": "graph",
        "ratios": ratios,
        "figures": {
            "stocks": STOCKS,
            "bars_of_a_window": BARS,
            "joined_pairs_share": float(ours[..., 0].mean()),
            "update_seconds": {"tradewind": update, "networkx": peer["seconds"]},
            "decade_seconds": {"tradewind": decade, "networkx_scaled_up": peer["seconds"] * DECADE},
            "samba_seconds_a_date": {"graph": connected, "forecast": forecast},
            "difference_max": dict(zip(MEASURES, map(float, difference), strict=True)),
            "versions": {"networkx": peer["version"], "torch": torch.__version__},
        },
        "aims": {**AIMS, "update_seconds": UPDATE_SECONDS, "difference_max": LARGEST_DIFFERENCE},
        "met": bool(met and difference.max() <= LARGEST_DIFFERENCE),
    }


def returns_of(panel: Panel) -> np.ndarray:
    """Returns as the graph reads them: in double precision, before the table rounds them."""
    return np.diff(np.log(panel.close), axis=0, prepend=np.nan)


def one_bar(panel: Panel) -> float:
    """Return the CPU seconds of one new bar, the median of many."""
    engine = FeatureEngine(NAMES, threads=1)
    state, _ = engine.step(engine.initial_state(STOCKS), panel.rows(0, 100))
    return float(
        np.median([_seconds(lambda t=t: engine.step(state, panel.rows(t, t + 1))) for t in range(100, 100 + UPDATES)])
    )


def whole(panel: Panel) -> float:
    engine = FeatureEngine(NAMES, threads=1)
    return _seconds(lambda: engine.step(engine.initial_state(STOCKS), panel))


def in_the_network() -> tuple[float, float]:
    """Return the CPU seconds of the graph of one date, and of its forecasts."""
    torch.manual_seed(0)
    shape = Shape(30, CHANNELS, (STOCKS + 1, 12, 6), 9, 3, 7, False)
    sizes = {"width": 32, "layers": 2, "dropout": 0.0, "graph_layers": 4, "order": 2, "embedding": 8}
    network = Samba(shape, **sizes, correlation_bars=BARS, least_correlation=THRESHOLD).double().eval()
    values = torch.randn(STOCKS, 30, CHANNELS, dtype=torch.float64)
    block = Block(values, torch.zeros(STOCKS, 3, dtype=torch.int64), torch.zeros(STOCKS, 1, 3, 9, dtype=torch.float64))
    with torch.inference_mode():
        states = network._read(block)
        graph = [_seconds(lambda: network.graph(block, states)) for _ in range(8)]
        forecast = [_seconds(lambda: network(block)) for _ in range(5)]
    return min(graph), min(forecast)


def networkx(windows: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        task, found = Path(folder) / "task.npz", Path(folder) / "found.npy"
        np.savez(task, windows=windows, threshold=THRESHOLD)
        told = run_peer("graph_networkx", "graph_networkx.py", str(task), str(found))
        return told, np.load(found)


def _seconds(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
