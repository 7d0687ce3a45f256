"""From a plan to its panel: what the lake holds of the plan's universe, as known at a moment."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from tradewind.errors import DataError, InputError
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.membership import DataPin, Members, members_of, refreshed
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.panel import Panel
from tradewind.market.sources.base import Request, check_timeframe
from tradewind.market.universe import tradable

if TYPE_CHECKING:
    from tradewind.market.quality import QualityReport
    from tradewind.market.store.lake import Pin
    from tradewind.market.store.records import Job
    from tradewind.market.sync import SyncReport

FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)

#: A sync without an end asks up to this much before the moment that its job notes as its start, or less.
_A_MOMENT = timedelta(minutes=1)


@dataclass(frozen=True)
class Loaded:
    """A panel with what was dropped on the way and the data's version."""

    panel: Panel
    dropped: dict[str, str]
    pin: DataPin
    notes: tuple[str, ...]


def smaller_bars(workspace: Workspace) -> Workspace:
    """Return the workspace with a bar size that its source serves: the plan's own, else the largest that adds up to it.

    Raises ``InputError`` where the source has no bars as small as the plan's.
    """
    plan, served = workspace.plan, workspace.source.look_back()
    wanted = plan.data.timeframe
    if wanted in served:
        return workspace
    fitting = [tf for tf in served if _adds_up(tf, wanted)]
    if not fitting:
        check_timeframe(workspace.source, wanted)
    largest = max(fitting, key=lambda tf: TIMEFRAMES[tf])
    return replace(workspace, plan=replace(plan, data=plan.data.model_copy(update={"timeframe": largest})))


def _adds_up(small: str, large: str) -> bool:
    a, b = TIMEFRAMES[small], TIMEFRAMES[large]
    return a < b and (b >= TIMEFRAMES["1d"] or b % a == 0)


def wanted_symbols(workspace: Workspace, members: Members | None = None) -> tuple[str, ...]:
    """Return the plan's symbols: those it names, else all members, else all that its source can list.

    Context series are excluded. ``members`` as by :func:`members_of` of this moment when None.
    """
    plan = workspace.plan
    check_timeframe(workspace.source, plan.data.timeframe)
    listed = tradable(workspace.source.symbols(plan.data.timeframe))
    symbols = tuple(plan.universe.symbols) or _ever_members(workspace, members or members_of(workspace)) or listed
    if not symbols:
        raise DataError(
            f"the universe is empty: the playbook names no symbols and {workspace.source.name!r} cannot list any",
            hint="set universe.symbols in the playbook",
        )
    return symbols


def _ever_members(workspace: Workspace, members: Members) -> tuple[str, ...]:
    """Return everybody who was a member at any time of the plan's period; empty where nothing says who."""
    data = workspace.plan.data
    return members.ever(data.start or FIRST_DAY, data.end or workspace.clock.now())


def synchronise(workspace: Workspace, progress: Progress = silent, *, dry_run: bool = False) -> SyncReport:
    """Bring index members and lake up to date with the plan's sources; idempotent, goes on after an interruption."""
    from tradewind.market.sync import sync

    plan = workspace.plan
    members, read = refreshed(workspace, dry_run=dry_run)
    request = Request(
        symbols=(*wanted_symbols(workspace, members), *_served_context(workspace)),
        timeframe=plan.data.timeframe,
        start=plan.data.start or FIRST_DAY,
        end=plan.data.end or workspace.clock.now(),
    )
    report = sync(
        workspace.lake,
        workspace.records,
        workspace.source,
        request,
        progress=lambda done, total: progress("load", done, total),
        clock=workspace.clock,
        dry_run=dry_run,
    )
    return report if read is None else replace(report, members=read)


def synchronise_all(
    workspace: Workspace, progress: Progress = silent, *, dry_run: bool = False
) -> tuple[dict[str, SyncReport], dict[str, str]]:
    """Synchronise every timeframe of a playbook, once for those with the same bars, and say why some have none.

    One without a name where the playbook has no timeframes. Raises ``DataError`` where the source serves none of them.
    """
    places = {name: replace(workspace, plan=plan) for name, plan in workspace.plan.timeframes.items()}
    made: dict[str, SyncReport] = {}
    reports: dict[str, SyncReport] = {}
    unavailable: dict[str, str] = {}
    for name, place in (places or {"": workspace}).items():
        try:
            small = smaller_bars(place)
        except InputError as error:
            if not places:
                raise
            unavailable[name] = error.what
            continue
        bars = small.plan.data.model_dump_json()
        if bars not in made:
            made[bars] = synchronise(small, progress, dry_run=dry_run)
        reports[name] = made[bars]
    if not reports:
        said = "; ".join(f"{name}: {why}" for name, why in unavailable.items())
        raise DataError(f"the source serves no timeframe of the playbook: {said}", hint="change [timeframes]")
    return reports, unavailable


def _served_context(workspace: Workspace) -> tuple[str, ...]:
    data, served = workspace.plan.data, set(workspace.source.symbols(workspace.plan.data.timeframe))
    return tuple(s for s in data.context.values() if not served or s in served)


