"""Bad tables get a clear answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from audit_kit import ahead, returns_of, table_of, walk

from tradewind.audit import audit_frame
from tradewind.audit.tables import load
from tradewind.errors import DataError, InputError

PRICE = walk(np.random.default_rng(1), 120)
TABLE = table_of(PRICE, {"x": np.random.default_rng(2).normal(size=120)})


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to look for"):
        audit_frame(TABLE, time="date")


def test_a_misspelt_column_gets_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'date'"):
        audit_frame(TABLE, time="data", price="close")


def test_a_price_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(InputError, match="unknown column 'Close'") as caught:
        audit_frame(TABLE, time="date", price="Close")
    assert "close" in caught.value.hint


def test_repeated_times_name_the_first_and_the_column_that_tells_them_apart() -> None:
    two = pl.concat([TABLE.with_columns(who=pl.lit(w)) for w in ("A", "B")])
    with pytest.raises(DataError, match=r"first 2010-01-01(.|\n)*'who'"):
        audit_frame(two, time="date", price="close")
    assert audit_frame(two, time="date", price="close", symbol="who").symbols == 2


def test_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="only 20 values; 60 are needed"):
        audit_frame(TABLE.head(20), time="date", price="close")


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        audit_frame(TABLE.head(0), time="date", price="close")


def test_a_constant_price_is_refused() -> None:
    with pytest.raises(DataError, match=r"constant|never moves"):
        audit_frame(TABLE.with_columns(close=pl.lit(5.0)), time="date", price="close")


def test_a_price_below_zero_is_refused_with_its_time() -> None:
    bad = TABLE.with_columns(close=pl.Series(np.where(np.arange(120) == 7, -1.0, PRICE)))
    with pytest.raises(DataError, match="2010-01-08"):
        audit_frame(bad, time="date", price="close")


def test_rows_without_a_price_are_left_out_and_counted() -> None:
    holes = TABLE.with_columns(close=pl.Series(np.where(np.arange(120) % 40 == 7, np.inf, PRICE)))
    assert any(n.startswith("3 rows without a price") for n in audit_frame(holes, time="date", price="close").notices)


def test_what_is_not_examined_is_said_with_the_reason() -> None:
    odd = TABLE.with_columns(
        still=pl.lit(3.0),
        nothing=pl.lit(None, dtype=pl.Float64),
        few=pl.Series([1.0, 2.0] * 10 + [None] * 100, dtype=pl.Float64),
        text=pl.Series([f"t{i}" for i in range(120)]),
        day=pl.col("date"),
        number_text=pl.Series([str(v) for v in np.arange(120) * 0.5]),
    )
    audit = audit_frame(odd, time="date", price="close")
    reasons = {s.column: s.reason for s in audit.skipped}
    assert reasons["still"] == "constant"
    assert reasons["nothing"] == "all missing"
    assert reasons["few"].startswith("only 20 values")
    assert reasons["text"] == "text with 120 different values"
    assert "Date" in reasons["day"]
    assert "number_text" in audit.examined


START = datetime(2020, 1, 1, tzinfo=UTC)
STAMPS = [START + timedelta(days=i) for i in range(120)]


@pytest.mark.parametrize(
    "times",
    [
        [s.date().isoformat() for s in STAMPS],
        [s.isoformat() for s in STAMPS],
        [s.strftime("%Y-%m-%d %H:%M:%S") for s in STAMPS],
        [s.strftime("%m/%d/%Y") for s in STAMPS],
        [s.strftime("%Y%m%d") for s in STAMPS],
        [int(s.strftime("%Y%m%d")) for s in STAMPS],
        [int(s.timestamp()) for s in STAMPS],
        [int(s.timestamp() * 1_000) for s in STAMPS],
        [int(s.timestamp() * 1_000_000) for s in STAMPS],
        [s.date() for s in STAMPS],
        STAMPS,
        [s.replace(tzinfo=None) for s in STAMPS],
    ],
)
def test_times_are_read_in_many_ways(times: list[object]) -> None:
    table = load(TABLE.with_columns(date=pl.Series(times)), time="date")
    assert table.times[0] == np.datetime64("2020-01-01")
    assert table.times[-1] == np.datetime64("2020-04-29")


@pytest.mark.parametrize(
    "times", [["yesterday"] * 120, ["01/02/2020"] * 120, [None] * 120, [float(i) for i in range(120)], list(range(120))]
)
def test_times_that_are_none_are_refused(times: list[object]) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(TABLE.with_columns(date=pl.Series(times)), time="date")


def test_files_are_read_and_strange_ones_refused(tmp_path: Path) -> None:
    guilty = TABLE.with_columns(tomorrow=pl.Series(ahead(returns_of(PRICE), 1)))
    guilty.write_csv(tmp_path / "a.csv")
    guilty.write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        audit = audit_frame(tmp_path / name, time="date", price="close")
        assert [leak.column for leak in audit.leaks] == ["tomorrow"]
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:200])
    with pytest.raises(DataError, match="cannot read"):
        audit_frame(tmp_path / "torn.parquet", time="date", price="close")
    with pytest.raises(InputError, match="no such file"):
        audit_frame(tmp_path / "b.csv", time="date", price="close")
    with pytest.raises(InputError, match="unknown kind"):
        audit_frame(tmp_path / "b.xls", time="date", price="close")


def test_dates_are_dates() -> None:
    assert isinstance(TABLE["date"][0], date)
