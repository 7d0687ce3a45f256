from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from tradewind.errors import DataError
from tradewind.market.calendar import calendar
from tradewind.market.panel import Panel
from tradewind.market.quality import (
    fill_forward,
    fill_panel,
    is_excluded,
    mark,
    mark_rows,
    report,
)

DAY_0 = datetime(2015, 1, 1, tzinfo=UTC)


def walk(symbol="AAA", bars=200, seed=1, sigma=0.01):
    """A calm stock on the sessions of 2015."""
    rng = np.random.default_rng(seed)
    times = calendar("XNYS").bar_closes("1d", DAY_0, DAY_0 + timedelta(days=400))[:bars]
    moves = np.clip(sigma * rng.standard_normal(bars), -1.5 * sigma, 1.5 * sigma)
    close = 50 * np.exp(np.cumsum(moves))
    return pl.DataFrame(
        {
            "symbol": [symbol] * bars,
            "time": pl.Series(times).dt.replace_time_zone("UTC"),
            "open": close,
            "high": close * 1.002,
            "low": close * 0.998,
            "close": close,
            "volume": np.full(bars, 1e6),
            "marks": [""] * bars,
        }
    )


def with_price(bars, row, factor, columns=("open", "high", "low", "close")):
    here = pl.int_range(pl.len()) == row
    return bars.with_columns(pl.when(here).then(pl.col(c) * factor).otherwise(c).alias(c) for c in columns)


def marked(bars, what):
    return np.flatnonzero(bars["marks"].str.split(",").list.contains(what)).tolist()


def test_a_calm_series_has_no_marks():
    assert set(mark(walk())["marks"]) == {""}


def test_marking_twice_is_marking_once():
    bars = mark_rows(walk().with_columns(volume=pl.lit(0.0)))
    assert mark_rows(bars).equals(bars)


def test_marking_does_not_change_prices():
    bars = with_price(walk(), 100, 1.5)
    assert mark(bars).drop("marks").equals(bars.drop("marks"))


def test_a_move_beyond_three_deviations_of_its_past_is_an_outlier_only():
    bars = with_price(walk(), 150, 1.06)
    got = mark(bars)
    assert 150 in marked(got, "outlier") and marked(got, "suspect") == []
    assert got.filter(is_excluded()).is_empty()


def test_outliers_are_judged_by_the_past_alone():
    bars = walk()
    later = with_price(bars, 180, 3.0)
    assert mark(bars)["marks"][:180].equals(mark(later)["marks"][:180]) or marked(mark(later), "suspect")
    assert [i for i in marked(mark(later), "outlier") if i < 180] == marked(mark(bars), "outlier")


def test_a_spike_that_comes_back_at_once_is_suspected_and_kept():
    got = mark(with_price(walk(), 120, 1.4))
    assert marked(got, "suspect") == [120]
    assert got.filter(is_excluded()).is_empty()


def test_a_crash_that_stays_is_no_bad_tick():
    bars = walk()
    after = pl.int_range(pl.len()) >= 120
    crash = bars.with_columns(pl.when(after).then(pl.col(c) * 0.48).otherwise(c) for c in ("high", "low", "close"))
    crash = crash.with_columns(open=pl.when(after).then(pl.col("open") * 0.48).otherwise("open"))
    assert marked(mark(crash), "suspect") == []
    assert marked(mark(crash), "outlier") == [120]


def test_an_unrecorded_split_is_suspected_and_a_recorded_one_is_not():
    after = pl.int_range(pl.len()) >= 90
    halved = walk().with_columns(
        pl.when(after).then(pl.col(c) / 2).otherwise(c) for c in ("open", "high", "low", "close")
    )
    assert marked(mark(halved), "split-suspected") == [90]
    actions = pl.DataFrame({"symbol": ["AAA"], "time": [halved["time"][90]], "kind": ["split"], "value": [2.0]})
    assert set(mark(halved, actions)["marks"]) == {""}


def test_an_ex_date_is_no_outlier_when_the_dividend_is_known():
    after = pl.int_range(pl.len()) >= 90
    paid = walk().with_columns(
        pl.when(after).then(pl.col(c) * 0.9).otherwise(c) for c in ("open", "high", "low", "close")
    )
    cash = paid["close"][89] * 0.1
    actions = pl.DataFrame({"symbol": ["AAA"], "time": [paid["time"][90]], "kind": ["dividend"], "value": [cash]})
    assert marked(mark(paid), "outlier") == [90]
    assert marked(mark(paid, actions), "outlier") == []


def test_the_fifth_bar_with_the_same_prices_is_stale():
    bars = walk()
    frozen = pl.int_range(pl.len()).is_between(60, 66)
    stale = bars.with_columns(
        pl.when(frozen).then(pl.col(c).get(60)).otherwise(c) for c in ("open", "high", "low", "close")
    )
    assert marked(mark(stale), "stale") == [64, 65, 66]


