"""A backup holds everything, proves itself, and never costs anything that is there."""

from __future__ import annotations

import os
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from store_kit import FIRST_CLOSE, RECORDED, source_actions, source_bars, store

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.store import home as home_module
from tradewind.market.store.backup import backup, restore, verify
from tradewind.market.store.home import Home
from tradewind.market.store.lake import Lake
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.records import Records


@pytest.fixture
def lived_in(tmp_path: Path) -> Home:
    """A home with corrections in the lake, records that were never checkpointed, and a run."""
    home = Home.open(tmp_path / "home")
    lake = Lake(home.lake / "test")
    store(lake, source_bars("AAPL", [1.0, 2.0]), source_actions([("AAPL", FIRST_CLOSE, "dividend", 0.1, "")]))
    store(lake, source_bars("AAPL", [1.0, 2.5, 3.0]), at=RECORDED + timedelta(days=1))
    records = Records(home.records_url)
    records.record_trial("a", "1", run="r", seen=RECORDED)
    (home.runs / "r").mkdir()
    (home.runs / "r" / "report.html").write_text("<p>…</p>")
    (home.cache / "big").write_text("can be computed again")
    records.close()
    return home


def test_a_round_trip_loses_nothing(lived_in: Home, tmp_path: Path) -> None:
    lake = Lake(lived_in.lake / "test")
    pin = lake.pin()
    archive = backup(lived_in.root, tmp_path / "backup.tar")
    restore(archive.path, tmp_path / "second")
    back = Home(tmp_path / "second")
    assert Lake(back.lake / "test").read_bars(None, "1d").equals(lake.read_bars(None, "1d"))
    assert Lake(back.lake / "test").read_bars(None, "1d", pin=pin).equals(lake.read_bars(None, "1d", pin=pin))
    assert Lake(back.lake / "test").table_versions("bars").height == lake.table_versions("bars").height
    assert Lake(back.lake / "test").read_actions().equals(lake.read_actions())
    assert Lake(back.lake / "test").check() == []
    records = Records(back.records_url)
    assert [t.trial_key for t in records.trials("a")] == ["1"]
    records.close()
    assert (back.runs / "r" / "report.html").read_text() == "<p>…</p>"
    assert not (back.cache / "big").exists()
    assert not list(back.root.rglob("writer.lock"))
    assert archive.to_dict()["files"] == archive.files > 8
    assert "MiB" in archive.to_text()


@pytest.mark.parametrize("in_use", [False, True], ids=["closed", "records open and not merged"])
def test_two_archives_of_an_untouched_home_are_the_same_bytes(lived_in: Home, tmp_path: Path, in_use: bool) -> None:
    records = Records(lived_in.records_url)
    records.record_trial("a", "2", run="r", seen=RECORDED)
    if not in_use:
        records.close()
    for path in lived_in.root.rglob("*"):
        os.utime(path, (1_000_000_000.5, 1_000_000_000.5))
    first, second = (backup(lived_in.root, tmp_path / name) for name in ("first.tar", "second.tar"))
    assert first.digest == second.digest
    assert first.path.read_bytes() == second.path.read_bytes()
    with tarfile.open(first.path) as tar:
        assert {entry.mtime for entry in tar if entry.name != "manifest.json"} == {1_000_000_000}
    records.close()


def test_a_restored_home_goes_on(lived_in: Home, tmp_path: Path) -> None:
    restore(backup(lived_in.root, tmp_path / "backup.tar").path, tmp_path / "second")
    lake = Lake(tmp_path / "second" / "lake" / "test")
    store(lake, source_bars("MSFT", [9.0]), at=RECORDED + timedelta(days=2))
    assert set(lake.read_bars(None, "1d")["symbol"]) == {"AAPL", "MSFT"}


