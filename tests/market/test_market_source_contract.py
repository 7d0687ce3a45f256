"""What every source must do, whatever it reads."""

from datetime import UTC, datetime

import polars as pl
import pytest

from tradewind.errors import InputError
from tradewind.market.bars import SOURCE_ACTION_COLUMNS, SOURCE_BAR_COLUMNS
from tradewind.market.calendar import calendar
from tradewind.market.quality import is_excluded
from tradewind.market.sources.base import (
    SOURCE_ACTION_SCHEMA,
    SOURCE_BAR_SCHEMA,
    SOURCES,
    Request,
)

START, END = datetime(2018, 3, 1, tzinfo=UTC), datetime(2019, 9, 30, 23, tzinfo=UTC)


@pytest.fixture(params=["sample", "synthetic", "files-csv", "files-parquet", "yahoo", "alpaca"])
def case(request, tmp_path, invented_csv):
    """A source, three of its symbols, and a period that it covers."""
    if request.param == "sample":
        years = datetime(2010, 3, 1, tzinfo=UTC), datetime(2012, 9, 30, tzinfo=UTC)
        return SOURCES.create("sample"), ("AAPL", "IBM", "MSFT"), *years
    if request.param == "synthetic":
        return SOURCES.create("synthetic", n_symbols=5), ("SYN000", "SYN003", "SYN004"), START, END
    if request.param in ("yahoo", "alpaca"):
        return request.getfixturevalue(request.param), ("AAA", "BBB", "CCC"), START, END
    path = invented_csv
    if request.param == "files-parquet":
        path = tmp_path / "bars.parquet"
        pl.read_csv(invented_csv, try_parse_dates=True).write_parquet(path)
    return SOURCES.create("files", path=str(path)), ("AAA", "BBB", "CCC"), START, END


def fetched(source, symbols, start, end, timeframe="1d"):
    deliveries = list(source.fetch(Request(tuple(symbols), timeframe, start, end)))
    bars = pl.concat([d.bars for d in deliveries]).sort("symbol", "time")
    actions = pl.concat([d.actions for d in deliveries]).sort("symbol", "time", "kind")
    return bars, actions, [note for d in deliveries for note in d.notes]


def test_the_contract_covers_every_shipped_source():
    assert set(SOURCES.names()) == {"sample", "synthetic", "files", "yahoo", "alpaca"}


def test_a_delivery_has_exactly_the_columns_and_types_of_the_schema(case):
    source, symbols, start, end = case
    for delivery in source.fetch(Request(symbols, "1d", start, end)):
        assert tuple(delivery.bars.columns) == SOURCE_BAR_COLUMNS
        assert tuple(delivery.actions.columns) == SOURCE_ACTION_COLUMNS
        assert dict(delivery.bars.schema) == dict(SOURCE_BAR_SCHEMA)
        assert dict(delivery.actions.schema) == dict(SOURCE_ACTION_SCHEMA)


def test_bars_are_ordered_and_unique_per_symbol(case):
    bars, _, _ = fetched(*case)
    assert set(bars["symbol"]) == set(case[1])
    assert not bars.select(pl.struct("symbol", "time").is_duplicated()).to_series().any()
    for delivery in case[0].fetch(Request(case[1], "1d", *case[2:])):
        assert delivery.bars.equals(delivery.bars.sort("symbol", "time"))


def test_times_are_the_closes_of_sessions_in_the_period_asked_for(case):
    start, end = case[2:]
    bars, actions, _ = fetched(*case)
    closes = set(calendar("XNYS").bar_closes("1d", start, end).tolist())
    assert set(bars["time"].dt.replace_time_zone(None)) == closes
    assert set(actions["time"].dt.replace_time_zone(None)) <= closes


def test_a_usable_bar_is_consistent_and_its_marks_are_known(case):
    bars, _, _ = fetched(*case)
    usable = bars.filter(~is_excluded())
    assert len(usable) == len(bars)
    low, high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    assert usable.filter((pl.col("low") > low * 1.00001) | (pl.col("high") < high * 0.99999)).is_empty()
    assert usable.filter((pl.col("low") <= 0) | (pl.col("volume") < 0)).is_empty()
    assert set(bars["adjustment"]) <= {"raw", "reconstructed"}


def test_prices_are_raw_so_a_split_halves_them(case):
    source, symbols, _, _ = case
    long_ago, later = datetime(2000, 1, 1, tzinfo=UTC), datetime(2019, 12, 31, 23, tzinfo=UTC)
    bars, actions, _ = fetched(source, symbols, long_ago, later)
    splits = actions.filter(kind="split")
    assert len(splits)
    for row in splits.iter_rows(named=True):
        closes = bars.filter(symbol=row["symbol"])
        at = closes["time"].to_list().index(row["time"])
        move = closes["close"][at] / closes["close"][at - 1] * row["value"]
        assert 0.7 < move < 1.4, row


def test_the_same_question_has_the_same_answer(case):
    first, second = fetched(*case), fetched(*case)
    assert first[0].equals(second[0])
    assert first[1].equals(second[1])


def test_a_shorter_period_is_a_part_of_the_longer(case):
    source, symbols, start, end = case
    middle = start + (end - start) / 2
    bars, actions, _ = fetched(*case)
    part, part_actions, _ = fetched(source, symbols, start, middle)
    assert part.equals(bars.filter(pl.col("time") <= middle))
    assert part_actions.equals(actions.filter(pl.col("time") <= middle))


def test_an_unknown_symbol_is_reported_and_delivers_nothing(case):
    source, symbols, start, end = case
    bars, _, notes = fetched(source, (*symbols, "NOSUCH"), start, end)
    assert "NOSUCH" not in set(bars["symbol"])
    assert any("NOSUCH" in note for note in notes)


def test_only_unknown_symbols_give_an_empty_delivery(case):
    source, _, start, end = case
    bars, actions, notes = fetched(source, ("NOSUCH",), start, end)
    assert bars.is_empty() and actions.is_empty() and notes


def test_an_empty_universe_is_refused(case):
    with pytest.raises(InputError, match="no symbols"):
        list(case[0].fetch(Request((), "1d", *case[2:])))


def test_a_period_that_ends_before_it_begins_is_refused(case):
    source, symbols, start, end = case
    with pytest.raises(InputError, match="before it begins"):
        list(source.fetch(Request(symbols, "1d", end, start)))


def test_a_timeframe_that_is_not_served_is_refused_with_those_that_are(case):
    source, symbols, start, end = case
    unserved = next(timeframe for timeframe in ("1m", "1w") if timeframe not in source.look_back())
    with pytest.raises(InputError, match="1d"):
        list(source.fetch(Request(symbols, unserved, start, end)))
    assert source.symbols(unserved) == ()


def test_what_it_lists_it_delivers(case):
    source, symbols, _, _ = case
    assert set(symbols) <= set(source.symbols("1d"))


def test_an_unknown_option_is_refused(case):
    with pytest.raises(ValueError, match="colour"):
        SOURCES.create(case[0].name, colour="blue")


def test_an_unknown_source_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'sample'"):
        SOURCES.create("simple")
