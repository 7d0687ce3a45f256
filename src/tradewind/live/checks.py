"""What a running corridor depends on, asked one by one: records that can be written, models whose files match.

Each check says whether all is well and, in a line, what it saw. They read disks, so call them from a thread.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from tradewind.clock import SystemClock
from tradewind.errors import TradewindError
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, current
from tradewind.execution.controls import Controls
from tradewind.live.session import stops
from tradewind.market.store import schema
from tradewind.market.store.backup import verify
from tradewind.market.store.home import records_url
from tradewind.market.store.lake import Lake
from tradewind.market.store.records import AliasChange, Records
from tradewind.models import artefact as artefacts

MEMORY_PERCENT_MAX: Final = 95.0
CGROUP_MEMORY: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found. ``ok`` is None where there is nothing to be asked."""

    name: str
    ok: bool | None
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON says it."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


def asked(name: str, check: Callable[[], tuple[bool | None, str]]) -> Check:
    """Return what a check found; one that fails has found that."""
    try:
        ok, detail = check()
    except TradewindError as failure:
        return Check(name, False, failure.what)
    except Exception as failure:  # noqa: BLE001 - a dependency may break in any way, which is what is asked
        return Check(name, False, f"{type(failure).__name__}: {failure}")
    return Check(name, ok, detail)


def records_writable(records: Records) -> tuple[bool, str]:
    """Write a row into the records and take it back: nobody sees it."""
    row = {"destination": "probe", "alert": -1, "status": "probe", "at": datetime.fromtimestamp(0, UTC)}
    try:
        with records.database.writing() as connection:
            connection.execute(sa.insert(schema.alert_deliveries).values(row))
            raise _TakenBack
    except _TakenBack:
        return True, f"{records.database.place.name}: written and taken back"


class _TakenBack(Exception):  # noqa: N818 - no error: the way to undo a transaction
    """Ends a transaction without keeping it."""


def lake_readable(folder: Path) -> tuple[bool | None, str]:
    """Look whether every file of the newest state of a lake is there."""
    if not folder.is_dir():
        return None, f"there is no {folder} yet"
    files = Lake(folder).table_files()
    missing = [path for path in files if not path.is_file()]
    if missing:
        return False, f"{len(missing)} of {len(files)} files are missing, such as {missing[0]}"
    return True, f"{len(files)} files"


class ModelFiles:
    """Compares the champions' files with their hashes; files that have not changed since are not read again."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._seen: dict[str, tuple[tuple[int, int], ...]] = {}

    def check(self) -> tuple[bool | None, str]:
        """Return whether every champion's files are what the records say."""
        champions = [one for one in self._registry.records.models() if one.id in self._champions()]
        if not champions:
            return None, "no champion yet"
        for one in champions:
            stamps = _stamps(self._registry.folder / one.id)
            if not stamps or self._seen.get(one.id) != stamps:
                artefacts.read(self._registry.folder / one.id, digest=one.digest)
                self._seen[one.id] = stamps
        return True, f"{len(champions)} champions, each with the files it was stored with"

    def _champions(self) -> set[str | None]:
        seats: dict[str, list[AliasChange]] = {}
        for change in self._registry.records.alias_changes():
            seats.setdefault(change.lineage, []).append(change)
        return {current(changes).get(CHAMPION) for changes in seats.values()}


def _stamps(folder: Path) -> tuple[tuple[int, int], ...]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((path.stat().st_size, path.stat().st_mtime_ns) for path in files)


@dataclass(frozen=True, slots=True)
class BackupState:
    """The newest backup that can be read, and how many newer ones cannot."""

    file: Path
    made: datetime
    unreadable: int = 0

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """Return it as JSON says it."""
        age = (now - self.made).total_seconds() / 3_600.0
        return {"file": self.file.name, "age_hours": round(age, 2), "unreadable": self.unreadable}


