"""Alerts go out: each to every destination that wants it, once as far as that can be known, at least once in any case.

Every alert is in the records before anybody is told (:meth:`tradewind.execution.controls.Controls.append_alert`, from
any process). One courier a destination follows that table in a thread of its own, so that an address that does not
answer keeps nobody waiting, least of all the loop. What a courier has delivered it writes down:

- before a message is sent its alerts are marked as being sent, afterwards as sent; a process killed in between sends
  them again and says that they may be a repeat;
- a destination that is new hears of what happens from then on, not of the past.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from tradewind.clock import Clock, SystemClock
from tradewind.errors import RetryError, TradewindError
from tradewind.live import redaction
from tradewind.live.bus import Bus
from tradewind.live.destinations import LEVELS, Destination, Level, Message, Send, apprise_send
from tradewind.live.logs import logger
from tradewind.live.settings_alerts import AlertsSection
from tradewind.market.store import schema
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.records import Records

LINES: Final = 8
"""Alerts of one message that are spelt out; the others are counted."""

READ: Final = 1_000
"""Alerts that are read at once."""

WAITING: Final = 10_000
"""Alerts that may wait for one destination; what comes then stays in the records until there is room."""

STRAGGLERS: Final = 100
"""A server's transactions may become visible out of order: so many numbers back are looked at again."""

_LOOK_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 5.0
_HOUR: Final = timedelta(hours=1)
_LOG: Final = logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert as the records have it. ``repeat``: it may have been sent before."""

    id: int
    at: datetime
    level: Level
    kind: str
    what: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    repeat: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as the API and the bus say it, without secrets."""
        safe = redaction.REDACTOR
        return {
            "id": str(self.id),
            "at": self.at.isoformat(),
            "level": self.level,
            "kind": self.kind,
            "what": safe.text(self.what),
            "detail": safe.value(dict(self.detail)),
        }


def alerts_after(records: Records, alert: int, *, limit: int = READ) -> list[StoredAlert]:
    """Return the alerts with a number above ``alert``, oldest first."""
    table = schema.alerts
    query = sa.select(table).where(table.c.id > alert).order_by(table.c.id).limit(limit)
    return _read(records, query)


def newest_alerts(
    records: Records, *, limit: int = 200, level: Level = "info", kind: str = "", since: datetime | None = None
) -> list[StoredAlert]:
    """Return alerts of at least a level, newest first; ``kind`` may hold ``*``."""
    table = schema.alerts
    query = sa.select(table).where(table.c.level.in_(LEVELS[LEVELS.index(level) :]))
    if kind:
        query = query.where(table.c.kind.like(kind.replace("_", r"\_").replace("*", "%"), escape="\\"))
    if since is not None:
        query = query.where(table.c.at >= since)
    return _read(records, query.order_by(table.c.id.desc()).limit(limit))


def _read(records: Records, query: sa.Select[Any]) -> list[StoredAlert]:
    with records.database.reading() as connection:
        return [StoredAlert(**row) for row in connection.execute(query).mappings()]


def _newest_number(records: Records) -> int:
    with records.database.reading() as connection:
        return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(schema.alerts.c.id), 0))).scalar_one())


# -- when a message is due ----------------------------------------------------------------------------------------


class Outbox:
    """What one destination has yet to be told, and what of it may be said now. Asks no clock and no database."""

    def __init__(self, settings: AlertsSection) -> None:
        self._settings = settings
        self._group = timedelta(seconds=settings.group_seconds)
        self._zone = ZoneInfo(settings.time_zone)
        self._said: dict[tuple[str, str], datetime] = {}
        self._messages: deque[datetime] = deque()
        self.waiting: dict[int, StoredAlert] = {}

    def put(self, alerts: Iterable[StoredAlert]) -> None:
        """Take alerts; one that waits already stays as it is."""
        for alert in alerts:
            self.waiting.setdefault(alert.id, alert)

    def due(self, now: datetime) -> list[StoredAlert]:
        """Return the alerts of the next message, oldest first: gravest kind first; empty where nothing may be said."""
        groups: dict[tuple[str, str], list[StoredAlert]] = {}
        for alert in sorted(self.waiting.values(), key=lambda one: one.id):
            groups.setdefault((alert.level, alert.kind), []).append(alert)
        ready = [alerts for group, alerts in groups.items() if self._may_be_said(group, now)]
        return min(ready, key=lambda alerts: (-LEVELS.index(alerts[0].level), alerts[0].id), default=[])

    def sent(self, alerts: Sequence[StoredAlert], now: datetime) -> None:
        """Take note that a message went out."""
        for alert in alerts:
            self.waiting.pop(alert.id, None)
        self._said[alerts[0].level, alerts[0].kind] = now
        self._messages.append(now)

    def is_quiet(self, now: datetime) -> bool:
        """Return whether it is a time when only critical alerts are sent."""
        if not self._settings.quiet_from:
            return False
        begin, end = (time.fromisoformat(text) for text in (self._settings.quiet_from, self._settings.quiet_until))
        local = now.astimezone(self._zone).time()
        return begin <= local < end if begin < end else local >= begin or local < end

    def _may_be_said(self, group: tuple[str, str], now: datetime) -> bool:
        last = self._said.get(group)
        if last is not None and timedelta() <= now - last < self._group:  # a clock that was put back starts anew
            return False
        return group[0] == "critical" or not (self.is_quiet(now) or self._is_spent(now))

    def _is_spent(self, now: datetime) -> bool:
        while self._messages and not timedelta() <= now - self._messages[0] < _HOUR:
            self._messages.popleft()
        return len(self._messages) >= self._settings.most_per_hour


