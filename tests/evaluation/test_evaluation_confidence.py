"""The event that confidence is about, and the clauses of row A9, from bars to the judged record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.decisions.signals import Action
from tradewind.errors import InputError
from tradewind.evaluation.backtest import TrackRecord, backtest
from tradewind.evaluation.report.page import page

HOURLY = """\
[playbook]
format = 1
description = "Six invented stocks on hourly bars: all clauses of row A9"

[universe]
symbols = ["SYN000", "SYN001", "SYN002", "SYN003", "SYN004", "SYN005"]

[data]
source = "synthetic"
timeframe = "1h"
start = "2016-01-04"
end = "2016-07-29"
context = {}

[features]
include = ["rsi_14", "price"]

[labels]
horizons = ["5m", "1h", "4h", "1d", "1w"]

[models]
use = "ridge"
compare = []

[decision]
rule = "nasdaq_tft"
horizon_bars = 35
confidence_min = 0.45
entry_threshold = 0.0
threshold_unit = "sigma"
every_bars = 1

[evaluation]
min_train_bars = 500
refit_bars = 500
bootstrap_samples = 100

[source.synthetic.options]
seed = 11
n_symbols = 6
"""


# -- the event ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["profit_after_costs", "target_before_stop"])
def test_the_reliability_shown_is_that_of_the_playbooks_event(quick: QuickRun, home: Path, name: str) -> None:
    chosen = {"decision__event": name, "decision__confidence_min": 0.15, "decision__confidence_exit": 0.1}
    record = backtest(workspace(quick.playbook, home, **chosen))
    said, signals = record.result["reliability"], record.decision.signals
    came = signals.odds.event.outcome(record.decision.belief, signals.odds.trade).long[record.start :]
    sure = signals.odds.calibrated.long[record.start :]
    known = np.isfinite(came) & np.isfinite(sure)
    assert said["event"] == name == record.result["recommendations"][0]["event"]
    assert said["happened"] == pytest.approx(came[known].mean())
    assert said["brier"] == pytest.approx(np.mean((sure - came)[known] ** 2))
    assert said["threshold_passed"] == pytest.approx(np.mean(sure[np.isfinite(sure)] >= 0.15))
    assert sum(row["n"] for row in said["table"]) == known.sum()
    assert f"Event: {name.replace('_', ' ')}, in" in page(record)


def test_a_reason_says_the_confidence_that_was_decided_on(quick: QuickRun) -> None:
    for entry in quick.record.result["recommendations"]:
        assert f"= {entry['confidence']:.1%}" in entry["reasons"][1]


def test_a_fifth_of_four_stocks_is_refused(quick: QuickRun, home: Path) -> None:
    with pytest.raises(InputError, match="needs 5 symbols"):
        backtest(workspace(quick.playbook, home, decision__event="top_fifth"))


def test_confidence_about_the_next_open_is_said_where_fills_come_at_the_close(quick: QuickRun, home: Path) -> None:
    record = backtest(workspace(quick.playbook, home, execution__entry="next_close"))
    assert any("enter at the next open" in note for note in record.result["notes"])


# -- row A9 on hourly bars ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_strategy(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, TrackRecord]:
    folder = tmp_path_factory.mktemp("hourly")
    playbook = folder / "hourly.toml"
    playbook.write_text(HOURLY)
    strategies = ("hybrid", "long_term", "day_trade")
    return {s: backtest(workspace(playbook, folder / "home", decision__strategy=s)) for s in strategies}


def spoken(record: TrackRecord) -> dict[str, int]:
    signals = record.decision.signals
    numbers = np.bincount(signals.clause[signals.decided], minlength=len(signals.clauses))
    return {words.partition(" (")[0]: int(n) for words, n in zip(signals.clauses, numbers, strict=True)}


def bars_since_last_said(record: TrackRecord) -> list[int]:
    """For every trade: bars from the last decision that named its side to its exit."""
    world, signals = record.decision.world, record.decision.signals
    trades, bought = record.simulations["base"].trades, (signals.action > 0) & signals.decided
    due = np.flatnonzero(world.plan.decision.due(len(world.panel)))
    columns = [world.panel.symbols.index(s) for s in trades["symbol"]]
    return [
        int(e - due[(due < e) & bought[due, c]].max())
        for c, e in zip(columns, trades["exit_row"].to_list(), strict=True)
    ]


def test_an_hourly_hybrid_speaks_through_every_clause(by_strategy: Mapping[str, TrackRecord]) -> None:
    record = by_strategy["hybrid"]
    counts = list(spoken(record).values())
    assert len(counts) == 5 and min(counts) > 0
    assert record.result["universe"]["timeframe"] == "1h"
    assert list(record.result["coverage"]) == ["1", "4", "7", "35"]
    assert "RSI(14) is over 14 bars of 1h, not over 14 days" in record.result["notes"]


def test_day_trades_last_a_day_and_say_so(by_strategy: Mapping[str, TrackRecord]) -> None:
    record = by_strategy["day_trade"]
    signals = record.decision.signals
    assert set(np.unique(signals.horizon_bars)) == {7}
    assert not (np.abs(signals.action) == Action.STRONG_BUY).any()
    assert np.all(signals.stop[signals.action == Action.BUY] == 0.02)
    assert max(bars_since_last_said(record)) <= 7
    assert {r["style"] for r in record.result["recommendations"]} == {"day trade"}
    assert record.result["reliability"]["horizon_bars"] == 7


def test_the_long_term_book_takes_only_the_clauses_for_weeks(by_strategy: Mapping[str, TrackRecord]) -> None:
    record = by_strategy["long_term"]
    said = {Action(int(a)) for a in np.unique(record.decision.signals.action)}
    assert said <= {Action.STRONG_BUY, Action.HOLD, Action.STRONG_SELL}
    assert record.simulations["base"].trades["bars_held"].max() > 7
    assert "the day-trade clause is off: decision.strategy = 'long_term'" in record.result["notes"]


def test_day_trades_on_daily_bars_are_refused_before_a_model_is_fitted(quick: QuickRun, home: Path) -> None:
    chosen = {"decision__rule": "nasdaq_tft", "decision__strategy": "day_trade", "models__use": "no_such_model"}
    with pytest.raises(InputError, match="needs a forecast over 4h"):
        backtest(workspace(quick.playbook, home, **chosen))
