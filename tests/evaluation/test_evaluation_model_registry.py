"""Trained models: stored whole, found again, forecasting as they did; champions change atomically and come back."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor, model_registry
from tradewind.evaluation.data import load
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.evaluation.stored_models import compared, forecast_with
from tradewind.evaluation.training import train
from tradewind.evaluation.workspace import Workspace
from tradewind.models import artefact as artefacts
from tradewind.models.artefact import CARD, TENSORS
from tradewind.models.base import MODELS, Windows
from tradewind.models.forecast import Forecast
from tradewind.models.ridge import Ridge


class Ticking:
    """A clock that says a later second each time."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def used(quick: QuickRun, home: Path) -> Iterator[Workspace]:
    made = workspace(quick.playbook, home)
    yield made
    made.records.close()


def registry_of(used: Workspace) -> ModelRegistry:
    return ModelRegistry(used.home, used.records, Ticking())


def other_seed(quick: QuickRun, home: Path, seed: int) -> Workspace:
    return workspace(quick.playbook, home, **{"models.seed": str(seed)})


def test_a_training_leaves_the_last_folds_model_and_makes_it_champion(used: Workspace) -> None:
    report = train(used)
    own = report["models"]["ridge"]["artefact"]
    registry = registry_of(used)
    assert report["aliases"]["champion"] == own and report["aliases"]["challenger"] is None
    row = registry.listed()[0]
    assert (row["id"], row["aliases"], row["stored"]) == (own, ["champion"], True)
    card = registry.artefact("champion").card
    assert card["version"] == report["models"]["ridge"]["version"]
    assert "rsi_14" in card["features"]
    assert card["manifest"]["trained_until"][:10] == report["trained_until"][:10]


def test_training_again_stores_nothing_again(used: Workspace) -> None:
    first = train(used)
    folder = registry_of(used).folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert train(used)["aliases"] == first["aliases"]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("scaling", ["none", "train", "rolling", "cross_section"])
def test_a_stored_model_forecasts_what_the_walk_forward_decided_on(quick: QuickRun, home: Path, scaling: str) -> None:
    """The model from disk, with its calibrator going on from the training's end: bit for bit the traded forecast."""
    used = workspace(quick.playbook, home, features__scaling=f'"{scaling}"')
    artefact = registry_of(used).artefact(str(train(used)["models"]["ridge"]["artefact"]))
    world = corridor.build_world(used.plan, load(used).panel)
    made = forecast_with(artefact, world, artefact.model().predict).rounded()
    walked = corridor.forecast_out_of_sample(world, "ridge", FoldCache(None))
    traded = corridor.calibrated(world, walked)[0].at(made.times)
    assert len(made.times) > 10 and np.isfinite(made.quantiles).any()
    np.testing.assert_array_equal(made.quantiles, traded.quantiles)
    used.records.close()


def test_a_model_trained_on_other_features_is_refused(quick: QuickRun, used: Workspace) -> None:
    train(used)
    artefact = registry_of(used).artefact("champion")
    world = corridor.build_world(used.plan, load(used).panel)
    fewer = replace(world, features=replace(world.features, names=("x", *world.features.names[1:])))
    with pytest.raises(DataError, match="other features"):
        forecast_with(artefact, fewer, artefact.model().predict)


def test_nothing_is_forecast_before_the_end_of_the_training(used: Workspace) -> None:
    train(used)
    artefact = registry_of(used).artefact("champion")
    until = artefact.card["manifest"]["trained_until"]
    world = corridor.build_world(used.plan, load(used).panel)
    row = int(np.searchsorted(world.panel.times, np.datetime64(until[:19]), side="right"))
    with pytest.raises(DataError, match="no bar after"):
        forecast_with(artefact, world.head(row), artefact.model().predict)


