"""Borrowing stock: what is known of it at a time, what is assumed, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tradewind.errors import DataError, InputError
from tradewind.portfolio.borrow import BorrowSection, extra_cost, read_statements, terms

TIMES = np.datetime64("2020-01-01T21:00", "us") + np.arange(6) * np.timedelta64(1, "D")
SYMBOLS = ("AAA", "BBB", "CCC")


def statements(folder: Path, text: str) -> str:
    path = folder / "borrow.csv"
    path.write_text(text)
    return str(path)


SAID = (
    "symbol,time,available,bps\nAAA,2020-01-02T12:00:00,true,35\nAAA,2020-01-05T09:00:00,false,\nBBB,2020-01-03,true,\n"
)


def test_without_a_file_all_are_assumed_available_and_the_result_says_so() -> None:
    made = terms(BorrowSection(), TIMES, SYMBOLS)
    assert made.available.all() and made.assumed.all()
    assert (made.bps == 20).all()
    assert made.notes[0].startswith("assumed_borrow: nobody has said")


def test_a_statement_holds_from_its_time_to_the_next_and_what_is_unknown_cannot_be_borrowed(tmp_path: Path) -> None:
    made = terms(BorrowSection(availability_path=statements(tmp_path, SAID)), TIMES, SYMBOLS)
    assert made.available[:, 0].tolist() == [False, True, True, True, False, False]
    assert made.available[:, 1].tolist() == [False, False, False, True, True, True]
    assert not made.available[:, 2].any()
    assert made.bps[:, 0].tolist() == [20, 35, 35, 35, 20, 20]
    assert made.notes == ()


def test_a_date_is_known_after_its_day(tmp_path: Path) -> None:
    read = read_statements(Path(statements(tmp_path, SAID)))
    assert str(read.filter(symbol="BBB")["time"][0]) == "2020-01-03 23:59:59.999999"


def test_a_prefix_of_the_times_gives_a_prefix_of_the_terms(tmp_path: Path) -> None:
    settings = BorrowSection(availability_path=statements(tmp_path, SAID))
    whole = terms(settings, TIMES, SYMBOLS)
    for bars in range(1, 6):
        part = terms(settings, TIMES[:bars], SYMBOLS)
        np.testing.assert_array_equal(part.available, whole.available[:bars])
        np.testing.assert_array_equal(part.bps, whole.bps[:bars])


def test_the_unknown_may_be_taken_either_way(tmp_path: Path) -> None:
    path = statements(tmp_path, SAID)
    kind = terms(BorrowSection(availability_path=path, unknown="available"), TIMES, SYMBOLS)
    assert kind.available[0].all() and not kind.available[5, 0]
    assert "on 56% of the bars" in kind.notes[0]
    assert not terms(BorrowSection(unknown="unavailable"), TIMES, SYMBOLS).available.any()


def test_hard_to_borrow_names_cost_more_and_unavailable_ones_are_never_lent() -> None:
    settings = BorrowSection(hard_to_borrow_bps={"BBB": 900.0}, unavailable=("CCC",))
    made = terms(settings, TIMES, SYMBOLS)
    assert made.bps[0].tolist() == [20, 900, 20]
    assert made.available[0].tolist() == [True, True, False]


def test_parquet_and_zones_are_read_alike(tmp_path: Path) -> None:
    csv = read_statements(Path(statements(tmp_path, SAID)))
    zoned = csv.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"))
    zoned.write_parquet(tmp_path / "borrow.parquet")
    assert read_statements(tmp_path / "borrow.parquet").equals(csv)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("symbol,available\nAAA,true\n", "lacks the columns"),
        ("symbol,time,available\nAAA,2020-01-02,maybe\n", "1 rows that say nothing"),
        ("symbol,time,available\nAAA,,true\nAAA,2020-01-02,true\n", "1 rows that say nothing"),
        ("symbol,time,available,bps\nAAA,2020-01-02,true,-5\n", "1 rows that say nothing"),
        ("symbol,time,available,bps\nAAA,2020-01-02,true,dear\n", "cannot be read"),
        ("symbol,time,available\nAAA,soon,true\n", "1 rows that say nothing"),
        ("symbol,time,available\nAAA,7,true\n", "1 rows that say nothing"),
    ],
)
def test_a_file_that_says_nothing_sensible_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_statements(Path(statements(tmp_path, text)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no availability file"):
        terms(BorrowSection(availability_path=str(tmp_path / "none.csv")), TIMES, SYMBOLS)


def test_costs_beyond_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="basis points a year"):
        BorrowSection(hard_to_borrow_bps={"AAA": -1.0})


def test_the_extra_cost_of_a_year_is_the_difference_of_the_rates() -> None:
    times = np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[us]")
    shares, close = np.array([[-10.0, 5.0], [-10.0, 5.0]]), np.array([[100.0, 50.0], [120.0, np.nan]])
    cost = extra_cost(shares, close, times, np.array([[520.0, 9000.0]] * 2), 20.0)
    assert cost == pytest.approx([0.0, 1000 * 0.05 * 366 / 365])
    with pytest.raises(InputError, match="differ in shape"):
        extra_cost(shares, close[:1], times, shares, 20.0)


def test_numbers_are_no_times(tmp_path: Path) -> None:
    pl.DataFrame({"symbol": ["AAA"], "time": [7], "available": [True]}).write_parquet(tmp_path / "borrow.parquet")
    with pytest.raises(DataError, match="times are of type"):
        read_statements(tmp_path / "borrow.parquet")
