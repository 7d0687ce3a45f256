"""Where state lives: `./.tradewind` unless `TRADEWIND_HOME` is set.

::

    .tradewind/
    ├── lake/           one folder per source and its options; in it Delta tables: bars, actions, instruments, …
    ├── records.sqlite  the records database (SQLite), unless TRADEWIND_RECORDS_URL names a server's
    ├── runs/           one folder per run: results, reports, out-of-sample forecasts
    ├── models/         trained models
    └── cache/          anything that can be computed again
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tradewind.errors import InputError, RetryError
from tradewind.market.store.failures import storage_failures

VARIABLE: Final = "TRADEWIND_HOME"
RECORDS_VARIABLE: Final = "TRADEWIND_RECORDS_URL"
DEFAULT: Final = ".tradewind"
FOLDERS: Final = ("lake", "runs", "models", "cache")
MIB: Final = 2**20


def records_url(home: Path, environment: Mapping[str, str] | None = None) -> str:
    """Return the URL of a home's records: what ``TRADEWIND_RECORDS_URL`` says, else the SQLite file in it.

    One server's database serves one home.
    """
    variables = os.environ if environment is None else environment
    return variables.get(RECORDS_VARIABLE, "").strip() or f"sqlite:///{home / 'records.sqlite'}"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds all state, and the names inside it."""

    root: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str] | None = None, *, folder: Path | None = None) -> Home:
        """Return the home without touching the disk.

        Parameters
        ----------
        environment
            Where ``TRADEWIND_HOME`` is looked up; the process's own when None.
        folder
            Where the default ``.tradewind`` lies; the working folder when None.
        """
        variables = os.environ if environment is None else environment
        named = variables.get(VARIABLE, "").strip()
        root = Path(named).expanduser() if named else (folder or Path.cwd()) / DEFAULT
        return cls(root.absolute())

    @classmethod
    def open(cls, root: Path | None = None, *, free_mib: int = 64) -> Home:
        """Return the home, created and proven writable, with at least ``free_mib`` MiB free.

        Raises ``InputError`` where it cannot be created or written, ``RetryError`` where the disk is full.
        """
        home = cls(root.absolute()) if root is not None else cls.locate()
        home._create()
        home.require_space(free_mib * MIB)
        return home

    @property
    def lake(self) -> Path:
        """Folder of the lakes, one per source and its options."""
        return self.root / "lake"

    @property
    def records(self) -> Path:
        """File of the records database."""
        return self.root / "records.sqlite"

    @property
    def records_url(self) -> str:
        """URL of the records database: that of :func:`records_url`."""
        return records_url(self.root)

    @property
    def runs(self) -> Path:
        """Folder with one folder per run."""
        return self.root / "runs"

    @property
    def models(self) -> Path:
        """Folder of trained models."""
        return self.root / "models"

    @property
    def cache(self) -> Path:
        """Folder of what can be computed again."""
        return self.root / "cache"

    def free_bytes(self) -> int:
        """Return how many bytes are free on the disk of this home."""
        return shutil.disk_usage(self.root).free

    def require_space(self, needed: int) -> None:
        """Raise ``RetryError`` where fewer than ``needed`` bytes are free."""
        free = self.free_bytes()
        if free < needed:
            raise RetryError(
                f"{free // MIB} MiB free on the disk that holds {self.root}, {needed // MIB} MiB are needed",
                hint="free some space, or set TRADEWIND_HOME to a folder on another disk",
            )

    def _create(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{self.root} is a file, not a folder", hint=f"move it away or set {VARIABLE}")
        with storage_failures(self.root):
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as probe:
                probe.write(b"writable")
