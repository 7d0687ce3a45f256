"""pytorch-forecasting: train its Temporal Fusion Transformer on the task, the way its tutorial does, and time it."""

import json
import logging
import sys
import time
import warnings

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytorch_forecasting
import torch
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.data import NaNLabelEncoder, TorchNormalizer
from pytorch_forecasting.metrics import QuantileLoss

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.set_num_threads(1)
TRAIN_BATCHES, PREDICT_BATCHES = (64, 256, 512), (256, 1024)
WARM, TIMED_WINDOWS = 3, 3_000
KNOWN = [f"k{i}" for i in range(6)]


def frame_of(task):
    """Return the long table; columns of the past that are the calendar are given once, as known."""
    rows, names, variables = task["past"].shape
    unknown = [i for i in range(variables) if not variables - 1 - len(KNOWN) <= i < variables - 1]
    data = {"time": np.repeat(np.arange(rows), names), "target": task["target"].reshape(-1)}
    for place, name in enumerate(("ticker", "group")):
        data[name] = np.tile(task["statics"][:, place], rows).astype(str)
    data |= {f"u{i}": task["past"][:, :, i].reshape(-1) for i in unknown}
    data |= {name: np.repeat(task["calendar"][:, i], names) for i, name in enumerate(KNOWN)}
    return pd.DataFrame(data), [f"u{i}" for i in unknown]


def dataset_of(task, first, last):
    """Return the windows that end (before what they forecast) from row `first` to row `last`."""
    length, steps = (int(n) for n in task["sizes"][:2])
    frame, unknown = frame_of(task)
    part = frame[(frame["time"] > first - length) & (frame["time"] <= last + steps)]
    return TimeSeriesDataSet(
        part,
        time_idx="time",
        target="target",
        group_ids=["ticker"],
        min_encoder_length=length,
        max_encoder_length=length,
        min_prediction_length=steps,
        max_prediction_length=steps,
        static_categoricals=["ticker", "group"],
        time_varying_known_reals=KNOWN,
        time_varying_unknown_reals=unknown,
        categorical_encoders={n: NaNLabelEncoder().fit(frame[n]) for n in ("ticker", "group")},
        scalers=dict.fromkeys(KNOWN + unknown),
        target_normalizer=TorchNormalizer(method="identity"),
    )


def model_of(task, dataset, learning_rate):
    pl.seed_everything(1, verbose=False)
    _, _, width, heads = (int(n) for n in task["sizes"])
    return TemporalFusionTransformer.from_dataset(
        dataset,
        learning_rate=learning_rate,
        hidden_size=width,
        hidden_continuous_size=width,
        attention_head_size=heads,
        dropout=float(task["dropout"]),
        output_size=len(task["levels"]),
        loss=QuantileLoss([float(level) for level in task["levels"]]),
        optimizer="adam",
        log_interval=-1,
    )


class Watch(pl.Callback):
    """CPU seconds at the end of each step; looks at the validation windows in between, off the clock."""

    def __init__(self, every=0, look=None):
        self.at, self.seconds, self.losses = [], [], []
        self.every, self.look, self.off, self.began = every, look, 0.0, None

    def on_train_epoch_start(self, trainer, model):
        if self.began is None:
            self.began = time.process_time()

    def on_train_batch_end(self, trainer, model, outputs, batch, number):
        now = time.process_time()
        self.at.append(now)
        if self.every and len(self.at) % self.every == 0:
            self.seconds.append(now - self.began - self.off)
            model.eval()
            self.losses.append(self.look(model))
            model.train()
            self.off += time.process_time() - now


def fit(model, loader, batches, watch):
    trainer = pl.Trainer(
        max_epochs=-1,
        max_steps=batches,
        accelerator="cpu",
        gradient_clip_val=0.1 if watch.every == 0 else 1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    trainer.fit(model, train_dataloaders=loader)


def train_speed(task, dataset, size):
    watch = Watch()
    batches = WARM + max(4, TIMED_WINDOWS // size)
    fit(
        model_of(task, dataset, 1e-3), dataset.to_dataloader(train=True, batch_size=size, num_workers=0), batches, watch
    )
    return (batches - WARM) * size / (watch.at[-1] - watch.at[WARM - 1])


def clocked(work, windows):
    best = np.inf
    for _ in range(2):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return windows / best


def infer_bare(model, loader):
    with torch.inference_mode():
        return [model(x).prediction for x, _ in loader]


def infer_api(model, loader):
    quiet = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    return model.predict(loader, mode="quantiles", trainer_kwargs=quiet)


def inference_speed(task, model):
    rows = task["inference_rows"][-60:]
    dataset = dataset_of(task, rows[0], rows[-1])
    speeds = {}
    for size in PREDICT_BATCHES:
        loader = dataset.to_dataloader(train=False, batch_size=size, num_workers=0)
        speeds[f"loop_{size}"] = clocked(lambda loader=loader: infer_bare(model.eval(), loader), len(dataset))
        speeds[f"predict_{size}"] = clocked(lambda loader=loader: infer_api(model.eval(), loader), len(dataset))
    return speeds


def validation(task):
    """Return what gives the mean pinball loss of the validation windows."""
    rows, steps = task["validation_rows"], int(task["sizes"][1])
    dataset = dataset_of(task, rows[0], rows[-1])
    ends = dataset.index.time + int(task["sizes"][0]) - 1
    dataset.index = dataset.index[ends.isin(rows)].reset_index(drop=True)
    assert len(dataset) == len(rows) * task["past"].shape[1], (len(dataset), steps)
    batches = list(dataset.to_dataloader(train=False, batch_size=512, num_workers=0))
    levels = torch.tensor(task["levels"], dtype=torch.float32)

    @torch.inference_mode()
    def look(model):
        total = 0.0
        for x, (y, _) in batches:
            error = y.unsqueeze(-1) - model(x).prediction
            total += float(torch.maximum(levels * error, (levels - 1) * error).mean((1, 2)).sum())
        return total / len(dataset)

    return look


def speed(task):
    rows = task["train_rows"]
    dataset = dataset_of(task, rows[-700], rows[-1])
    train = {str(size): train_speed(task, dataset, size) for size in TRAIN_BATCHES}
    model = model_of(task, dataset, 1e-3)
    inference = inference_speed(task, model)
    return {
        "train": train | {"best": max(train.values())},
        "inference": inference | {"best": max(inference.values())},
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def loss(task, learning_rate, windows, looks, size=128):
    rows = task["train_rows"]
    dataset = dataset_of(task, rows[0], rows[-1])
    watch = Watch(windows // size // looks, validation(task))
    loader = dataset.to_dataloader(train=True, batch_size=size, num_workers=0)
    fit(model_of(task, dataset, learning_rate), loader, watch.every * looks, watch)
    return {"seconds": watch.seconds, "losses": watch.losses, "learning_rate": learning_rate, "batch": size}


def main():
    task = dict(np.load(sys.argv[1]))
    rate, windows, looks = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    result = speed(task) if sys.argv[2] == "speed" else loss(task, rate, windows, looks)
    versions = {"pytorch-forecasting": pytorch_forecasting.__version__, "torch (peer)": torch.__version__}
    print(json.dumps(result | {"versions": versions}))


main()
