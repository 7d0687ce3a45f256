"""Answers kept by the content of the series that they are of: a new bar costs one forecast, not a fold of them."""

from __future__ import annotations

import hashlib
import uuid
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tradewind.market.store.failures import storage_failures

_KEY_BYTES = 16


class KeptAnswers:
    """A folder of answers to one question asked of one set of weights; ``None`` keeps nothing.

    Each file holds what was answered between two stores: keys ``(n, 16)`` uint8 and quantiles ``(n, H, Q)`` float64. A
    damaged one is as if it were not there, a half-written one is never under a name that is read.

    Parameters
    ----------
    shape
        Of one answer, ``(H, Q)``; files with answers of another shape are not read.
    """

    def __init__(self, folder: Path | None, shape: tuple[int, int]) -> None:
        self.folder, self.shape = folder, shape
        self._answers: dict[bytes, NDArray[np.float64]] = {}
        self._new: dict[bytes, NDArray[np.float64]] = {}
        for path in sorted(folder.glob("*.npz")) if folder is not None and folder.is_dir() else ():
            self._answers |= self._read(path)

    def known(self, series: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the answers to series, NaN where there is none yet, and where there is one."""
        found = [self._answers.get(key) for key in keys_of(series)]
        answers = np.full((len(series), *self.shape), np.nan)
        for place, answer in enumerate(found):
            if answer is not None:
                answers[place] = answer
        return answers, np.array([answer is not None for answer in found], dtype=bool)

    def add(self, series: NDArray[np.float32], answers: NDArray[np.float64]) -> None:
        """Take answers in; they are on disk after the next :meth:`store`."""
        if self.folder is not None:
            self._new |= dict(zip(keys_of(series), answers, strict=True))

    def store(self) -> None:
        """Write what is new."""
        if self.folder is None or not self._new:
            return
        keys = np.frombuffer(b"".join(self._new), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        temporary = self.folder / f".{uuid.uuid4().hex}.npz"
        with storage_failures(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez(temporary, allow_pickle=False, keys=keys, answers=np.stack(list(self._new.values())))
            temporary.replace(temporary.with_name(temporary.name[1:]))
        self._answers |= self._new
        self._new = {}

    def _read(self, path: Path) -> dict[bytes, NDArray[np.float64]]:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                keys, answers = stored["keys"], stored["answers"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return {}
        if answers.shape != (len(keys), *self.shape) or keys.shape[1:] != (_KEY_BYTES,):
            return {}
        return {key.tobytes(): answer for key, answer in zip(keys, answers, strict=True)}


def keys_of(series: NDArray[np.float32]) -> list[bytes]:
    """Return the hash of each series."""
    return [hashlib.blake2b(row.tobytes(), digest_size=_KEY_BYTES).digest() for row in np.ascontiguousarray(series)]