def load(workspace: Workspace, *, as_of: datetime | None = None, pin: Pin | None = None) -> Loaded:
    """Return the plan's panel as known at ``as_of`` and as the store held it at ``pin`` (default: now).

    Raises ``DataError`` when the lake holds nothing of the universe, with the command that mends it.
    """
    from tradewind.market.load import load_panel

    plan = workspace.plan
    members = members_of(workspace, as_of=as_of, pin=pin)
    symbols = wanted_symbols(workspace, members)
    said = _said_by_sync(workspace, symbols, as_of) if pin is None else getattr(pin, "notes", ())
    pinned = DataPin.of(pin or workspace.lake.pin(), members.pin(), said)
    panel, report = load_panel(
        workspace.lake,
        symbols=symbols,
        timeframe=plan.data.timeframe,
        start=plan.data.start,
        end=plan.data.end,
        as_of=as_of,
        pin=pinned,
        context=dict(plan.data.context),
        membership=members.mask,
        sectors=dict(workspace.source.sectors()),
        flags=_flags(workspace),
    )
    panel, warnings = members.judged(panel)
    context = ", ".join(report.missing_context)
    missing = [f"context series without data: {context}; what needs them is missing"] if context else []
    dropped = _dropped(report.dropped)
    excluded = [f"{report.excluded:,} bars are unfit for use and left out"] if report.excluded else []
    restricted = plan.universe.restrict(_filled(panel, plan.data.fill_forward_max_bars))
    if not (restricted.member & restricted.mask).any():
        raise DataError(
            f"the universe is empty: none of {len(panel.symbols)} symbols ever passes the filters of [universe]",
            hint="widen universe.tiers, universe.min_dollar_volume or the membership file",
        )
    return Loaded(
        restricted, dict(report.dropped), pinned, (*warnings, *said, *missing, *dropped, *excluded, *_endings(panel))
    )


