"""Several timeframes in one account: the longer bars win, shares follow what was earned, within the playbook's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import pearsonr, ttest_1samp

from tradewind.decisions.coordinator import LEAST_SESSIONS, Coordinator, CoordinatorState, capital_of, ranked
from tradewind.decisions.settings import CoordinatorSection
from tradewind.errors import InputError

FloatArray = NDArray[np.float64]
NAN = float("nan")
BASE = np.array([0.2, 0.5, 0.3])
seeds = st.integers(0, 2**32 - 1)
law = examples(max_examples=60)


def coordinator(symbols: int = 1, base: FloatArray = BASE, **settings: object) -> Coordinator:
    names = ("position", "swing", "scalper")[: len(base)]
    return Coordinator(
        CoordinatorSection.model_validate(settings), names, base, np.repeat(np.arange(len(base)), symbols),
        np.tile(np.arange(symbols), len(base)),
    )  # fmt: skip


def lived(one: Coordinator, profit: FloatArray) -> list[CoordinatorState]:
    state, told = one.open(), []
    for row in profit:
        state = one.session(state, row)
        told.append(state)
    return told


# -- conflicts ---------------------------------------------------------------------------------------------------

CONFLICTS = {
    "agreement": ([0, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
    "the longer bars are long": ([0, 0, 0], [0.1, -0.2, -0.3], [0.1, 0.0, 0.0]),
    "the shortest alone opposes": ([0, 0, 0], [NAN, 0.2, -0.3], [NAN, 0.2, 0.0]),
    "what is held decides without a word": ([0.1, 0, 0], [NAN, -0.2, 0.3], [NAN, 0.0, 0.3]),
    "a lower one's position is closed without a word": ([0, -0.1, 0], [0.2, NAN, NAN], [0.2, 0.0, NAN]),
    "who leaves has no side any more": ([0.1, 0, 0], [0.0, -0.2, NAN], [0.0, -0.2, NAN]),
    "who turns takes the new side": ([0.1, 0.1, 0], [-0.1, NAN, -0.1], [-0.1, 0.0, -0.1]),
    "a refused one has no side": ([0.1, 0, 0], [NAN, -0.2, -0.3], [NAN, 0.0, 0.0]),
    "no word, nothing held": ([0, 0, 0], [NAN, NAN, -0.3], [NAN, NAN, -0.3]),
    "closing is no conflict": ([0.1, -0.1, 0], [NAN, 0.0, 0.0], [NAN, 0.0, 0.0]),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_the_longer_bars_win(name: str) -> None:
    held, wish, wanted = (np.array(values, dtype=float) for values in CONFLICTS[name])
    resolved, opposed = coordinator().resolve(held, wish)
    np.testing.assert_array_equal(resolved, wanted)
    changed = ~((resolved == wish) | (np.isnan(resolved) & np.isnan(wish)))
    np.testing.assert_array_equal(opposed, changed)


@law
@given(seeds)
def test_afterwards_no_symbol_is_wanted_on_two_sides(seed: int) -> None:
    r = np.random.default_rng(seed)
    one = coordinator(symbols=4)
    held = np.where(r.random(12) < 0.5, 0.0, r.normal(0, 0.1, 12))
    wish = np.where(r.random(12) < 0.4, NAN, np.where(r.random(12) < 0.2, 0.0, r.normal(0, 0.1, 12)))
    resolved, opposed = one.resolve(held, wish)
    meant = np.where(np.isnan(resolved), held, resolved).reshape(3, 4)
    assert not np.any((meant > 0).any(axis=0) & (meant < 0).any(axis=0))
    assert not opposed[:4].any(), "the longest bars are never refused"
    np.testing.assert_array_equal(resolved[~opposed], wish[~opposed])
    again, refused = one.resolve(held, resolved)
    np.testing.assert_array_equal(again, resolved)
    assert not refused.any()


def test_where_the_playbook_wants_no_such_rule_both_sides_pass() -> None:
    wish = np.array([0.1, -0.1, 0.1])
    resolved, opposed = coordinator(conflicts="none").resolve(np.zeros(3), wish)
    np.testing.assert_array_equal(resolved, wish)
    assert not opposed.any()


# -- shares ------------------------------------------------------------------------------------------------------


def test_before_anything_was_earned_shares_are_the_playbooks() -> None:
    one = coordinator()
    np.testing.assert_array_equal(one.open().share, BASE)
    for state in lived(one, np.zeros((50, 3))):
        np.testing.assert_allclose(state.share, BASE, rtol=1e-15)


@law
@given(seeds)
def test_shares_together_never_exceed_the_playbooks_and_none_is_lost(seed: int) -> None:
    r = np.random.default_rng(seed)
    one = coordinator(window_sessions=20, tilt_max=float(r.uniform(0, 0.99)), correlation_max=float(r.uniform(0.05, 1)))
    market = r.normal(0.0005, 0.01, (60, 1))
    profit = r.uniform(0, 1) * market + r.normal(r.normal(0, 0.003, 3), 0.01, (60, 3))
    profit[r.random(profit.shape) < 0.1] = 0.0
    for state in lived(one, profit):
        assert np.all(state.share > 0)
        assert state.share.sum() <= BASE.sum() + 1e-12
        assert state.share[0] >= BASE[0] * (1 - one.settings.tilt_max) / (1 + one.settings.tilt_max) - 1e-12


@law
@given(seeds)
def test_the_tilt_is_half_the_t_statistic_of_what_was_earned(seed: int) -> None:
    r = np.random.default_rng(seed)
    one = coordinator(window_sessions=30, tilt_max=0.25, correlation_max=None)
    profit = r.normal(r.normal(0, 0.002, 3), 0.01, (45, 3))
    share = lived(one, profit)[-1].share
    merit = np.clip(ttest_1samp(profit[-30:], 0.0).statistic / 2, -1, 1)
    wanted = BASE * (1 + 0.25 * merit)
    np.testing.assert_allclose(share, wanted / wanted.sum() * BASE.sum(), rtol=1e-12)


@law
@given(seeds)
def test_one_that_moves_like_a_longer_one_keeps_the_limit_over_its_correlation(seed: int) -> None:
    r = np.random.default_rng(seed)
    one = coordinator(rebalance="none", correlation_max=0.3, window_sessions=25)
    profit = r.normal(0, 0.01, (25, 1)) + r.normal(0, 0.01, (25, 3))
    share = lived(one, profit)[-1].share
    rho = {(low, high): pearsonr(profit[:, low], profit[:, high]).statistic for low in (1, 2) for high in range(low)}
    kept = [1.0] + [min([1.0, *(0.3 / rho[low, h] for h in range(low) if rho[low, h] > 0.3)]) for low in (1, 2)]
    np.testing.assert_allclose(share, BASE * kept, rtol=1e-12)


def test_sessions_on_which_one_did_nothing_say_nothing_of_their_likeness() -> None:
    r = np.random.default_rng(1)
    moves = r.normal(0, 0.01, 60)
    one = coordinator(base=BASE[:2], rebalance="none", correlation_max=0.4)
    few = np.column_stack([moves, np.where(np.arange(60) < LEAST_SESSIONS - 1, moves, 0.0)])
    enough = np.column_stack([moves, np.where(np.arange(60) < LEAST_SESSIONS, moves, 0.0)])
    np.testing.assert_array_equal(lived(one, few)[-1].share, BASE[:2])
    np.testing.assert_allclose(lived(one, enough)[-1].share, [0.2, 0.5 * 0.4], rtol=1e-12)


def test_the_less_it_earned_the_less_a_timeframe_gets() -> None:
    r = np.random.default_rng(3)
    noise = r.normal(0, 0.01, (60, 3))
    one = coordinator(correlation_max=None)
    shares = [
        lived(one, noise + np.array([0.0, drift, 0.0]))[-1].share[1] for drift in (-0.01, -0.002, 0.0, 0.002, 0.01)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.5 < shares[-1]


def test_shares_change_only_when_it_is_their_day() -> None:
    r = np.random.default_rng(4)
    told = lived(coordinator(rebalance_sessions=5), r.normal(0, 0.01, (40, 3)))
    changed = [not np.array_equal(a.share, b.share) for a, b in pairwise(told)]
    days = [row + 2 for row, new in enumerate(changed) if new]
    assert days
    assert all(day % 5 == 0 for day in days)


def test_only_the_last_sessions_count() -> None:
    r = np.random.default_rng(5)
    late = r.normal(0, 0.01, (30, 3))
    one = coordinator(window_sessions=30)
    ends = [lived(one, np.concatenate([r.normal(0, s, (40, 3)), late]))[-1] for s in (0.01, 0.2)]
    np.testing.assert_array_equal(ends[0].share, ends[1].share)
    assert len(ends[0].profit) == 30


@law
@given(seeds, st.integers(1, 59))
def test_a_prefix_of_the_sessions_gives_a_prefix_of_the_shares(seed: int, cut: int) -> None:
    r = np.random.default_rng(seed)
    one = coordinator(window_sessions=20)
    profit = r.normal(0, 0.01, (60, 3))
    other = np.concatenate([profit[:cut], r.normal(0, 0.5, (60 - cut, 3))])
    for a, b in zip(lived(one, profit)[:cut], lived(one, other)[:cut], strict=True):
        np.testing.assert_array_equal(a.share, b.share)


def test_one_timeframe_alone_keeps_its_share() -> None:
    one = coordinator(base=np.array([0.5]))
    assert lived(one, np.random.default_rng(0).normal(0.01, 0.001, (40, 1)))[-1].share.tolist() == [0.5]


# -- names -------------------------------------------------------------------------------------------------------


def test_the_longest_bars_come_first_and_equals_as_they_are_named() -> None:
    assert ranked({"a": "5m", "b": "1w", "c": "1d", "d": "1d"}) == ("b", "c", "d", "a")


def test_capital_is_the_playbooks_or_equal_and_a_name_without_a_share_is_refused() -> None:
    section = CoordinatorSection(capital={"scalper": 0.3, "swing": 0.5, "position": 0.2})
    assert capital_of(section, ("position", "scalper")).tolist() == [0.2, 0.3], "a third one's share stays in cash"
    assert capital_of(CoordinatorSection(), ("a", "b", "c", "d")).tolist() == [0.25] * 4
    with pytest.raises(InputError, match="no share for swings") as refused:
        capital_of(section, ("swings",))
    assert "swing" in refused.value.hint


@pytest.mark.parametrize("capital", [{"a": 0.7, "b": 0.4}, {"a": 0.0}, {"a": -0.1, "b": 0.5}])
def test_shares_that_are_no_shares_of_one_account_are_refused(capital: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="together 1 at most"):
        CoordinatorSection(capital=capital)
