"""One Mamba block forward and backward against mambapy's parallel scan and transformers' slow path, on equal weights.

Width 256, state 16, four taps, inner width 512, 512 bars, four sequences, float32. Everyone has the same weights, input
and loss, one thread, and the same allocator setting (which halves mambapy's time). CPU seconds, the best of several
runs; transformers, which takes long, runs once. Ours sends large products to oneDNN, the peers leave them to PyTorch
(MKL); what ours takes when it does so too is among the figures. The peers' outputs and gradients of all parameters and
of the input are the oracle: largest differences, relative to the largest number of each.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import run_peer
from tradewind.models.networks import products
from tradewind.models.networks.mamba import Mamba
from tradewind.models.networks.memory import keep_large_blocks
from tradewind.models.networks.training import threads

AIMS = {"mambapy": 3.0, "transformers": 17.0}
BATCH, LENGTH, WIDTH = 4, 512, 256
RUNS, STEPS = 8, 300
LARGEST_DIFFERENCE = 1e-5

Arrays = dict[str, np.ndarray]


def run() -> dict[str, Any]:
    keep_large_blocks()
    torch.manual_seed(0)
    block, x, loss = Mamba(WIDTH), torch.randn(BATCH, LENGTH, WIDTH), torch.randn(BATCH, LENGTH, WIDTH)
    with threads(1), tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.npz"
        weights = {f"w.{name}": value.numpy() for name, value in block.state_dict().items()}
        np.savez(task, x=x.numpy(), loss=loss.numpy(), **weights)
        seconds, forward, step = both_ways(block, x, loss), forward_alone(block, x), one_step(block)
        answers, peers = {}, {}
        for peer in AIMS:
            found = Path(folder) / f"{peer}.npz"
            peers[peer] = run_peer(f"mamba_{peer}", f"mamba_{peer}.py", str(task), str(found))
            answers[peer] = dict(np.load(found))
            seconds = min(seconds, both_ways(block, x, loss))
        with pytorchs_products():
            with_mkl = both_ways(block, x, loss)
        ours = answer_of(block, x, loss)
        answers["loop in double precision"] = answer_of(block.double(), x.double(), loss.double())
    ratios = {peer: peers[peer]["seconds"] / seconds for peer in AIMS}
    differences = {name: differences_of(ours, answer) for name, answer in answers.items()}
    largest = max(max(pair.values()) for pair in differences.values())
    milliseconds = {name: 1e3 * told["seconds"] for name, told in peers.items()}
    forwards = {name: 1e3 * told["forward_seconds"] for name, told in peers.items()}
    return {
        "name": "mamba",
        "ratios": ratios,
        "figures": {
            "batch": BATCH,
            "length": LENGTH,
            "d_model": WIDTH,
            "threads": 1,
            "milliseconds": {"tradewind": 1e3 * seconds, "tradewind_with_pytorchs_products": 1e3 * with_mkl}
            | milliseconds,
            "milliseconds_forward_alone": {"tradewind": 1e3 * forward} | forwards,
            "microseconds_per_step": {"tradewind": 1e6 * step, "mambapy": 1e6 * peers["mambapy"]["step_seconds"]},
            "difference_max_relative": differences,
            "versions": {name: told["version"] for name, told in peers.items()} | {"torch": torch.__version__},
        },
        "aims": {**AIMS, "difference_max_relative": LARGEST_DIFFERENCE},
        "met": bool(all(ratios[peer] >= aim for peer, aim in AIMS.items()) and largest <= LARGEST_DIFFERENCE),
    }


@contextmanager
def pytorchs_products() -> Iterator[None]:
    """Leave every product to PyTorch inside."""
    before, products.LEAST_MULTIPLICATIONS = products.LEAST_MULTIPLICATIONS, 1 << 62
    try:
        yield
    finally:
        products.LEAST_MULTIPLICATIONS = before


def answer_of(block: Mamba, x: torch.Tensor, loss: torch.Tensor) -> Arrays:
    """Return the output and all gradients under the names that the peers give them."""
    block.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    y = block(x)
    (y * loss).sum().backward()
    arrays = {"y": y.detach(), "g.x": x.grad} | {f"g.{name}": value.grad for name, value in block.named_parameters()}
    return {name: value.numpy() for name, value in arrays.items()}


def both_ways(block: Mamba, x: torch.Tensor, loss: torch.Tensor) -> float:
    """Return CPU seconds of a forward and backward pass."""
    spent = []
    for _ in range(RUNS):
        block.zero_grad(set_to_none=True)
        asked = x.clone().requires_grad_()
        start = time.process_time()
        (block(asked) * loss).sum().backward()
        spent.append(time.process_time() - start)
    return min(spent)


@torch.inference_mode()
def forward_alone(block: Mamba, x: torch.Tensor) -> float:
    spent = []
    for _ in range(RUNS):
        start = time.process_time()
        block(x)
        spent.append(time.process_time() - start)
    return min(spent)


@torch.inference_mode()
def one_step(block: Mamba) -> float:
    """Return CPU seconds of one more bar with the state of the bars before it."""
    x, state = torch.zeros(1, WIDTH), block.initial_state(1)
    start = 0.0
    for number in range(STEPS + 20):
        if number == 20:
            start = time.process_time()
        _, state = block.step(x, state)
    return (time.process_time() - start) / STEPS


def differences_of(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """Return the largest difference of the output and of any gradient, relative to the largest number of each."""
    apart = {name: float(np.abs(ours[name] - value).max() / np.abs(value).max()) for name, value in theirs.items()}
    return {"output": apart.pop("y"), "gradients": max(apart.values())}
