"""The other networks against their peers, and what it costs to train each: one task, one thread each, CPU seconds.

Task: that of `tft` (50 names, windows of 60 days, 20 variables, 5 days ahead, 7 quantiles, pinball loss). Each network
has the width, layers and dropout of its defaults on both sides. Speed is windows per CPU second of whole training steps
with everything that assembles their batches, after a warm-up, the best of turns. Ours is the product's trainer, with
runs of 16 windows five days apart that share rows, as in use, which the ratios tell of; `ratios_random_windows` has no
sharing. Peers have the better of batches of 128 and 512.

Peers, and which side does more:

- neuralforecast's LSTM and GRU, its own loader and Lightning: 21 inputs a bar straight into the recurrence. Ours has a
  layer in front of it (so that it multiplies 64 inputs a bar) and embeds the statics, which the peer reads as numbers.
  The peer decodes each of the five days by itself.
- neuralforecast's VanillaTransformer takes neither variables of the past nor statics: it reads the target and the
  calendar alone. It has a decoder layer over 35 positions and both of its encoder layers whole; ours has no decoder,
  and computes the newest position alone in its last layer. The peer does more after the first layer, ours before it.
  So `transformer_pytorch` is the same network of PyTorch's own `nn.TransformerEncoderLayer`, in our trainer.
- neuralforecast's KAN has a function of every bar of every variable (1,172 numbers a window); ours reads three numbers
  of each (60), which is a choice of ours and most of that ratio. `kan_layer_neuralforecast` is one layer of one size
  on both sides, forward and backward, without a trainer.
- transformers' GPT2Model on the same patches, and mambapy's blocks in `mamba_stock` and `ts_mamba`: the same embedding
  and head, in a bare loop (windows gathered by index, AdamW, clipped gradients) with the allocator setting of ours. Our
  trainer also keeps a mean of the weights and checks each loss; mambapy's layers over bars have no dropout. GPT2Model
  computes every patch in its last block, ours the newest alone, which is all that the head reads.

neuralforecast is run as it comes and with that allocator setting, and the better counts; `ratios_as_it_comes` has the
other. `samba` has no peer: its
authors published a repository, not a package.

`seconds_to_train` is one fit of each registered model with its defaults (window, epochs, early stopping; threads 1,
seed 1) on the training years of these names: the 13 variables of the task and what every network reads of the bar and
the calendar, horizons 1 to 5, the 7 quantiles. Validation is part of it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import tft
from benchmarks._open_task import open_panel
from benchmarks.peers import run_peer
from tradewind.features.table import Features
from tradewind.labels.forward import forward_returns
from tradewind.models.base import MODELS, Windows
from tradewind.models.networks.kan import KANLayer
from tradewind.models.networks.memory import keep_large_blocks
from tradewind.models.networks.network import Network, Shape
from tradewind.models.networks.training import Schedule, threads, train
from tradewind.models.networks.transformer import Transformer
from tradewind.models.sequence_model import SequenceModel

PEERS = {
    "neuralforecast": ("tft_neuralforecast", ("lstm", "gru", "transformer", "kan")),
    "transformers": ("mamba_transformers", ("gpt_patches",)),
    "mambapy": ("mamba_mambapy", ("mamba_stock", "ts_mamba")),
}
COMPARED = tuple(name for _, names in PEERS.values() for name in names)
AIMS = {f"{name}_{peer}": 1.2 for peer, (_, names) in PEERS.items() for name in names}
AIMS |= {"transformer_pytorch": 1.2, "kan_layer_neuralforecast": 1.2}
NO_PEER = {"samba": "its authors published a repository, not a package"}
BATCH, RUN, STRIDE = 512, 16, 5
WARM, TIMED = 3, 10
LAYER_ROWS, LAYER_RUNS = 512, 60
VARIABLES = 13

Task = dict[str, np.ndarray]


def run() -> dict[str, Any]:
    keep_large_blocks()
    task = tft.the_task()
    with threads(1), tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "task.npz")
        np.savez(path, **task)
        ours = own_speeds(task)
        told = {peer: best_of(peer, path) for peer in PEERS}
        ours = better(ours, own_speeds(task))
        layer = layer_seconds()
        fits = time_to_train(task)
    return result_of(task, ours, told, layer, fits)


def result_of(
    task: Task, ours: dict[str, Any], told: dict[str, Any], layer: float, fits: dict[str, Any]
) -> dict[str, Any]:
    kept, random = (dict[str, float]() for _ in range(2))
    for peer, (_, names) in PEERS.items():
        for name in names:
            theirs = told[peer]["train"][name]["best"]
            kept[f"{name}_{peer}"] = ours[name]["runs"] / theirs
            random[f"{name}_{peer}"] = ours[name]["random_windows"] / theirs
    built = ours["transformer_of_pytorch"]
    kept["transformer_pytorch"] = ours["transformer"]["runs"] / built["runs"]
    random["transformer_pytorch"] = ours["transformer"]["random_windows"] / built["random_windows"]
    kept["kan_layer_neuralforecast"] = told["neuralforecast"]["layer_seconds"] / layer
    ours_of_size = {name: sum(p.numel() for p in network(name, shape_of(task)).parameters()) for name in COMPARED}
    plain = {
        f"{n}_neuralforecast": ours[n]["runs"] / s["as_it_comes"] for n, s in told["neuralforecast"]["train"].items()
    }
    figures = {
        "train_windows_per_cpu_second": {"tradewind": ours} | {peer: found["train"] for peer, found in told.items()},
        "ratios_random_windows": random,
        "ratios_as_it_comes": plain,
        "kan_layer_microseconds": {
            "tradewind": 1e6 * layer,
            "neuralforecast": 1e6 * told["neuralforecast"]["layer_seconds"],
        },
        "no_peer": NO_PEER,
        "seconds_to_train": {name: found["seconds"] for name, found in fits.items()},
        "epochs_trained": {name: found["epochs"] for name, found in fits.items()},
        "parameters": {"tradewind": ours_of_size} | {peer: found["parameters"] for peer, found in told.items()},
        "versions": {"torch": torch.__version__}
        | {k: v for found in told.values() for k, v in found["version"].items()},
    }
    met = all(kept[name] >= aim for name, aim in AIMS.items())
    return {"name": "networks", "ratios": kept, "figures": figures, "aims": AIMS, "met": met}


def best_of(peer: str, path: str) -> dict[str, Any]:
    """Run a peer; neuralforecast, which leaves the allocator alone, also with ours set from outside."""
    environment, names = PEERS[peer]
    settings = json.dumps({name: settings_of(name) for name in names})
    arguments = [f"networks_{peer}.py", path, settings]
    if peer != "neuralforecast":
        return dict(run_peer(environment, *arguments))
    arguments.append(json.dumps(layer_size()))
    plain = run_peer(environment, *arguments)
    with patch.dict(os.environ, tft.MALLOC):
        kept = run_peer(environment, *arguments)
    found = {}
    for name, speeds in plain["train"].items():
        usual, blocks = speeds.pop("best"), kept["train"][name]["best"]
        found[name] = {**speeds, "as_it_comes": usual, "large_blocks_kept": blocks, "best": max(usual, blocks)}
    return {**plain, "train": found, "layer_seconds": min(plain["layer_seconds"], kept["layer_seconds"])}


def settings_of(name: str) -> dict[str, Any]:
    """Return a model's own sizes, which its peer is built with."""
    given = vars(MODELS.create(name))
    sizes = ("width", "layers", "heads", "dropout", "d_state", "d_conv", "expand", "patch_bars", "stride_bars")
    return {key: given[key] for key in (*sizes, "grid", "order", "reach", "summaries") if key in given}


