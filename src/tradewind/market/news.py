"""News as known at a time: what was said of whom, since when it can have been read, and every change of it.

An article that changes is a new row, known from the moment the change was seen. The same words under another name, or
in another feed, are the same article. Which symbols it is about is read from cashtags, exchange tickers and names that
the user gave; nobody guesses.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, ClassVar, Final, Protocol

import polars as pl

from tradewind.market.bars import UTC_TIME, Schema
from tradewind.market.store.lake import Lake
from tradewind.market.store.table import Appended, TableSpec
from tradewind.registry import Registry

#: One row is one version of one article. ``article`` is a hash of the id that its feed gave it; ``time`` when it was
#: first said to be published (when it was first seen, where its feed says nothing); ``known_at`` when this version was
#: first seen (``observed``), or for articles older than the watching of their feed when it was published (``assumed``);
#: ``symbols`` whom it is about, separated by commas; ``content`` a hash of title, summary and link.
NEWS_SCHEMA: Final[Schema] = {
    "article": pl.String,
    "time": UTC_TIME,
    "title": pl.String,
    "summary": pl.String,
    "link": pl.String,
    "symbols": pl.String,
    "content": pl.String,
    "known_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    "source": pl.String,
    "vintage": pl.String,  # observed | assumed
}

NEWS: Final = TableSpec(
    name="news",
    schema=NEWS_SCHEMA,
    key=("article", "time", "source"),
    values=("content",),
    partition=("year",),
    order=("time", "article"),
)

ARTICLE_SCHEMA: Final[Schema] = {n: t for n, t in NEWS_SCHEMA.items() if n not in ("symbols", "recorded_at", "source")}
"""What a source of news delivers."""

_EXCHANGES: Final = "NASDAQ|NYSE|NYSEARCA|NYSEAMERICAN|AMEX|NasdaqGS|NasdaqGM|NasdaqCM"
_CASHTAG: Final = re.compile(r"(?<![\w$])\$([A-Za-z]{1,5}(?:[.\-][A-Za-z])?)(?![\w])")
_TICKER: Final = re.compile(rf"\b(?:{_EXCHANGES})\s*:\s*([A-Za-z]{{1,5}}(?:[.\-][A-Za-z])?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Articles:
    """What a feed of news had to say: rows of ``ARTICLE_SCHEMA``, and findings."""

    rows: pl.DataFrame
    notes: tuple[str, ...] = ()


class NewsSource(Protocol):
    """A provider of news."""

    name: ClassVar[str]

    def articles(self, now: datetime, seen_before: datetime | None) -> Articles:
        """Return the articles that it shows at ``now``; ``seen_before``: when it was last looked at, None for never.

        Raises ``RetryError`` where it is down or throttling, ``DataError`` for words that cannot be read.
        """
        ...


NEWS_SOURCES = Registry[NewsSource]("news source", room="tradewind.market.sources", group="tradewind.news_sources")


def hash_of(*parts: str) -> str:
    """Return a short hash of some texts."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()[:24]


@dataclass(frozen=True)
class Matcher:
    """Says which symbols a text names.

    Attributes
    ----------
    symbols
        The only ones that there are.
    names
        By what else a symbol is called; each name is looked for as whole words, in the case in which it is written.
    """

    symbols: tuple[str, ...]
    names: Mapping[str, Sequence[str]]

    def find(self, text: str) -> tuple[str, ...]:
        """Return the symbols in the order of the universe: ``$AAPL``, ``(NASDAQ: AAPL)``, and names."""
        tagged = {_plain(found) for pattern in (_CASHTAG, _TICKER) for found in pattern.findall(text)}
        called = {self._by_name[found] for found in self._name_pattern.findall(text)} if self._by_name else set()
        return tuple(symbol for symbol in self.symbols if _plain(symbol) in tagged or symbol in called)

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {name: symbol for symbol in self.symbols for name in self.names.get(symbol, ())}

    @cached_property
    def _name_pattern(self) -> re.Pattern[str]:
        longest = sorted(self._by_name, key=len, reverse=True)
        return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest))})(?!\w)")


