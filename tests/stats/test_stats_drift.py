"""Distances between samples: scipy and plain loops say the same, dependence is counted, missing is a value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from tradewind.errors import InputError
from tradewind.stats import drift

BINS = 20


def counts_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count by hand: bins of known values, then what is missing."""
    found = np.zeros(len(edges) + 2)
    for x in values:
        found[-1 if not math.isfinite(x) else sum(x >= edge for edge in edges)] += 1
    return found


def table(n: int, features: int, seed: int, missing: float = 0.0, ties: bool = False) -> np.ndarray:
    draw = np.random.default_rng(seed)
    x = draw.normal(draw.normal(size=features), 1.0 + draw.random(features), (n, features))
    x = np.round(x, 1) if ties else x
    return np.where(draw.random(x.shape) < missing, np.nan, x)


def psi_by_hand(expected: np.ndarray, observed: np.ndarray) -> float:
    n, m, bins = expected.sum(), observed.sum(), len(expected)
    total, held = 0.0, 0
    for x, y in zip(expected, observed, strict=True):
        p = (x + 0.5) / (n + 0.5 * bins)
        q = (y + 0.5 * bins * p) / (m + 0.5 * bins)
        total += (q - p) * math.log(q / p)
        held += bool(x or y)
    return total - (held - 1) * (1 / n + 1 / m)


def test_the_stability_index_is_the_loop_s() -> None:
    draw = np.random.default_rng(1)
    expected, observed = draw.integers(0, 90, (7, 12)), draw.integers(0, 9, (7, 12))
    found = drift.population_stability(expected, observed)
    assert found == pytest.approx([psi_by_hand(x, y) for x, y in zip(expected, observed, strict=True)], rel=1e-12)


@pytest.mark.parametrize("m", [100, 400])
def test_without_a_change_the_stability_index_is_zero_on_average_however_small_the_sample(m: int) -> None:
    draw = np.random.default_rng(2)
    share = np.full(BINS, 1 / BINS)
    expected, observed = draw.multinomial(5000, share, 4000), draw.multinomial(m, share, 4000)
    found = drift.population_stability(expected, observed)
    bias = (BINS - 1) * (1 / 5000 + 1 / m)
    assert abs(found.mean()) < 0.12 * bias
    assert found.std() > 0.1 * bias


def test_samples_that_lie_in_one_bin_are_equal_whatever_their_sizes() -> None:
    expected, observed = np.zeros(21), np.zeros(21)
    expected[-1], observed[-1] = 31_000, 240
    assert drift.population_stability(expected, observed) == pytest.approx(0.0, abs=1e-3)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_jensen_shannon_is_scipy_s_squared_and_between_nothing_and_one_bit(pairs: list[tuple[int, int]]) -> None:
    p, q = np.array(pairs, dtype=float).T
    found = float(drift.jensen_shannon(p, q))
    if p.sum() == 0 or q.sum() == 0:
        assert math.isnan(found)
        return
    assert found == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-7)
    assert -1e-12 <= found <= 1 + 1e-12


def test_disjoint_samples_are_one_bit_apart() -> None:
    assert drift.jensen_shannon([3, 0], [0, 5]) == pytest.approx(1.0)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("ties", [False, True])
def test_two_samples_are_as_far_apart_as_scipy_says_feature_by_feature(missing: float, ties: bool) -> None:
    x, y = table(150, 9, 3, missing, ties), table(80, 9, 4, missing / 2, ties)
    found = drift.two_sample(x, y)
    for column in range(9):
        a, b = (t[:, column][np.isfinite(t[:, column])] for t in (x, y))
        assert found.kolmogorov_smirnov[column] == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
        assert found.wasserstein[column] == pytest.approx(wasserstein_distance(a, b), rel=1e-10)
        assert (found.n[column], found.m[column]) == (len(a), len(b))
    assert found.missing == pytest.approx(np.isnan(y).mean(axis=0))
    assert found.missing_before == pytest.approx(np.isnan(x).mean(axis=0))


def test_a_feature_without_values_has_no_distance() -> None:
    x, y = table(30, 2, 5), table(30, 2, 6)
    y[:, 1] = np.nan
    found = drift.two_sample(x, y)
    assert np.isfinite(found.wasserstein[0]) and np.isnan(found.wasserstein[1])
    assert np.isnan(found.kolmogorov_smirnov[1]) and found.missing.tolist() == [0.0, 1.0]


def test_tables_of_other_features_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        drift.two_sample(table(5, 2, 0), table(5, 3, 0))


def test_scaling_a_feature_scales_its_wasserstein_distance_and_nothing_else() -> None:
    x, y = table(100, 4, 7), table(60, 4, 8)
    plain, scaled = drift.two_sample(x, y), drift.two_sample(8 * x, 8 * y)
    assert scaled.wasserstein == pytest.approx(8 * plain.wasserstein)
    assert scaled.kolmogorov_smirnov == pytest.approx(plain.kolmogorov_smirnov)


