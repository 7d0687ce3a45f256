"""Users' tables: what is recognised, and what happens to everything that is wrong with them."""

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tradewind.errors import DataError, InputError
from tradewind.market.sources.base import SOURCES, Request

FIRST, LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
DAYS = [date(2016, 1, 4) + timedelta(days=i) for i in range(5)]  # Monday to Friday


def table(**columns):
    """Five good days of AAA, with some columns replaced, added or (None) taken away."""
    good = {
        "symbol": ["AAA"] * 5,
        "date": DAYS,
        "open": [10.0, 11, 12, 13, 14],
        "high": [11.0, 12, 13, 14, 15],
        "low": [9.0, 10, 11, 12, 13],
        "close": [10.5, 11.5, 12.5, 13.5, 14.5],
        "volume": [100, 200, 300, 400, 500],
    }
    merged = {**good, **columns}
    return pl.DataFrame({name: values for name, values in merged.items() if values is not None}, strict=False)


@pytest.fixture
def write(tmp_path):
    def writer(frame, name="bars.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith(".parquet"):
            frame.write_parquet(path)
        elif name.endswith(".gz"):
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
        else:
            frame.write_csv(path)
        return str(path)

    return writer


def read(path, symbols=None, **options):
    source = SOURCES.create("files", path=path, **options)
    asked = symbols or source.symbols(source.options.timeframe)
    deliveries = list(source.fetch(Request(tuple(asked), source.options.timeframe, FIRST, LAST)))
    bars, actions = (pl.concat([getattr(d, part) for d in deliveries]) for part in ("bars", "actions"))
    return bars, actions, "\n".join(note for d in deliveries for note in d.notes)


def marks(bars):
    return bars["marks"].to_list()


# --- what is recognised


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz", "bars.parquet"])
def test_every_format_gives_the_same_bars(write, name):
    bars, actions, notes = read(write(table(), name))
    assert bars["close"].to_list() == [10.5, 11.5, 12.5, 13.5, 14.5]
    assert bars["time"][0] == datetime(2016, 1, 4, 21, tzinfo=UTC)
    assert set(marks(bars)) == {""} and actions.is_empty() and notes == ""


@pytest.mark.parametrize(
    "names",
    [
        {"symbol": "Ticker", "date": "Date", "close": "Close", "volume": "Vol."},
        {"symbol": "TICKER", "date": "timestamp", "open": "Open Price"},
        {"symbol": "tic", "date": "trade_date"},
    ],
)
def test_usual_names_are_recognised_whatever_their_case(write, names):
    assert len(read(write(table().rename(names)))[0]) == 5


def test_a_mapping_overrules_the_usual_names(write):
    frame = table().with_columns(settle=pl.col("close") + 0.25)
    bars, _, _ = read(write(frame), columns={"close": "settle"})
    assert bars["close"][0] == 10.75


def test_a_folder_of_files_takes_symbols_from_their_names(write, tmp_path):
    for name in ("AAA", "BBB"):
        write(table(symbol=None), f"folder/{name}.csv")
    assert read(str(tmp_path / "folder"))[0]["symbol"].unique().sort().to_list() == ["AAA", "BBB"]


def test_relative_paths_start_from_base(write, tmp_path):
    write(table(), "bars.csv")
    assert len(read("bars.csv", base=str(tmp_path))[0]) == 5


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["2016-01-04", "2016-01-05", "2016-01-06", "2016-01-07", "2016-01-08"], 21),
        ([20160104, 20160105, 20160106, 20160107, 20160108], 21),
        (["01/04/2016", "01/05/2016", "01/06/2016", "01/07/2016", "01/20/2016"], 21),
        (["04.01.2016", "05.01.2016", "06.01.2016", "07.01.2016", "08.01.2016"], 21),
        ([f"2016-01-0{d} 00:00:00+00:00" for d in range(4, 9)], 21),
        ([f"2016-01-0{d}T00:00:00-05:00" for d in range(4, 9)], 21),
        ([f"2016-01-0{d} 16:00" for d in range(4, 9)], 21),
        ([1451865600 + 86400 * i for i in range(5)], 21),
    ],
)
def test_dates_are_read_however_they_are_written(write, times, first):
    bars, _, _ = read(write(table(date=times)))
    assert len(bars) == 5
    assert bars["time"][0] == datetime(2016, 1, 4, first, tzinfo=UTC)


