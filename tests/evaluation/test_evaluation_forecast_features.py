"""Forecasts as features (row D3): at every bar from a model fitted before it, and seen by nobody who made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from spine_kit import QuickRun, workspace
from tradewind.errors import DataError, InputError, PlaybookError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import World
from tradewind.evaluation.fold_cache import FoldCache, key_of
from tradewind.features.table import Features
from tradewind.models.as_features import absent, as_features, sigma_of, specs_of
from tradewind.models.forecast import GRID

NOWHERE = FoldCache(None)
FIRST = 100
COLUMNS = tuple(
    f"forecast_{model}_{horizon}_{part}"
    for model in ("har", "ridge")
    for horizon in (1, 5)
    for part in ("score", "sigma")
)


def plan_of(quick: QuickRun, forecasts: tuple[str, ...] = ("har", "ridge"), **overrides: object):
    flags = {"features__forecasts": list(forecasts), "features__forecast_min_train_bars": FIRST, **overrides}
    return workspace(quick.playbook, quick.home, **flags).plan


@pytest.fixture(scope="module")
def world(quick: QuickRun) -> World:
    return corridor.build_world(plan_of(quick), quick.record.world.panel)


def the_forecasts(world: World) -> np.ndarray:
    """The columns that are forecasts, ``(T, N, 8)``."""
    return world.features.values[:, :, [world.features.names.index(name) for name in COLUMNS]]


def test_each_model_and_horizon_gives_an_expected_return_and_a_sigma(world: World) -> None:
    assert world.features.names[-8:] == COLUMNS
    assert world.features.names[:-8] == corridor.computed_features(world.plan, world.panel).names


def test_each_column_says_what_it_is_and_in_which_unit() -> None:
    specs = specs_of(("har", "ridge"), (1, 5))
    assert tuple(spec.name for spec in specs) == COLUMNS
    assert {spec.unit for spec in specs} == {"log return"}
    assert all("earlier bars" in spec.description and spec.source for spec in specs)
    assert "5-bar" in specs[2].description


def test_they_are_missing_before_the_first_fold_and_there_from_then_on(world: World) -> None:
    begins = int(corridor.forecast_folds(world)[0].test[0])
    assert begins == FIRST + 5 + world.plan.labels.embargo_bars
    assert np.isnan(the_forecasts(world)[:begins]).all()
    assert np.isfinite(the_forecasts(world)[begins:]).all()


def test_they_are_the_models_own_walk_forward(quick: QuickRun, world: World) -> None:
    base = corridor.base_world(world.plan, world.panel)
    forecast = corridor.forecast_out_of_sample(base, "ridge", NOWHERE, folds=corridor.forecast_folds(base))
    np.testing.assert_allclose(world.features.column("forecast_ridge_5_score"), forecast.score[:, :, 1], atol=GRID)
    np.testing.assert_allclose(world.features.column("forecast_ridge_5_sigma"), sigma_of(forecast)[:, :, 1], atol=GRID)


@settings(max_examples=8)
@given(stop=st.integers(20, 420))
def test_a_prefix_of_history_gives_a_prefix_of_the_forecasts(world: World, stop: int) -> None:
    then = corridor.build_world(world.plan, world.panel.head(stop))
    np.testing.assert_allclose(the_forecasts(then), the_forecasts(world)[:stop], atol=1.01 * GRID, rtol=0)


def test_their_models_see_computed_features_alone_and_the_plans_models_see_all(
    quick: QuickRun, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []
    windows = corridor.windows

    def watched(world: World, rows: np.ndarray):
        seen.append(world.features.names)
        return windows(world, rows)

    monkeypatch.setattr(corridor, "windows", watched)
    again = corridor.build_world(world.plan, world.panel)
    assert set(seen) == {corridor.computed_features(world.plan, world.panel).names}
    seen.clear()
    fold = corridor.folds_of(again)[0]
    made = corridor.forecast_fold(again, "ridge", fold)
    assert set(seen) == {again.features.names}
    assert set(made.explanation["importance"]) & set(COLUMNS)


def test_a_models_forecasts_do_not_depend_on_who_else_is_asked(quick: QuickRun, world: World) -> None:
    alone = corridor.build_world(plan_of(quick, ("ridge",)), world.panel)
    np.testing.assert_array_equal(
        alone.features.column("forecast_ridge_1_sigma"), world.features.column("forecast_ridge_1_sigma")
    )


def test_a_history_too_short_for_a_fold_has_the_columns_with_nothing_in_them(world: World) -> None:
    short = corridor.build_world(world.plan, world.panel.head(FIRST))
    assert short.features.names == world.features.names
    assert np.isnan(the_forecasts(short)).all()
    assert any("history is too short" in note for note in short.notes)


def test_a_note_says_from_when_on_they_are_known(world: World) -> None:
    begins = str(world.panel.times[corridor.forecast_folds(world)[0].test[0]])[:10]
    assert any(f"from {begins} on" in note for note in world.notes)


def test_finished_folds_are_kept_and_found_again(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FoldCache(tmp_path / "folds")
    once = corridor.build_world(world.plan, world.panel, cache=cache)
    assert len(list((tmp_path / "folds").iterdir())) == 2 * len(corridor.forecast_folds(world))

    def never(*_: object) -> None:
        raise AssertionError("a stored fold was fitted again")

    monkeypatch.setattr(corridor, "forecast_fold", never)
    twice = corridor.build_world(world.plan, world.panel, cache=cache)
    np.testing.assert_array_equal(once.features.values, twice.features.values)


@pytest.mark.parametrize(
    "change",
    [
        {"models__parameters": {"har": {"maximum_samples": 500}}},
        {"features__forecast_min_train_bars": 120},
        {"evaluation__refit_bars": 120},
        {"evaluation__window": "rolling"},
    ],
)
def test_a_fold_is_made_again_when_the_forecasts_in_it_are_others(
    quick: QuickRun, world: World, change: dict[str, object]
) -> None:
    fold = corridor.folds_of(world)[0]
    other = replace(world, plan=plan_of(quick, **change))
    assert key_of(other, "ridge", fold) != key_of(world, "ridge", fold)


def test_an_unknown_model_is_refused_with_the_nearest_name(quick: QuickRun, world: World) -> None:
    with pytest.raises(InputError, match="ridge"):
        corridor.build_world(plan_of(quick, ("rigde",)), world.panel)


def test_an_unknown_model_is_refused_where_history_is_too_short_too(quick: QuickRun, world: World) -> None:
    with pytest.raises(InputError, match="ridge"):
        corridor.build_world(plan_of(quick, ("rigde",)), world.panel.head(50))


def test_a_model_named_twice_is_refused(quick: QuickRun) -> None:
    with pytest.raises(PlaybookError, match="twice"):
        plan_of(quick, ("har", "har"))


def test_sigma_is_that_of_the_normal_with_the_same_middle(world: World) -> None:
    forecast = corridor.forecast_fold(world, "naive_normal", corridor.folds_of(world)[0])
    size = forecast.quantiles[..., -1] / ndtri(forecast.levels[-1])
    np.testing.assert_allclose(sigma_of(forecast), size, rtol=1e-9)


def test_as_features_keeps_missing_missing(world: World) -> None:
    forecast = corridor.forecast_fold(world, "naive_normal", corridor.folds_of(world)[0])
    gone = replace(forecast, quantiles=np.full_like(forecast.quantiles, np.nan), score=forecast.score * np.nan)
    assert np.isnan(as_features("naive_normal", gone).values).all()
    assert as_features("naive_normal", gone).names == absent("naive_normal", gone.times, gone.symbols, (1, 5)).names


def test_tables_of_other_bars_are_not_joined(world: World) -> None:
    with pytest.raises(DataError, match="joined"):
        world.features.joined(world.features.head(10))
    doubled = Features.joined(world.features, world.features)
    assert doubled.values.shape[-1] == 2 * len(world.features.names)
