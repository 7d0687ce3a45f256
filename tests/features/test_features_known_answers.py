"""Families that TA-Lib does not know, against numpy written the obvious way."""

from dataclasses import replace

import numpy as np
import pytest
from features_market import market, session_closes

from tradewind.features import compute, timetable

PANEL = market(400, 8, gaps=False, events=False, seed=21)
LOG = np.log(PANEL.close)
R = np.diff(LOG, axis=0, prepend=np.nan)


def column(name, panel=PANEL):
    return compute(panel, [name]).column(name)


def close(a, b, start=0, **kwargs):
    np.testing.assert_allclose(a[start:], b[start:], rtol=2e-5, atol=kwargs.pop("atol", 1e-7), **kwargs)


def test_ranks_count_the_members_below():
    got = column("rank_return_5")
    for t in (50, 399):
        value = LOG[t] - LOG[t - 5]
        members = value[PANEL.member[t]]
        expected = [((members < v).sum() + 0.5 * (members == v).sum()) / len(members) for v in value]
        close(got[t], np.array(expected))


def test_the_universe_and_the_sector_are_means_over_members():
    universe, sector = column("universe_return_1"), column("sector_performance")
    for t in (10, 300):
        assert universe[t, 0] == pytest.approx(R[t][PANEL.member[t]].mean(), rel=1e-5)
        energy = [i for i in range(8) if PANEL.sectors[i] == "Energy" and PANEL.member[t, i]]
        expected = 100.0 * R[t][energy].mean() if len(energy) >= 3 else np.nan
        assert sector[t, 0] == pytest.approx(expected, rel=1e-5, nan_ok=True)
        assert np.isnan(sector[t, 2])  # its sector is unknown


def test_a_cross_section_of_two_says_nothing():
    pair = PANEL.select(["S0", "S1"])
    assert np.isnan(column("rank_return_1", pair)).all()
    assert np.isnan(column("universe_return_1", pair)).all()


def test_an_index_return_spans_the_bars_that_the_symbol_missed():
    mask = PANEL.mask.copy()
    mask[200, 3] = False
    fields = {k: np.where(mask, v, np.nan) if k not in ("split", "dividend") else v for k, v in PANEL.fields.items()}
    got = column("index_return_1", replace(PANEL, mask=mask, fields=fields))
    index = np.log(PANEL.context["index"])
    assert got[201, 3] == pytest.approx(index[201] - index[199], rel=1e-5)
    assert got[201, 2] == pytest.approx(index[201] - index[200], rel=1e-5)


def test_exponential_volatility_follows_its_recursion():
    got, w = column("ewma_volatility_8"), 1.0 - 0.5 ** (1 / 8)
    level = (R[1:11] ** 2).mean(axis=0)
    for t in range(11, 400):
        level = level + w * (R[t] ** 2 - level)
    close(got[-1], np.sqrt(level))


def test_range_estimators_follow_their_formulas():
    o, h, low, c = (np.log(PANEL.fields[k]) for k in ("open", "high", "low", "close"))
    parkinson = (h - low) ** 2 / (4 * np.log(2))
    garman = 0.5 * (h - low) ** 2 - (2 * np.log(2) - 1) * (c - o) ** 2
    rogers = (h - c) * (h - o) + (low - c) * (low - o)
    part = slice(-21, None)
    close(column("parkinson_21")[-1], np.sqrt(parkinson[part].mean(axis=0)))
    close(column("garman_klass_21")[-1], np.sqrt(garman[part].mean(axis=0)))
    close(column("rogers_satchell_21")[-1], np.sqrt(rogers[part].mean(axis=0)))
    gap = o[-21:] - c[-22:-1]
    k = 0.34 / (1.34 + 22 / 20)
    between = gap.var(axis=0, ddof=1) + k * (c - o)[part].var(axis=0, ddof=1)
    close(column("yang_zhang_21")[-1], np.sqrt(between + (1 - k) * rogers[part].mean(axis=0)))


def test_estimators_agree_on_a_market_without_gaps_drift_or_ranges_cut_short():
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(600, 500)) * 0.02 / np.sqrt(500)
    path = np.exp(np.cumsum(steps.ravel()).reshape(600, 500))
    shape = market(600, 1, gaps=False, events=False)
    opens = np.concatenate([[1.0], path[:-1, -1]])
    ohlc = {"open": opens, "high": np.maximum(path.max(1), opens), "low": np.minimum(path.min(1), opens)}
    ohlc["close"] = path[:, -1]
    panel = replace(shape, fields={**shape.fields, **{k: v[:, None] for k, v in ohlc.items()}})
    names = ["parkinson_63", "garman_klass_63", "rogers_satchell_63", "yang_zhang_63", "volatility_63"]
    table = compute(panel, names)
    np.testing.assert_allclose(np.nanmean(table.values[:, 0], axis=0), 0.02, rtol=0.08)


