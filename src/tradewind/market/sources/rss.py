"""RSS and Atom feeds, read by feedparser once they are known to be harmless.

A document that declares entities is refused: no feed needs them, and bombs are made of them. One that is not well
formed is refused too, because the rest of an article that was cut off would look like an article.
"""

from __future__ import annotations

import calendar
import io
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import polars as pl

from tradewind.errors import DataError, InputError
from tradewind.market.news import ARTICLE_SCHEMA, NEWS_SOURCES, Articles, article, hash_of
from tradewind.market.sources._fetch import Answer, ask

_NOT_MODIFIED: Final = 304
_AGENT: Final = "tradewind (news reader)"
_MOST_ENTRIES: Final = 1000
_LONGEST: Final[Mapping[str, int]] = {"title": 500, "summary": 4000, "link": 2000}
_AHEAD: Final = timedelta(minutes=5)
_DECLARES: Final = re.compile(rb"<!\s*(ENTITY|DOCTYPE[^>]*\[)", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")

Asker = Callable[..., Answer]


@NEWS_SOURCES.register
class RssSource:
    """One feed.

    Parameters
    ----------
    url
        Where it is.
    kilobytes
        The longest document that is read, after unpacking.
    """

    name: ClassVar[str] = "rss"

    def __init__(self, *, url: str, kilobytes: int = 2048, timeout_s: float = 20.0, ask: Asker = ask) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise InputError(f"{url!r} is no address of a feed", hint="write it as https://…")
        self.url, self._most, self._timeout_s, self._ask = url, kilobytes * 1024, timeout_s, ask
        self._unchanged: dict[str, str] = {}

    def articles(self, now: datetime, seen_before: datetime | None) -> Articles:
        """Return what the feed shows; nothing where it says that nothing changed."""
        answer = self._ask(
            self.url,
            headers={"User-Agent": _AGENT, **self._unchanged},
            timeout_s=self._timeout_s,
            most_bytes=self._most,
        )
        if answer.status == _NOT_MODIFIED:
            return Articles(pl.DataFrame(schema=ARTICLE_SCHEMA))
        if answer.status != 200:
            raise DataError(f"the feed at {self._place} answers {answer.status}", hint="check [ingest] news_feeds")
        entries = _entries(answer, self._place)
        self._unchanged = _conditions(answer)
        return _articles(entries, now, seen_before)

    @property
    def _place(self) -> str:
        """Where it is, without what may be secret of it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{parts.path}"


def _conditions(answer: Answer) -> dict[str, str]:
    """Return the headers by which the next question asks for changes only."""
    asked = {"If-None-Match": answer.headers.get("etag"), "If-Modified-Since": answer.headers.get("last-modified")}
    return {name: value for name, value in asked.items() if value}


def _entries(answer: Answer, place: str) -> list[Mapping[str, Any]]:
    import feedparser
    from feedparser.encodings import convert_to_utf8

    headers = {"content-type": answer.headers.get("content-type", "")}
    told: dict[str, Any] = {"bozo": False}
    data = convert_to_utf8(dict(headers), answer.body, told)
    if _DECLARES.search(data) or _DECLARES.search(answer.body.replace(b"\0", b"")):
        raise DataError(f"the feed at {place} declares entities and is not read", hint="take it out of news_feeds")
    parsed = feedparser.parse(io.BytesIO(data), response_headers={"content-type": "application/xml; charset=utf-8"})
    broken = parsed.get("bozo_exception") if parsed.bozo else None
    if broken is not None and not isinstance(broken, feedparser.CharacterEncodingOverride):
        raise DataError(f"the feed at {place} is no well-formed XML: {_line(str(broken), 120)}")
    if not parsed.version and not parsed.entries:
        raise DataError(f"the document at {place} is no feed", hint="check [ingest] news_feeds")
    return list(parsed.entries[:_MOST_ENTRIES])


def _articles(entries: list[Mapping[str, Any]], now: datetime, seen_before: datetime | None) -> Articles:
    rows, nameless, early = [], 0, 0
    for entry in entries:
        texts = {name: _line(str(entry.get(name) or ""), longest) for name, longest in _LONGEST.items()}
        identity = str(entry.get("id") or entry.get("link") or "")
        if not identity or not texts["title"]:
            nameless += 1
            continue
        published = _moment(entry.get("published_parsed") or entry.get("updated_parsed"))
        early += published is not None and published > now + _AHEAD
        rows.append(article(article=hash_of(identity), **texts, **_known(published, now, seen_before)))
    notes = [f"{nameless} entries without title or id are left out"] if nameless else []
    notes += [f"{early} entries are dated in the future: dated to when they were seen"] if early else []
    return Articles(pl.DataFrame(rows, schema=ARTICLE_SCHEMA), tuple(notes))


def _known(published: datetime | None, now: datetime, seen_before: datetime | None) -> dict[str, Any]:
    """Return when an article was published and since when it is known.

    One older than the last look was there before, or was there when nobody looked: then it is known since it was
    published, which is assumed. Anything else is known since now.
    """
    if published is None or published > now + _AHEAD:
        return {"time": now, "known_at": now, "vintage": "observed"}
    published = min(published, now)
    if seen_before is None:
        return {"time": published, "known_at": published, "vintage": "assumed"}
    return {"time": published, "known_at": now, "vintage": "observed"}


def _moment(parsed: Any) -> datetime | None:
    """Return an instant that feedparser read, in UTC; None where it read none that can be."""
    try:
        return datetime.fromtimestamp(calendar.timegm(parsed), UTC) if parsed else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _line(text: str, longest: int) -> str:
    """Return a text without tags, on one line, no longer than allowed."""
    return " ".join(unescape(_TAG.sub(" ", text)).replace("\0", " ").split())[:longest]
