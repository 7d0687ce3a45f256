"""Stacked classifiers learn out of fold or not at all; their probabilities are what happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from spine_kit import PLAYBOOK, system, workspace
from tradewind.errors import DataError, InputError, PlaybookError
from tradewind.evaluation.validate import validated
from tradewind.features.table import Features
from tradewind.labels.uniqueness import average_uniqueness
from tradewind.models.base import MODELS
from tradewind.models.class_mixture import ClassMixture
from tradewind.models.classifiers import FACTORIES, Classifiers, Filled, balanced
from tradewind.models.opinion_pool import OpinionPool, log_loss, macro_f1
from tradewind.models.stacked_classifier import Samples, StackedClassifier

QUICK = ("random_forest", "lightgbm")
HORIZON = 20


def question(make_panel, make_windows, classes, features, bars=600, horizon=HORIZON):
    """Windows whose classes ``(T, N)`` and features ``(T, N, F)`` are made up."""
    windows = make_windows(make_panel(bars=bars, symbols=classes.shape[1]), np.arange(80, bars), horizons=(horizon,))
    panel = windows.panel
    end = windows.labels.end
    weight = np.where(np.isfinite(windows.labels.returns), average_uniqueness(panel.mask, end), 0.0)
    labels = replace(windows.labels, classes=classes[:, :, None].astype(np.int8), weight=weight)
    names = tuple(f"f{i}" for i in range(features.shape[2]))
    table = Features(panel.times, panel.symbols, names, features.astype(np.float32))
    return replace(windows, labels=labels, features=table)


def informative(make_panel, make_windows, strength=2.0, shares=(0.3, 0.4, 0.3), seed=0, bars=600, horizon=5):
    """Classes that the first of three features tells of."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(bars, 6))
    edges = np.quantile(signal, np.cumsum(shares)[:2])
    told = strength * signal + rng.normal(size=signal.shape)
    classes = np.digitize(told / np.hypot(strength, 1.0), edges) - 1
    features = np.stack([signal, rng.normal(size=signal.shape), rng.normal(size=signal.shape)], axis=2)
    return question(make_panel, make_windows, classes, features, bars=bars, horizon=horizon)


def told(model):
    (stack,) = model.stacks_
    return stack.told


# -- out of fold -------------------------------------------------------------------------------------------


