"""From a plan to its panel: what the lake holds of the plan's universe, as known at a moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradewind.errors import DataError
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.workspace import Workspace
from tradewind.market.panel import BoolArray, Panel, TimeArray
from tradewind.market.sources.base import Request, check_timeframe
from tradewind.market.universe import ever_members, member_mask, read_membership, tradable

if TYPE_CHECKING:
    import polars as pl

    from tradewind.market.quality import QualityReport
    from tradewind.market.store.lake import Pin
    from tradewind.market.sync import SyncReport

FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Loaded:
    """A panel with what was dropped on the way and the data's version."""

    panel: Panel
    dropped: dict[str, str]
    pin: Pin
    notes: tuple[str, ...]


def wanted_symbols(workspace: Workspace) -> tuple[str, ...]:
    """Return the plan's symbols: those it names, else all that its source can list, context series excluded."""
    plan = workspace.plan
    check_timeframe(workspace.source, plan.data.timeframe)
    listed = tradable(workspace.source.symbols(plan.data.timeframe))
    symbols = tuple(plan.universe.symbols) or _ever_members(workspace) or listed
    if not symbols:
        raise DataError(
            f"the universe is empty: the playbook names no symbols and {workspace.source.name!r} cannot list any",
            hint="set universe.symbols in the playbook",
        )
    return symbols


def _ever_members(workspace: Workspace) -> tuple[str, ...]:
    """Return everybody who was a member at any time of the plan's period; empty without a membership file."""
    plan, table = workspace.plan, _membership_table(workspace)
    if table is None:
        return ()
    end = plan.data.end or workspace.clock.now()
    return ever_members(table, (plan.data.start or FIRST_DAY).date(), end.date())


def _membership_table(workspace: Workspace) -> pl.DataFrame | None:
    """Return the membership intervals of the playbook's file, else of the source, None where nobody has any."""
    path = workspace.plan.universe.membership_path
    return workspace.source.membership() if path is None else read_membership(Path(path).expanduser())


def _membership(workspace: Workspace) -> Callable[[TimeArray, tuple[str, ...]], BoolArray] | None:
    table = _membership_table(workspace)
    return None if table is None else lambda times, symbols: member_mask(table, symbols, times)


def synchronise(workspace: Workspace, progress: Progress = silent, *, dry_run: bool = False) -> SyncReport:
    """Bring the lake up to date with the plan's source; idempotent, and goes on after an interruption."""
    from tradewind.market.sync import sync

    plan = workspace.plan
    served = set(workspace.source.symbols(plan.data.timeframe))
    context = tuple(s for s in plan.data.context.values() if not served or s in served)
    request = Request(
        symbols=(*wanted_symbols(workspace), *context),
        timeframe=plan.data.timeframe,
        start=plan.data.start or FIRST_DAY,
        end=plan.data.end or workspace.clock.now(),
    )
    return sync(
        workspace.lake,
        workspace.records,
        workspace.source,
        request,
        progress=lambda done, total: progress("load", done, total),
        clock=workspace.clock,
        dry_run=dry_run,
    )


def load(workspace: Workspace, *, as_of: datetime | None = None, pin: Pin | None = None) -> Loaded:
    """Return the plan's panel as known at ``as_of`` and as the store held it at ``pin`` (default: now).

    Raises ``DataError`` when the lake holds nothing of the universe, with the command that mends it.
    """
    from tradewind.market.load import load_panel

    plan = workspace.plan
    pinned = pin or workspace.lake.pin()
    panel, report = load_panel(
        workspace.lake,
        symbols=wanted_symbols(workspace),
        timeframe=plan.data.timeframe,
        start=plan.data.start,
        end=plan.data.end,
        as_of=as_of,
        pin=pinned,
        context=dict(plan.data.context),
        membership=_membership(workspace),
        sectors=dict(workspace.source.sectors()),
        flags=_flags(workspace),
    )
    missing = [f"context series {name!r} has no data: what needs it is missing" for name in report.missing_context]
    dropped = [f"{symbol} was dropped: {reason}" for symbol, reason in report.dropped.items()]
    excluded = [f"{report.excluded:,} bars are unfit for use and left out"] if report.excluded else []
    restricted = plan.universe.restrict(_filled(panel, plan.data.fill_forward_max_bars))
    if not (restricted.member & restricted.mask).any():
        raise DataError(
            f"the universe is empty: none of {len(panel.symbols)} symbols ever passes the filters of [universe]",
            hint="widen universe.tiers, universe.min_dollar_volume or the membership file",
        )
    return Loaded(restricted, dict(report.dropped), pinned, (*missing, *dropped, *excluded, *_endings(panel)))


def _endings(panel: Panel, bars: int = 20) -> list[str]:
    """Say which symbols end more than so many bars before the panel does."""
    last = len(panel) - 1 - np.argmax(panel.mask[::-1], axis=0)
    ended = [f"{panel.symbols[n]} ({str(panel.times[last[n]])[:10]})" for n in np.flatnonzero(last < len(panel) - bars)]
    if not ended:
        return []
    more = f" and {len(ended) - 5} more" if len(ended) > 5 else ""
    return [f"symbols that end before the data do (last bar): {', '.join(ended[:5])}{more}"]


def _filled(panel: Panel, max_bars: int) -> Panel:
    if not max_bars:
        return panel
    from tradewind.market.quality import fill_panel

    return fill_panel(panel, max_bars)[0]


def load_or_sync(
    workspace: Workspace, progress: Progress = silent, *, as_of: datetime | None = None, pin: Pin | None = None
) -> Loaded:
    """Load the panel; a source that needs no network is synced first where something it serves was never stored."""
    may_sync = workspace.source.offline and pin is None
    if not (may_sync and _never_stored(workspace)):
        try:
            return load(workspace, as_of=as_of, pin=pin)
        except DataError:
            if not may_sync:
                raise
    synchronise(workspace, progress)
    return load(workspace, as_of=as_of)


def _never_stored(workspace: Workspace) -> bool:
    """Return whether the lake lacks a symbol or a context series that the source serves."""
    plan = workspace.plan
    served = set(workspace.source.symbols(plan.data.timeframe))
    wanted = served & {*wanted_symbols(workspace), *plan.data.context.values()}
    known, moment = workspace.lake.instruments(), plan.data.end or workspace.clock.now()
    return any(known.id_of(symbol, moment) is None for symbol in wanted)


def check_data(workspace: Workspace) -> QualityReport:
    """Check the stored bars of the plan's universe and context; nothing is changed."""
    from tradewind.market.quality import report

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


def _flags(workspace: Workspace) -> tuple[str, ...]:
    flags = []
    if workspace.source.survivorship_biased:
        flags.append("survivorship")
    if workspace.plan.universe.hindsight:
        flags.append("selection")
    return tuple(flags)
