"""Alpaca, through its own client library (alpaca-py, an extra): orders by client id, fills as account activities.

Alpaca refuses a client id that it has seen, so that a submission can be repeated without ordering twice. Fills come
from the account's activities, whose ids are unique; fees, dividends and splits are activities too, and are told as
movements, some of them days after what caused them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from tradewind.errors import DataError, InputError, RetryError, SafetyStop
from tradewind.execution.brokers._wire import (
    FORBIDDEN,
    NOT_FOUND,
    Refused,
    Symbols,
    Unreadable,
    Wire,
    credential,
    moment,
    reading,
    rejected,
    require_stand_in,
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
    Position,
    Status,
    register,
)
from tradewind.execution.brokers.settings import BrokerSection

Answer = TypeVar("Answer")

BROKER: Final = "Alpaca"
REAL: Final = "https://api.alpaca.markets"
PAGE: Final = 100
ORDERS_PAGE: Final = 500
ASSETS_AT_ONCE: Final = 20
"""From so many names on, all assets are asked for in one answer."""
LATE: Final = timedelta(days=7)
"""Fees and dividends are booked days after the day they are dated to: so far back movements are asked for again."""
NEW_YORK: Final = ZoneInfo("America/New_York")

NOT_UNIQUE: Final = "client_order_id must be unique"
STATUS: Final[Mapping[str, Status]] = {
    "partially_filled": "partially_filled",
    "filled": "filled",
    "pending_cancel": "cancelling",
    "canceled": "cancelled",
    "replaced": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
    **dict.fromkeys(
        (
            "new",
            "accepted",
            "pending_new",
            "accepted_for_bidding",
            "pending_replace",
            "pending_review",
            "held",
            "stopped",
            "suspended",
            "calculated",
            "done_for_day",
        ),
        "accepted",
    ),
}
TIME_IN_FORCE: Final = {"day": "day", "gtc": "gtc", "at_open": "opg", "at_close": "cls"}
MOVES_SHARES: Final = frozenset(("SPLIT", "SPIN", "MA", "REORG", "NC", "SC", "ACATS", "JNLS"))
"""Activities whose quantity is shares that came or went; a dividend's is shares that it was paid for."""
KINDS: Final = {"SPLIT": "split", "INT": "interest", "FEE": "fee", "CFEE": "fee", "CIL": "cash_in_lieu"}


@dataclass(frozen=True, slots=True)
class Availability:
    """What may be done with a stock at this broker. Shorting needs ``shortable`` and ``easy_to_borrow``."""

    tradable: bool
    fractionable: bool
    shortable: bool
    easy_to_borrow: bool


