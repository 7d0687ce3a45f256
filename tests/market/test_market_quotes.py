"""Quotes from files: LEAN's minute bars and a user's own table, and what is wrong with either."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.errors import DataError, InputError
from tradewind.market.quotes import FIELDS, Quotes, read_lean_minutes, read_quotes

LEAN = Path(__file__).parents[2] / "../shared/data/intraday/lean_minute_spy"
ROWS = """time,symbol,bid,ask,bid_size,ask_size
2020-01-02 14:31:00,A,99.99,100.01,300,200
2020-01-02 14:31:00,B,49.98,50.02,,100
2020-01-02 14:32:00,A,100.03,100.01,500,400
2020-01-02 14:33:00,A,100.00,,0,400
2020-01-02 02:00:00,A,1,2,3,4
"""


def write(folder: Path, text: str = ROWS) -> Path:
    path = folder / "quotes.csv"
    path.write_text(text)
    return path


def test_a_table_of_closing_quotes_is_enough(tmp_path: Path) -> None:
    quotes = read_quotes(write(tmp_path))
    assert quotes.symbols == ("A", "B")
    assert quotes.times[0] == np.datetime64("2020-01-02T14:31")
    assert quotes.shape == (3, 2)  # the row at night is outside of every session
    assert quotes.fields["bid_close"][:, 0].tolist() == [99.99, 100.03, 100.0]
    assert quotes.fields["ask_open"][1, 0] == 100.01  # what stood at the close before
    assert np.isnan(quotes.fields["bid_open"][0]).all()
    assert quotes.fields["bid_high"][1, 0] == 100.03
    assert quotes.fields["bid_low"][1, 0] == 99.99


def test_what_is_missing_or_crossed_is_unknown_and_an_empty_level_is_empty(tmp_path: Path) -> None:
    quotes = read_quotes(write(tmp_path))
    half = quotes.half_spread("close")
    assert half[0, 0] == pytest.approx(1e-4)
    assert np.isnan(half[1, 0]), "bid above ask"
    assert np.isnan(half[2, 0]), "no ask"
    assert np.isnan(half[1, 1]), "no row"
    assert np.isnan(quotes.fields["bid_size"][0, 1])
    assert quotes.fields["bid_size"][2, 0] == 0.0


def test_csv_and_parquet_are_the_same_and_the_rows_may_come_in_any_order(tmp_path: Path) -> None:
    table = pl.read_csv(write(tmp_path), try_parse_dates=True)
    table.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "quotes.parquet")
    one, other = read_quotes(tmp_path / "quotes.csv"), read_quotes(tmp_path / "quotes.parquet")
    assert all(np.array_equal(one.fields[name], other.fields[name], equal_nan=True) for name in FIELDS)


def test_extremes_and_opens_are_read_where_there_are_some(tmp_path: Path) -> None:
    wide = pl.read_csv(write(tmp_path)).with_columns(bid_open=99.5, ask_high=101.5)
    wide.write_csv(tmp_path / "wide.csv")
    quotes = read_quotes(tmp_path / "wide.csv")
    assert quotes.fields["bid_open"][0, 0] == 99.5
    assert quotes.fields["ask_high"][0, 0] == 101.5


def test_a_table_that_is_none_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*nothing\.csv\n  → give the path"):
        read_quotes(tmp_path / "nothing.csv")
    (tmp_path / "quotes.xlsx").write_text("")
    with pytest.raises(InputError, match="neither CSV nor Parquet"):
        read_quotes(tmp_path / "quotes.xlsx")
    with pytest.raises(DataError, match="has no column bid_size, ask_size"):
        read_quotes(write(tmp_path, "time,symbol,bid,ask\n2020-01-02 14:31:00,A,1,2\n"))
    with pytest.raises(
        DataError, match=r"2 rows that share time and symbol, the first of A at 2020.*\n  → keep one quote"
    ):
        read_quotes(write(tmp_path, ROWS + "2020-01-02 14:31:00,A,1,2,3,4\n"))


def test_arrays_that_do_not_fit_are_refused() -> None:
    times = np.array(["2020-01-02T14:31", "2020-01-02T14:31"], dtype="datetime64[us]")
    fields = {name: np.ones((2, 1)) for name in FIELDS}
    with pytest.raises(DataError, match="not strictly increasing"):
        Quotes(times, ("A",), fields)
    with pytest.raises(DataError, match="quotes lack ask_size"):
        Quotes(times[:1], ("A",), {name: np.ones((1, 1)) for name in FIELDS[:-1]})
    with pytest.raises(DataError, match="expected"):
        Quotes(times[:1], ("A",), fields)


def lean_day(folder: Path, kind: str, rows: str, day: str = "20131004") -> None:
    with zipfile.ZipFile(folder / f"{day}_{kind}.zip", "w") as archive:
        archive.writestr(f"{day}_{kind}.csv", rows)


def test_lean_stamps_starts_in_new_york_and_writes_prices_times_ten_thousand(tmp_path: Path) -> None:
    lean_day(tmp_path, "trade", "34200000,1000000,1000200,999900,1000100,700\n14400000,1,1,1,1,5\n")
    quotes = "34200000,1,1,1,999900,300,1,1,1,1000100,200\n34260000,2,2,2,999800,100,2,2,2,1000000,50\n"
    lean_day(tmp_path, "quote", quotes)
    panel, given = read_lean_minutes(tmp_path, "SPY")
    assert panel.times.tolist() == given.times.tolist()
    assert panel.times[0] == np.datetime64("2013-10-04T13:31")  # 09:31 in New York, in summer
    assert panel.close[0, 0] == 100.01
    assert panel.volume[0, 0] == 700
    assert panel.mask[:, 0].tolist() == [True, False]  # nobody traded in the second minute
    assert given.fields["ask_close"][:, 0].tolist() == [100.01, 100.0]
    assert given.fields["bid_size"][:, 0].tolist() == [300, 100]


def test_a_folder_that_is_not_leans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no minute bars of LEAN"):
        read_lean_minutes(tmp_path, "SPY")
    lean_day(tmp_path, "trade", "34200000,1,1,1,1,1\n")
    with pytest.raises(DataError, match=r"trades of \['20131004'\] and quotes of \[\]"):
        read_lean_minutes(tmp_path, "SPY")
    lean_day(tmp_path, "quote", "34200000,1,1,1,1,1\n")
    with pytest.raises(DataError, match="6 columns"):
        read_lean_minutes(tmp_path, "SPY")
    (tmp_path / "20131004_quote.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is not a day of LEAN's minute bars"):
        read_lean_minutes(tmp_path, "SPY")


@pytest.mark.data
@pytest.mark.skipif(not LEAN.exists(), reason="the minute quotes are not beside the project")
def test_the_real_days_are_whole() -> None:
    panel, quotes = read_lean_minutes(LEAN, "SPY")
    assert panel.shape == quotes.shape == (780, 1)
    assert panel.mask.all()
    assert all(np.isfinite(values).all() for values in quotes.fields.values())
    ticks = np.rint((quotes.fields["ask_close"] - quotes.fields["bid_close"]) * 100)
    assert set(np.unique(ticks)) <= {0.0, 1.0, 2.0}
