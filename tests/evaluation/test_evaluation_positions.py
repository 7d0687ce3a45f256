"""Every open position names the forecast that asked for it, the steps that sized it and the limit that bound it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from spine_kit import QuickRun
from tradewind.evaluation.account import Clock
from tradewind.evaluation.backtest import clean
from tradewind.evaluation.positions import (
    DRIFT,
    TABLE,
    Explainer,
    closed_positions,
    last_decisions,
    positions,
    positions_table,
)
from tradewind.execution.desk import REASONS
from tradewind.execution.trading import Trading


def laid(run: QuickRun) -> tuple[Clock, Trading]:
    return Clock.of([one.wanted for one in run.record.walked.sleeves]), run.record.tradings["base"]


@pytest.fixture(params=["framed", "quick"])
def run(request: pytest.FixtureRequest) -> QuickRun:
    return request.getfixturevalue(request.param)


def test_what_is_held_is_what_is_explained(run: QuickRun) -> None:
    found, simulation = run.record.result["positions"], run.record.tradings["base"].simulation
    assert len(found) == int(np.count_nonzero(simulation.shares[-1])) > 0
    held = simulation.long_value[-1] - simulation.short_value[-1]
    assert sum(one["value"] for one in found) == pytest.approx(held, abs=0.01)
    assert sum(one["weight"] for one in found) == pytest.approx(held / simulation.equity[-1])
    assert sum(one["profit"] for one in found) == pytest.approx(simulation.open_trades["pnl"].sum(), abs=0.01)
    assert [abs(one["value"]) for one in found] == sorted((abs(one["value"]) for one in found), reverse=True)
    json.dumps(clean(found), allow_nan=False)


def test_the_forecast_that_asked_is_the_one_of_the_close_before_the_entry(run: QuickRun) -> None:
    sleeves = {one.name or "all": one for one in run.record.walked.sleeves}
    for one in run.record.result["positions"]:
        asked, sleeve = one["asked_by"], sleeves[one["timeframe"]]
        panel, signals = sleeve.world.panel, sleeve.decision.signals
        row = int(np.searchsorted(panel.times, np.datetime64(asked["decided_at"][:-1])))
        assert str(panel.times[row])[:19] == asked["decided_at"][:19] and asked["decided_at"] < one["entered"]
        column = panel.symbols.index(one["symbol"])
        assert asked["confidence"] == pytest.approx(float(signals.confidence[row, column]), abs=1e-6)
        median = sleeve.decision.belief.median(asked["horizon_bars"])[row, column]
        assert asked["median"] == pytest.approx(math.expm1(median), abs=1e-6)
        assert asked["interval_80"][0] < asked["median"] < asked["interval_80"][1]
        assert asked["model"] == sleeve.plan.models.use
        assert ("members" in asked) is (sleeve.combined is not None)


def test_the_steps_lead_from_the_first_size_to_what_was_wished_and_the_limits_to_what_was_sent(run: QuickRun) -> None:
    sleeves = {one.name or "all": one for one in run.record.walked.sleeves}
    for one in run.record.result["positions"]:
        path = list(one["sized_by"].values())
        assert next(iter(one["sized_by"])) == "risk_per_trade"
        assert all(abs(later) <= abs(earlier) + 1e-12 for earlier, later in pairwise(path))
        sleeve = sleeves[one["timeframe"]]
        assert list(one["sized_by"]) == list(sleeve.decision.targets.steps)
        share = 1.0 if one["timeframe"] == "all" else one["wished"] / path[-1]
        assert 0 < share <= 1 and one["wished"] == pytest.approx(path[-1] * share, abs=1e-6)
        assert abs(one["sent"]) <= abs(one["wished"]) + 1e-9
        assert (one["bound_by"] is None) or one["bound_by"] in REASONS
        if one["sent"] < one["wished"] - 1e-6:
            assert one["bound_by"] is not None and one["bound_since"][one["bound_by"]] >= 1


def test_levels_and_entries_are_the_books(run: QuickRun) -> None:
    table = run.record.tradings["base"].simulation.positions_at_end
    levels = {row["symbol"]: row for row in table.iter_rows(named=True)}
    for one in run.record.result["positions"]:
        own = levels[one["symbol"] if one["timeframe"] == "all" else f"{one['symbol']}@{one['timeframe']}"]
        assert one["stop"] == pytest.approx(own["stop"], abs=1e-6) and one["stop"] < one["entry_price"]
        assert one["entry_price"] == pytest.approx(own["entry_price"], abs=1e-6)


def test_the_newest_decisions_come_first_and_say_what_became_of_them(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    found = last_decisions(framed.record.walked, trading, clock, most=25)
    assert len(found) == 25
    assert [one["time"] for one in found] == sorted((one["time"] for one in found), reverse=True)
    assert {one["bound_by"] for one in found} - {None} <= set(REASONS)
    for one in found:
        assert one["asked_by"] is not None or one["why"] == DRIFT
        if one["wished"] is not None and one["sent"] is not None and abs(one["sent"]) < abs(one["wished"]) - 1e-6:
            assert one["bound_by"] is not None


def test_what_no_forecast_asked_for_says_so(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    silent = replace(trading, wished=np.full(trading.wished.shape, np.nan))
    for one in positions(framed.record.walked, silent, clock):
        assert one["asked_by"] is None and one["why"] == DRIFT and one["sized_by"] == {}
    assert Explainer.of(framed.record.walked, trading, clock).decision(-5, 0) is None


def test_an_empty_book_has_no_positions(framed: QuickRun) -> None:
    clock, trading = laid(framed)
    book = trading.simulation.book.copy()
    book.state[0] = 0.0
    empty = replace(trading, simulation=replace(trading.simulation, book=book))
    assert positions(framed.record.walked, empty, clock) == []


def test_positions_that_are_over_are_explained_too(run: QuickRun) -> None:
    clock, trading = laid(run)
    found, trades = closed_positions(run.record.walked, trading, clock, None), trading.simulation.trades.reverse()
    assert len(found) == len(trades) > 0
    for one, trip in zip(found, trades.iter_rows(named=True), strict=True):
        assert (one["profit"], one["ended_by"]) == (pytest.approx(trip["pnl"], abs=1e-6), trip["exit_reason"])
        assert one["entered"] == f"{trip['entry_time']:%Y-%m-%dT%H:%M:%SZ}" <= one["left"]
        assert one["asked_by"]["decided_at"] < one["entered"] and one["sized_by"]
    assert run.record.result["closed_positions"] == found[:25]


def test_the_table_of_all_positions_adds_up_to_the_profit_less_financing(run: QuickRun) -> None:
    clock, trading = laid(run)
    table = positions_table(run.record.walked, trading, clock)
    assert table.columns == list(TABLE)
    said = run.record.result["attribution"]
    assert table["profit"].sum() == pytest.approx(said["total"] - said["by_factor"]["financing"], abs=0.01)
    assert table["open"].sum() == len(run.record.result["positions"])
    assert table["model"].null_count() == 0 and table.filter("open")["left"].null_count() == table["open"].sum()
