"""Alerts reach whom they should: once, at the right time, whatever fails in between."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alert_kit import HandClock, WebHook, mail_server, web_hook
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tradewind.cli.main import app
from tradewind.errors import InputError
from tradewind.execution.controls import Controls
from tradewind.live import redaction
from tradewind.live.alerting import Courier, Dispatcher, Outbox, StoredAlert, message_of, newest_alerts
from tradewind.live.bus import Bus
from tradewind.live.destinations import Destination, Message, Sent, apprise_send, destinations, send_test
from tradewind.live.redaction import Redactor
from tradewind.live.settings_alerts import AlertsSection, DestinationSection
from tradewind.market.store import schema
from tradewind.market.store.records import Records

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "REDACTOR", Redactor())


@pytest.fixture
def hook() -> Iterator[WebHook]:
    with web_hook() as one:
        yield one


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    one = Records(f"sqlite:///{tmp_path / 'records.sqlite'}", patience_seconds=0.2)
    yield one
    one.close()


def section(**of: Any) -> AlertsSection:
    return AlertsSection(**{"group_seconds": 0.0, **of})


def to(url: str, **of: Any) -> tuple[Destination, ...]:
    return destinations(section(to={"desk": DestinationSection(url_env="DESK", **of)}), {"DESK": url})


class Recorder:
    """A way of sending that keeps what it sent, and fails as a script says."""

    def __init__(self, *script: Any) -> None:
        self.script, self.said = list(script), list[Message]()

    def __call__(self, _destination: Destination, message: Message, _timeout: float) -> Sent:
        planned = self.script.pop(0) if self.script else True
        if isinstance(planned, BaseException):
            raise planned
        if planned:
            self.said.append(message)
        return Sent(bool(planned), "sent" if planned else "refused", 0.0)


PLAIN = Destination("desk", "json://localhost/x", "json://localhost/…", "info")


def courier(records: Records, send: Any, clock: HandClock | None = None, **of: Any) -> Courier:
    where = of.pop("destination", PLAIN)
    lock = of.pop("lock", None)
    return Courier(where, section(**of), records, clock=clock or HandClock(), signature="sample", send=send, lock=lock)


# -- over the wire --------------------------------------------------------------------------------------------


def test_a_web_hook_is_told_of_each_alert_once_whichever_process_stored_it(records: Records, hook: WebHook) -> None:
    other = Records(records.database.url)
    with Dispatcher(records, to(hook.url()), section(), signature="sample PAPER") as dispatcher:
        dispatcher.wake()
        _until_started(dispatcher)
        Controls(records).append_alert("critical", "drift", "the model has drifted", {"psi": 0.31})
        dispatcher.wake()
        first = hook.wait()
        Controls(other).append_alert("warning", "stale", "no bar for 11 minutes")
        hook.wait()
    other.close()
    assert [one["title"] for one in hook.got] == ["[CRITICAL] sample PAPER: drift", "[WARNING] sample PAPER: stale"]
    assert first["type"] == "failure"
    assert "the model has drifted" in first["message"] and "psi: 0.31" in first["message"]


def test_a_mail_arrives_with_subject_and_lines_and_the_login_is_hidden(records: Records) -> None:
    with mail_server() as server:
        url = f"mailto://tester:pass-word-7@127.0.0.1:{server.port}?from=a@example.com&to=b@example.com"
        found = to(url)
        sent = apprise_send(found[0], Message("[CRITICAL] sample: drift", "line one\nline two", "critical"), 10.0)
        assert sent.ok, sent.detail
        mail = server.wait()
        assert server.logins, "it logs in"
    assert mail["Subject"] == "[CRITICAL] sample: drift"
    assert "b@example.com" in mail["To"]
    body = mail.get_body(("plain", "html"))
    assert body is not None and "line two" in body.get_content()
    assert "pass-word-7" not in repr(found) + found[0].address + redaction.REDACTOR.text(f"logged in with {url}")


def test_a_mail_that_is_refused_is_a_failure_that_says_why(records: Records) -> None:
    with mail_server(refuse=b"550 no such user") as server:
        url = f"mailto://127.0.0.1:{server.port}?from=a@example.com&to=b@example.com"
        sent = apprise_send(to(url)[0], Message("t", "b", "info"), 10.0)
    assert not sent.ok
    assert sent.detail not in ("", "sent")


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_whatever_is_no_success_is_a_failure_with_its_status(hook: WebHook, status: int) -> None:
    hook.script = [status]
    sent = apprise_send(to(hook.url())[0], Message("t", "b", "warning"), 10.0)
    assert not sent.ok and str(status) in sent.detail


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_who_never_finishes_answering_is_given_up(hook: WebHook, fault: str) -> None:
    hook.script = [fault]
    sent = apprise_send(to(hook.url())[0], Message("t", "b", "warning"), 0.5)
    assert not sent.ok and sent.detail
    assert not hook.let_go.is_set(), "it was given up while it was still answering"


def test_a_url_that_calls_itself_optional_has_still_failed(hook: WebHook) -> None:
    hook.script = [500]
    sent = apprise_send(to(hook.url() + "?optional=yes")[0], Message("t", "b", "warning"), 10.0)
    assert not sent.ok


def test_an_address_that_hangs_keeps_neither_the_loop_nor_another_address_waiting(
    records: Records, hook: WebHook
) -> None:
    hook.script = ["hang"]
    with web_hook() as good:
        alerts = section(to={"dead": DestinationSection(url_env="A"), "good": DestinationSection(url_env="B")})
        found = destinations(alerts, {"A": hook.url(), "B": good.url()})
        dispatcher = Dispatcher(records, found, alerts)
        dispatcher.start()
        _until_started(dispatcher)
        Controls(records).append_alert("critical", "drift", "one")
        dispatcher.wake()
        assert hook.arrived.acquire(timeout=20), "the dead one has been asked"
        good.wait()
        Controls(records).append_alert("critical", "drift", "two")
        dispatcher.wake()
        good.wait()
        assert not hook.let_go.is_set() and not hook.got, "all that while the dead one had not answered"
        hook.let_go.set()
        dispatcher.close()
    assert [("one" in m["message"], "two" in m["message"]) for m in good.got] == [(True, False), (False, True)]


def _until_started(dispatcher: Dispatcher) -> None:
    """Wait until the couriers know where the past ends."""
    for one in dispatcher.couriers:
        for _ in range(2_000):
            if one.state()["state"] != "starting":
                break
            dispatcher.wake()
            one_moment()
        assert one.state()["state"] == "ok"


def one_moment() -> None:
    import threading

    threading.Event().wait(0.005)


def test_a_killed_process_sends_again_what_it_was_sending_and_nothing_else(tmp_path: Path, hook: WebHook) -> None:
    """A real process, killed while the web hook holds its answer back: between sending and writing it down."""
    path = tmp_path / "records.sqlite"
    records = Records(f"sqlite:///{path}")
    send = Recorder()
    first = courier(records, send)
    first.step()
    controls = Controls(records)
    controls.append_alert("critical", "drift", "delivered before")
    first.step()
    controls.append_alert("critical", "halt", "in flight")
    hook.script = ["hang"]
    process = subprocess.Popen([sys.executable, __file__, str(path), hook.url()], env={**os.environ})
    assert hook.arrived.acquire(timeout=60), "the child is sending"
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    after = Recorder()
    again = courier(records, after)
    again.step()
    assert [(m.title, "may be a repeat" in m.body) for m in after.said] == [("[CRITICAL] sample: halt", True)]
    again.step()
    assert len(after.said) == 1
    records.close()


# -- which, when and how often --------------------------------------------------------------------------------


def test_a_new_destination_hears_nothing_of_the_past(records: Records) -> None:
    controls = Controls(records)
    for number in range(5):
        controls.append_alert("critical", "old", f"{number}")
    send = Recorder()
    one = courier(records, send)
    one.step()
    assert not send.said
    controls.append_alert("critical", "new", "now")
    one.step()
    assert [m.title for m in send.said] == ["[CRITICAL] sample: new"]


def test_what_was_stored_while_nothing_ran_is_sent_at_the_next_start(records: Records) -> None:
    courier(records, Recorder()).step()
    Controls(records).append_alert("warning", "stale", "while nobody looked")
    send = Recorder()
    later = courier(records, send)
    later.step()
    assert "while nobody looked" in send.said[0].body and "repeat" not in send.said[0].body
    third = Recorder()
    courier(records, third).step()
    assert not third.said


def test_only_what_a_destination_wants_goes_there_and_a_lower_level_later_does_not_bring_the_past(
    records: Records,
) -> None:
    picky = Destination("desk", "json://x", "json://x", "warning", ("reconcile*", "drift"))
    send = Recorder()
    one = courier(records, send, destination=picky)
    one.step()
    controls = Controls(records)
    for level, kind in (("info", "drift"), ("warning", "drift"), ("critical", "halt"), ("warning", "reconcile_cash")):
        controls.append_alert(level, kind, kind)  # type: ignore[arg-type]
    while one.step() == 0:
        pass
    assert sorted(m.title for m in send.said) == ["[WARNING] sample: drift", "[WARNING] sample: reconcile_cash"]
    greedy = Recorder()
    courier(records, greedy).step()
    assert not greedy.said


def test_the_records_keep_one_row_a_destination_of_what_is_settled(records: Records) -> None:
    one = courier(records, Recorder())
    one.step()
    for number in range(30):
        Controls(records).append_alert("info", f"kind_{number % 3}", "x")
        one.step()
    with records.database.reading() as connection:
        rows = connection.execute(sa.select(schema.alert_deliveries)).mappings().all()
    assert [(row["destination"], row["alert"], row["status"]) for row in rows] == [("desk", 30, "cursor")]


def test_a_failure_is_tried_again_after_pauses_that_double_and_are_limited(records: Records) -> None:
    clock = HandClock()
    send = Recorder(*[False] * 6)
    one = courier(records, send, clock, retry_seconds=2.0, retry_seconds_max=20.0)
    one.step()
    Controls(records).append_alert("critical", "drift", "x")
    pauses = []
    for _ in range(6):
        one.step()
        assert one.next_try is not None
        pauses.append((one.next_try - clock.now()).total_seconds())
        left = len(send.script)
        one.step()
        assert len(send.script) == left, "not before its time"
        clock.forward(pauses[-1])
    assert pauses == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    assert one.state()["state"] == "retrying" and one.state()["last_error"] == "refused"
    one.step()
    assert one.state()["state"] == "ok" and len(send.said) == 1


def test_what_gathers_while_an_address_fails_becomes_one_message_a_kind(records: Records) -> None:
    clock = HandClock()
    send = Recorder(False)
    one = courier(records, send, clock)
    one.step()
    controls = Controls(records, clock=clock)
    controls.append_alert("warning", "stale", "first")
    one.step()
    for number in range(20):
        controls.append_alert("warning", "stale", f"number {number}")
    clock.forward(2.0)
    one.step()
    (message,) = send.said
    assert message.title == "[WARNING] sample: 21 × stale"
    assert "number 19" in message.body and "and 13 before" in message.body and "number 3" not in message.body


def test_records_that_cannot_be_written_silence_nobody_and_nothing_is_doubled(records: Records, tmp_path: Path) -> None:
    send = Recorder()
    one = courier(records, send)
    one.step()
    Controls(records).append_alert("critical", "disk", "the disk is full")
    holder = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    one.step()
    assert len(send.said) == 1, "it was sent although it could not be written down"
    assert "locked" in one.state()["last_error"]
    holder.execute("ROLLBACK")
    holder.close()
    one.step()
    one.step()
    assert one.state()["last_error"] is None
    after = Recorder()
    courier(records, after).step()
    assert len(send.said) == 1 and not after.said


def test_one_of_two_processes_sends_and_the_other_takes_over_without_repeating(
    records: Records, tmp_path: Path
) -> None:
    mine, theirs = Recorder(), Recorder()
    first = courier(records, mine, lock=tmp_path / "alerts-desk.lock")
    second = courier(records, theirs, lock=tmp_path / "alerts-desk.lock")
    first.step()
    Controls(records).append_alert("critical", "a", "a")
    first.step()
    second.step()
    assert second.state()["state"] == "stopped" and len(mine.said) == 1 and not theirs.said
    first.close()
    Controls(records).append_alert("critical", "b", "b")
    second.step()
    assert [m.title for m in theirs.said] == ["[CRITICAL] sample: b"]
    second.close()


class Killed(BaseException):
    """The end of a process, at any moment."""


@settings(max_examples=25, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(["info", "warning", "critical"]),
            st.sampled_from(["drift", "stale", "halt"]),
            st.sampled_from(["fine", "refused", "killed before", "killed after"]),
        ),
        max_size=12,
    )
)
def test_wherever_a_process_ends_every_alert_arrives_and_only_what_was_in_flight_arrives_twice(
    plan: list[tuple[str, str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = Records(f"sqlite:///{tmp_path_factory.mktemp('alerts') / 'records.sqlite'}")
    clock, arrived, repeats, kills = HandClock(), Counter[str](), Counter[str](), 0
    fate = ["fine"]

    def send(_where: Destination, message: Message, _timeout: float) -> Sent:
        if fate[0] == "killed before":
            raise Killed
        if fate[0] == "refused":
            return Sent(False, "no", 0.0)
        for line in message.body.splitlines():
            if "UTC  " in line:
                arrived[line.split("UTC  ")[1]] += 1
                repeats[line.split("UTC  ")[1]] += "may be a repeat" in message.body
        if fate[0] == "killed after":
            raise Killed
        return Sent(True, "sent", 0.0)

    one = courier(records, send, clock)
    one.step()
    for number, (level, kind, fate[0]) in enumerate(plan):
        Controls(records, clock=clock).append_alert(level, kind, f"alert-{number}")  # type: ignore[arg-type]
        try:
            one.step()
        except Killed:
            kills += 1
            one = courier(records, send, clock)
        clock.forward(1_000.0)
    fate[0] = "fine"
    while one.step() == 0.0 or one.state()["waiting"]:
        clock.forward(1_000.0)
    records.close()
    assert set(arrived) == {f"alert-{number}" for number in range(len(plan))}
    assert all(count - 1 <= repeats[what] for what, count in arrived.items()), "who hears it again is told so"
    if not kills:
        assert set(arrived.values()) <= {1}


GROUPED = st.lists(
    st.tuples(
        st.integers(0, 3 * 86_400),
        st.sampled_from(["info", "warning", "critical"]),
        st.sampled_from(["drift", "stale"]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(
    alerts=GROUPED,
    group=st.sampled_from([0.0, 60.0, 900.0]),
    most=st.integers(1, 5),
    quiet=st.sampled_from([("", ""), ("22:00", "07:00"), ("01:00", "05:30")]),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
)
def test_the_laws_of_what_is_said_when(
    alerts: list[tuple[int, str, str]], group: float, most: int, quiet: tuple[str, str], zone: str
) -> None:
    """Across the change to summer time (2026-03-08 in New York), against laws written down independently."""
    start = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)
    box = Outbox(
        section(group_seconds=group, most_per_hour=most, quiet_from=quiet[0], quiet_until=quiet[1], time_zone=zone)
    )
    coming = [
        StoredAlert(number, start + timedelta(seconds=second), level, kind, "x")  # type: ignore[arg-type]
        for number, (second, level, kind) in enumerate(sorted(alerts))
    ]
    said: list[tuple[datetime, list[StoredAlert]]] = []
    now, minutes = start, 0
    while coming or box.waiting:
        box.put([one for one in coming if one.at <= now])
        coming = [one for one in coming if one.at > now]
        while due := box.due(now):
            box.sent(due, now)
            said.append((now, due))
        now, minutes = now + timedelta(minutes=1), minutes + 1
        assert minutes < 20_000, "everything is said in the end"
    assert Counter(one.id for _, some in said for one in some) == Counter(range(len(alerts)))
    _one_kind_a_message_and_not_too_soon(said, group)
    mild = [at for at, some in said if some[0].level != "critical"]
    assert all(sum(timedelta() <= later - at < timedelta(hours=1) for later in mild) <= most for at in mild)
    assert not [at for at in mild if _sleeps(at, quiet, zone)]
    for at, some in said:
        if some[0].level == "critical" and group == 0:
            assert at - min(one.at for one in some) < timedelta(minutes=1), "nothing holds a critical one back"


def _one_kind_a_message_and_not_too_soon(said: list[tuple[datetime, list[StoredAlert]]], group: float) -> None:
    last: dict[tuple[str, str], datetime] = {}
    for at, some in said:
        (of,) = {(one.level, one.kind) for one in some}
        assert of not in last or (at - last[of]).total_seconds() >= group
        last[of] = at


def _sleeps(at: datetime, quiet: tuple[str, str], zone: str) -> bool:
    """Minutes of the local day as the zone's own offset says, walked through one by one."""
    from zoneinfo import ZoneInfo

    if not quiet[0]:
        return False
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in quiet)
    offset = at.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    minute = int((at + offset).timestamp() // 60) % 1_440
    asleep, walk = set[int](), begin
    while walk % 1_440 != end:
        asleep.add(walk % 1_440)
        walk += 1
    return minute in asleep


def test_a_clock_that_is_put_back_does_not_silence_anybody() -> None:
    box = Outbox(section(group_seconds=300.0, most_per_hour=1))
    box.sent([StoredAlert(1, NOON, "warning", "drift", "x")], NOON)
    box.put([StoredAlert(2, NOON, "warning", "drift", "x")])
    assert not box.due(NOON + timedelta(seconds=10))
    assert box.due(NOON - timedelta(days=1))


def test_the_bus_hears_of_new_alerts_in_the_contracts_shape_and_without_secrets(records: Records) -> None:
    bus = Bus(HandClock())
    controls = Controls(records, clock=HandClock())
    controls.append_alert("info", "old", "before the start")
    dispatcher = Dispatcher(records, (), section(), bus=bus)
    dispatcher.tell()
    controls.append_alert("warning", "login", "refused: token=abcdef-1234", {"correlation": "bar:7", "password": "x"})
    dispatcher.tell()
    dispatcher.tell()
    (event,) = bus.snapshot(["alert"])[1]
    assert (event.key, event.correlation) == ("2", "bar:7")
    assert event.data == {
        "id": "2",
        "at": NOON.isoformat(),
        "level": "warning",
        "kind": "login",
        "what": "refused: token=***",
        "detail": {"correlation": "bar:7", "password": "***"},
    }


def test_a_message_of_many_says_how_many_and_shows_the_newest() -> None:
    many = [StoredAlert(n, NOON + timedelta(minutes=n), "warning", "stale", f"no {n}.") for n in range(100)]
    message = message_of(many, "sample")
    assert message.title == "[WARNING] sample: 100 × stale"
    assert "no 99." in message.body and "and 92 before" in message.body and "no 91." not in message.body
    assert len(message.body) < 1_000


# -- addresses are secrets ------------------------------------------------------------------------------------


SECRET = "TIiajkdnlazkcOXrIdevi7FQ"
SLACK = f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET}"


