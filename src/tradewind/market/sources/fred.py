"""FRED and ALFRED: macro series with what was known of them when.

ALFRED tells of each value from which day on it was what was known (``realtime_start``), by the day. The moment of that
day is the series' release time where the settings say it; else the value counts as known at the end of that day in New
York, which may be hours late and is never early. A value that is seen to appear on its day is known from then on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

import polars as pl

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.macro import MACRO_SOURCES, VINTAGE_SCHEMA, Vintages
from tradewind.market.sources._fetch import Answer, ask

KEY: Final = "FRED_API_KEY"
NEW_YORK: Final = ZoneInfo("America/New_York")

_FIRST, _LAST = date(1776, 7, 4), date(9999, 12, 31)
_PAGE: Final = 100_000
_END_OF_DAY: Final = time(23, 59, 59, 999_999)
_NOTHING: Final = "."

Asker = Callable[..., Answer]


@MACRO_SOURCES.register
class FredSource:
    """Asks FRED.

    Parameters
    ----------
    url
        Where the service is.
    release
        Local times (New York) at which series are published, by series: ``{"CPIAUCSL": "08:30"}``.
    environ
        Has ``FRED_API_KEY``.
    """

    name: ClassVar[str] = "fred"

    def __init__(
        self,
        *,
        url: str = "https://api.stlouisfed.org/fred",
        release: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        page: int = _PAGE,
        timeout_s: float = 30.0,
        ask: Asker = ask,
    ) -> None:
        self._url, self._page, self._timeout_s, self._ask = url.rstrip("/"), page, timeout_s, ask
        self._release = {series: time.fromisoformat(text) for series, text in (release or {}).items()}
        self._environ = os.environ if environ is None else environ

    def vintages(self, series: str, since: date | None, now: datetime) -> Vintages:
        """Return what was published of a series since a date, as far as the day of ``now``.

        A value that was the current one at ``since`` already is told again, dated to ``since``: where the store has
        what was said before, it is no news.
        """
        today = now.astimezone(NEW_YORK).date()
        try:
            rows = list(self._between(series, since or _FIRST, _LAST))
        except _NoVintages:
            return self._unrevised(series, now)
        return Vintages(self._table(series, rows, today, now))

    # -- asking ----------------------------------------------------------------------------------------------

    def _between(self, series: str, first: date, last: date) -> Iterator[Mapping[str, Any]]:
        """Yield observations by realtime periods; a span with too many vintages for one answer is halved."""
        try:
            pages = list(self._pages(series, {"realtime_start": str(first), "realtime_end": str(last)}))
        except _TooMany:
            middle = _middle(first, last)
            yield from self._between(series, first, middle)
            yield from self._between(series, middle + timedelta(days=1), last)
            return
        yield from (row for page in pages for row in page)

    def _pages(self, series: str, period: Mapping[str, str]) -> Iterator[list[Mapping[str, Any]]]:
        offset = 0
        while True:
            params = {"series_id": series, "file_type": "json", "limit": self._page, "offset": offset, **period}
            payload = self._payload(series, params)
            try:
                rows, count = payload["observations"], int(payload["count"])
                yield list(rows)
            except (KeyError, TypeError, ValueError) as error:
                raise _unreadable(series) from error
            offset += len(rows)
            if offset >= count or not rows:
                return

    def _payload(self, series: str, params: Mapping[str, Any]) -> Any:
        key = self._environ.get(KEY, "").strip()
        if not key:
            raise InputError(f"FRED needs the environment variable {KEY}", hint=f"export {KEY}=… (docs/ingest.md)")
        answer = self._ask(f"{self._url}/series/observations", {**params, "api_key": key}, timeout_s=self._timeout_s)
        if answer.status != 200:
            raise _refusal(series, answer, key)
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise RetryError(f"FRED's answer for {series} is cut off or no JSON", hint="it is asked again") from error

    # -- reading ---------------------------------------------------------------------------------------------

    def _table(self, series: str, rows: Sequence[Mapping[str, Any]], today: date, now: datetime) -> pl.DataFrame:
        try:
            told = [
                (date.fromisoformat(row["date"]), date.fromisoformat(row["realtime_start"]), _number(row["value"]))
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(series) from error
        lines = [(series, _instant(d), r, v, *self._known(series, r, today, now)) for d, r, v in told if r <= today]
        table = pl.DataFrame(lines, schema=VINTAGE_SCHEMA, orient="row")
        return table.unique(["time", "released"], keep="last", maintain_order=True).sort("time", "released")

    def _known(self, series: str, released: date, today: date, now: datetime) -> tuple[datetime, str]:
        """Return since when a vintage is known, and whether that was witnessed."""
        if released == today:
            return now, "observed"
        moment = datetime.combine(released, self._release.get(series, _END_OF_DAY), NEW_YORK)
        return moment.astimezone(UTC), "assumed"

    def _unrevised(self, series: str, now: datetime) -> Vintages:
        """Return a series that ALFRED does not keep: each value as if published the day after its own."""
        rows = [row for page in self._pages(series, {}) for row in page]
        shifted = [{**row, "realtime_start": str(date.fromisoformat(row["date"]) + timedelta(days=1))} for row in rows]
        note = f"{series}: ALFRED has no vintages of it; each value counts as published on the day after its date"
        return Vintages(self._table(series, shifted, now.astimezone(NEW_YORK).date(), now), (note,))


class _TooMany(Exception):  # noqa: N818 - handled here
    """More vintages than one answer may have."""


class _NoVintages(Exception):  # noqa: N818 - handled here
    """A series without revisions."""


def _refusal(series: str, answer: Answer, key: str) -> Exception:
    """Return what a refusal means; the service repeats the key in its words, and we do not."""
    try:
        said = str(json.loads(answer.body)["error_message"])
    except (ValueError, KeyError, TypeError):
        said = f"status {answer.status}"
    said = " ".join(said.replace(key, "…").split())
    lower = said.lower()
    if "api_key" in lower:
        return InputError(f"FRED refuses the key: {said}", hint=f"check {KEY}; fredaccount.stlouisfed.org gives one")
    if "vintage dates" in lower and "exceed" in lower:
        return _TooMany()
    if "alfred" in lower and "exist" in lower:
        return _NoVintages()
    if "does not exist" in lower:
        return InputError(f"FRED has no series {series}: {said}", hint="correct [ingest] macro_series")
    return DataError(f"FRED refuses the question about {series}: {said}")


def _unreadable(series: str) -> DataError:
    return DataError(f"FRED's answer for {series} cannot be read", hint="its format may have changed: please report it")


def _middle(first: date, last: date) -> date:
    """Return a day inside a span: most vintages lie in recent decades, and none after this century."""
    end = min(last, date(2100, 1, 1)) if first < date(2100, 1, 1) else last
    begin = max(first, date(1990, 1, 1)) if end > date(1990, 1, 2) else first
    if end <= begin:
        raise DataError("FRED says that one day has too many vintages", hint="please report it")
    return begin + (end - begin) // 2


def _number(text: str) -> float | None:
    return None if text == _NOTHING else float(text)


def _instant(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
