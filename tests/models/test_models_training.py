"""The trainer: the same twice, the same after a kill, stopped in time, and loud where numbers break."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import DataError, InputError
from tradewind.models.base import MODELS
from tradewind.models.networks import training
from tradewind.models.networks.forecaster import Losses, Targets, split_early_late
from tradewind.models.networks.heads import QuantileHead, free
from tradewind.models.networks.network import Block, Outputs, rising

SMALL = {"window_bars": 20, "width": 8, "epochs": 4, "epoch_windows": 400, "batch_windows": 128, "seed": 3}
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def learn(make_panel, make_windows):
    windows = make_windows(make_panel(bars=300), np.arange(50, 250))
    return lambda model: model.fit(windows)


@pytest.fixture(scope="module")
def asked(make_panel, make_windows):
    return make_windows(make_panel(bars=300), np.arange(250, 300))


class Killed(BaseException):
    """What a kill looks like from within."""


def test_a_training_killed_after_any_epoch_goes_on_to_the_same_forecasts(learn, asked, tmp_path):
    whole = learn(MODELS.create("lstm", **SMALL))
    for stop in (1, 2, 3):

        def killed(_name: str, done: int, _total: int, stop: int = stop) -> None:
            if done == stop:
                raise Killed

        folder = tmp_path / str(stop)
        model = MODELS.create("lstm", **SMALL)
        model.resume_in(folder, killed)
        with pytest.raises(Killed):
            learn(model)
        assert len(list(folder.glob("*.safetensors"))) == 1
        seen: list[int] = []
        again = MODELS.create("lstm", **SMALL)
        again.resume_in(folder, lambda _name, done, _total, seen=seen: seen.append(done))
        learn(again)
        assert seen[0] == stop
        assert again.version_ == whole.version_
        np.testing.assert_array_equal(again.predict(asked).quantiles, whole.predict(asked).quantiles)
        assert not list(folder.iterdir())


KILLED = """
import sys, os, signal
sys.path[:0] = {path!r}
from conftest import a_panel, the_windows
import numpy as np
from pathlib import Path
from tradewind.models.base import MODELS
def progress(_name, done, _total):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
model = MODELS.create("lstm", **{small!r})
model.resume_in(Path({folder!r}), progress)
model.fit(the_windows(a_panel(bars=300), np.arange(50, 250)))
"""


def test_a_process_killed_with_signal_nine_is_taken_up_by_the_next(learn, tmp_path):
    code = KILLED.format(path=[str(Path(__file__).parent)], small=SMALL, folder=str(tmp_path))
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    again = MODELS.create("lstm", **SMALL)
    seen: list[int] = []
    again.resume_in(tmp_path, lambda _name, done, _total: seen.append(done))
    assert learn(again).version_ == learn(MODELS.create("lstm", **SMALL)).version_
    assert seen[0] == 2


def test_a_truncated_checkpoint_is_not_believed_and_the_training_begins_anew(learn, tmp_path):
    def killed(_name: str, done: int, _total: int) -> None:
        if done == 2:
            raise Killed

    model = MODELS.create("lstm", **SMALL)
    model.resume_in(tmp_path, killed)
    with pytest.raises(Killed):
        learn(model)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    again = MODELS.create("lstm", **SMALL)
    seen: list[int] = []
    again.resume_in(tmp_path, lambda _name, done, _total: seen.append(done))
    with pytest.raises(DataError, match="cannot be read"):
        training.read_checkpoint(path)
    assert learn(again).version_ == learn(MODELS.create("lstm", **SMALL)).version_
    assert seen[0] == 0


def test_other_settings_do_not_take_up_the_checkpoint(learn, tmp_path):
    def killed(_name: str, done: int, _total: int) -> None:
        if done == 2:
            raise Killed

    model = MODELS.create("lstm", **SMALL)
    model.resume_in(tmp_path, killed)
    with pytest.raises(Killed):
        learn(model)
    seen: list[int] = []
    other = MODELS.create("lstm", **{**SMALL, "learning_rate": 2e-3})
    other.resume_in(tmp_path, lambda _name, done, _total: seen.append(done))
    learn(other)
    assert seen[0] == 0


def test_other_values_of_a_feature_do_not_take_up_the_checkpoint(make_panel, make_windows, tmp_path):
    windows = make_windows(make_panel(bars=300), np.arange(50, 250))

    def killed(_name: str, done: int, _total: int) -> None:
        if done == 2:
            raise Killed

    model = MODELS.create("lstm", **SMALL)
    model.resume_in(tmp_path, killed)
    with pytest.raises(Killed):
        model.fit(windows)
    values = windows.features.values.copy()
    values[100, 0, 0] += 0.5
    seen: list[int] = []
    again = MODELS.create("lstm", **SMALL)
    again.resume_in(tmp_path, lambda _name, done, _total: seen.append(done))
    again.fit(replace(windows, features=replace(windows.features, values=values)))
    assert seen[0] == 0


def test_another_seed_gives_other_forecasts_and_several_their_mean(learn, asked):
    one, two = (learn(MODELS.create("lstm", **{**SMALL, "seed": s})).predict(asked).quantiles for s in (3, 4))
    both = learn(MODELS.create("lstm", **SMALL, seeds=2)).predict(asked).quantiles
    assert np.nanmax(np.abs(one - two)) > 1e-5
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-12)


def test_runs_and_random_windows_learn_alike(learn, asked):
    made = [learn(MODELS.create("lstm", **SMALL, run_windows=r)).predict(asked).quantiles for r in (1, 16)]
    spread = np.nanmean(made[0][..., -1] - made[0][..., 0])
    assert 0 < np.nanmean(np.abs(made[0] - made[1])) < 0.2 * spread


def test_a_number_that_breaks_is_said_with_its_epoch_batch_and_bars(learn, monkeypatch):
    real = Losses.__call__

    def broken(self, network, block, sample):
        value = real(self, network, block, sample)
        return value * torch.nan if network.training else value

    monkeypatch.setattr(Losses, "__call__", broken)
    with pytest.raises(
        DataError, match=r"epoch 1, batch 1 of \d+: the loss is nan.*rows \d+ to \d+ of columns \["
    ) as said:
        learn(MODELS.create("lstm", **SMALL))
    assert "learning_rate" in said.value.hint


def test_no_memory_for_a_batch_is_said_with_its_size(learn, monkeypatch):
    def full(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Losses, "__call__", full)
    with pytest.raises(DataError, match=r"no memory for a batch of \d+ windows") as said:
        learn(MODELS.create("lstm", **SMALL))
    assert "batch_windows" in said.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_asked_for_and_not_there_is_refused(learn):
    with pytest.raises(InputError, match="no CUDA"):
        learn(MODELS.create("lstm", **SMALL, device="cuda"))
    with pytest.raises(InputError, match="is none"):
        learn(MODELS.create("lstm", **SMALL, device="tpu"))


def test_training_leaves_torch_s_generator_and_threads_as_they_were(learn):
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    learn(MODELS.create("lstm", **SMALL))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_it_stops_where_the_later_part_is_no_longer_told_better(learn):
    model = learn(MODELS.create("lstm", **{**SMALL, "epochs": 40, "patience": 2, "learning_rate": 0.02}))
    (history,) = model.fitted_.histories
    assert len(history.late) < 40
    assert history.best == int(np.argmin(history.late)) == len(history.late) - 3


def test_no_label_of_the_early_part_reaches_into_the_later_one():
    rows = np.repeat(np.arange(400), 3)
    early, late = split_early_late(rows, 0.2, 20)
    assert rows[early].max() + 20 < rows[late].min()
    with pytest.raises(DataError, match="samples leave"):
        split_early_late(rows[:150], 0.2, 20)


def test_a_planted_rule_is_learnt(make_panel, make_windows):
    """The next return follows a feature: the median must too, out of sample."""
    panel = make_panel(bars=700)
    windows = make_windows(panel, np.arange(80, 600))
    rng = np.random.default_rng(0)
    sign = rng.choice([-1.0, 1.0], panel.shape)
    scale = np.abs(rng.normal(0, 0.004, panel.shape))
    returns = np.stack([0.012 * sign + scale * rng.normal(size=panel.shape)] * 2, axis=-1)

    def planted(windows):
        values = windows.features.values.copy()
        values[..., 0] = sign[: len(values)]
        labels = replace(windows.labels, returns=returns[: len(values)])
        return replace(windows, features=replace(windows.features, values=values), labels=labels)

    model = MODELS.create("lstm", **{**SMALL, "epochs": 8, "epoch_windows": 3000, "learning_rate": 5e-3})
    forecast = model.fit(planted(windows)).predict(planted(make_windows(panel, np.arange(600, 700))))
    right = np.sign(forecast.score[..., 0]) == sign[600:]
    assert right[forecast.available[..., 0]].mean() > 0.97
    assert next(iter(forecast.explanation["importance"])) == "last_return"


def test_barrier_classes_are_learnt_and_told(make_panel, make_windows):
    panel = make_panel(bars=400)
    windows = make_windows(panel, np.arange(60, 330))
    classes = np.sign(np.nan_to_num(windows.labels.returns)).astype(np.int8)
    barred = replace(windows, labels=replace(windows.labels, classes=classes))
    model = MODELS.create("transformer", **SMALL).fit(barred)
    forecast = model.predict(make_windows(panel, np.arange(330, 400)))
    assert forecast.probabilities is not None
    made = forecast.probabilities[forecast.available]
    np.testing.assert_allclose(made.sum(axis=-1), 1.0)
    assert made[:, 1].mean() < 0.2  # hardly any return is exactly nothing
    assert np.isnan(forecast.probabilities[~forecast.available]).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=9).filter(lambda v: len(v) % 2 == 1))
def test_any_numbers_become_rising_quantiles_and_back(numbers):
    raw = torch.tensor(numbers, dtype=torch.float64)
    quantiles = rising(raw)
    assert (torch.diff(quantiles) > 0).all()
    steps = torch.diff(quantiles).min()
    if steps > 1e-3:
        np.testing.assert_allclose(free(quantiles), raw, atol=1e-8)


def test_an_untrained_head_says_what_is_true_on_average():
    torch.manual_seed(0)
    head = QuantileHead(16, 2, 3)
    wanted = torch.tensor([[-1.3, 0.1, 1.2], [-1.0, -0.1, 1.5]])
    head.start_at(wanted)
    np.testing.assert_allclose(head(torch.zeros(1, 16))[0].detach(), wanted, atol=1e-5)


class _Says(torch.nn.Module):
    def __init__(self, outputs: Outputs) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, _block: Block) -> Outputs:
        return self.outputs


def test_the_loss_is_the_weighted_pinball_of_the_windows_that_were_asked_for():
    rng = np.random.default_rng(1)
    truth, weight = rng.normal(size=(4, 2)), rng.uniform(0.5, 1.5, (4, 2))
    truth[1, 0], weight[1, 0] = np.nan, 0.0
    said = np.sort(rng.normal(size=(2, 3, 2, 3)), axis=-1)
    sample = np.array([[0, 1, -1], [-1, 3, 2]])
    targets = Targets(torch.from_numpy(truth).float(), torch.from_numpy(weight).float())
    outputs = Outputs(torch.from_numpy(said).float())
    block = Block(torch.zeros(2, 5, 1), torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 3, 2, 1))
    value = float(Losses(LEVELS, targets)(_Says(outputs), block, sample))  # type: ignore[arg-type]
    total, weights = 0.0, 0.0
    for s, r in zip(*np.nonzero(sample >= 0), strict=True):
        for h in range(2):
            if weight[sample[s, r], h]:
                errors = [truth[sample[s, r], h] - q for q in said[s, r, h]]
                pinball = np.mean([max(a * e, (a - 1) * e) for a, e in zip(LEVELS, errors, strict=True)])
                total += weight[sample[s, r], h] * pinball
                weights += weight[sample[s, r], h]
    assert value == pytest.approx(total / weights, rel=1e-5)
