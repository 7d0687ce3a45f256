"""Three brokers that outlive us, told from outside what happens to them: a file, Alpaca's and Schwab's stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import standin_alpaca
import standin_schwab
from execution_broker import FileBroker
from standin_exchange import NOON, Deal, Exchange, Standin

from tradewind.clock import FixedClock
from tradewind.execution.brokers.base import Broker, Movement, OrderRequest
from tradewind.execution.brokers.settings import BrokerSection

NAMES = ("file", "alpaca", "schwab")
FEE = 0.35


class Market(Protocol):
    """An account and its market. ``start`` is what a new process of ours does."""

    def start(self) -> Broker: ...
    def fill(self, request: OrderRequest, quantity: float | None = None) -> None: ...
    def lose(self) -> None: ...
    def drop(self) -> None: ...
    def stranger(self, *, filled: bool) -> None: ...
    def move(self, symbol: str, quantity: float, cash: float, *, told: bool) -> None: ...
    def forget(self, request: OrderRequest) -> None: ...
    def skew(self, seconds: float) -> None: ...
    def close(self) -> None: ...


class FileMarket:
    def __init__(self, home: Path) -> None:
        self.path, self.broker = home / "broker.json", FileBroker(home / "broker.json")
        self.next: list[str] = []

    def start(self) -> Broker:
        broker = self.broker = FileBroker(self.path)
        honest = broker.submit

        def submit(request: OrderRequest) -> Any:
            for kind, names in (("lose", broker.loses), ("drop", broker.drops)):
                if self.next and self.next[0] == kind:
                    names.add(request.client_order_id)
            if self.next:
                self.next.pop(0)
            try:
                return honest(request)
            finally:
                broker.loses.clear()
                broker.drops.clear()

        broker.submit = submit  # type: ignore[method-assign]
        return broker

    def fill(self, request: OrderRequest, quantity: float | None = None) -> None:
        report = self.broker.order(request.client_order_id)
        assert report is not None
        left = request.quantity - report.filled_quantity
        self.broker.fill(request.client_order_id, (left if quantity is None else quantity) / request.quantity, fee=FEE)

    def lose(self) -> None:
        self.next.append("lose")

    def drop(self) -> None:
        self.next.append("drop")

    def stranger(self, *, filled: bool) -> None:
        self.broker.place(OrderRequest("someone", "CCC", "buy", 1.0))
        if filled:
            self.broker.fill("someone", fee=0.0)

    def move(self, symbol: str, quantity: float, cash: float, *, told: bool) -> None:
        when = NOON + timedelta(seconds=90) if told else NOON - timedelta(days=9)
        self.broker.move(Movement(f"m-{symbol}-{cash}", "moved", when, symbol, quantity, cash))

    def forget(self, request: OrderRequest) -> None:
        self.broker.forget("orders", client_order_id=request.client_order_id)

    def skew(self, seconds: float) -> None:
        self.broker.now = NOON + timedelta(seconds=seconds)

    def close(self) -> None:
        pass


class NetworkMarket:
    """What both stand-ins share: the exchange behind them is told what happens."""

    def __init__(self, standin: Standin) -> None:
        self.standin, self.exchange, self.started = standin, standin.exchange, list[Broker]()

    def made(self) -> Broker:
        raise NotImplementedError

    def words(self, symbol: str, quantity: int = 1) -> dict[str, Any]:
        return {}

    def start(self) -> Broker:
        self.started.append(self.made())
        return self.started[-1]

    def settings(self, name: str, **more: Any) -> BrokerSection:
        return BrokerSection.model_validate({"name": name, "url": self.standin.url, "timeout_seconds": 2, **more})

    def find(self, request: OrderRequest) -> Deal:
        asked = (request.symbol, request.side, request.quantity)
        return next(d for d in self.exchange.orders if (d.symbol, d.side, d.quantity) == asked)

    def fill(self, request: OrderRequest, quantity: float | None = None) -> None:
        self.exchange.fill(self.find(request), quantity, fee=FEE)

    def lose(self) -> None:
        self.standin.fail("after", "POST", "/orders$")

    def drop(self) -> None:
        self.standin.fail("before", "POST", "/orders$")

    def stranger(self, *, filled: bool) -> None:
        deal = self.exchange.place("someone", "CCC", "buy", 1.0, "market", **self.words("CCC"))
        if filled:
            self.exchange.fill(deal)

    def arrive(self, request: OrderRequest) -> None:
        """Let an order arrive that was on its way for long."""
        asked = (request.client_order_id, request.symbol, request.side, request.quantity, request.kind)
        self.exchange.place(*asked, **self.words(request.symbol, int(request.quantity)))

    def move(self, symbol: str, quantity: float, cash: float, *, told: bool) -> None:
        if told:
            self.exchange.move("SPLIT" if quantity else "DIV", symbol, quantity, cash)
        else:
            self.exchange.shares[symbol] = self.exchange.shares.get(symbol, 0.0) + quantity
            self.exchange.cash += round(cash * 100)

    def forget(self, request: OrderRequest) -> None:
        self.exchange.orders.remove(self.find(request))

    def skew(self, seconds: float) -> None:
        self.exchange.skew = timedelta(seconds=seconds)

    def close(self) -> None:
        for broker in self.started:
            broker.close()
        self.standin.close()


class AlpacaMarket(NetworkMarket):
    standin: standin_alpaca.AlpacaStandin

    def __init__(self) -> None:
        super().__init__(standin_alpaca.AlpacaStandin())

    def made(self, **more: Any) -> Any:
        from tradewind.execution.brokers.alpaca import AlpacaBroker

        settings = self.settings("alpaca", **more)
        return AlpacaBroker(settings, environ=standin_alpaca.ENVIRON, sleep=lambda seconds: None)

    def fill(self, request: OrderRequest, quantity: float | None = None) -> None:
        self.exchange.fill(self.find(request), quantity)
        self.exchange.move("FEE", cash=-FEE)


class SchwabMarket(NetworkMarket):
    standin: standin_schwab.SchwabStandin

    def __init__(self, home: Path) -> None:
        self.tokens = standin_schwab.write_tokens(home / "tokens.db")
        super().__init__(standin_schwab.SchwabStandin())

    def words(self, symbol: str, quantity: int = 1) -> dict[str, Any]:
        leg = {"instruction": "BUY", "quantity": quantity, "instrument": {"symbol": symbol, "assetType": "EQUITY"}}
        return {"words": {"orderType": "MARKET", "duration": "DAY", "orderLegCollection": [leg]}}

    def made(self, *, now: datetime = NOON, sleep: Callable[[float], None] | None = None, **more: Any) -> Any:
        from tradewind.execution.brokers.schwab import SchwabBroker

        settings = self.settings("schwab", **{"tokens_path": str(self.tokens), **more})
        pause = sleep or (lambda seconds: None)
        return SchwabBroker(settings, environ=standin_schwab.ENVIRON, clock=FixedClock(now), sleep=pause)


def market_of(name: str, home: Path) -> Market:
    if name == "file":
        return FileMarket(home)
    return AlpacaMarket() if name == "alpaca" else SchwabMarket(home)


def exchange_of(market: Market) -> Exchange:
    assert isinstance(market, NetworkMarket)
    return market.exchange
