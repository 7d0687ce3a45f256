"""Every question is answered with what the runtime says, in the shape that the API's description promises."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_kit import BARS, NOON, SYMBOLS, Desk, Service, bar_time, in_thread, said

from tradewind.server.answers import cell
from tradewind.server.openapi import bare

DOCUMENT = bare().openapi()
QUESTIONS = sorted(path for path, operations in DOCUMENT["paths"].items() if "get" in operations)
JSON = [path for path in QUESTIONS if path.startswith("/api") and not path.endswith(".csv")]
TABLES = [path for path in QUESTIONS if path.endswith(".csv")]


@pytest.fixture(scope="module")
def desk_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with in_thread(tmp_path_factory.mktemp("questions")) as service:
        yield service


@pytest.fixture
def client(desk_service: Service) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=desk_service.url) as made:
        yield made


def plain(value: Any) -> Any:
    """Return a payload of the runtime as JSON should say it."""
    if isinstance(value, dict):
        return {key: str(part) if key == "id" else plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def schema_of(path: str) -> jsonschema_rs.Draft202012Validator:
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


@pytest.mark.parametrize("path", [path for path in QUESTIONS if not path.endswith(".csv") and path != "/metrics"])
def test_each_answer_has_the_shape_that_the_description_promises(client: httpx2.Client, path: str) -> None:
    response = client.get(path.replace("{symbol}", "AAPL"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    schema_of(path).validate(response.json())


ANSWERS = {
    "/status": lambda desk: {**desk.status(), "available": {"news": True, "manual_override": False}},
    "/health": Desk.health,
    "/account": Desk.account,
    "/symbols": Desk.symbols,
    "/symbols/BRK.B/bars?limit=3": lambda desk: desk.bars("BRK.B", limit=3),
    "/symbols/MSFT/forecasts?limit=2": lambda desk: desk.forecasts("MSFT", limit=2),
    "/symbols/AAPL/news": lambda desk: desk.news("AAPL"),
    "/signals": Desk.signals,
    "/signals?symbol=MSFT&limit=2": lambda desk: desk.signals(symbol="MSFT", limit=2),
    "/account/equity?limit=7": lambda desk: desk.equity(limit=7),
    "/positions": Desk.positions,
    "/orders?limit=2": lambda desk: desk.orders(limit=2),
    "/orders/manual?limit=1": lambda desk: desk.manual_orders(limit=1),
    "/symbols/AAPL/ticket": lambda desk: desk.ticket("AAPL"),
    "/caller": lambda _: {"name": "local", "role": "admin"},
    "/fills": Desk.fills,
    "/alerts": Desk.alerts,
    "/models": Desk.models,
    "/drift": Desk.drift,
    "/jobs": Desk.jobs,
    "/playbooks": Desk.playbooks,
    "/reports": Desk.reports,
}


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_is_what_the_runtime_says_and_nothing_else(
    client: httpx2.Client, desk_service: Service, path: str
) -> None:
    said_by_runtime = plain(ANSWERS[path](desk_service.desk))
    wrapped = {"items": said_by_runtime} if isinstance(said_by_runtime, list) else said_by_runtime
    assert client.get(f"/api/v1{path}").json() == wrapped


def test_no_question_is_without_a_test() -> None:
    asked = {path.partition("?")[0] for path in ANSWERS}
    pattern = {f"/api/v1{path}".replace("BRK.B", "{symbol}").replace("MSFT", "{symbol}") for path in asked}
    assert {path.replace("AAPL", "{symbol}") for path in pattern} == set(JSON)


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-5)), None])
def test_until_shows_only_what_was_known_by_then(client: httpx2.Client, zone: timezone | None) -> None:
    until = bar_time(100).astimezone(zone) if zone else bar_time(100).replace(tzinfo=None)
    bars = client.get("/api/v1/symbols/AAPL/bars", params={"until": until.isoformat(), "limit": 5}).json()["items"]
    assert [bar["time"] for bar in bars] == [said(bar_time(bar)) for bar in range(96, 101)]


@pytest.mark.parametrize(
    "until", ["0.5", "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-01"]
)
def test_an_until_that_is_no_time_is_refused(client: httpx2.Client, until: str) -> None:
    response = client.get("/api/v1/symbols/AAPL/bars", params={"until": until})
    assert (response.status_code, response.json()["type"]) == (422, "urn:tradewind:error:InputError")


@pytest.mark.parametrize("limit", ["0", "-1", "5001", "x", "1e3", ""])
def test_a_limit_that_is_none_is_refused(client: httpx2.Client, limit: str) -> None:
    response = client.get("/api/v1/symbols/AAPL/bars", params={"limit": limit})
    assert response.status_code == 422
    assert response.json()["detail"].startswith("query.limit: ")


def test_what_a_live_system_needs_is_small_and_what_does_not_exist_says_so(client: httpx2.Client) -> None:
    missing = client.get("/api/v1/symbols/AAPX/bars")
    assert (missing.status_code, missing.json()["hint"]) == (404, "did you mean 'AAPL'?")
    unknown = client.get("/api/v1/signals", params={"symbol": "AAPX"})
    assert (unknown.status_code, unknown.json()["hint"]) == (422, "did you mean 'AAPL'?")


def test_a_system_without_news_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Desk, "news")
    with in_thread(tmp_path) as service:
        answer = httpx2.get(f"{service.url}/api/v1/symbols/AAPL/news")
    assert (answer.status_code, answer.json()["detail"]) == (404, "this system reads no news")


# -- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TABLES)
def test_each_table_has_the_rows_of_its_list(client: httpx2.Client, path: str) -> None:
    place = path.replace("{symbol}", "AAPL")
    response = client.get(place)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].startswith('attachment; filename="')
    question = path.removesuffix(".csv")
    limited = any(
        parameter["name"] == "limit" for parameter in DOCUMENT["paths"][question]["get"].get("parameters", ())
    )
    items = client.get(place.removesuffix(".csv"), params={"limit": 1000} if limited else {}).json()["items"]
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len(rows) == len(items) > 0
    for row, item in zip(rows, items, strict=True):
        assert {key: row[key] for key in item} == {key: cell(value) for key, value in item.items()}


def test_no_cell_is_taken_for_a_formula(client: httpx2.Client) -> None:
    row = next(csv.DictReader(io.StringIO(client.get("/api/v1/alerts.csv").text)))
    assert row["what"] == '\'=HYPERLINK("http://x") stop of AAPL hit'


@given(
    text=st.text() | st.tuples(st.sampled_from(("=", "+", "-", "@", "\t", "\r", "＝", "＠")), st.text()).map("".join),
    number=st.floats(allow_nan=False, allow_infinity=False),
)
def test_texts_are_defused_and_numbers_stay_numbers(text: str, number: float) -> None:
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert cell(text).removeprefix("'") == text or cell(text) == text
    assert float(cell(number)) == number


# -- the description ----------------------------------------------------------------------------------------------


def test_the_served_description_is_the_one_that_the_pages_types_are_made_from(client: httpx2.Client) -> None:
    assert client.get("/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


def test_every_reference_of_the_description_leads_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= set(DOCUMENT["components"]["schemas"])
    assert {"ServerMessage", "ClientMessage", "Delta", "BarEvent"} <= named | set(DOCUMENT["components"]["schemas"])


def test_the_reference_lists_every_operation_without_a_script(client: httpx2.Client) -> None:
    page = client.get("/docs")
    assert "<script" not in page.text
    for path, operations in DOCUMENT["paths"].items():
        assert all(f"{method.upper()} {path}" in page.text for method in operations)


# -- nobody waits for the records -----------------------------------------------------------------------------------


def test_a_slow_question_holds_nobody_up(tmp_path: Path) -> None:
    from server_kit import line, service

    async def scene() -> None:
        async with (
            service(tmp_path, heartbeat_seconds=0.05) as made,
            httpx2.AsyncClient(base_url=made.url) as client,
            line(made) as listener,
        ):
            made.desk.gate.clear()
            slow = asyncio.create_task(client.get("/api/v1/symbols"))
            await asyncio.sleep(0)
            for _ in range(5):
                assert (await client.get("/healthz")).status_code == 200
                assert (await client.get("/api/v1/account")).status_code == 200
                await listener.hear("heartbeat")
            assert not slow.done()
            made.desk.gate.set()
            assert len((await slow).json()["items"]) == len(SYMBOLS)

    asyncio.run(scene())


def test_the_kit_ends_at_noon() -> None:
    assert bar_time(BARS - 1) == NOON