@pytest.mark.parametrize(("n", "m"), [(400, 300), (2000, 100)])
def test_the_p_value_of_independent_samples_is_scipy_s(n: int, m: int) -> None:
    for size in (0.0, 0.1, 0.25):
        x, y = np.random.default_rng(9).normal(size=n), np.random.default_rng(10).normal(size, 1, m)
        exact = ks_2samp(x, y, method="exact")
        assert drift.kolmogorov_smirnov_p(exact.statistic, n, m) == pytest.approx(exact.pvalue, rel=0.1, abs=0.01)


def test_the_same_statistic_of_fewer_independent_observations_is_less_surprising() -> None:
    p = drift.kolmogorov_smirnov_p(0.3, [390.0, 39.0, 4.0], 5000.0)
    assert p[0] < 1e-10 < 1e-3 < p[1] < 0.5 < p[2]


def test_binned_statistics_come_near_the_exact_ones() -> None:
    x, y = table(4000, 6, 11), table(500, 6, 12)
    edges = drift.quantile_edges(x, 50)
    of_x, of_y = (np.stack([counts_of(t[:, f], edges[f]) for f in range(6)]) for t in (x, y))
    exact = drift.two_sample(x, y)
    binned = drift.binned_kolmogorov_smirnov(of_x[:, :-1], of_y[:, :-1])
    assert (binned <= exact.kolmogorov_smirnov + 1e-12).all()
    assert (exact.kolmogorov_smirnov - binned < 1 / 50 + 0.03).all()
    beyond = [
        np.stack([np.maximum(edges[:, 0] - t, 0).mean(axis=0), np.maximum(t - edges[:, -1], 0).mean(axis=0)], axis=1)
        for t in (x, y)
    ]
    moved = drift.binned_wasserstein(of_x[:, :-1], of_y[:, :-1], edges, *beyond)
    assert moved == pytest.approx(exact.wasserstein, rel=0.1)


def test_a_sample_that_has_moved_far_away_is_that_far_away() -> None:
    x = np.random.default_rng(13).normal(size=(5000, 1))
    edges = drift.quantile_edges(x, BINS)
    y = x + 40
    counts = [counts_of(t[:, 0], edges[0])[None] for t in (x, y)]
    beyond = [
        np.array([[np.maximum(edges[0, 0] - t, 0).mean(), np.maximum(t - edges[0, -1], 0).mean()]]) for t in (x, y)
    ]
    moved = drift.binned_wasserstein(counts[0][:, :-1], counts[1][:, :-1], edges, *beyond)
    assert moved[0] == pytest.approx(40, rel=0.01)


def test_edges_cut_the_reference_into_equal_shares_and_know_nothing_of_an_empty_feature() -> None:
    x = table(2000, 3, 14)
    x[:, 2] = np.nan
    edges = drift.quantile_edges(x, 8)
    assert [counts_of(x[:, f], edges[f])[:-1].tolist() for f in (0, 1)] == [[250.0] * 8] * 2
    assert np.isnan(edges[2]).all()
    with pytest.raises(InputError, match="1 bins"):
        drift.quantile_edges(x, 1)


def windows(values: np.ndarray, length: int) -> np.ndarray:
    """Return the histograms of windows of one feature that do not overlap, ``(K, 1, bins)``."""
    edges = drift.quantile_edges(values.reshape(-1, 1), BINS)[0]
    parts = values[: len(values) // length * length].reshape(-1, length)
    return np.stack([[counts_of(part, edges)[:-1]] for part in parts])


def test_independent_values_are_all_worth_one() -> None:
    x = np.random.default_rng(15).normal(size=20_000)
    assert drift.effective_size(windows(x, 50))[0] == pytest.approx(50, rel=0.12)


@pytest.mark.parametrize("times", [5, 25])
def test_a_value_that_is_said_many_times_is_worth_one(times: int) -> None:
    x = np.repeat(np.random.default_rng(16).normal(size=20_000 // times), times)
    assert drift.effective_size(windows(x, 50))[0] == pytest.approx(50 / times, rel=0.15)


def test_a_slow_series_is_worth_what_its_autocorrelation_leaves() -> None:
    draw, x, memory = np.random.default_rng(17), np.zeros(60_000), 0.9
    for t in range(1, len(x)):
        x[t] = memory * x[t - 1] + draw.normal()
    below = (x <= np.median(x)).astype(float)
    length = 60
    means = below[: len(x) // length * length].reshape(-1, length).mean(axis=1)
    assert drift.effective_size(windows(x, length))[0] == pytest.approx(0.25 / means.var(), rel=0.25)
    assert drift.effective_size(windows(x, length))[0] < 12
