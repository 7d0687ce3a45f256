from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tradewind.errors import InputError
from tradewind.models.forecast import LEVELS
from tradewind.models.ranks import bucket_probabilities, correlation_of


def normal_quantiles(mean, spread):
    return np.asarray(mean)[:, None] + np.asarray(spread)[:, None] * norm.ppf(LEVELS)


def test_equal_symbols_are_equally_likely_anywhere():
    chances = bucket_probabilities(normal_quantiles(np.zeros(10), np.ones(10)), LEVELS, np.eye(10), draws=40_000)
    np.testing.assert_allclose(chances, 0.2, atol=0.012)


def test_a_wilder_symbol_ends_at_the_edges_and_a_calm_one_in_the_middle():
    spread = np.ones(20)
    spread[0], spread[1] = 4.0, 0.1
    chances = bucket_probabilities(normal_quantiles(np.zeros(20), spread), LEVELS, np.eye(20))
    assert chances[0, 0] > 0.35 and chances[0, 4] > 0.35
    assert chances[1, 2] > 0.6


def test_two_symbols_agree_with_the_known_answer():
    mean, rho = np.array([0.3, 0.0]), 0.5
    correlation = np.array([[1.0, rho], [rho, 1.0]])
    chances = bucket_probabilities(normal_quantiles(mean, np.ones(2)), LEVELS, correlation, buckets=2, draws=200_000)
    assert chances[0, 1] == pytest.approx(norm.cdf(0.3 / np.sqrt(2 - 2 * rho)), abs=0.005)


@settings(max_examples=20, deadline=None)
@given(st.integers(5, 30), st.integers(2, 5), st.integers(0, 1000))
def test_rows_sum_to_one_and_columns_to_their_share(count, buckets, seed):
    rng = np.random.default_rng(seed)
    quantiles = normal_quantiles(rng.normal(0, 0.3, count), rng.uniform(0.5, 2, count))
    chances = bucket_probabilities(quantiles, LEVELS, np.eye(count), buckets=buckets, draws=512, seed=seed)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    columns = np.round(chances.sum(axis=0), 9)
    assert set(columns) <= {count // buckets, -(-count // buckets)}
    assert columns.sum() == count


@settings(max_examples=20, deadline=None)
@given(st.integers(5, 30), st.sampled_from([3, 5]), st.integers(0, 1000))
def test_what_may_rise_as_far_as_fall_is_as_probable_in_the_best_bucket_as_in_the_worst(count, buckets, seed):
    spread = np.random.default_rng(seed).uniform(0.5, 2, count)
    chances = bucket_probabilities(normal_quantiles(np.zeros(count), spread), LEVELS, np.eye(count), buckets=buckets)
    np.testing.assert_allclose(chances, chances[:, ::-1], atol=1e-12)


def test_the_same_seed_gives_the_same_chances():
    quantiles = normal_quantiles(np.zeros(6), np.linspace(1, 2, 6))
    first, second = (bucket_probabilities(quantiles, LEVELS, np.eye(6), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_too_few_symbols_are_refused():
    with pytest.raises(InputError, match="buckets"):
        bucket_probabilities(normal_quantiles(np.zeros(3), np.ones(3)), LEVELS, np.eye(3), buckets=5)


def test_correlation_finds_the_groups_and_survives_gaps_and_short_history():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(400, 2))
    returns = np.concatenate([common[:, :1] + rng.normal(size=(400, 3)), common[:, 1:] + rng.normal(size=(400, 3))], 1)
    returns[:380, 5] = np.nan
    returns[7] = np.nan
    found = correlation_of(returns)
    np.testing.assert_allclose(np.diag(found), 1.0)
    assert found[0, 1] > found[0, 4] + 0.15
    assert np.linalg.eigvalsh(found)[0] > 0
    many = correlation_of(rng.normal(size=(30, 100)))
    assert np.linalg.eigvalsh(many)[0] > 0
