import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tradewind.errors import DataError
from tradewind.market.actions import forward_factor, later_splits, reconstruct, usual_ratios


def column(*values):
    return np.array(values, dtype=float)[:, None]


def factor(close, split=None, dividend=None, mask=None):
    close = column(*close)
    split = np.ones_like(close) if split is None else column(*split)
    dividend = np.zeros_like(close) if dividend is None else column(*dividend)
    mask = np.ones(close.shape, bool) if mask is None else np.array(mask, bool)[:, None]
    return forward_factor(close, split, dividend, mask)[:, 0]


def test_a_split_alone_multiplies_the_factor_by_its_ratio():
    assert_array_equal(factor([100, 50, 51], split=[1, 2, 1]), [1, 2, 2])


def test_a_dividend_is_reinvested_at_the_close_before_less_the_dividend():
    assert_allclose(factor([100, 98], dividend=[0, 2]), [1, 100 / 98])


def test_a_dividend_on_the_day_of_a_split_is_per_new_share():
    # one share at 100 becomes two at 50, each paid 1: the holder has 98 in shares and 2 in cash
    assert_allclose(factor([100, 49], split=[1, 2], dividend=[0, 1]), [1, 2 / 0.98])


def test_events_on_the_first_bar_change_nothing():
    assert_array_equal(factor([100, 101], split=[2, 1], dividend=[5, 0]), [1, 1])


def test_an_event_on_a_bar_without_use_still_counts():
    # the split happens while the instrument is not quoted; the next dividend compares with the halved price
    got = factor([100, np.nan, 50, 49], [1, 2, 1, 1], [0, 0, 5, 0], mask=[1, 0, 1, 1])
    assert_allclose(got, [1, 2, 2 / 0.9, 2 / 0.9])


def test_rows_before_the_first_usable_bar_have_factor_one():
    assert_array_equal(factor([np.nan, np.nan, 10], split=[1, 3, 1], mask=[0, 0, 1]), [1, 1, 1])


@pytest.mark.parametrize(("split", "dividend"), [(0, 0), (-1, 0), (1, 100), (1, -1), (2, 50), (np.nan, 0)])
def test_an_impossible_event_is_refused_with_its_place(split, dividend):
    with pytest.raises(DataError, match="row 1, column 0"):
        factor([100, 100], split=[1, split], dividend=[0, dividend])


@st.composite
def histories(draw):
    bars, names = draw(st.integers(2, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    split = np.where(rng.random((bars, names)) < 0.1, rng.choice([0.1, 0.5, 1.5, 2, 3, 7], (bars, names)), 1.0)
    mask = rng.random((bars, names)) < 0.9
    worth = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal((bars, names)), axis=0))
    close = worth / np.cumprod(split, axis=0)
    dividend = np.where(rng.random((bars, names)) < 0.1, 0.01 * close, 0.0)
    return np.where(mask, close, np.nan), split, dividend, mask


@given(histories(), st.data())
@settings(deadline=None, max_examples=60)
def test_a_prefix_of_the_data_has_a_prefix_of_the_factor(history, data):
    stop = data.draw(st.integers(1, len(history[0])))
    assert_array_equal(forward_factor(*(a[:stop] for a in history)), forward_factor(*history)[:stop])


@given(histories())
@settings(deadline=None, max_examples=60)
def test_the_factor_gives_the_total_return_of_a_holder_who_reinvests_before_the_open(history):
    close, split, dividend, mask = history
    got = forward_factor(*history)
    for n in range(close.shape[1]):
        shares, price = 1.0, np.nan
        for t in range(len(close)):
            if not np.isnan(price):
                shares *= split[t, n]
                price /= split[t, n]
                shares += shares * dividend[t, n] / (price - dividend[t, n])
                price -= dividend[t, n]
            price = close[t, n] if mask[t, n] else price
            assert got[t, n] == pytest.approx(shares, rel=1e-12)


