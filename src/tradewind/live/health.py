"""Whether a running corridor is well: services, freshness, latency, errors, machine, and what it depends on.

Numbers are cheap and read at any time (:meth:`Health.state`). What reads disks is asked now and then in a thread
(:meth:`Health.examine`) and remembered. What is not well becomes one alert, and one more when it is well again
(:meth:`Health.watch`), also where the process was started anew in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from tradewind.clock import Clock, SystemClock
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.execution.controls import Controls, Level
from tradewind.live import checks
from tradewind.live.alerting import newest_alerts
from tradewind.live.bus import Bus
from tradewind.live.checks import Check, ClockSkew, Machine
from tradewind.live.latency import STAGES, ErrorRate, Latency
from tradewind.live.settings_alerts import HealthLimits
from tradewind.market.store.records import Records

__all__ = ["STAGES", "Check", "ErrorRate", "Health", "Judgement", "Latency", "Machine"]

LEAST_BARS: Final = 20
"""Bars before the latency is judged."""

WELL_LOOKS: Final = 3
"""Looks in a row that must find all well before an episode is over."""

NEEDED: Final = ("records", "lake", "models")
"""Checks without which the corridor must not be sent any work."""

PRICES: Final = "prices"
"""The service without which nothing happens."""

KIND: Final = "health_"

Freshness = Callable[[], Mapping[str, Any]]
Services = Callable[[], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One thing that is well, not well, or (None) not known; and how grave it is where it is not."""

    name: str
    ok: bool | None
    level: Level
    what: str


