"""One file that holds a whole home, as of one moment, proven readable; and the way back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.store.database import copy_sqlite
from tradewind.market.store.durable import flush_to_disk
from tradewind.market.store.failures import storage_failures
from tradewind.market.store.home import FOLDERS
from tradewind.market.store.lock import writer_lock

_FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_CHUNK: Final = 2**20
_SQLITE: Final = b"SQLite format 3\0"
_LOCK: Final = "writer.lock"
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Archive:
    """What a backup file holds: files, their bytes, and the hash of its manifest."""

    path: Path
    files: int
    size: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the archive as JSON-able values."""
        return {"file": str(self.path), "files": self.files, "bytes": self.size, "digest": self.digest}

    def to_text(self) -> str:
        """Return the archive for a reader."""
        return f"{self.path}: {self.files} files, {self.size / 2**20:.1f} MiB, every one compared with its hash"


def backup(home: Path, file: Path, *, patience_seconds: float = 60.0) -> Archive:
    """Write everything in ``home`` except ``cache/`` to one tar file, and read it back to prove it.

    A writer of the lake is waited for, up to ``patience_seconds``; others have to wait meanwhile. The records are
    copied first, so that they never speak of rows the archive lacks. A records database on a server is not in
    it: dump that with the server's own tool. Two archives of a home that nobody wrote to are the same, byte by byte.

    Raises
    ------
    InputError
        There is no home, ``file`` exists already, or its folder does not.
    RetryError
        The disk is full, another process writes to the lake, or a file changed while it was read.
    DataError
        What was written cannot be read back.
    """
    if not home.is_dir():
        raise InputError(f"nothing to back up: there is no {home}", hint="set TRADEWIND_HOME to the home meant")
    if file.exists():
        raise InputError(f"{file} exists already", hint="choose another name: a backup never overwrites one")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent}", hint="make it first, or choose another place")
    partial = file.with_name(file.name + ".partial")
    try:
        with storage_failures(file.parent):
            _write(home, partial, patience_seconds)
            archive = verify(partial)
            partial.rename(file)
            flush_to_disk(file.parent)
    finally:
        partial.unlink(missing_ok=True)
    return Archive(file, archive.files, archive.size, archive.digest)


def restore(file: Path, home: Path, *, replace: bool = False) -> Archive:
    """Bring back a home from a backup: all of it, or nothing.

    Parameters
    ----------
    file
        What :func:`backup` wrote.
    home
        Folder to restore into.
    replace
        Allow ``home`` to hold something; it is moved aside to ``NAME.before-restore``, never deleted.

    Raises
    ------
    InputError
        There is no such file, or ``home`` is not empty.
    DataError
        The file is no backup, or damaged; ``home`` is untouched then.
    """
    occupied = home.exists() and any(home.iterdir())
    if occupied and not replace:
        raise InputError(
            f"{home} is not empty",
            hint="restore into another folder (TRADEWIND_HOME), or move this one aside with --replace",
        )
    with storage_failures(home.parent):
        home.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f"{home.name}.restoring-", dir=home.parent))
        fresh.chmod(0o755)
    try:
        with storage_failures(home.parent):
            archive = _extract(file, fresh)
            _swap(fresh, home, occupied)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return archive


def verify(file: Path) -> Archive:
    """Read a backup and compare every file with the hash written beside it.

    Raises ``DataError`` that names the first file which is missing, damaged or not listed.
    """
    return _read(file, None)


def _write(home: Path, partial: Path, patience_seconds: float) -> None:
    hashes: dict[str, str] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=partial.parent, prefix=".backup-"))
        databases = [path for path in _files(home, partial) if _is_sqlite(path)]
        copies = {path: Path(folder) / f"{i}.sqlite" for i, path in enumerate(databases)}
        for path, copy in copies.items():
            copy_sqlite(path, copy)
        for lock in sorted(home.rglob(_LOCK)):
            stack.enter_context(writer_lock(lock, patience_seconds=patience_seconds))
        tar = stack.enter_context(tarfile.open(partial, "x:"))
        for path in _files(home, partial):
            name = path.relative_to(home).as_posix()
            hashes[name] = _add(tar, copies.get(path, path), name, _changed(path))
        _add_manifest(tar, hashes)
    flush_to_disk(partial)


