"""What surrounds a panel's bars: regime, calendars and filings, laid on its rows as known then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from tradewind.decisions.surroundings import CALENDAR, FILINGS, YIELD, Surroundings, asked_for
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.events import EVENT_SOURCES, Agenda, dividend_yield
from tradewind.market.panel import Panel
from tradewind.risk.regimes.result import Regimes
from tradewind.risk.regimes.settings import RegimesSection

NOTES_SHOWN: Final = 5


def market_regimes(panel: Panel, settings: RegimesSection) -> Regimes:
    """Return the regimes of the market that a panel shows, as filtered at each session's close."""
    from tradewind.risk.regimes.observations import observations
    from tradewind.risk.regimes.result import detect

    return detect(observations(panel, settings), settings)


def of_panel(plan: Plan, panel: Panel) -> Surroundings:
    """Return what a panel's own bars say of their surroundings: the regime, where the playbook wants it, and the yield.

    Nothing where bars are longer than a session, in which no regime can be seen.
    """
    if not plan.regimes.use or TIMEFRAMES[panel.timeframe] > TIMEFRAMES["1d"]:
        return Surroundings()
    return with_regimes(Surroundings(dividend_yield=dividend_yield(panel)), panel, market_regimes(panel, plan.regimes))


def with_regimes(around: Surroundings, panel: Panel, regimes: Regimes) -> Surroundings:
    """Return the surroundings with the regime and its multiplier as known at each close of a panel."""
    state = np.asarray(regimes.regime_at(panel.times), dtype=np.int8)
    notes = (*around.notes, *(f"regimes: {note}" for note in regimes.notes))
    return replace(around, regime=state, multiplier=regimes.multiplier_at(panel.times), notes=notes)


def laid_on(workspace: Workspace, panel: Panel, regimes: Regimes | None) -> Surroundings:
    """Return what surrounds a panel's bars, row by row as known at their closes.

    Calendars and filings only where the playbook's decisions look at them, from the source of the bars. What they
    lack is noted.
    """
    around = Surroundings() if regimes is None else with_regimes(Surroundings(), panel, regimes)
    asked = asked_for(workspace.plan.decision)
    if YIELD in asked:
        around = replace(around, dividend_yield=dividend_yield(panel))
    return with_agenda(around, panel, asked, *agenda_of(workspace, panel)) if asked - {YIELD} else around


def with_agenda(
    around: Surroundings, panel: Panel, asked: frozenset[str], agenda: Agenda, notes: tuple[str, ...] = ()
) -> Surroundings:
    """Return the surroundings with what an agenda knew at each bar, as far as it is asked for."""
    around = replace(around, notes=(*around.notes, *notes))
    if CALENDAR in asked:
        around = replace(around, earnings_in=agenda.next_earnings(panel.symbols, panel.times))
    if FILINGS in asked:
        filed = agenda.fundamentals_at(panel.times, panel.symbols)
        multiple = np.where(filed["eps_ttm"] <= 0, np.inf, agenda.price_earnings(panel))
        around = replace(around, price_earnings=np.where(panel.mask, multiple, np.nan), growth=filed["growth"])
    return around


def agenda_of(workspace: Workspace, panel: Panel) -> tuple[Agenda, tuple[str, ...]]:
    """Return what the source of the bars knew of its companies by the last of them, and what there is to say of that.

    A source that needs the network is not asked, so that a result depends on what is stored alone: nothing is known
    then.
    """
    name = workspace.plan.data.source
    if name not in EVENT_SOURCES:
        return Agenda(), (f"the source {name!r} has no calendar and no filings: earnings and fundamentals are unknown",)
    known = EVENT_SOURCES.factory(name)
    if not getattr(known, "offline", False):
        return Agenda(), (f"{name!r} is not asked for earnings and fundamentals of the past: they are unknown",)
    source = EVENT_SOURCES.create(name, **workspace.plan.playbook.source_options)
    found = source.agenda(panel.symbols, _utc(panel.times[-1]))
    tables = {"no dates of earnings": found.events, "no filings": found.fundamentals}
    empty = [what for what, table in tables.items() if table.is_empty()]
    lacking = (f"the source {name!r} has {' and '.join(empty)} of these companies",) if empty else ()
    return found, (*lacking, *_shortened(found.notes))


def _utc(time: np.datetime64) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _shortened(notes: tuple[str, ...]) -> tuple[str, ...]:
    more = (f"{len(notes) - NOTES_SHOWN} more notes of the calendar",) if len(notes) > NOTES_SHOWN else ()
    return (*notes[:NOTES_SHOWN], *more)