def test_dates_that_could_be_read_both_ways_are_said_to_be_american(write):
    _, _, notes = read(write(table(date=["04/01/2016", "04/04/2016", "04/05/2016", "04/06/2016", "04/07/2016"])))
    assert "month/day/year" in notes


HALF_HOURS = [datetime(2016, 1, 4, 9, 30) + timedelta(minutes=30 * i) for i in range(5)]  # naive, New York


@pytest.mark.parametrize(("stamp", "first"), [("auto", (15, 0)), ("start", (15, 0)), ("close", None)])
def test_intraday_times_are_starts_unless_said_otherwise(write, stamp, first):
    bars, _, notes = read(write(table(date=HALF_HOURS)), timeframe="30m", stamp=stamp)
    if first:
        assert bars["time"][0] == datetime(2016, 1, 4, *first, tzinfo=UTC)
    else:  # a bar that closes at the open is none of the session's
        assert len(bars) == 4 and "outside of the exchange's sessions" in notes


def test_times_with_a_zone_keep_it(write):
    zoned = [t.strftime("%Y-%m-%dT%H:%M:%S-05:00") for t in HALF_HOURS]
    bars, _, _ = read(write(table(date=zoned)), timeframe="30m", timezone="Asia/Tokyo")
    assert bars["time"][0] == datetime(2016, 1, 4, 15, tzinfo=UTC)


def test_splits_and_dividends_come_as_actions(write):
    frame = table(split=[1, 1, 2, 1, 1], dividend=[0, 0, 0, 0.1, 0])
    _, actions, _ = read(write(frame))
    assert actions.select("kind", "value").rows() == [("split", 2.0), ("dividend", 0.1)]
    assert actions["time"][0] == datetime(2016, 1, 6, 21, tzinfo=UTC)


def test_an_adjusted_close_gives_the_actions_that_are_not_stated(write):
    frame = table(open=[10, 11, 12, 6.5, 7], high=[11, 12, 13, 7, 8], low=[9, 10, 11, 6, 7])
    frame = frame.with_columns(close=pl.Series([10.5, 11.5, 12.5, 6.75, 7.25]))
    frame = frame.with_columns(adj_close=pl.Series([5.25, 5.75, 6.25, 6.75, 7.25]))
    _, actions, notes = read(write(frame))
    assert actions.select("kind", "value", "detail").rows() == [("split", 2.0, "reconstructed")]
    assert "reconstructed" in notes


def test_split_adjusted_prices_are_turned_back_and_marked(write):
    bars, _, _ = read(write(table(split=[1, 1, 2, 1, 1])), prices="split")
    assert bars["close"].to_list() == [21.0, 23.0, 12.5, 13.5, 14.5]
    assert bars["volume"].to_list() == [50, 100, 300, 400, 500]
    assert bars["adjustment"].to_list() == ["reconstructed"] * 2 + ["raw"] * 3


def test_back_adjusted_prices_are_marked_because_raw_ones_cannot_be_known(write):
    bars, _, notes = read(write(table()), prices="total")
    assert set(bars["adjustment"]) == {"reconstructed"} and "cannot be known" in notes


def test_single_precision_is_read_at_the_digits_it_has(write):
    frame = table().with_columns(pl.col("close").cast(pl.Float32) + pl.lit(0.38, pl.Float32))
    assert read(write(frame, "bars.parquet"))[0]["close"][0] == 10.88


def test_sectors_and_membership_come_from_files(write):
    sectors = write(pl.DataFrame({"Symbol": ["AAA", "BBB"], "GICS Sector": ["Energy", "Technology"]}), "sectors.csv")
    members = write(
        pl.DataFrame({"ticker": ["AAA"], "start_date": ["2016-01-05"], "end_date": ["null"]}), "members.csv"
    )
    source = SOURCES.create("files", path=write(table()), sectors_path=sectors, membership_path=members)
    assert source.sectors() == {"AAA": "Energy", "BBB": "Information Technology"}
    assert source.membership().rows() == [("AAA", date(2016, 1, 5), None)]


