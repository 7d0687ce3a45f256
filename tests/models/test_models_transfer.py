"""Training that goes on from a stored network: it starts where the parent stood, and never from the future."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tradewind.errors import DataError, InputError
from tradewind.models import artefact
from tradewind.models.base import MODELS, origin_of
from tradewind.models.networks.forecaster import Fitted

SMALL = {"window_bars": 20, "width": 8, "epochs": 2, "epoch_windows": 600, "batch_windows": 128, "seed": 3}
NAMES = ("lstm", "tft")


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel()


def part(panel, columns):
    return panel.select([panel.symbols[n] for n in columns])


def trained(name, windows, **more):
    return MODELS.create(name, **SMALL, **more).fit(windows)


@pytest.fixture(scope="module")
def parents(panel, make_windows, tmp_path_factory):
    """Each model trained on the first three stocks up to bar 400, and stored."""
    windows = make_windows(part(panel, [0, 1, 2]).head(400), np.arange(80, 400))
    kept = {}
    for name in NAMES:
        model = trained(name, windows)
        until = str(windows.panel.times[-1])[:19] + "+00:00"
        card = {"model": name, "version": model.version_, "parameters": SMALL, "manifest": {"trained_until": until}}
        kept[name] = artefact.write(tmp_path_factory.mktemp(name) / f"{name}-kept", model, card, {})
    return kept


@pytest.mark.parametrize("name", NAMES)
def test_without_a_step_it_forecasts_what_the_parent_does_for_names_that_both_know(name, parents, panel, make_windows):
    """A learning rate of nothing: what differs is only the tables, whose rows are found by name, not by place."""
    windows = make_windows(part(panel, [2, 3, 1]).head(500), np.arange(80, 500))
    child = trained(name, windows, start_from=str(parents[name].folder), learning_rate=1e-30, weight_decay=0.0)
    asked = make_windows(part(panel, [2, 3, 1]), np.arange(520, 560))
    known = asked.columns != 1
    asked = replace(asked, rows=asked.rows[known], columns=asked.columns[known])
    theirs = parents[name].model().predict(asked).quantiles
    np.testing.assert_allclose(child.predict(asked).quantiles, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_the_parent_did_not_know_begins_as_its_unknown_one(name, parents, panel, make_windows):
    windows = make_windows(part(panel, [4, 5]).head(500), np.arange(80, 500))
    child = trained(name, windows, start_from=str(parents[name].folder), learning_rate=1e-30, weight_decay=0.0)
    asked = make_windows(part(panel, [4]), np.arange(520, 560))
    theirs = parents[name].model().predict(asked).quantiles
    np.testing.assert_allclose(child.predict(asked).quantiles, theirs, rtol=1e-6, atol=1e-9)


def test_training_moves_on_from_the_parent_and_is_another_version(parents, panel, make_windows):
    windows = make_windows(part(panel, [3, 4]).head(500), np.arange(80, 500))
    fresh, child = trained("lstm", windows), trained("lstm", windows, start_from=str(parents["lstm"].folder))
    assert child.version_ != fresh.version_
    asked = make_windows(part(panel, [3, 4]), np.arange(520, 540))
    parent = parents["lstm"].model().predict(asked).quantiles
    assert not np.allclose(child.predict(asked).quantiles, parent, equal_nan=True)
    assert child.fitted_.histories[0].late[0] != fresh.fitted_.histories[0].late[0]


def test_a_parent_that_has_seen_later_bars_is_refused(parents, panel, make_windows):
    windows = make_windows(part(panel, [3, 4]).head(399), np.arange(80, 399))
    with pytest.raises(DataError, match="would know the future"):
        trained("lstm", windows, start_from=str(parents["lstm"].folder))


def test_a_parent_of_another_model_or_of_other_features_is_refused(parents, panel, make_windows):
    windows = make_windows(part(panel, [3, 4]).head(500), np.arange(80, 500))
    with pytest.raises(InputError, match="names a 'lstm', and this is a 'gru'"):
        trained("gru", windows, start_from=str(parents["lstm"].folder))
    renamed = replace(windows, features=replace(windows.features, names=("new", *windows.features.names[1:])))
    with pytest.raises(DataError, match="other features"):
        trained("lstm", renamed, start_from=str(parents["lstm"].folder))
    with pytest.raises(DataError, match="other sizes"):
        MODELS.create("lstm", **{**SMALL, "width": 16}, start_from=str(parents["lstm"].folder)).fit(windows)


def test_a_tampered_or_missing_parent_is_refused(parents, panel, make_windows, tmp_path):
    windows = make_windows(part(panel, [3, 4]).head(500), np.arange(80, 500))
    with pytest.raises(DataError, match="holds no model"):
        trained("lstm", windows, start_from=str(tmp_path / "nothing"))
    card = json.loads((parents["lstm"].folder / artefact.CARD).read_text())
    card["manifest"]["trained_until"] = "1990-01-01T00:00:00+00:00"
    forged = tmp_path / "lstm-kept"
    forged.mkdir()
    for path in parents["lstm"].folder.iterdir():
        (forged / path.name).write_bytes(path.read_bytes())
    (forged / artefact.CARD).write_text(json.dumps(card))
    with pytest.raises(DataError, match="changed after it was written"):
        trained("lstm", windows, start_from=str(forged))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {}}, "its files are not those of a model"),
        ({"files": {artefact.TENSORS: {}}}, "hash of every file"),
        ({"files": {"../../secret": {}, artefact.TENSORS: {}}}, "its files are not those of a model"),
        ({"state": None, "parameters": None, "model": None}, "it lacks model, parameters, state"),
        ({"manifest": {}}, "does not say on which bars"),
    ],
)
def test_a_card_with_a_fitting_hash_that_is_none_of_a_model_is_refused(parents, tmp_path, change, said):
    """Whoever made the folder can hash it too: what it holds is looked at all the same."""
    forged = tmp_path / "lstm-kept"
    forged.mkdir()
    for path in parents["lstm"].folder.iterdir():
        (forged / path.name).write_bytes(path.read_bytes())
    card = json.loads((forged / artefact.CARD).read_text())
    card = {name: one for name, one in {**card, **change}.items() if one is not None}
    card["digest"] = artefact._digest(card)
    (forged / artefact.CARD).write_text(json.dumps(card))
    with pytest.raises(DataError, match=said):
        origin_of("lstm", {"start_from": str(forged)})


def test_whose_weights_they_were_is_part_of_what_a_fold_depends_on(parents):
    origin = origin_of("lstm", {"start_from": str(parents["lstm"].folder)})
    assert origin is not None
    assert origin.content == parents["lstm"].digest and origin.name == "lstm-kept"
    assert origin_of("lstm", {}) is None


def test_the_parent_lends_its_weights_and_keeps_them(parents, panel, make_windows):
    parent = parents["lstm"].model()
    assert isinstance(parent.fitted_, Fitted)
    before = [p.clone() for p in parent.fitted_.networks[0].parameters()]
    trained(
        "lstm", make_windows(part(panel, [0, 1]).head(500), np.arange(80, 500)), start_from=str(parents["lstm"].folder)
    )
    again = parents["lstm"].model().fitted_.networks[0].parameters()
    assert all((a == b).all() for a, b in zip(before, again, strict=True))
