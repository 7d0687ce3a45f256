"""A table of closes alone is used as what it is: marked, without a range, filled at the next close."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tradewind.errors import DataError
from tradewind.market.sources.base import Request
from tradewind.market.sources.files import FilesSource

ROWS = {"ticker": ["A"] * 3, "date": ["2016-01-04", "2016-01-05", "2016-01-06"], "close": [10.0, 11.0, 10.5]}
WHOLE = Request(("A",), "1d", datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 2, 1, tzinfo=UTC))


def delivered(folder: Path, table: dict[str, list[object]]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    path = folder / "closes.parquet"
    pl.DataFrame(table).write_parquet(path)
    delivery = next(iter(FilesSource(path=str(path)).fetch(WHOLE)))
    return delivery.bars, delivery.notes


def test_bars_stand_at_their_close_and_say_so(tmp_path: Path) -> None:
    bars, notes = delivered(tmp_path, dict(ROWS))
    assert bars["open"].to_list() == bars["high"].to_list() == bars["low"].to_list() == ROWS["close"]
    assert bars["volume"].null_count() == 3
    assert set(bars["marks"]) == {"close-only"}
    assert any("closes only" in note for note in notes)


def test_a_table_with_some_of_open_high_and_low_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column for high, low"):
        delivered(tmp_path, {**ROWS, "open": [10.0, 11.0, 10.5], "volume": [1, 1, 1]})