class Health:
    """Collects what the parts of a running corridor know of themselves.

    Parameters
    ----------
    home
        Folder of all state.
    lake
        Folder of the lake that is read; None where the bars come from elsewhere.
    bus
        Asked for listeners and dropped events.
    clock
        Times of alerts and backups.
    timer
        Seconds that only ever rise: durations and the time since the start.

    Attributes
    ----------
    latency
        ``with health.latency.stage("features"): …``
    operations
        ``health.operations.add(ok)``: every bar, poll, order and job counts once.
    skew
        ``health.skew.heard("yahoo", said, now)``
    freshness
        Says ``{seconds, limit, stale}``; until it is set nothing counts as fresh.
    services
        Each says the ``services`` of one part.
    warming
        What is still to be done before the first bar can be decided on; None once all is ready.
    """

    def __init__(
        self,
        home: Path,
        records: Records,
        limits: HealthLimits | None = None,
        *,
        lake: Path | None = None,
        bus: Bus | None = None,
        clock: Clock | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._home, self._records, self._lake, self._bus = home, records, lake, bus
        self.limits = limits or HealthLimits()
        self._clock, self._timer = clock or SystemClock(), timer
        self._began, self._lock = timer(), threading.Lock()
        self.latency, self.operations, self.skew = Latency(timer=timer), ErrorRate(), ClockSkew()
        self.machine = Machine(home)
        self.freshness: Freshness = _unknown
        self.services: list[Services] = []
        self.warming: str | None = "the start"
        self._files = checks.ModelFiles(ModelRegistry(home, records, self._clock))
        folder = self.limits.backup_folder
        self._backups = checks.Backups(Path(folder).expanduser()) if folder else None
        self._found: dict[str, Check] = {}
        self._backup: dict[str, Any] | None = None
        self._episodes = _Episodes(records)

    # -- reading -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the health payload. Reads no disk but for how full it is; never waits."""
        from tradewind import __version__

        with self._lock:
            found, backup = [check.to_dict() for check in self._found.values()], self._backup
        return {
            "services": [dict(service) for part in self.services for service in part()],
            "freshness": dict(self.freshness()),
            "latency_ms": self.latency.to_dict(),
            "errors": self.operations.errors,
            "error_rate": self.operations.rate,
            "machine": self.machine.reading(),
            "dropped": 0 if self._bus is None else self._bus.dropped,
            "listeners": 0 if self._bus is None else self._bus.listeners,
            "uptime_seconds": round(self._timer() - self._began, 3),
            "version": __version__,
            "checks": found,
            "backup": backup,
            "clock_skew_seconds": self.skew.seconds(),
        }

    def readiness(self) -> tuple[bool, list[str]]:
        """Return whether work may be sent here, and every reason why not."""
        reasons = [] if self.warming is None else [f"warming up: {self.warming}"]
        fresh = self.freshness()
        if fresh["stale"]:
            age = fresh["seconds"]
            reasons.append("no fresh bar" if age is None else f"the newest bar is {age:.0f} s old")
        reasons += [
            f"{one['name']}: left alone after {one['failures']} failures in a row"
            for part in self.services
            for one in part()
            if one["name"] == PRICES and one["state"] == "open"
        ]
        with self._lock:
            found = [self._found[name] for name in NEEDED if name in self._found]
        reasons += [f"{check.name}: {check.detail}" for check in found if check.ok is False]
        return not reasons, reasons

    # -- asking ------------------------------------------------------------------------------------------------

    def examine(self) -> list[Check]:
        """Ask everything that this depends on, and remember what it said. Reads disks: call it in a thread."""
        found = [checks.asked(name, check) for name, check in self._asked()]
        backup = self._newest_backup()
        with self._lock:
            self._found, self._backup = {check.name: check for check in found}, backup
        return found

    def _asked(self) -> list[tuple[str, Callable[[], tuple[bool | None, str]]]]:
        limits, lake, backups = self.limits, self._lake, self._backups
        asked: list[tuple[str, Callable[[], tuple[bool | None, str]]]] = [
            ("records", lambda: checks.records_writable(self._records)),
            ("models", self._files.check),
            ("clock", lambda: self.skew.check(limits.skew_seconds_max)),
        ]
        if lake is not None:
            asked.append(("lake", lambda: checks.lake_readable(lake)))
        if backups is not None:
            oldest = timedelta(hours=limits.backup_hours_max)
            asked.append(("backup", lambda: backups.check(self._clock.now(), oldest)))
        return asked

    def _newest_backup(self) -> dict[str, Any] | None:
        try:
            newest = self._backups.newest() if self._backups is not None else None
        except OSError:
            return None
        return None if newest is None else newest.to_dict(self._clock.now())

    # -- watching ----------------------------------------------------------------------------------------------

    def judgements(self) -> list[Judgement]:
        """Return what is well and what is not, against the limits."""
        with self._lock:
            found = list(self._found.values())
        grave = {name: "critical" if name in NEEDED else "warning" for name in (*NEEDED, "clock", "backup")}
        asked = [Judgement(c.name, c.ok, grave[c.name], f"{c.name}: {c.detail}") for c in found]  # type: ignore[arg-type]
        return [self._disk(), self._memory(), self._errors(), self._slowness(), *asked]

    def watch(self, controls: Controls) -> list[str]:
        """Store an alert for each thing that is newly not well, and for each that is well again; return their kinds.

        Call it every few seconds; it waits for the records.
        """
        return [kind for judged in self.judgements() for kind in self._episodes.follow(judged, controls)]

    def _disk(self) -> Judgement:
        used, limit = checks.disk_percent(self._home), self.limits.disk_percent_max
        free = checks.free_bytes(self._home) / 1e9
        what = f"the disk that holds the home is {used:.1f} % full (limit {limit:g} %): {free:.1f} GB free"
        return Judgement("disk", used <= limit, "warning", what)

    def _memory(self) -> Judgement:
        used, limit = self.machine.memory_percent(), self.limits.memory_percent_max
        return Judgement("memory", used <= limit, "warning", f"memory is {used:.1f} % used (limit {limit:g} %)")

    def _errors(self) -> Judgement:
        rate, limit = self.operations.rate, self.limits.error_rate_max
        if rate is None:
            return Judgement("errors", None, "warning", "nothing was done yet")
        ok = not self.operations.exceeds(limit)
        return Judgement("errors", ok, "warning", f"{rate:.2%} of the newest operations failed (limit {limit:.2%})")

    def _slowness(self) -> Judgement:
        found, limit = self.latency.to_dict(), self.limits.p95_seconds_max
        p95, bars = found["p95"], found["bars"]
        if p95 is None or bars < LEAST_BARS:
            return Judgement("latency", None, "warning", f"{bars} bars so far")
        what = f"95 of 100 bars take up to {p95 / 1_000:.2f} s from arrival to push (limit {limit:g} s, {bars} bars)"
        return Judgement("latency", p95 / 1_000 <= limit, "warning", what)


def _unknown() -> Mapping[str, Any]:
    return {"seconds": None, "limit": None, "stale": True}


class _Episodes:
    """Which troubles are being told of: one alert when one begins, one when it is over, restarts included."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._open: dict[str, bool] = {}
        self._well: dict[str, int] = {}

    def follow(self, judged: Judgement, controls: Controls) -> list[str]:
        """Store what is to be told of one judgement; return the kinds of alerts that were stored."""
        if judged.ok is None:
            return []
        name = judged.name
        if name not in self._open:
            self._open[name] = self._was_open(name)
        self._well[name] = self._well.get(name, 0) + 1 if judged.ok else 0
        if not judged.ok and not self._open[name]:
            return self._tell(judged, controls, "begins")
        if self._open[name] and self._well[name] >= WELL_LOOKS:
            return self._tell(judged, controls, "over")
        return []

    def _tell(self, judged: Judgement, controls: Controls, episode: str) -> list[str]:
        begins = episode == "begins"
        what = judged.what if begins else f"well again: {judged.what}"
        controls.append_alert(judged.level if begins else "info", KIND + judged.name, what, {"episode": episode})
        self._open[judged.name] = begins
        return [KIND + judged.name]

    def _was_open(self, name: str) -> bool:
        last = newest_alerts(self._records, kind=KIND + name, limit=1)
        return bool(last) and last[0].detail.get("episode") == "begins"
