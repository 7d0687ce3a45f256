"""How a broker is asked over a network: what may be repeated, and what a failure says about the world.

A question can be asked again; an order cannot. So a request that changes something is repeated only where it surely
had no effect (it never left, or it was throttled); every other failure of it is an
:class:`~tradewind.execution.brokers.base.OutcomeUnknown`.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit

from tradewind.errors import DataError, InputError, RetryError, SafetyStop
from tradewind.execution.brokers.base import OrderReport, OrderRequest, OutcomeUnknown
from tradewind.execution.brokers.settings import BrokerSection

Answer = TypeVar("Answer")

UNAUTHORISED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
THROTTLED: Final = 429
SHOWN: Final = 300
"""Characters of an answer that a message shows."""


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """The broker answered with a status of 400 or more; the adapter knows what that means.

    Attributes
    ----------
    code
        The broker's own number for what is wrong, 0 where it gives none.
    """

    def __init__(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status}: {body[:SHOWN]}")
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.code, self.message = _said(body)


class Unreadable(Exception):  # noqa: N818 - an answer, not a mistake
    """The broker answered with something that is not in its format."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Asks one broker with patience.

    Attributes
    ----------
    broker
        As messages call it.
    no_login
        Says which refusals, besides 401, are about the credentials.
    sleep, jitter
        Injected by tests; a pause is shortened at random by up to half.
    """

    broker: str
    settings: BrokerSection
    no_login: Callable[[Refused], bool] = field(default=lambda refused: False)
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = field(default=random.random)

    def ask(
        self, what: str, call: Callable[[], Answer], *, changes: bool = False, expected: tuple[int, ...] = ()
    ) -> Answer:
        """Return the answer of ``call``.

        Parameters
        ----------
        what
            The request as a message names it, e.g. ``"the orders"``.
        call
            Makes one attempt; raises ``Refused``, ``Unreadable`` or an exception of ``requests``.
        changes
            Whether it may change anything at the broker.
        expected
            Refusals of a question that mean something, by status.

        Raises
        ------
        RetryError
            Throttled, failing or away to the last attempt; it surely had no effect.
        OutcomeUnknown
            It may have had an effect.
        InputError
            The credentials are refused.
        DataError
            Answers that cannot be read, to the last attempt; a refusal of a question that is not expected.
        Refused
            A refusal to change something, or an expected one: what it means depends on the request.
        """
        from requests import RequestException

        attempt = 0
        while True:
            try:
                return call()
            except (RequestException, Refused, Unreadable) as failure:
                self._judge(what, failure, changes, expected)
                if attempt == self.settings.retries:
                    self._give_up(what, failure)
                pause = self._pause(attempt, failure)
            self.sleep(pause)
            attempt += 1

    def _judge(self, what: str, failure: Exception, changes: bool, expected: tuple[int, ...]) -> None:
        """Raise what must not be tried again."""
        if isinstance(failure, Refused):
            if failure.status == UNAUTHORISED or self.no_login(failure):
                raise InputError(
                    f"{self.broker} refuses the credentials ({failure.status}): {failure.message}",
                    hint="check the keys in the environment, and whether they are for paper or for live",
                ) from None
            if failure.status < 500 and failure.status != THROTTLED:
                if changes or failure.status in expected:
                    raise failure
                what = f"{self.broker} refuses to answer for {what}: {failure}"
                raise DataError(what, hint="compare it with the broker's documentation") from None
        if changes and not _had_no_effect(failure):
            raise OutcomeUnknown(
                f"{self.broker} gave no clear answer to {what}: {_described(failure)}",
                hint="ask for the order by its client id before anything else",
            ) from None

    def _give_up(self, what: str, failure: Exception) -> NoReturn:
        attempts = self.settings.retries + 1
        text = f"{self.broker} does not answer for {what}: {_described(failure)} ({attempts} attempts)"
        if isinstance(failure, Unreadable):
            raise DataError(text, hint="look whether the broker has a maintenance page up, then try again") from None
        raise RetryError(text, hint="check the connection and the broker's status page, then try again") from None

    def _pause(self, attempt: int, failure: Exception) -> float:
        """Return the pause before the next attempt; what the broker asks for counts, within reason."""
        longest = self.settings.longest_pause_seconds
        pause = min(self.settings.pause_seconds * 2.0**attempt, longest) * (1 - 0.5 * self.jitter())
        asked = failure.headers.get("retry-after", "") if isinstance(failure, Refused) else ""
        return min(max(pause, float(asked)), longest) if asked.isdigit() else pause


def read(body: str) -> Any:
    """Return JSON; ``Unreadable`` where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        raise Unreadable(f"no JSON: {body[:SHOWN]!r}") from None


