"""Let glibc keep large blocks of memory instead of returning them to the system after every operation."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEEP_UP_TO_BYTES = 1 << 30


@cache
def keep_large_blocks() -> bool:
    """Raise the thresholds above which glibc maps a block of its own and gives memory back; return whether it did.

    By default every tensor of more than 128 KiB to 32 MiB (the threshold moves) is mapped and unmapped anew, and each
    of its pages is faulted in and zeroed again by the kernel, which can cost more than the arithmetic on it. The price
    is that freed memory stays with the process. Applies to the whole process, at once and for good; calling it again
    does nothing. ``False`` where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not (hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")):
        return False
    kept = [library.mallopt(option, _KEEP_UP_TO_BYTES) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD)]
    return all(kept)