@pytest.mark.parametrize("name", [CARD, TENSORS])
@pytest.mark.parametrize("damage", ["truncated", "tampered", "missing"])
def test_a_damaged_artefact_is_refused_and_not_promoted(used: Workspace, name: str, damage: str) -> None:
    train(used)
    registry = registry_of(used)
    path = registry.folder / registry.find("champion").id / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:middle] if damage == "truncated" else changed)
    with pytest.raises(DataError, match=r"model|changed|missing|truncated"):
        registry.artefact("champion")
    with pytest.raises(DataError):
        registry.promote(registry.find("champion").id)


def test_a_card_that_was_forged_with_its_own_hash_is_not_the_recorded_one(used: Workspace) -> None:
    train(used)
    registry = registry_of(used)
    path = registry.folder / registry.find("champion").id / CARD
    card = json.loads(path.read_text())
    card["metrics"] = {}
    card["digest"] = artefacts._digest(card)
    path.write_text(json.dumps(card))
    assert artefacts.read(path.parent)
    with pytest.raises(DataError, match="changed after it was written"):
        registry.artefact("champion")


def test_an_artefact_of_another_format_says_so(used: Workspace) -> None:
    train(used)
    registry = registry_of(used)
    path = registry.folder / registry.find("champion").id / CARD
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(DataError, match="format 2, this Tradewind reads 1"):
        registry.artefact("champion")


def test_a_training_that_died_before_its_record_is_taken_up(used: Workspace, quick: QuickRun, tmp_path: Path) -> None:
    """Kill it between the files and the records: the next training enters what is there, and fits nothing again."""
    first = train(used)["models"]["ridge"]["artefact"]
    other = shutil.copytree(quick.home, tmp_path / "other")
    shutil.copytree(used.home / "models", other / "models", dirs_exist_ok=True)
    again = workspace(quick.playbook, other)
    assert train(again)["aliases"]["champion"] == first
    assert ModelRegistry(other, again.records, Ticking()).artefact("champion").id == first
    again.records.close()


@pytest.mark.parametrize("name", [CARD, TENSORS, "all"])
def test_a_training_makes_a_damaged_or_lost_artefact_again(used: Workspace, name: str) -> None:
    """The errors about a damaged artefact say: train it again."""
    own = train(used)["models"]["ridge"]["artefact"]
    registry = registry_of(used)
    folder = registry.folder / own
    if name == "all":
        shutil.rmtree(folder)
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    told = train(used)["models"]["ridge"]
    assert told["artefact"] == own and ("put_aside" in told) == (name != "all")
    assert registry.artefact("champion").id == own and len(registry.listed()) == 1
    if name != "all":
        assert Path(told["put_aside"]).is_dir(), "nothing is deleted"


def test_a_folder_that_cannot_be_written_is_no_property_of_the_model(
    used: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "permission denied")

    monkeypatch.setattr(artefacts, "_fill", refuse)
    with pytest.raises(InputError, match="cannot write to"):
        train(used)


def test_the_folds_before_the_last_are_part_of_what_a_model_is_stored_as(quick: QuickRun, home: Path) -> None:
    """The last fold is the same, the calibrator remembers other forecasts: two artefacts."""
    ids, lasts = set(), set()
    for bars in (50, 100):
        used = workspace(quick.playbook, home, evaluation__refit_bars=str(bars))
        ids.add(train(used)["models"]["ridge"]["artefact"])
        lasts.add(int(corridor.folds_of(corridor.build_world(used.plan, load(used).panel))[-1].test[0]))
        used.records.close()
    assert len(lasts) == 1 and len(ids) == 2


class Hiding(Ridge):
    """A plug-in that keeps part of what it learns where nobody looks for it."""

    name: ClassVar[str] = "hiding"
    shift = 0.0

    def fit(self, windows: Windows) -> Self:
        self.shift = 0.01
        return super().fit(windows)

    def predict(self, windows: Windows) -> Forecast:
        made = super().predict(windows)
        return replace(made, quantiles=made.quantiles + self.shift)


