"""neuralforecast: train its Temporal Fusion Transformer on the task and time it."""

import json
import logging
import sys
import time
import typing
import warnings

import neuralforecast
import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import TFT

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
torch.set_num_threads(1)
WINDOWS = (128, 512, 1024)
WARM, TIMED_WINDOWS = 2, 3_000
KNOWN = [f"k{i}" for i in range(6)]


def frames_of(task, days=700):
    """Return the long table of the last training days, and that of the statics.

    The target is one of the peer's own inputs, so the column that repeats it is left out, and so is that of ones.
    """
    past = task["past"].shape[-1]
    unknown = range(1, past - 1 - len(KNOWN))
    rows = slice(task["train_rows"][-1] - days, task["train_rows"][-1] + 1)
    count, names = task["target"][rows].shape
    data = {"unique_id": np.tile(np.arange(names), count).astype(str), "ds": np.repeat(np.arange(count), names)}
    data["y"] = task["target"][rows].reshape(-1)
    data |= {f"u{i}": task["past"][rows, :, i].reshape(-1) for i in unknown}
    data |= {name: np.repeat(task["calendar"][rows, i], names) for i, name in enumerate(KNOWN)}
    static = {
        "unique_id": np.arange(names).astype(str),
        "ticker": task["statics"][:, 0],
        "group": task["statics"][:, 1],
    }
    return pd.DataFrame(data), pd.DataFrame(static), [f"u{i}" for i in unknown]


class Watch(pl.Callback):
    """CPU seconds at the end of each step, kept on the class: the peer trains a copy of the model."""

    at: typing.ClassVar = []

    def on_train_batch_end(self, *_):
        Watch.at.append(time.process_time())


def train_speed(task, size):
    length, steps, width, heads = (int(n) for n in task["sizes"])
    frame, static, unknown = frames_of(task)
    Watch.at, batches = [], WARM + max(4, TIMED_WINDOWS // size)
    model = TFT(
        h=steps,
        input_size=length,
        hist_exog_list=unknown,
        futr_exog_list=KNOWN,
        stat_exog_list=["ticker", "group"],
        hidden_size=width,
        n_head=heads,
        dropout=float(task["dropout"]),
        loss=MQLoss(quantiles=[float(level) for level in task["levels"]]),
        max_steps=batches,
        windows_batch_size=size,
        scaler_type="identity",
        random_seed=1,
        callbacks=[Watch()],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    NeuralForecast(models=[model], freq=1).fit(frame, static_df=static)
    return (batches - WARM) * size / (Watch.at[-1] - Watch.at[WARM - 1])


def main():
    task = dict(np.load(sys.argv[1]))
    train = {str(size): train_speed(task, size) for size in WINDOWS}
    result = {
        "train": train | {"best": max(train.values())},
        "versions": {"neuralforecast": neuralforecast.__version__},
    }
    print(json.dumps(result))


main()
