"""One line an event, in one form for everybody, with the id of what it came from and without a secret."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import logging
import string
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from tradewind.clock import FixedClock
from tradewind.errors import InputError
from tradewind.live import redaction
from tradewind.live.logs import (
    Logs,
    carried,
    configure_logs,
    correlation,
    current_correlation,
    logger,
)
from tradewind.live.redaction import Redactor, hide, is_secret_variable

NOON = FixedClock(datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
LOG = logger("tradewind.test")

Read = Callable[[], list[dict[str, Any]]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "REDACTOR", Redactor())


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logs(stream: io.StringIO) -> Iterator[Logs]:
    found = configure_logs("info", "json", NOON, stream=stream, environ={"BROKER_TOKEN": "abc-123-def"})
    yield found
    found.close()


@pytest.fixture
def lines(logs: Logs, stream: io.StringIO) -> Read:
    """Read what was logged: each line must be one JSON object."""

    def strict(constant: str) -> None:
        raise ValueError(constant)

    def read() -> list[dict[str, Any]]:
        assert logs.lost == 0
        return [json.loads(line, parse_constant=strict) for line in stream.getvalue().split("\n")[:-1]]

    return read


# -- the form ---------------------------------------------------------------------------------------------------


def test_a_line_is_one_object_with_time_level_event_and_logger_in_front(lines: Read) -> None:
    LOG.info("bar appended", symbol="AAPL", close=101.5)
    (line,) = lines()
    assert list(line)[:4] == ["time", "level", "event", "logger"]
    assert line == {
        "time": "2026-03-02T12:00:00.000000+00:00",
        "level": "info",
        "event": "bar appended",
        "logger": "tradewind.test",
        "symbol": "AAPL",
        "close": 101.5,
    }


def test_the_clock_says_the_time_of_every_line_also_of_others(lines: Read) -> None:
    logging.getLogger("somebody").warning("theirs")
    LOG.warning("ours")
    assert {line["time"] for line in lines()} == {"2026-03-02T12:00:00.000000+00:00"}


def test_below_the_level_nothing_is_said(lines: Read) -> None:
    LOG.debug("no")
    logging.getLogger("somebody").debug("no")
    logging.getLogger("urllib3").info("talkative libraries are heard from warnings on")
    logging.getLogger("urllib3.connectionpool").warning("yes")
    assert [line["event"] for line in lines()] == ["yes"]


def test_uvicorn_apscheduler_warnings_and_threads_speak_in_the_same_form(lines: Read) -> None:
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "10.0.0.1:5", "GET", "/a?token=xyz", "1.1", 200)
    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[1mstarted"})
    logging.getLogger("apscheduler.scheduler").warning("Run time of job %s was missed", "retrain")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    thread = threading.Thread(target=lambda: 1 // 0, name="worker-7")
    thread.start()
    thread.join()
    access, error, job, warning, failed = lines()
    assert {k: access[k] for k in ("event", "client", "method", "path", "status")} == {
        "event": "request",
        "client": "10.0.0.1:5",
        "method": "GET",
        "path": "/a?token=***",
        "status": 200,
    }
    assert error["event"] == "started" and "color_message" not in error
    assert (job["event"], job["level"]) == ("Run time of job retrain was missed", "warning")
    assert warning["logger"] == "py.warnings" and "careful" in warning["event"]
    assert failed["level"] == "critical" and "worker-7" in failed["event"] and "ZeroDivision" in failed["exception"]


def test_libraries_that_use_structlog_themselves_do_not_print_on_stdout(
    lines: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.get_logger("theirs").info("hello", a=1)
    assert lines()[0]["event"] == "hello"
    assert capsys.readouterr().out == ""


def test_a_traceback_stays_on_its_line(lines: Read) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        LOG.exception("it failed")
    (line,) = lines()
    assert line["level"] == "error" and "ValueError: first\nsecond" in line["exception"]


@dataclass
class Bar:
    symbol: str
    api_token: str


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_whatever_is_logged_becomes_json(lines: Read) -> None:
    LOG.info(
        "odd",
        nan=float("nan"),
        array=np.array([1.0, np.inf]),
        number=np.float64(2.5),
        when=datetime(2026, 1, 1, tzinfo=UTC),
        path=Path("/tmp"),
        bar=Bar("AAPL", "abcdef"),
        rude=Rude(),
        surrogate="\ud800",
        some={3, 1},
        time="not theirs to say",
    )
    (line,) = lines()
    assert line["nan"] is None and line["array"] == [1.0, None] and line["number"] == 2.5
    assert line["when"] == "2026-01-01T00:00:00+00:00" and line["path"] == "/tmp"
    assert line["bar"] == {"symbol": "AAPL", "api_token": "***"}
    assert "RuntimeError" in line["rude"] and line["surrogate"] == "\ud800"
    assert line["time_"] == "not theirs to say"


def test_a_thing_that_contains_itself_ends(lines: Read) -> None:
    loop: list[Any] = []
    loop.append(loop)
    LOG.info("round", loop=loop)
    assert len(lines()) == 1


@given(event=st.text(max_size=60), value=st.recursive(st.none() | st.floats() | st.text(max_size=20), st.lists))
@example(event="two\nlines\u2028and\x85more\x1b[31m", value=None)
def test_no_text_breaks_a_line(event: str, value: Any) -> None:
    stream = io.StringIO()
    found = configure_logs("info", "json", NOON, stream=stream, environ={})
    try:
        LOG.info(event, value=value)
        logging.getLogger("somebody").warning("%s", event)
    finally:
        found.close()
    assert found.lost == 0
    assert len(stream.getvalue().splitlines()) == 2
    assert all(isinstance(json.loads(line), dict) for line in stream.getvalue().splitlines())


def test_the_console_form_is_for_people_and_no_text_commands_their_terminal() -> None:
    terminal = Terminal()
    found = configure_logs("info", "auto", NOON, stream=terminal, environ={})
    try:
        LOG.info("hello\x1b[2J\nfake line", symbol="AAPL\r")
    finally:
        found.close()
    shown = terminal.getvalue()
    assert "\x1b[2J" not in shown and "\r" not in shown and shown.count("\n") == 1
    assert r"\x1b[2J\nfake line" in shown


def test_auto_is_json_where_there_is_no_terminal(stream: io.StringIO) -> None:
    found = configure_logs("info", "auto", NOON, stream=stream, environ={})
    LOG.info("hello")
    found.close()
    assert json.loads(stream.getvalue())["event"] == "hello"


@pytest.mark.parametrize(("level", "form"), [("loud", "json"), ("info", "xml")])
def test_an_unknown_level_or_form_is_refused(level: Any, form: Any) -> None:
    with pytest.raises(InputError, match="unknown"):
        configure_logs(level, form)


def test_closing_puts_everything_back() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, threading.excepthook)
    theirs = logging.getLogger("uvicorn")
    own = logging.NullHandler()
    theirs.addHandler(own)
    try:
        configure_logs("debug", "json", NOON, stream=io.StringIO(), environ={}).close()
        assert (root.handlers[:], root.level, threading.excepthook) == before
        assert theirs.handlers == [own] and not structlog.is_configured()
    finally:
        theirs.removeHandler(own)


def test_before_anything_is_configured_nothing_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    LOG.warning("early")
    assert capsys.readouterr().out == ""


# -- where lines go ---------------------------------------------------------------------------------------------


def test_a_file_is_its_owners_only_and_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradewind.live.logs.FILE_BYTES", 2_000)
    file = tmp_path / "logs" / "tradewind.log"
    found = configure_logs("info", "json", NOON, file, environ={})
    for number in range(100):
        LOG.info("a line", number=number)
    found.close()
    files = sorted(file.parent.iterdir())
    assert len(files) == 6 and all(path.stat().st_size <= 2_000 for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    newest = [json.loads(line)["number"] for line in file.read_text("utf-8").splitlines()]
    assert newest[-1] == 99


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    for file in (tmp_path / "file" / "x.log", tmp_path):
        with pytest.raises(InputError, match="cannot be a file of logs"):
            configure_logs("info", "json", NOON, file, environ={})


def test_a_full_disk_or_a_closed_pipe_stops_nobody_and_is_counted() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    found = configure_logs("info", "json", NOON, stream=Full(), environ={})
    LOG.info("one")
    logging.getLogger("somebody").warning("two")
    found.close()
    assert found.lost == 2


# -- correlation ------------------------------------------------------------------------------------------------


def test_an_id_goes_from_ingest_to_order_through_tasks_and_threads(lines: Read) -> None:
    async def order() -> None:
        await asyncio.sleep(0)
        LOG.info("order")

    async def bar(symbol: str) -> None:
        with correlation(f"bar:{symbol}", symbol=symbol):
            await asyncio.to_thread(LOG.info, "features")
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, carried(lambda: LOG.info("forecast")))
            await asyncio.gather(*(asyncio.create_task(order()) for _ in range(2)))
            with ThreadPoolExecutor(1) as pool:
                pool.submit(carried(lambda: LOG.info("records"))).result()

    async def day() -> None:
        with correlation("poll:replay"):
            await asyncio.gather(bar("AAPL"), bar("MSFT"))
            LOG.info("polled")
        LOG.info("idle")

    asyncio.run(day())
    found = lines()
    assert len(found) == 12
    for symbol in ("AAPL", "MSFT"):
        mine = [line for line in found if line.get("symbol") == symbol]
        assert sorted(line["event"] for line in mine) == ["features", "forecast", "order", "order", "records"]
        assert {line["correlation"] for line in mine} == {f"poll:replay>bar:{symbol}"}
    assert [line.get("correlation") for line in found if line["event"] in ("polled", "idle")] == ["poll:replay", None]


def test_a_plain_thread_carries_an_id_only_where_it_is_given_it(lines: Read) -> None:
    with correlation("bar:1"):
        work = carried(lambda name: LOG.info(name))
        threads = [threading.Thread(target=work, args=("with",)), threading.Thread(target=LOG.info, args=("without",))]
    for thread in threads:
        thread.start()
        thread.join()
    assert {line["event"]: line.get("correlation") for line in lines()} == {"with": "bar:1", "without": None}


def test_others_lines_have_the_id_too(lines: Read) -> None:
    with correlation("bar:1", symbol="AAPL"):
        logging.getLogger("sqlalchemy").warning("slow")
    assert (lines()[0]["correlation"], lines()[0]["symbol"]) == ("bar:1", "AAPL")


def test_carried_work_may_run_many_times_at_once_and_leaves_no_trace() -> None:
    barrier = threading.Barrier(4)

    def work() -> str:
        barrier.wait(10)
        return current_correlation()

    with correlation("bar:1"):
        carried_work = carried(work)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(carried_work) for _ in range(4)]
    assert {one.result() for one in found} == {"bar:1"}
    assert current_correlation() == ""


def test_an_id_ends_with_its_block_also_where_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), correlation("bar:1"), correlation("bar:1"), correlation("order:2"):
        assert current_correlation() == "bar:1>order:2"
        _ = 1 // 0
    assert current_correlation() == ""


# -- secrets ----------------------------------------------------------------------------------------------------


SECRET_FORMS = [
    ("Authorization: Bearer abcdef.ghijkl", "abcdef.ghijkl"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
    ("GET /v2/bars?symbol=AAPL&apikey=K7J2&limit=5", "K7J2"),
    ('{"refresh_token": "r-1234", "expires": 5}', "r-1234"),
    ("{'secret_key': 'qwertz'}", "qwertz"),
    ("postgresql+psycopg://trader:hunter2@db:5432/tradewind", "hunter2"),
    ("http://user:p%40ss@proxy:3128/", "p%40ss"),
    ("slack://T1/B2/C3 could not be reached", "T1/B2/C3"),
    ("mailtos://me:app-pass@gmail.com", "app-pass"),
    ("POST https://hooks.slack.com/services/T0/B0/x9y8", "x9y8"),
    ("POST https://discord.com/api/webhooks/123/abc", "123/abc"),
    ("GET https://api.telegram.org/bot123:AAF/sendMessage", "123:AAF"),
    ("key sk-proj-abcdefghij0123456789 was refused", "abcdefghij"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijkl"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "eyJzdWIiOiIxMjM0In0"),
    ("account PA3ABCD12345 is restricted", "PA3ABCD12"),
    ("account number: 12345678", "12345"),
    ("password=hunter2, user=me", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), SECRET_FORMS)
def test_what_has_the_form_of_a_secret_is_masked_wherever_it_stands(lines: Read, text: str, secret: str) -> None:
    LOG.info(text, field=text, deep={"list": [text], text: 1})
    logging.getLogger("somebody").warning("it said %s", text, extra={"more": text})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        LOG.exception("it failed")
    assert len(lines()) == 3
    assert secret not in json.dumps(lines()[:2]) + lines()[2]["exception"].splitlines()[-1]


@pytest.mark.parametrize(
    "text",
    [
        "forecast of AAPL: 5 % up at 0.62",
        "https://query1.finance.yahoo.com/v8/finance/chart/AAPL?interval=5m",
        "sqlite:////data/records.sqlite",
        "s3://lake/bars",
        "basic understanding of the matter",
        "account paper:dual-model",
        "the key is AAPL, tokens are 5",
        "ws://127.0.0.1:8321/ws",
        "risk-adjusted-return-of-the-year-2012",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor().text(text) == text


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=6, max_size=40).filter(
        lambda text: len(text.strip()) >= 6
    ),
    before=st.text(string.ascii_lowercase, max_size=5),
)
def test_a_known_secret_is_found_in_every_way_of_writing_it(secret: str, before: str) -> None:
    redactor = Redactor({"MY_API_KEY": secret})
    bare = secret.strip()
    for form in (bare, quote(bare, safe=""), json.dumps(bare), repr(bare), base64.b64encode(bare.encode()).decode()):
        assert bare not in redactor.text(f"{before} <{form}>").replace("***", "")
    found = redactor.value({"x": [bare], bare: {"y": (f"a{bare}b",)}})
    assert bare not in str(found["x"]) and bare not in next(iter(set(found) - {"x"})).replace("***", "")


def test_secrets_of_the_environment_and_those_learnt_later_are_in_no_line(lines: Read) -> None:
    LOG.info("login with abc-123-def")
    hide("learnt-later-9")
    LOG.info("login with learnt-later-9", values=["learnt-later-9"])
    text = json.dumps(lines())
    assert "abc-123-def" not in text and "learnt-later-9" not in text and text.count("***") == 3


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("APCA_API_SECRET_KEY", True),
        ("APCA_API_KEY_ID", True),
        ("SCHWAB_APP_KEY", True),
        ("FRED_API_KEY", True),
        ("PGPASSWORD", True),
        ("POSTGRES_PASSWORD", True),
        ("TRADEWIND_TOKEN_ADMIN", True),
        ("TRADEWIND_ALERT_PHONE_URL", True),
        ("SLACK_WEBHOOK", True),
        ("POSTGRES_PASSWORD_FILE", False),
        ("PATH", False),
        ("KEYBOARD", False),
        ("TRADEWIND_HOME", False),
        ("MONKEY", False),
    ],
)
def test_which_variables_are_secret(name: str, secret: bool) -> None:
    assert is_secret_variable(name) is secret


def test_fields_that_name_a_secret_hold_none_and_account_numbers_keep_their_tail() -> None:
    found = Redactor().value(
        {
            "password": "x",
            "Authorization": ["y"],
            "pin_token": 1234,
            "max_tokens": 4096,
            "key": "AAPL",
            "account": "PA3ABCD12345",
            "account_number": 12345678,
            "account_id": None,
        }
    )
    assert found == {
        "password": "***",
        "Authorization": "***",
        "pin_token": "***",
        "max_tokens": 4096,
        "key": "AAPL",
        "account": "***345",
        "account_number": "***678",
        "account_id": None,
    }


def test_a_very_long_text_is_cut_and_never_in_the_middle_of_a_secret() -> None:
    redactor = Redactor({"A_TOKEN": "0123456789" * 4})
    for length in range(redaction.LONGEST - 45, redaction.LONGEST + 5):
        said = redactor.text("x" * length + "0123456789" * 4 + "y" * 500)
        assert "0123" not in said and len(said) < redaction.LONGEST + 40


def test_the_lines_go_to_stderr_unless_said_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    found = configure_logs("info", "json", NOON, environ={})
    LOG.info("hello")
    found.close()
    said = capsys.readouterr()
    assert said.out == "" and json.loads(said.err)["event"] == "hello"
    assert sys.stderr is not None
