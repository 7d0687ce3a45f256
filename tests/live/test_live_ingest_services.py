"""News and macro series: round after round, each for itself, into the lake."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from standin_time import START, LoopClock, inline, run

from tradewind.errors import DataError, InputError, RetryError
from tradewind.live.ingest_services import macro_service, news_service
from tradewind.live.ingest_supervisor import Retry, Supervisor
from tradewind.live.settings_ingest import IngestSection
from tradewind.market.macro import VINTAGE_SCHEMA, Vintages, versions_of_macro
from tradewind.market.news import ARTICLE_SCHEMA, Articles, article, hash_of, read_news
from tradewind.market.store.lake import Lake

SECTION = IngestSection(news_minutes=15, macro_minutes=60, macro_series=("CPI", "GDP"), news_names={"AAA": ("Acme",)})


class Feed:
    """Shows what it has; ``fails`` says what it raises at which look."""

    name = "rss"

    def __init__(self, fails=()):
        self.looks, self.fails = [], dict(fails)

    def articles(self, now, seen_before):
        self.looks.append((now, seen_before))
        if len(self.looks) in self.fails:
            raise self.fails[len(self.looks)]
        words = {"title": f"Acme, look {len(self.looks)}", "summary": "", "link": "", "vintage": "observed"}
        row = article(article=hash_of(str(len(self.looks)), str(id(self))), time=now, known_at=now, **words)
        return Articles(pl.DataFrame([row], schema=ARTICLE_SCHEMA))


class Series:
    name = "fred"

    def __init__(self, broken=()):
        self.asked, self.broken = [], set(broken)

    def vintages(self, series, since, now):
        self.asked.append((series, since))
        if series in self.broken:
            raise RetryError(f"{series} is not there")
        released = date(2025, 2, 20)
        row = (
            series,
            datetime(2025, 1, 1, tzinfo=UTC),
            released,
            1.5,
            datetime(2025, 2, 20, 14, tzinfo=UTC),
            "assumed",
        )
        return Vintages(pl.DataFrame([row], schema=VINTAGE_SCHEMA, orient="row"))


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def served(make, hours):
    """Run one service for some hours; return its last state, alarms, and what it told."""
    clock, alarms, told = LoopClock(), [], []

    async def main():
        keeper = Supervisor(clock, retry=Retry(silent_s=3600))
        seams = {"off_loop": inline, "told": told.append, "alarm": lambda *words: alarms.append(words[:3])}
        keeper.add("it", make(clock, seams))
        await keeper.start()
        await asyncio.sleep(hours * 3600 - 1)
        (state,) = keeper.state()
        await keeper.stop()
        return state

    return run(main()), alarms, told


def test_news_come_every_fifteen_minutes_round_the_clock_and_are_told(lake):
    feed = Feed()
    state, _, told = served(lambda c, s: news_service(lake, SECTION, ["AAA"], c, sources={"a": feed}, **s), 12)
    assert [now - START for now, _ in feed.looks[:3]] == [timedelta(minutes=15 * n) for n in range(3)]
    assert len(feed.looks) == 12 * 4
    assert feed.looks[0][1] is None and feed.looks[1][1] == START
    assert state["state"] == "ok" and len(told) == 12 * 4
    stored = read_news(lake, ["AAA"])
    assert stored.height == 12 * 4 and set(stored["source"]) == {"rss:a"}


def test_one_feed_that_fails_does_not_keep_the_others_and_is_told_once(lake):
    good, bad = Feed(), Feed(fails={n: RetryError("down") for n in range(2, 99)})
    feeds = {"bad": bad, "good": good}
    state, alarms, _ = served(lambda c, s: news_service(lake, SECTION, ["AAA"], c, sources=feeds, **s), 2)
    assert len(good.looks) == 8 and state["state"] == "ok" and state["last_error"] == "down"
    assert alarms == [("warning", "it", "bad: down")]


def test_a_feed_that_recovered_is_told_of_again_when_it_fails_again(lake):
    feed, other = Feed(fails={2: DataError("no XML"), 5: DataError("no XML")}), Feed()
    feeds = {"a": feed, "b": other}
    _, alarms, _ = served(lambda c, s: news_service(lake, SECTION, ["AAA"], c, sources=feeds, **s), 2)
    assert alarms == [("critical", "it", "a: no XML")] * 2


def test_where_every_feed_fails_the_service_has_failed_and_is_tried_again(lake):
    feed = Feed(fails={1: RetryError("down"), 2: RetryError("down")})
    state, _, _ = served(lambda c, s: news_service(lake, SECTION, ["AAA"], c, sources={"a": feed}, **s), 1)
    assert state["state"] == "ok" and len(feed.looks) >= 5


def test_macro_series_are_asked_for_from_their_newest_release_on(lake):
    source = Series()
    state, _, told = served(lambda c, s: macro_service(lake, SECTION, c, source=source, **s), 3)
    assert source.asked[:2] == [("CPI", None), ("GDP", None)]
    assert source.asked[2:4] == [("CPI", date(2025, 2, 13)), ("GDP", date(2025, 2, 13))]
    assert versions_of_macro(lake).height == 2 and len(told) == 2 and state["state"] == "ok"


def test_one_series_that_fails_does_not_keep_the_others(lake):
    source = Series(broken=["CPI"])
    state, alarms, _ = served(lambda c, s: macro_service(lake, SECTION, c, source=source, **s), 3)
    assert versions_of_macro(lake)["series"].to_list() == ["GDP"]
    assert state["state"] == "ok" and len(alarms) == 1


def test_a_wrong_key_stops_the_service_until_somebody_corrects_it(lake):
    class Locked(Series):
        def vintages(self, series, since, now):
            self.asked.append(series)
            raise InputError("FRED refuses the key")

    source = Locked()
    state, _, _ = served(lambda c, s: macro_service(lake, SECTION, c, source=source, **s), 3)
    assert state["state"] == "stopped" and len(source.asked) == 2


def test_without_feeds_or_series_there_is_no_service(lake):
    empty = IngestSection()
    assert news_service(lake, empty, ["AAA"], LoopClock()) is None
    assert macro_service(lake, empty, LoopClock()) is None


def test_a_bad_time_of_release_is_refused():
    with pytest.raises(ValueError, match="no time of day"):
        IngestSection(macro_release={"CPI": "half past eight"})
