"""The book beside what anybody could have held, with intervals, and each of them by regime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spine_kit import QuickRun
from tradewind.evaluation.benchmarks_judged import LEAST_BARS, benchmarks, by_regime, series, told
from tradewind.evaluation.track_record import book_returns
from tradewind.stats import metrics as m


def judged(run: QuickRun, **context: np.ndarray) -> dict:
    record = run.record
    world = record.world
    if context:
        world = replace(world, panel=replace(world.panel, context=context))
    return benchmarks(world, record.simulations["base"], record.start)


def test_every_benchmark_stands_beside_the_book_with_its_intervals(framed: QuickRun) -> None:
    found = framed.record.result["benchmarks"]
    assert told(found) == ["index", "nasdaq", "equal_weight", "cash"]
    for row in found["against"].values():
        for name in ("excess", "sharpe_difference", "alpha"):
            low, high = row[name]["ci"]
            assert low <= row[name]["value"] <= high and 0 < row[name]["p"] <= 1
        signs = {"better": low_of(row) > 0, "worse": high_of(row) < 0}
        assert row["verdict"] == next((word for word, so in signs.items() if so), "cannot tell")


def low_of(row: dict) -> float:
    return row["sharpe_difference"]["ci"][0]


def high_of(row: dict) -> float:
    return row["sharpe_difference"]["ci"][1]


def test_the_books_figures_are_those_of_its_track_record(framed: QuickRun) -> None:
    result = framed.record.result
    for name in ("annual_return", "volatility", "sharpe", "sortino", "calmar", "max_drawdown"):
        assert result["benchmarks"]["book"][name] == pytest.approx(result["track_record"][name]), name
    index = result["track_record"]["baselines"]["index"]
    assert result["benchmarks"]["against"]["index"]["sharpe"] == pytest.approx(index["sharpe"])


def test_an_index_that_the_data_lack_is_named_and_not_invented(framed: QuickRun, quick: QuickRun) -> None:
    found = judged(framed, index=framed.record.world.panel.context["index"])
    assert found["against"]["nasdaq"]["available"] is False and "nasdaq" in found["against"]["nasdaq"]["why"]
    assert told(quick.record.result["benchmarks"]) == ["equal_weight", "cash"]


def test_a_book_that_is_half_an_index_has_its_sharpe_ratio_a_beta_of_a_half_and_no_alpha(framed: QuickRun) -> None:
    record = framed.record
    equity = record.simulations["base"].equity.copy()
    moves = 0.5 * series(record.world, record.start)["index"]
    equity[record.start :] = 1e5 * np.concatenate([[1.0], np.cumprod(1 + moves)])
    row = benchmarks(record.world, replace(record.simulations["base"], equity=equity), record.start)["against"]["index"]
    assert row["beta"] == pytest.approx(0.5) and row["alpha"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert row["sharpe_difference"]["value"] == pytest.approx(0.0, abs=1e-9) and row["verdict"] == "cannot tell"


def test_regimes_share_out_the_bars_by_what_was_known_when_each_began(framed: QuickRun) -> None:
    record = framed.record
    found, own = record.result["by_regime"], book_returns(record.simulations["base"], record.start)
    assert sum(row["bars"] for row in found.values()) == len(own)
    state = record.world.surroundings.regime[record.start : len(record.world.panel) - 1]
    bull = own[state == 0]
    assert found["bull"]["bars"] == len(bull) >= LEAST_BARS
    assert found["bull"]["book"]["return"] == pytest.approx(bull.mean() * 252)
    assert found["bull"]["book"]["sharpe"] == pytest.approx(m.sharpe(bull).value, rel=0.01)
    low, high = found["bull"]["book"]["sharpe_ci"]
    assert low < found["bull"]["book"]["sharpe"] < high


def test_too_few_bars_of_a_regime_give_a_reason_and_no_number(framed: QuickRun) -> None:
    record = framed.record
    state = np.zeros(len(record.world.panel), np.int8)
    state[record.start + 3 : record.start + 10] = 1
    world = replace(record.world, surroundings=replace(record.world.surroundings, regime=state))
    row = by_regime(world, record.simulations["base"], record.start)["bear"]
    assert row["bars"] == 7 and row["book"]["sharpe"] is None and row["book"]["reason"] == "7 bars"


def test_a_playbook_without_regimes_is_not_split_by_them(quick: QuickRun) -> None:
    assert quick.record.result["by_regime"] is None
