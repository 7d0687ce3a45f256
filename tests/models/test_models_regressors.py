"""The regressors that forecasters wrap: fast forms, judged by the slow ones they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradewind.errors import DataError
from tradewind.models.base import MODELS
from tradewind.models.boosting import BoostedTrees
from tradewind.models.forest import HistogramForest
from tradewind.models.kernel_machine import KernelMachine
from tradewind.models.location_scale import LocationScale, Standardiser

SAMPLES = 3_000


def a_problem(seed):
    """Two targets that depend on the inputs by kinks and products, in as much noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((2 * SAMPLES, 8))
    bend = np.where(inputs[:, 0] > 0.3, 1.0, -0.5) + 0.7 * inputs[:, 1] * inputs[:, 2]
    wave = np.sin(inputs[:, 3]) + 0.4 * inputs[:, 4]
    return inputs, np.stack([bend, wave], axis=1) + rng.standard_normal((2 * SAMPLES, 2))


@pytest.fixture(scope="module", params=[1, 2])
def problem(request):
    return a_problem(request.param)


def errors(regressor, problem):
    """Mean squared error of each target on the half that was not learnt from."""
    inputs, targets = problem
    found = regressor.fit(inputs[:SAMPLES], targets[:SAMPLES]).predict(inputs[SAMPLES:])
    return ((targets[SAMPLES:] - found) ** 2).mean(axis=0)


class OneByOne:
    """A regressor of one target, fitted to each."""

    def __init__(self, make):
        self.make = make

    def fit(self, inputs, targets):
        self.fits = [self.make().fit(inputs, target) for target in targets.T]
        return self

    def predict(self, inputs):
        return np.stack([fit.predict(inputs) for fit in self.fits], axis=1)


def test_the_forest_is_as_good_as_one_that_sorts_every_node(problem):
    from sklearn.ensemble import RandomForestRegressor

    def slow():
        return RandomForestRegressor(
            100, max_depth=10, min_samples_leaf=20, max_features=0.33, max_samples=0.5, random_state=1
        )

    quick = errors(HistogramForest(100, 10, 20, seed=1), problem)
    assert (quick < 1.02 * errors(OneByOne(slow), problem)).all()


def test_the_kernel_machine_is_as_good_as_the_exact_one(problem):
    from sklearn.svm import SVR

    quick = errors(KernelMachine(cost=1.0, seed=1), problem)
    assert (quick < 1.03 * errors(OneByOne(lambda: SVR(C=1.0, epsilon=0.2, gamma=1 / 8)), problem)).all()


def test_the_forest_tells_which_inputs_matter(problem):
    importance = HistogramForest(20, 6, 50).fit(*problem).feature_importances_
    assert importance.sum() == pytest.approx(1.0)
    assert importance[5:].max() < importance[:5].min()


def test_threads_change_nothing_in_a_forest():
    inputs, targets = a_problem(1)
    one, two = (HistogramForest(3, 3, 50, threads=n, seed=3).fit(inputs, targets).predict(inputs) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_no_tree_of_a_forest_is_deeper_than_asked(problem):
    trees = HistogramForest(5, 3, 1).fit(*problem).boosters_[0].trees_to_dataframe()
    assert trees["node_depth"].max() == 4  # a root, and three splits below one another


def test_a_forest_of_too_few_samples_for_two_leaves_says_one_number_near_the_mean():
    inputs, targets = a_problem(3)
    found = HistogramForest(10, 6, 500, seed=1).fit(inputs[:300], targets[:300]).predict(inputs[:5])
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape))
    np.testing.assert_allclose(found[0], targets[:300].mean(axis=0), atol=0.15)


def test_the_standardiser_measures_what_is_known_and_puts_the_centre_where_nothing_is():
    matrix = np.array([[1.0, 5.0], [3.0, np.nan], [np.nan, 5.0], [5.0, np.inf]], dtype=np.float32)
    fitted = Standardiser.of(matrix)
    np.testing.assert_allclose(fitted.centre, [3.0, 5.0])
    np.testing.assert_allclose(fitted.spread, [np.std([1.0, 3.0, 5.0]), 1.0])
    scaled = fitted(matrix)
    assert np.isfinite(scaled).all()
    assert scaled[2, 0] == scaled[1, 1] == 0.0
    assert np.abs(fitted(np.float32(1e6) * matrix[:3])).max() == 5.0


def test_a_horizon_as_long_as_the_history_leaves_nothing_to_learn_from(make_panel, make_windows):
    windows = make_windows(make_panel(bars=420), np.arange(60, 420), (1, 300))
    with pytest.raises(DataError, match="to learn from"):
        MODELS.create("ridge").fit(windows)


def test_samples_without_a_return_over_every_horizon_are_not_learnt_from(make_panel, make_windows):
    windows = make_windows(make_panel().head(600), np.arange(80, 600))
    spoilt = windows.labels.returns.copy()
    spoilt[300:320, :, 0] = 10.0
    spoilt[300:320, :, 1] = np.nan
    other = replace(windows, labels=replace(windows.labels, returns=spoilt))
    kept = replace(windows, rows=windows.rows[(windows.rows < 300) | (windows.rows >= 320)])
    kept = replace(kept, columns=windows.columns[(windows.rows < 300) | (windows.rows >= 320)])
    one, two = (MODELS.create("ridge", seed=1).fit(w) for w in (other, kept))
    np.testing.assert_allclose(one.shapes_, two.shapes_)


@pytest.mark.parametrize("kind", [BoostedTrees, LocationScale])
def test_forecasters_of_one_kind_take_the_same_settings(kind):
    for model in (MODELS.create(name) for name in MODELS.names()):
        if isinstance(model, kind):
            assert {"maximum_samples", "levels", "threads", "seed"} <= set(vars(model))
            assert model.levels == tuple(model.levels)


def test_a_list_of_levels_is_as_good_as_a_tuple():
    assert MODELS.create("random_forest", levels=[0.1, 0.5, 0.9]).levels == (0.1, 0.5, 0.9)
    assert MODELS.create("lightgbm_rank", levels=[0.1, 0.5, 0.9]).levels == (0.1, 0.5, 0.9)