@given(
    bars=st.integers(60, 300),
    symbols=st.integers(1, 4),
    horizon=st.integers(1, 15),
    blocks=st.integers(2, 6),
    embargo=st.integers(0, 5),
    late=st.integers(0, 10),
    seed=st.integers(0, 99),
)
def test_no_member_is_fitted_on_a_label_that_reaches_into_what_it_forecasts(
    bars, symbols, horizon, blocks, embargo, late, seed
):
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(np.repeat(np.arange(40, 40 + bars), symbols), bars * symbols // 2, replace=False))
    end = rows + rng.integers(1, horizon + 1 + late, len(rows))  # some known later than the horizon says
    count = len(rows)
    samples = Samples(
        rows, end, np.zeros((count, 1), np.float32), np.zeros(count, int), np.zeros(count), np.ones(count)
    )
    model = StackedClassifier(blocks=blocks, embargo_bars=embargo)
    try:
        folds = list(model.purged_blocks(samples, horizon))
    except DataError:
        return
    for train, test in folds:
        if len(train) and len(test):
            opens = rows[test].min()
            assert end[train].max() < opens - embargo
            assert rows[train].max() < opens
    tested = np.concatenate([test for _, test in folds])
    assert len(np.unique(tested)) == len(tested), "each is forecast once"
    assert len(folds) <= blocks


def remembered(make_panel, make_windows):
    """Labels over 20 bars that overlap, and a feature that only says when: whoever remembers neighbours knows them."""
    rng = np.random.default_rng(5)
    stretches = np.repeat(rng.integers(-1, 2, (75, 1)), HORIZON, axis=0)
    classes = np.broadcast_to(stretches, (1500, 6))
    clock = np.broadcast_to(np.arange(1500.0)[:, None, None], (1500, 6, 1))
    return question(make_panel, make_windows, classes, clock, bars=1500)


def test_a_memory_of_overlapping_labels_is_worth_nothing_out_of_fold(make_panel, make_windows):
    windows = remembered(make_panel, make_windows)
    model = StackedClassifier(members=QUICK, seed=1).fit(windows)
    assert told(model)["stack"]["log_loss"] > np.log(3) - 0.05, "three classes alike: nobody can know more"


def test_the_same_memory_would_pass_without_the_purge(make_panel, make_windows, monkeypatch):
    def shuffled(self, samples, horizon):
        place = np.random.default_rng(0).integers(0, 4, len(samples.rows))
        return ((np.flatnonzero(place != one), np.flatnonzero(place == one)) for one in range(4))

    monkeypatch.setattr(StackedClassifier, "purged_blocks", shuffled)
    model = StackedClassifier(members=QUICK, seed=1).fit(remembered(make_panel, make_windows))
    assert told(model)["stack"]["log_loss"] < np.log(3) - 0.3
    assert np.nanmax(model.predict(remembered(make_panel, make_windows)).probabilities) > 0.85


def test_what_comes_in_a_block_changes_no_score_of_that_block(make_panel, make_windows):
    windows = informative(make_panel, make_windows)
    model = StackedClassifier(members=QUICK, blocks=2, seed=1)
    model.features_ = windows.features.names
    from tradewind.models.stacked_classifier import samples_of

    samples = samples_of(windows, 0, 30_000, 0)
    _, before = model.out_of_fold(samples, 5)
    (_, first), (train, last) = model.purged_blocks(samples, 5)
    other = samples.classes.copy()
    other[last] = 2 - other[last]  # another balance and another meaning in the last block
    _, after = model.out_of_fold(replace(samples, classes=other), 5)
    np.testing.assert_array_equal(after, before)
    other[train] = 2 - other[train]
    _, changed = model.out_of_fold(replace(samples, classes=other), 5)
    assert not np.array_equal(changed[len(first) :], before[len(first) :]), "this test can fail"


# -- skill and honesty -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def skilled(make_panel, make_windows):
    windows = informative(make_panel, make_windows)
    return StackedClassifier(seed=1).fit(windows), windows


def test_a_planted_signal_is_found_by_every_member_and_the_stack(skilled):
    model, _ = skilled
    base = told(model)["frequencies_alone"]
    for judged in (*told(model)["members"].values(), told(model)["stack"]):
        assert judged["log_loss"] < base["log_loss"] - 0.15
        assert judged["f1"] > base["f1"] + 0.2
    assert model.predict(skilled[1]).explanation["importance"]["f0"] > 0.8


def test_a_member_that_is_better_alone_is_named(skilled):
    said = told(skilled[0])
    better = [n for n, judged in said["members"].items() if judged["log_loss"] < said["stack"]["log_loss"]]
    assert said["better_alone"] == better


def test_probabilities_of_bars_not_learnt_from_are_what_happens(make_panel, make_windows):
    windows = informative(make_panel, make_windows, bars=700, shares=(0.08, 0.84, 0.08))
    early = replace(windows, rows=windows.rows[windows.rows < 500], columns=windows.columns[windows.rows < 500])
    model = StackedClassifier(members=("random_forest", "lightgbm", "svm"), seed=1).fit(early)
    chance = model.predict(windows).probabilities[500 - 80 : -5, :, 0]
    came = windows.labels.classes[500:-5, :, 0]
    known = np.isfinite(chance).all(axis=-1)
    for number in range(3):
        said, happened = chance[known][:, number], came[known] == number - 1
        assert abs(said.mean() - happened.mean()) < 0.04, "balanced members, true frequencies"
        sure = said > np.quantile(said, 0.9)
        assert abs(said[sure].mean() - happened[sure].mean()) < 0.12


def test_without_skill_the_probabilities_are_the_frequencies(make_panel, make_windows):
    rng = np.random.default_rng(3)
    classes = rng.choice([-1, 0, 1], (600, 6), p=[0.2, 0.5, 0.3])
    windows = question(make_panel, make_windows, classes, rng.normal(size=(600, 6, 4)), horizon=5)
    chance = StackedClassifier(members=QUICK, seed=1).fit(windows).predict(windows).probabilities[:, :, 0]
    known = chance[np.isfinite(chance).all(axis=-1)]
    np.testing.assert_allclose(known.mean(axis=0), [0.2, 0.5, 0.3], atol=0.05)
    assert known.std(axis=0).max() < 0.06


def test_quantiles_follow_the_probabilities(skilled):
    model, windows = skilled
    forecast = model.predict(windows)
    chance, score = forecast.probabilities[:, :, 0], forecast.score[:, :, 0]
    known = np.isfinite(score)
    np.testing.assert_allclose(chance[known].sum(axis=1), 1.0)
    assert np.array_equal(known, forecast.available[:, :, 0])
    assert (np.diff(forecast.quantiles[known], axis=-1) >= 0).all()


def test_members_fitted_side_by_side_say_the_same(make_panel, make_windows):
    windows = informative(make_panel, make_windows, bars=400)
    one, two = (StackedClassifier(seed=2, blocks=2, threads=n).fit(windows).predict(windows) for n in (1, 2))
    assert one.version == two.version
    np.testing.assert_array_equal(one.probabilities, two.probabilities)


# -- missing, refused --------------------------------------------------------------------------------------


def test_gaps_are_learnt_from_and_a_sample_without_any_feature_has_no_forecast(make_panel, make_windows):
    windows = informative(make_panel, make_windows)
    values = windows.features.values.copy()
    rng = np.random.default_rng(8)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, :, 2] = np.nan
    values[500, 1] = np.nan
    values[501, 1, :2] = [np.inf, 0.0]
    windows = replace(windows, features=replace(windows.features, values=values))
    model = StackedClassifier(seed=1, blocks=2).fit(windows)
    assert told(model)["stack"]["log_loss"] < told(model)["frequencies_alone"]["log_loss"] - 0.05
    forecast = model.predict(windows)
    row = 500 - 80
    assert not forecast.available[row, 1].any() and np.isnan(forecast.probabilities[row, 1]).all()
    assert forecast.available[row + 1, 1].all(), "infinity is missing, not everything"


