"""Run a sync in a process of its own that kills itself, as `kill -9` does, before its n-th step (0: never).

Steps are every write to the lake and to the job's notes, before and after. Prints how many steps there were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from store_kit import FIRST_CLOSE, RECORDED, TableSource, request_all, source_actions, source_bars

from tradewind.clock import FixedClock
from tradewind.market.store.lake import Lake
from tradewind.market.store.records import Records
from tradewind.market.store.table import Table
from tradewind.market.sync import sync

SYMBOLS = ("AAA", "BBB", "CCC")
BARS = 400


def source() -> TableSource:
    bars = pl.concat([source_bars(s, [float(i + 1) for i in range(BARS)]) for s in SYMBOLS])
    return TableSource(bars, source_actions([(s, FIRST_CLOSE, "dividend", 0.1, "") for s in SYMBOLS]))


def dying(function: Callable[..., Any], steps: list[int], last: int) -> Callable[..., Any]:
    def step() -> None:
        steps.append(1)
        if len(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(*positional: Any, **named: Any) -> Any:
        step()
        result = function(*positional, **named)
        step()
        return result

    return wrapped


def main(home: Path, last: int) -> None:
    steps: list[int] = []
    Table._write = dying(Table._write, steps, last)  # type: ignore[method-assign]
    Records.finish_items = dying(Records.finish_items, steps, last)  # type: ignore[method-assign]
    lake, records = Lake(home / "lake"), Records(f"sqlite:///{home}/records.db")
    served = source()
    sync(lake, records, served, request_all(served), clock=FixedClock(RECORDED), batch_rows=1)
    print(len(steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
