"""Macro series in the lake: what was known when, and nothing rewritten."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.market.macro import VINTAGE_SCHEMA, known_macro, read_macro, store_macro, versions_of_macro
from tradewind.market.store.lake import Lake

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rows(*lines, series="GDP"):
    """(period, released, value): known at noon of the day of its release."""
    table = [
        (series, day(period), date.fromisoformat(out), value, day(out) + timedelta(hours=12), "assumed")
        for period, out, value in lines
    ]
    return pl.DataFrame(table, schema=VINTAGE_SCHEMA, orient="row")


FIRST = ("2025-01-01", "2025-04-30", 100.0)
SECOND = ("2025-01-01", "2025-05-29", 101.0)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def store(lake, table, at=NOW):
    return store_macro(lake, table, source="fred", recorded_at=at)


def test_a_revision_is_a_row_of_its_own_and_each_moment_has_what_it_knew(lake):
    store(lake, rows(FIRST, SECOND))
    assert read_macro(lake, ["GDP"], as_of=day("2025-04-30")).is_empty()
    assert read_macro(lake, ["GDP"], as_of=day("2025-05-01"))["value"].to_list() == [100.0]
    assert read_macro(lake, ["GDP"], as_of=day("2025-05-30"))["value"].to_list() == [101.0]
    kept = versions_of_macro(lake, ["GDP"])
    assert kept["known_at"].to_list() == [
        day("2025-04-30") + timedelta(hours=12),
        day("2025-05-29") + timedelta(hours=12),
    ]


def test_what_is_stored_is_not_stored_again(lake):
    first = store(lake, rows(FIRST, SECOND))
    again = store(lake, rows(FIRST, SECOND))
    assert (first.added, again.added, again.unchanged) == (2, 0, 2)


def test_a_value_that_is_only_told_again_is_no_vintage(lake):
    store(lake, rows(FIRST))
    done = store(lake, rows(("2025-01-01", "2025-05-10", 100.0), SECOND))
    assert done.added == 1
    assert versions_of_macro(lake)["released"].to_list() == [date(2025, 4, 30), date(2025, 5, 29)]


def test_a_value_that_comes_back_is_a_vintage(lake):
    store(lake, rows(FIRST, SECOND, ("2025-01-01", "2025-06-26", 100.0)))
    assert versions_of_macro(lake).height == 3


def test_a_value_that_is_taken_back_is_known_as_missing(lake):
    store(lake, rows(FIRST, ("2025-01-01", "2025-05-29", None)))
    assert read_macro(lake, ["GDP"])["value"].to_list() == [None]


def test_what_this_store_did_not_have_then_is_not_there_as_recorded(lake):
    store(lake, rows(FIRST), at=day("2025-05-01"))
    store(lake, rows(SECOND), at=NOW)
    assert read_macro(lake, recorded_until=day("2025-05-02"))["value"].to_list() == [100.0]


def test_the_newest_period_known_is_what_a_bar_sees(lake):
    store(lake, rows(FIRST, ("2025-04-01", "2025-07-30", 105.0), ("2025-01-01", "2025-08-28", 99.0)))
    times = np.array(["2025-04-30T11", "2025-04-30T12", "2025-07-30T13", "2025-09-01T00"], "datetime64[us]")
    assert known_macro(versions_of_macro(lake), ["GDP", "NONE"], times)[:, 0].tolist()[1:] == [100.0, 105.0, 105.0]
    assert np.isnan(known_macro(versions_of_macro(lake), ["GDP", "NONE"], times)[:, 1]).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 40), st.one_of(st.none(), st.integers(0, 3).map(float))),
        max_size=25, unique_by=lambda line: line[:2],
    ),
    st.integers(0, 45),
)  # fmt: skip
def test_more_of_the_future_never_changes_what_was_known(lines, cut):
    told = rows(*((f"2025-0{p + 1}-01", str(date(2025, 6, 1) + timedelta(days=r)), v) for p, r, v in lines))
    versions = told.with_columns(source=pl.lit("fred"))
    moment = day("2025-06-01") + timedelta(days=cut, hours=13)
    times = np.array([np.datetime64(moment.replace(tzinfo=None), "us")])
    whole = known_macro(versions, ["GDP"], times)
    part = known_macro(versions.filter(pl.col("known_at") <= moment), ["GDP"], times)
    np.testing.assert_array_equal(whole, part)
    known = versions.filter((pl.col("known_at") <= moment) & pl.col("value").is_not_null())
    if known.is_empty():
        assert np.isnan(whole).all()
    else:
        newest = known.filter(pl.col("time") == known["time"].max()).sort("known_at")
        assert whole.item() == newest["value"][-1]