def test_a_gap_is_the_centre_with_a_column_that_says_so():
    inputs = np.array([[1.0, 2.0], [np.nan, 4.0], [3.0, np.nan], [5.0, 6.0]], dtype=np.float32)
    filled = Filled.of(inputs[:, :1])
    assert filled(inputs[:, :1]).shape == (4, 2)
    np.testing.assert_allclose(filled(inputs[:, :1])[1], [0.0, 1.0])
    assert Filled.of(inputs[[0, 3]]).told.size == 0, "what was never missing in its samples has no column"


def test_without_barrier_labels_it_says_what_to_set(make_panel, make_windows, tmp_path):
    with pytest.raises(InputError, match="no barrier labels") as refused:
        StackedClassifier().fit(make_windows(make_panel(), np.arange(80, 600)))
    assert refused.value.hint == "set labels.barriers = true"
    playbook = system(tmp_path, playbook=PLAYBOOK)
    for flag in ({"models__use": "stacked_classifier"}, {"models__compare": ["stacked_classifier"]}):
        with pytest.raises(PlaybookError, match="no barrier labels"):
            validated(workspace(playbook, tmp_path / "home", **flag).plan)
        validated(workspace(playbook, tmp_path / "home", labels__barriers=True, **flag).plan)


def test_one_class_alone_cannot_be_learnt(make_panel, make_windows):
    windows = question(make_panel, make_windows, np.zeros((600, 6)), np.ones((600, 6, 1)), horizon=5)
    with pytest.raises(DataError, match="too few classes"):
        StackedClassifier(members=QUICK).fit(windows)


def test_a_class_that_is_never_seen_is_never_likely(make_panel, make_windows):
    windows = informative(make_panel, make_windows)
    labels = replace(windows.labels, classes=np.maximum(windows.labels.classes, 0))
    chance = StackedClassifier(seed=1, blocks=2).fit(replace(windows, labels=labels)).predict(windows).probabilities
    assert np.nanmax(chance[..., 0]) < 0.01
    assert np.nanstd(chance[..., 2]) > 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": ["svm"]},
        {"members": ["svm", "svm"]},
        {"members": ["svm", "mpl"]},
        {"blocks": 1},
        {"first_share": 1.0},
        {"balance": 1.5},
        {"penalty": 0.0},
        {"embargo_bars": -1},
        {"maximum_samples": 10},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(InputError):
        MODELS.create("stacked_classifier", **wrong)


# -- parts -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.01, 9.0)), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_balanced_classes_weigh_the_same_and_unbalanced_ones_what_they_did(samples, balance):
    classes, weight = (np.array(column) for column in zip(*samples, strict=True))
    lifted = balanced(classes, weight, balance)
    assert lifted.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(balanced(classes, weight, 0.0), weight / weight.mean())
    mass = np.bincount(classes, balanced(classes, weight, 1.0), 3)
    np.testing.assert_allclose(mass[mass > 0], mass.sum() / (mass > 0).sum())


