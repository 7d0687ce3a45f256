from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from tradewind.errors import DataError, InputError
from tradewind.market.panel import Panel
from tradewind.market.sectors import BASELINES, SECTORS, UNKNOWN, official, read_sectors
from tradewind.market.settings import DataSection, UniverseSection
from tradewind.market.tiers import NAMES, TIERS, allowed, tier_index, tier_of
from tradewind.market.universe import (
    ever_members,
    explicit,
    intervals,
    liquid,
    member_mask,
    members_on,
    read_membership,
    tradable,
)


def table(*rows):
    return intervals(pl.DataFrame(rows, schema=["symbol", "start", "end"], orient="row"))


JAN, FEB, MAR = date(2020, 1, 10), date(2020, 2, 10), date(2020, 3, 10)


# --- membership


def test_a_member_belongs_from_its_start_and_no_longer_on_its_end():
    mask = member_mask(
        table(("A", JAN, FEB)), ["A"], np.array(["2020-01-09", "2020-01-10", "2020-02-09", "2020-02-10"])
    )
    assert mask[:, 0].tolist() == [False, True, True, False]


def test_one_who_left_and_came_back_was_away_in_between():
    members = table(("A", JAN, FEB), ("A", MAR, None))
    days = np.array(["2020-01-15", "2020-02-15", "2020-03-15"], dtype="datetime64[us]")
    assert member_mask(members, ["A"], days)[:, 0].tolist() == [True, False, True]


def test_names_without_an_interval_never_belonged():
    assert not member_mask(table(("A", None, None)), ["B"], np.array(["2020-01-15"])).any()


def test_intervals_that_overlap_or_touch_are_one():
    assert table(("A", JAN, FEB), ("A", FEB, MAR), ("A", JAN, JAN)).rows() == [("A", JAN, MAR)]
    assert table(("A", None, FEB), ("A", JAN, None)).rows() == [("A", None, None)]


def test_an_interval_that_ends_before_it_starts_is_refused():
    with pytest.raises(DataError, match="ends before it starts"):
        table(("A", FEB, JAN))


def test_members_are_as_of_a_date_and_not_as_of_today():
    members = table(("OLD", None, FEB), ("NEW", MAR, None), ("ALWAYS", None, None))
    assert members_on(members, JAN) == ("ALWAYS", "OLD")
    assert members_on(members, MAR) == ("ALWAYS", "NEW")
    assert ever_members(members, FEB, FEB) == ("ALWAYS",)
    assert ever_members(members, JAN, MAR) == ("ALWAYS", "NEW", "OLD")


def test_yearly_lists_with_changes_become_intervals(tmp_path):
    for year, text in (
        (
            2020,
            "year: 2020\ntickers_on_Jan_1: [A, B]\nchanges:\n  '2020-06-22':\n    difference: [B]\n    union: [C]\n",
        ),
        (2021, "year: 2021\ntickers_on_Jan_1: [A, D]\n"),
    ):
        (tmp_path / f"list-{year}.yaml").write_text(text)
    got = {s: (start, end) for s, start, end in read_membership(tmp_path).rows()}
    assert got == {
        "A": (date(2020, 1, 1), None),
        "B": (date(2020, 1, 1), date(2020, 6, 22)),
        "C": (date(2020, 6, 22), date(2021, 1, 1)),  # gone without a change: the new list wins
        "D": (date(2021, 1, 1), None),
    }


def test_damaged_membership_files_are_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("{unclosed")
    with pytest.raises(DataError, match=r"bad\.yaml cannot be read"):
        read_membership(tmp_path / "bad.yaml")
    (tmp_path / "bad.csv").write_text("who,when\nA,2020-01-01\n")
    with pytest.raises(DataError, match="lacks a symbol or a start column"):
        read_membership(tmp_path / "bad.csv")
    with pytest.raises(InputError, match="no file"):
        read_membership(tmp_path / "none.csv")


def test_indices_cannot_be_bought():
    assert tradable(["A", "^GSPC", "B"]) == ("A", "B")


def test_a_list_of_names_has_no_repeats_and_is_not_empty():
    assert explicit(["A", " B ", "A"]) == ("A", "B")
    with pytest.raises(InputError, match="universe is empty"):
        explicit([" "])


# --- liquidity and tiers


def test_liquidity_looks_back_and_never_ahead():
    rng = np.random.default_rng(0)
    close, volume, mask = 10 + rng.random((50, 2)), 1e5 * rng.random((50, 2)), rng.random((50, 2)) < 0.95
    whole = liquid(close, volume, mask, 4e5, 10)
    assert whole.any() and not whole[:9].any()
    assert_array_equal(liquid(close[:30], volume[:30], mask[:30], 4e5, 10), whole[:30])


