"""A network asked bar after bar says what it says when it is asked about its whole history."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradewind.errors import DataError
from tradewind.models.base import MODELS
from tradewind.models.networks.export import export_fitted, runners_of
from tradewind.models.networks.sequences import BarChannels, bar_channels
from tradewind.models.sequence_model import SequenceModel

pytest.importorskip("onnxruntime", reason="pip install 'tradewind[onnx]'")

SPLIT, STEPS = 600, 30
NETWORKS = [name for name in MODELS.names() if issubclass(MODELS.factory(name), SequenceModel)]
SMALL = {"window_bars": 10, "width": 8, "epochs": 1, "epoch_windows": 200, "batch_windows": 128}


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel()


@pytest.fixture(scope="module")
def training(panel, make_windows):
    return make_windows(panel.head(SPLIT), np.arange(4, SPLIT))


def newest(windows, row):
    """The samples of one row, known when it closes and no later."""
    here = windows.rows == row
    return replace(
        windows,
        panel=windows.panel.head(row + 1),
        features=windows.features.head(row + 1),
        labels=windows.labels.head(row + 1),
        rows=windows.rows[here],
        columns=windows.columns[here],
    )


def history(windows, row):
    return replace(newest(windows, row - 1), rows=windows.rows[:0], columns=windows.columns[:0])


def stepped(model, windows, runners=()):
    stepper = model.stepper(history(windows, SPLIT), runners)
    return [stepper.step(newest(windows, row)) for row in range(SPLIT, SPLIT + STEPS)]


@pytest.fixture(scope="module")
def fresh(panel, make_windows):
    return make_windows(panel, np.arange(SPLIT, SPLIT + STEPS))


@pytest.mark.parametrize("name", NETWORKS)
def test_bar_after_bar_is_the_whole_at_once(name, training, fresh, tmp_path):
    model = MODELS.create(name, seed=7, **SMALL).fit(training)
    whole = model.predict(fresh)
    if model.whole_dates:
        assert model.stepper(history(fresh, SPLIT)) is None
        return
    for row, said in enumerate(stepped(model, fresh)):
        for part, values in said.arrays.items():
            wanted = whole.arrays[part][row]
            np.testing.assert_allclose(values[0], wanted, rtol=0, atol=1e-12, err_msg=f"{part} of row {row}")
        assert said.times[0] == whole.times[row]
        assert said.version == whole.version


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_files_say_the_same_to_the_last_bit_bar_after_bar(name, training, fresh, tmp_path):
    model = MODELS.create(name, seed=7, **SMALL).fit(training)
    runners = runners_of([one.path for one in export_fitted(model, "onnx", tmp_path, training)])
    whole = model.predict_with(runners, fresh)
    for row, said in enumerate(stepped(model, fresh, runners)):
        for part, values in said.arrays.items():
            np.testing.assert_array_equal(values[0], whole.arrays[part][row], err_msg=f"{part} of row {row}")


def test_whoever_else_is_asked_about_does_not_matter_to_a_file(training, fresh, tmp_path):
    model = MODELS.create("lstm", seed=7, **SMALL).fit(training)
    runners = runners_of([one.path for one in export_fitted(model, "onnx", tmp_path, training)])
    whole, alone = model.predict_with(runners, fresh), newest(fresh, SPLIT + 3)
    said = model.predict_with(runners, alone)
    np.testing.assert_array_equal(said.quantiles[0], whole.quantiles[3])


@pytest.mark.parametrize("cuts", [(1, 2, 3), (50,), (19, 20, 21, 300), tuple(range(1, 120))])
def test_bars_are_read_alike_in_blocks_of_any_size(panel, cuts):
    whole = bar_channels(panel)
    reader, start, parts = BarChannels(panel.shape[1]), 0, []
    for stop in (*cuts, len(panel)):
        parts.append(reader.step(panel.head(stop), start))
        start = stop
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_bar_is_read_once_and_in_its_turn(training, fresh):
    model = MODELS.create("lstm", seed=7, **SMALL).fit(training)
    stepper = model.stepper(history(fresh, SPLIT))
    stepper.step(newest(fresh, SPLIT))
    for row in (SPLIT, SPLIT + 2):
        with pytest.raises(DataError, match=f"bar {SPLIT + 1} is next to be read"):
            stepper.step(newest(fresh, row))


def test_other_features_are_refused(training, fresh):
    model = MODELS.create("lstm", seed=7, **SMALL).fit(training)
    renamed = replace(fresh.features, names=("other", *fresh.features.names[1:]))
    with pytest.raises(DataError, match="trained on other features"):
        model.stepper(history(replace(fresh, features=renamed), SPLIT))