@pytest.mark.parametrize("name", FACTORIES)
def test_every_member_learns_from_weights_and_gaps(name):
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(900, 3)).astype(np.float32)
    classes = np.digitize(inputs[:, 0], [-0.5, 0.5])
    inputs[rng.random(inputs.shape) < 0.1] = np.nan
    weight = np.where(classes == 1, 1e-9, 1.0)
    member = Classifiers((name,), 0.0, 3).fit(inputs, classes, weight)
    said = member.scores(inputs)[:, 0].argmax(axis=1)
    known = np.isfinite(inputs[:, 0]) & (classes != 1)
    assert (said[known] == classes[known]).mean() > 0.9
    assert (said == 1).mean() < 0.25, "what weighs nothing is not learnt"


def test_the_pool_is_the_maximum_of_its_likelihood():
    rng = np.random.default_rng(4)
    scores, weight = rng.normal(size=(300, 3, 3)), rng.uniform(0.1, 2.0, 300)
    classes = (scores[:, 0] + 0.5 * scores[:, 1] - 0.3 * scores[:, 2] + rng.gumbel(size=(300, 3))).argmax(axis=1)
    pool = OpinionPool.fit(scores, classes, weight, penalty=1.5)
    centred = scores - scores.mean(axis=2, keepdims=True)
    scaled = centred / centred.std(axis=(0, 2))[:, None]

    def loss(theta):
        logits = np.einsum("nmc,m->nc", scaled, theta[:3]) + theta[3:]
        chosen = np.take_along_axis(logits, classes[:, None], 1)[:, 0]
        likelihood = chosen - np.log(np.exp(logits).sum(axis=1))
        return -weight @ likelihood + 0.75 * theta[:3] @ theta[:3] + 0.5e-6 * theta[3:] @ theta[3:]

    bounds = [(0, None)] * 3 + [(None, None)] * 3
    best = optimize.minimize(loss, np.zeros(6), tol=1e-14, bounds=bounds, options={"maxiter": 10_000})
    assert pool.weights[0] > pool.weights[1] > pool.weights[2] == 0.0, "who is wrong on purpose is not listened to"
    np.testing.assert_allclose(pool.weights, best.x[:3], atol=1e-3)
    np.testing.assert_allclose(np.diff(pool.constants), np.diff(best.x[3:]), atol=1e-3)


def test_the_pool_says_classes_as_often_as_they_come_and_nothing_more_under_a_heavy_penalty():
    rng = np.random.default_rng(5)
    scores, classes = rng.normal(size=(500, 2, 3)), rng.choice(3, 500, p=[0.1, 0.7, 0.2])
    share = np.bincount(classes) / 500
    free, held = (OpinionPool.fit(scores, classes, np.ones(500), penalty) for penalty in (1e-6, 1e9))
    np.testing.assert_allclose(free.probabilities(scores).mean(axis=0), share, atol=1e-6)
    np.testing.assert_allclose(held.probabilities(scores), np.broadcast_to(share, (500, 3)), atol=1e-4)
    assert log_loss(held.probabilities(scores), classes, np.ones(500)) == pytest.approx(
        -share @ np.log(share), abs=1e-6
    )


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(6)
    classes, chance = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    wanted = f1_score(classes, chance.argmax(axis=1), average="macro")
    assert macro_f1(chance, classes, np.ones(200)) == pytest.approx(wanted)


def test_a_mixture_gives_back_each_class_and_all_of_them():
    rng = np.random.default_rng(7)
    classes = rng.choice(3, 20_000, p=[0.2, 0.5, 0.3])
    ratio = np.array([-1.2, 0.0, 1.2])[classes] + 0.5 * rng.standard_t(5, 20_000)
    mixture = ClassMixture.fit(ratio, classes, np.ones(20_000), 3)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    for one in range(3):
        found = mixture.quantiles(np.eye(3)[[one]], levels)[0]
        np.testing.assert_allclose(found, np.quantile(ratio[classes == one], levels), atol=0.05)
    share = np.bincount(classes)[None, :] / 20_000
    np.testing.assert_allclose(mixture.quantiles(share, levels)[0], np.quantile(ratio, levels), atol=0.03)
    assert mixture.means(share)[0] == pytest.approx(ratio.mean())
    likely = mixture.quantiles(np.array([[0.1, 0.8, 0.1], [0.3, 0.4, 0.3]]), levels)
    assert np.ptp(likely[0]) < np.ptp(likely[1]), "a likelier neutral class is a narrower forecast"
