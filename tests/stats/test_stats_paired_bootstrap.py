"""Two series on the same bars: what they have in common does not widen the interval of their difference."""

from __future__ import annotations

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.stats import metrics as m
from tradewind.stats.paired_bootstrap import compare

YEAR = 252.0


def series(seed: int, bars: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0004, 0.01, bars)


def test_values_are_those_of_the_metrics_and_of_least_squares() -> None:
    book, other = series(1) + 0.4 * series(2), series(2)
    found = compare(book, {"other": other}, periods_per_year=YEAR, samples=50)["other"]
    assert found.mean.value == pytest.approx((book - other).mean() * YEAR)
    expected = m.sharpe(book, periods_per_year=YEAR).value - m.sharpe(other, periods_per_year=YEAR).value
    assert found.sharpe.value == pytest.approx(expected)
    slope, height = np.polyfit(other, book, 1)
    assert (found.beta, found.alpha.value) == (pytest.approx(slope), pytest.approx(height * YEAR))


def test_a_small_lead_over_something_alike_is_seen_where_the_difference_of_strangers_is_not() -> None:
    other, noise = series(3, 1000), np.random.default_rng(4).normal(0, 0.0005, 1000)
    ahead = compare(other + 0.0003 + noise, {"other": other}, periods_per_year=YEAR, samples=400)["other"]
    strangers = compare(series(5, 1000) + 0.0003, {"other": other}, periods_per_year=YEAR, samples=400)["other"]
    assert ahead.mean.sign == ahead.sharpe.sign == 1 and ahead.mean.p_value < 0.02
    assert strangers.mean.sign == 0
    width = [one.mean.high - one.mean.low for one in (ahead, strangers)]
    assert width[0] < width[1] / 10


def test_turned_round_the_difference_is_the_same_with_the_other_sign() -> None:
    one, two = series(6), series(7)
    there, back = (compare(a, {"x": b}, periods_per_year=YEAR, samples=200)["x"] for a, b in ((one, two), (two, one)))
    assert there.mean.value == pytest.approx(-back.mean.value)
    assert there.sharpe.value == pytest.approx(-back.sharpe.value)


def test_over_cash_the_sharpe_ratio_of_the_excess_is_told_and_no_beta() -> None:
    book, rate = series(8), 0.02 / YEAR
    found = compare(book, {"cash": np.full(500, rate)}, periods_per_year=YEAR, samples=100)["cash"]
    assert found.sharpe.value == pytest.approx(m.sharpe(book - rate, periods_per_year=YEAR).value)
    assert found.beta == 0.0 and found.alpha.value == pytest.approx(found.mean.value)


def test_intervals_of_a_true_null_miss_zero_about_as_often_as_promised() -> None:
    missed = 0
    for seed in range(120):
        rng = np.random.default_rng([9, seed])
        found = compare(rng.normal(0, 0.01, 250), {"x": rng.normal(0, 0.01, 250)}, periods_per_year=YEAR, samples=200)
        missed += found["x"].sharpe.sign != 0
    assert missed <= 16, "5 % of 120 are 6; 16 lie four deviations above"


def test_one_seed_gives_one_answer_and_bars_that_one_lacks_count_for_nobody() -> None:
    book, other = series(10), series(11)
    holes = other.copy()
    holes[::7] = np.nan
    known = np.isfinite(holes)
    first, again = (compare(book, {"x": holes}, periods_per_year=YEAR, samples=100, seed=3)["x"] for _ in range(2))
    assert first == again
    assert first == compare(book[known], {"x": other[known]}, periods_per_year=YEAR, samples=100, seed=3)["x"]


@pytest.mark.parametrize("other", [np.zeros(10), series(12)])
def test_too_few_bars_or_no_difference_at_all_gives_no_number(other: np.ndarray) -> None:
    found = compare(other, {"x": other}, periods_per_year=YEAR, samples=50)["x"]
    assert np.isnan(found.mean.value) and np.isnan(found.sharpe.p_value) and found.sharpe.sign == 0


def test_series_of_other_lengths_and_impossible_levels_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        compare(series(1), {"x": series(2)[1:]}, periods_per_year=YEAR)
    with pytest.raises(InputError, match="level"):
        compare(series(1), {"x": series(2)}, periods_per_year=YEAR, level=1.0)


def test_value_at_risk_and_shortfall_are_those_of_the_sorted_sample() -> None:
    returns = np.random.default_rng(13).permutation(np.arange(-50, 50) / 1000.0)
    assert m.value_at_risk(returns).value == pytest.approx(-np.quantile(returns, 0.05))
    assert m.expected_shortfall(returns).value == pytest.approx(0.048)
    assert m.expected_shortfall(returns[:90]).value >= m.value_at_risk(returns[:90]).value
    assert np.isnan(m.expected_shortfall(returns[:19]).value) and np.isnan(m.value_at_risk(returns[:19]).value)
