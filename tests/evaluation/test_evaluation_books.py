"""A book in the place of sized positions: chosen by the playbook, known at its close, inside its limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.decisions.signals import Signals
from tradewind.errors import PlaybookError
from tradewind.evaluation import account, corridor
from tradewind.evaluation.backtest import backtest
from tradewind.evaluation.books import betas_at
from tradewind.evaluation.corridor import World
from tradewind.evaluation.optimise import along, pose, risk_of, section_of
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.validate import validated
from tradewind.execution.desk import REASONS
from tradewind.market.tiers import by_tier
from tradewind.playbook import load
from tradewind.portfolio.sizing import Targets

OPTIMISED = {"optimiser__use": True, "optimiser__every_bars": 4}
UNIVERSE = {**OPTIMISED, "optimiser__among": "universe", "optimiser__objective": "risk_parity"}
SHORT = {
    "execution__short_allowed": True,
    "execution__margin_leverage_max": 2.0,
    "limits__gross_max": 1.6,
    "limits__position_max": 0.5,
    "long_short__position_max": 0.5,
}
BOTH_SIDES = {**OPTIMISED, **SHORT, "optimiser__long_only": False, "decision__confidence_exit": 0.5}
BOOKS = ("market_neutral", "sector_neutral", "one_thirty_thirty")
EVERY = [OPTIMISED, UNIVERSE, BOTH_SIDES, *({**SHORT, "long_short__book": book} for book in BOOKS)]
SECTORS = ("tech", "tech", "energy", "energy")


def planned(quick: QuickRun, **overrides: object) -> Plan:
    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    return Plan.of(load(quick.playbook, overrides=flags))


def seen(quick: QuickRun, **overrides: object) -> World:
    """Return the quick run's world under another plan, in two sectors."""
    world = quick.record.world
    return replace(world, plan=planned(quick, **overrides), panel=replace(world.panel, sectors=SECTORS))


def acted(quick: QuickRun, world: World) -> tuple[Signals, Targets]:
    forecast = quick.record.decision.belief.forecast
    _, signals, targets = corridor.act(world, forecast.at(world.panel.times))
    return signals, targets


def opened(targets: Targets) -> np.ndarray:
    """Return the rows with a book that is not empty."""
    return np.flatnonzero(np.nan_to_num(targets.weight).any(axis=1))


# -- of every book -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", EVERY)
def test_a_prefix_of_the_bars_gives_a_prefix_of_the_book(quick: QuickRun, overrides: dict[str, Any]) -> None:
    world = seen(quick, **overrides)
    signals, targets = acted(quick, world)
    assert len(opened(targets)) > 2
    for stop in (300, 351, 419):
        part_signals, part = acted(quick, world.head(stop))
        np.testing.assert_array_equal(part.weight, targets.weight[:stop])
        assert named(part, stop) == named(targets, stop)
        np.testing.assert_array_equal(part_signals.stop, signals.stop[:stop])
        np.testing.assert_array_equal(part_signals.action, signals.action[:stop])


def named(targets: Targets, stop: int) -> list[str]:
    return [targets.steps[code] for code in targets.bound_by[:stop].ravel()]


@pytest.mark.parametrize("overrides", EVERY)
def test_words_are_on_due_bars_alone_within_the_limits_and_each_has_a_stop(
    quick: QuickRun, overrides: dict[str, Any]
) -> None:
    world = seen(quick, **overrides)
    signals, targets = acted(quick, world)
    plan, weight = world.plan, np.nan_to_num(targets.weight)
    words = np.isfinite(targets.weight).any(axis=1)
    assert words.any() and not words[~plan.decision.due(len(words))].any()
    assert np.abs(weight).max() <= plan.limits.position_max + 1e-6
    assert np.abs(weight).sum(axis=1).max() <= plan.limits.gross_max + 1e-6
    held = weight != 0
    assert (signals.stop[held] > 0).all() and np.isfinite(signals.confidence[held]).all()
    assert (np.sign(signals.action[held]) == np.sign(weight[held])).all()
    step = "long_short" if plan.long_short.book != "none" else "optimiser"
    np.testing.assert_array_equal(targets.after[step], weight)
    row, column = (int(found[0]) for found in np.nonzero(held))
    assert list(targets.path(row, column))[-1] == step and sum(targets.times_bound().values()) == held.sum()


