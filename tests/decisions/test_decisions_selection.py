"""Row C12: screens by regime, scores by criteria, smoothed, with little turnover; cash where nothing passes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_kit import belief
from tradewind.decisions.selection import (
    BETTER,
    ENTERS,
    STAYS,
    Selection,
    _keep,
    criteria,
    scores,
    screened,
    select,
    sizes,
    smoothed,
    turnover,
)
from tradewind.decisions.signals import Belief, decide
from tradewind.decisions.surroundings import BEAR, BULL, RANGE, VOLATILE, Surroundings
from tradewind.errors import DataError, InputError
from tradewind.market.calendar import calendar

BARS, NAMES = 130, 9
SECTORS = ("Energy",) * 3 + ("Utilities",) * 3 + ("Materials",) * 3
few = settings(max_examples=12)


def market(seed: int, regime: object = BULL, paid: object = 0.03, bars: int = BARS, **wanted: object) -> Belief:
    """Return weekly bars of names with a common factor, and a regime of every week."""
    rng = np.random.default_rng(seed)
    common, shape = 0.02 * rng.standard_normal(bars), (bars, NAMES)
    load = rng.uniform(0.2, 1.8, NAMES)
    drift = rng.normal(0, 0.004, NAMES)
    moved = drift + load * common[:, None] + 0.02 * rng.standard_normal(shape)
    chosen = {"selection": "regime", "recalibration": "none", "confidence_min": 0.5, "every_bars": 1, **wanted}
    made = belief({4: np.full(shape, 0.02)}, close=40 * np.exp(np.cumsum(moved, axis=0)), sectors=SECTORS, **chosen)
    mask = rng.random(shape) > 0.02
    fields = {name: np.where(mask, values, np.nan) for name, values in made.panel.fields.items()}
    fields |= {name: made.panel.fields[name] for name in ("split", "dividend")}
    panel = replace(
        made.panel,
        fields=fields,
        mask=mask,
        timeframe="1w",
        times=made.panel.times[0] + np.arange(bars) * np.timedelta64(7, "D"),
        context={"index": 1000 * np.exp(np.cumsum(common))},
    )
    state = np.broadcast_to(np.asarray(regime, dtype=np.int8), (bars,)).copy()
    around = Surroundings(regime=state, dividend_yield=np.broadcast_to(np.asarray(paid, float), shape).copy())
    forecast = replace(made.forecast, times=panel.times)
    return replace(made, panel=panel, forecast=forecast, surroundings=around)


def changing(seed: int, bars: int = BARS) -> np.ndarray:
    """Return regimes that come and go, the first weeks without one."""
    rng = np.random.default_rng(seed)
    state = np.repeat(rng.integers(0, 4, bars // 10 + 1), 10)[:bars].astype(np.int8)
    state[:5] = -1
    return state


def head(believed: Belief, bars: int) -> Belief:
    forecast = believed.forecast
    part = replace(
        forecast, times=forecast.times[:bars], quantiles=forecast.quantiles[:bars], score=forecast.score[:bars]
    )
    around = believed.surroundings.head(bars)
    features = believed.features.head(bars)
    return replace(believed, panel=believed.panel.head(bars), features=features, forecast=part, surroundings=around)


@few
@given(seed=st.integers(0, 10_000), keep=st.integers(20, 125))
def test_a_prefix_of_the_market_gives_a_prefix_of_the_selection(seed: int, keep: int) -> None:
    believed = market(seed, changing(seed))
    whole, part = select(believed), select(head(believed, keep))
    np.testing.assert_array_equal(whole.mask[:keep], part.mask)
    np.testing.assert_array_equal(whole.buys[:keep], part.buys)
    np.testing.assert_array_equal(whole.score[:keep], part.score)


@few
@given(seed=st.integers(0, 10_000))
def test_the_order_of_the_names_does_not_matter(seed: int) -> None:
    believed = market(seed, changing(seed))
    order = np.random.default_rng(seed).permutation(NAMES)
    panel = believed.panel.select([believed.panel.symbols[i] for i in order])
    turned = replace(believed, panel=panel)
    np.testing.assert_array_equal(select(believed).mask[:, order], select(turned).mask)


def test_criteria_are_what_numpy_says_of_the_window() -> None:
    panel = market(7).panel
    full = replace(panel, fields={**panel.fields, "close": np.exp(np.cumsum(np.sin(np.arange(BARS * NAMES)).reshape(
        BARS, NAMES) / 30, axis=0))}, mask=np.ones((BARS, NAMES), bool))  # fmt: skip
    row, window = 100, 13  # three months of weeks
    seen = criteria(full, np.array([row]))
    log = np.log(full.close)
    moved = np.diff(log, axis=0)[row - window : row]
    index = np.diff(np.log(full.context["index"]))[row - window : row]
    rho = np.corrcoef(moved.T)
    np.testing.assert_allclose(seen.likeness[0], (rho.sum(axis=0) - 1) / (NAMES - 1))
    np.testing.assert_allclose(seen.volatility[0], moved.std(axis=0))
    np.testing.assert_allclose(seen.beta[0], [np.polyfit(index, own, 1)[0] for own in moved.T])
    steps = {12: 50, 3: 13, 1: 4}
    np.testing.assert_allclose(seen.momentum[0], np.mean([(log[row] - log[row - b]) / m for m, b in steps.items()], 0))


def test_a_bull_market_takes_the_largest_momentum_and_widens_with_the_sectors_that_rise() -> None:
    believed = market(11, BULL, selection_half_life_sessions=0.0, selection_size=2, selection_widen=0.5)
    seen = criteria(believed.panel, np.arange(BARS))
    row = int(np.argmax(select(believed).mask.any(axis=1)))
    momentum = np.where(believed.tradable[row], seen.momentum[row], -np.inf)
    rising = np.mean([np.nansum(np.where(believed.tradable[row], seen.momentum[row], np.nan)[i : i + 3]) > 0
                      for i in (0, 3, 6)])  # fmt: skip
    wanted = int(2 * (1 + 0.5 * rising))
    assert set(np.flatnonzero(select(believed).mask[row])) == set(np.argsort(-momentum)[:wanted])
    size = sizes(believed.panel, np.arange(BARS), seen.momentum, believed.tradable, believed.settings)
    assert size[row] == wanted and set(np.unique(size)) <= {2, 3}


def test_a_bear_market_takes_low_betas_that_pay_and_otherwise_cash_and_says_how_often() -> None:
    believed = market(3, BEAR, paid=np.where(np.arange(NAMES) < 5, 0.03, 0.01))
    chosen, seen = select(believed), criteria(believed.panel, np.arange(BARS))
    first = int(np.argmax(chosen.mask.any(axis=1)))
    taken = np.flatnonzero(chosen.mask[first])
    assert taken.size and taken.max() < 5
    assert np.nanmax(seen.beta[first, taken]) < 1
    poor = select(market(3, BEAR, paid=0.0))
    assert not poor.mask.any()
    assert any("bear at " in note and "(100%, 100%)" in note for note in poor.notes)


def test_a_yield_that_nobody_knows_is_not_passed_and_said() -> None:
    believed = market(3, BEAR, paid=np.nan)
    assert not select(believed).mask.any()
    assert any("100% of the dividend yields were not known" in note for note in select(believed).notes)


def test_a_turbulent_market_takes_the_least_correlated_and_one_without_direction_what_fell() -> None:
    believed = market(5)
    seen = criteria(believed.panel, np.arange(BARS))
    row, one = 110, np.full((1, NAMES), 1.0)
    part = type(seen)(*(getattr(seen, f)[row : row + 1] for f in vars(seen)))
    paid, size = np.full((1, NAMES), np.nan), np.array([3])
    calm = screened(part, paid, np.array([VOLATILE], np.int8), one, size)[0]
    assert set(np.flatnonzero(calm)) == set(np.argsort(part.likeness[0])[:3])
    fallen = screened(part, paid, np.array([RANGE], np.int8), one, size)[0]
    assert set(np.flatnonzero(fallen)) <= set(np.flatnonzero(part.reversion[0] > 0))
    assert np.isnan(screened(part, paid, np.array([-1], np.int8), one, size)).all()


def test_scores_are_ranks_weighed_03_02_05() -> None:
    seen = criteria(market(2).panel, np.array([100]))
    member = np.isfinite(seen.momentum + seen.volatility + seen.likeness)
    got = scores(seen, member)[0]
    names = np.flatnonzero(member[0])

    def rank(values: np.ndarray, n: int) -> float:
        return float((values[0, names] < values[0, n]).sum()) / (len(names) - 1)

    for n in names:
        by_hand = 0.3 * rank(seen.momentum, n) + 0.2 * rank(-seen.volatility, n) + 0.5 * rank(-seen.likeness, n)
        assert got[n] == pytest.approx(by_hand)


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000), cap=st.floats(0.05, 1.0), month=st.integers(2, 21))
def test_no_month_replaces_more_than_the_turnover_but_for_a_single_name(seed: int, cap: float, month: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = 150, 12
    share, score = rng.random((2, rows, columns))
    size = np.full(rows, rng.integers(1, 10))
    chosen = _keep(share, score, size, month, cap, ENTERS, STAYS, BETTER)
    allowed = max(1, int(cap * size[0] + 1e-9)) / size[0]
    assert turnover(chosen, size, month).max() <= allowed + 1e-12
    assert chosen.sum(axis=1).max() <= size[0]
    if cap * size[0] < 1:
        assert turnover(chosen, size, int(np.ceil(month / (cap * size[0] + 1e-9)))).max() <= 1 / size[0] + 1e-12


def test_who_left_the_universe_leaves_the_selection_at_once() -> None:
    share, score = np.ones((10, 3)), np.tile([0.3, 0.2, 0.1], (10, 1))
    share[4:, 0] = np.nan
    chosen = _keep(share, score, np.full(10, 3), 4, 0.2, ENTERS, STAYS, BETTER)
    np.testing.assert_array_equal(chosen[:, 0], np.arange(10) < 4)


def test_an_average_with_a_half_life_goes_half_way_in_it_and_skips_what_is_missing() -> None:
    values = np.array([0, 1, 1, 1, 1, np.nan, 1], float)[:, None]
    np.testing.assert_allclose(smoothed(values, 2.0)[[2, 4, 5], 0], [0.5, 0.75, 0.75])
    np.testing.assert_array_equal(smoothed(values, 0.0)[:5], values[:5])


# --- under a rule --------------------------------------------------------------------------------------------


@few
@given(seed=st.integers(0, 10_000))
def test_a_rule_buys_only_who_is_selected_and_keeps_the_others_for_their_grace(seed: int) -> None:
    believed = market(seed, changing(seed), selection_grace_bars=3)
    chosen, said = select(believed), decide(believed)
    assert not ((said.action > 0) & ~chosen.buys).any()
    np.testing.assert_array_equal(said.action[said.decided & chosen.buys] > 0, True)
    outlived = chosen.outlived(3)
    for t in range(3, BARS):
        np.testing.assert_array_equal(outlived[t], ~chosen.mask[t - 3 : t + 1].any(axis=0))
    assert said.close[said.decided & outlived].all()
    assert any("turnover of a month" in note for note in said.notes)


def test_grace_is_counted_from_the_last_bar_with_a_place() -> None:
    mask = np.array([0, 1, 1, 0, 0, 0, 1, 0], bool)[:, None]
    outlived = Selection(mask, mask, np.ones((8, 1))).outlived(1)[:, 0]
    np.testing.assert_array_equal(outlived, [0, 0, 0, 0, 1, 1, 0, 0])


def test_a_selection_that_is_always_empty_is_named() -> None:
    with pytest.raises(DataError, match=r"selection on 0\.0%") as refusal:
        decide(market(3, BEAR, paid=0.0))
    assert "no name ever passes the screen" in str(refusal.value.hint)


def test_without_regimes_there_is_nothing_to_select_by() -> None:
    believed = market(1)
    with pytest.raises(InputError, match="needs regimes") as refusal:
        decide(replace(believed, surroundings=Surroundings()))
    assert "[regimes] use = true" in str(refusal.value.hint)


def test_small_bars_change_the_selection_at_the_close_of_sessions_alone() -> None:
    times = calendar("XNYS").bar_closes("1h", datetime(2020, 1, 2, tzinfo=UTC), datetime(2021, 6, 1, tzinfo=UTC))
    believed = market(8, BULL, bars=len(times))
    panel = replace(believed.panel, times=times, timeframe="1h")
    chosen = select(replace(believed, panel=panel))
    moved = (chosen.mask[1:] != chosen.mask[:-1]).any(axis=1)
    assert moved.any()
    closes = calendar("XNYS").closes
    assert np.isin(times[1:][moved], closes).all()
