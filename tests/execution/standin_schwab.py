"""Schwab's trader API on this machine: its JSON, its Location header, its numbers and hashes, its tokens."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standin_exchange import Deal, Exchange, Fill, Standin

ENVIRON = {"SCHWAB_APP_KEY": "standinkey" * 3 + "ab", "SCHWAB_APP_SECRET": "s3cr3tstandin123"}
NUMBER, HASH = "88516767", "A1B2C3D4E5F60718293A4B5C6D7E8F90"
REFRESHED = "access-after-refresh"
Reply = tuple[int, Any, dict[str, str]]

KINDS = {"MARKET": "market", "LIMIT": "limit", "STOP": "stop", "STOP_LIMIT": "stop_limit",
         "TRAILING_STOP": "trailing_stop", "MARKET_ON_CLOSE": "market", "LIMIT_ON_CLOSE": "limit"}  # fmt: skip
STATUS = {"new": "WORKING", "partially_filled": "WORKING", "filled": "FILLED", "canceled": "CANCELED",
          "rejected": "REJECTED", "expired": "EXPIRED"}  # fmt: skip


def write_tokens(path: Path, access: str = "access-1", *, issued: datetime | None = None) -> Path:
    """Write schwabdev's token store, as after a login just now."""
    now = (issued or datetime.now(UTC)).isoformat()
    texts = ("access_token_issued", "refresh_token_issued", "access_token", "refresh_token", "id_token")
    columns = ", ".join(
        (*(f"{name} TEXT NOT NULL" for name in texts), "expires_in INTEGER, token_type TEXT, scope TEXT")
    )
    with sqlite3.connect(path) as store:
        store.execute(f"CREATE TABLE IF NOT EXISTS schwabdev ({columns})")
        store.execute("DELETE FROM schwabdev")
        values = (now, now, access, "refresh-1", "id-1", 1800, "Bearer", "api")
        store.execute("INSERT INTO schwabdev VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    store.close()
    return path


class SchwabStandin(Standin):
    """``no_location`` leaves the header out; ``rejects`` ends every new order after it was taken.

    An order's client id is what a test calls it by the sequence of arrival: ``s0``, ``s1``, …
    """

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.no_location, self.rejects, self.doubled = False, "", False
        self.accounts = [(NUMBER, HASH)]
        self.account_words: dict[str, Any] = {}
        self.tokens = {"access-1", REFRESHED}
        super().__init__(exchange or Exchange())

    def answer(self, method: str, path: str, query: dict[str, str], body: Any, headers: dict[str, str]) -> Reply:
        if path == "/v1/oauth/token":
            return 200, {"access_token": REFRESHED, "refresh_token": "refresh-1", "id_token": "id-2",
                         "expires_in": 1800, "token_type": "Bearer", "scope": "api"}, {}  # fmt: skip
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return 401, {"errors": [{"id": "1", "status": 401, "title": "Unauthorized", "detail": "Invalid token"}]}, {}
        for verb, pattern, function in ROUTES:
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                return function(self, query, body, *found.groups())  # type: ignore[no-any-return,operator]
        return 404, {"message": "no such resource"}, {}

    # -- the account -----------------------------------------------------------------------------------------

    def numbers(self, query: dict[str, str], body: Any) -> Reply:
        return 200, [{"accountNumber": number, "hashValue": hashed} for number, hashed in self.accounts], {}

    def account(self, query: dict[str, str], body: Any) -> Reply:
        market = self.exchange
        worth = sum(shares * market.price.get(symbol, 0.0) for symbol, shares in market.shares.items())
        rows = [self.position(symbol, shares) for symbol, shares in market.shares.items() if shares]
        cash = market.cash / 100
        return 200, {"securitiesAccount": {
            "type": "MARGIN", "accountNumber": NUMBER, "roundTrips": 0, "isDayTrader": False,
            "isClosingOnlyRestricted": False, "pfcbFlag": False,
            **({"positions": rows} if query.get("fields") == "positions" and rows else {}),
            "currentBalances": {
                "accruedInterest": 0.0, "cashBalance": max(cash, 0.0), "marginBalance": min(cash, 0.0),
                "shortBalance": 0.0, "liquidationValue": cash + worth, "longMarketValue": worth,
                "moneyMarketFund": 0.0, "shortMarketValue": 0.0, "equity": cash + worth, "buyingPower": 2 * cash,
            }, **self.account_words,
        }, "aggregatedBalance": {"liquidationValue": cash + worth}}, {}  # fmt: skip

    def position(self, symbol: str, shares: float) -> dict[str, Any]:
        return {
            "shortQuantity": max(-shares, 0.0), "averagePrice": 33.33, "longQuantity": max(shares, 0.0),
            "settledLongQuantity": 0.0, "settledShortQuantity": 0.0, "marketValue": 0.0,
            "instrument": {"assetType": "EQUITY", "cusip": "000000000", "symbol": symbol, "netChange": 0.0},
        }  # fmt: skip

    def hours(self, query: dict[str, str], body: Any) -> Reply:
        span = {"start": "2026-03-02T09:30:00-05:00", "end": "2026-03-02T16:00:00-05:00"}
        return 200, {"equity": {"EQ": {
            "date": "2026-03-02", "marketType": "EQUITY", "product": "EQ", "productName": "equity", "isOpen": True,
            "sessionHours": {"regularMarket": [span]},
        }}}, {}  # fmt: skip

    # -- orders ----------------------------------------------------------------------------------------------

    def submit(self, query: dict[str, str], body: dict[str, Any], hashed: str) -> Reply:
        leg = body["orderLegCollection"][0]
        if leg["quantity"] != int(leg["quantity"]) or body["orderType"] not in KINDS:
            return (
                400,
                {"message": "A validation error occurred while processing the request.", "errors": ["quantity"]},
                {},
            )
        trail = body["stopPriceOffset"] / 100 if "stopPriceOffset" in body else None
        deal = self.exchange.place(
            f"s{len(self.exchange.orders)}", leg["instrument"]["symbol"],
            "buy" if leg["instruction"].startswith("BUY") else "sell", float(leg["quantity"]),
            KINDS[body["orderType"]], limit=_price(body, "price"), stop=_price(body, "stopPrice"), trail=trail,
            words=body,
        )  # fmt: skip
        if self.rejects:
            self.exchange.end(deal, "rejected", self.rejects)
        place = f"https://api.schwabapi.com/trader/v1/accounts/{hashed}/orders/{deal.number}"
        return 201, None, {} if self.no_location else {"Location": place}

    def listed(self, query: dict[str, str], body: Any, hashed: str) -> Reply:
        start, end = (datetime.fromisoformat(query[name]) for name in ("fromEnteredTime", "toEnteredTime"))
        found = [deal for deal in self.exchange.orders if start <= deal.entered <= end]
        return 200, [self.words(deal) for deal in reversed(found)], {}

    def details(self, query: dict[str, str], body: Any, hashed: str, number: str) -> Reply:
        deal = self.numbered(number)
        return (404, {"message": "Order not found"}, {}) if deal is None else (200, self.words(deal), {})

    def cancel(self, query: dict[str, str], body: Any, hashed: str, number: str) -> Reply:
        deal = self.numbered(number)
        if deal is None:
            return 404, {"message": "Order not found"}, {}
        if not deal.open:
            return 400, {"message": f"Order cannot be canceled because it is {STATUS[deal.status]}"}, {}
        self.exchange.end(deal, "canceled")
        return 200, None, {}

    def numbered(self, number: str) -> Deal | None:
        return next((deal for deal in self.exchange.orders if str(deal.number) == number), None)

    def words(self, deal: Deal) -> dict[str, Any]:
        asked = deal.words
        leg, times = asked["orderLegCollection"][0], 2 if self.doubled else 1
        ended = {} if deal.open else {"closeTime": _second(deal.updated)}
        fills = [fill for fill in self.exchange.fills if fill.order is deal]
        return {
            "session": "NORMAL", "duration": asked["duration"], "orderType": asked["orderType"],
            "complexOrderStrategyType": "NONE", "quantity": deal.quantity, "filledQuantity": deal.filled,
            "remainingQuantity": deal.quantity - deal.filled, "requestedDestination": "AUTO",
            "destinationLinkName": "AutoRoute", **{k: float(asked[k]) for k in ("price", "stopPrice") if k in asked},
            **{k: v for k, v in asked.items() if k.startswith("stopPrice") and k != "stopPrice"},
            "orderLegCollection": [{
                "orderLegType": "EQUITY", "legId": 1, "instruction": leg["instruction"], "positionEffect": "OPENING",
                "quantity": deal.quantity, "instrument": {**leg["instrument"], "cusip": "000000000", "instrumentId": 7},
            }], "orderStrategyType": "SINGLE", "orderId": deal.number, "cancelable": deal.open, "editable": False,
            "status": STATUS[deal.status], "enteredTime": _second(deal.entered), **ended, "tag": "API_TOS:STANDIN",
            "accountNumber": int(NUMBER), **({"statusDescription": deal.reason} if deal.reason else {}),
            **({"orderActivityCollection": [_activity(f) for f in fills for _ in range(times)]} if fills else {}),
        }  # fmt: skip

    # -- transactions ----------------------------------------------------------------------------------------

    def transactions(self, query: dict[str, str], body: Any, hashed: str) -> Reply:
        rows = [_moved(row) for row in self.exchange.moved] + [_traded(fill) for fill in self.exchange.fills]
        start, end = (datetime.fromisoformat(query[name]) for name in ("startDate", "endDate"))
        wanted = [r for r in rows if r["type"] == query["types"] and start <= datetime.fromisoformat(r["time"]) <= end]
        return 200, wanted, {}


ROUTES = (
    ("GET", "/trader/v1/accounts/accountNumbers", SchwabStandin.numbers),
    ("GET", f"/trader/v1/accounts/{HASH}", SchwabStandin.account),
    ("POST", f"/trader/v1/accounts/({HASH})/orders", SchwabStandin.submit),
    ("GET", f"/trader/v1/accounts/({HASH})/orders", SchwabStandin.listed),
    ("GET", f"/trader/v1/accounts/({HASH})/orders/([0-9]+)", SchwabStandin.details),
    ("DELETE", f"/trader/v1/accounts/({HASH})/orders/([0-9]+)", SchwabStandin.cancel),
    ("GET", f"/trader/v1/accounts/({HASH})/transactions", SchwabStandin.transactions),
    ("GET", "/marketdata/v1/markets", SchwabStandin.hours),
)


def _activity(fill: Fill) -> dict[str, Any]:
    return {
        "activityType": "EXECUTION", "activityId": 95_000_000_000 + fill.number, "executionType": "FILL",
        "quantity": fill.quantity, "orderRemainingQuantity": fill.left,
        "executionLegs": [{"legId": 1, "quantity": fill.quantity, "mismarkedQuantity": 0.0, "price": fill.price,
                           "time": _second(fill.time), "instrumentId": 7}],
    }  # fmt: skip


def _traded(fill: Fill) -> dict[str, Any]:
    """Write a trade's transaction: fees are items of their own, with what they cost."""
    signed = fill.order.sign * fill.quantity
    fee = {"instrument": {"assetType": "CURRENCY", "symbol": "CURRENCY_USD"}, "amount": fill.fee, "cost": -fill.fee,
           "feeType": "COMMISSION"}  # fmt: skip
    stock = {"instrument": {"assetType": "EQUITY", "symbol": fill.order.symbol}, "amount": signed,
             "cost": -signed * fill.price, "price": fill.price, "positionEffect": "OPENING"}  # fmt: skip
    return {
        "activityId": 95_000_000_000 + fill.number, "time": _second(fill.time), "accountNumber": NUMBER,
        "type": "TRADE", "status": "VALID", "subAccount": "MARGIN", "tradeDate": _second(fill.time),
        "orderId": fill.order.number, "netAmount": -signed * fill.price - fill.fee, "transferItems": [fee, stock],
    }  # fmt: skip


def _moved(row: dict[str, Any]) -> dict[str, Any]:
    kind = {"DIV": "DIVIDEND_OR_INTEREST", "SPLIT": "RECEIVE_AND_DELIVER", "CSD": "CASH_RECEIPT"}[row["kind"]]
    stock = {"instrument": {"assetType": "EQUITY", "symbol": row["symbol"]}, "amount": row["quantity"], "cost": 0.0}
    money = {
        "instrument": {"assetType": "CURRENCY", "symbol": "CURRENCY_USD"},
        "amount": row["cash"],
        "cost": row["cash"],
    }
    return {
        "activityId": 95_000_000_000 + row["number"], "time": _second(row["time"]), "accountNumber": NUMBER,
        "type": kind, "status": row.get("status", "VALID"), "subAccount": "MARGIN", "description": row["kind"],
        "netAmount": row["cash"],
        "transferItems": [stock] if row["symbol"] else [money],
    }  # fmt: skip


def _price(body: dict[str, Any], name: str) -> float | None:
    return float(body[name]) if name in body else None


def _second(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}+0000"