def message_of(alerts: Sequence[StoredAlert], signature: str) -> Message:
    """Return what is said of alerts of one level and kind: each in a line, from a number on only how many."""
    first, many = alerts[0], len(alerts)
    count = f"{many} × " if many > 1 else ""
    lines = [f"{alert.at:%Y-%m-%d %H:%M:%S} UTC  {alert.what}" for alert in alerts[-LINES:]]
    if many > LINES:
        lines.insert(0, f"… and {many - LINES} before, from {first.at:%Y-%m-%d %H:%M:%S} UTC on")
    if many == 1:
        lines += [f"{name}: {value}" for name, value in list(redaction.REDACTOR.value(dict(first.detail)).items())[:10]]
    if any(alert.repeat for alert in alerts):
        lines.append("(may be a repeat: the process ended while this was being sent)")
    safe = redaction.REDACTOR.text
    return Message(
        safe(f"[{first.level.upper()}] {signature}: {count}{first.kind}"), safe("\n".join(lines)), first.level
    )


# -- one destination ----------------------------------------------------------------------------------------------


class Courier:
    """Follows the table of alerts for one destination. ``step`` does what is to be done now; a thread repeats it.

    Parameters
    ----------
    lock
        File whose lock makes it the only courier of its destination, where several processes share a home.
    """

    def __init__(
        self,
        destination: Destination,
        settings: AlertsSection,
        records: Records,
        *,
        clock: Clock,
        signature: str,
        send: Send,
        lock: Path | None = None,
    ) -> None:
        self.destination, self._settings, self._records = destination, settings, records
        self._clock, self._signature, self._send, self._lock = clock, signature, send, lock
        self._held = contextlib.ExitStack()
        self._outbox = Outbox(settings)
        self._marks = _Marks(records, destination.name, clock)
        self._seen = -1
        self.failures = 0
        self.last_error: str | None = None
        self._complaint = ""
        self.last_success: datetime | None = None
        self.heartbeat: datetime | None = None
        self.next_try: datetime | None = None
        self.elsewhere = False

    def step(self) -> float:
        """Read what is new, send what is due; return after how many seconds to come again."""
        now = self.heartbeat = self._clock.now()
        if not self._is_mine():
            return _BUSY_SECONDS
        try:
            self._look()
            self._complaint = ""
        except (TradewindError, sa.exc.SQLAlchemyError) as failure:  # what was read before can still be sent
            self._complain("the records cannot be read", failure)
        if self.next_try is not None and now < self.next_try:
            return min(_LOOK_SECONDS, (self.next_try - now).total_seconds())
        alerts = self._outbox.due(now)
        if alerts:
            self._deliver(alerts)
        self._settle()
        return 0.0 if alerts and self.failures == 0 else _LOOK_SECONDS

    def close(self) -> None:
        """Let another process take the destination over."""
        self._held.close()

    def state(self) -> dict[str, Any]:
        """Return how it fares, as the services of the health payload."""
        if self.elsewhere:
            state = "stopped"
        elif self.failures:
            state = "retrying"
        else:
            state = "starting" if self._seen < 0 else "ok"
        return {
            "name": f"alerts:{self.destination.name}",
            "state": state,
            "last_success": _iso(self.last_success),
            "last_error": "another process sends these"
            if self.elsewhere
            else self.last_error or self._complaint or None,
            "failures": self.failures,
            "next_try": _iso(self.next_try),
            "heartbeat": _iso(self.heartbeat),
            "waiting": len(self._outbox.waiting),
        }

    def _is_mine(self) -> bool:
        """Return whether this process sends to the destination; where another one did, begin with what that left."""
        if self._seen >= 0:
            return True
        try:
            if self._lock is not None:
                self._held.enter_context(writer_lock(self._lock, patience_seconds=0.0))
        except RetryError:
            self.elsewhere = True
            return False
        self.elsewhere = False
        try:
            self._seen = self._marks.load()
        except (TradewindError, sa.exc.SQLAlchemyError) as failure:
            self._held.close()
            self._complain("the records cannot be read", failure)
            return False
        return True

    def _look(self) -> None:
        room = min(READ, WAITING - len(self._outbox.waiting))
        if room <= 0:
            return
        back = 0 if self._records.database.is_sqlite else STRAGGLERS
        found = alerts_after(self._records, max(self._seen - back, self._marks.cursor), limit=room + back)
        new = [self._marks.flagged(alert) for alert in found if not self._marks.knows(alert.id)]
        self._outbox.put(alert for alert in new if self.destination.wants(alert.level, alert.kind))
        self._seen = max([self._seen, *(alert.id for alert in found)])

    def _deliver(self, alerts: Sequence[StoredAlert]) -> None:
        message = message_of(alerts, self._signature)
        self._mark(alerts, "sending")
        sent = self._send(self.destination, message, self._settings.timeout_seconds)
        now = self._clock.now()
        if not sent.ok:
            self._mark(alerts, "failed")
            self._failed(sent.detail, now)
            return
        self._outbox.sent(alerts, now)
        self._mark(alerts, "sent")
        self.failures, self.last_error, self.next_try, self.last_success = 0, None, None, now

    def _mark(self, alerts: Sequence[StoredAlert], status: str) -> None:
        """Write a status down; that the records are away silences nobody, it is written down later."""
        self._marks.note([alert.id for alert in alerts], status)
        try:
            self._marks.write()
        except (TradewindError, sa.exc.SQLAlchemyError) as failure:
            self._complain("what was sent cannot be written down", failure)

    def _failed(self, why: str, now: datetime) -> None:
        self.failures += 1
        pause = min(self._settings.retry_seconds * 2.0 ** min(self.failures - 1, 30), self._settings.retry_seconds_max)
        self.next_try = now + timedelta(seconds=pause)
        self.last_error = why
        told = {"destination": self.destination.name, "why": why, "failures": self.failures, "pause": pause}
        _LOG.warning("an alert could not be sent", **told)

    def _settle(self) -> None:
        """Move the cursor past what is settled, so that what was written down of it can go."""
        back = 0 if self._records.database.is_sqlite else STRAGGLERS
        settled = min([self._seen + 1, *self._outbox.waiting]) - 1 - back
        try:
            self._marks.settle(settled)
        except (TradewindError, sa.exc.SQLAlchemyError) as failure:
            self._complain("what was sent cannot be written down", failure)

    def _complain(self, what: str, failure: Exception) -> None:
        said = redaction.REDACTOR.text(f"{what}: {failure}")
        if said != self._complaint:
            _LOG.error("alerts", destination=self.destination.name, what=said)
        self._complaint = said


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


