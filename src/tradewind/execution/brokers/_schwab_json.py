"""Schwab's JSON, read and written: pure functions without a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from tradewind.execution.brokers._wire import Symbols, moment
from tradewind.execution.brokers.base import Execution, Movement, OrderReport, OrderRequest, Position, Status

Row = Mapping[str, Any]

STATUS: Final[Mapping[str, Status]] = {
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "REPLACED": "cancelled",
    "REJECTED": "rejected",
    "EXPIRED": "expired",
    "PENDING_CANCEL": "cancelling",
    "PENDING_RECALL": "cancelling",
    "AWAITING_UR_OUT": "cancelling",
    **dict.fromkeys(
        (
            "AWAITING_PARENT_ORDER",
            "AWAITING_CONDITION",
            "AWAITING_STOP_CONDITION",
            "AWAITING_MANUAL_REVIEW",
            "AWAITING_RELEASE_TIME",
            "ACCEPTED",
            "NEW",
            "PENDING_ACKNOWLEDGEMENT",
            "PENDING_ACTIVATION",
            "PENDING_REPLACE",
            "QUEUED",
            "UNKNOWN",
            "WORKING",
        ),
        "accepted",
    ),
}
INSTRUCTION: Final = {
    ("buy", False): "BUY",
    ("buy", True): "BUY_TO_COVER",
    ("sell", True): "SELL",
    ("sell", False): "SELL_SHORT",
}
ORDER_TYPE: Final = {
    "market": "MARKET",
    "limit": "LIMIT",
    "stop": "STOP",
    "stop_limit": "STOP_LIMIT",
    "trailing_stop": "TRAILING_STOP",
}
AT_CLOSE: Final = {"market": "MARKET_ON_CLOSE", "limit": "LIMIT_ON_CLOSE"}
STOCKS: Final = ("EQUITY", "COLLECTIVE_INVESTMENT")
DELIVERS: Final = ("RECEIVE_AND_DELIVER", "JOURNAL")
"""Transactions whose stocks came or went; a dividend's are those that it was paid for."""


def report_of(row: Row, names: Mapping[str, str], symbols: Symbols) -> OrderReport:
    """Return an order in our words; ``names`` has our ids by Schwab's numbers."""
    number, leg = str(row["orderId"]), leg_of(row)
    fills = list(_fills(row))
    filled = float(row.get("filledQuantity") or 0.0)
    status = STATUS[row["status"]]
    worth, shares = sum(f["quantity"] * f["price"] for f in fills), sum(f["quantity"] for f in fills)
    times = [row["enteredTime"], row.get("closeTime") or row["enteredTime"], *(fill["time"] for fill in fills)]
    return OrderReport(
        client_order_id=names.get(number, ""),
        broker_order_id=number,
        status="partially_filled" if status == "accepted" and filled > 0 else status,
        filled_quantity=filled,
        average_price=worth / shares if shares else None,
        reason=row.get("statusDescription") or "",
        updated=max(map(moment, times)),
        symbol=symbols.ours(leg["instrument"]["symbol"]) if leg else "",
        side=None if not leg else "sell" if _sells(leg) else "buy",
        quantity=float(row["quantity"]),
    )


def executions_of(row: Row, names: Mapping[str, str], symbols: Symbols) -> Iterator[Execution]:
    """Return an order's fills; each is known by order, activity and place within it."""
    number = str(row["orderId"])
    for activity in row.get("orderActivityCollection") or ():
        for place, fill in enumerate(activity.get("executionLegs") or ()):
            leg, quantity = leg_of(row, fill.get("legId")), float(fill["quantity"])
            yield Execution(
                execution_id=f"{number}:{activity['activityId']}:{place}",
                client_order_id=names.get(number, ""),
                symbol=symbols.ours(leg["instrument"]["symbol"]),
                quantity=-quantity if _sells(leg) else quantity,
                price=float(fill["price"]),
                time=moment(fill["time"]),
                broker_order_id=number,
            )


def movement_of(row: Row, symbols: Symbols) -> Movement | None:
    """Return what a transaction moved besides trades: of a trade only its fees, None where it had none."""
    items, number, when = row.get("transferItems") or (), str(row["activityId"]), moment(row["time"])
    if row["type"] == "TRADE":
        fees = sum(float(item.get("cost") or 0.0) for item in items if item.get("feeType"))
        return Movement(f"fee:{number}", "fee", when, cash=fees) if fees else None
    stocks = [item for item in items if (item.get("instrument") or {}).get("assetType") in STOCKS]
    symbol = symbols.ours(stocks[0]["instrument"]["symbol"]) if stocks else ""
    came = sum(float(item.get("amount") or 0.0) for item in stocks) if row["type"] in DELIVERS else 0.0
    return Movement(number, _kind(row), when, symbol, came, float(row.get("netAmount") or 0.0))


