"""Charles Schwab, through the client library schwabdev (an extra): no client ids, so orders are recognised.

Schwab keeps no id of ours. An order whose number we know is simply asked for. One whose answer was lost is recognised
by symbol, instruction, shares, prices and the time it was entered; where more than one order could be meant, trading
stops, because guessing would book fills twice. For the same reason an order is never handed in a second time while
the first attempt may still be on its way.

Schwab has no paper accounts: without ``live`` only a stand-in can be traded on. Fees are told as movements.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

from tradewind.clock import Clock, SystemClock
from tradewind.errors import DataError, InputError, RetryError, SafetyStop, TradewindError
from tradewind.execution.brokers._schwab_json import (
    blocked,
    cash_of,
    content_of,
    executions_of,
    flat,
    movement_of,
    order_of,
    positions_of,
    refusal,
    regular_hours,
    report_of,
)
from tradewind.execution.brokers._wire import (
    NOT_FOUND,
    UNAUTHORISED,
    Refused,
    Symbols,
    Wire,
    credential,
    moment,
    read,
    reading,
    rejected,
    require_stand_in,
    sent_date,
    unreadable,
)
from tradewind.execution.brokers.base import (
    AccountReport,
    Execution,
    KnownOrder,
    MarketClock,
    Movement,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    register,
)
from tradewind.execution.brokers.settings import BrokerSection

BROKER: Final = "Schwab"
REAL: Final = "https://api.schwabapi.com"
MOST_ORDERS: Final = 3000
HISTORY: Final = timedelta(days=59)
"""Schwab lists orders entered in the last sixty days; older ones are asked for by their numbers."""
LATE: Final = timedelta(days=7)
LOGIN_LASTS: Final = timedelta(days=7)
EARLY: Final = timedelta(seconds=60)
"""How long before we sent an order Schwab's clock may say that it was entered."""

MOVED: Final = (
    "DIVIDEND_OR_INTEREST", "RECEIVE_AND_DELIVER", "JOURNAL", "CASH_RECEIPT", "CASH_DISBURSEMENT", "ACH_RECEIPT",
    "ACH_DISBURSEMENT", "ELECTRONIC_FUND", "WIRE_IN", "WIRE_OUT",
)  # fmt: skip
"""Transactions that move cash or shares and are no trades."""


@dataclass(slots=True)
class _Ours:
    """An order of ours: Schwab's number for it once known, and when it was first sent."""

    request: OrderRequest
    number: str = ""
    sent_at: datetime | None = None


