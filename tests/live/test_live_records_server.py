"""The records on a real PostgreSQL server, where this machine has one: alerts, deliveries, the switch."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alert_kit import HandClock
from typer.testing import CliRunner

from tradewind.cli.main import app
from tradewind.errors import DataError
from tradewind.execution import manual
from tradewind.execution.controls import Controls
from tradewind.execution.manual import ManualOrder, ManualOrders
from tradewind.live import checks
from tradewind.live.alerting import Courier
from tradewind.live.destinations import Destination, Message, Sent
from tradewind.live.settings_alerts import AlertsSection
from tradewind.market.store.home import records_url
from tradewind.market.store.records import Records

INITDB, POSTGRES = shutil.which("initdb"), shutil.which("postgres")


def _as_nobody() -> list[str]:
    """Return what goes in front of a command: a server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    tool = shutil.which("setpriv")
    if tool is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv")
    return [tool, "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run a server of its own in a folder of its own; return the URL of its database."""
    if INITDB is None or POSTGRES is None:
        pytest.skip("no PostgreSQL server on this machine (initdb, postgres)")
    pytest.importorskip("psycopg", reason="the driver is an extra: pip install 'tradewind[postgres]'")
    front = _as_nobody()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if front:
        shutil.chown(folder, "nobody", "nogroup")
    data, port = folder / "data", _free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([*front, INITDB, "-D", data, "-U", "tradewind", "-A", "trust", "-N"], check=True, **quiet)  # type: ignore[call-overload]
    options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    server = subprocess.Popen([*front, POSTGRES, "-D", data, *options], **quiet)  # type: ignore[call-overload]
    try:
        found = f"postgresql+psycopg://tradewind:pass-word-7@127.0.0.1:{port}/postgres"
        _until_it_answers(found)
        yield found
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _until_it_answers(url: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    for _ in range(300):
        try:
            engine.connect().close()
            break
        except sa.exc.OperationalError:
            threading.Event().wait(0.1)
    engine.dispose()


@pytest.fixture
def records(url: str) -> Iterator[Records]:
    one = Records(url)
    yield one
    one.close()


def test_alerts_are_delivered_once_also_across_a_new_start(records: Records) -> None:
    said: list[Message] = []

    def send(_where: Destination, message: Message, _timeout: float) -> Sent:
        said.append(message)
        return Sent(True, "sent", 0.0)

    def courier() -> Courier:
        where = Destination("desk", "json://x", "json://x", "info")
        return Courier(
            where, AlertsSection(group_seconds=0.0), records, clock=HandClock(), signature="sample", send=send
        )

    first = courier()
    first.step()
    controls = Controls(records)
    for number in range(5):
        controls.append_alert("critical", f"kind_{number % 2}", f"number {number}")
    while first.step() == 0.0:
        pass
    assert sorted(message.title for message in said) == [
        "[CRITICAL] sample: 2 × kind_1",
        "[CRITICAL] sample: 3 × kind_0",
    ]
    again = courier()
    again.step()
    assert len(said) == 2
    controls.append_alert("critical", "kind_2", "later")
    again.step()
    assert len(said) == 3


def test_they_are_proven_writable_and_the_switch_works_from_the_command_line(
    records: Records, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert checks.records_writable(records)[0]
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWIND_RECORDS_URL", url)
    assert CliRunner().invoke(app, ["halt", "--reason", "a test"]).exit_code == 0
    state = Controls(records).state()
    assert state.halted and state.by == getpass.getuser()
    assert CliRunner().invoke(app, ["release"]).exit_code == 0
    assert not (tmp_path / "records.sqlite").exists()
    found = CliRunner().invoke(app, ["doctor"])
    assert "answers" in found.stdout and "pass-word-7" not in found.output


def test_a_server_that_is_away_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="the driver is an extra: pip install 'tradewind[postgres]'")
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWIND_RECORDS_URL", f"postgresql+psycopg://me:pass-word-7@127.0.0.1:{_free_port()}/x")
    for words in (["doctor"], ["halt"], ["alerts", "list"]):
        found = CliRunner().invoke(app, words)
        assert found.exit_code != 0 and "no answer from" in found.output, words
        assert "pass-word-7" not in found.output


def test_without_a_url_the_records_are_a_file_of_the_home(tmp_path: Path) -> None:
    assert records_url(tmp_path, {}) == f"sqlite:///{tmp_path}/records.sqlite"
    assert records_url(tmp_path, {"TRADEWIND_RECORDS_URL": " "}) == f"sqlite:///{tmp_path}/records.sqlite"
    assert records_url(tmp_path, {"TRADEWIND_RECORDS_URL": "postgresql+psycopg://h/d"}) == "postgresql+psycopg://h/d"


# -- orders by hand, two at once ----------------------------------------------------------------------------------

NOW = datetime(2026, 11, 30, 20, 0, tzinfo=UTC)


@pytest.fixture
def orders(records: Records, request: pytest.FixtureRequest) -> ManualOrders:
    return ManualOrders(records, f"live:{request.node.name}"[:120])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Run two pieces of work that both read before either writes, where nothing keeps them from it."""
    both, select = threading.Barrier(2), manual._select

    def selected(*arguments: Any, **more: Any) -> list[ManualOrder]:
        found = select(*arguments, **more)
        with suppress(threading.BrokenBarrierError):  # the other one is kept waiting
            both.wait(0.5)
        return found

    def outcome(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except DataError as error:
            return error

    def run(*work: Callable[[], Any]) -> list[Any]:
        both.reset()
        monkeypatch.setattr(manual, "_select", selected)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(outcome, work))
        monkeypatch.setattr(manual, "_select", select)
        return done

    return run


def test_the_same_order_given_twice_at_once_is_one_order(orders: ManualOrders, at_once: Any) -> None:
    one = ManualOrder("one", orders.account, "AAA", "CLOSE", None, None, None, "so", "ann", NOW, NOW)
    assert at_once(lambda: orders.place(one), lambda: orders.place(one)) == [(one, []), (one, [])]
    assert orders.all() == [one]


def test_of_two_orders_of_a_symbol_given_at_once_one_waits(orders: ManualOrders, at_once: Any) -> None:
    one = ManualOrder("one", orders.account, "AAA", "CLOSE", None, None, None, "so", "ann", NOW, NOW)
    two = replace(one, id="two")
    placed = at_once(lambda: orders.place(one), lambda: orders.place(two))
    (waiting,) = orders.waiting()
    (gone,) = [order for order in orders.all() if order != waiting]
    assert (gone.state, gone.why) == ("cancelled", manual.REPLACED)
    first = replace(gone, state="waiting", why=None)
    assert sorted(placed, key=lambda made: len(made[1])) == [(first, []), (waiting, [gone])]


@pytest.mark.parametrize("newer", [False, True])
def test_an_order_that_is_applied_while_it_is_taken_back_is_either(
    orders: ManualOrders, at_once: Any, newer: bool
) -> None:
    one = ManualOrder("one", orders.account, "AAA", "CLOSE", None, None, None, "so", "ann", NOW, NOW)
    orders.place(one)
    applied = replace(one, state="applied", effective=NOW)
    takes_back = (lambda: orders.place(replace(one, id="two"))[1]) if newer else (lambda: orders.cancel("one", "no"))
    taken_back, settled = at_once(takes_back, lambda: orders.settle([applied]))
    standing = orders.find("one")
    assert standing is not None
    assert settled == [standing]
    if standing.state == "applied":
        assert taken_back == [] if newer else "applied already" in str(taken_back)
    else:
        assert taken_back == ([standing] if newer else standing)