def test_records_in_use_are_copied_as_of_one_moment(lived_in: Home, tmp_path: Path) -> None:
    records = Records(lived_in.records_url)
    records.record_trial("a", "2", run="r", seen=RECORDED)
    archive = backup(lived_in.root, tmp_path / "backup.tar")
    records.record_trial("a", "3", run="r", seen=RECORDED)
    records.close()
    restore(archive.path, tmp_path / "second")
    restored = Records(Home(tmp_path / "second").records_url)
    assert [t.trial_key for t in restored.trials("a")] == ["1", "2"]
    restored.close()


def test_a_backup_never_overwrites_one(lived_in: Home, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_text("older")
    with pytest.raises(InputError, match="exists already"):
        backup(lived_in.root, file)
    assert file.read_text() == "older"


def test_a_backup_waits_for_writers(lived_in: Home, tmp_path: Path) -> None:
    with (
        writer_lock(lived_in.lake / "test" / "writer.lock", patience_seconds=0),
        pytest.raises(RetryError, match="another process is writing"),
    ):
        backup(lived_in.root, tmp_path / "backup.tar", patience_seconds=0)
    assert list(tmp_path.glob("backup*")) == []


def test_a_home_with_something_in_it_is_not_overwritten(lived_in: Home, tmp_path: Path) -> None:
    archive = backup(lived_in.root, tmp_path / "backup.tar")
    with pytest.raises(InputError, match="not empty"):
        restore(archive.path, lived_in.root)


def test_replacing_a_home_moves_it_aside(lived_in: Home, tmp_path: Path) -> None:
    archive = backup(lived_in.root, tmp_path / "backup.tar")
    for count in (1, 2):
        (lived_in.root / "newer").write_text(str(count))
        restore(archive.path, lived_in.root, replace=True)
        assert not (lived_in.root / "newer").exists()
    assert (tmp_path / "home.before-restore" / "newer").read_text() == "1"
    assert (tmp_path / "home.before-restore-2" / "newer").read_text() == "2"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "backup.tar",
        "home",
        "home.before-restore",
        "home.before-restore-2",
    ]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_backup_cut_short_is_refused_and_the_home_untouched(lived_in: Home, tmp_path: Path, share: float) -> None:
    archive = backup(lived_in.root, tmp_path / "backup.tar")
    content = archive.path.read_bytes()
    archive.path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="no backup, or damaged"):
        restore(archive.path, lived_in.root, replace=True)
    assert Lake(lived_in.lake / "test").read_bars(None, "1d").height == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backup.tar", "home"]


def test_one_altered_byte_is_found(lived_in: Home, tmp_path: Path) -> None:
    archive = backup(lived_in.root, tmp_path / "backup.tar")
    content = archive.path.read_bytes()
    archive.path.write_bytes(content.replace(b"<p>", b"<q>"))
    with pytest.raises(DataError, match=r"report\.html differs"):
        verify(archive.path)


def test_a_tar_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "evil", arcname="home/../../evil")
    with pytest.raises(DataError, match="outside of the home"):
        restore(tmp_path / "other.tar", tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_backup_that_is_not_there_is_a_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such backup"):
        restore(tmp_path / "none.tar", tmp_path / "target")
    with pytest.raises(InputError, match="nothing to back up"):
        backup(tmp_path / "none", tmp_path / "backup.tar")


def test_the_home_is_where_the_variable_says(tmp_path: Path) -> None:
    assert Home.locate({"TRADEWIND_HOME": str(tmp_path / "x")}).root == tmp_path / "x"
    assert Home.locate({}, folder=tmp_path).root == tmp_path / ".tradewind"
    assert Home.locate({"TRADEWIND_HOME": "  "}, folder=tmp_path).root == tmp_path / ".tradewind"


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Home.open(tmp_path / "home")


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(home_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match="cannot write"):
        Home.open(tmp_path / "home")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write"):
        Home.open(tmp_path / "home")
    tmp_path.chmod(0o700)


def test_a_disk_without_room_is_told_before_work_begins(tmp_path: Path) -> None:
    with pytest.raises(RetryError, match="MiB are needed"):
        Home.open(tmp_path / "home", free_mib=10**9)
