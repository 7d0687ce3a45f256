"""The chapters on the account, its risk, its benchmarks and its regimes: shown where there is something to show."""

from __future__ import annotations

import copy
import io
import re
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from spine_kit import QuickRun, retold
from tradewind.cli.show import show_result
from tradewind.evaluation.backtest import TrackRecord
from tradewind.evaluation.book_risk import along, held_risk
from tradewind.evaluation.report.page import CHAPTERS, page
from tradewind.evaluation.report.sections.account import account
from tradewind.evaluation.report.sections.attribution import attribution, balance
from tradewind.evaluation.report.sections.benchmarks import benchmarks
from tradewind.evaluation.report.sections.book_risk import alerts, book_risk, limits
from tradewind.evaluation.report.sections.positions import SHOWN, closed, decisions, positions
from tradewind.risk.var_tests import hits


def text(markup: str) -> str:
    """The text of a well-formed piece of the page; raises where a tag is left open."""
    return "".join(ElementTree.fromstring(f"<all>{markup.replace('&middot;', '·')}</all>").itertext())


def links(html: str) -> list[str]:
    navigation = html[html.index("<nav") : html.index("</nav>")]
    return re.findall(r'href="#(\w+)"', navigation)


def with_result(record: TrackRecord, **parts: Any) -> TrackRecord:
    return replace(record, result={**copy.deepcopy(record.result), **parts})


def test_every_chapter_of_an_account_on_two_timeframes_is_there_in_order(framed: QuickRun) -> None:
    html = page(framed.record)
    assert links(html) == list(CHAPTERS)
    places = [html.index(f'id="{name}"') for name in CHAPTERS]
    assert places == sorted(places)
    assert len(html.encode()) < 1_500_000
    assert not re.search(r"@import|url\(|https?:", html)


def test_what_has_nothing_to_show_is_neither_on_the_page_nor_in_its_navigation(quick: QuickRun) -> None:
    html = page(quick.record)
    assert "regimes" not in links(html) and 'id="regimes"' not in html
    assert "Timeframes" not in html, "one timeframe shares with nobody"
    idle = with_result(quick.record, limits={}, alerts={"counts": {}, "newest": []})
    trading = idle.tradings["base"]
    nothing = replace(trading.simulation, records=type(trading.simulation.records)(np.empty((0, 14))))
    flat = replace(idle.simulations["base"], shares=np.zeros_like(idle.simulations["base"].shares))
    empty = replace(
        idle, tradings={**idle.tradings, "base": replace(trading, simulation=nothing)}, simulations={"base": flat}
    )
    assert account(empty) is None and book_risk(empty) is None


def test_each_position_says_who_asked_for_it_and_what_bound_it(framed: QuickRun) -> None:
    found = framed.record.result["positions"]
    said = text(positions(found))
    for row in found:
        assert row["symbol"] in said and f"{row['asked_by']['confidence'] * 100:.0f}" in said
        assert row["asked_by"]["model"].replace("_", " ") in said
    bound = {row["bound_by"] for row in found} - {None}
    assert bound and all(name.replace("_", " ") in said for name in bound)
    assert "risk per trade" in said and "stop" in said


def test_many_positions_are_folded_and_none_says_so(framed: QuickRun) -> None:
    found = framed.record.result["positions"]
    many = (found * 20)[: 2 * SHOWN + 3]
    html = positions(many)
    assert f"{len(many) - SHOWN} more" in text(html) and html.count("<tr") == len(many) + 2
    assert "nothing is held" in text(positions([]))
    assert "nothing was ever wished" in text(decisions([]))
    assert closed([]) is None and "closed lately" in text(closed(framed.record.result["closed_positions"]) or "")


def test_a_decision_that_no_forecast_asked_for_says_why(framed: QuickRun) -> None:
    row = {**framed.record.result["decisions"][0], "asked_by": None, "why": "prices carried it", "wished": None}
    assert "prices carried it" in text(decisions([row])) and "no wish" in decisions([row])


def test_timeframes_that_could_not_be_walked_stand_there_with_their_reason(framed: QuickRun) -> None:
    frames = {**framed.record.result["timeframes"], "scalper": {"available": False, "why": "no 5m bars at all"}}
    assert "no 5m bars at all" in text(account(with_result(framed.record, timeframes=frames)) or "")


