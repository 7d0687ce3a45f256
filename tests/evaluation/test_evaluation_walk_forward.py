"""Forecasts come from models that had not seen their bar, and finished folds are kept by all that they depend on."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.errors import DataError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import World
from tradewind.evaluation.data import load
from tradewind.evaluation.fold_cache import FoldCache, key_of
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.training import train
from tradewind.market.panel import Panel
from tradewind.models.base import MODELS
from tradewind.models.forecast import Forecast
from tradewind.playbook import load as load_playbook

NOWHERE = FoldCache(None)


@pytest.fixture(scope="module")
def world(quick: QuickRun) -> World:
    return quick.record.world


def rebuilt(world: World, panel: Panel, plan: Plan | None = None) -> World:
    return corridor.build_world(plan or world.plan, panel)


def changed(panel: Panel, row: int, factor: float = 1.5) -> Panel:
    """Return the panel with other prices from a row on."""
    priced = ("open", "high", "low", "close")
    scale = np.where(np.arange(len(panel)) >= row, factor, 1.0)[:, None]
    return replace(panel, fields={k: v * scale if k in priced else v for k, v in panel.fields.items()})


# -- nothing from the future ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["naive_normal", "ridge", "scale_blend"])
@pytest.mark.parametrize("stop", [306, 307, 390])
def test_forecasts_of_the_past_are_the_same_with_and_without_a_future(world: World, model: str, stop: int) -> None:
    whole = corridor.forecast_out_of_sample(world, model, NOWHERE)
    then = corridor.forecast_out_of_sample(rebuilt(world, world.panel.head(stop)), model, NOWHERE)
    assert then.available[-1].all()
    np.testing.assert_allclose(then.quantiles, whole.quantiles[:stop], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("model", ["naive_normal", "ridge", "scale_blend"])
def test_a_different_future_changes_no_forecast_of_the_past(world: World, model: str) -> None:
    row = 330
    other = rebuilt(world, changed(world.panel, row))
    before = corridor.forecast_out_of_sample(world, model, NOWHERE)
    after = corridor.forecast_out_of_sample(other, model, NOWHERE)
    np.testing.assert_allclose(after.quantiles[:row], before.quantiles[:row], rtol=1e-9, atol=1e-12)
    assert not np.allclose(after.quantiles[row:], before.quantiles[row:], equal_nan=True)


def test_there_is_no_forecast_before_the_first_fold_and_one_for_every_bar_after_it(world: World) -> None:
    forecast = corridor.forecast_out_of_sample(world, "ridge", NOWHERE)
    start = corridor.first_forecast_row(forecast)
    settings, labels = world.plan.evaluation, world.plan.labels
    assert start == settings.min_train_bars + max(labels.horizons_bars) + labels.embargo_bars
    assert not forecast.available[:start].any()
    assert forecast.available[start:].all()


def without_members(panel: Panel, rows: slice) -> Panel:
    member = panel.member.copy()
    member[rows] = False
    return replace(panel, member=member)


@pytest.mark.parametrize("empty", [2, 5, None], ids=["its first bars", "a quarter of it", "all of it"])
def test_bars_without_a_member_leave_the_forecasts_of_the_others_where_they_are(
    world: World, empty: int | None
) -> None:
    fold = corridor.folds_of(world)[-1]
    first = int(fold.test[0])
    stop = len(world.panel) if empty is None else first + empty
    other = rebuilt(world, without_members(world.panel, slice(first, stop)))
    whole = corridor.forecast_out_of_sample(world, "naive_normal", NOWHERE)
    part = corridor.forecast_out_of_sample(other, "naive_normal", NOWHERE)
    assert not part.available[first:stop].any()
    whole.quantiles[first:stop] = np.nan
    np.testing.assert_allclose(part.quantiles, whole.quantiles, rtol=1e-12)


def test_training_labels_are_resolved_before_the_test_block_opens(world: World) -> None:
    for fold in corridor.folds_of(world):
        seen = world.head(int(fold.test[0]))
        used = corridor.training_windows(seen, fold)
        assert used.labels.end[used.rows, used.columns].max() < fold.test[0]
        assert np.isfinite(used.labels.returns[used.rows, used.columns]).all()


def test_a_history_too_short_to_walk_over_is_refused_with_what_is_missing(world: World) -> None:
    with pytest.raises(DataError, match="no walk-forward: 150 bars are too few") as caught:
        corridor.folds_of(rebuilt(world, world.panel.head(150)))
    assert "min_train_bars" in caught.value.hint


# -- the cache of folds --------------------------------------------------------------------------------------


def keys(world: World, model: str = "ridge") -> list[str]:
    return [key_of(world, model, fold) for fold in corridor.folds_of(world)]


def with_settings(world: World, playbook: Path, **overrides: object) -> World:
    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    return rebuilt(world, world.panel, Plan.of(load_playbook(playbook, overrides=flags)))


def test_the_same_question_has_the_same_key_and_later_bars_leave_finished_folds_alone(world: World) -> None:
    assert keys(rebuilt(world, world.panel)) == keys(world)
    assert keys(rebuilt(world, world.panel.head(390)))[0] == keys(world)[0]


@pytest.mark.parametrize(
    "overrides",
    [
        {"models__parameters": {"ridge": {"alpha": 3.0}}},
        {"models__seed": 8},
        {"features__scaling": "train"},
        {"features__include": ["rsi_14"]},
        {"labels__horizons_bars": [1, 4]},
        {"labels__scale_half_life_bars": 30.0},
        {"evaluation__train_stride_bars": 2},
        {"evaluation__min_train_bars": 201},
    ],
    ids=lambda o: next(iter(o)),
)
def test_another_parameter_is_another_key(quick: QuickRun, world: World, overrides: dict[str, object]) -> None:
    assert not set(keys(with_settings(world, quick.playbook, **overrides))) & set(keys(world))


def test_a_setting_that_no_forecast_depends_on_keeps_the_key(quick: QuickRun, world: World) -> None:
    assert keys(with_settings(world, quick.playbook, decision__confidence_min=0.6)) == keys(world)


def test_other_prices_another_membership_and_another_model_are_other_keys(world: World) -> None:
    member = world.panel.member.copy()
    member[3, 0] = False
    others = (changed(world.panel, 400, 1.0001), changed(world.panel, 0), replace(world.panel, member=member))
    assert keys(world)[0] == keys(rebuilt(world, others[0]))[0]  # a bar after the fold
    assert keys(world)[-1] != keys(rebuilt(world, others[0]))[-1]
    assert all(keys(world)[0] != keys(rebuilt(world, panel))[0] for panel in others[1:])
    assert keys(world) != keys(world, "naive_normal")


WRITTEN_ELSEWHERE = """
from tradewind.models.naive import NaiveNormal

