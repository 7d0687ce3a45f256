"""How what is asked is cut into runs: everything once, long where that shares rows, short where it would waste."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradewind.models.base import MODELS
from tradewind.models.networks import forecaster
from tradewind.models.networks.forecaster import LONGEST_RUN, cheapest_runs
from tradewind.models.networks.sequences import Sequences
from tradewind.models.networks.training import Examples

LENGTH, BARS, SYMBOLS = 60, 400, 4


def cut(rows, columns, tiers=None):
    statics = torch.zeros(SYMBOLS, BARS, 1, dtype=torch.int64) if tiers is None else tiers
    sequences = Sequences((), torch.zeros(SYMBOLS, BARS, 1), statics, torch.zeros(BARS, 1, 1), 0)
    everything = np.arange(len(rows))
    return cheapest_runs(Examples(sequences, rows, columns, everything, everything), everything, LENGTH)


def every(rows):
    grid = np.meshgrid(rows, np.arange(SYMBOLS))
    return grid[0].ravel(), grid[1].ravel()


def test_days_in_a_row_are_cut_evenly_and_no_window_is_computed_in_vain():
    runs = cut(*every(np.arange(130, 382)))
    assert runs.sample.shape == (SYMBOLS * 3, 84)
    assert (runs.sample >= 0).all()


def test_the_newest_day_alone_is_computed_alone():
    assert cut(*every(np.array([399]))).sample.shape == (SYMBOLS, 1)


def test_windows_far_apart_are_computed_alone():
    assert cut(*every(np.arange(5, 400, 50))).sample.shape[1] == 1


def test_runs_are_shorter_where_a_category_changes_often():
    tiers = (torch.arange(BARS) // 12 % 2).expand(SYMBOLS, BARS)[..., None]
    assert 1 < cut(*every(np.arange(96, 384)), tiers).sample.shape[1] <= 24


@given(st.sets(st.integers(0, BARS * SYMBOLS - 1), min_size=1, max_size=300))
def test_everything_that_is_asked_is_in_one_run_once(asked):
    rows, columns = np.divmod(np.array(sorted(asked)), SYMBOLS)
    runs = cut(rows, columns)
    assert runs.sample.shape[1] <= LONGEST_RUN
    place, slot = np.nonzero(runs.sample >= 0)
    number = runs.sample[place, slot]
    assert sorted(number.tolist()) == list(range(len(rows)))
    assert (runs.column[place] == columns[number]).all()
    assert (runs.last[place] - (runs.sample.shape[1] - 1 - slot) == rows[number]).all()


@pytest.mark.parametrize("name", ["tft", "lstm"])
def test_forecasts_do_not_depend_on_the_runs_they_came_in(name, make_panel, make_windows, monkeypatch):
    small = {"window_bars": 20, "width": 8, "epochs": 1, "epoch_windows": 200, "batch_windows": 128}
    panel = make_panel(bars=200)
    model = MODELS.create(name, **small).fit(make_windows(panel, np.arange(20, 150)))
    asked = make_windows(panel, np.arange(3, 200))
    whole = model.predict(asked).quantiles
    monkeypatch.setattr(forecaster, "LONGEST_RUN", 1)
    np.testing.assert_allclose(model.predict(asked).quantiles, whole, rtol=0, atol=1e-12)
