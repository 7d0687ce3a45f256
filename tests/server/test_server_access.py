"""Who may ask what, from where, how often and how much; and that no answer says more than it should."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_kit import ADMIN, ENVIRON, READ, TRADE, Desk, Service, in_thread

from tradewind.errors import BugError, DataError, InputError, RetryError, SafetyStop, TradewindError
from tradewind.server.app import create_app
from tradewind.server.guard import HEADERS
from tradewind.server.limits import Bucket, RateLimit
from tradewind.server.openapi import bare
from tradewind.server.serve import serve
from tradewind.server.settings import ROLES, ServerSettings
from tradewind.server.tokens import Tokens, new_token, read_tokens

TOKENS = {"read": READ, "trade": TRADE, "admin": ADMIN, "wrong": "w" * 30, "none": None}
OPEN = {"/healthz", "/readyz"}
NEEDS_TRADE = {
    "/api/v1/control/halt", "/api/v1/control/release", "/api/v1/replay/speed", "/api/v1/orders",
    "/api/v1/orders/{order_id}", "/api/v1/positions/{symbol}/close",
}  # fmt: skip
BUY = {"id": "one", "symbol": "AAPL", "side": "BUY", "weight": 0.05, "stop": 98.0, "reason": "a test"}
BODIES: dict[str, Any] = {
    "/api/v1/control/halt": {"reason": "a test"},
    "/api/v1/control/release": {"reason": "a test"},
    "/api/v1/replay/speed": {"speed": "max"},
    "/api/v1/orders": BUY,
    "/api/v1/positions/{symbol}/close": {"id": "two", "reason": "a test"},
    "/api/v1/models/{seat}/promote": {"model": "m2", "reason": "a test"},
    "/api/v1/models/{seat}/rollback": {"reason": "a test"},
}
OPERATIONS = [(method.upper(), path) for path, operations in bare().openapi()["paths"].items() for method in operations]


def role_for(method: str, path: str) -> str | None:
    """Return the role that the contract gives an operation."""
    if path in OPEN:
        return None
    if method == "GET":
        return "read"
    return "trade" if path in NEEDS_TRADE else "admin"


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with in_thread(tmp_path_factory.mktemp("guarded"), environ=ENVIRON, manual_override=True) as service:
        yield service


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with in_thread(tmp_path_factory.mktemp("local"), largest_body_bytes=2048) as service:
        yield service


# -- tokens and roles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", TOKENS)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_each_operation_lets_in_whom_it_should(guarded: Service, method: str, path: str, shown: str) -> None:
    place = path.replace("{symbol}", "AAPL").replace("{seat}", "lstm").replace("{order_id}", "one")
    if path == "/api/v1/control/release":
        guarded.desk.controls.halt("so that it can be released", "test")
    with httpx2.Client(base_url=guarded.url, headers=bearer(TOKENS[shown])) as client:
        response = client.request(method, place, json=BODIES.get(path))
    needed = role_for(method, path)
    if needed is None or (shown in ROLES and ROLES.index(shown) >= ROLES.index(needed)):
        assert response.status_code == 200
    else:
        assert response.status_code == (403 if shown in ROLES else 401)
        assert response.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in response.headers) == (shown not in ROLES)


@pytest.mark.parametrize("value", ["", "Bearer", f"Basic {ADMIN}", f"Bearer  x {ADMIN}", "Bearer \xe4" + "x" * 30])
def test_what_is_no_token_is_nobody(guarded: Service, value: str) -> None:
    response = httpx2.get(f"{guarded.url}/api/v1/status", headers={"Authorization": value.encode("latin-1")})
    assert response.status_code == 401


def test_a_command_says_who_gave_it_and_why(guarded: Service) -> None:
    guarded.desk.commands.clear()
    with httpx2.Client(base_url=guarded.url, headers=bearer(ADMIN)) as client:
        assert client.post("/api/v1/models/lstm/promote", json=BODIES["/api/v1/models/{seat}/promote"]).is_success
        assert client.post("/api/v1/replay/speed", json={"speed": 12.5}).is_success
        assert client.post("/api/v1/alerts/test").is_success
    assert guarded.desk.commands == [
        ("promote", "admin", {"seat": "lstm", "model": "m2", "reason": "a test"}),
        ("speed", "admin", {"speed": 12.5}),
        ("test_alert", "admin", {}),
    ]


def test_who_asks_hears_which_role_that_is(guarded: Service) -> None:
    answers = [httpx2.get(f"{guarded.url}/api/v1/caller", headers=bearer(token)).json() for token in (READ, TRADE)]
    assert answers == [{"name": "read", "role": "read"}, {"name": "trade", "role": "trade"}]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stop": None}, "a BUY needs a stop"),
        ({"weight": None}, "a BUY needs a weight"),
        ({"weight": -0.05}, "greater than 0"),
        ({"weight": "NaN"}, "finite number"),
        ({"stop": 0}, "greater than 0"),
        ({"side": "CLOSE"}, "a CLOSE takes no stop, weight"),
        ({"side": "HOLD"}, "'BUY', 'SELL' or 'CLOSE'"),
        ({"reason": "  "}, "at least 1 character"),
        ({"id": "../x"}, "match pattern"),
        ({"live": True}, "Extra inputs"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_before_anybody_hears_of_it(
    local: Service, change: dict[str, Any], why: str
) -> None:
    local.desk.commands.clear()
    answer = httpx2.post(f"{local.url}/api/v1/orders", json={**BUY, **change})
    assert (answer.status_code, local.desk.commands) == (422, [])
    assert why in answer.json()["detail"]


def test_an_order_of_nobodys_cannot_be_taken_back(local: Service) -> None:
    assert httpx2.delete(f"{local.url}/api/v1/orders/never").status_code == 404


def test_models_are_promoted_by_hand_only_where_that_is_set(local: Service) -> None:
    local.desk.commands.clear()
    answer = httpx2.post(f"{local.url}/api/v1/models/lstm/promote", json={"model": "m2", "reason": "x"})
    assert (answer.status_code, local.desk.commands) == (403, [])
    assert "server.manual_override" in answer.json()["hint"]


def test_on_loopback_without_tokens_everybody_is_the_one_at_the_machine(local: Service) -> None:
    answer = httpx2.post(f"{local.url}/api/v1/control/halt", json={"reason": "a test"}, headers=bearer("whatever"))
    assert answer.json() == {"halted": True, "by": "local"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "desk.example.org"])
def test_beyond_loopback_nothing_listens_without_tokens(tmp_path: Path, host: str) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(InputError, match="open to the network") as refused:
        create_app(desk, ServerSettings(host=host), environ={})
    assert "TRADEWIND_ADMIN_TOKEN" in refused.value.hint
    assert create_app(desk, ServerSettings(host=host), environ={"TRADEWIND_READ_TOKEN": READ})
    desk.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_is_known_as_such(host: str) -> None:
    assert ServerSettings(host=host).on_loopback


def test_a_variable_that_is_asked_for_must_be_set() -> None:
    settings = ServerSettings(token_variables={"read": "DESK_TOKEN"})
    with pytest.raises(InputError, match="DESK_TOKEN is not set"):
        read_tokens(settings, {})
    assert read_tokens(settings, {"DESK_TOKEN": READ}).required
    assert not read_tokens(ServerSettings(), {}).required


@pytest.mark.parametrize("token", ["short", "x" * 19, "with space" + "x" * 20, "tökens" + "x" * 20])
def test_a_weak_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InputError, match="TRADEWIND_READ_TOKEN must be 20 or more") as refused:
        read_tokens(ServerSettings(), {"TRADEWIND_READ_TOKEN": token})
    assert token not in str(refused.value)


def test_a_token_file_names_callers_by_hash_alone(tmp_path: Path) -> None:
    token, digest = new_token()
    assert digest == hashlib.sha256(token.encode()).hexdigest()
    path = tmp_path / "tokens"
    path.write_text(f"# who may ask\n\ntrade alice {digest}\n", "utf-8")
    path.chmod(0o600)
    caller = read_tokens(ServerSettings(token_file=str(path)), {}).caller(token)
    assert caller is not None
    assert (caller.name, caller.role, caller.may("read"), caller.may("admin")) == ("alice", "trade", True, False)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "tokens"
    path.write_text("", "utf-8")
    path.chmod(mode)
    with pytest.raises(InputError, match="others can read") as refused:
        read_tokens(ServerSettings(token_file=str(path)), {})
    assert refused.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("read alice plaintext-token", "not a line"),
        (f"boss alice {'0' * 64}", "unknown role"),
        (f"read {'a' * 121} {'0' * 64}", "a name of 121 characters"),
        ("x", "not a line"),
    ],
)
def test_a_line_that_is_none_is_named_with_its_place(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"\n{line}\n", "utf-8")
    path.chmod(0o600)
    with pytest.raises(InputError, match=what) as refused:
        read_tokens(ServerSettings(token_file=str(path)), {})
    assert "plaintext-token" not in str(refused.value)


def test_a_token_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read server\.token_file"):
        read_tokens(ServerSettings(token_file=str(tmp_path / "none")), {})


@given(shown=st.text())
def test_only_the_very_token_is_known(shown: str) -> None:
    tokens = read_tokens(ServerSettings(), ENVIRON)
    assert tokens.caller(shown) is None
    for token in (READ, TRADE, ADMIN):
        assert tokens.caller(token) is not None
        assert tokens.caller(token + shown) is None or not shown
        assert tokens.caller(token[: len(token) - 1 - len(shown) % 20]) is None


def test_the_tokens_are_nowhere_in_what_knows_them() -> None:
    tokens = read_tokens(ServerSettings(), ENVIRON)
    assert isinstance(tokens, Tokens)
    assert not any(token in repr(vars(tokens)) for token in (READ, TRADE, ADMIN))


# -- names and origins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:99", 200), ("[::1]:8321", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("localhost@evil.example", 421), ("", 400), ("[", 421), ("a]b[", 421),
    ],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_not_answered(local: Service, host: str, status: int) -> None:
    response = httpx2.get(f"{local.url}/healthz", headers={"Host": host})
    assert response.status_code == status


def test_names_can_be_given(tmp_path: Path) -> None:
    with in_thread(tmp_path, allowed_hosts=("desk.example.org",)) as service:
        assert httpx2.get(f"{service.url}/healthz", headers={"Host": "desk.example.org"}).is_success
        assert httpx2.get(f"{service.url}/healthz").status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "x"])
def test_a_page_from_elsewhere_commands_nothing(local: Service, origin: str) -> None:
    local.desk.commands.clear()
    answer = httpx2.post(f"{local.url}/api/v1/alerts/test", headers={"Origin": origin})
    assert (answer.status_code, local.desk.commands) == (403, [])
    assert "access-control-allow-origin" not in answer.headers


def test_our_own_page_may(local: Service) -> None:
    assert httpx2.post(f"{local.url}/api/v1/alerts/test", headers={"Origin": local.url}).is_success


def test_other_origins_are_closed_out_unless_they_are_named(local: Service, tmp_path: Path) -> None:
    asked = {
        "Origin": "https://desk.example.org",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    closed = httpx2.options(f"{local.url}/api/v1/status", headers=asked)
    assert "access-control-allow-origin" not in closed.headers
    with in_thread(tmp_path, cors_origins=("https://desk.example.org",)) as service:
        before = httpx2.options(f"{service.url}/api/v1/status", headers=asked)
        other = httpx2.options(f"{service.url}/api/v1/status", headers={**asked, "Origin": "https://evil.example"})
        posted = httpx2.post(f"{service.url}/api/v1/alerts/test", headers={"Origin": "https://desk.example.org"})
    assert before.headers["access-control-allow-origin"] == "https://desk.example.org"
    assert "access-control-allow-credentials" not in before.headers
    assert "access-control-allow-origin" not in other.headers
    assert (posted.status_code, posted.headers["access-control-allow-origin"]) == (200, "https://desk.example.org")


# -- how often ------------------------------------------------------------------------------------------------------


def test_whoever_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    with in_thread(tmp_path, environ=ENVIRON, request_burst=4, requests_per_second=0.01) as service:
        with httpx2.Client(base_url=service.url, headers=bearer(READ)) as client:
            codes = [client.get("/api/v1/account").status_code for _ in range(5)]
            refused = client.get("/api/v1/account")
        other = httpx2.get(f"{service.url}/api/v1/account", headers=bearer(TRADE))
        guesses = [httpx2.get(f"{service.url}/api/v1/account", headers=bearer("g" * 25)).status_code for _ in range(6)]
    assert codes == [200] * 4 + [429]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 101
    assert other.status_code == 200
    assert guesses == [401] * 4 + [429] * 2


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60),
    rate=st.floats(0.1, 20),
    most=st.integers(1, 10),
)
def test_never_more_than_the_rate_allows_and_nobody_waits_for_another(
    steps: list[tuple[str, float]], rate: float, most: int
) -> None:
    now = 0.0
    limit = RateLimit(rate, most, lambda: now)
    alone = {name: RateLimit(rate, most, lambda: now) for name in "ab"}
    passed: dict[str, list[float]] = {"a": [], "b": []}
    for name, pause in steps:
        now += pause
        wait = limit.wait(name)
        assert wait == alone[name].wait(name)
        if wait:
            assert wait <= 1 / rate + 1e-9
        else:
            passed[name].append(now)
    for times in passed.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= most + rate * (times[last] - times[first]) + 1e-6


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket = Bucket(1.0, 100.0)
    assert bucket.take(100.0, 1.0, 1) == 0
    assert bucket.take(50.0, 1.0, 1) > 0


def test_the_memory_of_callers_is_bounded() -> None:
    limit = RateLimit(1.0, 5, lambda: 0.0, remembered=100)
    for number in range(1000):
        limit.wait(str(number))
    assert len(limit._buckets) == 100


# -- how much -------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_however_it_comes(local: Service) -> None:
    large = b'{"reason": "' + b"x" * 4000 + b'"}'
    kind = {"Content-Type": "application/json"}
    whole = httpx2.post(f"{local.url}/api/v1/control/halt", content=large, headers=kind)
    parts = httpx2.post(f"{local.url}/api/v1/control/halt", content=iter([large[:1000], large[1000:]]), headers=kind)
    for answer in (whole, parts):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    fitting = httpx2.post(
        f"{local.url}/api/v1/control/halt", content=iter([b'{"reason"', b': "chunked"}']), headers=kind
    )
    assert fitting.is_success


@pytest.mark.parametrize("path", ["/api/v1/status", "/", "/nothing/here", "/ws"])
def test_also_where_no_body_is_expected(local: Service, path: str) -> None:
    answer = httpx2.request("GET", f"{local.url}{path}", content=iter([b"x" * 3000]))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 422), (b"{", "application/json", 400), (b"{}", "application/json", 422),
        (b'{"reason": "x"}', "text/plain", 422), (b'{"reason": ""}', "application/json", 422),
        (b'{"reason": "  "}', "application/json", 422), (b'{"reason": "x", "more": 1}', "application/json", 422),
        (b'{"reason": 1}', "application/json", 422), (b"\xff\xfe", "application/json", 400),
        (b"[" * 2000, "application/json", 400), (b'{"reason": "' + b"x" * 501 + b'"}', "application/json", 422),
        (b'{"reason": NaN}', "application/json", 422), (b'{"reason": "\\ud800"}', "application/json", 422),
    ],
)  # fmt: skip
def test_a_body_that_means_nothing_is_refused_as_what_it_is(
    local: Service, content: bytes, kind: str, status: int
) -> None:
    local.desk.commands.clear()
    answer = httpx2.post(f"{local.url}/api/v1/control/halt", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, local.desk.commands) == (status, [])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["hint"]


@pytest.mark.parametrize("speed", [0, -1, "fast", 1e300, True, None, [], "inf"])
def test_a_speed_that_is_none_is_refused(local: Service, speed: Any) -> None:
    assert httpx2.post(f"{local.url}/api/v1/replay/speed", json={"speed": speed}).status_code == 422


def test_a_seat_that_does_not_exist_is_named(local: Service) -> None:
    answer = httpx2.post(f"{local.url}/api/v1/models/lsmt/retrain")
    assert (answer.status_code, answer.json()["hint"]) == (404, "did you mean 'lstm'?")


def test_what_is_not_http_is_told_so_and_the_server_goes_on(local: Service) -> None:
    host, port = local.url.removeprefix("http://").split(":")
    for noise in (
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"a" * 100_000,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(noise)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    assert httpx2.get(f"{local.url}/healthz").is_success


# -- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (InputError("no such thing", hint="try another"), 422, "InputError"),
        (DataError("the file is corrupt", hint="restore it"), 409, "DataError"),
        (RetryError("locked", hint="try again"), 503, "RetryError"),
        (SafetyStop("stop", hint="look"), 409, "SafetyStop"),
        (BugError("an invariant", hint="report"), 500, "BugError"),
        (RuntimeError("password=hunter2"), 500, "BugError"),
    ],
)
def test_each_failure_is_said_as_what_it_is(
    local: Service, failure: Exception, status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    local.desk.fail = failure
    try:
        asked = httpx2.get(f"{local.url}/api/v1/symbols")
        commanded = httpx2.post(f"{local.url}/api/v1/alerts/test")
    finally:
        local.desk.fail = None
    for answer in (asked, commanded):
        said = answer.json()
        assert (answer.status_code, said["type"]) == (status, f"urn:tradewind:error:{kind}")
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(said) == {"type", "title", "status", "detail", "hint", "instance"}
        assert said["instance"].endswith(answer.headers["x-request-id"])
        assert ("retry-after" in answer.headers) == (status == 503)
    if status == 500:
        assert "hunter2" not in asked.text
        assert any(isinstance(record.msg, dict) and record.msg["exc_info"] is failure for record in caplog.records)
        assert asked.headers["x-request-id"] in caplog.text
    else:
        assert isinstance(failure, TradewindError)
        assert (asked.json()["detail"], asked.json()["hint"]) == (failure.what, failure.hint)


def test_an_answer_of_another_shape_is_our_bug_and_not_sent(local: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.desk, "positions", lambda: [{"symbol": "AAPL"}])
    answer = httpx2.get(f"{local.url}/api/v1/positions")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:tradewind:error:BugError")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404), ("GET", "/api", 404), ("POST", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/status", 405), ("GET", "/api/v1/control/halt", 405), ("POST", "/", 405),
        ("TRACE", "/api/v1/status", 405), ("BREW", "/", 405), ("GET", "/api/v1/symbols/%00/bars", 422),
        ("GET", "/api/v1/symbols/..%2f..%2fetc/bars", 404), ("GET", "/%ff%fe", 200), ("OPTIONS", "/healthz", 405),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_said(local: Service, method: str, path: str, status: int) -> None:
    answer = httpx2.request(method, f"{local.url}{path}")
    assert answer.status_code == status
    assert status == 200 or answer.headers["content-type"] == "application/problem+json"


# -- headers and logs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/nothing", "/healthz", "/docs", "/api/v1/alerts.csv"])
def test_every_answer_keeps_a_browser_safe(local: Service, path: str) -> None:
    headers = httpx2.get(f"{local.url}{path}").headers
    assert {name.lower() for name in HEADERS} <= set(headers)
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_browsers_are_told_to_insist_on_tls_only_behind_it(tmp_path: Path) -> None:
    with in_thread(tmp_path, behind_tls=True) as service:
        assert "max-age=31536000" in httpx2.get(f"{service.url}/").headers["strict-transport-security"]


def test_the_log_says_who_asked_what_but_neither_token_nor_query(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with in_thread(tmp_path, environ=ENVIRON, access_log=True) as service:
        url = f"{service.url}/api/v1/symbols/AAPL/bars?limit=1&token=abcdefgh"
        httpx2.get(url, headers=bearer(READ))
        httpx2.get(url, headers=bearer("s" * 30))
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("tradewind.server")]
    assert sum("/api/v1/symbols/AAPL/bars" in line for line in lines) == 2
    assert any("'caller': 'read'" in line and "'status': 200" in line for line in lines)
    ours = "\n".join(lines)
    assert not any(secret in ours for secret in (READ, "s" * 30, "abcdefgh"))


def test_nothing_is_logged_of_a_request_unless_that_is_wanted(local: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    httpx2.get(f"{local.url}/api/v1/status")
    assert not [record for record in caplog.records if record.name.startswith(("tradewind", "uvicorn"))]


# -- the server -----------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said_and_the_next_try_works(tmp_path: Path) -> None:
    async def scene() -> None:
        desk = Desk(tmp_path)
        first = await serve(desk, ServerSettings(port=0), environ={})
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(RetryError, match=f"something listens on 127.0.0.1:{port} already"):
            await serve(desk, ServerSettings(port=port), environ={})
        await first.stop()
        second = await serve(desk, ServerSettings(port=port), environ={})
        await second.stop()
        desk.close()

    asyncio.run(scene())


def test_an_address_that_is_not_ours_is_said(tmp_path: Path) -> None:
    async def scene() -> None:
        desk = Desk(tmp_path)
        with pytest.raises(InputError, match=r"cannot listen on 203\.0\.113\.1:0"):
            await serve(desk, ServerSettings(host="203.0.113.1", port=0), environ=ENVIRON)
        desk.close()

    asyncio.run(scene())
