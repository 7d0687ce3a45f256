"""Alpaca's market data as its client library hands it over, and what its refusals mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.bars import UTC_TIME, Schema
from tradewind.market.calendar import Calendar
from tradewind.market.sources._fetch import Throttled

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
PRICES: Final[Mapping[str, str]] = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}

_LATER: Final = frozenset((404, 406, 407, 500))
"""Errors of the stream that pass: log-in too slow, too many connections, slow consumer, an error of theirs."""

Answer = TypeVar("Answer")


def credentials(environ: Mapping[str, str] | None) -> tuple[str, str]:
    """Return key and secret from the environment; the error names the variable, never a value."""
    place = os.environ if environ is None else environ
    for name in (KEY, SECRET):
        if not place.get(name, "").strip():
            raise InputError(f"Alpaca needs the environment variable {name}", hint=f"export {name}=… (docs/ingest.md)")
    return place[KEY].strip(), place[SECRET].strip()


def missing_library() -> InputError:
    """Return the error where the client library is not there."""
    return InputError("Alpaca's client library is not installed", hint="pip install 'tradewind[alpaca]'")


def asked(call: Callable[[], Answer], about: str) -> Answer:
    """Return what the library answers; its failures as ours."""
    import requests
    from alpaca.common.exceptions import APIError

    try:
        return call()
    except APIError as error:
        raise refusal(error, about) from None
    except requests.exceptions.JSONDecodeError as error:
        raise RetryError(f"Alpaca's answer about {about} is cut off or no JSON", hint="it is asked again") from error
    except requests.exceptions.RequestException as error:
        raise RetryError(f"Alpaca did not answer: {type(error).__name__}", hint="check the connection") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"Alpaca's answer about {about} cannot be read: {type(error).__name__}") from error


def refusal(error: Any, about: str) -> Exception:
    """Return what a status means."""
    status, response = error.status_code, error.response
    if status == 429:
        return Throttled("Alpaca: too many requests (429)", after_s=_reset_s(response), hint="it is asked again later")
    if status in (401, 403):
        return InputError(
            f"Alpaca refuses the keys or has not sold this data ({status})", hint=f"check {KEY}, {SECRET} and the feed"
        )
    if status is not None and status >= 500:
        return RetryError(f"Alpaca failed ({status})", hint="it is asked again later")
    return InputError(f"Alpaca refuses the question about {about} ({status})", hint="check symbols and period")


def _reset_s(response: Any) -> float:
    """Return for how long it wants to be left alone, as far as it says."""
    headers = {} if response is None else response.headers
    asked_for = str(headers.get("Retry-After", ""))
    return min(float(asked_for), 3600.0) if asked_for.isdigit() else 0.0


def stream_error(code: int | None, words: str) -> Exception:
    """Return what an error of the stream means."""
    said = f"Alpaca's stream: {words} ({code})"
    if code in _LATER or code is None:
        return RetryError(said, hint="the connection is made anew")
    return InputError(said, hint=f"check {KEY}, {SECRET}, the feed and how many symbols your plan allows")


def table_of(rows: Iterable[tuple[str, datetime, Mapping[str, Any]]]) -> pl.DataFrame:
    """Return bars as a table: symbol, start (UTC), prices and volume."""
    lines = [
        (symbol, start, *(None if bar.get(short) is None else float(bar[short]) for short in PRICES.values()))
        for symbol, start, bar in rows
    ]
    schema: Schema = {"symbol": pl.String, "start": UTC_TIME, **dict.fromkeys(PRICES, pl.Float64)}
    return pl.DataFrame(lines, schema=schema, orient="row")


def stamped(table: pl.DataFrame, timeframe: str, calendar: Calendar) -> pl.DataFrame:
    """Return the bars with their close as ``time``; those outside of the sessions are left out."""
    starts = table["start"]
    if timeframe == "1d":
        days = starts.dt.convert_time_zone(calendar.zone).dt.date().to_numpy().astype("datetime64[D]")
        closes = calendar.close_of(days)
    else:
        closes = calendar.close_of_start(
            starts.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"), timeframe
        )
    times = pl.Series(np.asarray(closes, "datetime64[us]"), dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    return table.with_columns(time=times).drop_nulls("time").drop("start")


def moment(stamp: Any) -> datetime:
    """Return an instant as either of its wires has it: RFC 3339 text, or a time of MessagePack."""
    if isinstance(stamp, str):
        return datetime.fromisoformat(stamp).astimezone(UTC)
    return datetime.fromtimestamp(stamp.seconds + stamp.nanoseconds // 1000 / 1e6, UTC)
