"""Split, cross and jackknife+ for any model: MAPIE's where the forms coincide, on blocks that nobody has seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mapie.conformity_scores import AbsoluteConformityScore
from mapie.regression import CrossConformalRegressor, SplitConformalRegressor
from scipy.special import ndtri
from sklearn.linear_model import LinearRegression

from tradewind.calibration.adaptive import calibrate
from tradewind.calibration.blocked import METHODS, Training, _order_statistic, conformal, is_blocked
from tradewind.calibration.regressors import PurgedBlocks, _for_sklearn
from tradewind.calibration.settings import CalibrationSection
from tradewind.errors import DataError, InputError
from tradewind.labels.targets import Labels
from tradewind.models.forecast import Forecast

Rows = np.ndarray
TRAIN, TEST, HORIZON = 198, 40, 3


def forecast(rows: Rows, quantiles: np.ndarray, levels: tuple[float, ...]) -> Forecast:
    times = np.datetime64("2020-01-01", "us") + rows * np.timedelta64(1, "D")
    names = tuple(f"S{i}" for i in range(quantiles.shape[1]))
    score = quantiles[..., quantiles.shape[-1] // 2]
    return Forecast(times, names, tuple(range(1, quantiles.shape[2] + 1)), levels, quantiles, score, model="by hand")


class Regression:
    """One symbol, one horizon: least squares for the middle and the same distances to the other levels everywhere."""

    levels = (0.1, 0.5, 0.9)

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(TRAIN + TEST, 2))
        self.y = self.x @ np.array([1.0, -0.5]) + rng.standard_t(4, TRAIN + TEST)
        self.shown: list[Rows] = []

    def learn(self, rows: Rows) -> Callable[[Rows], Forecast]:
        self.shown.append(rows)
        fitted = LinearRegression().fit(self.x[rows], self.y[rows])
        return lambda asked: forecast(
            asked, (fitted.predict(self.x[asked])[:, None] + [-1.0, 0.0, 1.0])[:, None, None, :], self.levels
        )

    @property
    def train(self) -> Rows:
        return np.arange(TRAIN)

    @property
    def test(self) -> Rows:
        return np.arange(TRAIN, TRAIN + TEST)

    def conformal(self, method: str, **options: object) -> np.ndarray:
        known = np.where(np.arange(len(self.y)) < TRAIN, self.y, np.nan)[:, None, None]
        training = Training(self.learn, self.train, known, HORIZON)
        found = conformal(method, training, self.learn(self.train)(self.test), self.test, **options)  # type: ignore[arg-type]
        return found.quantiles[:, 0, 0]


# -- MAPIE is the oracle: with constant distances the score of each level is the signed residual -----------------


def test_split_is_mapies_split() -> None:
    problem = Regression()
    kept, block = list(PurgedBlocks(problem.train, HORIZON, 5).split(None))[-1]
    mapie = SplitConformalRegressor(
        LinearRegression(), confidence_level=0.8, conformity_score=AbsoluteConformityScore(sym=False), prefit=False
    )
    mapie.fit(problem.x[kept], problem.y[kept]).conformalize(problem.x[block], problem.y[block])
    bounds = mapie.predict_interval(problem.x[problem.test])[1][:, :, 0]
    np.testing.assert_allclose(problem.conformal("split")[:, [0, 2]], bounds, rtol=1e-9)


@pytest.mark.parametrize(("method", "style"), [("cross", "base"), ("jackknife_plus", "plus")])
@pytest.mark.parametrize("folds", [3, 5])
def test_cross_and_jackknife_plus_are_mapies_on_the_same_purged_blocks(method: str, style: str, folds: int) -> None:
    problem = Regression(seed=folds)
    mapie = CrossConformalRegressor(
        LinearRegression(),
        confidence_level=0.8,
        conformity_score=AbsoluteConformityScore(sym=False),
        method=style,
        cv=_for_sklearn(PurgedBlocks(problem.train, HORIZON, folds)),
    )
    mapie.fit_conformalize(problem.x[: len(problem.train)], problem.y[: len(problem.train)])
    bounds = mapie.predict_interval(problem.x[problem.test])[1][:, :, 0]
    np.testing.assert_allclose(problem.conformal(method, folds=folds)[:, [0, 2]], bounds, rtol=1e-7, atol=1e-9)


# -- what holds for every model ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_no_model_that_scores_a_block_has_seen_it_or_a_label_that_reaches_into_it(method: str) -> None:
    problem = Regression()
    problem.conformal(method)
    fits = [rows for rows in problem.shown if len(rows) < TRAIN]
    assert len(fits) == (1 if method == "split" else 5)
    blocks = np.array_split(problem.train, 5)[-len(fits) :]
    for rows, block in zip(fits, blocks, strict=True):
        assert np.all((rows + HORIZON < block[0]) | (rows > block[-1] + HORIZON))


class Panel:
    """Many symbols over two horizons, calm and wild; quantiles are too narrow by a factor, in their own widths."""

    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)

    def __init__(self, seed: int, rows: int = 400, columns: int = 8, factor: float = 0.6) -> None:
        rng = np.random.default_rng(seed)
        self.rows, self.sigma = rows, np.geomspace(0.005, 0.05, columns)
        self.outcomes = rng.standard_normal((rows, columns, 2)) * self.sigma[:, None] * [1.0, 1.5]
        spread = factor * ndtri(np.asarray(self.levels)) * self.sigma[:, None, None] * np.array([1.0, 1.5])[:, None]
        self.quantiles = np.broadcast_to(spread, (rows, columns, 2, 7)) + 0.002 * rng.standard_normal((rows, 1, 1, 1))
        self.known = np.where(np.arange(rows)[:, None, None] < rows - 100, self.outcomes, np.nan)

    def learn(self, rows: Rows) -> Callable[[Rows], Forecast]:
        return lambda asked: forecast(asked, self.quantiles[asked], self.levels)

    def conformal(self, method: str, **options: object) -> Forecast:
        test = np.arange(self.rows - 100, self.rows)
        training = Training(self.learn, np.arange(self.rows - 100), self.known, 2)
        return conformal(method, training, self.learn(test)(test), test, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_every_level_keeps_its_promise_for_calm_and_wild_names(method: str) -> None:
    problem = Panel(1, rows=1500)
    found = problem.conformal(method).quantiles
    below = problem.outcomes[-100:][..., None] <= found
    np.testing.assert_allclose(below.mean(axis=(0, 1, 2)), problem.levels, atol=0.04)
    inside = (below[..., 6] & ~below[..., 0]).mean(axis=(0, 2))
    np.testing.assert_allclose(inside, 0.9, atol=0.08)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10)
@given(seed=st.integers(0, 1000), factor=st.floats(0.05, 5))
def test_quantiles_never_cross_and_missing_forecasts_stay_missing(method: str, seed: int, factor: float) -> None:
    problem = Panel(seed, rows=200, columns=3, factor=factor)
    problem.quantiles = problem.quantiles.copy()
    problem.quantiles[150, 1, 0] = np.nan
    found = problem.conformal(method).quantiles
    assert np.all(np.diff(found, axis=-1)[np.isfinite(found).all(axis=-1)] >= 0)
    gone = np.isnan(found)
    assert gone[50, 1, 0].all() and gone.sum() == 7


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_the_known_outcomes_of_the_training_rows_is_looked_at(method: str) -> None:
    problem, other = Panel(2), Panel(2)
    other.outcomes, other.known = np.full_like(other.outcomes, 9.0), problem.known.copy()
    other.known[300:] = 7.0
    np.testing.assert_array_equal(problem.conformal(method).quantiles, other.conformal(method).quantiles)


@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=4).filter(lambda n: sum(n) > 3), st.integers(0, 999), st.data()
)
def test_the_order_statistic_of_blocks_is_that_of_their_union(sizes: list[int], seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    scores = [np.sort(rng.normal(size=n).round(1)) for n in sizes]
    centre = data.draw(arrays(float, (len(sizes), 5), elements=st.floats(-3, 3)))
    width = data.draw(arrays(float, (len(sizes), 5), elements=st.floats(0.1, 4)))
    rank = data.draw(st.integers(1, sum(sizes)))
    union = np.concatenate([c + w * s[:, None] for c, w, s in zip(centre, width, scores, strict=True)])
    found = _order_statistic(centre, width, scores, rank)
    np.testing.assert_allclose(found, np.sort(union, axis=0)[rank - 1], atol=1e-7)


def test_too_few_scores_for_the_outermost_level_are_refused() -> None:
    problem = Panel(3, rows=116, columns=1)
    with pytest.raises(DataError, match=r"the level 0\.05 lies: it takes 19") as caught:
        problem.conformal("split", folds=2)
    assert "calibration.folds" in caught.value.hint


def test_blocks_that_leave_nothing_to_learn_from_are_refused() -> None:
    problem = Regression()
    known = problem.y[:, None, None]
    training = Training(problem.learn, problem.train, known, 200)
    with pytest.raises(DataError, match="nothing to learn from"):
        conformal("cross", training, problem.learn(problem.train)(problem.test), problem.test)


def test_the_online_calibrator_does_not_pretend_to_be_one_of_these() -> None:
    assert [is_blocked(m) for m in ("split", "adaptive", "none")] == [True, False, False]
    made = Panel(0, rows=120).learn(np.arange(2))(np.arange(120))
    nothing = np.zeros((120, 8, 2))
    labels = Labels((1, 2), nothing, nothing[..., 0], nothing.astype(np.int64), nothing)
    with pytest.raises(InputError, match="'cross' needs the training rows"):
        calibrate(replace(made, horizons=(1, 2)), labels, CalibrationSection(method="cross"))