@register
class AlpacaBroker:
    """An account at Alpaca; a paper one unless ``live``.

    Parameters
    ----------
    settings
        Patience and, for stand-ins, another address.
    live
        Real money. Whoever passes True has asked for it twice: see ``preflight.require_live``.
    environ
        Has ``APCA_API_KEY_ID`` and ``APCA_API_SECRET_KEY``.
    symbols
        The names that we use, where Alpaca writes them otherwise (BRK-B for its BRK.B).
    """

    name: ClassVar[str] = "alpaca"
    may_arrive_for: ClassVar[timedelta] = timedelta(minutes=2)

    def __init__(
        self,
        settings: BrokerSection | None = None,
        *,
        live: bool = False,
        environ: Mapping[str, str] | None = None,
        symbols: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings, self.live = settings or BrokerSection(name="alpaca"), live
        self._client = _client(self.settings, os.environ if environ is None else environ, live=live)
        self._wire = Wire(BROKER, self.settings, no_login=_no_login, sleep=sleep)
        self._symbols = Symbols(".", tuple(symbols))
        self._client_ids: dict[str, str] = {}

    def __repr__(self) -> str:
        """Say which, and never with what key."""
        return f"AlpacaBroker({'live' if self.live else 'paper'})"

    # -- the account -----------------------------------------------------------------------------------------

    def account(self) -> AccountReport:
        """Return cash, equity and positions, as of the broker's clock shortly before."""
        now = self.clock().time
        account = self._ask("the account", lambda: self._client.get_account())
        held = self._ask("the positions", lambda: self._client.get_all_positions())
        with reading(BROKER, account):
            return AccountReport(
                cash=float(account.cash),
                equity=float(account.equity),
                buying_power=float(account.buying_power),
                time=now,
                positions={self._symbols.ours(p.symbol): _position(p) for p in held},
                blocked=_blocked(account),
                currency=account.currency or "USD",
            )

    def account_number(self) -> str:
        """Return the account's number; those of paper accounts begin with PA."""
        return str(self._ask("the account", lambda: self._client.get_account()).account_number)

    def clock(self) -> MarketClock:
        """Return Alpaca's clock."""
        told = self._ask("the clock", lambda: self._client.get_clock())
        times = (told.timestamp, told.next_open, told.next_close)
        now, opens, closes = (instant.astimezone(UTC) for instant in times)
        return MarketClock(now, told.is_open, opens, closes)

    def availability(self, symbols: Iterable[str]) -> dict[str, Availability | None]:
        """Return what may be done with each symbol; None for one that Alpaca does not have."""
        wanted = list(symbols)
        if len(wanted) < ASSETS_AT_ONCE:
            return {symbol: self._asset(symbol) for symbol in wanted}
        from alpaca.trading.enums import AssetClass
        from alpaca.trading.requests import GetAssetsRequest

        asked = GetAssetsRequest(asset_class=AssetClass.US_EQUITY)
        every = {
            a.symbol: _availability(a) for a in self._ask("the assets", lambda: self._client.get_all_assets(asked))
        }
        return {symbol: every.get(self._symbols.theirs(symbol)) for symbol in wanted}

    # -- orders ----------------------------------------------------------------------------------------------

    def submit(self, request: OrderRequest) -> OrderReport:
        """Hand in an order; see :class:`~tradewind.execution.brokers.base.Broker`."""
        refusal = self._cannot(request)
        if refusal:
            return self.order(request.client_order_id) or rejected(request, refusal)
        wanted = _request(request, self._symbols.theirs(request.symbol))
        try:
            made = self._ask(f"the order {request}", lambda: self._client.submit_order(wanted), changes=True)
        except Refused as refused:
            if NOT_UNIQUE in refused.message:
                return self._existing(request)
            return rejected(request, refused.message)
        return self._report(made)

    def cancel(self, client_order_id: str) -> OrderReport:
        """Ask for an order's end; what is finished stays as it is."""
        report = self.order(client_order_id)
        if report is None:
            raise InputError(f"Alpaca has no order {client_order_id!r}", hint="reconcile: it may never have arrived")
        if not report.is_open:
            return report
        place = report.broker_order_id
        with suppress(Refused):  # it ended meanwhile: what it became is read below
            self._ask(f"the end of {client_order_id}", lambda: self._client.cancel_order_by_id(place), changes=True)
        return self._after_a_change(client_order_id)

    def order(self, client_order_id: str) -> OrderReport | None:
        """Return the report of one order; None where Alpaca has none with this id."""
        found = self._if_there(
            f"the order {client_order_id}", lambda: self._client.get_order_by_client_id(client_order_id)
        )
        return None if found is None else self._report(found)

    def orders(self, *, open_only: bool = False, since: datetime | None = None) -> list[OrderReport]:
        """Return open orders and those submitted since, oldest first.

        Alpaca filters by the time of submission: an older one that has ended since then is found by its id.
        """
        found = {order.id: order for order in self._pages("open", None)}
        if not open_only:
            found.update((order.id, order) for order in self._pages("all", since))
        return [self._report(order) for order in sorted(found.values(), key=lambda o: (o.submitted_at, str(o.id)))]

    # -- what happened ---------------------------------------------------------------------------------------

    def executions(self, *, since: datetime | None = None) -> list[Execution]:
        """Return the fills since, each once, by time. Their fees come as movements."""
        rows = {row["id"]: row for row in self._activities("/account/activities/FILL", {}, since)}
        self._learn_client_ids([str(row.get("order_id", "")) for row in rows.values()], since)
        made = []
        for row in rows.values():
            with reading(BROKER, row):
                made.append(self._execution(row))
        return sorted((e for e in made if since is None or e.time >= since), key=lambda e: (e.time, e.execution_id))

    def movements(self, *, since: datetime | None = None) -> list[Movement]:
        """Return dividends, fees, interest, splits and transfers since, and from a week before: some come late."""
        start = None if since is None else since - LATE
        rows = {r["id"]: r for r in self._activities("/account/activities", {"category": "non_trade_activity"}, start)}
        made = []
        for row in rows.values():
            with reading(BROKER, row):
                if row.get("status", "executed") != "canceled":
                    made.append(self._movement(row))
        return sorted(made, key=lambda m: (m.time, m.movement_id))

    def recognise(self, orders: Iterable[KnownOrder]) -> None:
        """Learn our names of the symbols; the client ids are Alpaca's own matter."""
        for known in orders:
            self._symbols.theirs(known.request.symbol)

    def close(self) -> None:
        """Close the connections."""
        self._client._session.close()

    # -- parts -----------------------------------------------------------------------------------------------

    def _ask(self, what: str, call: Callable[[], Answer], *, changes: bool = False) -> Answer:
        return self._wire.ask(what, lambda: _library(call), changes=changes)

    def _if_there(self, what: str, call: Callable[[], Answer]) -> Answer | None:
        """Return an answer; None where Alpaca says that there is no such thing."""
        try:
            return self._wire.ask(what, lambda: _library(call), expected=(NOT_FOUND,))
        except Refused:
            return None

    def _cannot(self, request: OrderRequest) -> str:
        """Return why Alpaca would not take an order, as far as that is known beforehand."""
        fraction = request.quantity != round(request.quantity)
        if fraction and (request.time_in_force != "day" or request.kind == "trailing_stop"):
            return "fractions of a share are taken in day orders only, and not in trailing stops"
        if fraction and request.side == "sell" and not request.reduce_only:
            return "fractions of a share cannot be sold short"
        if request.reduce_only:
            held = self._held(request.symbol)
            if held * request.signed_quantity >= 0 or abs(held) < request.quantity - 1e-9:
                return f"it only reduces, and the account holds {held:g} {request.symbol}"
        return ""

    def _held(self, symbol: str) -> float:
        name = quote(self._symbols.theirs(symbol), safe="")
        held = self._if_there(f"the position in {symbol}", lambda: self._client.get_open_position(name))
        return 0.0 if held is None else _position(held).quantity

    def _existing(self, request: OrderRequest) -> OrderReport:
        """Return the report of an order that Alpaca has already, if it is the same order."""
        report = self._after_a_change(request.client_order_id)
        same = (report.symbol, report.side, report.quantity) == (request.symbol, request.side, request.quantity)
        if not same:
            raise SafetyStop(
                f"Alpaca has another order under the id of {request}: {report}",
                hint="find out who trades on this account with our ids",
            )
        return report

    def _after_a_change(self, client_order_id: str) -> OrderReport:
        """Return the report after a request that had an effect: now no failure may say that it had none."""
        try:
            report = self.order(client_order_id)
        except (RetryError, DataError) as failure:
            raise OutcomeUnknown(failure.what, hint=failure.hint) from None
        if report is None:
            raise OutcomeUnknown(f"Alpaca knows the id {client_order_id} and does not show the order", hint="ask again")
        return report

    def _report(self, order: Any) -> OrderReport:
        """Return an order of the library in our words."""
        with reading(BROKER, order):
            self._client_ids[str(order.id)] = order.client_order_id
            filled = float(order.filled_qty or 0.0)
            status = STATUS[order.status.value]
            if status == "accepted" and filled > 0:
                status = "partially_filled"
            reason = f"replaced by {order.replaced_by}" if order.status.value == "replaced" else ""
            return OrderReport(
                client_order_id=order.client_order_id,
                broker_order_id=str(order.id),
                status=status,
                filled_quantity=filled,
                average_price=float(order.filled_avg_price) if filled and order.filled_avg_price else None,
                reason=reason,
                updated=order.updated_at.astimezone(UTC),
                symbol=self._symbols.ours(order.symbol or ""),
                side=None if order.side is None else order.side.value,
                quantity=None if order.qty is None else float(order.qty),
            )

    def _pages(self, status: str, after: datetime | None) -> Iterator[Any]:
        """Return the library's orders, page after page in order of submission."""
        from alpaca.trading.requests import GetOrdersRequest

        seen: set[Any] = set()
        after = None if after is None else after - timedelta(microseconds=1)
        while True:
            asked = GetOrdersRequest(status=status, limit=ORDERS_PAGE, after=after, direction="asc")
            page = self._ask("the orders", partial(self._client.get_orders, asked))
            fresh = [order for order in page if order.id not in seen]
            yield from fresh
            if len(page) < ORDERS_PAGE or not fresh:
                return
            seen.update(order.id for order in fresh)
            after = fresh[-1].submitted_at - timedelta(microseconds=1)  # others may bear the same microsecond

    def _activities(self, path: str, asked: Mapping[str, str], since: datetime | None) -> Iterator[dict[str, Any]]:
        """Return activities, oldest first; the library has no method for them."""
        params: dict[str, Any] = {**asked, "direction": "asc", "page_size": PAGE}
        if since is not None:
            params["after"] = (since - timedelta(seconds=1)).astimezone(UTC).isoformat().replace("+00:00", "Z")
        while True:
            page = self._ask("the activities", lambda: self._client.get(path, dict(params)))
            if not isinstance(page, list) or not all(isinstance(row, dict) and "id" in row for row in page):
                raise unreadable(BROKER, page, TypeError("no list of activities"))
            yield from page
            if len(page) < PAGE:
                return
            params["page_token"] = page[-1]["id"]

    def _learn_client_ids(self, numbers: Sequence[str], since: datetime | None) -> None:
        """Find the client ids of orders whose activities name only the broker's: in bulk, then one by one."""
        if len(set(numbers) - self._client_ids.keys()) > 1:
            self.orders(since=since)
        for number in sorted(set(numbers) - self._client_ids.keys()):
            found = self._if_there(f"the order {number}", partial(self._client.get_order_by_id, number))
            if found is None:
                self._client_ids[number] = ""
            else:
                self._report(found)

    def _execution(self, row: Mapping[str, Any]) -> Execution:
        quantity, number = float(row["qty"]), str(row["order_id"])
        return Execution(
            execution_id=row["id"],
            client_order_id=self._client_ids[number],
            symbol=self._symbols.ours(row["symbol"]),
            quantity=-quantity if row["side"].startswith("sell") else quantity,
            price=float(row["price"]),
            time=moment(row["transaction_time"]),
            broker_order_id=number,
        )

    def _movement(self, row: Mapping[str, Any]) -> Movement:
        kind = row["activity_type"]
        name = KINDS.get(kind, "dividend" if kind.startswith("DIV") else kind.lower())
        shares = float(row.get("qty") or 0.0) if kind in MOVES_SHARES else 0.0
        symbol, cash = self._symbols.ours(row.get("symbol") or ""), float(row.get("net_amount") or 0.0)
        return Movement(row["id"], name, _activity_time(row), symbol, shares, cash)

    def _asset(self, symbol: str) -> Availability | None:
        name = quote(self._symbols.theirs(symbol), safe="")
        asset = self._if_there(f"the asset {symbol}", lambda: self._client.get_asset(name))
        return None if asset is None else _availability(asset)


def _client(settings: BrokerSection, environ: Mapping[str, str], *, live: bool) -> Any:
    """Return the library's client, with time limits and without its own repetitions (which do not know what may be)."""
    try:
        from alpaca.trading.client import TradingClient
    except ImportError:
        raise InputError("Alpaca's client library is not installed", hint="pip install 'tradewind[alpaca]'") from None
    if settings.url and not live:
        require_stand_in(BROKER, settings.url, REAL)
    key, secret = (credential(BROKER, environ, name) for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"))
    client: Any = TradingClient(key, secret, paper=not live, url_override=settings.url or None)
    client._retry = 0
    unlimited = client._session.request
    client._session.request = lambda *positional, **named: unlimited(
        *positional, timeout=settings.timeout_seconds, **named
    )
    return client


def _library(call: Callable[[], Answer]) -> Answer:
    """Return what a call of the library returns; its failures become those that a wire knows."""
    from alpaca.common.exceptions import APIError
    from pydantic import ValidationError

    try:
        return call()
    except APIError as error:
        answer = error.response
        headers = {} if answer is None else dict(answer.headers)
        raise Refused(error.status_code or 500, str(error), headers) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Unreadable(f"{error.title}.{place} is {first['input']!r}: {first['msg']}") from None
    except (TypeError, ValueError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None


def _no_login(refused: Refused) -> bool:
    """Alpaca says 403 both to keys that it does not know (without a number) and to orders that it will not take."""
    return refused.status == FORBIDDEN and not refused.code


def _request(request: OrderRequest, symbol: str) -> Any:
    """Return an order in the library's words."""
    from alpaca.trading import requests as asked

    kinds: Mapping[str, Any] = {
        "market": asked.MarketOrderRequest,
        "limit": asked.LimitOrderRequest,
        "stop": asked.StopOrderRequest,
        "stop_limit": asked.StopLimitOrderRequest,
        "trailing_stop": asked.TrailingStopOrderRequest,
    }
    prices = {"limit_price": request.limit, "stop_price": request.stop}
    if request.trail is not None:
        prices["trail_percent"] = round(request.trail * 100, 4)
    return kinds[request.kind](
        symbol=symbol,
        qty=request.quantity,
        side=request.side,
        time_in_force=TIME_IN_FORCE[request.time_in_force],
        client_order_id=request.client_order_id,
        **{name: value for name, value in prices.items() if value is not None},
    )


def _blocked(account: Any) -> tuple[str, ...]:
    """Return what an account may not do, in Alpaca's words."""
    flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    found = [name for name in flags if getattr(account, name)]
    if account.status.value != "ACTIVE":
        found.append(f"status {account.status.value}")
    if account.shorting_enabled is False:
        found.append("short_not_allowed")
    return tuple(found)


def _position(held: Any) -> Position:
    """Return a position; Alpaca's short ones have a side, and a sign that is not worth relying on."""
    quantity = abs(float(held.qty))
    return Position(-quantity if held.side.value == "short" else quantity, float(held.avg_entry_price))


def _availability(asset: Any) -> Availability:
    tradable = bool(asset.tradable) and asset.status.value == "active"
    return Availability(tradable, bool(asset.fractionable), bool(asset.shortable), bool(asset.easy_to_borrow))


def _activity_time(row: Mapping[str, Any]) -> datetime:
    """Return when an activity was booked: said outright, or in its id, or by the day alone (its midnight)."""
    if row.get("created_at"):
        return moment(row["created_at"])
    prefix = str(row["id"]).partition("::")[0]
    with suppress(ValueError):
        return datetime.strptime(prefix[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return datetime.combine(date.fromisoformat(row["date"]), time_of_day(), NEW_YORK).astimezone(UTC)
