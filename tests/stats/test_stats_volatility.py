"""Volatility and covariance against pandas, scikit-learn and the truth of simulated prices."""

import math

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.stats import covariance as c
from tradewind.stats import volatility as v


def test_ewma_variance_equals_pandas_with_normalised_weights() -> None:
    import pandas as pd

    r = np.random.default_rng(0).normal(size=(60, 3))
    oracle = pd.DataFrame(r**2).ewm(halflife=8, adjust=True).mean().to_numpy()
    assert v.ewma_variance(r, 8.0, 1) == pytest.approx(oracle)


def test_a_prefix_of_the_returns_gives_a_prefix_of_the_volatility() -> None:
    r = np.random.default_rng(1).normal(size=(80, 4))
    assert np.array_equal(v.ewma_volatility(r[:50], 10.0), v.ewma_volatility(r, 10.0)[:50], equal_nan=True)


def test_missing_bars_stay_missing_and_are_skipped() -> None:
    r = np.random.default_rng(2).normal(size=(40, 1))
    holed = np.insert(r, 20, np.nan, axis=0)
    found = v.ewma_volatility(holed, 10.0)
    assert np.isnan(found[20, 0])
    assert np.array_equal(np.delete(found, 20, axis=0), v.ewma_volatility(r, 10.0), equal_nan=True)


def test_volatility_needs_its_warm_up() -> None:
    found = v.ewma_volatility(np.ones((12, 1)), 5.0, warm_up_bars=10)
    assert np.isnan(found[:9]).all()
    assert found[9, 0] == pytest.approx(1.0)


def test_decay_and_half_life_are_inverse() -> None:
    assert v.half_life_of(v.decay_of(11.0)) == pytest.approx(11.0)
    assert v.half_life_of(v.RISKMETRICS_DECAY) == pytest.approx(11.2, abs=0.01)
    assert v.riskmetrics_volatility(np.ones((20, 1)))[-1, 0] == pytest.approx(1.0)
    with pytest.raises(InputError, match="half-life"):
        v.decay_of(0.0)


def simulated_bars(days: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    steps = np.random.default_rng(seed).normal(0.0, 0.02 / math.sqrt(1000), (days, 1000))
    path = np.cumsum(steps, axis=1)
    start = np.concatenate([[0.0], np.cumsum(path[:-1, -1])])[:, None]
    level = np.exp(start + np.concatenate([np.zeros((days, 1)), path], axis=1))
    return level[:, :1], level.max(axis=1)[:, None], level.min(axis=1)[:, None], level[:, -1:]


def test_range_estimators_find_the_volatility_of_a_simulated_market() -> None:
    o, h, low, close = simulated_bars(2000, 3)
    for variance in (
        v.parkinson_variance(h, low),
        v.garman_klass_variance(o, h, low, close),
        v.rogers_satchell_variance(o, h, low, close),
    ):
        assert math.sqrt(variance.mean()) == pytest.approx(0.02, rel=0.05)
    rolling = v.yang_zhang_variance(o, h, low, close, 50)
    assert np.isnan(rolling[:50]).all()
    assert math.sqrt(np.nanmean(rolling)) == pytest.approx(0.02, rel=0.05)
    with pytest.raises(InputError, match="window"):
        v.yang_zhang_variance(o, h, low, close, 1)


def test_too_short_a_history_has_no_rolling_variance() -> None:
    o, h, low, close = simulated_bars(5, 3)
    assert np.isnan(v.yang_zhang_variance(o, h, low, close, 10)).all()


def test_ewma_covariance_equals_pandas() -> None:
    import pandas as pd

    r = np.random.default_rng(4).normal(size=(100, 3))
    weight = 0.5 ** (np.arange(99, -1, -1) / 20)
    oracle = (r * weight[:, None]).T @ r / weight.sum()
    assert c.ewma_covariance(r, 20.0) == pytest.approx(oracle)
    assert c.ewma_correlation(r, 1e9) == pytest.approx(pd.DataFrame(r).corr().to_numpy(), abs=0.03)


def test_series_that_never_meet_have_no_correlation() -> None:
    r = np.random.default_rng(4).normal(size=(100, 2))
    r[:50, 0], r[50:, 1] = np.nan, np.nan
    found = c.ewma_correlation(r, 20.0)
    assert np.isnan(found[0, 1])
    assert found[0, 0] == 1.0
    with pytest.raises(InputError, match="meet"):
        c.shrink_to_constant(found, 0.0)


def test_shrinkage_moves_towards_the_average_and_keeps_the_diagonal() -> None:
    correlation = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.3], [0.1, 0.3, 1.0]])
    whole = c.shrink_to_constant(correlation, 1.0)
    assert whole[0, 1] == pytest.approx(0.4)
    assert np.diag(whole) == pytest.approx(np.ones(3))
    assert c.shrink_to_constant(correlation, 0.0) == pytest.approx(correlation)
    with pytest.raises(InputError, match="intensity"):
        c.shrink_to_constant(correlation, 2.0)


def test_ledoit_wolf_beats_the_sample_covariance_when_rows_are_few() -> None:
    n = 30
    true = 0.4 + 0.6 * np.eye(n)
    r = np.random.default_rng(5).multivariate_normal(np.zeros(n), true, 40)
    found, intensity = c.ledoit_wolf(r)
    assert 0.3 < intensity <= 1.0
    assert np.linalg.norm(found - true) < 0.7 * np.linalg.norm(np.cov(r.T) - true)
    assert np.linalg.eigvalsh(found)[0] > 0


def test_with_many_rows_hardly_anything_is_shrunk() -> None:
    generator = np.random.default_rng(6)
    factor = generator.normal(size=(20_000, 1)) * np.linspace(-1, 2, 6)
    found, intensity = c.ledoit_wolf(factor + generator.normal(size=(20_000, 6)))
    assert intensity < 0.01
    assert found.shape == (6, 6)
    with pytest.raises(InputError, match="too few"):
        c.ledoit_wolf(np.full((5, 2), np.nan))


def test_an_indefinite_matrix_is_repaired() -> None:
    broken = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    found = c.nearest_correlation(broken)
    assert np.linalg.eigvalsh(found)[0] > 0
    assert np.diag(found) == pytest.approx(np.ones(3))
    assert c.nearest_correlation(np.eye(2)) is not None
    with pytest.raises(InputError, match="shape"):
        c.ewma_covariance(np.zeros(3), 5.0)
