"""Calibration from blocks of each fold's training rows, in the corridor: no future, no held-out label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.calibration.blocked import METHODS
from tradewind.evaluation import corridor
from tradewind.evaluation.backtest import backtest
from tradewind.evaluation.corridor import World
from tradewind.evaluation.fold_cache import FoldCache, key_of
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.training import train
from tradewind.models.base import Windows
from tradewind.models.forecast import Forecast
from tradewind.playbook import load as load_playbook


def under(quick: QuickRun, stop: int | None = None, **overrides: object) -> World:
    """Return the quick run's world, up to a bar, under other settings."""
    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    panel = quick.record.world.panel
    plan = Plan.of(load_playbook(quick.playbook, overrides=flags))
    return corridor.build_world(plan, panel if stop is None else panel.head(stop))


def raw(world: World) -> Forecast:
    return corridor.forecast_out_of_sample(world, world.plan.models.use, FoldCache(None))


@pytest.mark.parametrize("method", METHODS)
def test_a_calibrated_forecast_is_the_same_with_and_without_a_future(quick: QuickRun, method: str) -> None:
    world, then = under(quick, calibration__method=method), under(quick, 350, calibration__method=method)
    whole, part = corridor.calibrated(world, raw(world))[0], corridor.calibrated(then, raw(then))[0]
    assert part.available[-1].all()
    np.testing.assert_allclose(part.quantiles, whole.quantiles[:350], atol=1.01e-6)
    assert not np.allclose(whole.quantiles, raw(world).quantiles, equal_nan=True, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_and_folds_that_open_without_a_member_keep_their_place(quick: QuickRun, method: str) -> None:
    world = under(quick, calibration__method=method)
    fold = corridor.folds_of(world)[-1]
    block = np.array_split(fold.train, 5)[-1]
    member = world.panel.member.copy()
    empty = [int(block[0]), int(fold.test[0]), int(fold.test[0]) + 1]
    member[empty] = False
    gone = corridor.build_world(world.plan, replace(world.panel, member=member))
    quantiles = corridor.calibrated(gone, raw(gone))[0].quantiles
    assert not np.isfinite(quantiles[empty[1:]]).any()
    assert np.isfinite(quantiles[empty[-1] + 1 :]).all()
    whole = corridor.calibrated(world, raw(world))[0].quantiles
    rest = slice(empty[-1] + 1, None)
    width = whole[rest, ..., -1:] - whole[rest, ..., :1]
    assert np.abs((quantiles[rest] - whole[rest]) / width).max() < 0.05


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Windows]:
    """Collect what every model is shown to learn from."""
    shown: list[Windows] = []
    real = corridor.MODELS.create

    def spying(name: str, **parameters: Any) -> Any:
        model = real(name, **parameters)
        fit = model.fit

        def seen(windows: Windows) -> Any:
            shown.append(windows)
            return fit(windows)

        model.fit = seen  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(corridor.MODELS, "create", spying)
    return shown


def test_a_model_that_scores_a_block_is_shown_no_label_of_it(quick: QuickRun, fits: list[Windows]) -> None:
    world = under(quick, 290, calibration__method="cross")
    forecast = raw(world)
    fits.clear()
    corridor.calibrated(world, forecast)
    (fold,) = corridor.folds_of(world)
    longest = max(world.labels.horizons)
    blocks = np.array_split(fold.train, 5)
    assert len(fits) == 5
    for windows, block in zip(fits, blocks, strict=True):
        labelled = np.unique(np.nonzero(np.isfinite(windows.labels.returns))[0])
        assert set(windows.rows) <= set(labelled) <= set(fold.train)
        assert np.all((labelled + longest < block[0]) | (labelled > block[-1] + longest))


def test_method_blocks_and_coverage_are_in_the_key(quick: QuickRun) -> None:
    world = under(quick)
    fold = corridor.folds_of(world)[0]
    chosen = [
        {},
        {"calibration": "cross", "blocks": 5, "coverage": 0.8},
        {"calibration": "split", "blocks": 5, "coverage": 0.8},
        {"calibration": "cross", "blocks": 4, "coverage": 0.8},
        {"calibration": "cross", "blocks": 5, "coverage": 0.5},
    ]
    assert len({key_of(world, "ridge", fold, **besides) for besides in chosen}) == len(chosen)


def test_folds_stored_under_another_calibration_are_not_read(quick: QuickRun, tmp_path: Path) -> None:
    cache = FoldCache(tmp_path)
    for chosen in ({}, {"calibration__coverage": 0.5}, {"calibration__folds": 4}, {"calibration__method": "split"}):
        world = under(quick, **{"calibration__method": "cross", **chosen})
        forecast = raw(world)
        stored = corridor.calibrated(world, forecast, cache)[0]
        np.testing.assert_array_equal(stored.quantiles, corridor.calibrated(world, forecast)[0].quantiles)


def test_finished_blocks_are_read_and_not_fitted_again(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"calibration__method": "jackknife_plus", "calibration__folds": 2}
    train(workspace(quick.playbook, tmp_path, **chosen))
    monkeypatch.setattr(corridor.MODELS, "create", lambda *_, **__: pytest.fail("a model was fitted again"))
    world = under(quick, **chosen)
    cache = FoldCache(tmp_path / "folds")
    forecast = corridor.forecast_out_of_sample(world, "ridge", cache)
    first, second = (corridor.calibrated(world, forecast, cache)[0] for _ in range(2))
    np.testing.assert_array_equal(first.quantiles, second.quantiles)


@pytest.mark.parametrize("method", METHODS)
def test_a_back_test_reports_their_coverage_over_time(quick: QuickRun, home: Path, method: str) -> None:
    record = backtest(workspace(quick.playbook, home, calibration__method=method, calibration__folds=3))
    for horizon in ("1", "5"):
        said = record.result["coverage"][horizon]
        assert said["nominal"] == 0.8 and 0.6 < said["realised"] < 0.95
        assert said["by_year"] and said["rolling_100_deviation"] is not None
    assert "ridge (calibrated)" in record.result["forecast_quality"]
