"""Tests of exceptions: likelihoods computed directly, every order counted, and their size under the null."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tradewind.errors import InputError
from tradewind.risk.var_tests import conditional_coverage, hits, independence, kupiec, shortfall


def bernoulli_log_likelihood(hit: np.ndarray, p: float) -> float:
    return float(np.sum(np.log(np.where(hit, p, 1 - p)))) if 0 < p < 1 else 0.0


def markov_log_likelihood(hit: np.ndarray) -> float:
    total = 0.0
    for before in (False, True):
        after = hit[1:][hit[:-1] == before]
        total += bernoulli_log_likelihood(after, after.mean()) if after.size else 0.0
    return total


def a_series(n: int, p: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < p


@pytest.mark.parametrize(("n", "p", "level"), [(250, 0.05, 0.95), (1000, 0.03, 0.99), (60, 0.2, 0.9)])
def test_ratios_agree_with_likelihoods_computed_directly(n: int, p: float, level: float) -> None:
    hit = a_series(n, p)
    count = 2 * (bernoulli_log_likelihood(hit, hit.mean()) - bernoulli_log_likelihood(hit, 1 - level))
    order = 2 * (markov_log_likelihood(hit) - bernoulli_log_likelihood(hit[1:], hit[1:].mean()))
    assert kupiec(hit, level).statistic == pytest.approx(count, abs=1e-9)
    assert independence(hit, level).statistic == pytest.approx(order, abs=1e-9)
    assert conditional_coverage(hit, level).statistic == pytest.approx(count + order, abs=1e-9)
    assert kupiec(hit, level).p_asymptotic == pytest.approx(stats.chi2.sf(count, 1), rel=1e-9)
    assert conditional_coverage(hit, level).p_asymptotic == pytest.approx(stats.chi2.sf(count + order, 2), rel=1e-9)


def test_kupiecs_own_table_is_reproduced() -> None:
    """Kupiec 1995, table 3: at 5 % and 255 sessions 6 < N < 21 is not rejected at 5 %, at 1 % N < 7."""
    kept = {p: [k for k in range(40) if kupiec(np.arange(255) < k, 1 - p).p_asymptotic > 0.05] for p in (0.05, 0.01)}
    assert (kept[0.05][0], kept[0.05][-1]) == (7, 20)
    assert kept[0.01][-1] == 6


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_the_exact_p_of_independence_counts_every_order(k: int) -> None:
    orders = [np.isin(np.arange(10), chosen) for chosen in itertools.combinations(range(10), k)]
    ratios = np.array([independence(order, 0.95).statistic for order in orders])
    for order, seen in list(zip(orders, ratios, strict=True))[::9]:
        assert independence(order, 0.95).p_value == pytest.approx(np.mean(ratios >= seen - 1e-9), abs=1e-12)


def test_the_exact_p_of_number_and_order_sums_over_every_series() -> None:
    every = [np.array(bits, dtype=bool) for bits in itertools.product((False, True), repeat=9)]
    chance = np.array([0.2 ** hit.sum() * 0.8 ** (9 - hit.sum()) for hit in every])
    for test in (kupiec, conditional_coverage):
        found = [test(hit, 0.8) for hit in every]
        ratios = np.array([row.statistic for row in found])
        for row in found[::37]:
            assert row.p_value == pytest.approx(chance[ratios >= row.statistic - 1e-9].sum(), abs=1e-9)


@pytest.mark.parametrize("test", [kupiec, independence, conditional_coverage])
def test_the_exact_test_rejects_no_more_than_it_says_when_all_is_well(test: object) -> None:
    draws = np.random.default_rng(7).random((300, 250)) < 0.01
    found = np.array([test(hit, 0.99).p_value for hit in draws])  # type: ignore[operator]
    p = found[np.isfinite(found)]
    for size in (0.05, 0.1):
        assert np.mean(p <= size) <= size + 3 * math.sqrt(size * (1 - size) / len(p))


def test_the_asymptotic_p_comes_to_the_exact_one() -> None:
    found = kupiec(a_series(20_000, 0.051, 3), 0.95)
    assert found.p_value == pytest.approx(found.p_asymptotic, abs=0.01)


def test_too_many_too_few_and_clustered_exceptions_are_found() -> None:
    clustered = np.zeros(500, dtype=bool)
    clustered[200:225] = True
    assert kupiec(a_series(500, 0.10), 0.95).p_value < 0.01
    assert kupiec(np.zeros(500, dtype=bool), 0.95).p_value < 1e-6
    assert kupiec(clustered, 0.95).p_value == pytest.approx(1.0)
    assert independence(clustered, 0.95).p_value < 1e-9
    assert conditional_coverage(clustered, 0.95).p_value < 1e-9


def test_nothing_and_nothing_but_exceptions_have_no_order() -> None:
    assert "no exceptions" in independence(np.zeros(50, dtype=bool), 0.95).reason
    assert "every session" in independence(np.ones(50, dtype=bool), 0.95).reason
    assert math.isnan(kupiec(np.empty(0, dtype=bool), 0.95).p_value)
    assert math.isnan(conditional_coverage(np.empty(0, dtype=bool), 0.95).p_value)
    assert conditional_coverage(np.ones(50, dtype=bool), 0.95).p_value < 1e-12


def test_sessions_count_where_something_was_held_and_all_is_known() -> None:
    losses = np.array([0.02, 0.01, np.nan, 0.03, 0.0, 0.05])
    var = np.array([0.01, 0.02, 0.01, np.nan, 0.0, 0.04])
    assert hits(losses, var).tolist() == [True, False, True]


def test_what_is_no_series_of_exceptions_is_refused() -> None:
    with pytest.raises(InputError, match="True and False"):
        kupiec(np.ones(4), 0.95)
    with pytest.raises(InputError, match="level"):
        kupiec(np.ones(4, dtype=bool), 0.2)
    with pytest.raises(InputError, match="one length"):
        hits(np.ones(3), np.ones(4))


def test_a_shortfall_that_is_right_is_kept_and_one_that_is_too_small_is_not() -> None:
    draw = np.random.default_rng(11)
    losses = draw.standard_t(4, 4000)
    law = stats.t(4)
    var = np.full(4000, law.ppf(0.95))
    cvar = law.expect(lambda x: x, lb=law.ppf(0.95)) / 0.05
    right, small = (shortfall(losses, var, np.full(4000, c), 0.95) for c in (cvar, 0.75 * cvar))
    assert right.p_value > 0.05 and abs(right.acerbi_szekely) < 0.15
    assert small.p_value < 0.01 and small.mean_excess > 0.2 and small.acerbi_szekely > 0.15


def test_a_right_shortfall_is_rejected_about_as_often_as_the_size_says() -> None:
    draw = np.random.default_rng(12)
    law = stats.norm()
    var, cvar = law.ppf(0.95), law.pdf(law.ppf(0.95)) / 0.05
    p = [
        shortfall(draw.normal(size=600), np.full(600, var), np.full(600, cvar), 0.95, samples=400, seed=i).p_value
        for i in range(400)
    ]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.11


def test_few_exceptions_say_nothing_about_shortfall() -> None:
    found = shortfall(np.r_[np.zeros(50), 2.0], np.ones(51), np.full(51, 1.5), 0.95)
    assert math.isnan(found.p_value) and "5 that differ" in found.reason
    assert math.isnan(shortfall(np.empty(0), np.empty(0), np.empty(0), 0.95).mean_excess)
