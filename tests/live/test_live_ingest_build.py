"""From what a playbook says to services that run."""

from datetime import timedelta

import pytest
from standin_time import LoopClock

from tradewind.errors import InputError
from tradewind.live.ingest_build import live_feed, live_ingest, live_source
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.sources.alpaca import AlpacaFeed
from tradewind.market.sources.poll import PollFeed
from tradewind.market.store.lake import Lake


def test_yahoo_is_asked_without_its_cache():
    source = live_source("yahoo", {"cache_minutes": 60, "retries": 5}, LoopClock())
    assert source.options.cache_path == "-" and source.options.retries == 1


@pytest.mark.parametrize("name", ["sample", "files"])
def test_bars_of_the_past_are_replayed_and_not_waited_for(name):
    with pytest.raises(InputError, match="past") as caught:
        live_source(name, {}, LoopClock())
    assert "--replay" in caught.value.hint


def test_a_stream_needs_a_source_that_has_one():
    clock, stream = LoopClock(), IngestSection(feed="stream")
    with pytest.raises(InputError, match="no stream"):
        live_feed(stream, live_source("yahoo", {}, clock), symbols=3, clock=clock)
    feed = live_feed(stream, live_source("alpaca", {"stream_url": "ws://here"}, clock), symbols=3, clock=clock)
    assert isinstance(feed, AlpacaFeed) and feed._options.stream_url == "ws://here"
    asked = live_feed(IngestSection(poll_minutes=1), live_source("yahoo", {}, clock), symbols=3, clock=clock)
    assert isinstance(asked, PollFeed) and asked._step == timedelta(minutes=1)


def test_only_the_services_that_are_wanted_are_there(tmp_path):
    def services(**settings):
        made = live_ingest(
            Lake(tmp_path), IngestSection(**settings), source="synthetic", options={"n_symbols": 2},
            symbols=["SYN000"], timeframe="5m", clock=LoopClock(),
        )  # fmt: skip
        return [row["name"] for row in made.state()]

    assert services() == ["prices"]
    assert services(news_feeds={"a": "https://example.org/a"}, macro_series=["CPI"]) == ["prices", "news", "macro"]
