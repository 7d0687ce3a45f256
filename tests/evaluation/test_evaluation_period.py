"""A playbook whose period or universe grew gets the bars it asks for, or hears what to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from spine_kit import PLAYBOOK, system, workspace
from tradewind.errors import DataError
from tradewind.evaluation.data import Loaded, lacking, load, load_or_sync, synchronise
from tradewind.evaluation.membership import DataPin
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.runs import playbook_of, playbook_record
from tradewind.market.sources.files import FilesSource


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    return system(tmp_path)


def days(loaded: Loaded) -> tuple[str, str]:
    return str(loaded.panel.times[0])[:10], str(loaded.panel.times[-1])[:10]


def test_a_period_that_grew_at_either_end_is_synced_again(playbook: Path) -> None:
    home = playbook.parent / "home"
    narrow = {"data__start": "2014-06-02", "data__end": "2014-12-31"}
    assert days(load_or_sync(workspace(playbook, home, **narrow))) == ("2014-06-02", "2014-12-31")
    earlier = {**narrow, "data__start": "2014-03-03"}
    assert days(load_or_sync(workspace(playbook, home, **earlier))) == ("2014-03-03", "2014-12-31")
    later = {**earlier, "data__end": "2015-02-27"}
    assert days(load_or_sync(workspace(playbook, home, **later))) == ("2014-03-03", "2015-02-27")
    assert days(load_or_sync(workspace(playbook, home))) == ("2014-01-02", "2015-09-01")


def test_a_period_within_what_was_synced_is_not_synced_again(playbook: Path) -> None:
    home = playbook.parent / "home"
    load_or_sync(workspace(playbook, home))
    for period in ({}, {"data__start": "2014-06-02"}, {"data__start": "2014-06-02", "data__end": "2014-12-31"}):
        used = workspace(playbook, home, **period)
        assert lacking(used) == ()
        load_or_sync(used)
        assert len(used.records.jobs("sync")) == 1


def test_files_that_changed_within_the_period_are_synced_again_and_the_correction_stands(playbook: Path) -> None:
    home, table = playbook.parent / "home", playbook.parent / "prices.csv"
    before = load_or_sync(workspace(playbook, home))
    lines = table.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("BBB,2014-06-02"))
    symbol, day, opened, high, low, close, volume = lines[at].split(",")
    lines[at] = ",".join((symbol, day, opened, high, low, str((float(close) + float(low)) / 2), volume))
    table.write_text("\n".join(lines) + "\n")
    after = load_or_sync(workspace(playbook, home))
    changed = np.argwhere(before.panel.close != after.panel.close)
    assert [(str(after.panel.times[t])[:10], after.panel.symbols[n]) for t, n in changed] == [("2014-06-02", "BBB")]
    assert load_or_sync(workspace(playbook, home), pin=before.pin).panel.close.tolist() == before.panel.close.tolist()
    assert len(workspace(playbook, home).records.jobs("sync")) == 2


def test_a_symbol_that_the_source_has_nothing_of_in_the_period_is_asked_for_once(playbook: Path) -> None:
    table = playbook.parent / "prices.csv"
    table.write_text(table.read_text() + "EEE,2010-01-04,10,11,9,10,1000000\n")
    used = workspace(playbook, playbook.parent / "home", data__start="2014-01-02", data__end="2015-09-01")
    assert lacking(used) == ("AAA", "BBB", "CCC", "DDD", "EEE")
    load_or_sync(used)
    assert lacking(used) == ()


def test_a_pinned_run_syncs_nothing(playbook: Path) -> None:
    home = playbook.parent / "home"
    narrow = workspace(playbook, home, data__start="2014-06-02")
    pin = load_or_sync(narrow).pin
    assert days(load_or_sync(workspace(playbook, home), pin=pin))[0] == "2014-06-02"


def test_a_source_that_needs_the_network_is_not_asked_without_a_word(
    playbook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = playbook.parent / "home"
    monkeypatch.setattr(FilesSource, "offline", False)
    narrow = workspace(playbook, home, data__start="2014-06-02")
    with pytest.raises(DataError, match="has a usable"):
        load_or_sync(narrow)
    synchronise(narrow)
    assert days(load_or_sync(narrow))[0] == "2014-06-02"
    with pytest.raises(DataError, match=r"4 symbols .* were synced over less than the playbook's period") as failure:
        load_or_sync(workspace(playbook, home))
    assert "tradewind sync" in failure.value.hint
    synchronise(workspace(playbook, home))
    assert days(load(workspace(playbook, home)))[0] == "2014-01-02"


@pytest.mark.parametrize("way", ["file", "flag"])
@pytest.mark.parametrize("quote", ["", '"'], ids=["bare", "quoted"])
def test_a_date_may_have_quotes_or_not_and_is_kept_with_its_run(tmp_path: Path, way: str, quote: str) -> None:
    said, flags = f"{quote}2014-06-02{quote}", {}
    text = PLAYBOOK.replace("context = {}", f"context = {{}}\nstart = {said}" if way == "file" else "context = {}")
    if way == "flag":
        flags = {"data__start": said}
    used = workspace(system(tmp_path, playbook=text), tmp_path / "home", **flags)
    assert used.plan.data.start == datetime(2014, 6, 2, tzinfo=UTC)
    kept = playbook_of(json.loads(json.dumps(playbook_record(used.plan.playbook))))
    assert Plan.of(kept).data.start == used.plan.data.start
    assert kept.content_hash == used.plan.playbook.content_hash
    plain = workspace(system(tmp_path, playbook=PLAYBOOK), tmp_path / "home", data__start="2014-06-02")
    assert plain.plan.playbook.content_hash == kept.content_hash, "one trial, however it is written"


def test_what_a_sync_said_is_repeated_by_every_load_until_another_sync_says_otherwise(playbook: Path) -> None:
    table = playbook.parent / "prices.csv"
    clean = table.read_text()
    rows = clean.splitlines()
    table.write_text("\n".join([*rows, rows[5], rows[6], "AAA,2014-01-04,10,11,9,10,1000000"]) + "\n")
    home = playbook.parent / "home"
    first, second = (load_or_sync(workspace(playbook, home)) for _ in range(2))
    assert first.notes == second.notes
    assert any("2 rows were exact copies" in note for note in first.notes)
    assert any("1 rows lie outside of the exchange's sessions" in note for note in first.notes)
    table.write_text(clean)
    synchronise(workspace(playbook, home))
    assert not any("exact copies" in note for note in load(workspace(playbook, home)).notes)
    stored = DataPin.from_dict(json.loads(json.dumps(first.pin.to_dict())))
    assert load(workspace(playbook, home), pin=stored).notes == first.notes, "a reproduction says what was said"
    earlier = datetime(2015, 6, 1, tzinfo=UTC)
    assert not any("exact copies" in note for note in load(workspace(playbook, home), as_of=earlier).notes)