@register
class SchwabBroker:
    """An account at Schwab.

    Parameters
    ----------
    settings
        Patience, the account's last digits, where tokens are kept, and for stand-ins another address.
    live
        Real money, which is all that Schwab has. Whoever passes True has asked for it twice.
    environ
        Has ``SCHWAB_APP_KEY`` and ``SCHWAB_APP_SECRET``; may have ``SCHWAB_CALLBACK_URL`` and, to keep the tokens
        encrypted, ``SCHWAB_TOKENS_KEY`` (a Fernet key).
    symbols
        The names that we use, where Schwab writes them otherwise (BRK-B for its BRK/B).
    log_in
        Given the address of Schwab's login page, returns the address that it led to. A person has to do so every
        seven days; without it an ended login is an ``InputError``.
    """

    name: ClassVar[str] = "schwab"
    may_arrive_for: ClassVar[timedelta] = timedelta(minutes=15)

    def __init__(
        self,
        settings: BrokerSection | None = None,
        *,
        live: bool = False,
        environ: Mapping[str, str] | None = None,
        symbols: Sequence[str] = (),
        log_in: Callable[[str], str] | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings, self.live = settings or BrokerSection(name="schwab"), live
        self._client = _client(self.settings, os.environ if environ is None else environ, log_in, live=live)
        self._wire = Wire(BROKER, self.settings, sleep=sleep)
        self._clock, self._symbols = clock or SystemClock(), Symbols("/", tuple(symbols))
        self._ours, self._names, self._ended = dict[str, _Ours](), dict[str, str](), dict[str, datetime]()
        self._hash = self._number = ""

    def __repr__(self) -> str:
        """Say which, and never with what key."""
        return f"SchwabBroker({'live' if self.live else 'stand-in'})"

    def login_ends(self) -> datetime:
        """Return when a person has to log in again."""
        return self._client.tokens._refresh_token_issued + LOGIN_LASTS

    # -- the account -----------------------------------------------------------------------------------------

    def account(self) -> AccountReport:
        """Return cash, equity and positions, at the second in which Schwab answered."""
        answer = self._ask("the account", lambda: self._client.account_details(self._account(), fields="positions"))
        content = self._json(answer)
        with reading(BROKER, content):
            account = content["securitiesAccount"]
            balances = account["currentBalances"]
            return AccountReport(
                cash=cash_of(balances),
                equity=float(balances["liquidationValue"]),
                buying_power=float(balances.get("buyingPower", balances.get("cashAvailableForTrading", 0.0))),
                time=sent_date(answer.headers),
                positions=positions_of(account.get("positions") or (), self._symbols),
                blocked=blocked(account),
            )

    def account_number(self) -> str:
        """Return the account's number."""
        self._account()
        return self._number

    def clock(self) -> MarketClock:
        """Return Schwab's clock, to the second, and today's hours."""
        answer = self._ask("the market's hours", lambda: self._client.market_hours(["equity"]))
        content = self._json(answer)
        with reading(BROKER, content):
            now = sent_date(answer.headers)
            spans = [span for hours in content["equity"].values() for span in regular_hours(hours)]
        later = [opens for opens, _ in spans if opens > now]
        closing = [closes for _, closes in spans if closes > now]
        is_open = any(opens <= now < closes for opens, closes in spans)
        return MarketClock(now, is_open, min(later, default=None), min(closing, default=None))

    # -- orders ----------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> OrderReport:
        """Hand in an order; see :class:`~tradewind.execution.brokers.base.Broker`.

        Raises ``OutcomeUnknown`` also for an order that was sent before and is not (yet) to be found.
        """
        name = request.client_order_id
        if name in self._ours and self._ours[name].sent_at is not None:
            return self._sent_before(request)
        reason = refusal(request)
        if reason:
            return rejected(request, reason)
        wanted, account = order_of(request, self._symbols.theirs(request.symbol)), self._account()
        ours = self._ours[name] = _Ours(request, sent_at=self._clock.now())
        try:
            answer = self._ask(f"the order {request}", lambda: self._client.place_order(account, wanted), changes=True)
        except Refused as refused:
            del self._ours[name]
            return rejected(request, refused.message)
        except OutcomeUnknown:
            raise
        except TradewindError:
            del self._ours[name]
            raise
        self._bind(ours, answer.headers.get("Location", "").rsplit("/", 1)[-1])
        return self._just_taken(ours)

    def cancel(self, client_order_id: str) -> OrderReport:
        """Ask for an order's end; what is finished stays as it is."""
        report = self.order(client_order_id)
        if report is None:
            raise InputError(f"Schwab has no order {client_order_id!r}", hint="reconcile: it may never have arrived")
        if not report.is_open:
            return report
        account, number = self._account(), report.broker_order_id
        with suppress(Refused):  # it ended meanwhile: what it became is read below
            self._ask(f"the end of {client_order_id}", lambda: self._client.cancel_order(account, number), changes=True)
        try:
            after = self.order(client_order_id)
        except (RetryError, DataError) as failure:
            raise OutcomeUnknown(failure.what, hint=failure.hint) from None
        return after or report

    def order(self, client_order_id: str) -> OrderReport | None:
        """Return the report of one order; None where Schwab has none (yet) that could be it."""
        ours = self._ours.get(client_order_id)
        if ours is None:
            return None
        if not ours.number:
            self._match()
        return self._numbered(ours.number) if ours.number else None

    def orders(self, *, open_only: bool = False, since: datetime | None = None) -> list[OrderReport]:
        """Return open orders and those that changed since, oldest first."""
        reports = [self._report(order) for order in self._all(since)]
        if open_only:
            return [report for report in reports if report.is_open]
        return [r for r in reports if r.is_open or since is None or r.updated is None or r.updated >= since]

    # -- what happened ---------------------------------------------------------------------------------------

    def executions(self, *, since: datetime | None = None) -> list[Execution]:
        """Return the fills since, each once, by time. Their fees come as movements."""
        made: dict[str, Execution] = {}
        for row in self._all(since):
            with reading(BROKER, row):
                made.update((e.execution_id, e) for e in executions_of(row, self._names, self._symbols))
        chosen = (e for e in made.values() if since is None or e.time >= since)
        return sorted(chosen, key=lambda e: (e.time, e.execution_id))

    def movements(self, *, since: datetime | None = None) -> list[Movement]:
        """Return dividends, fees, interest and transfers since, and from a week before: some come late."""
        now = self._clock.now()
        start = now - HISTORY if since is None else since - LATE
        made: dict[str, Movement] = {}
        for kind in (*MOVED, "TRADE"):
            for row in self._transactions(kind, start, now + timedelta(days=1)):
                with reading(BROKER, row):
                    movement = movement_of(row, self._symbols)
                if movement is not None:
                    made[movement.movement_id] = movement
        return sorted(made.values(), key=lambda m: (m.time, m.movement_id))

    def recognise(self, orders: Iterable[KnownOrder]) -> None:
        """Learn which of Schwab's orders are ours.

        Raises ``SafetyStop`` where an order without a number could be more than one of Schwab's, or one of Schwab's
        more than one of ours.
        """
        for known in orders:
            self._symbols.theirs(known.request.symbol)
            name = known.request.client_order_id
            ours = self._ours.setdefault(name, _Ours(known.request, sent_at=known.sent_at))
            self._bind(ours, known.broker_order_id)
        self._match()

    def close(self) -> None:
        """Close the connections and the token store."""
        self._client.close()
        self._client.tokens._close()

    # -- asking ----------------------------------------------------------------------------------------------

    def _ask(self, what: str, call: Callable[[], Any], *, changes: bool = False, there: bool = True) -> Any:
        """Return the library's response, once it is one of success and (for a question) has JSON in it."""

        def once() -> Any:
            answer = call()
            if answer.status_code == UNAUTHORISED and self._client.update_tokens(force_access_token=True):
                answer = call()  # what was not let in had no effect
            if not answer.ok:
                raise Refused(answer.status_code, answer.text, answer.headers)
            if not changes:
                read(answer.text)
            return answer

        return self._wire.ask(what, once, changes=changes, expected=() if there else (NOT_FOUND,))

    def _json(self, answer: Any) -> Any:
        return read(answer.text)

    def _account(self) -> str:
        """Return the hash that stands for the account in every address."""
        if not self._hash:
            rows = self._json(self._ask("the accounts", self._client.linked_accounts))
            with reading(BROKER, rows):
                accounts = {str(row["accountNumber"]): str(row["hashValue"]) for row in rows}
            self._number = _chosen(accounts, self.settings.account)
            self._hash = accounts[self._number]
        return self._hash

    def _listed(self, start: datetime) -> list[dict[str, Any]]:
        """Return the orders entered since, those inside other orders included."""
        end, account = self._clock.now() + timedelta(days=1), self._account()
        rows = self._json(self._ask("the orders", lambda: self._client.account_orders(account, start, end)))
        if not isinstance(rows, list) or len(rows) >= MOST_ORDERS:
            raise unreadable(BROKER, rows, ValueError(f"no list of fewer than {MOST_ORDERS} orders"))
        with reading(BROKER, rows):
            return sorted(flat(rows), key=lambda row: (row["enteredTime"], row["orderId"]))

    def _all(self, since: datetime | None) -> list[dict[str, Any]]:
        """Return the orders that may have changed since: those listed, and older ones of ours that have not ended."""
        oldest = self._clock.now() - HISTORY
        rows = self._listed(oldest if since is None else max(since - LATE, oldest))
        listed = {str(row["orderId"]) for row in rows}
        missing = [ours.number for ours in self._ours.values() if ours.number and ours.number not in listed]
        asked = (number for number in missing if not self._ended_before(number, since))
        older = [row for number in asked if (row := self._details(number)) is not None]
        return [*older, *rows]

    def _ended_before(self, number: str, since: datetime | None) -> bool:
        ended = self._ended.get(number)
        return ended is not None and since is not None and ended < since - LATE

    def _details(self, number: str) -> dict[str, Any] | None:
        account = self._account()
        try:
            return self._json(
                self._ask(f"the order {number}", lambda: self._client.order_details(account, number), there=False)
            )
        except Refused:
            return None

    def _numbered(self, number: str) -> OrderReport | None:
        row = self._details(number)
        return None if row is None else self._report(row)

    def _transactions(self, kind: str, start: datetime, end: datetime) -> Iterable[dict[str, Any]]:
        account = self._account()
        asked = f"transactions ({kind})"
        rows = self._json(self._ask(asked, lambda: self._client.transactions(account, start, end, kind)))
        if not isinstance(rows, list):
            raise unreadable(BROKER, rows, TypeError("no list of transactions"))
        return (row for row in rows if row.get("status", "VALID") == "VALID")

    # -- whose order it is -----------------------------------------------------------------------------------

    def _bind(self, ours: _Ours, number: str) -> None:
        if number:
            ours.number = number
            self._names[number] = ours.request.client_order_id

    def _sent_before(self, request: OrderRequest) -> OrderReport:
        report = self.order(request.client_order_id)
        if report is None:
            raise OutcomeUnknown(
                f"{request} was sent to Schwab before and is not to be found; it may still be on its way",
                hint="reconcile; an order without an id of ours is never handed in twice",
            )
        return report

    def _just_taken(self, ours: _Ours) -> OrderReport:
        """Return the report of an order that Schwab has just said to have created."""
        request = ours.request
        try:
            report = self.order(request.client_order_id)
        except (RetryError, DataError):
            report = None
        if report is None and not ours.number:
            raise OutcomeUnknown(f"Schwab took {request} and gave it no number", hint="reconcile")
        return report or OrderReport(
            request.client_order_id, ours.number, "accepted", 0.0, None, "", None,
            request.symbol, request.side, request.quantity,
        )  # fmt: skip

    def _match(self) -> None:
        """Find Schwab's numbers of our orders of which only the request is known."""
        unmatched = [ours for ours in self._ours.values() if not ours.number]
        sent = [ours.sent_at for ours in unmatched if ours.sent_at is not None]
        if not sent:
            return
        start = max(min(sent) - EARLY, self._clock.now() - HISTORY)
        free = [row for row in self._listed(start) if str(row["orderId"]) not in self._names]
        could = [(ours, [str(row["orderId"]) for row in free if self._could_be(ours, row)]) for ours in unmatched]
        claims = Counter(number for _, numbers in could for number in numbers)
        for ours, numbers in could:
            if len(numbers) > 1 or any(claims[number] > 1 for number in numbers):
                raise SafetyStop(
                    f"{ours.request} could be each of Schwab's orders {', '.join(numbers)}, "
                    f"and {max(claims[n] for n in numbers)} of ours could be one of them",
                    hint="find out on the broker's page which is which; cancel what was not meant, then reconcile",
                )
            self._bind(ours, "".join(numbers))

    def _could_be(self, ours: _Ours, row: Mapping[str, Any]) -> bool:
        """Return whether one of Schwab's orders says the same as one of ours, entered when it was sent."""
        with reading(BROKER, row):
            if ours.sent_at is None or not -EARLY <= moment(row["enteredTime"]) - ours.sent_at <= self.may_arrive_for:
                return False
            return content_of(row) == content_of(order_of(ours.request, self._symbols.theirs(ours.request.symbol)))

    def _report(self, row: Mapping[str, Any]) -> OrderReport:
        with reading(BROKER, row):
            report = report_of(row, self._names, self._symbols)
        if not report.is_open and report.updated is not None:
            self._ended[report.broker_order_id] = report.updated
        return report


def _client(
    settings: BrokerSection, environ: Mapping[str, str], log_in: Callable[[str], str] | None, *, live: bool
) -> Any:
    """Return the library's client, logged in, without its own repetitions (which do not know what may be)."""
    try:
        from requests.adapters import HTTPAdapter
        from schwabdev import Client
    except ImportError:
        raise InputError(
            "the client library schwabdev is not installed", hint="pip install 'tradewind[schwab]'"
        ) from None
    if not live:
        if not settings.url:
            raise InputError("Schwab has no paper accounts", hint='trade with broker.name = "paper" or "alpaca" first')
        require_stand_in(BROKER, settings.url, REAL)
    key, secret = (credential(BROKER, environ, name) for name in ("SCHWAB_APP_KEY", "SCHWAB_APP_SECRET"))
    try:
        client: Any = Client(
            key,
            secret,
            environ.get("SCHWAB_CALLBACK_URL", "https://127.0.0.1"),
            tokens_db=settings.tokens_path,
            encryption=environ.get("SCHWAB_TOKENS_KEY"),
            timeout=settings.timeout_seconds,
            call_on_auth=log_in or (lambda page: ""),
            open_browser_for_auth=False,
        )
    except ValueError as error:
        raise InputError(f"schwabdev does not take this: {error}", hint="docs/brokers.md says what it needs") from None
    Path(settings.tokens_path).expanduser().chmod(0o600)
    if client.tokens.access_token is None:
        client.close()
        raise InputError(
            "nobody is logged in at Schwab", hint="log in as docs/brokers.md says; it lasts for seven days"
        )
    client._session.mount("https://", HTTPAdapter())
    if settings.url:
        client._base_api_url = settings.url
    return client


def _chosen(accounts: Iterable[str], digits: str) -> str:
    """Return the number of the account that ends so; the only one where nothing is said."""
    fitting = [number for number in accounts if number.endswith(digits)]
    if len(fitting) != 1:
        ends = ", ".join(sorted(f"…{number[-3:]}" for number in accounts)) or "none"
        raise InputError(
            f"{len(fitting)} of Schwab's accounts end in {digits!r} (there are: {ends})",
            hint="set broker.account to the last digits of one",
        )
    return fitting[0]