def test_context_files_become_index_and_vix(write):
    index = write(pl.DataFrame({"Date": DAYS, "^GSPC": [2000.0, 2001, 2002, 2003, 2004]}), "index.csv")
    vix = write(table(symbol=None, volume=None).rename({"date": "DATE", "close": "CLOSE"}), "vix.csv")
    bars, _, _ = read(write(table()), context={"index": index, "vix": vix})
    assert bars.filter(symbol="^GSPC")["close"].to_list() == [2000, 2001, 2002, 2003, 2004]
    assert set(marks(bars.filter(symbol="^GSPC"))) == {"close-only"}
    assert len(bars.filter(symbol="^VIX")) == 5


def test_small_batches_deliver_the_same_bars(write):
    frame = pl.concat([table(symbol=[s] * 5) for s in ("AAA", "BBB", "CCC")])
    path = write(frame)
    whole, parts = read(path)[0], read(path, batch_rows=5)[0]
    assert parts.equals(whole)
    source = SOURCES.create("files", path=path, batch_rows=5)
    assert len(list(source.fetch(Request(("AAA", "BBB", "CCC"), "1d", FIRST, LAST)))) == 3


# --- what is wrong: the file


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file or folder .*nothing\.csv"):
        read(str(tmp_path / "nothing.csv"))


@pytest.mark.parametrize("name", ["empty.csv", "empty.parquet"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(DataError, match="is empty"):
        read(str(tmp_path / name))


def test_a_file_with_a_header_only_is_refused(write):
    with pytest.raises(DataError, match="holds no rows"):
        read(write(table().clear()))


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no files ending in"):
        read(str(tmp_path))


def test_a_damaged_file_is_refused_with_its_name(tmp_path, write):
    path = write(table(), "bars.parquet")
    damaged = tmp_path / "damaged.parquet"
    whole = Path(path).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"damaged\.parquet cannot be read"):
        read(str(damaged))


def test_bytes_that_are_no_gzip_are_refused(tmp_path):
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(b"\x1f\x8b" + b"nonsense" * 20)
    with pytest.raises(DataError, match="cannot be read"):
        read(str(path))


# --- what is wrong: the columns


def test_missing_columns_are_named_with_those_that_are_there(write):
    with pytest.raises(DataError, match="no column for open, volume; it has symbol, date"):
        read(write(table(open=None, volume=None)))


def test_a_mapped_column_that_is_not_there_is_refused(write):
    with pytest.raises(DataError, match="no column 'settle'"):
        read(write(table()), columns={"close": "settle"})


def test_a_mapping_of_an_unknown_field_is_refused_with_the_nearest(write):
    with pytest.raises(InputError, match="did you mean 'close'"):
        read(write(table()), columns={"closed": "close"})


def test_a_column_without_numbers_is_refused(write):
    with pytest.raises(DataError, match=r"'close' holds no numbers \(first value: 'ten'\)"):
        read(write(table(close=["ten"] * 5)))


def test_a_column_of_the_wrong_type_in_parquet_is_refused(write):
    with pytest.raises(DataError, match="times of type"):
        read(write(table(date=[1.5] * 5), "bars.parquet"))


def test_numbers_that_are_no_times_are_refused(write):
    with pytest.raises(DataError, match="are no times"):
        read(write(table(date=[1, 2, 3, 4, 5]), "bars.parquet"))


def test_times_that_cannot_be_read_are_refused(write):
    with pytest.raises(DataError, match="cannot read times such as 'yesterday'"):
        read(write(table(date=["yesterday"] * 5)))


def test_mixed_zones_are_refused(write):
    mixed = [t.isoformat() + ("-05:00" if i % 2 else "") for i, t in enumerate(HALF_HOURS)]
    with pytest.raises(DataError, match="2 of 5 times carry a zone"):
        read(write(table(date=mixed)), timeframe="30m")


def test_dates_cannot_be_intraday_bars(write):
    with pytest.raises(DataError, match="need times of day"):
        read(write(table()), timeframe="5m")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"timezone": "Mars/Olympus"}, "zone"), ({"calendar": "NOWHERE"}, "calendar"), ({"timeframe": "2d"}, "timeframe")],
)
def test_unknown_settings_are_refused(write, options, complaint):
    stamped = table(date=[t.replace(day=4 + i) for i, t in enumerate(HALF_HOURS)])
    with pytest.raises(InputError, match=f"unknown.*{complaint}"):
        read(write(stamped), **options)


