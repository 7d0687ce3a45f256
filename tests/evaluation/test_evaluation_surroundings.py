"""Calendars and filings on the rows of a panel: only where they are asked for, as known at each close."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl

from spine_kit import panel as flat_panel
from spine_kit import system, workspace
from tradewind.decisions.settings import DecisionSection
from tradewind.decisions.surroundings import CALENDAR, FILINGS, YIELD, Surroundings, asked_for
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.surroundings import agenda_of, laid_on, with_agenda
from tradewind.evaluation.workspace import Workspace
from tradewind.market.events import EVENT_SCHEMA, FUNDAMENTAL_SCHEMA, Agenda, event_rows
from tradewind.playbook import load

BOTH = frozenset({CALENDAR, FILINGS})


def known(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T21:00:00+00:00")


def filings(*rows: tuple[str, float, float]) -> pl.DataFrame:
    columns = {
        "symbol": ["S0"] * len(rows),
        "period": [known(day).date() for day, *_ in rows],
        "eps_ttm": [eps for _, eps, _ in rows],
        "growth": [growth for *_, growth in rows],
        "known_at": [known(day) for day, *_ in rows],
    }
    return event_rows(columns, FUNDAMENTAL_SCHEMA)


def test_decisions_ask_for_what_their_settings_look_at_and_nothing_else() -> None:
    assert asked_for(DecisionSection()) == frozenset()
    assert asked_for(DecisionSection(earnings_sessions=3)) == {CALENDAR}
    assert asked_for(DecisionSection(growth_min=0.0)) == asked_for(DecisionSection(price_earnings_max=9)) == {FILINGS}
    assert asked_for(DecisionSection(selection="regime")) == {YIELD}


def test_a_loss_is_infinitely_dear_and_a_filing_is_not_known_before_it_came() -> None:
    panel = flat_panel(np.full((12, 2), 60.0))
    agenda = Agenda(fundamentals=filings(("2015-01-07", 3.0, 0.2), ("2015-01-12", -1.0, -0.5)))
    seen = with_agenda(Surroundings(), panel, BOTH, agenda)
    assert seen.price_earnings is not None and seen.growth is not None
    np.testing.assert_array_equal(seen.price_earnings[:, 0], [np.nan] * 2 + [20.0] * 5 + [np.inf] * 5)
    np.testing.assert_array_equal(seen.growth[:, 0], [np.nan] * 2 + [0.2] * 5 + [-0.5] * 5)
    assert np.isnan(seen.price_earnings[:, 1]).all(), "of whom nothing was filed nothing is known"


def test_earnings_are_counted_to_the_open_that_shows_them() -> None:
    panel = flat_panel(np.full((5, 1), 60.0))  # Monday to Friday
    columns = {
        "symbol": ["S0"],
        "kind": ["earnings"],
        "event": ["Q4"],
        "date": [date(2015, 1, 8)],
        "hour": ["bmo"],
        "state": ["scheduled"],
        "known_at": [known("2015-01-06")],
    }
    seen = with_agenda(Surroundings(), panel, BOTH, Agenda(event_rows(columns, EVENT_SCHEMA)))
    assert seen.earnings_in is not None
    np.testing.assert_array_equal(seen.earnings_in[:, 0], [np.nan, 2, 1, np.nan, np.nan])


def test_the_synthetic_market_is_asked_where_the_playbook_looks_and_a_later_end_changes_no_row(tmp_path: Path) -> None:
    def around(end: str, **more: object) -> tuple[Surroundings, int]:
        flags = {
            "source.synthetic.options.n_symbols": 5,
            "data.start": "2018-01-02",
            "data.end": end,
            "data.context": {},
        }
        plan = Plan.of(load("sample", source="synthetic", overrides={**flags, **more}))
        place = Workspace(plan, tmp_path)
        panel = load_or_sync(place).panel
        return laid_on(place, panel, None), len(panel)

    asks = {"decision.earnings_sessions": 3, "decision.price_earnings_max": 20.0, "decision.selection": "regime"}
    whole, _ = around("2019-12-31", **asks)
    part, rows = around("2019-05-31", **asks)
    for name in ("earnings_in", "price_earnings", "growth", "dividend_yield"):
        values = getattr(whole, name)
        assert np.isfinite(values).any(), name
        np.testing.assert_array_equal(values[:rows], getattr(part, name), err_msg=name)
    nothing, _ = around("2019-05-31")
    assert nothing.earnings_in is None and nothing.price_earnings is None and nothing.dividend_yield is None


def test_files_without_a_calendar_say_so(tmp_path: Path) -> None:
    place = workspace(system(tmp_path), tmp_path / "home", decision__earnings_sessions=3)
    panel = load_or_sync(place).panel
    seen = laid_on(place, panel, None)
    assert seen.earnings_in is not None and np.isnan(seen.earnings_in).all()
    assert seen.notes == ("the source 'files' has no dates of earnings and no filings of these companies",)


def test_a_source_that_needs_the_network_is_not_asked_of_the_past(tmp_path: Path) -> None:
    plan = Plan.of(load("sample", source="yahoo", overrides={"decision.earnings_sessions": 3}))
    agenda, notes = agenda_of(Workspace(plan, tmp_path), flat_panel(np.full((3, 1), 60.0)))
    assert agenda.events.is_empty() and "'yahoo' is not asked" in notes[0]