def test_excluded_bars_do_not_disturb_their_neighbours():
    bars = walk().with_columns(close=pl.when(pl.int_range(pl.len()) == 100).then(-1.0).otherwise("close"))
    got = mark(bars)
    assert marked(got, "excluded:non-positive") == [100]
    assert marked(got, "outlier") == []


def test_symbols_are_judged_apart():
    both = pl.concat([walk("AAA"), walk("BBB", seed=2).with_columns(pl.col("open", "high", "low", "close") * 30)])
    assert set(mark(both)["marks"]) == {""}


# --- the report


def test_a_clean_table_has_nothing_to_report():
    got = report(walk())
    assert got.counts == {} and got.excluded == 0 and got.bars == 200 and got.symbols == 1


def test_missing_sessions_are_gaps():
    bars = walk().filter(~pl.int_range(pl.len()).is_in([50, 51, 120]))
    findings = report(bars).findings.filter(check="gap")
    assert findings["detail"].to_list() == ["2 bars are missing before it", "1 bars are missing before it"]
    assert findings["time"][0] == walk()["time"][52]


def test_duplicates_disorder_early_ends_and_constant_prices_are_reported():
    flat = walk("FLAT").with_columns(pl.lit(5.0).alias(c) for c in ("open", "high", "low", "close"))
    bars = pl.concat([walk("AAA"), walk("AAA")[7:8], walk("ENDS")[:100], walk("FEW")[:10], flat])
    counts = report(bars).counts
    assert counts["duplicate"] == 1 and counts["unsorted"] == 1
    assert counts["ends"] == 2 and counts["short"] == 1 and counts["constant"] == 1
    assert counts["stale"] == 196


def test_a_feed_with_a_fraction_of_the_volume_is_reported():
    thin = walk().with_columns(volume=pl.col("volume") / 40)
    assert report(thin).counts == {}
    (row,) = report(thin, volume_reference=walk()).findings.rows()
    assert row[2:] == ("partial-feed", "volume is 1/40.0 of the reference feed's over 200 days")


def test_the_report_is_plain_data():
    import json

    plain = json.loads(json.dumps(report(with_price(walk(), 120, 1.4)).to_dict()))
    assert plain["counts"]["suspect"] == 1
    assert plain["examples"][0].keys() == {"symbol", "time", "check", "detail"}


def test_a_table_without_prices_is_refused():
    with pytest.raises(DataError, match="lack close"):
        report(walk().drop("close"))


def test_an_empty_table_has_nothing_to_report():
    assert report(walk().clear()).counts == {}


# --- forward fill


def test_gaps_are_filled_up_to_the_limit_and_no_further():
    close = np.array([[1.0], [2.0], [np.nan], [np.nan], [np.nan], [6.0]])
    values, filled = fill_forward(close, np.isfinite(close), 2)
    assert_array_equal(values[:, 0], [1, 2, 2, 2, np.nan, 6])
    assert_array_equal(filled[:, 0], [0, 0, 1, 1, 0, 0])


def test_nothing_is_filled_before_the_first_bar_or_with_a_limit_of_zero():
    close = np.array([[np.nan], [2.0], [np.nan]])
    assert_array_equal(fill_forward(close, np.isfinite(close), 5)[1][:, 0], [0, 0, 1])
    assert not fill_forward(close, np.isfinite(close), 0)[1].any()


def test_a_split_inside_of_the_gap_divides_what_is_carried():
    close, split = np.array([[100.0], [np.nan], [np.nan]]), np.array([[1.0], [4.0], [1.0]])
    assert_array_equal(fill_forward(close, np.isfinite(close), 3, split)[0][:, 0], [100, 25, 25])


def test_filling_is_causal():
    rng = np.random.default_rng(0)
    mask = rng.random((60, 3)) < 0.6
    close = np.where(mask, rng.random((60, 3)), np.nan)
    for stop in (1, 17, 40):
        assert_array_equal(fill_forward(close[:stop], mask[:stop], 3)[0], fill_forward(close, mask, 3)[0][:stop])


def test_a_filled_panel_says_so():
    close = np.array([[10.0], [np.nan], [11.0]])
    mask = np.isfinite(close)
    fields = {n: close.copy() for n in ("open", "high", "low", "close", "volume")}
    fields |= {"split": np.ones((3, 1)), "dividend": np.zeros((3, 1))}
    times = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[us]")
    panel = Panel(times, ("A",), ("i1",), fields, mask, np.ones((3, 1), bool))
    got, filled = fill_panel(panel, 1)
    assert_array_equal(got.close[:, 0], [10, 10, 11])
    assert got.volume[1, 0] == 0 and got.mask.all() and filled.sum() == 1
    assert "filled forward" in got.flags[-1]
    assert fill_panel(panel, 0)[0] is panel