class Mine(NaiveNormal):
    name = "written_elsewhere"
"""


def test_a_model_of_somebody_else_has_another_key_once_its_file_changes(
    quick: QuickRun, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "somebody_elses_model.py"
    path.write_text(WRITTEN_ELSEWHERE)
    monkeypatch.syspath_prepend(str(tmp_path))
    mine = importlib.import_module(path.stem).Mine
    monkeypatch.setitem(MODELS._factories, mine.name, mine)
    stacked = with_settings(world, quick.playbook, features__forecasts=[mine.name])
    before = keys(world, mine.name), keys(world), keys(stacked)
    path.write_text(WRITTEN_ELSEWHERE + "# another thought\n")
    after = keys(world, mine.name), keys(world), keys(stacked)
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, False]


def test_a_stored_fold_is_read_and_not_made_again(world: World, tmp_path: Path) -> None:
    cache, fold = FoldCache(tmp_path), corridor.folds_of(world)[0]
    made = cache.get(world, "ridge", fold, partial(corridor.forecast_fold, world, "ridge", fold))
    read = cache.get(world, "ridge", fold, lambda: pytest.fail("the fold was made again"))
    for name in ("times", "quantiles", "score"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert (read.symbols, read.horizons, read.levels) == (made.symbols, made.horizons, made.levels)
    assert (read.model, read.version, read.explanation) == (made.model, made.version, made.explanation)


@pytest.mark.parametrize("damage", ["half", "empty", "noise"])
def test_a_damaged_fold_is_made_again(world: World, tmp_path: Path, damage: str) -> None:
    cache, fold = FoldCache(tmp_path), corridor.folds_of(world)[0]
    make = partial(corridor.forecast_fold, world, "naive_normal", fold)
    made = cache.get(world, "naive_normal", fold, make)
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    stored.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "noise": whole[::-1]}[damage])
    again = cache.get(world, "naive_normal", fold, make)
    np.testing.assert_array_equal(again.quantiles, made.quantiles)
    assert stored.read_bytes() == whole


def test_a_file_that_was_being_written_when_its_process_died_is_ignored(world: World, tmp_path: Path) -> None:
    (tmp_path / ".0123.npz").write_bytes(b"half a file")
    cache, fold = FoldCache(tmp_path), corridor.folds_of(world)[0]
    forecast = cache.get(world, "naive_normal", fold, partial(corridor.forecast_fold, world, "naive_normal", fold))
    assert forecast.available.any()


# -- training ------------------------------------------------------------------------------------------------


class Death(BaseException):
    """What kills a process from outside."""


def test_training_that_died_goes_on_with_the_folds_that_are_missing(
    quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(world: World, name: str, fold: object, *besides: object) -> object:
        made.extend([fold.number] if name == "ridge" else [])  # type: ignore[attr-defined]
        return real(world, name, fold, *besides)  # type: ignore[arg-type]

    def dying(phase: str, done: int, _total: int) -> None:
        if phase == "ridge" and done == 1:
            raise Death

    real = corridor.fit_fold
    monkeypatch.setattr(corridor, "fit_fold", counted)
    with pytest.raises(Death):
        train(workspace(quick.playbook, tmp_path), dying)
    report = train(workspace(quick.playbook, tmp_path))
    assert made == [0, 1, 2]
    assert report["models"]["ridge"]["folds"] == 3
    assert report["models"]["ridge"]["forecasts"] == 2 * 4 * (len(quick.record.world.panel) - quick.record.start)
    train(workspace(quick.playbook, tmp_path))
    assert made == [0, 1, 2]


def test_a_back_test_after_training_fits_the_traded_model_no_more(
    quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corridor, "forecast_fold", lambda *_: pytest.fail("a model was fitted again"))
    loaded = load(quick.workspace)
    world = corridor.build_world(quick.workspace.plan, loaded.panel)
    corridor.forecast_out_of_sample(world, "ridge", FoldCache(quick.home / "folds"))


def test_a_fold_that_lacks_an_array_leaves_it_missing_there_and_not_elsewhere(world: World) -> None:
    shape = (*world.panel.shape, 1)
    wide = Forecast(
        world.panel.times, world.panel.symbols, (1,), (0.1, 0.5, 0.9), np.zeros((*shape, 3)), np.zeros(shape),
        probabilities=np.full((*shape, 3), 1 / 3),
    )  # fmt: skip
    first, second = wide.part(np.arange(5)), wide.part(np.arange(5, 9))
    joined = corridor.join(world, [(0, replace(first, probabilities=None)), (5, second)])
    assert joined.probabilities is not None
    assert np.isnan(joined.probabilities[:5]).all()
    assert (joined.probabilities[5:9] == 1 / 3).all()
