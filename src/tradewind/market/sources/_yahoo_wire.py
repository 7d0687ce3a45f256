"""What bars and calendars share of Yahoo's wire: the crumb, what is a readable answer, and the errors of one."""

from __future__ import annotations

import json
from typing import Any

from tradewind.errors import DataError, InputError, RetryError
from tradewind.market.sources._http import Client, Response


def new_crumb(client: Client, base_url: str, cookie_url: str) -> str:
    """Fetch the cookie (its page is a 404, and that is fine), then the crumb that goes with it."""
    client.get(cookie_url, {}, lambda _: True)
    answer = client.get(f"{base_url}/v1/test/getcrumb", {}, lambda _: True)
    if answer.status != 200 or not answer.text or "<" in answer.text:
        raise RetryError(f"Yahoo gave no crumb (status {answer.status})", hint="wait some minutes and call again")
    return answer.text.strip()


def readable(answer: Response) -> bool:
    """Tell whether the answer is JSON; a proxy's page in its place is worth another attempt."""
    try:
        return isinstance(json.loads(answer.text), dict)
    except ValueError:
        return answer.status == 401


def payload_of(answer: Response, symbol: str, part: str, otherwise: str) -> Any:
    """Return the JSON of an answer, or raise the error that fits it.

    ``part`` is where the answer stands (``chart``, ``quoteSummary``), ``otherwise`` what is said where Yahoo gives no
    reason.
    """
    if answer.status == 401:
        raise RetryError(f"Yahoo refuses {symbol} (401, invalid crumb)", hint="wait some minutes and call again")
    if not readable(answer):
        raise DataError(
            f"Yahoo's answer for {symbol} is no JSON (status {answer.status}): {answer.text[:80]!r}",
            hint="a proxy may be in the way; try again later",
        )
    payload = json.loads(answer.text)
    if answer.status in (400, 422):
        raise InputError(f"Yahoo refuses the question about {symbol}: {reason_in(payload, part, otherwise)}")
    if answer.status not in (200, 404):
        raise DataError(f"Yahoo answers {answer.status} for {symbol}: {reason_in(payload, part, otherwise)}")
    return payload


def reason_in(payload: Any, part: str, otherwise: str) -> str:
    """Return why there is nothing, in Yahoo's words where it gives any."""
    body = payload.get(part) or payload.get("finance") or {}
    error = body.get("error") or {} if isinstance(body, dict) else {}
    return str(error.get("description") or otherwise)


def strange(symbol: str, what: object) -> DataError:
    """Return the error for an answer that has no shape we know."""
    return DataError(
        f"Yahoo's answer for {symbol} has an unknown shape: {what}",
        hint="the service may have changed; please report it",
    )
