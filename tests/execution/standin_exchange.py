"""What the stand-ins of brokers have in common: a local server with switches for every mishap, and a small market.

Time stands at noon and goes on by one second with everything that happens, so that no test waits for anything.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPEN = ("new", "partially_filled")


@dataclass
class Deal:
    """One order as an exchange has it. ``status``: new, partially_filled, filled, canceled, rejected, expired."""

    number: int
    client_id: str
    symbol: str
    side: str
    quantity: float
    kind: str
    entered: datetime
    limit: float | None = None
    stop: float | None = None
    trail: float | None = None
    duration: str = "day"
    words: dict[str, Any] = field(default_factory=dict)
    status: str = "new"
    updated: datetime = NOON
    filled: float = 0.0
    value: float = 0.0
    reason: str = ""
    best: float | None = None

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def open(self) -> bool:
        return self.status in OPEN


@dataclass
class Fill:
    number: int
    order: Deal
    quantity: float
    price: float
    time: datetime
    left: float
    fee: float = 0.0


class Exchange:
    """Orders rest until a trade is printed (``trade``) or a test fills them (``fill``)."""

    def __init__(self, cash: float = 10_000.0) -> None:
        self.cash, self.shares, self.orders, self.fills = round(cash * 100), dict[str, float](), list[Deal](), []
        self.moved: list[dict[str, Any]] = []
        self.price: dict[str, float] = {}
        self.skew = timedelta(0)
        self._ticks, self._numbers = itertools.count(1), itertools.count(1001)

    @property
    def clock(self) -> datetime:
        return NOON + self.skew

    def tick(self) -> datetime:
        return NOON + timedelta(seconds=next(self._ticks)) + self.skew

    def place(self, client_id: str, symbol: str, side: str, quantity: float, kind: str, **more: Any) -> Deal:
        now = self.tick()
        deal = Deal(next(self._numbers), client_id, symbol, side, quantity, kind, now, updated=now, **more)
        self.orders.append(deal)
        return deal

    def find(self, client_id: str) -> Deal:
        return next(deal for deal in self.orders if deal.client_id == client_id)

    def fill(self, deal: Deal, quantity: float | None = None, price: float = 33.33, fee: float = 0.0) -> Fill:
        """Fill a part of an order, or all that is left of it."""
        assert deal.open, f"{deal} cannot be filled"
        amount = deal.quantity - deal.filled if quantity is None else quantity
        deal.filled, deal.value = deal.filled + amount, deal.value + amount * price
        left = deal.quantity - deal.filled
        deal.status, deal.updated = ("filled" if left <= 1e-9 else "partially_filled"), self.tick()
        held = round(self.shares.get(deal.symbol, 0.0) + deal.sign * amount, 9)
        self.shares[deal.symbol], self.price[deal.symbol] = held, price
        self.cash -= round(deal.sign * amount * price * 100) + round(fee * 100)
        made = Fill(next(self._numbers), deal, amount, price, deal.updated, left, fee)
        self.fills.append(made)
        return made

    def trade(self, symbol: str, price: float, volume: float = 1e9) -> list[Fill]:
        """Print a trade: what its price reaches is filled, oldest first, as far as its volume goes."""
        made = []
        for deal in [d for d in self.orders if d.open and d.symbol == symbol]:
            if self._reached(deal, price) and volume > 0:
                made.append(self.fill(deal, min(volume, deal.quantity - deal.filled), price))
                volume -= made[-1].quantity
        return made

    def end(self, deal: Deal, status: str, reason: str = "") -> None:
        deal.status, deal.reason, deal.updated = status, reason, self.tick()

    def move(self, kind: str, symbol: str = "", quantity: float = 0.0, cash: float = 0.0, **more: Any) -> None:
        """Pay a dividend, split a stock, charge a fee."""
        if quantity:
            self.shares[symbol] = self.shares.get(symbol, 0.0) + quantity
        self.cash += round(cash * 100)
        row = {"number": next(self._numbers), "kind": kind, "symbol": symbol, "quantity": quantity, "cash": cash}
        self.moved.append({**row, "time": self.tick(), **more})

    def _reached(self, deal: Deal, price: float) -> bool:
        sign = deal.sign
        if deal.trail is not None:
            better = deal.best is None or (price < deal.best if sign > 0 else price > deal.best)
            deal.best = price if better else deal.best
            assert deal.best is not None
            deal.stop = deal.best * (1 + sign * deal.trail)
        if deal.stop is not None and sign * (price - deal.stop) < 0:
            return False
        return deal.limit is None or sign * (price - deal.limit) <= 0


@dataclass
class Fault:
    """What goes wrong with the next requests that match.

    ``before`` and ``after`` close the connection without an answer, before or after the request took effect;
    ``slow_before`` and ``slow_after`` keep it open instead, until the client gives up; ``cut`` stops in the middle
    of the answer; ``garbage`` answers something that is no JSON; a number answers with that status, no effect.
    """

    what: str | int
    method: str = ""
    path: str = ""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)

    def meets(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in ("", method) and re.search(self.path, path) is not None


class Standin:
    """A server on a port of its own; subclasses answer with (status, content, headers)."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.faults = exchange, list[Fault]()
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.meanwhile: dict[str, Callable[[], Any]] = {}  # happens before the next request of a method is answered
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, what: str | int, method: str = "", path: str = "", times: int = 1, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(what, method, path, times, named))

    def fault(self, method: str, path: str) -> Fault | None:
        found = next((fault for fault in self.faults if fault.meets(method, path)), None)
        if found is not None:
            found.times -= 1
        return found

    def answer(
        self, method: str, path: str, query: dict[str, str], body: Any, headers: dict[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        raise NotImplementedError


def _handler(standin: Standin) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            place = urlsplit(self.path)
            path, query = unquote(place.path), {k: v[0] for k, v in parse_qs(place.query).items()}
            size = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(size).decode() if size else ""
            body = json.loads(raw) if raw[:1] in ("{", "[") else raw
            standin.asked.append((self.command, path, query, body))
            fault = standin.fault(self.command, path)
            what = None if fault is None else fault.what
            if isinstance(what, int):
                assert fault is not None
                return self.reply(what, {"message": "stand-in"}, fault.headers)
            if what == "before" or what == "slow_before":
                return self.vanish(what)
            with lock:
                standin.meanwhile.pop(self.command, lambda: None)()
                status, content, headers = standin.answer(
                    self.command, path, query, body, {k.lower(): v for k, v in self.headers.items()}
                )
            if what == "after" or what == "slow_after":
                return self.vanish(what)
            self.reply(status, content, headers, what)

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = handle_any  # noqa: N815

        def vanish(self, what: str) -> None:
            if what.startswith("slow"):
                standin.ended.wait(5)
            self.close_connection = True

        def reply(self, status: int, content: Any, headers: dict[str, str], what: str | None = None) -> None:
            text = b"" if content is None else json.dumps(content).encode()
            text = b"<html>We will be back soon</html>" if what == "garbage" else text
            date = standin.exchange.clock.strftime("%a, %d %b %Y %H:%M:%S GMT")
            usual = {"Content-Type": "application/json; charset=UTF-8", "Content-Length": str(len(text)), "Date": date}
            lines = [f"HTTP/1.1 {status} stand-in", *(f"{k}: {v}" for k, v in {**usual, **headers}.items())]
            whole = ("\r\n".join(lines) + "\r\n\r\n").encode() + text
            if what == "cut":
                whole, self.close_connection = whole[: -max(1, len(text) // 2)], True
            self.wfile.write(whole)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