class _Marks:
    """What one destination was told, in the records: a cursor, and single alerts above it."""

    def __init__(self, records: Records, destination: str, clock: Clock) -> None:
        self._records, self._destination, self._clock = records, destination, clock
        self._mine = schema.alert_deliveries.c.destination == destination
        self._status: dict[int, str] = {}
        self._unwritten: dict[int, str] = {}
        self.cursor = 0

    def load(self) -> int:
        """Return the number of the last alert that is settled: of a new destination, of the newest there is."""
        table = schema.alert_deliveries
        with self._records.database.reading() as connection:
            rows = connection.execute(sa.select(table.c.alert, table.c.status).where(self._mine)).all()
        self._status = {alert: status for alert, status in rows if status != "cursor"}
        cursors = [alert for alert, status in rows if status == "cursor"]
        if cursors:
            self.cursor = max(cursors)
        else:
            self.cursor = _newest_number(self._records)
            with self._records.database.writing() as connection:
                connection.execute(self._upsert({self.cursor: "cursor"}))
        return self.cursor

    def knows(self, alert: int) -> bool:
        """Return whether an alert has been sent."""
        return alert <= self.cursor or self._status.get(alert) == "sent"

    def flagged(self, alert: StoredAlert) -> StoredAlert:
        """Return it, marked as a repeat where it was being sent when a process ended."""
        if self._status.get(alert.id) != "sending":
            return alert
        return StoredAlert(alert.id, alert.at, alert.level, alert.kind, alert.what, alert.detail, repeat=True)

    def note(self, alerts: Sequence[int], status: str) -> None:
        """Remember a status of alerts, to be written."""
        self._status.update(dict.fromkeys(alerts, status))
        self._unwritten.update(dict.fromkeys(alerts, status))

    def write(self) -> None:
        """Write what is not written yet."""
        if self._unwritten:
            with self._records.database.writing() as connection:
                connection.execute(self._upsert(self._unwritten))
            self._unwritten = {}

    def settle(self, alert: int) -> None:
        """Write what is not written, and move the cursor up to here; what lies below is forgotten."""
        self.write()
        if alert <= self.cursor:
            return
        table = schema.alert_deliveries
        with self._records.database.writing() as connection:
            connection.execute(sa.delete(table).where(self._mine, table.c.alert <= alert))
            connection.execute(self._upsert({alert: "cursor"}))
        self.cursor = alert
        self._status = {number: status for number, status in self._status.items() if number > alert}

    def _upsert(self, statuses: Mapping[int, str]) -> Any:
        now = self._clock.now()
        rows = [
            {"destination": self._destination, "alert": alert, "status": status, "at": now}
            for alert, status in statuses.items()
        ]
        statement = self._records.insert(schema.alert_deliveries).values(rows)
        renewed = {name: statement.excluded[name] for name in ("status", "at")}
        return statement.on_conflict_do_update(index_elements=["destination", "alert"], set_=renewed)


