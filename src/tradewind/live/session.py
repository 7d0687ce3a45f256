"""A running corridor from its first bar on, through every stop and kill: who forecast since when, what was held back.

It is a row of the records, brought up to date whenever something of it changes; the account's journal says how far it
has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from tradewind.evaluation.model_registry import ModelRegistry, seats_of
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.prediction_log import origin_of_plan
from tradewind.execution.controls import Controls
from tradewind.live.runtime import Mode
from tradewind.live.served import Engine, Served, served
from tradewind.market.store.records import LiveSession, Records, new_run_id


@dataclass(eq=False)
class Session:
    """One running corridor.

    Attributes
    ----------
    opened
        Close of the first bar that was decided on.
    asked, until
        From where and to where a replay was asked for; None: from where models have not learnt, and to the end.
    serving
        By model (``MODEL@TIMEFRAME``): closes from which on an artefact forecasts, oldest first.
    held
        By seat: closes between which its recommendations were stopped; the second is None while they are.
    stopped_after
        By seat whose recommendations are stopped: the newest use of the kill switch before that (paper trading).
    halted, was_halted
        Whether a replay is halted by a person, and whether it ever was.
    """

    id: str
    plan: Plan
    mode: Mode
    started: datetime
    opened: np.datetime64
    asked: datetime | None
    until: datetime | None
    serving: dict[str, list[tuple[np.datetime64, str]]]
    held: dict[str, list[tuple[np.datetime64, np.datetime64 | None]]] = field(default_factory=dict)
    stopped_after: dict[str, int] = field(default_factory=dict)
    halted: bool = False
    was_halted: bool = False

    @property
    def account(self) -> str:
        """Name of its paper account: a replay has one of its own, paper trading goes on with the playbook's."""
        return f"replay:{self.id}" if self.mode == "REPLAY" else f"live:{self.plan.playbook.name}"

    def save(self, records: Records) -> None:
        """Store it as it is now."""
        plan = self.plan
        records.record_live_session(
            LiveSession(
                id=self.id,
                playbook=plan.playbook.name,
                playbook_hash=plan.playbook.content_hash,
                mode=self.mode,
                source=plan.data.source,
                started=self.started,
                detail=self._detail(),
            )
        )

    def _detail(self) -> dict[str, Any]:
        return {
            "origin": list(origin_of_plan(self.plan)),
            "account": self.account,
            "opened": str(self.opened),
            "halted": self.halted,
            "was_halted": self.was_halted,
            "stopped_after": self.stopped_after,
            "asked": None if self.asked is None else self.asked.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "serving": {name: [[str(at), model] for at, model in since] for name, since in self.serving.items()},
            "held": {
                seat: [[str(first), None if last is None else str(last)] for first, last in spans]
                for seat, spans in self.held.items()
            },
        }

    def switched(self, plan: Plan, one: Served, at: np.datetime64) -> None:
        """Note that another model of a system forecasts from a close on."""
        self.serving[plan.column(one.name)].append((at, one.artefact.id))

    def held_of(self, plan: Plan) -> dict[str, list[tuple[np.datetime64, np.datetime64 | None]]]:
        """Return the spans of a system's seats."""
        return {seat: self.held[seat] for seat in seats_of(plan) if seat in self.held}

    def runs(self, plan: Plan) -> bool:
        """Return whether a system is part of it: one that could not run when it began is not."""
        return all(plan.column(name) in self.serving for name in seats_of(plan).values())

    def timeline(self, registry: ModelRegistry, plan: Plan, engine: Engine) -> dict[str, list[Any]]:
        """Return who forecasts for a system since when, by model, ready to be asked."""
        return {
            name: [
                (at, served(registry.artefact(model), name, seat, engine))
                for at, model in self.serving[plan.column(name)]
            ]
            for seat, name in seats_of(plan).items()
        }


def resumed(records: Records, plan: Plan, mode: Mode, asked: datetime | None, until: datetime | None) -> Session | None:
    """Return the session of this playbook that has not been brought to its end; None where there is none.

    Paper trading has one that goes on as long as the playbook stays the same; a replay goes on where the same days
    were asked for.
    """
    for row in records.live_sessions(plan.playbook.name):
        same = (row.mode, row.playbook_hash, row.source) == (mode, plan.playbook.content_hash, plan.data.source)
        if not same or (mode == "REPLAY" and row.stopped is not None):
            continue
        found = _restored(row, plan, mode)
        if mode != "REPLAY" or (found.asked, found.until) == (asked, until):
            return found
    return None


def begun(
    records: Records,
    plan: Plan,
    mode: Mode,
    started: datetime,
    opened: np.datetime64,
    asked: datetime | None,
    until: datetime | None,
    champions: Mapping[str, Served],
) -> Session:
    """Begin a session with the champions of now, by model as ``serving`` names them, and store it."""
    serving = {name: [(one.trained_until, one.artefact.id)] for name, one in champions.items()}
    made = Session(new_run_id(plan.playbook.name, started), plan, mode, started, opened, asked, until, serving)
    made.save(records)
    return made


@dataclass(frozen=True, slots=True)
class Stop:
    """A seat whose recommendations drift has stopped in paper trading: since which close, and why."""

    playbook: str
    seat: str
    since: str
    why: str


def stops(records: Records) -> list[Stop]:
    """Return what is stopped by drift in paper trading and was not released since, also where nothing runs."""
    controls = Controls(records)
    said = [alert.what for alert in controls.alerts() if alert.kind == "drift_action"]
    found = []
    for row in records.live_sessions():
        if row.mode == "REPLAY":
            continue
        for seat, number in row.detail.get("stopped_after", {}).items():
            if controls.release_after(number) is None:
                since = str(row.detail["held"][seat][-1][0])
                why = next((what for what in said if what.startswith(f"{seat}: ")), f"{seat}: stopped")
                found.append(Stop(row.playbook, seat, since, why))
    return found


def _restored(row: LiveSession, plan: Plan, mode: Mode) -> Session:
    detail = row.detail
    return Session(
        id=row.id,
        plan=plan,
        mode=mode,
        started=row.started,
        opened=np.datetime64(detail["opened"]),
        halted=bool(detail.get("halted")),
        was_halted=bool(detail.get("was_halted")),
        stopped_after=dict(detail.get("stopped_after", {})),
        asked=_read(detail.get("asked")),
        until=_read(detail["until"]),
        serving={
            name: [(np.datetime64(at), model) for at, model in since] for name, since in detail["serving"].items()
        },
        held={
            seat: [(np.datetime64(a), None if b is None else np.datetime64(b)) for a, b in spans]
            for seat, spans in detail["held"].items()
        },
    )


def _read(moment: str | None) -> datetime | None:
    return None if moment is None else datetime.fromisoformat(moment)