def back_adjusted(close, split, dividend):
    """What a vendor publishes: the total-return series scaled to end at the last raw close."""
    ones = np.ones((len(close), 1), bool)
    path = forward_factor(close[:, None], split[:, None], dividend[:, None], ones)[:, 0]
    return close * path / path[-1]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_splits_and_dividends_are_recovered_from_a_back_adjusted_close(seed):
    rng = np.random.default_rng(seed)
    split, dividend = np.ones(300), np.zeros(300)
    days = rng.choice(np.arange(1, 300), 8, replace=False)
    split[days[:3]] = rng.choice([2.0, 3.0, 1.5, 0.1, 7.0], 3)
    worth = 80 * np.exp(np.cumsum(0.01 * rng.standard_normal(300)))
    close = worth / np.cumprod(split)
    dividend[days[2:]] = np.maximum(np.round(0.008 * close[days[2:]] * 200), 1) / 200  # companies pay half cents
    found = reconstruct(close, back_adjusted(close, split, dividend))
    assert_allclose(found.split, split, rtol=1e-9)
    assert_allclose(found.dividend, dividend, atol=1e-6)
    assert found.ignored == 0


@pytest.mark.parametrize("convention", ["close before", "close of the ex-date"])
def test_cash_amounts_are_exact_whichever_way_the_vendor_reinvests(convention):
    rng = np.random.default_rng(3)
    close = np.round(60 * np.exp(np.cumsum(0.01 * rng.standard_normal(500))), 2)
    dividend = np.zeros(500)
    dividend[50::63] = [0.31, 0.31, 0.335, 0.335, 0.36, 0.36, 0.36, 2.5]
    before = np.concatenate([close[:1], close[:-1]])
    rise = 1 / (1 - dividend / before) if convention == "close before" else 1 + dividend / close
    path = np.cumprod(rise)
    found = reconstruct(close, np.round(close * path / path[-1], 6))
    assert_allclose(found.dividend, dividend, atol=2e-5)


def test_rounded_prices_give_no_false_events():
    rng = np.random.default_rng(5)
    close = np.round(20 * np.exp(np.cumsum(0.01 * rng.standard_normal(2000))), 2)
    found = reconstruct(close, np.round(close * 0.0731, 4))
    assert_array_equal(found.split, 1)
    assert_array_equal(found.dividend, 0)


def test_snapshots_glued_together_do_not_invent_reverse_splits():
    close = np.full(60, 50.0) + 0.1 * np.sin(np.arange(60))
    adjusted = close.copy()
    adjusted[20:30] *= 0.5  # a snapshot taken after a "split" that the price never showed
    adjusted[40:50] *= 0.99  # a snapshot taken after the ex-date of row 50
    found = reconstruct(close, adjusted)
    assert_array_equal(found.split, 1)
    assert np.flatnonzero(found.dividend).tolist() == [50]
    assert found.ignored == 3


def test_stated_splits_leave_only_dividends_to_be_found():
    close, split = np.array([100.0, 101, 50, 50.5]), np.array([1.0, 1, 2, 1])
    dividend = np.array([0.0, 0, 0, 0.5])
    found = reconstruct(close, back_adjusted(close, split, dividend), split)
    assert_array_equal(found.split, split)
    assert_allclose(found.dividend, dividend, atol=1e-12)


def test_later_splits_undo_a_split_adjustment():
    raw, split = np.array([100.0, 102, 51, 52, 13]), np.array([1.0, 1, 2, 1, 4])
    adjusted = raw / np.array([8, 8, 4, 4, 1])
    assert_array_equal(later_splits(split), [8, 8, 4, 4, 1])
    assert_allclose(adjusted * later_splits(split), raw)


def test_single_precision_ratios_are_read_as_what_they_are():
    stated = np.array([1.0, 7.000007, 1.499999, 0.3333333, 0.955, 1.02])
    assert_array_equal(usual_ratios(stated), [1.0, 7.0, 1.5, 1 / 3, 0.955, 1.02])