def test_an_address_is_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (found,) = to(SLACK)
    assert SECRET not in repr(found) + str(found) + found.address
    assert found.address == "slack://…"
    with pytest.raises(InputError) as refused:
        to(f"slackk://{SECRET}")
    assert SECRET not in str(refused.value) + caplog.text
    assert SECRET not in redaction.REDACTOR.text(f"POST https://hooks.slack.com/services/x/y/{SECRET} failed")


def test_what_a_failing_address_says_holds_no_secret(hook: WebHook, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hook.script = [500]
    (found,) = to(hook.url(secret="tester:pass-word-7@"))
    sent = apprise_send(found, Message("t", "b", "info"), 5.0)
    assert not sent.ok
    assert caplog.records, "apprise did say something"
    assert "pass-word-7" not in sent.detail + caplog.text


def test_an_address_in_clear_is_refused_where_it_holds_a_secret() -> None:
    for url in (SLACK, "json://u:pass-word-7@localhost/x", "json://localhost/x?+X-Key=abcdef", f"json://h/{SECRET}"):
        with pytest.raises(InputError, match="holds a secret") as refused:
            destinations(section(to={"desk": DestinationSection(url=url)}), {})
        assert SECRET not in str(refused.value) and "pass-word-7" not in str(refused.value)
        assert "TRADEWIND_ALERT_DESK" in refused.value.hint
    (found,) = destinations(section(to={"desk": DestinationSection(url="json://localhost:9000/alerts")}), {})
    assert found.address == "json://localhost:9000/…"


def test_a_file_must_be_its_owners_only(tmp_path: Path) -> None:
    file = tmp_path / "phone"
    file.write_text(f"{SLACK}\n", "utf-8")
    alerts = section(to={"desk": DestinationSection(url_file=str(file))})
    file.chmod(0o640)
    with pytest.raises(InputError, match="can be read by others") as refused:
        destinations(alerts, {})
    assert f"chmod 600 {file}" in refused.value.hint
    file.chmod(0o600)
    assert destinations(alerts, {})[0].url == SLACK


def test_a_bare_name_is_one_of_the_service_managers_credentials(tmp_path: Path) -> None:
    (tmp_path / "phone").write_text(SLACK, "utf-8")
    (tmp_path / "phone").chmod(0o440)
    alerts = section(to={"desk": DestinationSection(url_file="phone")})
    assert destinations(alerts, {"CREDENTIALS_DIRECTORY": str(tmp_path)})[0].url == SLACK


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ({"url_env": "NOT_SET"}, "the variable NOT_SET is missing or empty"),
        ({"url_file": "/nowhere/at/all"}, "is missing or empty"),
        ({"url_env": "EMPTY"}, "is missing or empty"),
    ],
)
def test_an_address_that_is_missing_is_named_by_where_it_should_be(of: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        destinations(section(to={"desk": DestinationSection(**of)}), {"EMPTY": " "})


@pytest.mark.parametrize(
    "of",
    [
        {"quiet_from": "22:00"},
        {"quiet_from": "22:00", "quiet_until": "22:00"},
        {"quiet_from": "25:00", "quiet_until": "07:00"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../etc/passwd"},
        {"to": {"Desk!": {"url_env": "X"}}},
        {"to": {"desk": {}}},
        {"to": {"desk": {"url_env": "X", "url": "json://x"}}},
        {"to": {"desk": {"url_env": "X", "level": "grave"}}},
        {"most_per_hour": 0},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(of: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AlertsSection(**of)


# -- the command line -----------------------------------------------------------------------------------------


def test_the_test_verb_says_for_each_address_what_happened(hook: WebHook, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_hook() as bad:
        bad.script = [503]
        monkeypatch.setenv("GOOD_HOOK", hook.url())
        monkeypatch.setenv("BAD_HOOK", bad.url(secret="me:pass-word-7@"))
        monkeypatch.setenv("TRADEWIND__ALERTS__TO__GOOD__URL_ENV", "GOOD_HOOK")
        monkeypatch.setenv("TRADEWIND__ALERTS__TO__BAD__URL_ENV", "BAD_HOOK")
        monkeypatch.setenv("TRADEWIND__ALERTS__TO__BAD__LEVEL", "critical")
        both = CliRunner().invoke(app, ["alerts", "test", "--level", "info", "--json"])
        one = CliRunner().invoke(app, ["alerts", "test", "--to", "good"])
    assert both.exit_code == 1, both.output
    rows = {row["name"]: row for row in json.loads(both.stdout)["sent"]}
    assert rows["good"]["ok"] and not rows["bad"]["ok"] and "503" in rows["bad"]["detail"]
    assert rows["bad"]["gets_level"] is False
    assert "pass-word-7" not in both.output
    assert one.exit_code == 0 and one.output.startswith("ok   good")
    assert [m["title"] for m in hook.got] == ["[INFO] sample: test", "[WARNING] sample: test"]


def test_the_test_verb_without_destinations_or_with_unknown_ones_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = CliRunner().invoke(app, ["alerts", "test"])
    assert none.exit_code == 2 and "nobody is told" in none.output
    monkeypatch.setenv("TRADEWIND__ALERTS__TO__PHONE__URL_ENV", "NOT_SET_AT_ALL")
    unknown = CliRunner().invoke(app, ["alerts", "test", "--to", "fone"])
    assert unknown.exit_code == 2 and "did you mean 'phone'" in unknown.output
    unset = CliRunner().invoke(app, ["alerts", "test"])
    assert unset.exit_code == 2 and "NOT_SET_AT_ALL" in unset.output
    level = CliRunner().invoke(app, ["alerts", "test", "--level", "grave"])
    assert level.exit_code == 2


def test_the_list_verb_shows_what_was_stored_and_makes_no_home(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = Controls(records, clock=HandClock())
    controls.append_alert("info", "note", "nothing much")
    controls.append_alert("critical", "reconcile_cash", "token=abcdefg is missing", {"account": "PA3XYZ123456"})
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path))
    shown = CliRunner().invoke(app, ["alerts", "list", "--level", "warning", "--kind", "reconcile_*", "--json"])
    (row,) = json.loads(shown.stdout)["alerts"]
    assert row["id"] == "2" and row["what"] == "token=*** is missing" and row["detail"] == {"account": "***456"}
    text = CliRunner().invoke(app, ["alerts", "list"])
    assert text.stdout.count("\n") == 2 and text.stdout.index("reconcile_cash") < text.stdout.index("note")
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "none"))
    assert CliRunner().invoke(app, ["alerts", "list"]).exit_code == 0
    assert not (tmp_path / "none").exists()


def test_a_kind_is_matched_letter_by_letter_but_for_the_star(records: Records) -> None:
    controls = Controls(records)
    for kind in ("reconcile_cash", "reconcileXcash", "drift"):
        controls.append_alert("info", kind, "x")
    found = newest_alerts(records, kind="reconcile_*")
    assert [one.kind for one in found] == ["reconcile_cash"]


def test_a_test_reaches_every_address_at_once(hook: WebHook) -> None:
    hook.script = ["hang"]
    with web_hook() as good:
        alerts = section(to={"a": DestinationSection(url_env="A"), "b": DestinationSection(url_env="B")})
        found = destinations(alerts, {"A": hook.url(), "B": good.url()})
        rows = send_test(found, "critical", timeout_seconds=1.0)
    assert [(row["name"], row["ok"]) for row in rows] == [("a", False), ("b", True)]


if __name__ == "__main__":  # the process that is killed
    _records = Records(f"sqlite:///{sys.argv[1]}")
    courier(_records, apprise_send, destination=Destination("desk", sys.argv[2], "…", "info")).step()
