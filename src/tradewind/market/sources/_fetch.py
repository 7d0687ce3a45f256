"""One question over HTTP: bounded in time and size, with nothing secret in what it says of a failure.

Nothing is repeated here: whoever supervises a service knows better when to ask again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tradewind.errors import DataError, RetryError

THROTTLED: Final = 429
_LONGEST_WAIT_S: Final = 3600.0


class Throttled(RetryError):  # noqa: N818 - as its parent says, a passing fault of the other side
    """The other side wants to be left alone for a while.

    Attributes
    ----------
    after_s
        For how long, as far as it said so.
    """

    def __init__(self, what: str, *, after_s: float, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers (lower-case names) of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def ask(
    url: str,
    params: Mapping[str, Any] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 20.0,
    most_bytes: int = 64 * 2**20,
) -> Answer:
    """Return the answer of a server that is well.

    Raises ``Throttled`` where it is asked too often, ``RetryError`` where it failed or did not answer, and
    ``DataError`` for an answer longer than ``most_bytes`` (as it is after unpacking). No message has the parameters:
    keys are among them.
    """
    from curl_cffi import requests

    place = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}{urlsplit(url).path}"
    asked = {"params": dict(params or {}), "headers": dict(headers or {}), "timeout": timeout_s}
    try:
        with requests.Session() as session:
            reply = session.get(url, stream=True, **asked)
            try:
                body = _read(reply.iter_content(), most_bytes, place)
            finally:
                reply.close()
    except requests.exceptions.RequestException as error:
        raise RetryError(f"{place} did not answer: {type(error).__name__}", hint="check the connection") from None
    answer = Answer(reply.status_code, body, {k.lower(): v or "" for k, v in reply.headers.items()})
    _check(place, answer)
    return answer


def _check(place: str, answer: Answer) -> None:
    if answer.status == THROTTLED:
        asked = answer.headers.get("retry-after", "")
        after = min(float(asked), _LONGEST_WAIT_S) if asked.isdigit() else 0.0
        raise Throttled(f"{place}: too many requests (429)", after_s=after, hint="it is asked again later")
    if answer.status >= 500:
        raise RetryError(f"{place}: the server failed ({answer.status})", hint="it is asked again later")


def _read(chunks: Iterable[bytes], most_bytes: int, place: str) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most_bytes:
            raise DataError(f"{place} says more than {most_bytes // 1024:,} KiB", hint="it is not read further")
    return bytes(body)