def test_bars_reach_to_the_side_of_their_sign_and_as_far_as_their_share() -> None:
    html = balance({"gain": 300.0, "loss": -100.0, "nothing": 0.0})
    spans = [(float(a), float(b)) for a, b in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", html)]
    assert spans == [(25.0, 75.0), (0.0, 25.0), (25.0, 0.0)]
    assert "300" in text(html) and "−100" in text(html)


def test_splits_that_say_no_more_than_the_total_are_left_out(quick: QuickRun, framed: QuickRun) -> None:
    alone, several = (text(attribution(run.record.result["attribution"])) for run in (quick, framed))
    assert "By timeframe" in several and "By model" in several
    assert "By timeframe" not in alone and "By factor" in alone and "By cost" in alone


def test_benchmarks_that_the_data_lack_are_named(quick: QuickRun) -> None:
    said = text(benchmarks(quick.record.result))
    assert "Not compared" in said and "nasdaq" in said and "All names alike" in said


def test_a_book_that_never_moved_still_has_its_benchmarks(quick: QuickRun) -> None:
    record = quick.record
    found = copy.deepcopy(record.result["benchmarks"])
    for row in found["against"].values():
        for name in ("excess", "alpha", "sharpe_difference"):
            row[name] = {"value": None, "ci": [None, None], "p": None}
        row |= {"beta": None, "sharpe": None, "verdict": "cannot tell"}
    assert "cannot tell" in text(benchmarks({**record.result, "benchmarks": found}))


def test_value_at_risk_is_drawn_beside_the_results_that_it_was_judged_by(framed: QuickRun) -> None:
    record = framed.record
    found = along(framed.workspace.plan.risk, record.world, record.simulations["base"], record.start)
    assert len(found.times) == len(found.returns) == len(found.var)
    exceptions = int(np.nansum(hits(-found.returns, found.var)))
    assert exceptions == record.result["var"]["exceptions"]
    assert f"{exceptions} exceptions" in text(book_risk(record) or "")


def test_what_is_held_is_shown_name_by_name_the_heaviest_first(framed: QuickRun) -> None:
    record = framed.record
    held = held_risk(framed.workspace.plan.risk, record.world, record.simulations["base"])
    assert set(held.symbols) == {row["symbol"] for row in record.result["positions"]}
    assert list(held.measures["weight %"]) == sorted(held.measures["weight %"], reverse=True)
    assert all(np.isfinite(values).all() for values in held.measures.values())
    assert all(sum(shares.values()) == pytest.approx(1.0) for shares in held.shares.values())


def test_limits_and_alerts_say_how_often_and_what_followed(framed: QuickRun) -> None:
    said = text(limits(framed.record.result["limits"]))
    assert "net max" in said and f"{framed.record.result['limits']['net_max']['times_bound']:,}" in said
    assert "no limit is in force" in text(limits({}))
    row = {"time": "2020-01-01T21:00:00Z", "level": "critical", "kind": "drawdown_max", "what": "lost 10 %: halt"}
    told = text(alerts({"counts": {"drawdown_max": 40}, "newest": [row] * 30}))
    assert "critical" in told and "The last 10 of 40" in told
    assert "there was none" in text(alerts({"counts": {}, "newest": []}))


def test_a_book_told_on_other_names_has_no_pictures_of_its_names(framed: QuickRun) -> None:
    record = framed.record
    panel = record.world.panel
    narrow = replace(record.world, panel=replace(panel, symbols=panel.symbols[:1], instruments=panel.instruments[:1],
                     sectors=panel.sectors[:1], mask=panel.mask[:, :1], member=panel.member[:, :1],
                     fields={name: values[:, :1] for name, values in panel.fields.items()}))  # fmt: skip
    told = text(book_risk(retold(record, decision=replace(record.decision, world=narrow))) or "")
    assert "Limits in force" in told and "Risk by name" not in told


def test_the_terminal_shows_positions_timeframes_benchmarks_and_where_profit_came_from(framed: QuickRun) -> None:
    stream = io.StringIO()
    with redirect_stdout(stream):
        show_result(framed.record.result)
    said = stream.getvalue()
    for title in ("Book less benchmark", "Timeframes of the account", "Open positions", "Where the profit came from"):
        assert title in said
    assert "net_max" in said and "selection" in said and "ensemble" in said
