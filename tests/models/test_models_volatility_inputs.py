from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradewind.models.event_clock import EventClock, event_evidence
from tradewind.models.volatility_inputs import daily_volatility, decayed_means, volatility_inputs

ARRAYS = ("anchor", "relative", "market", "detail", "surprise", "activity")


@pytest.mark.parametrize("closes_only", [False, True])
def test_a_prefix_of_the_bars_gives_a_prefix_of_the_inputs(make_panel, closes_only):
    panel = make_panel(bars=420, closes_only=closes_only)
    whole, part = volatility_inputs(panel), volatility_inputs(panel.head(333))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:333], err_msg=name)


def test_exponential_means_agree_with_the_written_out_sum():
    values = np.array([[1.0], [np.nan], [3.0], [2.0]])
    decay = 0.5 ** (1 / 2.0)
    found = decayed_means(values, (2.0,), warm_up=2)[0, :, 0]
    third = (decay * 1 + 3) / (decay + 1)
    fourth = (decay**2 * 1 + decay * 3 + 2) / (decay**2 + decay + 1)
    np.testing.assert_allclose(found, [np.nan, np.nan, third, fourth])


def test_bars_without_a_range_fall_back_on_their_return(make_panel):
    panel = make_panel(bars=200, closes_only=True)
    size = np.abs(np.diff(np.log(panel.close[:, 1])))
    np.testing.assert_allclose(daily_volatility(panel)[1:, 1], 1.2 * size)


def test_relative_inputs_average_to_zero_over_the_symbols_of_a_bar(make_panel):
    inputs = volatility_inputs(make_panel(bars=300))
    np.testing.assert_allclose(np.nanmean(inputs.relative[280], axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.nanmean(inputs.detail[280], axis=0), 0.0, atol=1e-5)


def test_the_clock_points_at_the_same_weekday_thirteen_weeks_after_an_event():
    days = np.arange(np.datetime64("2012-01-02"), np.datetime64("2013-06-01"))
    days = days[np.is_busday(days)]
    evidence = np.zeros((len(days), 1))
    event = 40
    evidence[event] = 1.0
    clock = EventClock.of(days.astype("datetime64[us]"), evidence)
    eve = np.array([event + 65 - 1, event + 65 + 20])
    seen = dict(zip(clock.names, clock.at(eve, 1)[:, 0].T, strict=True))
    np.testing.assert_array_equal(seen["event_1q_0"], [1.0, 0.0])
    week_ahead = dict(zip(clock.names, clock.at(np.array([event + 65 - 5]), 5)[0, 0], strict=True))
    assert week_ahead["event_1q_0"] == 1.0


@pytest.mark.parametrize("hours", [24, 6])
def test_the_clock_never_reads_after_the_bar(hours):
    rng = np.random.default_rng(0)
    days = np.datetime64("2012-01-02T03:00") + np.arange(730) * np.timedelta64(hours, "h")
    evidence = rng.random((len(days), 2))
    other = evidence.copy()
    other[301:] = 0.0
    rows = np.arange(250, 301)
    times = days.astype("datetime64[us]")
    for horizon in (1, 20, 90):
        first, second = (EventClock.of(times, e).at(rows, horizon) for e in (evidence, other))
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_big_move_on_heavy_volume_looks_like_news_and_a_missing_bar_like_nothing():
    evidence = event_evidence(np.array([[6.0], [0.5], [np.nan]]), np.array([[1.5], [0.0], [np.nan]]))
    assert evidence[0, 0] > 0.95
    assert evidence[1, 0] < 0.05
    assert evidence[2, 0] == 0.0


def test_who_joins_the_universe_later_does_not_count_before(make_panel) -> None:
    panel = make_panel(bars=300)
    member = np.ones(panel.shape, dtype=np.bool_)
    member[:200, -1] = False  # the last symbol joins at bar 200
    wild = {
        name: np.where(member, field, field * 3.0)
        for name, field in panel.fields.items()
        if name in ("open", "high", "low", "close")
    }
    before = volatility_inputs(replace(panel, member=member))
    after = volatility_inputs(replace(panel, member=member, fields={**panel.fields, **wild}))
    assert np.array_equal(before.market[:200], after.market[:200], equal_nan=True)
    assert np.array_equal(before.relative[:200, :-1], after.relative[:200, :-1], equal_nan=True)