def test_without_a_book_nothing_changes(quick: QuickRun) -> None:
    decision = quick.record.decision
    _, signals, targets = corridor.act(quick.record.world, decision.belief.forecast)
    np.testing.assert_array_equal(targets.weight, decision.targets.weight)
    np.testing.assert_array_equal(signals.stop, decision.signals.stop)


@pytest.mark.parametrize("overrides", [UNIVERSE, {**SHORT, "long_short__book": "market_neutral"}])
def test_the_regimes_multiplier_scales_the_whole_book(quick: QuickRun, overrides: dict[str, Any]) -> None:
    world = seen(quick, **overrides)
    _, whole = acted(quick, world)
    scaled = {}
    for share in (0.25, 0.0):
        sizing = world.plan.sizing.model_copy(update={"regime_multipliers": True})
        around = replace(world.surroundings, multiplier=np.full(len(world.panel), share))
        other = replace(world, plan=replace(world.plan, sizing=sizing), surroundings=around)
        scaled[share] = acted(quick, other)[1].weight
    first = opened(whole)[0]
    np.testing.assert_allclose(scaled[0.25][first], whole.weight[first] / 4, rtol=1e-9)
    assert np.nanmax(np.abs(scaled[0.25])) <= 0.25 * world.plan.limits.position_max + 1e-6
    assert not np.nan_to_num(scaled[0.0]).any() and np.isfinite(scaled[0.0]).any()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [(UNIVERSE, "tier_limit"), ({**SHORT, "long_short__book": "market_neutral"}, "position_max")],
    ids=["optimised", "long and short"],
)
def test_a_price_tiers_limit_holds_in_a_book_and_is_named_wherever_it_binds(
    quick: QuickRun, overrides: dict[str, Any], named: str
) -> None:
    """In a long/short book it is the most that a position may have; the optimiser's book is cut to it."""
    world = seen(quick, **overrides, limits__tier_limits=True)
    _, targets = acted(quick, world)
    most, held = by_tier(world.panel.close, "position_limit_pct") / 100, np.abs(np.nan_to_num(targets.weight))
    assert (held <= most + 1e-9).all()
    assert targets.times_bound()[named] == (held >= most * (1 - 1e-6)).sum() > 0


# -- the optimiser -------------------------------------------------------------------------------------------


def test_only_what_the_rule_opens_enters_and_what_it_closes_leaves(quick: QuickRun) -> None:
    world = seen(quick, **OPTIMISED)
    forecast = quick.record.decision.belief.forecast
    sized = corridor.act(replace(world, plan=planned(quick)), forecast)[2].weight
    weight = acted(quick, world)[1].weight
    held = np.zeros(4)
    for row in np.flatnonzero(world.plan.decision.due(len(weight))):
        entered = (np.nan_to_num(weight[row]) > 0) & (held == 0)
        assert (sized[row, entered] > 0).all()
        closed = (held > 0) & (sized[row] == 0)
        assert (weight[row, closed] == 0).all()
        held = np.where(np.isfinite(weight[row]), weight[row], held)


def test_limits_that_contradict_each_other_keep_the_old_book_and_are_said(quick: QuickRun, home: Path) -> None:
    used = workspace(quick.playbook, home, optimiser__use=True, optimiser__net_min=0.9)
    record = backtest(used)
    used.records.close()
    said = next(note for note in record.result["notes"] if "the old one was kept" in note)
    assert "position_max 0.2" in said and "net_min 0.9" in said and "cannot hold together" in said
    assert not np.nan_to_num(record.decision.targets.weight).any()


