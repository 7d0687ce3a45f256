"""The lake against SQLite: 4 million daily bars, one in a hundred corrected, read as of a moment; and one append.

Read: every bar of 1,500 instruments over 2,667 sessions, latest version known at a moment, into columns. The peer is
one SQLite table with the same rows, read in full without asking for versions, which favours it. Append: one
new bar for each of the 1,500 instruments, compared with what is stored, committed and forced to the disk. The best
of three counts for everyone. Building the stores is not timed.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tradewind.market.bars import BAR_SCHEMA, UTC_TIME
from tradewind.market.load import load_panel
from tradewind.market.store.lake import Lake

AIMS = {"sqlite": 8.0}
INSTRUMENTS, SESSIONS = 1_500, 2_667
FIRST = datetime(2015, 1, 2, 21, tzinfo=UTC)
RECORDED = datetime(2025, 1, 1, tzinfo=UTC)
PRICES = ("open", "high", "low", "close", "volume")
PEER = f"CREATE TABLE bars (symbol TEXT, time INTEGER, {', '.join(f'{p} REAL' for p in PRICES)}, known_at INTEGER)"


def bars(instruments: int, sessions: int, first: datetime, seed: int = 1) -> pl.DataFrame:
    r = np.random.default_rng(seed)
    rows = instruments * sessions
    names = [f"S{i:04d}" for i in range(instruments)]
    start = np.datetime64(first.replace(tzinfo=None), "us")
    times = start + np.arange(sessions) * np.timedelta64(1, "D")
    frame = pl.DataFrame({"symbol": np.repeat(names, sessions), "time": np.tile(times, instruments)})
    prices = {name: np.round(r.uniform(10, 500, rows), 2) for name in PRICES}
    return (
        frame.with_columns(
            pl.col("time").dt.replace_time_zone("UTC"),
            **{name: pl.Series(values) for name, values in prices.items()},
            instrument=pl.col("symbol") + "#1",
            timeframe=pl.lit("1d"),
            recorded_at=pl.lit(None, dtype=UTC_TIME),
            source=pl.lit("bench"),
            vintage=pl.lit("assumed"),
            adjustment=pl.lit("raw"),
            marks=pl.lit(""),
        )
        .with_columns(known_at=pl.col("time").dt.replace_time_zone("UTC") + timedelta(minutes=15))
        .select(BAR_SCHEMA.keys())
    )


def best(call: Callable[[], Any], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return min(taken)


def build(folder: Path) -> tuple[Lake, Path, int]:
    lake, rows = Lake(folder / "lake"), bars(INSTRUMENTS, SESSIONS, FIRST)
    known = lake.instruments()
    known.learn(rows["symbol"].unique(), source="bench")
    lake.store_instruments(known, recorded_at=RECORDED)
    lake.append(rows, recorded_at=RECORDED)
    corrected = rows.gather_every(100).with_columns(close=pl.col("close") + 0.01)
    lake.append(corrected, recorded_at=RECORDED + timedelta(days=1))
    file = folder / "peer.db"
    peer = sqlite3.connect(file)
    peer.execute(PEER)
    plain = pl.concat([rows, corrected]).select(
        "symbol", pl.col("time").to_physical(), *PRICES, pl.col("known_at").to_physical()
    )
    peer.executemany(f"INSERT INTO bars VALUES ({', '.join('?' * 8)})", plain.iter_rows())
    peer.commit()
    peer.close()
    return lake, file, plain.height


def read_peer(file: Path) -> pl.DataFrame:
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT symbol, time, open, high, low, close, volume FROM bars").fetchall()
    connection.close()
    return pl.DataFrame(rows, schema=["symbol", "time", *PRICES], orient="row")


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        lake, file, stored = build(Path(folder))
        as_of = RECORDED + timedelta(days=2)
        columns = ("symbol", "time", *PRICES)
        ours = best(lambda: lake.read_bars(None, "1d", as_of=as_of, columns=columns, ordered=False))
        earlier = best(lambda: lake.read_bars(None, "1d", as_of=RECORDED, columns=columns, ordered=False))
        theirs = best(lambda: read_peer(file))
        panel = best(lambda: load_panel(lake, symbols=[f"S{i:04d}" for i in range(INSTRUMENTS)], timeframe="1d"))
        appends = []
        for day in range(5):
            new = bars(INSTRUMENTS, 1, FIRST + timedelta(days=SESSIONS + day), seed=day)
            moment = RECORDED + timedelta(days=3 + day)
            appends.append(best(lambda new=new, moment=moment: lake.append(new, recorded_at=moment), times=1))
    ratios = {"sqlite": round(theirs / ours, 2)}
    return {
        "name": "lake",
        "ratios": ratios,
        "figures": {
            "rows_stored": stored,
            "as_of_read_seconds": round(ours, 3),
            "as_of_earlier_read_seconds": round(earlier, 3),
            "sqlite_full_read_seconds": round(theirs, 3),
            "panel_seconds": round(panel, 3),
            "append_1500_bars_ms": round(float(np.median(appends)) * 1000, 1),
        },
        "aims": AIMS,
        "met": all(ratios[peer] >= aim for peer, aim in AIMS.items()),
    }