def unreadable(broker: str, what: object, error: Exception) -> DataError:
    """Return the error for an answer whose content makes no sense."""
    text = f"{type(error).__name__}: {error}"[:SHOWN]
    return DataError(
        f"an answer of {broker} cannot be read ({text}): {str(what)[:SHOWN]}",
        hint="the broker's format may have changed: compare it with the adapter",
    )


@contextmanager
def reading(broker: str, answer: object) -> Iterator[None]:
    """Turn what goes wrong while an answer is read into a ``DataError`` that shows it."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(broker, answer, error) from None


def rejected(request: OrderRequest, reason: str, broker_order_id: str = "") -> OrderReport:
    """Return the report of an order that a broker did not take."""
    return OrderReport(
        request.client_order_id,
        broker_order_id,
        "rejected",
        reason=reason,
        symbol=request.symbol,
        side=request.side,
        quantity=request.quantity,
    )


def moment(text: str) -> datetime:
    """Return an ISO 8601 instant in UTC; fractions beyond the microsecond are cut off."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return parsed.astimezone(UTC)


def sent_date(headers: Mapping[str, str]) -> datetime:
    """Return when the broker sent an answer, by its ``Date``, to the second."""
    return parsedate_to_datetime(headers["Date"]).astimezone(UTC)


def require_stand_in(broker: str, url: str, real: str) -> None:
    """Refuse an address that is not the broker's own trading for real, but leads there."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise InputError(f"broker.url is {url!r}", hint="write it as http://host:port")
    if place.hostname.rstrip(".") == urlsplit(real).hostname:
        raise SafetyStop(
            f"broker.url {url} is where {broker} trades with real money, and live trading was not asked for",
            hint="take the url out of the settings; live trading needs its flag and its phrase",
        )


def credential(broker: str, environ: Mapping[str, str], name: str) -> str:
    """Return a secret from the environment; the error names the variable, never a value."""
    value = environ.get(name, "").strip()
    if not value:
        raise InputError(f"{broker} needs the environment variable {name}", hint=f"export {name}=… (docs/brokers.md)")
    return value


class Symbols:
    """Our names of stocks against a broker's: they differ in the sign before a share class (BRK-B, BRK.B, BRK/B)."""

    def __init__(self, sign: str, ours: tuple[str, ...] = ()) -> None:
        self._sign, self._ours = sign, dict[str, str]()
        for symbol in ours:
            self.theirs(symbol)

    def theirs(self, symbol: str) -> str:
        """Return the broker's name of ours, and remember which it was."""
        name = re.sub(r"[-./]", self._sign, symbol)
        self._ours[name] = symbol
        return name

    def ours(self, name: str) -> str:
        """Return our name of the broker's; one never asked about stays as the broker writes it."""
        return self._ours.get(name, name)


def _said(body: str) -> tuple[int, str]:
    """Return the number and the words of an error's body, whatever its shape."""
    try:
        content = json.loads(body)
    except ValueError:
        return 0, body.strip()[:SHOWN]
    if not isinstance(content, dict):
        return 0, str(content)[:SHOWN]
    code = content.get("code", 0)
    words = [str(content[name]) for name in ("message", "error", "error_description") if content.get(name)]
    words += [str(part) for part in content.get("errors") or ()]
    return code if isinstance(code, int) else 0, "; ".join(words)[:SHOWN] or body[:SHOWN]


def _had_no_effect(failure: Exception) -> bool:
    """Return whether a request that failed surely changed nothing: throttled, or it never left."""
    from requests.exceptions import ConnectionError as NotConnected
    from requests.exceptions import ConnectTimeout
    from urllib3.exceptions import NewConnectionError

    if isinstance(failure, Refused):
        return failure.status == THROTTLED
    if isinstance(failure, ConnectTimeout):
        return True
    reason = getattr(failure.args[0], "reason", None) if failure.args else None
    return isinstance(failure, NotConnected) and isinstance(reason, NewConnectionError)


def _described(failure: Exception) -> str:
    """Return a failure in words without what was sent: no header, no key."""
    if isinstance(failure, Refused):
        throttled = (
            "too many requests (429)" if failure.status == THROTTLED else f"the server failed ({failure.status})"
        )
        return f"{throttled} {failure.message}".strip()
    return f"{type(failure).__name__}: {failure}"[:SHOWN]