def test_the_cloud_is_drawn_from_values_of_26_bars_ago():
    h, low = PANEL.high, PANEL.low
    t = 300
    middle = lambda end, n: (h[end - n + 1 : end + 1].max(0) + low[end - n + 1 : end + 1].min(0)) / 2  # noqa: E731
    close(column("ichimoku_span_a")[t], (middle(t - 26, 9) + middle(t - 26, 26)) / 2)
    close(column("ichimoku_span_b")[t], middle(t - 26, 52))


def test_a_retracement_is_measured_from_the_later_extreme():
    got, level = column("fibonacci_retracement_63"), column("fibonacci_382_63")
    for t in (100, 250, 399):
        top, bottom = PANEL.high[t - 62 : t + 1, 1], PANEL.low[t - 62 : t + 1, 1]
        span = top.max() - bottom.min()
        rising = bottom.argmin() < top.argmax()
        price = PANEL.close[t, 1]
        assert got[t, 1] == pytest.approx(((top.max() - price) if rising else (price - bottom.min())) / span, rel=1e-4)
        expected = top.max() - 0.382 * span if rising else bottom.min() + 0.382 * span
        assert level[t, 1] == pytest.approx(expected, rel=1e-5)


def test_pivots_come_from_the_session_before():
    h, low, c = PANEL.high[-2], PANEL.low[-2], PANEL.close[-2]
    close(column("pivot")[-1], (h + low + c) / 3)
    close(column("pivot_r1")[-1], 2 * (h + low + c) / 3 - low)


def test_intraday_vwap_and_pivots_restart_with_the_session():
    minutes = market(12, 1, gaps=False, events=False)
    opens = np.datetime64("2024-03-08T15:00", "us"), np.datetime64("2024-03-11T14:00", "us")  # summer time between
    times = np.concatenate([start + np.arange(1, 7) * np.timedelta64(30, "m") for start in opens])
    panel = replace(minutes, times=times, timeframe="30m")
    typical = ((panel.high + panel.low + panel.close) / 3)[6:9, 0]
    size = panel.volume[6:9, 0]
    assert column("vwap", panel)[8, 0] == pytest.approx((typical * size).sum() / size.sum(), rel=1e-5)
    first = (panel.high[:6].max() + panel.low[:6].min() + panel.close[5, 0]) / 3
    np.testing.assert_allclose(column("pivot", panel)[6:, 0], first, rtol=1e-5)
    assert column("minute_of_day", panel)[[0, 6], 0].tolist() == [10 * 60 + 30] * 2


def test_event_windows_look_where_the_horizon_was_a_quarter_ago():
    got = column("event_move_63_h5")
    level, w = (R[1:22] ** 2).mean(axis=0), 1.0 - 0.5 ** (1 / 21)
    expected_size = np.full_like(R, np.nan)
    expected_size[21] = np.sqrt(level)
    for t in range(22, 400):
        level = level + w * (R[t] ** 2 - level)
        expected_size[t] = np.sqrt(level)
    shock = np.abs(R[1:]) / expected_size[:-1]
    shock = np.concatenate([np.full((1, 8), np.nan), shock])
    t = 350
    close(got[t], shock[t - 63 + 1 - 2 : t - 63 + 5 + 2 + 1].max(axis=0))


def test_momentum_leaves_out_the_last_month():
    close(column("momentum_12_1")[-1], LOG[-22] - LOG[-253], atol=1e-6)


def test_the_calendar_knows_holidays_ahead():
    days = ["2016-11-23", "2016-11-25", "2016-12-30", "2016-12-16", "2015-04-02"]
    closes = (np.array(days, dtype="datetime64[D]") + np.timedelta64(21, "h")).astype("datetime64[us]")
    assert timetable.days_to_next_session(closes).tolist() == [2, 3, 4, 3, 4]
    assert timetable.is_third_friday(closes).tolist() == [0, 0, 0, 1, 0]
    assert timetable.sessions_to_month_end(closes).tolist()[2] == 0
    assert timetable.is_turn_of_month(closes).tolist()[2] == 1
    assert timetable.sessions_from_month_start(closes).tolist()[-1] == 2
    assert timetable.day_of_week(closes).tolist() == [2, 4, 4, 4, 3]
    assert timetable.month(closes).tolist() == [11, 11, 12, 12, 4]
    assert timetable.sessions_to_third_friday(closes).tolist()[3] == 0


def test_a_bar_belongs_to_its_new_york_day():
    late = np.array(["2024-07-02T00:00", "2024-01-03T01:00"], dtype="datetime64[us]")  # eight in the evening
    assert timetable.dates(late).astype(str).tolist() == ["2024-07-01", "2024-01-02"]
    assert timetable.minute_of_day(late).tolist() == [20 * 60, 20 * 60]
    assert len(np.unique(timetable.session(session_closes(500)))) == 500