def test_a_name_of_unknown_risk_is_left_out_and_said(quick: QuickRun) -> None:
    world = seen(quick, **UNIVERSE)
    mask = world.panel.mask.copy()
    mask[:390, 1] = False
    young = replace(world, panel=replace(world.panel, mask=mask))
    signals, targets = acted(quick, young)
    assert not np.nan_to_num(targets.weight[:, 1]).any() and np.nan_to_num(targets.weight[390:, 0]).any()
    assert any("left out" in note and "BBB" in note and "risk unknown" in note for note in signals.notes)


def test_a_name_without_a_bar_is_left_as_it_is_and_counts(quick: QuickRun) -> None:
    world = seen(quick, **UNIVERSE)
    rows = opened(acted(quick, world)[1])
    mask = world.panel.mask.copy()
    mask[rows[2], 0] = False
    signals, targets = acted(quick, replace(world, panel=replace(world.panel, mask=mask)))
    assert np.isnan(targets.weight[rows[2], 0]) and np.isfinite(targets.weight[rows[2], 1:]).all()
    assert any("without a bar" in note and "AAA" in note for note in signals.notes)
    assert targets.weight[rows[2], 1:].sum() <= 0.8 + 1e-6


def test_a_rules_parts_are_those_of_the_book(quick: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    world = seen(quick, **OPTIMISED)
    _, whole = acted(quick, world)
    shape = world.panel.shape

    def third(belief: Any, **asked: bool) -> Signals:
        return replace(decide(belief, **asked), scale=np.full(shape, 1 / 3))

    decide = corridor.decide
    monkeypatch.setattr(corridor, "decide", third)
    _, parts = acted(quick, world)
    first = opened(whole)[0]
    np.testing.assert_allclose(parts.weight[first], whole.weight[first] / 3, rtol=1e-9)


def test_the_risk_of_a_walk_is_the_risk_of_each_close_alone(quick: QuickRun) -> None:
    world = seen(quick, **OPTIMISED)
    walked, columns = along(world), np.array([0, 2, 3])
    for row in (250, 300, 419):
        one, other = (risk_of(world, known.at(row), columns, 5) for known in (walked, along(world, row)))
        np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-12)
        np.testing.assert_allclose(one.beta, other.beta, rtol=1e-12)
        alone = pose(world, quick.record.decision.belief.forecast, row, section_of(world.plan))
        box = np.ix_(columns, columns)
        whole = risk_of(world, along(world, row).at(row), np.arange(4), 5)
        np.testing.assert_array_equal(alone.problem.covariance[box], whole.covariance[box])


# -- long/short ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("book", BOOKS)
def test_a_long_short_book_is_what_its_name_says(quick: QuickRun, book: str) -> None:
    world = seen(quick, **SHORT, long_short__book=book)
    weight = acted(quick, world)[1].weight
    rows = opened(acted(quick, world)[1])
    betas, held = betas_at(world, rows), weight[rows]
    net, beta = held.sum(axis=1), (held * betas).sum(axis=1)
    known = np.isfinite(betas).all(axis=1)
    sectors = np.array(SECTORS)
    if book == "one_thirty_thirty":
        assert net == pytest.approx(1.0) and beta[known] == pytest.approx(betas[known].mean(axis=1), abs=1e-6)
        assert np.abs(held).sum(axis=1).max() <= 1.6 + 1e-6
        return
    assert net == pytest.approx(0.0, abs=1e-6) and beta[known] == pytest.approx(0.0, abs=1e-6)
    if book == "sector_neutral":
        assert held[:, sectors == "tech"].sum(axis=1) == pytest.approx(0.0, abs=1e-6)


def test_what_cannot_be_borrowed_is_not_sold_short(quick: QuickRun) -> None:
    free = acted(quick, seen(quick, **SHORT, long_short__book="market_neutral"))[1].weight
    never = {**SHORT, "long_short__book": "market_neutral", "borrow__unavailable": ["AAA"]}
    signals, targets = acted(quick, seen(quick, **never))
    assert np.nanmin(free[:, 0]) < 0 <= np.nanmin(targets.weight[:, 0]) and np.nanmin(targets.weight) < 0
    assert any("assumed_borrow" in note for note in signals.notes)
    both = acted(quick, seen(quick, **BOTH_SIDES, borrow__unavailable=["AAA", "BBB", "CCC", "DDD"]))[1].weight
    assert np.nanmin(both) >= 0 > np.nanmin(acted(quick, seen(quick, **BOTH_SIDES))[1].weight)


