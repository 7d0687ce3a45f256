"""The Temporal Fusion Transformer as a model: the path lies around the close, and what was selected is told."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tradewind.models.base import MODELS

SMALL = {"window_bars": 20, "width": 8, "epochs": 4, "epoch_windows": 800, "batch_windows": 128, "seed": 3}


@pytest.fixture(scope="module")
def made(make_panel, make_windows):
    panel = make_panel(bars=400)
    model = MODELS.create("tft", **SMALL).fit(make_windows(panel.head(330), np.arange(50, 330)))
    windows = make_windows(panel, np.arange(330, 400))
    return panel, windows, model.predict(windows)


def test_low_close_and_high_keep_their_order_at_every_level(made):
    _, _, forecast = made
    there = forecast.available
    low, close, high = (part[there] for part in (forecast.low, forecast.quantiles, forecast.high))
    assert (low <= close).all()
    assert (close <= high).all()
    assert (low <= 0).all()
    assert (high >= 0).all()
    for part in (low, high):
        assert (np.diff(part, axis=-1) >= 0).all()


def test_the_path_is_about_as_wide_as_it_was_told(made):
    from tradewind.labels.path import path_extremes

    panel, windows, forecast = made
    high, low = path_extremes(panel, windows.labels.horizons)
    for said, came in ((forecast.high, high[330:]), (forecast.low, low[330:])):
        known = np.isfinite(came) & forecast.available
        below = (came <= said[..., len(forecast.levels) // 2])[known].mean()
        assert 0.3 < below < 0.7


def test_selection_and_attention_are_shares(made):
    panel, _, forecast = made
    told = forecast.explanation
    assert sum(told["importance"].values()) == pytest.approx(1.0, abs=1e-3)
    assert set(told["latest"]) == set(panel.symbols)
    assert set(told["attention"]) == {"1", "5"}
    for shares in told["attention"].values():
        assert len(shares) == 20 + 2
        assert sum(shares) == pytest.approx(1.0, abs=1e-3)


def test_naming_the_models_imports_no_torch():
    code = "import sys; from tradewind.models.base import MODELS; MODELS.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_answer_is_the_command_that_installs_it(made, monkeypatch, make_windows):
    import importlib.util

    from tradewind.errors import InputError

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else real(name, *a))
    with pytest.raises(InputError, match="needs torch, not installed") as said:
        MODELS.create("tft", **SMALL).fit(make_windows(made[0], np.arange(50, 330)))
    assert "tradewind[deep]" in said.value.hint
