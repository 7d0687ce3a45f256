"""Alpaca's trading API on this machine: its JSON, its status codes, its numbered errors, its pages."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Any

from standin_exchange import Deal, Exchange, Fill, Standin

KEY, SECRET = "PKSTANDIN0000000000", "s3cr3t-of-the-stand-in"
ENVIRON = {"APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET}
ACCOUNT = "904837e3-3b76-47ec-b432-046db621571b"
Reply = tuple[int, Any, dict[str, str]]


class AlpacaStandin(Standin):
    """Alpaca's answers; ``doubled`` lists every fill twice, ``shuffled`` out of order.

    ``account_words`` change the account's answer; ``unsigned`` says that a position is short by its side alone.
    """

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.doubled = self.shuffled = self.unsigned = False
        self.account_words: dict[str, Any] = {}
        self.unshortable: set[str] = set()
        super().__init__(exchange or Exchange())

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        if headers.get("apca-api-key-id") != KEY:
            return 403, {"message": "forbidden."}, {}
        if headers.get("apca-api-secret-key") != SECRET:
            return 401, {"code": 40110000, "message": "request is not authorized"}, {}
        for verb, pattern, function in ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return function(self, query, body, *found.groups())  # type: ignore[no-any-return,operator]
        return 404, {"code": 40410000, "message": f"endpoint not found {path}"}, {}

    # -- the account -----------------------------------------------------------------------------------------

    def account(self, query: dict[str, str], body: Any) -> Reply:
        market = self.exchange
        worth = sum(shares * market.price.get(symbol, 0.0) for symbol, shares in market.shares.items())
        cash, equity = f"{market.cash / 100:.2f}", f"{market.cash / 100 + worth:.2f}"
        return 200, {
            "id": ACCOUNT, "account_number": "PA3STANDIN67", "status": "ACTIVE", "crypto_status": "ACTIVE",
            "currency": "USD", "cash": cash, "equity": equity, "portfolio_value": equity, "last_equity": equity,
            "buying_power": f"{2 * market.cash / 100:.2f}", "regt_buying_power": cash, "multiplier": "2",
            "trading_blocked": False, "transfers_blocked": False, "account_blocked": False,
            "trade_suspended_by_user": False, "shorting_enabled": True, "created_at": "2025-06-01T14:00:00.123456Z",
            "long_market_value": "0", "short_market_value": "0", "accrued_fees": "0",
            **self.account_words,
        }, {}  # fmt: skip

    def positions(self, query: dict[str, str], body: Any) -> Reply:
        return 200, [self.position_words(s, n) for s, n in self.exchange.shares.items() if n], {}

    def position(self, query: dict[str, str], body: Any, symbol: str) -> Reply:
        shares = self.exchange.shares.get(symbol, 0.0)
        if not shares:
            return 404, {"code": 40410000, "message": "position does not exist"}, {}
        return 200, self.position_words(symbol, shares), {}

    def position_words(self, symbol: str, shares: float) -> dict[str, Any]:
        price, side = self.exchange.price.get(symbol, 1.0), "long" if shares > 0 else "short"
        shares = abs(shares) if self.unsigned else shares
        return {
            "asset_id": _uuid(symbol), "symbol": symbol, "exchange": "NASDAQ", "asset_class": "us_equity",
            "asset_marginable": True, "qty": f"{shares:g}", "qty_available": f"{shares:g}",
            "avg_entry_price": f"{price}", "side": side, "cost_basis": f"{shares * price}",
            "market_value": f"{shares * price}", "current_price": f"{price}", "change_today": "0",
        }  # fmt: skip

    def clock(self, query: dict[str, str], body: Any) -> Reply:
        return 200, {
            "timestamp": _nano(self.exchange.clock).replace("Z", "+00:00"), "is_open": True,
            "next_open": "2026-03-03T09:30:00-05:00", "next_close": "2026-03-02T16:00:00-05:00",
        }, {}  # fmt: skip

    def asset(self, query: dict[str, str], body: Any, symbol: str) -> Reply:
        if symbol.startswith("NONE"):
            return 404, {"code": 40410000, "message": f"asset not found for {symbol}"}, {}
        return 200, self.asset_words(symbol), {}

    def assets(self, query: dict[str, str], body: Any) -> Reply:
        return 200, [self.asset_words(f"S{n:03}") for n in range(50)], {}

    def asset_words(self, symbol: str) -> dict[str, Any]:
        return {
            "id": _uuid(symbol), "class": "us_equity", "exchange": "NASDAQ", "symbol": symbol, "name": symbol,
            "status": "active", "tradable": True, "marginable": True, "fractionable": True, "shortable": True,
            "easy_to_borrow": symbol not in self.unshortable, "attributes": [],
        }  # fmt: skip

    # -- orders ----------------------------------------------------------------------------------------------

    def submit(self, query: dict[str, str], body: dict[str, Any]) -> Reply:
        refusal = self.refusal(body)
        if refusal:
            return refusal
        deal = self.exchange.place(
            body.get("client_order_id") or str(uuid.uuid4()), body["symbol"], body["side"], float(body["qty"]),
            body["type"], limit=body.get("limit_price"), stop=body.get("stop_price"),
            trail=body["trail_percent"] / 100 if "trail_percent" in body else None, duration=body["time_in_force"],
        )  # fmt: skip
        return 200, order_words(deal), {}

    def refusal(self, body: dict[str, Any]) -> Reply | None:
        market, symbol, sign = self.exchange, body["symbol"], 1 if body["side"] == "buy" else -1
        if any(deal.client_id == body.get("client_order_id") for deal in market.orders):
            return 422, {"code": 40010001, "message": "client_order_id must be unique"}, {}
        if symbol.startswith("NONE"):
            return 422, {"code": 40010001, "message": f"asset {symbol!r} not found"}, {}
        if float(body["qty"]) % 1 and body["time_in_force"] != "day":
            return 422, {"code": 42210000, "message": "fractional orders must be DAY orders"}, {}
        for name in ("limit_price", "stop_price"):
            if name in body and body[name] >= 1 and round(body[name], 2) != body[name]:
                what = "sub-penny increment does not fulfill minimum pricing criteria"
                return 422, {"code": 42210000, "message": f"invalid {name} {body[name]}. {what}"}, {}
        cost = float(body["qty"]) * market.price.get(symbol, 33.33)
        if sign > 0 and cost > 2 * market.cash / 100:
            power = f"{2 * market.cash / 100:.2f}"
            words = {"buying_power": power, "cost_basis": f"{cost:.2f}", "message": "insufficient buying power"}
            return 403, {"code": 40310000, **words}, {}
        if any(d.open and d.symbol == symbol and d.sign == -sign and d.kind == "market" for d in market.orders):
            what = "potential wash trade detected. use complex orders"
            return (
                403,
                {"code": 40310000, "message": what, "reject_reason": "opposite side market/stop order exists"},
                {},
            )
        held = market.shares.get(symbol, 0.0)
        if held * sign < 0 and abs(held) < float(body["qty"]) - 1e-9:
            what = f"insufficient qty available for order (requested: {body['qty']:g}, available: {abs(held):g})"
            return 403, {"code": 40310000, "message": what, "symbol": symbol}, {}
        return None

    def listed(self, query: dict[str, str], body: Any) -> Reply:
        found = [d for d in self.exchange.orders if query.get("status") == "all" or d.open]
        if "after" in query:
            found = [d for d in found if d.entered > _read(query["after"])]
        if query.get("direction") != "asc":
            found.reverse()
        return 200, [order_words(deal) for deal in found[: int(query.get("limit", 50))]], {}

    def by_client_id(self, query: dict[str, str], body: Any) -> Reply:
        return self.one(lambda deal: deal.client_id == query["client_order_id"])

    def by_id(self, query: dict[str, str], body: Any, number: str) -> Reply:
        return self.one(lambda deal: _uuid(deal.number) == number)

    def one(self, wanted: Any) -> Reply:
        for deal in self.exchange.orders:
            if wanted(deal):
                return 200, order_words(deal), {}
        return 404, {"code": 40410000, "message": "order not found"}, {}

    def cancel(self, query: dict[str, str], body: Any, number: str) -> Reply:
        deal = next((deal for deal in self.exchange.orders if _uuid(deal.number) == number), None)
        if deal is None:
            return 404, {"code": 40410000, "message": "order not found"}, {}
        if not deal.open:
            return 422, {"code": 42210000, "message": f'order is already in "{deal.status}" state'}, {}
        self.exchange.end(deal, "canceled")
        return 204, None, {}

    # -- activities ------------------------------------------------------------------------------------------

    def filled(self, query: dict[str, str], body: Any) -> Reply:
        rows = [fill_words(fill) for fill in self.exchange.fills]
        return self.page(rows, query, lambda row: _read(row["transaction_time"]))

    def moved(self, query: dict[str, str], body: Any) -> Reply:
        return self.page([_moved(row) for row in self.exchange.moved], query, lambda row: _read(row["created_at"]))

    def page(self, rows: list[dict[str, Any]], query: dict[str, str], time: Any) -> Reply:
        if "after" in query:
            rows = [row for row in rows if time(row) > _read(query["after"])]
        if self.shuffled:
            rows = rows[1::2] + rows[::2]
        if self.doubled:
            rows = [row for row in rows for _ in range(2)]
        if "page_token" in query:
            last = max(n for n, row in enumerate(rows) if row["id"] == query["page_token"])
            rows = rows[last + 1 :]
        return 200, rows[: int(query.get("page_size", 100))], {}


ROUTES = (
    ("GET", "/v2/account", AlpacaStandin.account),
    ("GET", "/v2/positions", AlpacaStandin.positions),
    ("GET", "/v2/positions/([^/]+)", AlpacaStandin.position),
    ("GET", "/v2/clock", AlpacaStandin.clock),
    ("GET", "/v2/assets", AlpacaStandin.assets),
    ("GET", "/v2/assets/([^/]+)", AlpacaStandin.asset),
    ("POST", "/v2/orders", AlpacaStandin.submit),
    ("GET", "/v2/orders", AlpacaStandin.listed),
    ("GET", "/v2/orders:by_client_order_id", AlpacaStandin.by_client_id),
    ("GET", "/v2/orders/([^/]+)", AlpacaStandin.by_id),
    ("DELETE", "/v2/orders/([^/]+)", AlpacaStandin.cancel),
    ("GET", "/v2/account/activities/FILL", AlpacaStandin.filled),
    ("GET", "/v2/account/activities", AlpacaStandin.moved),
)


def order_words(deal: Deal) -> dict[str, Any]:
    ended = {"filled": "filled_at", "canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at"}
    times = dict.fromkeys((*ended.values(), "replaced_at"), None)
    if deal.status in ended:
        times[ended[deal.status]] = _nano(deal.updated)
    return {
        "id": _uuid(deal.number), "client_order_id": deal.client_id, "created_at": _nano(deal.entered),
        "updated_at": _nano(deal.updated), "submitted_at": _nano(deal.entered), **times, "replaced_by": None,
        "replaces": None, "asset_id": _uuid(deal.symbol), "symbol": deal.symbol, "asset_class": "us_equity",
        "notional": None, "qty": f"{deal.quantity:g}", "filled_qty": f"{deal.filled:g}",
        "filled_avg_price": f"{deal.value / deal.filled}" if deal.filled else None, "order_class": "",
        "order_type": deal.kind, "type": deal.kind, "side": deal.side, "time_in_force": deal.duration,
        "position_intent": f"{deal.side}_to_open", "limit_price": deal.limit and f"{deal.limit}",
        "stop_price": deal.stop and f"{deal.stop}", "status": deal.status, "extended_hours": False, "legs": None,
        "trail_percent": deal.trail and f"{100 * deal.trail:g}", "trail_price": None, "hwm": None, "source": None,
        "subtag": None,
    }  # fmt: skip


def fill_words(fill: Fill) -> dict[str, Any]:
    deal = fill.order
    short = deal.side == "sell" and deal.words.get("short", False)
    return {
        "id": f"{fill.time:%Y%m%d%H%M%S}000::{_uuid(fill.number)}", "activity_type": "FILL",
        "transaction_time": _nano(fill.time), "type": "fill" if fill.left <= 0 else "partial_fill",
        "price": f"{fill.price}", "qty": f"{fill.quantity:g}", "side": "sell_short" if short else deal.side,
        "symbol": deal.symbol, "leaves_qty": f"{fill.left:g}", "order_id": _uuid(deal.number),
        "cum_qty": f"{deal.quantity - fill.left:g}", "order_status": "filled" if fill.left <= 0 else "partially_filled",
    }  # fmt: skip


def _moved(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{row['time']:%Y%m%d}000000000::{_uuid(row['number'])}", "activity_type": row["kind"],
        "date": f"{row['time']:%Y-%m-%d}", "net_amount": f"{row['cash']:.2f}", "description": "",
        "symbol": row["symbol"] or None, "qty": f"{row.get('shares_paid', row['quantity']):g}", "status":
        row.get("status", "executed"), "created_at": _nano(row["time"]),
    }  # fmt: skip


def _uuid(what: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(what)))


def _nano(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}123Z"


def _read(text: str) -> datetime:
    return datetime.fromisoformat(text)