def _files(home: Path, partial: Path) -> list[Path]:
    found = (path for path in sorted(home.rglob("*")) if path.is_file() and path != partial)
    return [path for path in found if not _left_out(path.relative_to(home))]


def _left_out(name: Path) -> bool:
    """Return whether a file can be computed again, belongs to a database in use, or is being written now."""
    passing = name.suffix == ".partial" or any(part.startswith(".backup-") for part in name.parts)
    return passing or name.parts[0] == "cache" or name.name == _LOCK or name.name.endswith(_SIDE_FILES)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE)) == _SQLITE


def _changed(path: Path) -> int:
    """Return when a file, or what SQLite has yet to merge into it, was written: the same as long as nobody writes."""
    log = path.with_name(f"{path.name}-wal")
    written = [path, log] if log.is_file() and log.stat().st_size else [path]
    return max(int(each.stat().st_mtime) for each in written)


def _add(tar: tarfile.TarFile, path: Path, name: str, changed: int) -> str:
    with path.open("rb") as stream:
        entry = tar.gettarinfo(arcname=f"home/{name}", fileobj=stream)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = changed
        reader = _Hashing(stream)
        try:
            tar.addfile(entry, reader)
        except OSError as failure:
            if "unexpected end of data" not in str(failure):
                raise
            raise RetryError(f"{path} changed while it was backed up", hint="run the backup again") from failure
    return reader.digest.hexdigest()


def _add_manifest(tar: tarfile.TarFile, hashes: dict[str, str]) -> None:
    content = json.dumps({"format": _FORMAT, "files": hashes}, indent=1, sort_keys=True).encode()
    entry = tarfile.TarInfo(_MANIFEST)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


class _Hashing(io.RawIOBase):
    """A stream that hashes what is read through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash."""
        data = self.stream.read(size)
        self.digest.update(data)
        return data


def _extract(file: Path, folder: Path) -> Archive:
    for name in FOLDERS:
        (folder / name).mkdir()
    return _read(file, folder)


def _read(file: Path, target: Path | None) -> Archive:
    """Go through a backup once; write its files below ``target`` where that is given."""
    seen: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    raw = b""
    size = 0
    with _opened(file) as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            if stream is None:
                raise _damaged(file, f"{entry.name} is not a plain file")
            if entry.name == _MANIFEST:
                raw = stream.read()
                manifest = json.loads(raw)
            else:
                name = _safe(file, entry.name)
                seen[name] = _copy(stream, None if target is None else target / name)
                size += entry.size
    if manifest is None:
        raise _damaged(file, "its manifest is missing: the file is cut short")
    _compare(file, manifest, seen)
    return Archive(file, len(seen), size, hashlib.sha256(raw).hexdigest())


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield tar
    except FileNotFoundError as failure:
        raise InputError(f"no such backup: {file}", hint="`tradewind backup FILE` writes one") from failure
    except (tarfile.TarError, EOFError, ValueError) as failure:
        raise _damaged(file, str(failure)) from failure


def _safe(file: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[0] != "home" or len(path.parts) < 2:
        raise _damaged(file, f"it holds a file outside of the home: {name}")
    return PurePosixPath(*path.parts[1:]).as_posix()


def _copy(stream: IO[bytes], path: Path | None) -> str:
    digest = hashlib.sha256()
    if path is None:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as copy:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _compare(file: Path, manifest: dict[str, Any], seen: dict[str, str]) -> None:
    if manifest.get("format") != _FORMAT:
        raise InputError(
            f"{file} has backup format {manifest.get('format')}, this Tradewind reads {_FORMAT}",
            hint="upgrade: pip install --upgrade tradewind",
        )
    listed: dict[str, str] = manifest["files"]
    for name in sorted({*listed, *seen}):
        if listed.get(name) != seen.get(name):
            raise _damaged(file, f"{name} differs from the hash in its manifest")


def _damaged(file: Path, detail: str) -> DataError:
    return DataError(f"{file} is no backup, or damaged: {detail}", hint="use another backup; nothing was changed")


def _swap(fresh: Path, home: Path, occupied: bool) -> None:
    if occupied:
        home.rename(_aside(home))
    elif home.exists():
        home.rmdir()
    fresh.rename(home)
    flush_to_disk(home.parent)


def _aside(home: Path) -> Path:
    names = (home.with_name(f"{home.name}.before-restore{n}") for n in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(path for path in names if not path.exists())
