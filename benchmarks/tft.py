"""The Temporal Fusion Transformer against pytorch-forecasting's and neuralforecast's: one task, one thread each.

Task: 50 names of the open daily panel, windows of 60 days, 20 variables of the past (6 of them the calendar, also
known of the days ahead), two static categories; seven quantiles of the next five days' returns, each in units of its
name's deviation over the training years, so that the volatility of the moment is there to be learnt. Width 32, 4
heads, dropout 0.1, pinball loss for all. Ours also answers with quantiles of highs and lows, which no loss asks for.

Training speed is windows per CPU second of whole training steps with everything that assembles their batches, after a
warm-up: ours the product's trainer on runs of 32 consecutive windows that share rows; the peers their own loaders and
trainers (Lightning), at the best of several batch sizes. Time to loss is CPU seconds of training, validation taken out,
until the pinball loss on the same later windows is at the worse of the two sides' lowest losses. There ours learns from
runs of 16 windows that lie five days apart, whose horizons do not overlap; those share less and are a figure of their
own. Each side has the better of several learning rates tried beforehand (0.001 and 0.003 for the peer, constant as by
default; 0.003, 0.005 and 0.01 for ours, on the trainer's schedule) and begins as it does in use: ours at the quantiles
of the training years. Inference is quantiles of every window of consecutive days (300, for the peer 60): the peer at
the best of its `predict` and of a bare loop over its loader, and of two batch sizes.

Ours raises glibc's thresholds for large blocks in its own process, as the product does. The peers run as they come;
pytorch-forecasting is also timed with the same thresholds, set from outside, and the ratio to that is a figure.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._open_task import open_panel
from benchmarks.peers import run_peer
from tradewind.models.networks.memory import keep_large_blocks
from tradewind.models.networks.network import Block, Network, Shape
from tradewind.models.networks.sequences import Sequences
from tradewind.models.networks.tft import TemporalFusionTransformer
from tradewind.models.networks.training import Examples, Schedule, train

AIMS = {
    "train_pytorch_forecasting": 8.0,
    "time_to_loss_pytorch_forecasting": 5.0,
    "inference_pytorch_forecasting": 12.0,
}
NAMES, LENGTH, STEPS, WIDTH, HEADS, DROPOUT = 50, 60, 5, 32, 4, 0.1
LEVELS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
TRAIN_UNTIL, VALIDATION_EVERY, INFERENCE_DAYS = 2014, 10, 300
SPEED_RUN, SPEED_BATCH, INFERENCE_RUN, INFERENCE_BATCH = 32, 512, 100, 400
RUN, STRIDE, BATCH = 16, 5, 256
LEARNING_RATE, PEER_LEARNING_RATE = 1e-2, 1e-3
EPOCHS, EPOCH_WINDOWS, AVERAGING = 12, 3_000, 0.8
PEER_WINDOWS, PEER_LOOKS = 36_000, 12
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def run() -> dict[str, Any]:
    torch.set_num_threads(1)
    keep_large_blocks()
    task = the_task()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "task.npz")
        np.savez(path, **task)
        training = training_speed(task, SPEED_BATCH, SPEED_RUN, 1)
        curve = loss_curve(task)
        inference = inference_speed(task)
        peer = peer_run("speed", path)
        tuned = peer_run("speed", path, **MALLOC)
        learnt = peer_run("loss", path)
        other = run_peer("tft_neuralforecast", "tft_neuralforecast.py", path)
        training = max(training, training_speed(task, SPEED_BATCH, SPEED_RUN, 1))
        inference = max(inference, inference_speed(task))
        spaced, alone = training_speed(task, BATCH, RUN, STRIDE), training_speed(task, BATCH, 1, 1)
    target = max(min(curve["losses"]), min(learnt["losses"]))
    ours, theirs = reached(curve, target), reached(learnt, target)
    ratios = {
        "train_pytorch_forecasting": training / peer["train"]["best"],
        "train_neuralforecast": training / other["train"]["best"],
        "time_to_loss_pytorch_forecasting": theirs / ours,
        "inference_pytorch_forecasting": inference / peer["inference"]["best"],
    }
    figures = {
        "train_windows_per_cpu_second": {
            "tradewind": training,
            "tradewind_runs_spaced": spaced,
            "tradewind_random_windows": alone,
            "pytorch_forecasting": peer["train"],
            "pytorch_forecasting_large_blocks_kept": tuned["train"],
            "neuralforecast": other["train"],
        },
        "inference_windows_per_cpu_second": {
            "tradewind": inference,
            "pytorch_forecasting": peer["inference"],
            "pytorch_forecasting_large_blocks_kept": tuned["inference"],
        },
        "ratios_large_blocks_kept": {
            "train": training / tuned["train"]["best"],
            "inference": inference / tuned["inference"]["best"],
        },
        "time_to_loss": {"target": target, "seconds": {"tradewind": ours, "pytorch_forecasting": theirs}}
        | {"tradewind": curve, "pytorch_forecasting": learnt, "loss_of_constant_quantiles": constant_loss(task)},
        "parameters": {"tradewind": size_of(network(task)), "pytorch_forecasting": peer["parameters"]},
        "versions": {"torch": torch.__version__} | peer["versions"] | other["versions"],
    }
    met = all(ratios[name] >= aim for name, aim in AIMS.items())
    return {"name": "tft", "ratios": ratios, "figures": figures, "aims": AIMS, "met": met}


def peer_run(what: str, path: str, **environment: str) -> dict[str, Any]:
    settings = (str(PEER_LEARNING_RATE), str(PEER_WINDOWS), str(PEER_LOOKS))
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        return dict(run_peer("tft_pytorch_forecasting", "tft_pytorch_forecasting.py", path, what, *settings))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def the_task() -> dict[str, np.ndarray]:
    """Arrays `(T, N, …)`; everything at a row is known at its close, `target` is the return of that very day."""
    panel = open_panel()
    whole = np.flatnonzero(panel.mask.all(axis=0))[:NAMES]
    prices = {n: np.log(np.asarray(panel.fields[n])[:, whole]) for n in ("open", "high", "low", "close")}
    split = np.log(np.asarray(panel.fields["split"])[:, whole])
    returns = np.diff(prices["close"], axis=0, prepend=prices["close"][:1]) + split
    year = panel.times.astype("datetime64[Y]").astype(int) + 1970
    learning = year <= TRAIN_UNTIL
    deviation = returns[learning].std(axis=0)
    target = np.clip(returns / deviation, -8, 8)
    volume = np.log1p(np.asarray(panel.fields["volume"])[:, whole])
    past = variables(target, prices, volume, deviation)
    calendar = the_calendar(panel.times)
    everywhere = np.broadcast_to(calendar[:, None], (*target.shape, calendar.shape[1]))
    past = np.concatenate([past, everywhere, np.ones((*target.shape, 1))], axis=-1)
    group = np.searchsorted(np.quantile(deviation, [1 / 3, 2 / 3]), deviation)
    first, edge, last = 250, int(learning.sum()), len(target) - STEPS
    return {
        "past": past.astype(np.float32),
        "calendar": calendar.astype(np.float32),
        "target": target.astype(np.float32),
        "statics": np.stack([np.arange(len(whole)), group], axis=1) + 1,
        "train_rows": np.arange(first + LENGTH, edge - STEPS),
        "validation_rows": np.arange(edge, last, VALIDATION_EVERY),
        "inference_rows": np.arange(last - INFERENCE_DAYS, last),
        "first": np.array(first),
        "sizes": np.array([LENGTH, STEPS, WIDTH, HEADS]),
        "dropout": np.array(DROPOUT),
        "levels": np.array(LEVELS),
    }


def variables(target: np.ndarray, prices: dict[str, np.ndarray], volume: np.ndarray, deviation: np.ndarray) -> Any:
    """Return 13 variables, scaled by the training years."""
    span = (prices["high"] - prices["low"]) / deviation
    gap = (prices["open"] - prices["close"]) / deviation
    sizes = [np.sqrt(smooth(target**2, bars)) for bars in (3, 10, 30, 100)]
    trends = [smooth(target, bars) * np.sqrt(bars) for bars in (5, 20, 60)]
    activity = volume - smooth(volume, 50)
    market = [np.broadcast_to(part.mean(axis=1, keepdims=True), target.shape) for part in (target, sizes[1])]
    return np.stack([target, span, gap, *sizes, *trends, activity, *market], axis=-1)


def smooth(values: np.ndarray, bars: int) -> np.ndarray:
    out, keep = np.empty_like(values), np.exp(-1 / bars)
    state = values[0]
    for row, value in enumerate(values):
        state = keep * state + (1 - keep) * value
        out[row] = state
    return out


def the_calendar(times: np.ndarray) -> np.ndarray:
    day = times.astype("datetime64[D]")
    turns = [
        (day.astype(int) + 4) % 7 / 7,
        (day - day.astype("datetime64[M]")).astype(int) / 31,
        (day - day.astype("datetime64[Y]")).astype(int) / 366,
    ]
    return np.stack([wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)], axis=-1)


def network(task: dict[str, np.ndarray], seed: int = 1) -> TemporalFusionTransformer:
    torch.manual_seed(seed)
    statics = tuple(int(size) + 1 for size in task["statics"].max(axis=0))
    known = task["calendar"].shape[1]
    shape = Shape(LENGTH, task["past"].shape[-1], statics, known, STEPS, len(LEVELS), classes=False)
    return TemporalFusionTransformer(shape, width=WIDTH, heads=HEADS, dropout=DROPOUT)


def examples(task: dict[str, np.ndarray], stride: int = 1) -> Examples:
    values = np.ascontiguousarray(task["past"].swapaxes(0, 1))
    padding = LENGTH + max(INFERENCE_RUN, RUN * stride)
    padded = np.concatenate([np.zeros((values.shape[0], padding, values.shape[2]), np.float32), values], axis=1)
    statics = np.repeat(task["statics"][:, None], values.shape[1], axis=1)
    ahead = np.minimum(np.arange(values.shape[1])[:, None] + np.arange(1, STEPS + 1), values.shape[1] - 1)
    known = torch.from_numpy(task["calendar"][ahead])
    sequences = Sequences((), torch.from_numpy(padded), torch.from_numpy(statics), known, padding)
    every = [np.meshgrid(task[f"{part}_rows"], np.arange(values.shape[0])) for part in ("train", "validation")]
    rows, columns = (np.concatenate([pair[i].ravel() for pair in every]) for i in (0, 1))
    early = every[0][0].size
    return Examples(sequences, rows, columns, np.arange(early), np.arange(early, len(rows)))


class Pinball:
    """Mean pinball loss of the days ahead; notes the CPU seconds of training, without those of validation."""

    def __init__(self, task: dict[str, np.ndarray], made: Examples) -> None:
        ahead = made.rows[:, None] + np.arange(1, STEPS + 1)
        self.truth = torch.from_numpy(task["target"][ahead, made.columns[:, None]])
        self.levels = torch.tensor(LEVELS)
        self.seconds: list[float] = []
        self.steps: list[tuple[float, int]] = []
        self._began, self._spent, self._learning = time.process_time(), 0.0, False

    def __call__(self, network: Network, block: Block, sample: np.ndarray) -> torch.Tensor:
        self._notice(network.training, int((sample >= 0).sum()))
        asked = torch.from_numpy(sample)
        error = self.truth[asked[asked >= 0]].unsqueeze(-1) - network(block).quantiles[asked >= 0]
        return torch.maximum(self.levels * error, (self.levels - 1) * error).mean()

    def _notice(self, learning: bool, windows: int) -> None:
        now = time.process_time()
        if learning:
            self.steps.append((now, windows))
        if learning == self._learning:
            return
        if learning:
            self._began = now
        else:
            self._spent += now - self._began
            self.seconds.append(self._spent)
        self._learning = learning


def training_speed(task: dict[str, np.ndarray], batch: int, run: int, stride: int) -> float:
    """Return windows per CPU second between the fifth step of the second epoch and its last."""
    made = examples(task, stride)
    loss = Pinball(task, made)
    few = replace(made, late=made.late[:RUN])
    plan = Schedule(2, 2, 20 * batch, batch, run, run_stride_bars=stride)
    train(network(task), few, loss, plan, seed=1, device=torch.device("cpu"))
    steps = loss.steps[len(loss.steps) // 2 + 5 :]
    return sum(windows for _, windows in steps[:-1]) / (steps[-1][0] - steps[0][0])


def loss_curve(task: dict[str, np.ndarray]) -> dict[str, Any]:
    made = examples(task, STRIDE)
    loss = Pinball(task, made)
    net = network(task)
    net.quantile_head.start_at(torch.from_numpy(np.repeat(average(task)[None], STEPS, axis=0)).float())
    plan = Schedule(EPOCHS, EPOCHS, EPOCH_WINDOWS, BATCH, RUN, STRIDE, LEARNING_RATE, averaging=AVERAGING)
    history = train(net, made, loss, plan, seed=1, device=torch.device("cpu"))
    return {"seconds": loss.seconds, "losses": history.late, "learning_rate": LEARNING_RATE, "batch": BATCH}


def inference_speed(task: dict[str, np.ndarray]) -> float:
    net, made, days = network(task).eval(), examples(task), task["inference_rows"]
    rows, columns = (part.ravel() for part in np.meshgrid(days, np.arange(NAMES)))
    asked = Examples(made.sequences, rows, columns, np.arange(len(rows)), np.arange(len(rows)))
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        answered = infer(net, asked)
        best = min(best, time.process_time() - began)
        assert np.isfinite(answered).all()
    return len(rows) / best


@torch.inference_mode()
def infer(net: TemporalFusionTransformer, asked: Examples) -> np.ndarray:
    runs = asked.runs(asked.late, INFERENCE_RUN, -int(asked.rows[0]) % INFERENCE_RUN)
    out = np.full((len(asked.rows), STEPS, len(LEVELS)), np.nan, dtype=np.float32)
    together = INFERENCE_BATCH // INFERENCE_RUN
    for start in range(0, len(runs), together):
        batch = runs[start : start + together]
        quantiles = net(asked.sequences.block(batch, LENGTH)).quantiles.numpy()
        out[batch.sample[batch.sample >= 0]] = quantiles[batch.sample >= 0]
    return out


def reached(curve: dict[str, Any], target: float) -> float:
    """Return the CPU seconds when the loss was first at the target."""
    return next(s for s, loss in zip(curve["seconds"], curve["losses"], strict=True) if loss <= target)


def average(task: dict[str, np.ndarray]) -> np.ndarray:
    """Return the quantiles of the training years, which know nothing of the moment."""
    first, last = task["train_rows"][[0, -1]]
    return np.quantile(task["target"][first : last + 1], LEVELS)


def constant_loss(task: dict[str, np.ndarray]) -> float:
    """Return the validation loss of those."""
    truth = task["target"][task["validation_rows"][:, None] + np.arange(1, STEPS + 1)]
    error = truth[..., None] - average(task)
    return float(np.maximum(np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error).mean())


def size_of(net: TemporalFusionTransformer) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
