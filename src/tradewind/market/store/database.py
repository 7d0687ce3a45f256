"""One door to the records database: settings of the engine, transactions, schema version, error translation."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from tradewind.errors import DataError, InputError, RetryError, TradewindError
from tradewind.market.store.failures import disk_full, explain, unwritable
from tradewind.market.store.schema import VERSIONS

_WRITE = {"tradewind_write": True}
_FILE = "sqlite:///"


@dataclass
class Database:
    """An engine whose transactions are safe: WAL, full synchronisation, one writer at a time, clear errors.

    Raises
    ------
    InputError
        The URL is wrong, its driver is missing, the file cannot be written, or a newer Tradewind wrote it.
    DataError
        The file is corrupt.
    RetryError
        It stays locked for ``patience_seconds``, the server is away, or the disk is full.
    """

    url: str
    patience_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Open the database, prove it sound and bring its schema up to date."""
        self.parsed = _parsed(self.url)
        self.engine = self._engine()
        self._upgrade()

    @property
    def is_sqlite(self) -> bool:
        """Return whether this is a SQLite file."""
        return self.parsed.get_backend_name() == "sqlite"

    @property
    def place(self) -> Path:
        """File of the database (its URL without the password where it is a server's)."""
        return Path(self.parsed.database or ":memory:") if self.is_sqlite else Path(str(self.parsed))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one consistent state and changes nothing."""
        with self._explained(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are stored together, or not at all."""
        with (
            self._explained(),
            self.engine.connect() as connection,
            connection.execution_options(**_WRITE).begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def problems(self) -> list[str]:
        """Return what the database's own integrity check finds; empty when all is well."""
        if not self.is_sqlite:
            return []
        with self.reading() as connection:
            lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [f"{self.place}: {line}" for line in lines if line != "ok"]

    def _engine(self) -> Engine:
        if not self.is_sqlite:
            return _server_engine(self.parsed)
        with self._explained():
            self.place.parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(self.parsed, connect_args={"timeout": self.patience_seconds})
        sa.event.listen(engine, "connect", self._configure)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def _configure(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver's guesses
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    def _upgrade(self) -> None:
        with self.reading() as connection:
            if self.is_sqlite:
                self._require_sound(connection)
            version = _version(connection)
        self._require_known(version)
        if version == VERSIONS[-1]:
            return
        with self.writing() as connection:
            if _version(connection) != VERSIONS[-1]:
                _migrate(connection)

    def _require_sound(self, connection: Connection) -> None:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise self._corrupt(str(found))

    def _require_known(self, version: str | None) -> None:
        if version is not None and version not in VERSIONS:
            raise InputError(
                f"{self.place} was written by a newer Tradewind (schema {version}; this one knows {VERSIONS[-1]})",
                hint="upgrade: pip install --upgrade tradewind; or set TRADEWIND_HOME to another folder",
            )

    def _corrupt(self, detail: str) -> DataError:
        return DataError(
            f"the records database {self.place} is corrupt: {detail}",
            hint="nothing was deleted; bring it back from a backup (`tradewind restore FILE --replace`), or move it "
            "aside to begin anew",
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as failure:
            raise self._explain(failure) or failure from failure
        except OSError as failure:
            raise explain(failure, self.place) or unwritable(self.place) from failure

    def _explain(self, failure: DBAPIError) -> TradewindError | None:
        text = str(failure.orig).lower()
        if "locked" in text or "busy" in text:
            return RetryError(
                f"the records database {self.place} is locked by another process",
                hint="wait until it has finished, then run this again; `tradewind doctor` shows more",
            )
        if "is full" in text:
            return disk_full(self.place)
        if "disk i/o error" in text:
            return RetryError(
                f"the disk that holds {self.place} failed, or a quota is used up",
                hint="free some space or check the disk, then run this again; everything stored before is intact",
            )
        if "readonly" in text or "unable to open" in text:
            return unwritable(self.place)
        if "malformed" in text or "not a database" in text:
            return self._corrupt(str(failure.orig))
        if not self.is_sqlite and isinstance(failure, OperationalError):
            return RetryError(f"no answer from the records database {self.parsed}", hint="is the server up?")
        return None


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite database that may be in use, as of one moment (SQLite's online backup)."""
    origin = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    copy = sqlite3.connect(target)
    try:
        origin.backup(copy)
    finally:
        copy.close()
        origin.close()


def _parsed(url: str) -> URL:
    if url.startswith(_FILE):  # the rest is a path, in which "?" is a character like any other
        return URL.create("sqlite", database=url.removeprefix(_FILE))
    try:
        return make_url(url)
    except ArgumentError as failure:
        raise InputError(
            f"not a database URL: {url!r}",
            hint="examples: sqlite:///records.db, postgresql+psycopg://user:password@host/tradewind",
        ) from failure


def _server_engine(url: URL) -> Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as failure:
        raise InputError(f"no driver for {url.drivername}", hint='pip install "psycopg[binary]"') from failure


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("tradewind_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return str(found) if found is not None else None


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
