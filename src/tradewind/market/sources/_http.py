"""Polite HTTP: one request at a time, spaced out, repeated with growing pauses when the other side is unwell."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol

from tradewind.clock import Clock, SystemClock
from tradewind.errors import RetryError

THROTTLED: Final = 429


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body as text, and headers with lower-case names."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Unreachable(Exception):  # noqa: N818 - a fact about the network, turned into RetryError after all attempts
    """No answer: refused, reset, timed out, or the name was not found."""


class Transport(Protocol):
    """Something that can GET."""

    def get(self, url: str, params: Mapping[str, Any], timeout_s: float) -> Response:
        """Return the answer, whatever its status; raises ``Unreachable`` where there is none."""
        ...


class BrowserTransport:
    """GET the way a browser does (TLS fingerprint included), which is what some providers insist on."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        from curl_cffi import requests

        self._session: Any = requests.Session(impersonate="chrome", headers=dict(headers or {}))
        self._failure = requests.exceptions.RequestException

    def get(self, url: str, params: Mapping[str, Any], timeout_s: float) -> Response:
        """Return the answer; cookies are kept from one call to the next."""
        try:
            answer = self._session.get(url, params=dict(params), timeout=timeout_s)
        except self._failure as error:
            raise Unreachable(str(error)) from error
        return Response(answer.status_code, answer.text, {k.lower(): v for k, v in answer.headers.items()})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how hard to ask.

    Attributes
    ----------
    requests_per_second
        Upper bound on the rate, retries included.
    retries
        Further attempts after the first.
    pause_s, longest_pause_s
        The pause doubles from the first to at most the second; each is shortened at random by up to half.
    timeout_s
        How long one attempt may take.
    """

    requests_per_second: float = 2.0
    retries: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 60.0
    timeout_s: float = 20.0


class Client:
    """A transport with manners."""

    def __init__(
        self,
        transport: Transport,
        patience: Patience,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transport, self.patience = transport, patience
        self._clock, self._sleep, self._jitter = clock or SystemClock(), sleep, jitter
        self._free_at = self._clock.now()

    def get(self, url: str, params: Mapping[str, Any], readable: Callable[[Response], bool]) -> Response:
        """Return the first answer that is neither throttled, nor a server's failure, nor unreadable.

        An unreadable answer is returned after the last attempt, for the caller to report. Raises ``RetryError``
        where the last attempt was throttled, failed, or was not answered.
        """
        for attempt in range(self.patience.retries + 1):
            self._wait_turn()
            failure, answer = self._attempt(url, params)
            if answer is not None and failure is None and readable(answer):
                return answer
            if attempt < self.patience.retries:
                self._sleep(self._pause(attempt, answer))
        if failure is None and answer is not None:
            return answer
        raise RetryError(
            f"{url}: {failure} ({self.patience.retries + 1} attempts)",
            hint="check the connection, or wait some minutes and call again; "
            "`--source sample` and `--source synthetic` need no network",
        )

    def _attempt(self, url: str, params: Mapping[str, Any]) -> tuple[str | None, Response | None]:
        try:
            answer = self._transport.get(url, params, self.patience.timeout_s)
        except Unreachable as error:
            return f"no answer: {error}", None
        if answer.status == THROTTLED:
            return "too many requests (429)", answer
        if answer.status >= 500:
            return f"the server failed ({answer.status})", answer
        return None, answer

    def _wait_turn(self) -> None:
        now = self._clock.now()
        wait = (self._free_at - now).total_seconds()
        if wait > 0:
            self._sleep(wait)
        self._free_at = max(self._free_at, now) + timedelta(seconds=1 / self.patience.requests_per_second)

    def _pause(self, attempt: int, answer: Response | None) -> float:
        """Return the pause before the next attempt; what the server asks for counts, within reason."""
        longest = self.patience.longest_pause_s
        pause = min(self.patience.pause_s * 2.0**attempt, longest) * (1 - 0.5 * self._jitter())
        asked = (answer.headers if answer else {}).get("retry-after", "")
        return min(max(pause, float(asked)), longest) if asked.isdigit() else pause