def positions_of(rows: Iterable[Row], symbols: Symbols) -> dict[str, Position]:
    """Return what is held, money market funds that stand for cash left out."""
    held = {}
    for row in rows:
        shares = float(row.get("longQuantity") or 0.0) - float(row.get("shortQuantity") or 0.0)
        if shares and row["instrument"]["assetType"] != "CASH_EQUIVALENT":
            held[symbols.ours(row["instrument"]["symbol"])] = Position(shares, float(row["averagePrice"]))
    return held


def refusal(request: OrderRequest) -> str:
    """Return why Schwab would not take an order, as far as that is known beforehand."""
    if request.quantity != round(request.quantity):
        return "only whole shares can be ordered"
    if request.time_in_force == "at_open":
        return "there are no orders for the opening auction; a day order sent before the open takes part in it"
    return ""


def order_of(request: OrderRequest, symbol: str) -> dict[str, Any]:
    """Return an order in Schwab's JSON."""
    at_close = request.time_in_force == "at_close"
    leg = {
        "instruction": INSTRUCTION[request.side, request.reduce_only],
        "quantity": int(request.quantity),
        "instrument": {"symbol": symbol, "assetType": "EQUITY"},
    }
    order: dict[str, Any] = {
        "orderType": (AT_CLOSE if at_close else ORDER_TYPE)[request.kind],
        "session": "NORMAL",
        "duration": "GOOD_TILL_CANCEL" if request.time_in_force == "gtc" else "DAY",
        "orderStrategyType": "SINGLE",
        "orderLegCollection": [leg],
    }
    if request.limit is not None:
        order["price"] = _price(request.limit)
    if request.stop is not None:
        order["stopPrice"] = _price(request.stop)
    if request.trail is not None:
        basis = "ASK" if request.side == "buy" else "BID"
        order |= {"stopPriceLinkBasis": basis, "stopPriceLinkType": "PERCENT"}
        order["stopPriceOffset"] = round(request.trail * 100, 4)
    return order


def content_of(order: Row) -> tuple[object, ...]:
    """Return what an order asks for, in Schwab's words, whoever wrote it."""
    leg = leg_of(order)
    if not leg:
        return ()
    # A trailing stop's price moves: what was asked for is the distance.
    prices = ("stopPriceOffset",) if order["orderType"] == "TRAILING_STOP" else ("price", "stopPrice")
    words = (order["orderType"], order["duration"], leg["instruction"], leg["instrument"]["symbol"])
    return (*words, float(leg["quantity"]), *(float(order.get(name) or 0.0) for name in prices))


def leg_of(order: Row, number: int | None = None) -> Row:
    """Return a leg of an order, its first where no number is given; empty where it has none."""
    legs = order.get("orderLegCollection") or [{}]
    return next((leg for leg in legs if number is not None and leg.get("legId") == number), legs[0])


def flat(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Return orders and those inside them."""
    for row in rows:
        yield dict(row)
        yield from flat(row.get("childOrderStrategies") or ())


def _fills(row: Row) -> Iterator[Row]:
    for activity in row.get("orderActivityCollection") or ():
        yield from activity.get("executionLegs") or ()


def cash_of(balances: Row) -> float:
    """Return the cash: a margin account keeps cash, debit and the proceeds of short sales apart."""
    if "totalCash" in balances:
        return float(balances["totalCash"])
    parts = ("cashBalance", "marginBalance", "shortBalance")
    return round(sum(float(balances.get(name) or 0.0) for name in parts), 2)


def blocked(account: Row) -> tuple[str, ...]:
    """Return what an account may not do."""
    found = ["closing_only"] if account.get("isClosingOnlyRestricted") else []
    return (*found, "short_not_allowed") if account.get("type") == "CASH" else tuple(found)


def regular_hours(hours: Row) -> Iterator[tuple[datetime, datetime]]:
    """Return the regular sessions of a market's day."""
    for span in (hours.get("sessionHours") or {}).get("regularMarket") or ():
        yield moment(span["start"]), moment(span["end"])


def _kind(row: Row) -> str:
    if row["type"] == "DIVIDEND_OR_INTEREST":
        return "interest" if "interest" in str(row.get("description", "")).lower() else "dividend"
    return str(row["type"]).lower()


def _sells(leg: Row) -> bool:
    return str(leg["instruction"]).startswith("SELL")


def _price(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