# --- what is wrong: the rows. They are excluded and marked, or left out and reported.


@pytest.mark.parametrize(
    ("column", "value", "mark"),
    [
        ("close", float("nan"), "excluded:missing-price"),
        ("high", float("inf"), "excluded:missing-price"),
        ("open", None, "excluded:missing-price"),
        ("low", 0.0, "excluded:non-positive"),
        ("close", -5.0, "excluded:non-positive"),
        ("high", 10.0, "excluded:range"),
        ("volume", -1, "excluded:negative-volume"),
        ("volume", 0, "zero-volume"),
    ],
)
@pytest.mark.parametrize("name", ["bars.csv", "bars.parquet"])
def test_a_bad_value_excludes_its_bar_only(write, column, value, mark, name):
    values = table()[column].to_list()
    values[2] = value
    bars, _, _ = read(write(table(**{column: values}), name))
    assert marks(bars) == ["", "", mark, "", ""]


def test_a_value_that_is_no_number_is_reported_and_its_bar_excluded(write):
    bars, _, notes = read(write(table(close=["10.5", "n.m.", "12.5", "13.5", "14.5"])))
    assert marks(bars)[1] == "excluded:missing-price"
    assert "1 values of 'close' are no numbers (first: 'n.m.')" in notes


def test_a_time_that_cannot_be_read_is_left_out_and_reported(write):
    rows = 300
    days = [(date(2015, 1, 5) + timedelta(days=i)).isoformat() for i in range(rows)]
    days[7] = "soon"
    price = [10.0] * rows
    frame = pl.DataFrame({"date": days, **dict.fromkeys(("open", "high", "low", "close"), price), "volume": price})
    bars, _, notes = read(write(frame))
    assert "1 rows have a time that cannot be read" in notes and "soon" in notes
    assert len(bars) > 200


def test_rows_on_a_holiday_are_left_out_and_reported(write):
    days = [date(2015, 12, 23), date(2015, 12, 24), date(2015, 12, 25), date(2015, 12, 28), date(2015, 12, 29)]
    bars, _, notes = read(write(table(date=days)))
    assert len(bars) == 4
    assert "1 rows lie outside" in notes and "2015, 12, 25" in notes.replace("-", ", ")


def test_unsorted_rows_are_sorted_and_reported(write):
    bars, _, notes = read(write(table().reverse()))
    assert bars["close"].to_list() == [10.5, 11.5, 12.5, 13.5, 14.5]
    assert "not in order" in notes


def test_copies_of_a_row_are_dropped_and_reported(write):
    bars, _, notes = read(write(pl.concat([table(), table()[1:3]])))
    assert len(bars) == 5 and set(marks(bars)) == {""}
    assert "2 rows were exact copies" in notes


def test_contradicting_rows_exclude_their_bar(write):
    clash = table()[1:2].with_columns(close=pl.lit(11.0))
    bars, _, notes = read(write(pl.concat([table(), clash])))
    assert marks(bars) == ["", "excluded:duplicate", "", "", ""]
    assert "1 bars occur with different values" in notes


def test_an_impossible_dividend_is_left_out_and_reported(write):
    _, actions, notes = read(write(table(dividend=[0, 0, 50, 0.1, 0])))
    assert actions["value"].to_list() == [0.1]
    assert "impossible split 1.0 or dividend 50.0" in notes


def test_three_bars_of_one_symbol_are_three_bars(write):
    bars, _, notes = read(write(table()[:3]))
    assert len(bars) == 3 and notes == ""


def test_constant_prices_are_delivered_as_they_are(write):
    flat = [10.0] * 5
    bars, actions, _ = read(write(table(open=flat, high=flat, low=flat, close=flat, adj_close=flat)))
    assert len(bars) == 5 and actions.is_empty()


def test_a_symbol_that_ends_early_ends_early(write):
    frame = pl.concat([table(), table(symbol=["BBB"] * 5)[:3]])
    bars, _, _ = read(write(frame))
    assert bars.group_by("symbol").len().sort("symbol").rows() == [("AAA", 5), ("BBB", 3)]


def test_rows_without_a_symbol_belong_to_nobody(write):
    bars, _, _ = read(write(table(symbol=["AAA", None, "AAA", "AAA", "AAA"])))
    assert len(bars) == 4
