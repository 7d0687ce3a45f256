"""Forecasts among the features are audited: out-of-fold they pass, in-sample they are caught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spine_kit import system, workspace
from tradewind.audit.corridor import Subject, audit_corridor
from tradewind.audit.playbook import audit_playbook
from tradewind.errors import DataError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import World
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.workspace import Workspace
from tradewind.labels.splits import Fold
from tradewind.models.base import MODELS
from tradewind.models.forecast import Forecast
from tradewind.models.naive import NaiveNormal


@pytest.fixture
def used(tmp_path: Path) -> Workspace:
    flags = {"features__forecasts": ["naive_t", "ridge"], "features__forecast_min_train_bars": 100}
    return workspace(system(tmp_path), tmp_path / "home", **flags)


def guilty(used: Workspace) -> set[tuple[str, str]]:
    audit = audit_playbook(used)
    assert not audit.unexamined
    assert "forecast features" in audit.subjects
    assert audit.columns["forecast features"] == 8
    return {(finding.subject, finding.column) for finding in audit.findings}


def test_out_of_fold_forecasts_pass(used: Workspace) -> None:
    assert guilty(used) == set()


def fitted_on_everything(world: World, name: str, *_: object) -> Forecast:
    """One model, fitted on all bars, asked about all bars."""
    rows = np.arange(len(world.panel))
    seen = corridor.training_windows(world, Fold(rows, rows, 0, 0))
    made = corridor.MODELS.create(name, seed=1).fit(seen).predict(corridor.windows(world, rows))
    return corridor.join(world, [(int(np.flatnonzero(world.panel.mask.any(axis=1))[0]), made)])


def fold_by_fold_in_sample(world: World, name: str, _cache: object, _progress: object, folds: list[Fold]) -> Forecast:
    """Every fold's model also answers for the bars it was fitted on."""
    made = corridor.join(world, [(int(f.test[0]), corridor.forecast_fold(world, name, f)) for f in folds])
    for fold in folds:
        whole = world.head(int(fold.test[0]))
        model = corridor.MODELS.create(name, seed=1).fit(corridor.training_windows(whole, fold))
        own = model.predict(corridor.windows(whole, fold.train))
        rows = slice(int(fold.train[0]), int(fold.train[-1]) + 1)
        made.quantiles[rows], made.score[rows] = own.quantiles, own.score
    return made


def unpurged(world: World, name: str, _cache: object, _progress: object, folds: list[Fold]) -> Forecast:
    """Models that were told returns before they had happened: those of the bars right before the test block."""
    whole = corridor.base_world(world.plan, world.panel)
    parts = []
    for fold in folds:
        first = int(fold.test[0])
        rows = np.arange(first)
        seen = replace(whole, panel=whole.panel.head(first), features=whole.features.head(first))
        labels = replace(whole.labels, **{k: getattr(whole.labels, k)[:first] for k in ("returns", "scale", "weight")})
        seen = replace(seen, labels=labels)
        model = corridor.MODELS.create(name, seed=1).fit(corridor.training_windows(seen, Fold(rows, rows, 0, 0)))
        parts.append((first, model.predict(corridor.windows(whole.head(int(fold.test[-1]) + 1), fold.test))))
    return corridor.join(world, parts)


@pytest.mark.parametrize("plant", [fitted_on_everything, fold_by_fold_in_sample])
def test_in_sample_forecasts_are_caught(used: Workspace, plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corridor, "forecast_out_of_sample", plant)
    found = guilty(used)
    assert {f"forecast_{model}_{h}_sigma" for model in ("naive_t", "ridge") for h in (1, 5)} <= {c for _, c in found}
    assert "forecast features" in {subject for subject, _ in found}


def test_forecasts_of_models_that_were_told_unresolved_returns_are_caught(used: Workspace) -> None:
    panel = load_or_sync(used).panel
    plan = used.plan

    def of(made):
        def recompute(panel):
            world = corridor.base_world(plan, panel)
            return made(world, "ridge", None, None, corridor.forecast_folds(world))

        return recompute

    first = int(corridor.forecast_folds(corridor.base_world(plan, panel))[1].test[0])
    subjects = [Subject("purged", of(walked), 1e-9), Subject("unpurged", of(unpurged), 1e-9)]
    audit = audit_corridor(panel, subjects, moments=[first], rng=np.random.default_rng(1))
    assert {finding.subject for finding in audit.findings} == {"unpurged"}


def walked(world: World, name: str, _cache: object, _progress: object, folds: list[Fold]) -> Forecast:
    """As it is done."""
    return corridor.forecast_out_of_sample(world, name, corridor.FoldCache(None), folds=folds)


class Moody(NaiveNormal):
    """Forecasts what it feels like: its noise follows from no seed."""

    name = "moody"

    def fit(self, windows):
        self.decay = 0.9 + 0.05 * np.random.default_rng().random()
        return self


def test_a_model_whose_noise_follows_from_no_seed_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS._factories, "moody", Moody)
    moody = workspace(system(tmp_path), tmp_path / "home", models__use="moody")
    with pytest.raises(DataError, match=r"'moody' is not deterministic: fitted twice .* other quantiles") as refused:
        audit_playbook(moody)
    assert "seed" in refused.value.hint
