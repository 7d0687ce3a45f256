"""An instrument keeps its id, whatever it is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from store_kit import RECORDED, lake_bars, source_bars

from tradewind.market.bars import UTC_TIME
from tradewind.market.instruments import Instruments
from tradewind.market.store.lake import Lake

RENAMED = datetime(2022, 6, 9, 20, tzinfo=UTC)
BEFORE, AFTER = RENAMED - timedelta(days=1), RENAMED + timedelta(days=1)


def dated(*rows: tuple[str, datetime]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={"symbol": pl.String, "time": UTC_TIME}, orient="row")


def test_ids_do_not_depend_on_the_order_of_learning() -> None:
    one, two = Instruments(), Instruments()
    one.learn(["B", "A"], source="x")
    two.learn(["A"], source="x")
    two.learn(["B", "A"], source="x")
    assert one.names == two.names


def test_a_renamed_instrument_has_one_id_and_two_names() -> None:
    known = Instruments()
    known.learn(["FB"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    assert known.id_of("FB", BEFORE) == known.id_of("META", AFTER) == "FB#1"
    assert known.symbol_of("FB#1", BEFORE) == "FB"
    assert known.symbol_of("FB#1", RENAMED) == "META"


def test_history_under_todays_symbol_belongs_to_the_same_instrument() -> None:
    known = Instruments()
    known.learn(["FB"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    rows = known.assign(dated(("META", BEFORE), ("META", AFTER), ("FB", BEFORE), ("FB", AFTER)))
    assert rows["instrument"].to_list() == ["FB#1"] * 4


def test_a_rename_learnt_after_both_were_stored_merges_them() -> None:
    known = Instruments()
    known.learn(["FB", "META"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    assert known.canonical("META#1") == "FB#1"
    assert known.aliases("FB#1") == ("FB#1", "META#1")
    assert known.assign(dated(("META", AFTER)))["instrument"].to_list() == ["FB#1"]


def test_a_rename_of_which_only_the_new_name_is_known_adds_the_old_one() -> None:
    known = Instruments()
    known.learn(["META"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    assert known.id_of("FB", BEFORE) == known.id_of("META", AFTER) == "META#1"
    assert known.symbol_of("META#1", BEFORE) == "FB"


def test_a_rename_told_twice_teaches_nothing_new() -> None:
    known = Instruments()
    known.learn(["FB"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    count = len(known.pending)
    known.rename("FB", "META", RENAMED, source="x")
    assert len(known.pending) == count


def test_a_symbol_used_again_is_another_instrument() -> None:
    known = Instruments()
    known.learn(["FB"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    again = RENAMED + timedelta(days=900)
    assert known.list_again("FB", again, source="x") == "FB#2"
    rows = known.assign(dated(("FB", BEFORE), ("FB", again), ("META", AFTER)))
    assert rows["instrument"].to_list() == ["FB#1", "FB#2", "FB#1"]
    assert known.id_of("FB", again) == "FB#2"


def test_an_unknown_symbol_has_no_id() -> None:
    assert Instruments().id_of("NONE", BEFORE) is None
    assert Instruments().symbol_of("NONE#1", BEFORE) is None


def test_what_was_learnt_survives_the_lake(lake: Lake) -> None:
    known = Instruments()
    known.learn(["FB", "META", "AAPL"], source="x")
    known.rename("FB", "META", RENAMED, source="x")
    lake.store_instruments(known, recorded_at=RECORDED)
    assert known.pending == []
    read = Lake(lake.root).instruments()
    assert sorted(read.names, key=str) == sorted(known.names, key=str)
    assert read.merges == known.merges


def test_bars_stored_before_a_rename_was_learnt_are_joined_afterwards(lake: Lake) -> None:
    known = Instruments()
    known.learn(["FB", "META"], source="x")
    lake.store_instruments(known, recorded_at=RECORDED)
    apart = pl.concat(
        [source_bars("FB", [1.0, 2.0], first=BEFORE - timedelta(days=1)), source_bars("META", [3.0], AFTER)]
    )
    lake.append(lake_bars(apart), recorded_at=RECORDED)
    pin = lake.pin()
    known.rename("FB", "META", RENAMED, source="x")
    lake.store_instruments(known, recorded_at=RECORDED + timedelta(days=1))
    joined = lake.read_bars(["META"], "1d")
    assert joined["close"].to_list() == [1.0, 2.0, 3.0]
    assert set(joined["instrument"]) == {"FB#1"}
    assert lake.read_bars(["META"], "1d", pin=pin)["close"].to_list() == [3.0]


def test_an_empty_lake_knows_nobody(tmp_path: Path) -> None:
    assert Lake(tmp_path).instruments() == Instruments()
