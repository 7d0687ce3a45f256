"""Alpaca's market data on this machine: REST with pages and its errors, and the stream in MessagePack."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from datetime import UTC, datetime, timedelta

import msgpack
import websockets
from market_http_standin import HttpStandin
from websockets.asyncio.server import serve

KEY, SECRET = "PKMARKET0000000000", "s3cr3t-of-the-market"
ENVIRON = {"APCA_API_KEY_ID": KEY, "APCA_API_SECRET_KEY": SECRET}
MINUTES = {"1Min": 1, "5Min": 5, "15Min": 15, "30Min": 30}


class AlpacaRest(HttpStandin):
    """Bars by (symbol, timeframe) and corporate actions; ``page`` bars an answer at most."""

    def __init__(self, page=10_000):
        self.bars, self.actions, self.page = {}, {}, page
        super().__init__(self.reply)

    def reply(self, path, query, headers):
        if headers.get("apca-api-key-id") != KEY or headers.get("apca-api-secret-key") != SECRET:
            return 403, b'{"message": "forbidden."}', {}
        if path == "/v2/stocks/bars":
            return self.bars_of(query)
        if path == "/v1/corporate-actions":
            return words({"corporate_actions": self.actions_of(query), "next_page_token": None})
        return 404, b'{"message": "endpoint not found."}', {}

    def bars_of(self, query):
        if query.get("adjustment") != "raw":
            return 400, b'{"message": "the stand-in has raw prices only"}', {}
        names, low, high = query["symbols"].split(","), instant(query["start"]), instant(query["end"])
        table = [
            (name, bar)
            for name in sorted(names)
            for bar in self.bars.get((name, query["timeframe"]), [])
            if low <= instant(bar["t"]) <= high
        ]
        limit = min(int(query.get("limit") or 1000), self.page)
        start = int(base64.b64decode(query["page_token"])) if query.get("page_token") else 0
        part, more = table[start : start + limit], start + limit < len(table)
        told: dict[str, list[object]] = {}
        for name, bar in part:
            told.setdefault(name, []).append(bar)
        token = base64.b64encode(str(start + limit).encode()).decode() if more else None
        return words({"bars": told, "next_page_token": token})

    def actions_of(self, query):
        names, low, high = query["symbols"].split(","), query["start"], query["end"]
        kept = {
            kind: [e for e in events if e["symbol"] in names and low <= e["ex_date"] <= high]
            for kind, events in self.actions.items()
            if kind.removesuffix("s") in query["types"].split(",")
        }
        return {kind: events for kind, events in kept.items() if events}


def fill(server, bars, actions=None, timeframe="1Day"):
    """Give a server bars, and the splits and dividends of them."""
    for row in bars.iter_rows(named=True):
        server.bars.setdefault((row["symbol"], timeframe), []).append(wire(row, MINUTES.get(timeframe, 0)))
    for row in () if actions is None else actions.iter_rows(named=True):
        kind, told = action(row["kind"], row["symbol"], row["time"].date(), row["value"])
        server.actions.setdefault(kind, []).append(told)


def words(content):
    return 200, json.dumps(content).encode(), {"Content-Type": "application/json"}


def instant(text):
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def wire(row, minutes):
    """One bar as REST writes it: stamped with its start."""
    start = row["time"] - timedelta(minutes=minutes) if minutes else row["time"].replace(hour=5, minute=0)
    values = {short: row[name] for name, short in zip(("open", "high", "low", "close"), "ohlc", strict=True)}
    return {"t": f"{start:%Y-%m-%dT%H:%M:%SZ}", **values, "v": int(row["volume"]), "n": 100, "vw": row["close"]}


def action(kind, symbol, day, value):
    """One corporate action as REST writes it."""
    base = {"id": "0e7f2f8e-0000-4000-8000-000000000000", "symbol": symbol, "cusip": "000000000",
            "ex_date": str(day), "process_date": str(day)}  # fmt: skip
    if kind == "dividend":
        return "cash_dividends", {**base, "rate": value, "special": False, "foreign": False}
    whole = value >= 1
    rates = {"new_rate": value if whole else 1, "old_rate": 1 if whole else round(1 / value)}
    return ("forward_splits" if whole else "reverse_splits"), {**base, **rates}


class AlpacaStream:
    """The stream: greets, checks keys, acknowledges subscriptions, then says what it is told to.

    ``scripts`` has one list of frames for each connection; a frame is a list of messages, ``"close"``, ``"drop"``, raw
    bytes, or a number of seconds to wait. After its frames a connection stays open.
    """

    def __init__(self, *scripts, greeting=True, refuse=None):
        self.scripts, self.greeting, self.refuse = list(scripts), greeting, refuse
        self.heard: list[object] = []
        self.connections = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._stop = asyncio.Event()
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self):
        async with serve(self._connection, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
            self._ready.set()
            await self._stop.wait()

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _connection(self, socket):
        number, self.connections = self.connections, self.connections + 1
        self.heard.append((socket.request.path, socket.request.headers.get("Content-Type")))
        try:
            if await self._welcome(socket):
                await self._speak(socket, self.scripts[number] if number < len(self.scripts) else [])
                await socket.wait_closed()
        except websockets.ConnectionClosed:
            pass

    async def _welcome(self, socket):
        await say(socket, [{"T": "success", "msg": "connected"}])
        login = msgpack.unpackb(await socket.recv())
        if self.refuse:
            await say(socket, [{"T": "error", "code": self.refuse[0], "msg": self.refuse[1]}])
            return False
        if (login.get("key"), login.get("secret")) != (KEY, SECRET):
            await say(socket, [{"T": "error", "code": 402, "msg": "auth failed"}])
            return False
        await say(socket, [{"T": "success", "msg": "authenticated"}])
        wanted = msgpack.unpackb(await socket.recv())
        self.heard.append(wanted)
        channels = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
        told = {name: list(wanted.get(name, [])) for name in channels}
        await say(socket, [{"T": "subscription", **told}])
        return True

    async def _speak(self, socket, frames):
        for frame in frames:
            if frame == "close":
                await socket.close(1011, "internal error")
            elif frame == "drop":
                socket.transport.abort()
            elif isinstance(frame, int | float):
                await asyncio.sleep(frame)
            elif isinstance(frame, bytes):
                await socket.send(frame)
            else:
                await say(socket, frame)


async def say(socket, messages):
    await socket.send(msgpack.packb(messages, datetime=True))


def bar(symbol, close, price=100.0, volume=1000, kind="b"):
    """A minute bar of the stream, by its close."""
    start = close - timedelta(minutes=1)
    return {"T": kind, "S": symbol, "o": price, "h": price + 1, "l": price - 1, "c": price + 0.5, "v": volume,
            "t": start, "n": 12, "vw": price}  # fmt: skip


def trade(symbol, at, price):
    return {"T": "t", "S": symbol, "i": 7, "x": "V", "p": price, "s": 10, "c": ["@"], "z": "C", "t": at}