def test_dollar_volume_is_the_median_of_price_times_shares():
    close, volume = np.full((5, 1), 2.0), np.array([[10.0], [10], [1000], [10], [10]])
    assert liquid(close, volume, np.ones((5, 1), bool), 20, 3)[:, 0].tolist() == [False, False, True, True, True]
    assert not liquid(close, volume, np.ones((5, 1), bool), 20.01, 3).any()


@pytest.mark.parametrize(
    ("price", "tier"),
    [
        (0.49, None), (0.5, "penny"), (4.99, "penny"), (5, "low"), (24.99, "low"), (25, "mid"), (99.999, "mid"),
        (100, "high"), (499.99, "high"), (500, "mega"), (90_000, "mega"), (float("nan"), None), (-3, None),
    ],
)  # fmt: skip
def test_tiers_are_half_open_without_gaps(price, tier):
    assert tier_of(price) == tier


def test_the_tiers_are_those_of_row_a3():
    assert NAMES == ("penny", "low", "mid", "high", "mega")
    assert [t.position_limit_pct for t in TIERS.values()] == [5, 8, 10, 12, 15]
    assert [t.stop_loss_pct for t in TIERS.values()] == [10, 5, 3, 2, 2]
    assert [t.daily_volatility_pct for t in TIERS.values()] == [5, 3, 2, 1.5, 1]
    assert [t.sentiment_weight for t in TIERS.values()] == [2, 1.5, 1.2, 1, 0.8]
    assert [t.min_daily_volume_shares for t in TIERS.values()] == [5e5, 1e6, 2e6, 3e6, 5e6]
    assert [t.ideal_horizon for t in TIERS.values()] == ["day", "day", "swing", "position", "position"]
    for lower, upper in zip(list(TIERS.values()), list(TIERS.values())[1:], strict=False):
        assert lower.upper_usd == upper.lower_usd


def test_arrays_of_prices_have_arrays_of_tiers():
    close = np.array([[0.1, 10.0], [np.nan, 600.0]])
    assert tier_index(close).tolist() == [[-1, 1], [-1, 4]]
    assert allowed(close, ["low", "mega"]).tolist() == [[False, True], [False, True]]


def test_the_universe_section_narrows_membership_by_tier_and_liquidity():
    close = np.array([[10.0, 600.0], [10.0, 600.0], [3.0, 600.0]])
    fields = {n: close.copy() for n in ("open", "high", "low", "close")}
    fields |= {"volume": np.full((3, 2), 1e6), "split": np.ones((3, 2)), "dividend": np.zeros((3, 2))}
    times = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[us]")
    yes = np.ones((3, 2), bool)
    panel = Panel(times, ("A", "B"), ("i1", "i2"), fields, yes, yes)
    section = UniverseSection(tiers=("low",), min_dollar_volume=1e6, dollar_volume_bars=2)
    assert section.restrict(panel).member.tolist() == [[False, False], [True, False], [False, False]]
    assert UniverseSection().restrict(panel).member.all()


# --- sectors


def test_there_are_eleven_sectors_and_an_unknown_one_each_with_a_prior():
    assert len(SECTORS) == 11
    assert set(BASELINES) == {*SECTORS, UNKNOWN}
    technology = BASELINES["Information Technology"]
    assert (technology.daily_volatility_pct, technology.daily_volume_shares, technology.beta) == (2.5, 25e6, 1.3)
    assert BASELINES["Energy"] == BASELINES[UNKNOWN]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Information Technology", "Information Technology"), ("technology", "Information Technology"),
        ("Finance", "Financials"), ("Consumer Cyclical", "Consumer Discretionary"), ("Healthcare", "Health Care"),
        ("Miscellaneous", UNKNOWN), ("", UNKNOWN), (None, UNKNOWN),
    ],
)  # fmt: skip
def test_sectors_are_recognised_however_providers_spell_them(said, meant):
    assert official(said) == meant


def test_a_sector_file_without_sectors_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("symbol,industry\nA,Oil\n")
    with pytest.raises(DataError, match="lacks a symbol or a sector column"):
        read_sectors(tmp_path / "s.csv")


# --- settings


def test_plain_dates_span_whole_days():
    section = DataSection(start="2010-01-04", end=date(2012, 12, 31))
    assert section.start == datetime(2010, 1, 4, tzinfo=UTC)
    assert section.end == datetime(2012, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_unknown_keys_and_bad_values_are_refused():
    for wrong in ({"colour": 1}, {"timeframe": "2d"}, {"fill_forward_max_bars": -1}, {"start": "soon"}):
        with pytest.raises(ValueError, match=next(iter(wrong)) if "start" not in wrong else "start|isoformat"):
            DataSection(**wrong)
    with pytest.raises(ValueError, match="tiers"):
        UniverseSection(tiers=("cheap",))
