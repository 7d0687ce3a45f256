"""The switch that stops all trading, and the alerts that say why: both only ever added to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

import sqlalchemy as sa

from tradewind.clock import Clock, SystemClock
from tradewind.errors import InputError, SafetyStop, did_you_mean
from tradewind.market.store import schema
from tradewind.market.store.records import Records

Level = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class ControlState:
    """Whether trading is halted: since when, why (every reason given since then) and by whom it was first."""

    halted: bool
    since: datetime | None = None
    reasons: tuple[str, ...] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class ControlChange:
    """One use of the switch. ``action`` is ``halt`` or ``release``."""

    at: datetime
    action: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know. ``kind`` is a word to filter by, ``detail`` its numbers."""

    at: datetime
    level: Level
    kind: str
    what: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class Controls:
    """The kill switch and the alerts of one home. A halt lasts, restarts included, until a person releases it."""

    def __init__(self, records: Records, *, clock: Clock | None = None) -> None:
        self._records, self._clock = records, clock or SystemClock()

    def halt(self, reason: str, by: str) -> ControlState:
        """Stop trading; where it is stopped already, the reason is added."""
        self._append("halt", reason, by)
        return self.state()

    def release(self, reason: str, by: str, *, stopped: bool = False) -> ControlState:
        """Let trading go on; ``stopped`` says that drift has stopped recommendations, which go on too.

        ``InputError`` where nothing is halted and nothing is stopped.
        """
        if not stopped and not self.state().halted:
            raise InputError("trading is not halted", hint="`tradewind halt` stops it")
        self._append("release", reason, by)
        return self.state()

    def state(self) -> ControlState:
        """Return whether trading is halted now."""
        since: list[ControlChange] = []
        for change in self.history():
            since = [] if change.action == "release" else [*since, change]
        if not since:
            return ControlState(halted=False)
        return ControlState(True, since[0].at, tuple(change.reason for change in since), since[0].actor)

    def require_released(self) -> None:
        """Raise ``SafetyStop`` with the reasons where trading is halted."""
        state = self.state()
        if state.halted:
            raise SafetyStop(
                f"trading is halted since {state.since:%Y-%m-%d %H:%M} UTC by {state.by}: {'; '.join(state.reasons)}",
                hint="look at the account, then run `tradewind release`",
            )

    def history(self) -> list[ControlChange]:
        """Return every use of the switch, oldest first."""
        query = sa.select(schema.controls).order_by(schema.controls.c.id)
        with self._records.database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [ControlChange(row["at"], row["action"], row["reason"], row["actor"]) for row in rows]

    def newest(self) -> int:
        """Return the number of the newest use of the switch; 0 where it was never used."""
        with self._records.database.reading() as connection:
            return int(connection.execute(sa.select(sa.func.max(schema.controls.c.id))).scalar() or 0)

    def release_after(self, number: int) -> ControlChange | None:
        """Return the newest release after a use of the switch, by whomever; None where there was none."""
        table = schema.controls
        query = sa.select(table).where(table.c.id > number, table.c.action == "release").order_by(table.c.id.desc())
        with self._records.database.reading() as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return None if row is None else ControlChange(row["at"], row["action"], row["reason"], row["actor"])

    def append_alert(self, level: Level, kind: str, what: str, detail: Mapping[str, Any] | None = None) -> Alert:
        """Store an alert."""
        if level not in get_args(Level):
            raise did_you_mean("level of an alert", level, get_args(Level))
        alert = Alert(self._clock.now(), level, kind, what, dict(detail or {}))
        with self._records.database.writing() as connection:
            connection.execute(sa.insert(schema.alerts).values(asdict(alert)))
        return alert

    def alerts(self, *, since: datetime | None = None, limit: int | None = None) -> list[Alert]:
        """Return alerts, newest first."""
        query = sa.select(schema.alerts).order_by(schema.alerts.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(schema.alerts.c.at >= since)
        with self._records.database.reading() as connection:
            rows = connection.execute(query).mappings().all()
        return [Alert(row["at"], row["level"], row["kind"], row["what"], row["detail"]) for row in rows]

    def _append(self, action: str, reason: str, by: str) -> None:
        if not reason.strip():
            raise InputError(f"a {action} needs a reason", hint="say in a few words why")
        row = asdict(ControlChange(self._clock.now(), action, reason, by))
        with self._records.database.writing() as connection:
            connection.execute(sa.insert(schema.controls).values(row))
