"""What the regime model looks at: one row a session, known at its close, from daily and from intraday bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from regimes_kit import QUICK, a_panel, bars

from tradewind.errors import DataError, InputError
from tradewind.market.calendar import calendar
from tradewind.market.panel import Panel
from tradewind.risk.regimes import Observations, RegimesSection, detect, observations


@pytest.fixture(scope="module")
def panel() -> Panel:
    return a_panel(seed=1, sessions=320)


@pytest.fixture(scope="module")
def seen(panel: Panel) -> Observations:
    return observations(panel)


def column(seen: Observations, name: str) -> np.ndarray:
    return seen.values[:, seen.names.index(name)]


def test_the_market_is_watched_from_seven_sides(seen, panel):
    assert seen.names == ("return", "volatility", "momentum", "volume", "vix", "vix_change", "other_indices")
    assert len(seen) == len(panel)
    assert np.isfinite(seen.values[100:]).all()
    assert seen.notes == ("market: 'index'", "not in the data: nasdaq")


@pytest.mark.parametrize("rows", [1, 2, 30, 150, 319])
def test_a_prefix_of_the_panel_gives_a_prefix_of_the_observations(panel, seen, rows: int):
    part = observations(panel.head(rows))
    np.testing.assert_array_equal(part.values, seen.values[:rows])
    np.testing.assert_array_equal(part.price, seen.price[:rows])


def test_a_changed_future_leaves_the_observations_of_the_past_unchanged(panel, seen):
    close = panel.close.copy()
    close[200:] *= np.random.default_rng(0).uniform(0.5, 2.0, close[200:].shape)
    context = {k: np.where(np.arange(len(v)) >= 200, 3 * v, v) for k, v in panel.context.items()}
    changed = observations(replace(panel, fields={**panel.fields, "close": close}, context=context))
    np.testing.assert_array_equal(changed.values[:200], seen.values[:200])


def test_each_column_is_what_pandas_says(panel, seen):
    index = pd.Series(panel.context["index"])
    returns = np.log(index).diff()
    np.testing.assert_allclose(column(seen, "return"), returns, rtol=1e-9)
    variance = (returns**2).ewm(halflife=10, min_periods=10).mean()
    np.testing.assert_allclose(column(seen, "volatility"), np.log(np.sqrt(variance)), rtol=1e-9)
    np.testing.assert_allclose(column(seen, "momentum")[63:], np.log(index).diff(63)[63:], rtol=1e-7, atol=1e-12)
    logs = pd.DataFrame(np.log(panel.volume))
    usual = logs.rolling(63).mean().shift(1)
    np.testing.assert_allclose(column(seen, "volume")[63:], (logs - usual).mean(axis=1)[63:], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(column(seen, "vix"), np.log(panel.context["vix"]))
    np.testing.assert_allclose(column(seen, "vix_change")[1:], np.diff(np.log(panel.context["vix"])))
    others = np.log(pd.DataFrame({n: panel.context[n] for n in ("ftse", "all_ordinaries")})).diff()
    spread = np.sqrt((others**2).ewm(halflife=20, min_periods=10).mean() * 5)
    np.testing.assert_allclose(
        column(seen, "other_indices")[20:], (others.rolling(5).sum() / spread).mean(axis=1)[20:], rtol=1e-6, atol=1e-9
    )


def test_without_an_index_the_market_is_the_equal_weight_universe(panel):
    seen = observations(replace(panel, context={}))
    simple = panel.close[1:] / panel.close[:-1] - 1
    np.testing.assert_allclose(column(seen, "return")[1:], np.log1p(simple.mean(axis=1)))
    assert seen.names == ("return", "volatility", "momentum", "volume")
    assert seen.notes == (
        "market: the equal-weight return of the universe, for want of an index",
        "not in the data: index, nasdaq, ftse, all_ordinaries, vix",
    )


def test_an_index_that_begins_late_is_preceded_by_the_universe_and_a_prefix_does_not_know(panel):
    late = np.where(np.arange(320) < 100, np.nan, panel.context["index"])
    seen = observations(replace(panel, context={"index": late}))
    alone = observations(replace(panel, context={}))
    np.testing.assert_array_equal(column(seen, "return")[:101], column(alone, "return")[:101])
    np.testing.assert_allclose(column(seen, "return")[101:], np.diff(np.log(panel.context["index"]))[100:])
    assert seen.notes[0] == "market: 'index' from 2010-04-15 on, before it the equal-weight universe"
    early = observations(replace(panel, context={"index": late}).head(90))
    np.testing.assert_array_equal(early.values, seen.values[:90])
    assert early.notes[0].endswith("'index' has no value")


def test_those_who_are_not_members_do_not_count(panel):
    member = panel.member.copy()
    member[:, 1:] = False
    seen = observations(replace(panel, context={}, member=member))
    np.testing.assert_allclose(column(seen, "return")[1:], np.diff(np.log(panel.close[:, 0])))


def test_a_gap_in_the_index_is_missing_and_the_next_return_spans_it(panel):
    index = panel.context["index"].copy()
    index[150] = np.nan
    returns = column(observations(replace(panel, context={"index": index})), "return")
    assert np.isnan(returns[150])
    assert returns[151] == pytest.approx(np.log(index[151] / index[149]))


def test_a_dividend_is_no_loss_and_a_split_no_fall(panel):
    split, dividend, close = panel.split.copy(), panel.dividend.copy(), panel.close.copy()
    split[200], dividend[100] = 2.0, 1.0
    close[200:] /= 2.0
    close[100:] *= (close[99] - 1.0) / close[99]
    volume = np.where(np.arange(320)[:, None] >= 200, 2 * panel.volume, panel.volume)
    fields = {**panel.fields, "close": close, "split": split, "dividend": dividend, "volume": volume}
    plain = observations(replace(panel, context={}))
    adjusted = observations(replace(panel, context={}, fields=fields))
    np.testing.assert_allclose(adjusted.values, plain.values, rtol=1e-6, atol=1e-9)


def test_context_without_a_single_value_is_named(panel):
    seen = observations(replace(panel, context={**panel.context, "vix": np.full(320, np.nan)}))
    assert "'vix' has no value in these sessions" in seen.notes


def test_weekly_bars_are_refused_with_what_to_do(panel):
    with pytest.raises(InputError, match="weekly bars") as told:
        observations(replace(panel, timeframe="1w"))
    assert "daily panel" in told.value.hint


@pytest.fixture(scope="module")
def hourly() -> Panel:
    """Return two hundred sessions of hourly bars, the early close of 3 July among them."""
    exchange = calendar("XNYS")
    times = exchange.bar_closes("1h", datetime(2014, 5, 1, tzinfo=UTC), datetime(2015, 2, 20, tzinfo=UTC))
    rng = np.random.default_rng(2)
    close = 100 * np.exp(np.cumsum(0.004 * rng.standard_normal((len(times), 3)), axis=0))
    volume = rng.uniform(1e4, 1e5, close.shape)
    return bars(times, close, volume, {"index": close.mean(axis=1)}, timeframe="1h")


def test_intraday_bars_are_gathered_into_the_sessions_that_have_closed(hourly):
    seen = observations(hourly)
    exchange = calendar("XNYS")
    closes = np.isin(hourly.times, exchange.closes)
    np.testing.assert_array_equal(seen.times, hourly.times[closes])
    np.testing.assert_allclose(column(seen, "return")[1:], np.diff(np.log(hourly.context["index"][closes])))
    assert np.datetime64("2014-07-03T17:00:00") in seen.times


@pytest.mark.parametrize("rows", [800, 803, 806, 809])
def test_a_prefix_that_ends_inside_a_session_does_not_know_it(hourly, rows: int):
    whole, part = observations(hourly), observations(hourly.head(rows))
    assert part.times[-1] <= hourly.times[rows - 1]
    np.testing.assert_array_equal(part.values, whole.values[: len(part)])
    assert whole.times[len(part)] > hourly.times[rows - 1]


def test_the_volume_of_a_session_is_that_of_all_its_bars(hourly):
    session = calendar("XNYS").session_of(hourly.times)
    total = pd.DataFrame(hourly.volume).groupby(session).sum()
    logs = np.log(total)
    expected = (logs - logs.rolling(63).mean().shift(1)).mean(axis=1).to_numpy()
    seen = column(observations(hourly), "volume")
    np.testing.assert_allclose(seen[63:], expected[63 : len(seen)], rtol=1e-7, atol=1e-10)


def test_regimes_of_intraday_bars_are_those_of_the_last_closed_session(hourly):
    regimes = detect(observations(hourly), QUICK)
    in_force = regimes.multiplier_at(hourly.times)
    for row in (900, 905, 1000, 1100):
        closed = np.flatnonzero(regimes.times <= hourly.times[row])[-1]
        assert in_force[row] == regimes.multiplier[closed]
    head = detect(observations(hourly.head(1000)), QUICK)
    np.testing.assert_array_equal(head.multiplier_at(hourly.times[:1000]), in_force[:1000])


def test_bars_outside_of_every_session_are_refused(hourly):
    with pytest.raises(DataError, match="lies in no session of XNYS"):
        observations(replace(hourly, times=hourly.times + np.timedelta64(6, "h")))


def test_which_indices_are_looked_at_is_a_setting(panel):
    seen = observations(panel, RegimesSection(indices=("ftse",), vix="fear"))
    assert seen.notes == ("market: 'ftse'", "not in the data: fear")
    np.testing.assert_allclose(column(seen, "return")[1:], np.diff(np.log(panel.context["ftse"])))
    assert "other_indices" not in seen.names
    assert "vix" not in seen.names