def _plain(symbol: str) -> str:
    return symbol.upper().replace(".", "-")


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What came of storing: counts, and the rows that are new or changed (``NEWS_SCHEMA``)."""

    done: Appended
    news: pl.DataFrame


def store_news(lake: Lake, rows: pl.DataFrame, *, source: str, matcher: Matcher, recorded_at: datetime) -> Told:
    """Store the articles that are new or changed.

    Parameters
    ----------
    rows
        ``ARTICLE_SCHEMA``.
    """
    with lake.writing():
        full = _full(rows, source, matcher)
        stored = _stored(lake, full)
        fresh = _dated_as_first(_not_said_elsewhere(full, stored), stored)
        latest = stored.select("article", "source", pl.col("content").alias("before"))
        news = fresh.join(latest, on=["article", "source"], how="left", maintain_order="left")
        news = news.filter(pl.col("content").ne_missing(pl.col("before"))).drop("before")
        done = lake.store(NEWS, news, recorded_at=recorded_at)
    counts = Appended(done.added, done.corrected, rows.height - done.added - done.corrected)
    return Told(counts, news.with_columns(recorded_at=pl.lit(recorded_at, UTC_TIME)))


def _full(rows: pl.DataFrame, source: str, matcher: Matcher) -> pl.DataFrame:
    texts = rows.select("title", "summary").iter_rows()
    symbols = [",".join(matcher.find(f"{title}\n{summary}")) for title, summary in texts]
    full = rows.with_columns(
        symbols=pl.Series(symbols, dtype=pl.String), source=pl.lit(source), recorded_at=pl.lit(None, UTC_TIME)
    )
    once = full.unique("article", keep="last", maintain_order=True).unique("content", keep="first", maintain_order=True)
    return once.select(list(NEWS_SCHEMA))


def _stored(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the latest version of what is stored of these articles or with these words."""
    table = lake.table(NEWS)
    if not table.exists():
        return NEWS.empty()
    same = pl.col("article").is_in(rows["article"].implode()) | pl.col("content").is_in(rows["content"].implode())
    return table.read(same, ordered=False)


def _not_said_elsewhere(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Leave out the words of another article: the same text under another id, or in another feed."""
    owners = stored.select("content", owner=pl.struct("article", "source")).unique("content", keep="first")
    owned = rows.join(owners, on="content", how="left", maintain_order="left")
    mine = pl.col("owner").is_null() | (pl.col("owner") == pl.struct("article", "source"))
    return owned.filter(mine).drop("owner")


def _dated_as_first(rows: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """Keep the time at which an article was first said to be published: it names the article."""
    first = stored.group_by("article", "source").agg(first=pl.col("time").min())
    joined = rows.join(first, on=["article", "source"], how="left", maintain_order="left")
    return joined.with_columns(time=pl.coalesce("first", "time")).drop("first")


def read_news(
    lake: Lake,
    symbols: Sequence[str] | None = None,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    limit: int | None = None,
) -> pl.DataFrame:
    """Return articles, newest first, as they were known (``NEWS_SCHEMA``).

    Parameters
    ----------
    symbols
        Only what names one of them; everything when None.
    start, end
        Published with ``start <= time <= end``.
    as_of
        Only what could be read by then; everything when None.
    limit
        The newest so many.
    """
    table = lake.table(NEWS)
    if not table.exists():
        return NEWS.empty()
    rows = table.read(start=start, end=end, as_of=as_of, ordered=False)
    if symbols is not None:
        named = pl.col("symbols").str.split(",").list.set_intersection(list(symbols)).list.len() > 0
        rows = rows.filter(named)
    newest = rows.sort("time", "article", descending=[True, False])
    return newest if limit is None else newest.head(limit)


def article(**values: Any) -> dict[str, Any]:
    """Return one row of ``ARTICLE_SCHEMA``: its hashes are made here."""
    content = hash_of(values["title"], values["summary"], values["link"])
    known: datetime = values["known_at"]
    return {**values, "content": content, "known_at": known.astimezone(UTC)}
