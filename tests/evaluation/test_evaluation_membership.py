"""A plan that follows an index trades its members as they were known, and a run can prove what it saw of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from spine_kit import PLAYBOOK, instant, system
from tradewind.cli.main import app
from tradewind.clock import FixedClock
from tradewind.errors import DataError, RetryError
from tradewind.evaluation.backtest import backtest, save
from tradewind.evaluation.data import load, load_or_sync, synchronise
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.reproduce import reproduce
from tradewind.evaluation.workspace import Workspace
from tradewind.market.indexes.base import INDEXES, Listing, listing
from tradewind.playbook import load as load_playbook

DECEMBER, MARCH = (datetime(2014, 12, 1, 15, tzinfo=UTC), datetime(2015, 3, 2, 15, tzinfo=UTC))


class Trio:
    """An index of three of the four invented stocks, as the test says."""

    name: ClassVar[str] = "trio"
    fewest: ClassVar[int] = 3
    most: ClassVar[int] = 3
    says: ClassVar[Any] = ()

    def __init__(self, **_options: object) -> None:
        pass

    def members(self) -> Listing:
        if isinstance(self.says, Exception):
            raise self.says
        return listing(self.says, stated_on=None, provider="the test")


@pytest.fixture(autouse=True)
def trio() -> Iterator[type[Trio]]:
    INDEXES.register(Trio)
    Trio.says = ("AAA", "BBB", "CCC")
    yield Trio
    INDEXES.forget("trio")


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    text = PLAYBOOK.replace("[data]", '[data]\nend = "2015-09-01"')
    return system(tmp_path, playbook=text + '\n[universe]\nindex = "trio"\n')


def at(playbook: Path, moment: datetime, **overrides: object) -> Workspace:
    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    return Workspace(Plan.of(load_playbook(playbook, overrides=flags)), playbook.parent / "home", FixedClock(moment))


@pytest.fixture
def followed(playbook: Path, trio: type[Trio]) -> Path:
    """A playbook whose index was read twice: CCC left and DDD came."""
    synchronise(at(playbook, DECEMBER))
    trio.says = ("AAA", "BBB", "DDD")
    synchronise(at(playbook, MARCH))
    return playbook


def member(panel: Any, symbol: str, day: str) -> bool:
    row = int(np.flatnonzero(panel.times.astype("datetime64[D]") == np.datetime64(day))[0])
    return bool(panel.member[row, panel.symbols.index(symbol)])


def test_members_are_traded_as_they_were_known(followed: Path) -> None:
    panel = load(at(followed, instant("2015-09-01T00:00:00+00:00"))).panel
    assert panel.symbols == ("AAA", "BBB", "CCC", "DDD")
    days = ("2014-11-28", "2014-12-01", "2015-02-27", "2015-03-02")
    assert [member(panel, "CCC", day) for day in days] == [True, True, True, False]
    assert [member(panel, "DDD", day) for day in days] == [False, False, False, True]


def test_before_the_first_reading_the_list_is_hindsight_and_said_to_be(followed: Path) -> None:
    loaded = load(at(followed, MARCH))
    assert "selection" in loaded.panel.flags
    assert any(note.startswith("WARNING: who was in trio before 2014-12-01") for note in loaded.notes)
    later = load(at(followed, MARCH, data__start="2014-12-02"))
    assert "selection" not in later.panel.flags
    assert not any(note.startswith("WARNING") for note in later.notes)


def test_a_membership_table_speaks_for_the_time_before(followed: Path) -> None:
    table = followed.parent / "members.csv"
    table.write_text("symbol,start,end\nDDD,2014-02-03,2014-06-02\nAAA,2014-01-02,\n")
    loaded = load(at(followed, MARCH, universe__membership_path=str(table)))
    panel = loaded.panel
    assert [member(panel, "DDD", day) for day in ("2014-01-31", "2014-02-03", "2014-06-02")] == [False, True, False]
    assert [member(panel, "CCC", day) for day in ("2014-02-03", "2014-12-01")] == [False, True]
    assert "selection" not in panel.flags


def test_symbols_that_are_named_narrow_the_index(followed: Path) -> None:
    panel = load(at(followed, MARCH, universe__symbols=["CCC", "AAA"])).panel
    assert panel.symbols == ("CCC", "AAA")
    assert not member(panel, "CCC", "2015-03-02")


def test_a_list_that_grew_old_is_mentioned(followed: Path) -> None:
    assert any(
        "days old at the last bar" in note for note in load(at(followed, datetime(2015, 9, 1, tzinfo=UTC))).notes
    )


def test_what_cannot_be_read_leaves_the_earlier_list_in_force(followed: Path, trio: type[Trio]) -> None:
    trio.says = RetryError("no answer")
    report = synchronise(at(followed, datetime(2015, 5, 4, tzinfo=UTC)))
    assert report.members is not None
    assert "not refreshed: no answer" in report.members.to_text()
    trio.says = ("AAA",)
    report = synchronise(at(followed, datetime(2015, 5, 4, tzinfo=UTC)))
    assert "lists 1 members" in report.to_text()


def test_an_index_that_was_never_read_is_read_before_a_first_back_test_or_named(
    playbook: Path, trio: type[Trio]
) -> None:
    with pytest.raises(DataError, match="the members of trio were never read"):
        load(at(playbook, MARCH))
    trio.says = RetryError("no answer")
    with pytest.raises(RetryError, match="the members of trio are not known: no answer"):
        load_or_sync(at(playbook, MARCH))
    trio.says = ("AAA", "BBB", "CCC")
    assert load_or_sync(at(playbook, MARCH)).panel.symbols == ("AAA", "BBB", "CCC")


def test_a_run_comes_out_again_after_the_index_was_read_anew(followed: Path, trio: type[Trio]) -> None:
    now = datetime(2015, 9, 1, tzinfo=UTC)
    first = at(followed, now)
    folder = save(backtest(first), first)
    assert json.loads((folder / "manifest.json").read_text())["pin"]["universe"]["index"] == "trio"
    trio.says = ("BBB", "CCC", "DDD")
    synchronise(at(followed, now))
    assert load(at(followed, now)).pin.universe != load(at(followed, now), pin=pinned(folder)).pin.universe
    answer = reproduce(first.home, folder)
    assert (answer["equal"], answer["changed"]) == (True, [])


def test_a_run_says_where_its_membership_table_is_another_by_now(playbook: Path) -> None:
    table = playbook.parent / "members.csv"
    table.write_text("symbol,start,end\nAAA,2014-01-02,\nBBB,2014-01-02,\nCCC,2014-01-02,\n")
    used = at(playbook, datetime(2015, 9, 1, tzinfo=UTC), universe__index="", universe__membership_path=str(table))
    folder = save(backtest(used), used)
    table.write_text("ticker,from,to\nBBB,2014-01-02,\nCCC,2014-01-02,\nAAA,2014-01-02,\n")
    assert reproduce(used.home, folder)["changed"] == []
    table.write_text("symbol,start,end\nAAA,2014-01-02,2015-03-02\nBBB,2014-01-02,\nCCC,2014-01-02,\n")
    answer = reproduce(used.home, folder)
    assert not answer["equal"]
    assert "membership" in answer["changed"]


def test_the_verb_says_who_came_and_went(followed: Path, trio: type[Trio], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(followed.parent / "home"))
    trio.says = ("AAA", "BBB", "CCC")
    result = CliRunner().invoke(app, ["sync", str(followed), "--dry-run"], catch_exceptions=False)
    assert "trio: 3 members as of" in result.stdout and "joined CCC; left DDD" in result.stdout
    result = CliRunner().invoke(app, ["sync", str(followed), "--json"], catch_exceptions=False)
    members = json.loads(result.stdout)["members"]
    assert (members["joined"], members["left"], members["snapshots"]) == (["CCC"], ["DDD"], 3)


def pinned(folder: Path) -> Any:
    from tradewind.evaluation.membership import DataPin

    return DataPin.from_dict(json.loads((folder / "manifest.json").read_text())["pin"])


def test_a_pin_comes_back_whole_and_one_of_an_older_version_too(followed: Path) -> None:
    from tradewind.evaluation.membership import DataPin

    pin = load(at(followed, MARCH)).pin
    assert DataPin.from_dict(json.loads(json.dumps(pin.to_dict()))) == pin
    older = {k: v for k, v in pin.to_dict().items() if k != "universe"}
    assert DataPin.from_dict(older) == replace(pin, universe=None)
