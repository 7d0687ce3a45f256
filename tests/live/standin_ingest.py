"""Take in a day in a process of its own and write down what was acted upon; somebody kills it."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from datetime import datetime
from pathlib import Path

from standin_bars import SYMBOLS, Stored, bars

from tradewind.live.ingest import Ingest
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.sources.replay import Faults, ReplayClock, ReplayFeed
from tradewind.market.store.lake import Lake


async def main(home: Path) -> None:
    acted = home / "acted.txt"
    before = acted.read_text().split() if acted.exists() else []
    after = datetime.fromisoformat(before[-1]) if before else bars()["time"].min().replace(minute=30)
    clock = ReplayClock(after)
    feed = ReplayFeed(bars().filter(bars()["time"] > after), clock, faults=Faults(shuffled=0.3, duplicated=0.2))
    section = IngestSection(quiet_closes=0, wait_seconds=60)
    lake = Lake(home / "lake")
    ingest = Ingest(
        lake, section, symbols=SYMBOLS, timeframe="5m", feed=feed, source=Stored(), clock=clock, tag="stored"
    )
    with acted.open("a") as log:
        async with aclosing(ingest.closed_bars(after)) as closes:
            async for batch in closes:
                stored = Lake(home / "lake").read_bars(None, "5m", batch.time, batch.time)
                assert stored.height == batch.frame.height == len(SYMBOLS), "told before it was stored"
                print(batch.time.isoformat(), file=log, flush=True)
                os.fsync(log.fileno())
                print(batch.time.isoformat(), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