# -- all of them --------------------------------------------------------------------------------------------------


class Dispatcher:
    """Sends alerts of a home to its destinations, and says them on the bus. Start it once a process.

    Parameters
    ----------
    records
        Where alerts are stored, by this process or another one.
    found
        From :func:`tradewind.live.destinations.destinations`; none is fine.
    bus
        Told of each new alert (topic ``alert``), also of those that are sent to nobody.
    signature
        Who speaks, in each message: the playbook and its mode.
    locks
        Folder for the locks by which one process sends for each destination; None where there is one process anyway.
    clock
        Times of grouping, quiet hours and retries: the machine's, also in a replay, since people read in real time.
    """

    def __init__(
        self,
        records: Records,
        found: Sequence[Destination],
        settings: AlertsSection,
        *,
        bus: Bus | None = None,
        signature: str = "tradewind",
        locks: Path | None = None,
        clock: Clock | None = None,
        send: Send = apprise_send,
    ) -> None:
        self._records, self._bus = records, bus
        self._stop = threading.Event()
        self._threads: list[_Repeated] = []
        self._told = -1
        own = {"clock": clock or SystemClock(), "signature": signature, "send": send}
        self.couriers = tuple(
            Courier(one, settings, records, lock=locks and locks / f"alerts-{one.name}.lock", **own)  # type: ignore[arg-type]
            for one in found
        )

    def __enter__(self) -> Dispatcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin, in threads of its own; returns at once."""
        works = [(f"alerts-{one.destination.name}", one.step) for one in self.couriers]
        if self._bus is not None:
            works.append(("alerts-bus", self.tell))
        self._threads = [_Repeated(name, step, self._stop) for name, step in works]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look at the table now rather than within a second: call it after storing an alert, from any thread."""
        for thread in self._threads:
            thread.wake()

    def close(self, *, patience_seconds: float = 5.0) -> None:
        """Give the couriers so long to send what is due, then end; what is left is sent at the next start."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(patience_seconds / max(len(self._threads), 1))
        for courier in self.couriers:
            courier.close()
        self._threads = []

    def tell(self) -> float:
        """Say the alerts that are new on the bus; return after how many seconds to come again."""
        assert self._bus is not None
        if self._told < 0:
            self._told = _newest_number(self._records)
        for alert in alerts_after(self._records, self._told):
            said = alert.to_dict()
            self._bus.publish("alert", said["id"], said, correlation=str(alert.detail.get("correlation", "")))
            self._told = alert.id
        return _LOOK_SECONDS

    def services(self) -> list[dict[str, Any]]:
        """Return how each destination fares, as the services of the health payload."""
        return [courier.state() for courier in self.couriers]

    def waiting(self) -> Counter[str]:
        """Return how many alerts wait for each destination."""
        return Counter({one.destination.name: one.state()["waiting"] for one in self.couriers})


class _Repeated(threading.Thread):
    """A thread that repeats a step, which says after how many seconds; it ends after one more step once stopped."""

    def __init__(self, name: str, step: Any, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._step, self._stop_asked, self._awake = step, stop, threading.Event()

    def wake(self) -> None:
        self._awake.set()

    def run(self) -> None:
        while True:
            last = self._stop_asked.is_set()
            self._awake.clear()
            pause = self._once()
            if last and pause > 0:
                return
            if not self._stop_asked.is_set():
                self._awake.wait(pause)

    def _once(self) -> float:
        try:
            return float(self._step())
        except Exception as failure:  # noqa: BLE001 - whatever happens, the next alert must get its chance
            _LOG.error("alerts", what="an unforeseen failure", why=f"{type(failure).__name__}: {failure}")
            return _BUSY_SECONDS