class Backups:
    """Looks for the newest backup in a folder and proves it once, by comparing every file in it with its hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verdicts: dict[tuple[str, int, int], bool] = {}

    def newest(self) -> BackupState | None:
        """Return the newest backup that can be read; None where there is none."""
        found = [(path.stat().st_mtime, path) for path in self.folder.glob("*.tar") if path.is_file()]
        for place, (changed, path) in enumerate(sorted(found, reverse=True)):
            if self._is_sound(path):
                return BackupState(path, datetime.fromtimestamp(changed, UTC), place)
        return None

    def check(self, now: datetime, oldest: timedelta) -> tuple[bool, str]:
        """Return whether the newest backup that can be read is young enough."""
        if not self.folder.is_dir():
            return False, f"there is no folder {self.folder}"
        newest = self.newest()
        if newest is None:
            return False, f"no backup in {self.folder} that can be read"
        age = now - newest.made
        said = f"{newest.file.name} of {newest.made:%Y-%m-%d %H:%M} UTC, read and compared"
        if newest.unreadable:
            return False, f"{said}; {newest.unreadable} newer ones cannot be read"
        return age <= oldest, said

    def _is_sound(self, path: Path) -> bool:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._verdicts:
            try:
                verify(path)
                self._verdicts[key] = True
            except (TradewindError, OSError):
                self._verdicts[key] = False
        return self._verdicts[key]


class Machine:
    """How busy the machine is, and this process on it."""

    def __init__(self, home: Path) -> None:
        import psutil

        self._home, self._psutil, self._process = home, psutil, psutil.Process()
        psutil.cpu_percent(interval=None)  # from here on it knows since when
        self._asked = 0

    def reading(self) -> dict[str, float | None]:
        """Return shares in percent and this process's memory in MB; the processor's since the reading before.

        Memory is the container's where it has a limit of its own.
        """
        self._asked += 1
        return {
            "cpu_percent": float(self._psutil.cpu_percent(interval=None)) if self._asked > 1 else None,
            "memory_percent": round(self.memory_percent(), 1),
            "disk_percent": round(disk_percent(self._home), 1),
            "rss_mb": round(self._process.memory_info().rss / 1e6, 1),
        }

    def memory_percent(self) -> float:
        """Return the used share of the memory."""
        of_container = container_memory_percent(CGROUP_MEMORY)
        return float(self._psutil.virtual_memory().percent) if of_container is None else of_container


def disk_percent(home: Path) -> float:
    """Return the used share of the disk that holds a home, as ``df`` says it: of what users may use."""
    usage = shutil.disk_usage(_existing(home))
    return 100.0 * usage.used / (usage.used + usage.free)


def free_bytes(home: Path) -> int:
    """Return how many bytes are free on the disk that holds a home."""
    return shutil.disk_usage(_existing(home)).free


def _existing(home: Path) -> Path:
    return next(place for place in (home.absolute(), *home.absolute().parents) if place.exists())


def container_memory_percent(group: Path) -> float | None:
    """Return the used share of a control group's memory without what can be dropped; None where it has no limit."""
    try:
        limit = (group / "memory.max").read_text("ascii").strip()
        used = int((group / "memory.current").read_text("ascii"))
        statistics = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return 100.0 * max(used - int(statistics.get("inactive_file", 0)), 0) / int(limit)


class ClockSkew:
    """How far the clocks of sources are from ours, by what they say with each answer."""

    KEPT: Final = 21

    def __init__(self) -> None:
        self._heard: dict[str, list[float]] = {}

    def heard(self, source: str, said: datetime, now: datetime, *, exact: bool = True) -> None:
        """Take what a source says the time is; not ``exact``: a moment that has passed, so only the future counts."""
        seconds = (said - now).total_seconds()
        kept = self._heard.setdefault(source, [])
        kept.append(seconds if exact else max(seconds, 0.0))
        del kept[: -self.KEPT]

    def seconds(self) -> dict[str, float]:
        """Return each source's usual distance (the median of the newest); above zero: it is ahead of us."""
        heard = {source: sorted(kept) for source, kept in sorted(self._heard.items())}
        return {source: round(kept[len(kept) // 2], 3) for source, kept in heard.items()}

    def check(self, limit: float) -> tuple[bool | None, str]:
        """Return whether every source's clock is near ours."""
        found = self.seconds()
        if not found:
            return None, "no source has said the time"
        worst = max(found, key=lambda source: abs(found[source]))
        word = "ahead of" if found[worst] > 0 else "behind"
        return abs(found[worst]) <= limit, f"{worst} is {abs(found[worst]):.1f} s {word} this machine's clock"


def of_a_home(home: Path) -> list[dict[str, Any]]:
    """Return what `tradewind doctor` asks beyond versions and stores: memory, models, halts. Changes nothing."""
    found = [
        asked("memory", lambda: _memory_free(home)),
        asked("models", lambda: _of_the_records(home, "no records yet", partial(_champions, home))),
        asked("trading", lambda: _of_the_records(home, "nothing is halted", _trading)),
    ]
    return [{"check": one.name, "ok": one.ok is not False, "detail": one.detail} for one in found]


def _memory_free(home: Path) -> tuple[bool, str]:
    used = Machine(home).memory_percent()
    ok = used < MEMORY_PERCENT_MAX
    return ok, f"{'less' if ok else 'not less'} than {MEMORY_PERCENT_MAX:.0f} % used"


def _of_the_records(
    home: Path, nothing: str, look: Callable[[Records], tuple[bool | None, str]]
) -> tuple[bool | None, str]:
    """Look at the records of a home without changing their version."""
    url, path = records_url(home), home / "records.sqlite"
    if url.startswith("sqlite") and not path.is_file():
        return None, nothing
    read_only = sa.URL.create("sqlite", database=path.absolute().as_uri(), query={"mode": "ro", "uri": "true"})
    engine = sa.create_engine(read_only if url.startswith("sqlite") else url)
    try:
        with engine.connect() as connection:
            version = connection.exec_driver_sql("select version_num from alembic_version").scalar()
    finally:
        engine.dispose()
    if version != schema.VERSIONS[-1]:  # opening them would bring them up to date
        return None, "not looked at: the records are of an older version; any verb that trades or trains renews them"
    records = Records(url)
    try:
        return look(records)
    finally:
        records.close()


def _champions(home: Path, records: Records) -> tuple[bool | None, str]:
    return ModelFiles(ModelRegistry(home, records, SystemClock())).check()


def _trading(records: Records) -> tuple[bool | None, str]:
    """Say what is halted or stopped, and why; that is for a person to judge, and no fault of the home."""
    state = Controls(records).state()
    found = [f"halted since {state.since:%Y-%m-%d %H:%M} UTC: {'; '.join(state.reasons)}"] if state.halted else []
    found += [f"{one.why} (since the close of {one.since[:16]} UTC)" for one in stops(records)]
    if not found:
        return None, "nothing is halted"
    return None, f"{'; '.join(found)}. `tradewind release` lets it go on"
