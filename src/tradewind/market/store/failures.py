"""What storage failures mean to the reader: full disk, no permission, a lock, a broken file."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradewind.errors import InputError, RetryError, TradewindError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL_WORDS = re.compile(
    r"no space left|os error 28\b|disk quota|os error 122\b|file too large|os error 27\b|disk is full",
    re.IGNORECASE,
)
_FORBIDDEN_WORDS = re.compile(
    r"permission denied|read-only file system|readonly database|os error (13|1|30)\b", re.IGNORECASE
)


@contextmanager
def storage_failures(place: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission below ``place`` into an error that says what to do.

    Raises
    ------
    RetryError
        When the disk (or quota) is full: free space and repeat; what was stored before is intact.
    InputError
        When ``place`` cannot be written.
    """
    try:
        yield
    except TradewindError:
        raise
    except Exception as failure:
        explained = explain(failure, place)
        if explained is None:
            raise
        raise explained from failure


def explain(failure: BaseException, place: Path) -> TradewindError | None:
    """Return the error to show for a low-level failure; None where it is not about disk or permission."""
    if isinstance(failure, FileExistsError | NotADirectoryError) and place.is_file():
        return InputError(f"{place} is a file, not a folder", hint="set TRADEWIND_HOME to a folder, or to a new name")
    number = getattr(failure, "errno", None)
    text = str(failure)
    if number in _FULL or _FULL_WORDS.search(text):
        return disk_full(place)
    if number in _FORBIDDEN or _FORBIDDEN_WORDS.search(text):
        return unwritable(place)
    return None


def disk_full(place: Path) -> RetryError:
    """Return the error for a disk without room."""
    return RetryError(
        f"no space left on the disk that holds {place}",
        hint="free some space and run the same command again; everything stored before is intact",
    )


def unwritable(place: Path) -> InputError:
    """Return the error for a place that this user may not write."""
    return InputError(
        f"cannot write to {place}: permission denied or read-only",
        hint="give this user write permission, or set TRADEWIND_HOME to a folder that is writable",
    )
