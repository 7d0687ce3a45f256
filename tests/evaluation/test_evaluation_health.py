"""`doctor` finds what is broken, says where, and changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from spine_kit import QuickRun
from tradewind.evaluation import health, runs
from tradewind.evaluation.health import examine


def bad(home: Path) -> dict[str, str]:
    return {row["check"]: row["detail"] for row in examine(home) if not row["ok"]}


def test_a_home_that_was_used_is_well(quick: QuickRun) -> None:
    checks = examine(quick.home)
    assert [row["check"] for row in checks] == ["versions", "home", "disk", "records", "lakes"]
    assert bad(quick.home) == {}
    assert all(row["detail"] for row in checks)


def test_a_home_that_does_not_exist_yet_is_well_and_is_not_made(tmp_path: Path) -> None:
    assert bad(tmp_path / "new" / "home") == {}
    assert not (tmp_path / "new").exists()


def test_a_home_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert "is not a folder" in bad(tmp_path / "home")["home"]


def bars_files(home: Path) -> list[Path]:
    return sorted((home / "lake").glob("*/bars/**/*.parquet"))


@pytest.mark.parametrize("damage", ["noise", "half", "gone"])
def test_a_broken_file_of_the_lake_is_named(home: Path, damage: str) -> None:
    victim = bars_files(home)[0]
    whole = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(whole[: len(whole) // 2] if damage == "half" else b"noise" + whole[5:-5] + b"noise")
    found = bad(home)
    assert list(found) == ["lakes"]
    assert victim.name in found["lakes"]


def test_a_broken_log_of_the_lake_is_found(home: Path) -> None:
    log = next((home / "lake").glob("*/bars/_delta_log/*0.json"))
    log.write_text("{")
    assert list(bad(home)) == ["lakes"]


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to have a header" * 100, None])
def test_a_broken_database_is_found(home: Path, content: bytes | None) -> None:
    path = home / "records.sqlite"
    for leftover in home.glob("records.sqlite-*"):
        leftover.unlink()
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(content or whole[:middle] + b"\xff" * 4096 + whole[middle + 4096 :])
    assert list(bad(home)) == ["records"]


def test_a_database_of_a_newer_version_is_found(home: Path) -> None:
    with closing(sqlite3.connect(home / "records.sqlite")) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
        connection.commit()
    assert "newer Tradewind" in bad(home)["records"]


def test_a_missing_package_and_a_full_disk_are_found(quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PACKAGES", (*runs.PACKAGES, "no-such-package"))
    monkeypatch.setattr(health, "LEAST_FREE_BYTES", 1 << 60)
    found = bad(quick.home)
    assert "no-such-package" in found["versions"] and "make install" in found["versions"]
    assert "GB free" in found["disk"]
