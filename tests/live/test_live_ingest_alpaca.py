"""The whole way in: Alpaca's library, its stream and its bars of the past on this machine, and a lost connection."""

import asyncio
import sys
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tradewind.clock import SystemClock
from tradewind.live.ingest import Ingest
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.feeds import FEEDS
from tradewind.market.sources.alpaca import AlpacaOptions
from tradewind.market.sources.base import SOURCES
from tradewind.market.store.lake import Lake

sys.path.insert(0, str(Path(__file__).parents[1] / "market"))
from market_alpaca_standin import ENVIRON, AlpacaRest, AlpacaStream, bar, trade

pytest.importorskip("alpaca")

OPEN = datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
SYMBOLS = ("AAA", "BBB")


class Shifted:
    """The machine's clock, moved to a Monday morning of March 2025."""

    def __init__(self, start):
        self._shift = start - SystemClock().now()

    def now(self):
        return SystemClock().now() + self._shift


def minute(number):
    return OPEN + timedelta(minutes=number)


def said(number):
    return [bar(symbol, minute(number), price=100.0 + number) for symbol in SYMBOLS]


def asked_for(number):
    start = minute(number - 1)
    price = 100.0 + number
    return {"t": f"{start:%Y-%m-%dT%H:%M:%SZ}", "o": price, "h": price + 1, "l": price - 1, "c": price + 0.5, "v": 1000}


def test_a_stream_that_breaks_leaves_no_gap(tmp_path):
    stream = AlpacaStream(
        [said(1), said(2), [trade("AAA", minute(2), 102.25)], "drop"],  # minutes 3 to 5 are said to nobody
        [said(6)[:1], said(6), said(6)[1:]],
    )
    rest = AlpacaRest()
    for symbol in SYMBOLS:
        rest.bars[symbol, "1Min"] = [asked_for(number) for number in range(1, 6)]
    clock = Shifted(minute(6) + timedelta(seconds=2))
    source = SOURCES.create("alpaca", url=rest.url, environ=ENVIRON, clock=clock)
    feed = FEEDS.create("alpaca", options=AlpacaOptions(stream_url=stream.url), environ=ENVIRON)
    section = IngestSection(feed="stream", retry_first_seconds=0.01, wait_seconds=30)
    lake = Lake(tmp_path / "lake")
    subject = Ingest(
        lake, section, symbols=SYMBOLS, timeframe="1m", feed=feed, source=source, clock=clock,
    )  # fmt: skip

    async def main():
        out, ticks = [], asyncio.create_task(subject.ticks.heard())
        async with aclosing(subject.closed_bars(OPEN)) as closes:
            async for batch in closes:
                out.append(batch)
                if len(out) == 6:
                    break
            health = subject.health()
        return out, await ticks, health

    out, ticks, health = asyncio.run(asyncio.wait_for(main(), 60))
    stream.close()
    rest.close()
    assert [batch.time for batch in out] == [minute(number) for number in range(1, 7)]
    assert all(batch.complete for batch in out)
    stored = lake.read_bars(SYMBOLS, "1m").sort("time", "symbol")
    assert stored["close"].to_list() == [100.5 + number for number in range(1, 7) for _ in SYMBOLS]
    assert set(stored["source"]) == {"alpaca"} and stream.connections == 2
    assert [(tick.symbol, tick.price) for tick in ticks] == [("AAA", 102.25)]
    assert health["services"][0]["state"] == "ok" and "Alpaca" in health["services"][0]["last_error"]
