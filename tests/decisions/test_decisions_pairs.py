"""Pairs: the tests against statsmodels, their size under nothing, the rule bar by bar, and no look ahead."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewind.decisions.pairs import rule
from tradewind.decisions.pairs.formation import form
from tradewind.decisions.pairs.screen import JOHANSEN_TRACE_5, all_pairs, screen, still_cointegrated
from tradewind.decisions.pairs.settings import PairsSection
from tradewind.decisions.pairs.unit_root import adjusted, p_value
from tradewind.decisions.pairs.walk import PairsWalk, walk
from tradewind.errors import DataError, InputError

SETTINGS = PairsSection(formation_bars=300, trading_bars=100)
NAN = float("nan")


def walks(bars: int, names: int, seed: int) -> np.ndarray:
    """Return independent random walks: no pair is cointegrated."""
    return 3 + np.cumsum(np.random.default_rng(seed).normal(0, 0.01, (bars, names)), axis=0)


def planted(bars: int = 800, names: int = 8, seed: int = 3, memory: float = 0.78) -> np.ndarray:
    """Return random walks of which the last follows the first: log price 0.5 + 0.8 of its, give or take."""
    x, rng = walks(bars, names, seed), np.random.default_rng(seed + 100)
    spread = np.zeros(bars)
    for t in range(1, bars):
        spread[t] = memory * spread[t - 1] + 0.01 * rng.normal()
    x[:, -1] = 0.5 + 0.8 * x[:, 0] + spread
    return x


def adf(values: np.ndarray, lags: int, regression: str) -> tuple[float, float]:
    from statsmodels.tsa.stattools import adfuller

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = adfuller(values, maxlag=lags, autolag=None, regression=regression)
    return found[0], found[1]


@pytest.mark.parametrize("lags", [0, 1, 4])
def test_engle_granger_is_that_of_statsmodels_in_its_stronger_direction_paid_for_twice(lags: int) -> None:
    from statsmodels.tsa.stattools import coint

    x = planted(250, 5)
    found = screen(x, all_pairs(np.arange(5)), lags)
    for k, (i, j) in enumerate(found.legs):
        ways = [coint(x[:, a], x[:, b], maxlag=lags, autolag=None)[:2] for a, b in ((i, j), (j, i))]
        assert ways[0][0] <= ways[1][0]
        assert found.t[k] == pytest.approx(ways[0][0], rel=1e-8)
        assert found.p[k] == pytest.approx(min(2 * ways[0][1], 1.0), rel=1e-8, abs=1e-15)
        assert found.p_reverse[k] == pytest.approx(ways[1][1], rel=1e-8, abs=1e-15)


@pytest.mark.parametrize("lags", [1, 3])
def test_johansens_trace_is_that_of_statsmodels(lags: int) -> None:
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    x = planted(250, 5)
    found = screen(x, all_pairs(np.arange(5)), lags)
    theirs = [coint_johansen(x[:, legs], 0, lags) for legs in found.legs]
    np.testing.assert_allclose(found.johansen, [one.lr1[0] for one in theirs], rtol=1e-7)
    assert theirs[0].cvt[0, 1] == JOHANSEN_TRACE_5


def test_the_hedge_ratio_is_least_squares_and_the_half_life_that_of_an_autoregression() -> None:
    x = planted()
    found = screen(x, np.array([[0, 7]]))
    i, j = found.legs[0]
    slope, intercept = np.polyfit(x[:, j], x[:, i], 1)
    spread = x[:, i] - intercept - slope * x[:, j]
    assert (found.hedge_ratio[0], found.intercept[0]) == pytest.approx((slope, intercept))
    assert found.sigma[0] == pytest.approx(spread.std())
    kept = 1 + (np.diff(spread)[1:] @ spread[1:-1]) / (spread[1:-1] @ spread[1:-1])
    assert found.half_life[0] == pytest.approx(np.log(2) / -np.log(kept))
    assert found.half_life[0] == pytest.approx(np.log(2) / -np.log(0.78), rel=0.5)


def test_a_frozen_spread_is_tested_as_a_series_that_was_given() -> None:
    x = planted()
    found = screen(x[:400], all_pairs(np.arange(8)))
    p = still_cointegrated(x[400:], found)
    for k in (0, 6, 20):
        i, j = found.legs[k]
        assert p[k] == pytest.approx(adf(x[400:, i] - found.hedge_ratio[k] * x[400:, j], 1, "c")[1], rel=1e-7)


@pytest.mark.parametrize("series", [1, 2])
def test_p_values_are_mackinnons(series: int) -> None:
    from statsmodels.tsa.adfvalues import mackinnonp

    t = np.concatenate([np.linspace(-25, 4, 400), [NAN]])
    ours = p_value(t, series)
    np.testing.assert_allclose(ours[:-1], [mackinnonp(v, "c", series) for v in t[:-1]], atol=1e-14)
    assert np.isnan(ours[-1])


@pytest.mark.parametrize(("ours", "theirs"), [("benjamini_hochberg", "fdr_bh"), ("benjamini_yekutieli", "fdr_by")])
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_are_those_of_statsmodels(ours: str, theirs: str, p: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    with_gap = adjusted(np.array([*p, NAN]), ours)
    np.testing.assert_allclose(with_gap[:-1], multipletests(p, method=theirs)[1], rtol=1e-9, atol=1e-300)
    assert np.isnan(with_gap[-1])


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"lie in \[0, 1\]"):
        adjusted(np.array([0.5, 1.5]), "benjamini_hochberg")
    with pytest.raises(InputError, match="unknown correction"):
        adjusted(np.array([0.5]), "bonferroni")  # type: ignore[arg-type]


def test_under_independent_random_walks_the_screen_keeps_its_size() -> None:
    rejected, any_found, frozen = [], [], []
    bare = SETTINGS.model_copy(update={"reverse": False, "johansen": False})
    for seed in range(60):
        x = walks(400, 12, seed)
        formed = form(x, 299, bare)
        rejected.append((formed.screen.p < 0.05).mean())
        any_found.append(len(formed.found) > 0)
        frozen.append((still_cointegrated(x[300:], formed.screen) < 0.05).mean())
    assert 0.03 < np.mean(rejected) < 0.055
    assert np.mean(any_found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert np.mean(frozen) == pytest.approx(0.05, abs=0.02)


def test_a_planted_pair_is_found_and_survives() -> None:
    x = planted()
    walked = walk(x, SETTINGS)
    whole = [w for w in walked.windows if w.survival is not None]
    found = [[set(w.formation.screen.legs[k]) for k in w.formation.found] for w in whole]
    assert [pairs[0] for pairs in found] == [{0, 7}] * 5
    assert sum(len(pairs) for pairs in found) <= 6
    assert sum(w.survival.survived for w in whole) >= 4
    assert walked.trials == len(walked.windows) * 28


def test_the_names_may_stand_in_any_order() -> None:
    x, order = planted(), np.array([5, 7, 2, 0, 1, 6, 3, 4])
    straight, permuted = walk(x, SETTINGS), walk(x[:, order], SETTINGS)
    np.testing.assert_allclose(permuted.weight, straight.weight[:, order], atol=1e-12)
    first = screen(x[:300], np.array([[0, 7], [1, 2]]))
    other = screen(x[:300], np.array([[7, 0], [2, 1]]))
    np.testing.assert_array_equal(first.legs, other.legs)


def test_scaling_a_price_leaves_the_tests_alone() -> None:
    x = planted()
    moved = x + np.log(np.arange(1, 9))
    ours, theirs = (screen(values[:300], all_pairs(np.arange(8))) for values in (x, moved))
    np.testing.assert_allclose(ours.t, theirs.t, rtol=1e-7)
    np.testing.assert_allclose(ours.half_life, theirs.half_life, rtol=1e-6)


def test_a_prefix_of_the_prices_gives_a_prefix_of_the_weights() -> None:
    x = planted()
    whole = walk(x, SETTINGS)
    assert (np.nan_to_num(whole.weight) != 0).any()
    for bars in (300, 433, 499, 500, 777):
        np.testing.assert_array_equal(walk(x[:bars], SETTINGS).weight, whole.weight[:bars])
        np.testing.assert_array_equal(walk(x[:bars], SETTINGS).orders, whole.orders[:bars])


def test_another_future_changes_no_earlier_weight() -> None:
    x = planted()
    other = x.copy()
    other[450:] += walks(len(x) - 450, 8, 77)
    np.testing.assert_array_equal(walk(x, SETTINGS).weight[:450], walk(other, SETTINGS).weight[:450])


def one(z: list[float], allowed: bool = True, bars_max: float = 99.0, **changes: object) -> tuple[list[int], list[str]]:
    settings = PairsSection.model_validate({**changes})
    block, can = np.array(z)[:, None], np.full((len(z), 1), allowed)
    _, side, event = rule.step(rule.RuleState.flat(1), block, settings, np.array([bars_max]), can, can)
    return side[:, 0].tolist(), [rule.EVENTS[code] for code in event[:, 0]]


@pytest.mark.parametrize(
    ("z", "sides", "last"),
    [
        ([0, 1.9, 2.0, 1.0, 0.5], [0, 0, -1, -1, 0], "reverted"),
        ([-2.5, -1, 0.7], [1, 1, 0], "reverted"),
        ([2.5, 3.9, 4.0, 3.0, 2.0], [-1, -1, 0, 0, 0], ""),
        ([2.5, 4.0, 0.4, 2.1], [-1, 0, 0, -1], "opened"),
        ([4.5, 3.5], [0, 0], ""),
        ([2.5, NAN, NAN, 2.0], [-1, -1, -1, -1], ""),
        ([2.5, *[NAN] * 6], [-1] * 6 + [0], "no price"),
        ([0.0, NAN], [0, 0], ""),
    ],
)
def test_the_rule_opens_and_closes_as_written(z: list[float], sides: list[int], last: str) -> None:
    found, events = one(z)
    assert (found, events[-1]) == (sides, last)


def test_a_trade_ends_after_so_many_bars_and_waits_for_the_mean() -> None:
    sides, events = one([2.5, 2.4, 2.3, 2.2, 2.2, 0.1, -2.2], bars_max=3)
    assert sides == [-1, -1, -1, 0, 0, 0, 1]
    assert events[3] == "timed out"


def test_a_leg_that_cannot_be_borrowed_is_not_sold_and_is_bought_back_when_recalled() -> None:
    assert one([2.5, 2.5], allowed=False)[0] == [0, 0]
    z, can = np.array([[2.5], [2.4], [2.3]]), np.array([[True], [False], [True]])
    _, side, event = rule.step(rule.RuleState.flat(1), z, PairsSection(), np.array([99.0]), ~can, can)
    assert side[:, 0].tolist() == [-1, 0, -1]
    assert rule.EVENTS[event[1, 0]] == "recalled"


@given(cut=st.integers(0, 60), seed=st.integers(0, 20))
def test_splitting_a_block_changes_nothing(cut: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = np.where(rng.random((60, 4)) < 0.05, NAN, rng.normal(0, 2.5, (60, 4)))
    rest = (PairsSection(), np.full(4, 7.0))
    can = rng.random((2, 60, 4)) < 0.9
    _, whole, _ = rule.step(rule.RuleState.flat(4), z, *rest, *can)
    state, first, _ = rule.step(rule.RuleState.flat(4), z[:cut], *rest, *can[:, :cut])
    _, second, _ = rule.step(state, z[cut:], *rest, *can[:, cut:])
    np.testing.assert_array_equal(np.concatenate([first, second]), whole)


def traded(**changes: object) -> tuple[PairsWalk, PairsSection]:
    settings = PairsSection.model_validate({**SETTINGS.model_dump(), **changes})
    return walk(planted(), settings), settings


def test_legs_are_hedged_as_asked_and_the_gross_stays_within_its_limits() -> None:
    for hedge in ("ratio", "dollar"):
        walked, settings = traded(hedge=hedge)
        for window in (w for w in walked.windows if len(w.formation.traded) == 1):
            held = window.weight[(window.side != 0).any(axis=1)]
            assert np.abs(held).sum(axis=1) == pytest.approx(np.full(len(held), settings.pair_gross_max))
            i, j = window.formation.screen.legs[window.formation.traded[0]]
            ratio = window.formation.screen.hedge_ratio[window.formation.traded[0]] if hedge == "ratio" else 1.0
            assert held[:, j] == pytest.approx(-ratio * held[:, i])


def test_orders_are_only_given_where_a_weight_changes() -> None:
    walked, _ = traded()
    held = np.zeros(8)
    for order, weight in zip(walked.orders[299:], walked.weight[299:], strict=True):
        held = np.where(np.isfinite(order), order, held)
        np.testing.assert_array_equal(held, weight)
    assert np.isfinite(walked.orders).mean() < 0.1


def test_shorts_that_nobody_lends_are_never_in_the_weights() -> None:
    can = np.ones((800, 8), dtype=bool)
    can[:, 0] = False
    walked = walk(planted(), SETTINGS, borrowable=can)
    assert np.nanmin(walked.weight[:, 0]) >= 0 and (walked.weight[:, 0] > 0).any()


def test_names_with_gaps_without_moves_or_outside_of_the_universe_are_left_out_with_the_reason() -> None:
    x = planted()
    x[200, 1] = NAN
    x[:, 2] = 1.0
    member = np.ones(8, dtype=bool)
    member[3] = False
    formed = form(x, 299, SETTINGS, member)
    assert [formed.left_out[n].split(" on ")[0].split(" at ")[0] for n in (1, 2, 3)] == [
        "has no price",
        "its price never moved in the window",
        "not in the universe",
    ]
    assert formed.screen.tests == 10


def test_one_series_under_two_names_is_no_pair() -> None:
    x = walks(300, 3, 1)
    x[:, 2] = x[:, 0] + 1.0
    found = screen(x, all_pairs(np.arange(3)))
    assert np.isnan(found.p[1]) and found.tests == 2


def test_a_name_that_returns_by_itself_is_no_pair_of_any_other() -> None:
    x, rng = walks(300, 6, 4), np.random.default_rng(9)
    for t in range(1, 300):
        x[t, 5] = 3 + 0.7 * (x[t - 1, 5] - 3) + 0.01 * rng.normal()
    assert len(form(x, 299, SETTINGS.model_copy(update={"reverse": False, "johansen": False})).found) >= 4
    assert not len(form(x, 299, SETTINGS).found)


def test_a_universe_of_one_name_tests_nothing() -> None:
    walked = walk(walks(400, 1, 0), SETTINGS)
    assert walked.trials == 0 and not np.nan_to_num(walked.weight).any()


def test_pairs_that_hedge_nothing_or_return_too_slowly_are_found_but_not_traded() -> None:
    x = planted()
    x[:, -1] = 6.0 - x[:, -1]
    formed = form(x, 299, SETTINGS)
    assert "both legs on one side" in formed.not_traded[int(formed.found[0])] and not len(formed.traded)
    slow = SETTINGS.model_copy(update={"half_life_min_bars": 30.0})
    formed = form(planted(), 299, slow)
    assert "half-life" in formed.not_traded[int(formed.found[0])]
    full = form(planted(), 299, SETTINGS.model_copy(update={"pairs_max": 0}))
    assert "pairs_max" in full.not_traded[int(full.found[0])]


def test_too_few_bars_and_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="299 bars are fewer than the 300"):
        walk(walks(299, 3, 0), SETTINGS)
    with pytest.raises(DataError, match="fewer than the 300"):
        form(walks(299, 3, 0), 298, SETTINGS)
    with pytest.raises(InputError, match="member has shape"):
        walk(walks(300, 3, 0), SETTINGS, member=np.ones((2, 3), dtype=bool))
    with pytest.raises(InputError, match="with gaps"):
        screen(np.full((50, 2), NAN), np.array([[0, 1]]))
    with pytest.raises(InputError, match="too few"):
        screen(walks(10, 2, 0), np.array([[0, 1]]))


@pytest.mark.parametrize(
    "bad",
    [
        {"exit_z": 2.0},
        {"stop_z": 1.0},
        {"half_life_min_bars": 99.0},
        {"adf_lags": 20, "formation_bars": 60},
        {"correction": "bonferroni"},
        {"entry": 2},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PairsSection.model_validate(bad)


def test_a_window_that_is_over_closes_what_is_open() -> None:
    walked, _ = traded()
    first, second = walked.windows[:2]
    assert first.stop == second.formation.row
    assert first.counts()["window ended"] == int((first.side[-1] != 0).sum())
    last = replace(walked.windows[-1], survival=None)
    assert last.counts()["window ended"] == 0
