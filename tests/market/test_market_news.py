"""News in the lake: what could be read when, of whom, and said once."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.market.news import ARTICLE_SCHEMA, Matcher, article, hash_of, read_news, store_news
from tradewind.market.store.lake import Lake

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MATCHER = Matcher(("AAPL", "BRK-B", "F", "ON"), {"AAPL": ("Apple",), "F": ("Ford Motor", "Ford"), "ON": ("onsemi",)})


def rows(*lines, seen=NOON):
    """(id, title, hours before noon): seen at a moment."""
    table = [
        article(article=hash_of(name), time=NOON - hours * HOUR, title=title, summary="", link="", known_at=seen,
                vintage="observed")
        for name, title, hours in lines
    ]  # fmt: skip
    return pl.DataFrame(table, schema=ARTICLE_SCHEMA)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def store(lake, table, at=NOON, source="rss:a"):
    return store_news(lake, table, source=source, matcher=MATCHER, recorded_at=at)


def test_an_article_is_known_since_it_was_seen(lake):
    store(lake, rows(("1", "Apple rises", 1)))
    assert read_news(lake, as_of=NOON - timedelta(seconds=1)).is_empty()
    assert read_news(lake, ["AAPL"], as_of=NOON)["title"].to_list() == ["Apple rises"]


def test_what_is_seen_again_is_not_stored_again(lake):
    first = store(lake, rows(("1", "One", 2), ("2", "Two", 1)))
    again = store(lake, rows(("1", "One", 2), ("2", "Two", 1), seen=NOON + HOUR), NOON + HOUR)
    assert (first.done.added, again.done.added, again.done.unchanged) == (2, 0, 2)
    assert again.news.is_empty() and first.news.height == 2


def test_a_change_is_a_later_row_and_the_first_words_stay(lake):
    store(lake, rows(("1", "Apple to rise", 1)))
    told = store(lake, rows(("1", "Apple to fall", 1), seen=NOON + HOUR), NOON + HOUR)
    assert told.done.corrected == 1 and told.news["title"].to_list() == ["Apple to fall"]
    assert read_news(lake, as_of=NOON)["title"].to_list() == ["Apple to rise"]
    assert read_news(lake)["title"].to_list() == ["Apple to fall"]


def test_a_change_of_its_date_keeps_it_the_same_article(lake):
    store(lake, rows(("1", "One", 5)))
    store(lake, rows(("1", "One, corrected", 0), seen=NOON + HOUR), NOON + HOUR)
    found = read_news(lake)
    assert found["time"].to_list() == [NOON - 5 * HOUR] and found["title"].to_list() == ["One, corrected"]


def test_words_that_come_back_are_the_newest_words(lake):
    for n, title in enumerate(("A", "B", "A")):
        store(lake, rows(("1", title, 1), seen=NOON + n * HOUR), NOON + n * HOUR)
    assert read_news(lake)["title"].to_list() == ["A"]
    assert read_news(lake, as_of=NOON + HOUR)["title"].to_list() == ["B"]


def test_the_same_words_under_another_id_or_in_another_feed_count_once(lake):
    store(lake, rows(("1", "One", 1)))
    assert store(lake, rows(("1b", "One", 1))).done.added == 0
    assert store(lake, rows(("x", "One", 1)), source="rss:b").done.added == 0
    assert store(lake, rows(("7", "Seven", 1), ("8", "Seven", 1))).done.added == 1


def test_the_newest_come_first_and_only_so_many(lake):
    store(lake, rows(("1", "Old", 9), ("2", "New Apple", 1), ("3", "Middle", 5)))
    assert read_news(lake)["title"].to_list() == ["New Apple", "Middle", "Old"]
    assert read_news(lake, limit=1)["title"].to_list() == ["New Apple"]
    assert read_news(lake, start=NOON - 6 * HOUR, end=NOON - 2 * HOUR)["title"].to_list() == ["Middle"]


def test_an_empty_lake_has_no_news(lake):
    assert read_news(lake, ["AAPL"]).is_empty()


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("$AAPL and $brk.b rise", ("AAPL", "BRK-B")),
        ("Apple Inc. (NASDAQ: AAPL) beats", ("AAPL",)),
        ("Ford Motor Company (NYSE:F)", ("F",)),
        ("Pineapple futures; apple pie; ON the way; F grade; AAPL bare", ()),
        ("US$5 for $F5, $TSLA, $100 and $", ()),
        ("onsemi, $F.", ("F", "ON")),
        ("Affordable Fords", ()),
        ("", ()),
    ],
)
def test_only_what_is_named_is_found(text, symbols):
    assert MATCHER.find(text) == symbols


@given(st.text(alphabet="AaPpLleF$: ().-ON\nБ", max_size=60))
def test_no_text_names_a_symbol_that_there_is_not(text):
    assert set(MATCHER.find(text)) <= set(MATCHER.symbols)


def test_a_universe_without_names_still_has_cashtags():
    assert Matcher(("AAPL",), {}).find("$AAPL, Apple") == ("AAPL",)