def network(name: str, shape: Shape) -> Network:
    torch.manual_seed(1)
    return cast(SequenceModel, MODELS.create(name)).network(shape)


class TransformerOfPyTorch(Transformer):
    """The same with PyTorch's encoder layers, which compute every position."""

    def __init__(self, shape: Shape, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__(shape, width=width, heads=heads, layers=layers, dropout=dropout)
        options: dict[str, Any] = {"activation": "gelu", "batch_first": True, "norm_first": True}
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(width, heads, 2 * width, dropout, **options) for _ in range(layers)]
        )
        for layer in self.layers:
            layer.register_forward_pre_hook(lambda _, given: given[:1])


def shape_of(task: Task) -> Shape:
    statics = tuple(int(size) + 1 for size in task["statics"].max(axis=0))
    inputs, known = task["past"].shape[-1], task["calendar"].shape[-1]
    return Shape(tft.LENGTH, inputs, statics, known, tft.STEPS, len(tft.LEVELS), classes=False)


def own_speeds(task: Task) -> dict[str, dict[str, float]]:
    shape = shape_of(task)
    builders: dict[str, Callable[[], Network]] = {name: lambda name=name: network(name, shape) for name in COMPARED}
    sizes = settings_of("transformer")
    builders["transformer_of_pytorch"] = lambda: TransformerOfPyTorch(shape, **sizes)
    return {
        name: {
            "runs": speed(build(), task, RUN, STRIDE),
            "random_windows": speed(build(), task, 1, 1),
        }
        for name, build in builders.items()
    }


