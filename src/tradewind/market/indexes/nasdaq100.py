"""The NASDAQ-100 as Nasdaq's own site lists it.

The answer is ``{"data": {"date": "Sep 24, 2026", "data": {"rows": [{"symbol": …, "companyName": …}, …]}},
"status": {"rCode": 200, "bCodeMessage": null}}``. Failures come with status 200 too: ``data`` is null then and
``bCodeMessage`` says why. Clients that do not look like a browser are left waiting.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, ClassVar, Final

from tradewind.clock import Clock
from tradewind.errors import DataError, RetryError
from tradewind.market.indexes.base import Listing, listing, register
from tradewind.market.sources._http import BrowserTransport, Client, Patience, Response, Transport

URL: Final = "https://api.nasdaq.com/api/quote/list-type/nasdaq100"
_HEADERS: Final = {
    "Accept": "application/json, text/plain, */*",
    "Origin": "https://www.nasdaq.com",
    "Referer": "https://www.nasdaq.com/",
}


@register
class Nasdaq100:
    """The members of the NASDAQ-100 today (100 companies, some with two classes of shares)."""

    name: ClassVar[str] = "nasdaq100"
    fewest: ClassVar[int] = 95
    most: ClassVar[int] = 115

    def __init__(
        self,
        *,
        url: str | None = None,
        transport: Transport | None = None,
        patience: Patience | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._url, self._transport = url or URL, transport
        self._patience = patience or Patience(requests_per_second=1.0, retries=3)
        self._clock, self._sleep, self._jitter = clock, sleep, jitter

    def members(self) -> Listing:
        """Return the members of this moment."""
        transport = self._transport or BrowserTransport(_HEADERS)
        client = Client(transport, self._patience, clock=self._clock, sleep=self._sleep, jitter=self._jitter)
        data = _data(client.get(self._url, {}, _usable), self._url)
        try:
            rows = data["data"]["rows"]
            symbols = [row["symbol"] for row in rows]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"the answer of {self._url} has an unknown shape: {type(error).__name__} {error}",
                hint="the service may have changed; please report it",
            ) from error
        return listing(symbols, stated_on=_stated(data.get("date")), provider=self._url)


def _usable(answer: Response) -> bool:
    """Tell whether the answer holds data; a page in its place, or "try again later", is worth another attempt."""
    payload = _json(answer)
    return isinstance(payload, Mapping) and isinstance(payload.get("data"), Mapping)


def _data(answer: Response, url: str) -> Mapping[str, Any]:
    """Return the data of an answer, or the error that fits it."""
    payload = _json(answer)
    if not isinstance(payload, Mapping):
        raise DataError(
            f"the answer of {url} is no JSON (status {answer.status}): {answer.text[:80]!r}",
            hint="a proxy or a bot filter may be in the way; try again later",
        )
    if not isinstance(payload.get("data"), Mapping):
        raise RetryError(f"{url} gave no list (status {answer.status}): {_reason(payload)}", hint="try again later")
    return dict(payload["data"])


def _json(answer: Response) -> Any:
    try:
        return json.loads(answer.text)
    except ValueError:
        return None


def _reason(payload: Mapping[str, Any]) -> str:
    status = payload.get("status")
    said = status.get("bCodeMessage") if isinstance(status, Mapping) else None
    texts = [str(m.get("errorMessage")) for m in said or () if isinstance(m, Mapping)]
    return "; ".join(texts) or str(payload.get("message") or "no reason given")


def _stated(text: object) -> date | None:
    try:
        return datetime.strptime(str(text), "%b %d, %Y").date()
    except ValueError:
        return None
