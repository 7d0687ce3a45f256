"""Trade on paper on bars that a feed says, promote a model on the way, and die as by `kill -9` at the n-th place."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from live_verb_and_die import PLACES
from test_live_market import NOW
from test_live_market import workspace as market

from killing import dying_at
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.evaluation.workspace import Workspace
from tradewind.live.ingest import Ingest
from tradewind.live.market import MarketBars
from tradewind.live.service import Bars, LiveRuntime
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.calendar import instant
from tradewind.market.sources.base import Request
from tradewind.market.sources.replay import Faults, ReplayClock, SyntheticFeed
from tradewind.market.store.lake import Lake
from tradewind.market.sync import source_tag

PROMOTED, END = datetime(2016, 3, 15, tzinfo=UTC), datetime(2016, 4, 1, 23, 0, tzinfo=UTC)
"""From when on another model forecasts, and when the feed ends."""

PLACES_OF_PAPER = 270
SEAT = "small/ridge"


def workspace(folder: Path, **overrides: object) -> Workspace:
    """Of a market without splits and dividends in these weeks: a start that makes up for a gap hears of those."""
    return market(folder, source__synthetic__options__seed="6", **overrides)


async def main(folder: Path) -> None:
    work = workspace(folder)
    registry = ModelRegistry(work.home, work.records, work.clock)
    lake = Lake(work.home / "lake" / work.lake_name)
    newest = lake.read_bars(None, "1d")["time"].max()
    clock = ReplayClock(max(NOW, newest))
    runtime = LiveRuntime(work, LiveSection(), "PAPER", clock, clock, drift_section=DriftSection(use=False))
    prepared = await runtime.prepare()
    panel, source = prepared.corridor.world.panel, prepared.workspace.source
    symbols = (*panel.symbols, "^GSPC")
    ingest = Ingest(
        lake,
        IngestSection(wait_seconds=60),
        symbols=symbols,
        timeframe="1d",
        feed=SyntheticFeed(source, Request(symbols, "1d", newest, END), clock, faults=Faults(shuffled=0.3)),
        source=source,
        clock=clock,
        tag=source_tag(source),
    )

    async def promoting(bars: Bars) -> Bars:
        async for bar, name in bars:
            if bar.time >= instant(PROMOTED) and registry.state_of(SEAT)["challenger"] is not None:
                registry.promote("challenger", SEAT)
            yield bar, name

    await runtime.run(promoting(MarketBars(prepared.workspace, panel, ingest).bars()))
    await runtime.close()


if __name__ == "__main__":
    dying_at(int(sys.argv[1]), PLACES)
    asyncio.run(main(Path(sys.argv[2])))