def test_a_model_that_would_forecast_otherwise_once_read_back_is_not_stored(quick: QuickRun, home: Path) -> None:
    MODELS.register(Hiding)
    used = workspace(quick.playbook, home, models__use='"hiding"')
    try:
        told = train(used)["models"]["hiding"]
    finally:
        MODELS.forget("hiding")
        used.records.close()
    assert "forecasts otherwise once it is read back" in told["not_stored"] and "artefact" not in told
    assert not (home / "models").exists() or not list((home / "models").iterdir())


def test_a_model_whose_training_does_not_repeat_is_not_stored_as_what_forecast(
    used: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = Ridge.fit
    times = iter(range(100))

    def unsteady(self: Ridge, windows: Windows) -> Ridge:
        made = fit(self, windows)
        made.version_ = f"{next(times)}"
        return made

    monkeypatch.setattr(Ridge, "fit", unsteady)
    assert "fitted again is another model" in train(used)["models"]["ridge"]["not_stored"]


def test_a_half_written_folder_is_no_model(used: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artefacts, "_take_place", die)
    with pytest.raises(KeyboardInterrupt):
        train(used)
    registry = registry_of(used)
    assert registry.listed() == []
    assert not list(registry.folder.glob("*")), "not even its remains"
    monkeypatch.undo()
    assert train(used)["aliases"]["champion"]


def test_a_second_training_is_the_challenger_and_can_be_promoted_and_rolled_back(quick: QuickRun, home: Path) -> None:
    ids = []
    for seed in (1, 2, 3):
        used = other_seed(quick, home, seed)
        ids.append(train(used)["models"]["ridge"]["artefact"])
    registry = registry_of(used)
    first, _, third = ids
    assert registry.find("champion").id == first and registry.find("challenger").id == third
    state = registry.promote("challenger")
    assert (state["champion"], state["challenger"], state["champions_before"]) == (third, None, [first])
    state = registry.rollback()
    assert (state["champion"], state["challenger"], state["champions_before"]) == (first, third, [])
    with pytest.raises(InputError, match="no champion before"):
        registry.rollback()
    with pytest.raises(InputError, match="already"):
        registry.promote(first)
    used.records.close()


def test_two_promotions_at_once_follow_each_other(quick: QuickRun, home: Path) -> None:
    ids = []
    for seed in (1, 2, 3):
        used = other_seed(quick, home, seed)
        ids.append(train(used)["models"]["ridge"]["artefact"])
    lineage = registry_of(used).listed()[0]["playbook"]
    threads = [
        threading.Thread(
            target=lambda i=i: ModelRegistry(home, other_seed(quick, home, 1).records, Ticking()).promote(i)
        )
        for i in ids[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    champions = model_registry.stack(used.records.alias_changes(lineage))
    assert champions[0] == ids[0] and sorted(champions[1:]) == sorted(ids[1:])
    used.records.close()


def test_rolling_back_twice_goes_back_two_champions() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    changes = []
    from tradewind.market.store.records import AliasChange

    for model, why in (("a", "train"), ("b", "promote"), ("c", "promote"), ("b", "rollback"), ("a", "rollback")):
        changes.append(AliasChange("family", "champion", model, at, why))
    assert model_registry.stack(changes[:3]) == ["a", "b", "c"]
    assert model_registry.stack(changes[:4]) == ["a", "b"]
    assert model_registry.stack(changes) == ["a"]


def test_models_are_compared_on_the_dates_that_both_forecast(quick: QuickRun, home: Path) -> None:
    used = workspace(quick.playbook, home, **{"models.compare": '["naive_normal"]'})
    train(used)
    registry = registry_of(used)
    ridge, naive = registry.artefact("ridge"), registry.artefact("naive_normal")
    found = compared(ridge, naive)
    assert found["same_data"] and set(found["horizons"]) == {"1", "5"}
    row = found["horizons"]["1"]
    assert row["dates"] > 100 and row["pinball"][0] > 0
    assert row["saved_by_second"] == pytest.approx(1 - row["pinball"][1] / row["pinball"][0])
    assert compared(ridge, ridge)["horizons"]["1"]["dm_p"] is None, "a model is not compared with itself"
    used.records.close()


def test_only_symbols_that_both_forecast_are_compared(quick: QuickRun, home: Path) -> None:
    """A model that has no forecast of a wild stock must not win by that."""
    used = workspace(quick.playbook, home, models__compare='["naive_normal"]')
    train(used)
    registry = registry_of(used)
    ridge, naive = registry.artefact("ridge"), registry.artefact("naive_normal")
    whole = compared(ridge, naive)
    fewer = {k: v.copy() for k, v in ridge.arrays.items()}
    fewer["track/pinball"][:, 0] = np.nan
    ridge.__dict__["arrays"] = fewer
    kept = naive.arrays["track/pinball"][:, 1:, 0].astype(float)
    assert compared(ridge, naive)["horizons"]["1"]["pinball"][1] == pytest.approx(np.nanmean(kept), rel=1e-6)
    assert compared(ridge, naive)["horizons"]["1"]["dates"] == whole["horizons"]["1"]["dates"]
    used.records.close()


def test_a_report_of_an_export_that_was_cut_is_named(used: Workspace) -> None:
    own = train(used)["models"]["ridge"]["artefact"]
    registry = registry_of(used)
    report = registry.folder / own / "exports" / "onnx" / "export.json"
    report.parent.mkdir(parents=True)
    report.write_text('{"format": "on')
    with pytest.raises(DataError, match=r"export\.json cannot be read"):
        registry.listed()


def test_a_reference_that_means_nothing_names_what_is_near(used: Workspace) -> None:
    registry = registry_of(used)
    with pytest.raises(InputError, match="no trained model here yet"):
        registry.find("champion")
    train(used)
    with pytest.raises(InputError, match="unknown model 'champio'") as error:
        registry.find("champio")
    assert "champion" in error.value.hint
    with pytest.raises(InputError, match="has no challenger"):
        registry.find("challenger")
    for ask in (lambda: registry.find("champion", "quik"), lambda: registry.find("quik:champion")):
        with pytest.raises(InputError, match="unknown playbook with trained models 'quik'"):
            ask()


def test_the_models_of_two_playbooks_have_champions_of_their_own(quick: QuickRun, home: Path) -> None:
    one = workspace(quick.playbook, home)
    two = workspace(quick.playbook, home, **{"playbook.lineage": '"second"'})
    train(one)
    train(two)
    registry = registry_of(two)
    assert registry.find("second:champion").lineage == "second"
    assert registry.find("champion", "second").id != registry.find("champion", one.plan.playbook.lineage).id
    with pytest.raises(InputError, match="models of 2 playbooks"):
        registry.find("champion")
    for used in (one, two):
        used.records.close()


def test_the_cache_of_folds_is_enough_for_the_back_test_that_follows(used: Workspace) -> None:
    """What a training stores beside the artefacts is what the back-test would have computed."""
    train(used)
    folds = FoldCache(used.home / "folds")
    world = corridor.build_world(used.plan, load(used).panel)
    before = {path.name for path in (used.home / "folds").glob("*.npz")}
    corridor.forecast_out_of_sample(world, "ridge", folds)
    assert {path.name for path in (used.home / "folds").glob("*.npz")} == before


def test_a_model_that_learnt_what_the_champion_has_challenges_nobody(quick: QuickRun, home: Path) -> None:
    """Other calibration, the same weights: a new artefact, and nothing to choose between."""
    used = workspace(quick.playbook, home)
    first = train(used)["models"]["ridge"]["artefact"]
    again = workspace(quick.playbook, home, **{"calibration.memory_step": "0.001"})
    second = train(again)
    assert second["models"]["ridge"]["artefact"] != first
    assert (second["aliases"]["champion"], second["aliases"]["challenger"]) == (first, None)
    for one in (used, again):
        one.records.close()
