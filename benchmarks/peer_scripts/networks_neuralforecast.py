"""neuralforecast: train its LSTM, GRU, VanillaTransformer and KAN on the task and time them."""

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
from neuralforecast.models import GRU, KAN, LSTM, VanillaTransformer
from neuralforecast.models.kan import KANLinear

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
torch.set_num_threads(1)
WINDOWS = (128, 512)
TURNS, WARM, TIMED_WINDOWS = 2, 3, 3_000
LAYER_RUNS = 60
KNOWN = [f"k{i}" for i in range(6)]
STATIC = ["ticker", "group"]


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
    static = {"unique_id": np.arange(names).astype(str)}
    static |= {name: task["statics"][:, place] for place, name in enumerate(STATIC)}
    return pd.DataFrame(data), pd.DataFrame(static), [f"u{i}" for i in unknown]


class Watch(pl.Callback):
    """CPU seconds at the end of each step, kept on the class: the peer trains a copy of the model."""

    at: typing.ClassVar = []

    def on_train_batch_end(self, *_):
        Watch.at.append(time.process_time())


def recurrent(own, unknown):
    return {
        "encoder_hidden_size": own["width"],
        "encoder_n_layers": own["layers"],
        "decoder_hidden_size": own["width"],
        "decoder_layers": 2,
        "hist_exog_list": unknown,
        "stat_exog_list": STATIC,
    }


def attention(own, _):
    """Its own limits: nothing of the past but the target and the calendar, no statics, always a decoder."""
    return {
        "hidden_size": own["width"],
        "n_head": own["heads"],
        "encoder_layers": own["layers"],
        "decoder_layers": 1,
        "conv_hidden_size": 2 * own["width"],
        "dropout": own["dropout"],
    }


def splines(own, unknown):
    return {
        "hidden_size": own["width"],
        "n_hidden_layers": 1,
        "grid_size": own["grid"],
        "spline_order": own["order"],
        "grid_range": [-own["reach"], own["reach"]],
        "hist_exog_list": unknown,
        "stat_exog_list": STATIC,
    }


MODELS = {
    "lstm": (LSTM, recurrent),
    "gru": (GRU, recurrent),
    "transformer": (VanillaTransformer, attention),
    "kan": (KAN, splines),
}


def train_speed(task, frames, name, own, size):
    frame, static, unknown = frames
    model, settings = MODELS[name]
    chosen = settings(own, unknown)
    if "hist_exog_list" not in chosen:
        frame, static = frame.drop(columns=unknown), None
    Watch.at, batches = [], WARM + max(6, TIMED_WINDOWS // size)
    built = model(
        h=int(task["sizes"][1]),
        input_size=int(task["sizes"][0]),
        futr_exog_list=KNOWN,
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
        **chosen,
    )
    forecaster = NeuralForecast(models=[built], freq=1)
    forecaster.fit(frame, static_df=static)
    count = sum(p.numel() for p in forecaster.models[0].parameters())
    return (batches - WARM) * size / (Watch.at[-1] - Watch.at[WARM - 1]), count


def layer_seconds(rows, inputs, outputs, own):
    """Return CPU seconds of one pass in both directions of its KAN layer."""
    torch.manual_seed(1)
    layer = KANLinear(
        inputs,
        outputs,
        grid_size=own["grid"],
        spline_order=own["order"],
        grid_range=[-own["reach"], own["reach"]],
    )
    x, spent = torch.randn(rows, inputs), []
    for _ in range(LAYER_RUNS):
        layer.zero_grad(set_to_none=True)
        asked = x.clone().requires_grad_()
        began = time.process_time()
        layer(asked).sum().backward()
        spent.append(time.process_time() - began)
    return min(spent)


def main():
    task, settings, layer = dict(np.load(sys.argv[1])), json.loads(sys.argv[2]), json.loads(sys.argv[3])
    frames = frames_of(task)
    train, parameters = {}, {}
    for name in MODELS:
        train[name] = {}
        for size in WINDOWS:
            turns = [train_speed(task, frames, name, settings[name], size) for _ in range(TURNS)]
            train[name][str(size)], parameters[name] = max(turns)
        train[name]["best"] = max(train[name].values())
    result = {
        "train": train,
        "parameters": parameters,
        "layer_seconds": layer_seconds(*layer, settings["kan"]),
        "version": {"neuralforecast": neuralforecast.__version__},
    }
    print(json.dumps(result))


main()
