"""Every registered network as an ONNX file in ONNX Runtime and as a LiteRT file, against PyTorch that made it.

Networks of their default sizes, trained for two short epochs on 20 names of the open daily panel, with barrier
classes. `max_difference` is the largest difference of any output from the network in double precision, which forecasts
are made of, in units of volatility (logits for classes): at export on 252 windows of the training years, and on as many
of the year after them.

Times are CPU milliseconds of one batch of real windows on one thread: PyTorch in eager mode and single precision (with
the allocator setting of the product), ONNX Runtime, LiteRT. The three take turns; each figure is the median of the
turns, each ratio the median of those within a turn. A LiteRT file takes one window at a time (samba: one date of 20),
so its larger batches are loops. For samba a batch of 500 is 25 dates.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._open_task import HORIZONS, Task, open_panel, year_of
from tradewind.features import compute
from tradewind.features.registry import select
from tradewind.labels.barriers import triple_barrier
from tradewind.labels.forward import forward_returns
from tradewind.models.base import MODELS
from tradewind.models.networks import lite_environment
from tradewind.models.networks.export import FORMATS, TOLERANCE, disagreement, examples, export_fitted, runners_of
from tradewind.models.networks.memory import keep_large_blocks
from tradewind.models.networks.network import Block
from tradewind.models.networks.training import threads
from tradewind.models.sequence_model import SequenceModel

NAMES, TRAINED, FRESH = 20, range(2006, 2010), range(2010, 2011)
BATCHES = (1, 20, 500)
TURNS, LEAST_SECONDS = 7, 0.05
TRAINING = {"epochs": 2, "epoch_windows": 2_000, "seed": 1, "threads": 1}


def run() -> dict[str, Any]:
    keep_large_blocks()
    lite_environment.build()
    task = the_task()
    with threads(1), tempfile.TemporaryDirectory() as folder:
        networks = [name for name in MODELS.names() if issubclass(MODELS.factory(name), SequenceModel)]
        told = {name: of_model(name, task, Path(folder)) for name in networks}
    differences = {name: found["max_difference"] for name, found in told.items()}
    ratios = {
        f"{format}_batch_{batch}": float(
            np.median([each["ratios"][f"batch_{batch}"][format] for each in told.values()])
        )
        for format in FORMATS
        for batch in BATCHES
    }
    columns = ("milliseconds", "ratios", "bytes", "export_seconds", "parameters")
    figures = {
        "max_difference": differences,
        **{column: {name: found[column] for name, found in told.items()} for column in columns},
        "ratios_are": "eager PyTorch's CPU time over the file's, median over the networks",
        "threads": 1,
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime", "ai-edge-litert")},
    }
    met = all(far <= TOLERANCE for found in differences.values() for far in found.values())
    return {"name": "export", "ratios": ratios, "figures": figures, "aims": {"max_difference": TOLERANCE}, "met": met}


def the_task() -> Task:
    panel = open_panel(max(FRESH))
    whole = np.flatnonzero(panel.mask.all(axis=0))[:NAMES]
    panel = panel.select([panel.symbols[n] for n in whole])
    barriers = triple_barrier(panel, forward_returns(panel, HORIZONS), up_sigma=1.0, down_sigma=1.0)
    return Task(panel, barriers.labels, compute(panel, select(("core",))))


def of_model(name: str, task: Task, folder: Path) -> dict[str, Any]:
    """Return what one network's files are worth."""
    year = year_of(task.panel)
    learnt, fresh = (task.windows(np.flatnonzero(np.isin(year, list(years)))) for years in (TRAINED, FRESH))
    known = np.isfinite(learnt.labels.returns[learnt.rows, learnt.columns]).all(axis=1)
    learnt = replace(learnt, rows=learnt.rows[known], columns=learnt.columns[known])
    print(f"{name} \u2026", file=sys.stderr)
    model: Any = MODELS.create(name, **TRAINING).fit(learnt)
    network = model.fitted_.networks[0]
    made = {format: export_fitted(model, format, folder, learnt)[0] for format in FORMATS}
    runners = {format: runners_of([written.path])[0] for format, written in made.items()}
    block = examples(model.fitted_, fresh)
    differences = {
        format: max(made[format].max_difference, disagreement(runner, network, block))
        for format, runner in runners.items()
    }
    engines = {"eager": network, **runners}
    timed = {f"batch_{batch}": turns(engines, batch_of(block, batch, model.whole_dates)) for batch in BATCHES}
    return {
        "max_difference": differences,
        "milliseconds": {
            at: {who: 1e3 * float(np.median(seconds)) for who, seconds in found.items()} for at, found in timed.items()
        },
        "ratios": {
            at: {who: float(np.median(np.divide(found["eager"], found[who]))) for who in FORMATS}
            for at, found in timed.items()
        },
        "bytes": {format: written.bytes for format, written in made.items()},
        "export_seconds": {format: written.seconds for format, written in made.items()},
        "parameters": sum(part.numel() for part in network.parameters()),
    }


def batch_of(block: Block, count: int, whole_dates: bool) -> Block:
    """Return this many of the windows, over again where there are fewer; of whole dates, with `NAMES` to a date."""
    place = torch.arange(count) % len(block.values)
    section = torch.arange(count) // NAMES if whole_dates else None
    return Block(block.values[place], block.statics[place], block.future[place], section)


def turns(engines: dict[str, Any], block: Block) -> dict[str, list[float]]:
    """Return the CPU seconds of a batch in every turn, of each engine."""
    with torch.inference_mode():
        often = {who: repetitions(lambda engine=engine: engine(block)) for who, engine in engines.items()}
        seconds: dict[str, list[float]] = {who: [] for who in engines}
        for _ in range(TURNS):
            for who, engine in engines.items():
                began = time.process_time()
                for _ in range(often[who]):
                    engine(block)
                seconds[who].append((time.process_time() - began) / often[who])
    return seconds


def repetitions(answer: Callable[[], Any]) -> int:
    """Return how often a batch is run in a turn to be measurable; warms up."""
    answer()
    began = time.process_time()
    answer()
    return max(1, int(np.ceil(LEAST_SECONDS / max(time.process_time() - began, 1e-6))))
