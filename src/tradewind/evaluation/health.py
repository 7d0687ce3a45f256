"""Is this installation and this home folder well: what `tradewind doctor` looks at."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tradewind.errors import TradewindError
from tradewind.evaluation.runs import environment

LEAST_FREE_BYTES = 1 << 30


def examine(home: Path) -> list[dict[str, Any]]:
    """Return every check with whether it passed and what to do where it did not."""
    checks: list[tuple[str, Callable[[Path], tuple[bool, str]]]] = [
        ("versions", _versions),
        ("home", _home),
        ("disk", _disk),
        ("records", _records),
        ("lakes", _lakes),
    ]
    return [_run(name, check, home) for name, check in checks]


def _run(name: str, check: Callable[[Path], tuple[bool, str]], home: Path) -> dict[str, Any]:
    try:
        ok, detail = check(home)
    except (TradewindError, OSError, sqlite3.Error) as error:
        ok, detail = False, str(error)
    return {"check": name, "ok": ok, "detail": detail}


def _versions(_home: Path) -> tuple[bool, str]:
    found = environment()
    missing = [name for name, version in found.items() if version == "missing"]
    said = ", ".join(f"{name} {version}" for name, version in found.items())
    return not missing, f"missing: {', '.join(missing)}; run `make install`" if missing else said


def _home(home: Path) -> tuple[bool, str]:
    if not home.exists():
        return True, f"{home} does not exist yet; the first verb makes it"
    return home.is_dir(), f"{home.resolve()}" if home.is_dir() else f"{home} is not a folder"


def _disk(home: Path) -> tuple[bool, str]:
    place = next(p for p in (home.resolve(), *home.resolve().parents) if p.exists())
    free = shutil.disk_usage(place).free
    ok = free > LEAST_FREE_BYTES
    return ok, f"{'more than ' if ok else ''}{min(free, LEAST_FREE_BYTES) / 1e9:.1f} GB free at {place}"


def _records(home: Path) -> tuple[bool, str]:
    from tradewind.market.store.home import records_url
    from tradewind.market.store.schema import VERSIONS

    if not records_url(home).startswith("sqlite"):
        return _server(records_url(home), VERSIONS)
    path = home / "records.sqlite"
    if not path.exists():
        return True, "no records yet"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        answer = connection.execute("pragma integrity_check").fetchone()[0]
        version = connection.execute("select version_num from alembic_version").fetchone()[0]
    if version not in VERSIONS:
        return False, f"{path} was written by a newer Tradewind; upgrade with `pip install --upgrade tradewind`"
    return answer == "ok", f"{path}: {answer}"


def _server(url: str, versions: tuple[str, ...]) -> tuple[bool, str]:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    place = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            tables = sa.inspect(connection).get_table_names()
            query = "select version_num from alembic_version"
            version = connection.exec_driver_sql(query).scalar() if "alembic_version" in tables else None
    except sa.exc.SQLAlchemyError:
        return False, f"no answer from {place}: is the server up, and does TRADEWIND_RECORDS_URL name it?"
    finally:
        engine.dispose()
    if version is not None and version not in versions:
        return False, f"{place} was written by a newer Tradewind; upgrade with `pip install --upgrade tradewind`"
    return True, f"{place} answers"


def _lakes(home: Path) -> tuple[bool, str]:
    from tradewind.market.store.lake import Lake

    folders = sorted(p for p in (home / "lake").iterdir() if p.is_dir()) if (home / "lake").is_dir() else []
    problems = [f"{folder.name}: {problem}" for folder in folders for problem in Lake(folder).check()]
    return not problems, "; ".join(problems) or f"{len(folders)} lake(s) without a fault"