def require_symbol(panel: Panel, symbol: str) -> None:
    """Raise ``InputError``, with the nearest one, for a symbol that a panel does not have."""
    if symbol in panel.symbols:
        return
    more = " …" * (len(panel.symbols) > 20)
    near = difflib.get_close_matches(symbol.upper(), panel.symbols, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    held = f"it has {', '.join(panel.symbols[:20])}{more}"
    raise InputError(f"{symbol!r} is not in this universe", hint=meant + held)


def _endings(panel: Panel, bars: int = 20) -> list[str]:
    """Say which symbols end more than so many bars before the panel does."""
    last = len(panel) - 1 - np.argmax(panel.mask[::-1], axis=0)
    ended = [f"{panel.symbols[n]} ({str(panel.times[last[n]])[:10]})" for n in np.flatnonzero(last < len(panel) - bars)]
    if not ended:
        return []
    more = f" and {len(ended) - 5} more" if len(ended) > 5 else ""
    return [f"symbols that end before the data do (last bar): {', '.join(ended[:5])}{more}"]


def _dropped(reasons: Mapping[str, str]) -> list[str]:
    """Say who was dropped, in one line for each reason."""
    together: dict[str, list[str]] = {}
    for symbol, why in reasons.items():
        together.setdefault(why, []).append(symbol)
    return [f"{', '.join(who)} {'was' if len(who) == 1 else 'were'} dropped: {why}" for why, who in together.items()]


def _filled(panel: Panel, max_bars: int) -> Panel:
    if not max_bars:
        return panel
    from tradewind.market.quality import fill_panel

    return fill_panel(panel, max_bars)[0]


def load_or_sync(
    workspace: Workspace, progress: Progress = silent, *, as_of: datetime | None = None, pin: Pin | None = None
) -> Loaded:
    """Load the panel; a source that needs no network is synced first where it was not yet asked for all of it.

    Bars that the source does not have are made of its smaller ones. Raises ``DataError`` where a source that needs the
    network was asked for less than the plan's period.
    """
    return in_its_bars(workspace, _load_or_sync(smaller_bars(workspace), progress, as_of, pin))


def in_its_bars(workspace: Workspace, loaded: Loaded) -> Loaded:
    """Return bars of the size that a plan asks for, made of smaller ones where these are not."""
    wanted = workspace.plan.data.timeframe
    if loaded.panel.timeframe == wanted:
        return loaded
    from tradewind.market.aggregate import aggregate

    said = f"{wanted} bars are made of the source's {loaded.panel.timeframe} bars"
    return replace(loaded, panel=aggregate(loaded.panel, wanted), notes=(*loaded.notes, said))


def _load_or_sync(workspace: Workspace, progress: Progress, as_of: datetime | None, pin: Pin | None) -> Loaded:
    if pin is None and workspace.source.offline:
        if lacking(workspace):
            synchronise(workspace, progress)
        try:
            return load(workspace, as_of=as_of)
        except DataError:
            synchronise(workspace, progress)
    elif pin is None and (less := _asked_for_less(workspace)):
        raise DataError(less, hint="run `tradewind sync` for this playbook, or narrow data.start and data.end")
    return load(workspace, as_of=as_of, pin=pin)


def lacking(workspace: Workspace) -> tuple[str, ...]:
    """Return the symbols and context series that the source serves and was never asked for over the plan's period."""
    plan = workspace.plan
    if plan.universe.index and not workspace.records.index_snapshots(plan.universe.index):
        return (plan.universe.index,)
    served = set(workspace.source.symbols(plan.data.timeframe))
    wanted = served & {*wanted_symbols(workspace), *plan.data.context.values()}
    return _not_asked_for(workspace, wanted)


def _not_asked_for(workspace: Workspace, wanted: set[str]) -> tuple[str, ...]:
    start, end = workspace.plan.data.start or FIRST_DAY, workspace.plan.data.end
    for job in _syncs(workspace):
        if job.covers(start, end):
            wanted = wanted - workspace.records.finished_items(job.job)
    return tuple(sorted(wanted))


def _asked_for_less(workspace: Workspace) -> str:
    """Say for which of the symbols that were synced once the plan's period was not; empty when all is well."""
    once = {item for job in _syncs(workspace) for item in workspace.records.finished_items(job.job)}
    symbols = _not_asked_for(workspace, once & set(wanted_symbols(workspace))) if once else ()
    if not symbols:
        return ""
    data = workspace.plan.data
    period = f"{data.start or 'the beginning'} to {data.end or 'now'}"
    return (
        f"{len(symbols)} symbols ({', '.join(symbols[:5])}) were synced over less than the playbook's period, {period}"
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A finished sync: from when to when it asked, and whether that was up to its own present."""

    job: Job
    since: datetime
    until: datetime

    def covers(self, start: datetime, end: datetime | None) -> bool:
        """Return whether it asked for all from ``start`` to ``end`` (None: whatever there is)."""
        to_present = self.until >= self.job.started - _A_MOMENT
        return self.since <= start and (to_present if end is None else end <= self.until)


def _syncs(workspace: Workspace) -> list[_Asked]:
    """Return the finished syncs of the plan's source and bar size into its lake."""
    from tradewind.market.sync import source_content, source_tag

    jobs = [j for j in workspace.records.jobs("sync") if j.status == "done"]
    if not jobs:
        return []
    same = {
        "source": source_tag(workspace.source),
        "timeframe": workspace.plan.data.timeframe,
        "lake": workspace.lake.identity(),
        "content": source_content(workspace.source),
    }
    found = []
    for job in jobs:
        if all(job.detail.get(key, "") == value for key, value in same.items()):
            start, end = (datetime.fromisoformat(job.detail[key]) for key in ("start", "end"))
            found.append(_Asked(job, start, end))
    return found


def check_data(workspace: Workspace) -> QualityReport:
    """Check the stored bars of the plan's universe and context, or those that they are made of; nothing is changed."""
    from tradewind.market.quality import report

    workspace = smaller_bars(workspace)
    plan, lake = workspace.plan, workspace.lake
    symbols = [*wanted_symbols(workspace), *plan.data.context.values()]
    bars = lake.read_bars(symbols, plan.data.timeframe, plan.data.start, plan.data.end)
    if bars.is_empty():
        if not workspace.source.offline:
            raise DataError("the lake holds no bars of this playbook", hint="run `tradewind sync` first")
        synchronise(workspace)
        bars = lake.read_bars(symbols, plan.data.timeframe, plan.data.start, plan.data.end)
    if bars.is_empty():
        raise DataError(
            f"the source has no bars of {', '.join(symbols[:5])} in the playbook's period",
            hint="correct universe.symbols, or widen data.start and data.end",
        )
    return report(bars, lake.read_actions(symbols), timeframe=plan.data.timeframe)


#: At most so many notes of a sync stand beside a result.
_NOTES_SHOWN = 10


def _said_by_sync(workspace: Workspace, symbols: tuple[str, ...], as_of: datetime | None) -> tuple[str, ...]:
    """Return what the newest finished sync of any of the symbols over the plan's period had to say, by the records.

    Nothing as of an earlier moment: the notes are about all the rows of the source, later ones too.
    """
    start, end = workspace.plan.data.start or FIRST_DAY, workspace.plan.data.end
    if as_of is not None:
        return ()
    jobs = (asked.job for asked in _syncs(workspace) if asked.covers(start, end))
    job = next((job for job in jobs if not workspace.records.finished_items(job).isdisjoint(symbols)), None)
    if job is None:
        return ()
    notes = [f"sync: {note}" for note in job.detail.get("notes", ())]
    more = [f"sync: {len(notes) - _NOTES_SHOWN} more notes, said by `tradewind sync`"] * (len(notes) > _NOTES_SHOWN)
    return (*notes[:_NOTES_SHOWN], *more)


def _flags(workspace: Workspace) -> tuple[str, ...]:
    flags = []
    if workspace.source.survivorship_biased:
        flags.append("survivorship")
    if workspace.plan.universe.hindsight:
        flags.append("selection")
    return tuple(flags)
