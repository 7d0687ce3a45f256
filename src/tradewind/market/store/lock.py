"""One writer at a time: a lock the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradewind.errors import RetryError
from tradewind.market.store.failures import storage_failures

_POLL_SECONDS = 0.05


@contextmanager
def writer_lock(path: Path, *, patience_seconds: float) -> Iterator[None]:
    """Hold the exclusive lock of ``path``; readers never need it.

    Raises ``RetryError`` when another process still holds it after ``patience_seconds``.
    """
    with storage_failures(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _acquire(handle, path, patience_seconds)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while not _taken(handle):
        if time.monotonic() >= deadline:
            raise RetryError(
                f"another process is writing to {path.parent}",
                hint="wait until it has finished (a sync, a compaction or a backup), then run this again",
            )
        time.sleep(_POLL_SECONDS)


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _taken(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _taken(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