def test_a_back_test_of_a_neutral_book_reports_what_it_realised(quick: QuickRun, home: Path) -> None:
    used = workspace(quick.playbook, home, **{**SHORT, "long_short__book": "market_neutral"})
    record = backtest(used)
    used.records.close()
    result = record.result
    assert result["gross"]["max"] > 0.2 and abs(result["net"]["mean"]) < 0.1 * result["gross"]["mean"]
    assert set(result["beta"]) == {"realised", "error", "bars", "reason"}
    assert any("market neutral book" in note for note in result["notes"])


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        ({"long_short__book": "market_neutral"}, ("long_short.book", "execution.short_allowed")),
        (
            {"long_short__book": "one_thirty_thirty", "execution__short_allowed": True},
            ("long_short.book", "execution.margin_leverage_max"),
        ),
        (
            {**SHORT, "long_short__book": "market_neutral", "optimiser__use": True},
            ("optimiser.use", "long_short.book"),
        ),
        (
            {"borrow__default_bps": 30.0, "execution__borrow_bps_per_year": 60.0},
            ("borrow.default_bps", "execution.borrow_bps_per_year"),
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_keys(
    quick: QuickRun, overrides: dict[str, Any], keys: tuple[str, ...]
) -> None:
    with pytest.raises(PlaybookError) as refused:
        validated(planned(quick, **overrides))
    told = f"{refused.value.what} {refused.value.hint}"
    assert all(key in told for key in keys), told


# -- the account ---------------------------------------------------------------------------------------------


def test_a_book_has_no_time_exits_and_signals_have(quick: QuickRun) -> None:
    for overrides, none in ((OPTIMISED, True), ({}, False)):
        world = seen(quick, **overrides)
        signals, targets = acted(quick, world)
        laid = account.Clock.of([account.Wanted("", world, signals, targets, 250)]).plan()
        assert np.isnan(laid.max_bars).all() == none


def test_stock_is_borrowed_while_it_can_be_and_what_is_short_already_stays(quick: QuickRun, tmp_path: Path) -> None:
    times = quick.record.world.panel.times
    said, path = times[300].astype("datetime64[us]").item(), tmp_path / "borrow.csv"
    lines = [f"AAA,{said - timedelta(days=900):%Y-%m-%dT%H:%M:%S},true", f"AAA,{said:%Y-%m-%dT%H:%M:%S},false"]
    path.write_text("\n".join(["symbol,time,available", *lines, "BBB,2000-01-01,true"]))
    flags = {**SHORT, "borrow__availability_path": str(path), "decision__every_bars": 1}
    world = seen(quick, **flags)
    weight = np.full(world.panel.shape, np.nan)
    weight[298, :2], weight[302, :2] = -0.1, -0.2
    signals, targets = acted(quick, world)
    wanted = account.Wanted("", world, signals, replace(targets, weight=weight), 250)
    trading = account.trade(world.plan, [wanted])
    shares, rows = trading.simulation.shares, trading.decided_rows.tolist()
    assert (shares[299, :2] < 0).all() and not shares[:, 2:].any()
    assert REASONS[trading.bound[rows.index(302)][0]] == "borrow" and trading.bound[rows.index(302)][1] == 0
    assert shares[303, 0] == shares[302, 0] and shares[303, 1] < 1.5 * shares[302, 1] < 0
    assert trading.simulation.costs["borrow"] > 0


def test_borrowing_costs_what_the_section_says_where_there_is_one(quick: QuickRun) -> None:
    assert planned(quick).execution.borrow_bps_per_year == 50.0
    assert planned(quick, borrow__unavailable=["AAA"]).execution.borrow_bps_per_year == 20.0
    assert planned(quick, borrow__default_bps=35.0).execution.borrow_bps_per_year == 35.0
    assert planned(quick, execution__borrow_bps_per_year=70.0).execution.borrow_bps_per_year == 70.0