def speed(net: Network, task: Task, run: int, stride: int) -> float:
    """Return windows per CPU second of the product's trainer between the last warm-up step and the last step."""
    made = tft.examples(task, stride)
    loss = tft.Pinball(task, made)
    few = replace(made, late=made.late[:RUN])
    plan = Schedule(1, 1, (WARM + TIMED) * BATCH, BATCH, run, run_stride_bars=stride)
    train(net, few, loss, plan, seed=1, device=torch.device("cpu"))
    steps = loss.steps[WARM:]
    return sum(windows for _, windows in steps[:-1]) / (steps[-1][0] - steps[0][0])


def better(one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {way: max(value, other[name][way]) for way, value in ways.items()} for name, ways in one.items()}


def layer_size() -> tuple[int, int, int]:
    """Return the rows, inputs and outputs of the first layer of `kan` for a batch of the task."""
    sizes = settings_of("kan")
    return LAYER_ROWS, 20 * (1 + sizes["summaries"]), sizes["width"]


def layer_seconds() -> float:
    """Return CPU seconds of one pass in both directions of our layer."""
    rows, inputs, outputs = layer_size()
    sizes = settings_of("kan")
    torch.manual_seed(1)
    layer = KANLayer(inputs, outputs, grid=sizes["grid"], order=sizes["order"], reach=sizes["reach"])
    x, spent = torch.randn(rows, inputs), []
    for _ in range(LAYER_RUNS):
        layer.zero_grad(set_to_none=True)
        asked = x.clone().requires_grad_()
        began = time.process_time()
        cast(Tensor, layer(asked)).sum().backward()  # type: ignore[no-untyped-call]
        spent.append(time.process_time() - began)
    return min(spent)


def time_to_train(task: Task) -> dict[str, dict[str, Any]]:
    """Return CPU seconds and epochs of one fit of every registered network with its defaults."""
    windows = training_windows(task)
    names = [name for name in MODELS.names() if issubclass(cast(type, MODELS.factory(name)), SequenceModel)]
    found = {}
    for name in names:
        model = cast(SequenceModel, MODELS.create(name, levels=tft.LEVELS, threads=1, seed=1))
        began = time.process_time()
        model.fit(windows)
        spent = time.process_time() - began
        print(f"{name} trained in {spent:.0f} CPU s", file=sys.stderr, flush=True)
        found[name] = {"seconds": spent, "epochs": len(model.fitted_.histories[0].late)}
    return found


def training_windows(task: Task) -> Windows:
    whole = open_panel()
    columns = np.flatnonzero(whole.mask.all(axis=0))[: tft.NAMES]
    stop = int(task["train_rows"][-1]) + tft.STEPS + 1
    panel = whole.select([whole.symbols[n] for n in columns]).head(stop)
    names = tuple(f"variable_{place}" for place in range(VARIABLES))
    features = Features(panel.times, panel.symbols, names, task["past"][:stop, :, :VARIABLES])
    labels = forward_returns(panel, tuple(range(1, tft.STEPS + 1)))
    rows, names_of = (part.ravel() for part in np.meshgrid(task["train_rows"], np.arange(tft.NAMES)))
    return Windows(panel, features, labels, rows.astype(np.int64), names_of.astype(np.int64))
