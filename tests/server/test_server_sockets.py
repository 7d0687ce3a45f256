"""The WebSocket: what is said arrives once, in order and whole, however a client comes, goes or reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import websockets
from server_kit import ADMIN, ENVIRON, READ, SYMBOLS, Desk, Line, Service, bar_of, eventually, line, service
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tradewind.server.app import create_app
from tradewind.server.openapi import bare
from tradewind.server.settings import ServerSettings

DOCUMENT = bare().openapi()
SERVER_MESSAGE = jsonschema_rs.Draft202012Validator(
    {**DOCUMENT["components"]["schemas"]["ServerMessage"], "components": DOCUMENT["components"]}
)


def numbers(message: dict[str, Any]) -> list[int]:
    return [event["seq"] for event in message["events"]]


# -- snapshot, then what changes ------------------------------------------------------------------------------------


def test_every_message_is_one_that_the_description_names(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, heartbeat_seconds=0.05) as made, websockets.connect(made.socket) as connection:
            made.desk.publish_bar()
            made.desk.bus.publish("status", "status", made.desk.status())
            made.desk.bus.publish("model", "lstm", made.desk.models()[0])
            made.desk.bus.publish("drift", "lstm", made.desk.drift()[0])
            made.desk.bus.publish("health", "health", made.desk.health())
            made.desk.bus.publish("job", "1", made.desk.jobs()[0])
            made.desk.bus.publish("order", "o0", made.desk.orders()[0])
            made.desk.bus.publish("fill", "e0", made.desk.fills()[0])
            made.desk.bus.publish("alert", "a", made.desk.alerts()[0])
            made.desk.bus.publish("position", "AAPL", made.desk.positions()[0])
            made.desk.bus.publish("tick", "AAPL", {"symbol": "AAPL", "time": "2026-11-30T17:00:01Z", "price": 1.5})
            await connection.send('{"type": "subscribe"}')
            await connection.send("{")
            kinds: dict[str, dict[str, Any]] = {}
            while len(kinds) < 5:
                message = json.loads(await connection.recv())
                SERVER_MESSAGE.validate(message)
                kinds[message["type"]] = message
                if "snapshot" in kinds and "delta" not in kinds:
                    made.desk.publish_bar()
            topics = {event["topic"] for event in kinds["snapshot"]["events"]}
            assert len(topics) == 14

    asyncio.run(scene())


def test_rest_and_socket_tell_the_same_objects(tmp_path: Path) -> None:
    import httpx2

    async def scene() -> None:
        async with service(tmp_path) as made, httpx2.AsyncClient(base_url=made.url) as client, line(made) as listener:
            made.desk.publish_bar()
            snapshot = await listener.subscribe()
            told = {(event["topic"], event["key"]): event["data"] for event in snapshot["events"]}
            bars = (await client.get("/api/v1/symbols/AAPL/bars?limit=1")).json()["items"]
            forecasts = (await client.get("/api/v1/symbols/AAPL/forecasts")).json()["items"]
            account = (await client.get("/api/v1/account")).json()
        assert [told["bar", "AAPL"], told["forecast", "AAPL"], told["account", "account"]] == [
            bars[0], forecasts[0], account,
        ]  # fmt: skip

    asyncio.run(scene())


def test_while_everything_moves_a_snapshot_and_its_deltas_leave_no_gap_and_tell_nothing_twice(tmp_path: Path) -> None:
    """Events with keys of their own are never dropped: every number after a snapshot must arrive, once, in order."""

    async def scene() -> None:
        async with service(tmp_path, waiting_events=100_000, socket_message_burst=1000) as made, line(made) as listener:
            stop = threading.Event()

            def speak() -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    made.desk.bus.publish("bar", f"S{number}", bar_of("AAPL", number % 500))
                    stop.wait(0.0005)

            speaker = threading.Thread(target=speak)
            speaker.start()
            try:
                for _ in range(10):
                    await listener.say(type="subscribe", topics=["bar"])
                    first = await listener.hear("snapshot")
                    expected = first["seq"] + 1
                    assert numbers(first) == list(range(1, first["seq"] + 1))
                    while expected < first["seq"] + 40:
                        delta = await listener.hear("delta")
                        assert numbers(delta) == list(range(expected, expected + len(delta["events"])))
                        expected += len(delta["events"])
            finally:
                stop.set()
                speaker.join()

    asyncio.run(scene())


def test_what_a_snapshot_tells_is_not_told_again_however_fast_things_move(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, socket_message_burst=10_000) as made, line(made) as listener:
            stop = threading.Event()

            def speak() -> None:
                number = 0
                while not stop.is_set():
                    number += 1
                    made.desk.bus.publish("tick", f"S{number % 20}", {"symbol": "S", "time": "now", "price": 1.0})

            patience = sys.getswitchinterval()
            sys.setswitchinterval(1e-5)
            speaker = threading.Thread(target=speak)
            speaker.start()
            try:
                for _ in range(100):
                    await listener.say(type="subscribe", topics=["tick"])
                    snapshot = await listener.hear("snapshot")
                    delta = await listener.hear("delta")
                    assert min(numbers(delta)) > snapshot["seq"] >= max(numbers(snapshot), default=0)
            finally:
                stop.set()
                speaker.join()
                sys.setswitchinterval(patience)

    asyncio.run(scene())


def test_a_client_ends_with_the_newest_of_everything(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made, line(made) as listener:
            made.desk.publish_bar()
            seen: dict[tuple[str, str], Any] = {}
            last = 0

            def take(message: dict[str, Any]) -> None:
                nonlocal last
                for event in message["events"]:
                    assert event["seq"] > last or message["type"] == "snapshot"
                    last = event["seq"]
                    seen[event["topic"], event["key"]] = event["data"]

            take(await listener.subscribe())
            speaker = threading.Thread(target=lambda: [made.desk.publish_bar() for _ in range(60)])
            speaker.start()
            while last < 610:
                take(await listener.hear("delta"))
            speaker.join()
            _, newest = made.desk.bus.snapshot()
            assert seen.keys() == {(event.topic, event.key) for event in newest}
            assert all(seen["bar", symbol] == bar_of(symbol, made.desk.bar) for symbol in SYMBOLS)

    asyncio.run(scene())


def test_one_hears_the_topics_and_symbols_one_asked_for_and_can_change_ones_mind(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made, line(made) as listener:
            made.desk.publish_bar()
            first = await listener.subscribe(topics=["bar", "account"], symbols=["MSFT"])
            assert {(e["topic"], e["key"]) for e in first["events"]} == {("bar", "MSFT"), ("account", "account")}
            made.desk.publish_bar()
            heard: list[tuple[str, str]] = []
            while len(heard) < 2:
                heard += [(e["topic"], e["key"]) for e in (await listener.hear("delta"))["events"]]
            assert heard == [("bar", "MSFT"), ("account", "account")]
            second = await listener.subscribe(topics=["signal"], symbols=None)
            assert {(e["topic"], e["key"]) for e in second["events"]} == {("signal", symbol) for symbol in SYMBOLS}
            nothing = await listener.subscribe(topics=[], symbols=[])
            assert {e["topic"] for e in nothing["events"]} == {"account"}

    asyncio.run(scene())


def test_a_snapshot_has_the_newest_of_what_there_is_a_great_many_of(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made, line(made) as listener:
            for number in range(500):
                made.desk.bus.publish("fill", f"e{number}", made.desk.fills()[0])
            made.desk.publish_bar()
            snapshot = await listener.subscribe()
            fills = [event["key"] for event in snapshot["events"] if event["topic"] == "fill"]
            assert fills == [f"e{number}" for number in range(300, 500)]
            assert len(snapshot["events"]) == 210

    asyncio.run(scene())


def test_an_event_that_is_not_of_its_topics_shape_is_told_as_it_is_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made, line(made) as listener:
            await listener.subscribe()
            for number in range(3):
                made.desk.bus.publish("bar", f"S{number}", {"symbol": "S", "odd": float("nan")})
            heard: list[Any] = []
            while len(heard) < 3:
                heard += (await listener.hear("delta"))["events"]
            assert [event["data"] for event in heard] == [{"symbol": "S", "odd": None}] * 3

    asyncio.run(scene())
    assert sum("does not have the shape" in str(record.msg) for record in caplog.records) == 1


def test_signs_of_life_come_also_before_anything_is_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, heartbeat_seconds=0.02) as made, line(made) as listener:
            first, second = await listener.hear("heartbeat"), await listener.hear("heartbeat")
            assert (first["seq"], first["dropped"]) == (0, 0)
            assert first["at"] < second["at"]
            made.desk.publish_bar()
            await listener.subscribe()
            while (await listener.hear("heartbeat"))["seq"] != 10:
                pass

    asyncio.run(scene())


def test_a_ping_is_answered_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, heartbeat_seconds=5) as made, line(made) as listener:
            await listener.say(type="ping")
            assert (await listener.hear("heartbeat"))["seq"] == 0

    asyncio.run(scene())


# -- being away -----------------------------------------------------------------------------------------------------


def test_who_was_away_gets_exactly_what_was_missed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made:
            made.desk.publish_bar()
            async with websockets.connect(made.socket) as connection:
                session = json.loads(await connection.recv())["session"]
            made.desk.publish_bar()
            async with line(made) as listener:
                missed = await listener.subscribe(resume=4, session=session)
                assert (missed["type"], numbers(missed)) == ("delta", list(range(5, 21)))
                made.desk.publish_bar()
                heard: list[int] = []
                while len(heard) < 10:
                    heard += numbers(await listener.hear("delta"))
                assert heard == list(range(21, 31))
                chosen = await listener.subscribe(topics=["bar"], symbols=["AAPL"], resume=1, session=session)
                assert [event["key"] for event in chosen["events"]] == ["AAPL", "AAPL"]
                nothing = await listener.subscribe(resume=30, session=session)
                assert (nothing["type"], nothing["events"]) == ("delta", [])

    asyncio.run(scene())


@pytest.mark.parametrize(("resume", "own"), [(15, False), (999, True), (0, True), (None, True)])
def test_who_cannot_go_on_begins_anew(tmp_path: Path, resume: int | None, own: bool) -> None:
    """Another process, a number that was never said, too much to tell, and nothing to go on from."""

    async def scene() -> None:
        async with service(tmp_path, waiting_events=15) as made, websockets.connect(made.socket) as connection:
            session = json.loads(await connection.recv())["session"] if own else "another"
            made.desk.publish_bar()
            made.desk.publish_bar()
            first = await Line(connection).subscribe(resume=resume, session=session)
            assert (first["type"], first["seq"], len(first["events"])) == ("snapshot", 20, 10)

    asyncio.run(scene())


# -- messages without a meaning ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "", "{", "null", "[]", "1", '"subscribe"', "{}", '{"type": "unknown"}',
        '{"type": "subscribe", "topics": "bar"}',
        '{"type": "subscribe", "topics": ["nothing"]}', '{"type": "subscribe", "resume": -1}',
        '{"type": "subscribe", "more": 1}', "[" * 10_000, '{"a":' * 2_000, '{"type": "ping", "type": ["ping"]}',
        '{"type": "subscribe", "resume": 1e999}', "\x00",
    ],
)  # fmt: skip
def test_a_message_that_means_nothing_is_answered_so_and_the_line_holds(tmp_path: Path, message: str) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made, line(made) as listener:
            await listener.connection.send(message)
            error = await listener.hear("error")
            assert error["detail"].startswith("not a message that is understood: ")
            made.desk.publish_bar()
            assert (await listener.subscribe())["seq"] == 10

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("message", "times", "code"),
    [(b"\x00\x01", 1, 1003), ("x" * 20_000, 1, 1009), ("{", 30, 1008), ('{"type": "ping"}', 100, 1008)],
)
def test_who_misuses_the_line_is_sent_away(tmp_path: Path, message: str | bytes, times: int, code: int) -> None:
    async def scene() -> None:
        async with (
            service(tmp_path, socket_messages_per_second=0.1) as made,
            line(made) as listener,
            line(made) as other,
        ):
            with contextlib.suppress(ConnectionClosed):
                for _ in range(times):
                    await listener.connection.send(message)
            assert (await listener.end())[1] == code
            await other.say(type="ping")
            await other.hear("heartbeat")
            await eventually(lambda: made.serving._sockets._open == 1)

    asyncio.run(scene())


# -- who may listen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"subprotocols": ["tradewind", f"bearer.{READ}"]},
        {"subprotocols": [f"bearer.{ADMIN}", "tradewind"]},
        {"additional_headers": {"Authorization": f"Bearer {READ}"}},
    ],
)
def test_whoever_shows_a_token_listens(tmp_path: Path, options: dict[str, Any]) -> None:
    async def scene() -> None:
        async with service(tmp_path, environ=ENVIRON) as made, line(made, **options) as listener:
            assert listener.connection.subprotocol == ("tradewind" if "subprotocols" in options else None)
            assert (await listener.subscribe())["type"] == "snapshot"

    asyncio.run(scene())


def test_a_token_may_be_the_first_message(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, environ=ENVIRON) as made, websockets.connect(made.socket) as connection:
            listener = Line(connection)
            await listener.say(type="auth", token=READ)
            await listener.hear("hello")
            assert (await listener.subscribe())["type"] == "snapshot"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"subprotocols": ["tradewind"]}, None),
        ({"subprotocols": ["tradewind", "bearer.wrong"]}, None),
        ({"additional_headers": {"Authorization": "Bearer wrong"}}, None),
        ({}, {"type": "auth", "token": "wrong"}),
        ({}, {"type": "subscribe"}),
        ({}, "not json"),
        ({}, None),
    ],
)
def test_whoever_shows_none_hears_nothing(tmp_path: Path, options: dict[str, Any], first: Any) -> None:
    async def scene() -> None:
        async with (
            service(tmp_path, environ=ENVIRON, sign_in_seconds=0.2) as made,
            websockets.connect(made.socket, **options) as connection,
        ):
            if first is not None:
                await connection.send(json.dumps(first))
            assert await Line(connection).end() == ([], 4401)

    asyncio.run(scene())


def test_a_page_from_elsewhere_hears_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, cors_origins=("https://desk.example.org",)) as made:
            for origin, welcome in (("https://evil.example", 0), (made.url, 1), ("https://desk.example.org", 1)):
                try:
                    async with line(made, origin=origin):
                        assert welcome
                except InvalidStatus as refused:
                    assert not welcome
                    assert refused.response.status_code == 403
                    assert json.loads(refused.response.body)["detail"].startswith("this page may not ask")

    asyncio.run(scene())


def test_a_token_in_the_address_opens_nothing_and_is_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.DEBUG)
    caplog.set_level(logging.INFO)

    async def scene() -> None:
        async with service(tmp_path, environ=ENVIRON, sign_in_seconds=0.1, access_log=True) as made:
            logging.getLogger("uvicorn.error").setLevel(logging.INFO)
            address = f"{made.socket}?token={READ}"
            async with websockets.connect(address) as connection:
                assert await Line(connection).end() == ([], 4401)

    try:
        asyncio.run(scene())
    finally:
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    assert "/ws" in caplog.text
    assert READ not in "\n".join(record.getMessage() for record in caplog.records if record.name != "websockets.client")


def test_there_are_so_many_places_and_no_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, sockets=2) as made:
            async with line(made), line(made):
                with pytest.raises(InvalidStatus) as refused:
                    await websockets.connect(made.socket)
                assert refused.value.response.status_code == 503
                assert refused.value.response.headers["retry-after"] == "5"
            await eventually(lambda: made.serving._sockets._open == 0)
            async with line(made):
                pass

    asyncio.run(scene())


# -- slow, dead and many ----------------------------------------------------------------------------------------------


def _stuck(made: Service) -> socket.socket:
    """Return a client that subscribes to everything and then reads nothing ever again."""
    host, port = made.url.removeprefix("http://").split(":")
    made_socket = socket.socket()
    made_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made_socket.connect((host, int(port)))
    made_socket.sendall(
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert made_socket.recv(12) == b"HTTP/1.1 101"
    message = b'{"type": "subscribe"}'
    made_socket.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    return made_socket


def test_one_that_reads_nothing_holds_up_nobody_is_counted_and_sent_away(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, send_timeout_seconds=0.5, heartbeat_seconds=0.05) as made, line(made) as listener:
            await listener.subscribe(topics=["alert"])
            stuck = await asyncio.to_thread(_stuck, made)
            await eventually(lambda: made.desk.bus.listeners == 2)
            alert, number = made.desk.alerts()[0], 0
            while made.desk.bus.listeners == 2:
                number += 1
                made.desk.bus.publish("alert", "the same", {**alert, "what": "x" * 400_000, "kind": str(number)})
                assert (await listener.hear("delta"))["events"][-1]["data"]["kind"] == str(number)
            assert made.desk.bus.dropped > 0
            await eventually(lambda: made.serving._sockets._open == 1)
            await eventually(lambda: len(made.serving._server.server_state.connections) == 1)
            stuck.close()

    asyncio.run(scene())


def test_one_whose_line_breaks_is_forgotten(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, heartbeat_seconds=0.05) as made:
            connections = [await websockets.connect(made.socket) for _ in range(10)]
            for connection in connections:
                await Line(connection).subscribe()
            await eventually(lambda: made.desk.bus.listeners == 10)
            for connection in connections:
                connection.transport.abort()
            made.desk.publish_bar()
            await eventually(lambda: made.desk.bus.listeners == 0)
            await eventually(lambda: not made.serving._server.server_state.connections)

    asyncio.run(scene())


@pytest.mark.parametrize("failing", [2, 3])
def test_a_line_that_ends_while_something_is_on_its_way_is_no_error(tmp_path: Path, failing: int) -> None:
    """What uvicorn does where the connection closed already: what is sent then raises. Here it is the nth message."""

    async def scene() -> None:
        desk, sent = Desk(tmp_path), 0
        app = create_app(desk, ServerSettings(heartbeat_seconds=0.001), environ={})
        said = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": '{"type": "subscribe"}'}]
        forever = asyncio.Event()

        async def receive() -> Any:
            if not said:
                await forever.wait()
            return said.pop(0)

        async def send(message: Any) -> None:
            nonlocal sent
            sent += 1
            if sent > failing:
                raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")

        async with asyncio.timeout(20):
            await app(
                {
                    "type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "subprotocols": [],
                    "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "scheme": "ws", "root_path": "",
                },
                receive,
                send,
            )  # fmt: skip
        assert (sent, desk.bus.listeners, app.state.sockets._open) == (failing + 1, 0, 0)
        desk.close()

    asyncio.run(scene())


def test_two_hundred_hear_the_same_and_leave_nothing_behind(tmp_path: Path) -> None:
    async def scene() -> None:
        async with service(tmp_path, sockets=200) as made, contextlib.AsyncExitStack() as stack:
            made.desk.publish_bar()
            lines = [await stack.enter_async_context(line(made)) for _ in range(200)]
            snapshots = await asyncio.gather(*(listener.subscribe() for listener in lines))
            assert all(numbers(snapshot) == list(range(1, 11)) for snapshot in snapshots)
            made.desk.publish_bar()

            async def all_of(listener: Line) -> list[int]:
                heard: list[int] = []
                while len(heard) < 10:
                    heard += numbers(await listener.hear("delta"))
                return heard

            assert await asyncio.gather(*map(all_of, lines)) == [list(range(11, 21))] * 200
            assert made.desk.bus.listeners == 200
            await stack.aclose()
            await eventually(lambda: made.desk.bus.listeners == made.serving._sockets._open == 0)
            assert not made.desk.bus._asleep or not any(made.desk.bus._asleep.values())

    asyncio.run(scene())


def test_when_the_server_stops_clients_are_told_to_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async with service(tmp_path) as made:
            connection = await websockets.connect(made.socket)
            await Line(connection).subscribe()
            stuck = await asyncio.to_thread(_stuck, made)
            await eventually(lambda: made.desk.bus.listeners == 2)
            for number in range(400):
                made.desk.bus.publish("alert", f"{number}", {**made.desk.alerts()[0], "what": "x" * 20_000})
        assert (await Line(connection).end())[1] == 1012
        stuck.close()
        with pytest.raises(OSError):
            await websockets.connect(made.socket)

    asyncio.run(scene())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_the_example_of_the_documentation_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)

    async def scene() -> None:
        async with service(tmp_path) as made:
            names: dict[str, Any] = {}
            example = block.replace("ws://127.0.0.1:8321/ws", made.socket).replace("asyncio.run(main())", "")
            exec(compile(example, "docs/api.md", "exec"), names)
            made.desk.publish_bar()
            running = asyncio.create_task(names["main"]())
            shown = ""
            while "MSFT SELL 0.61" not in shown:
                shown += capsys.readouterr().out
                await asyncio.sleep(0.01)
                assert not running.done()
        with pytest.raises(ConnectionClosed):
            await running

    asyncio.run(scene())
