"""Live is the back-test: bar by bar, bit by bit, and where it is not, the first difference has a name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_kit import LIVED, NETWORK, PAIR, home_of, replayed

from spine_kit import PLAYBOOK, instant
from tradewind.errors import InputError
from tradewind.evaluation.backtest import backtest
from tradewind.evaluation.workspace import Workspace
from tradewind.live import corridor as live_corridor
from tradewind.live.corridor import LiveCorridor, LiveStep
from tradewind.live.trader import Trader
from tradewind.server.running import prove

SHAPES: dict[str, tuple[str, dict[str, object]]] = {
    "two that must agree": (PAIR, {}),
    "two, weighted by what they got right": (PAIR, {"ensemble__method": "bayes", "decision__recalibration": "none"}),
    "one model": (PLAYBOOK, {}),
    "one model, uncalibrated, of another event": (
        PLAYBOOK,
        {"calibration__method": "none", "decision__event": "target_before_stop", "decision__confidence_min": "0.2"},
    ),
    "features scaled on the training part": (PLAYBOOK, {"features__scaling": "train"}),
    "features scaled as they come": (PLAYBOOK, {"features__scaling": "rolling"}),
    "features scaled across symbols": (PLAYBOOK, {"features__scaling": "cross_section"}),
    "long and short, limits of the book": (
        PAIR,
        {"execution__short_allowed": "true", "limits__net_max": "0.2", "limits__drawdown_max": "0.05"},
    ),
    "gaps, widths and regimes": (
        PLAYBOOK,
        {
            "decision__gap_sigma_max": "4",
            "decision__interval_width_usual_max": "1.5",
            "sizing__correlation_penalty": "true",
        },
    ),
    "a network by its file": (NETWORK, {}),
    "a network by itself": (NETWORK, {"live__engine": "model"}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_lived_through_bar_by_bar_is_the_back_test(tmp_path: Path, shape: str) -> None:
    playbook, overrides = SHAPES[shape]
    result = prove(home_of(tmp_path, playbook, **overrides))
    assert result["first_difference"] is None
    assert result["equal"] is True
    assert (result["bars"], result["forecasts"] > 0) == (LIVED, True)


@pytest.mark.parametrize("playbook", [PAIR, NETWORK.replace("[decision]", '[live]\nengine = "model"\n\n[decision]')])
def test_its_ledger_is_that_of_the_command_backtest(tmp_path: Path, playbook: str) -> None:
    work = home_of(tmp_path, playbook)
    lived = replayed(work)
    tested = backtest(work, opened=instant(lived["from"].replace("Z", "+00:00")), counts=False)
    assert tested.tradings["base"].simulation.ledger_hash == lived["ledger_hash"]
    assert lived["fills"] > 0, "an empty ledger proves nothing"


def test_a_proof_leaves_nothing_behind(tmp_path: Path) -> None:
    work = home_of(tmp_path)
    prove(work)
    before = (work.records.live_sessions(), len(work.records.predictions_of("quick/ridge")))
    prove(work)
    assert before == ([], 0)
    assert work.records.live_sessions() == []


def planted(monkeypatch: pytest.MonkeyPatch, at: int, change: Any) -> None:
    """Let a running corridor say something else at its n-th bar."""
    honest, seen = LiveCorridor.step, []

    def step(self: LiveCorridor, bar: Any) -> LiveStep:
        made = honest(self, bar)
        seen.append(1)
        return change(self, made) if len(seen) == at else made

    monkeypatch.setattr(LiveCorridor, "step", step)


def other_feature(_: LiveCorridor, made: LiveStep) -> LiveStep:
    made.world.features.values[-1, 1, 0] = np.nextafter(made.world.features.values[-1, 1, 0], np.float32(1e9))
    return made


def other_signal(_: LiveCorridor, made: LiveStep) -> LiveStep:
    signals = made.decision.signals
    action = signals.action.copy()
    action[-1, 0] = 2
    return replace(made, decision=replace(made.decision, signals=replace(signals, action=action)))


def other_weight(_: LiveCorridor, made: LiveStep) -> LiveStep:
    targets = made.decision.targets
    weight = targets.weight.copy()
    weight[-1, 2] = 0.01
    return replace(made, decision=replace(made.decision, targets=replace(targets, weight=weight)))


@pytest.mark.parametrize(
    ("change", "part", "symbol", "at"),
    [(other_feature, "features", "BBB", 7), (other_signal, "signals", "AAA", 12), (other_weight, "targets", "CCC", 1)],
)
def test_the_first_difference_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, part: str, symbol: str, at: int
) -> None:
    planted(monkeypatch, at, change)
    work = home_of(tmp_path, PLAYBOOK)
    result = prove(work)
    assert result["equal"] is False
    first = result["first_difference"]
    assert (first["part"], first["symbol"]) == (part, symbol)
    assert first["live"] != first["backtest"]
    times = [str(t)[:10] for t in _times(work)]
    assert first["time"][:10] == times[-LIVED + at - 1]


def _times(work: Workspace) -> Any:
    from tradewind.evaluation.data import load

    return load(work).panel.times


def test_a_forecast_that_moves_by_more_than_the_tolerance_is_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = live_corridor.Track.extend

    def extend(self: Any, row: Any) -> None:
        honest(self, row if row is None else replace(row, quantiles=row.quantiles + 2e-6))

    monkeypatch.setattr(live_corridor.Track, "extend", extend)
    result = prove(home_of(tmp_path, PLAYBOOK))
    assert result["first_difference"]["part"].startswith("forecasts")


def test_an_account_that_books_something_else_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trader, "ledger_hash", lambda _: "another")
    first = prove(home_of(tmp_path, PLAYBOOK))["first_difference"]
    assert (first["part"], first["live"]) == ("ledger", "another")


def test_bars_that_a_champion_has_learnt_from_are_not_replayed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bars that they have learnt from") as refused:
        prove(home_of(tmp_path), opened=instant("2014-06-02T00:00:00+00:00"))
    assert "--from 2015-" in refused.value.hint


def test_a_day_alone_is_the_back_test_of_that_day(tmp_path: Path) -> None:
    work = home_of(tmp_path)
    whole = prove(work)
    day = whole["to"][:10]
    result = prove(work, opened=instant(f"{day}T00:00:00+00:00"))
    assert (result["equal"], result["bars"]) == (True, 1)
