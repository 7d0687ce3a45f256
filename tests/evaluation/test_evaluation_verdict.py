"""What is said of a result: red flags, targets and the verdict, as tables."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tradewind.evaluation.settings import TargetsSection
from tradewind.evaluation.verdict import FLAG_TEXT, headline, judge_targets, red_flags

NAN = math.nan


def record(**changes: Any) -> dict[str, Any]:
    """Return an ordinary track record of four years with 400 trades."""
    usual = {
        "sharpe": 0.8,
        "sharpe_ci": [-0.2, 1.8],
        "excess_sharpe_ci": [-0.5, 0.9],
        "deflated_sharpe": 0.9,
        "minimum_detectable_sharpe": 0.7,
        "trades": 400,
        "bars": 4 * 252,
        "bars_per_year": 252.0,
        "confidence_level": 0.95,
        "pbo": 0.2,
        "pbo_reason": None,
        "win_rate": 0.53,
        "profit_factor": 1.2,
        "max_drawdown": 0.18,
        "annual_return": 0.08,
        "volatility": 0.10,
        "baselines": {"equal_weight": {}, "index": {"annual_return": 0.05}},
        "tracking_error": 0.10,
        "share_of_bars_invested": 0.9,
        "longest_flat_bars": 20,
        "longest_flat_period": ["2010-01-04", "2010-02-02"],
    }
    return {**usual, **changes}


def quality(**changes: Any) -> dict[str, Any]:
    row = {"rank_ic": 0.02, "directional_accuracy": 0.52, "directional_accuracy_error": 0.01, "pinball_skill": 0.03}
    return {"1": {**row, **changes}}


# -- targets -------------------------------------------------------------------------------------------------


def verdict(targets: dict[str, Any], **changes: Any) -> str:
    (row,) = judge_targets(TargetsSection(**targets), record(**changes), quality())
    return str(row["verdict"])


@pytest.mark.parametrize(
    ("interval", "says"), [([1.1, 2.0], "met"), ([0.2, 0.9], "not met"), ([0.5, 1.5], "cannot tell")]
)
def test_a_sharpe_target_is_judged_by_its_interval(interval: list[float], says: str) -> None:
    assert verdict({"sharpe_min": 1.0}, sharpe_ci=interval) == says


def test_without_an_interval_nobody_can_tell() -> None:
    assert verdict({"sharpe_min": 1.0}, sharpe=NAN, sharpe_ci=[NAN, NAN]) == "cannot tell"


@pytest.mark.parametrize(
    ("rate", "trades", "says"),
    [(0.70, 400, "met"), (0.40, 400, "not met"), (0.60, 20, "cannot tell"), (NAN, 0, "cannot tell")],
)
def test_a_rate_is_judged_by_the_interval_of_a_proportion(rate: float, trades: int, says: str) -> None:
    assert verdict({"win_rate_min": 0.55}, win_rate=rate, trades=trades) == says


@pytest.mark.parametrize(("drawdown", "says"), [(0.10, "met"), (0.20, "not met"), (0.15, "not met")])
def test_a_drawdown_is_what_it_was(drawdown: float, says: str) -> None:
    assert verdict({"max_drawdown_max": 0.15}, max_drawdown=drawdown) == says


@pytest.mark.parametrize(
    ("mean", "bars", "says"),
    [(0.45, 1008, "met"), (-0.05, 1008, "not met"), (0.25, 1008, "cannot tell"), (0.45, 10, "cannot tell")],
)
def test_an_annual_return_is_judged_by_the_error_of_a_mean(mean: float, bars: int, says: str) -> None:
    assert verdict({"annual_return_min": 0.20}, annual_return=mean, bars=bars) == says


def test_beating_the_index_needs_an_index() -> None:
    missing = {"baselines": {"equal_weight": {}, "index": None}}
    assert verdict({"beats_index": True}, **missing) == "cannot tell"
    assert verdict({"beats_index": True}, annual_return=0.4) == "met"
    assert verdict({"beats_index": True}, annual_return=-0.3) == "not met"
    assert verdict({"beats_index": True}) == "cannot tell"


@pytest.mark.parametrize(("factor", "says"), [(1.5, "met"), (1.1, "not met"), (NAN, "cannot tell")])
def test_a_profit_factor_is_what_it_was(factor: float, says: str) -> None:
    assert verdict({"profit_factor_min": 1.3}, profit_factor=factor) == says


def test_directional_accuracy_is_judged_on_the_next_bar() -> None:
    targets = TargetsSection(directional_accuracy_min=0.55)
    (row,) = judge_targets(targets, record(), quality(directional_accuracy=0.51))
    assert row["verdict"] == "not met"
    assert judge_targets(targets, record(), {"20": {}}) == []


def test_only_what_the_playbook_asks_for_is_judged() -> None:
    assert judge_targets(TargetsSection(), record(), quality()) == []
    assert judge_targets(TargetsSection(beats_index=False), record(), quality()) == []


def test_every_row_shows_what_was_wanted_what_was_measured_and_how_surely() -> None:
    (row,) = judge_targets(TargetsSection(sharpe_min=1.0), record(), quality())
    shown = {"target": "Sharpe ratio > 1", "measured": 0.8, "ci": [-0.2, 1.8], "unit": "number"}
    assert row == {**shown, "verdict": "cannot tell"}


def test_every_share_is_named_as_one_and_wanted_in_percent() -> None:
    shares = {"win_rate_min": 0.55, "max_drawdown_max": 0.15, "annual_return_min": 0.125, "beats_index": True}
    rows = judge_targets(TargetsSection(**shares, directional_accuracy_min=0.5), record(), quality())
    assert {row["unit"] for row in rows} == {"share"}
    assert [row["target"].split(" ", 1)[1] for row in rows][1:3] == ["drawdown < 15 %", "return > 12.5 %"]
    assert rows[1]["measured"] == 0.18
    (factor,) = judge_targets(TargetsSection(profit_factor_min=1.1), record(), quality())
    assert (factor["unit"], factor["target"]) == ("number", "profit factor > 1.1")


# -- red flags -----------------------------------------------------------------------------------------------


def codes(*flags: str, timeframe: str = "1d", forecast: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    found = red_flags(flags, forecast or quality(), record(**changes), timeframe)
    assert all(flag["message"] for flag in found)
    return [flag["code"] for flag in found]


def test_an_ordinary_record_raises_no_flag() -> None:
    assert codes() == []


def test_provenance_is_repeated() -> None:
    assert codes("survivorship", "selection", "something else") == ["survivorship", "selection", "something else"]


def test_a_flag_with_a_share_has_a_code_and_says_the_share() -> None:
    (flag,) = red_flags(("assumed_vintage: known times assumed for 40% of the bars",), quality(), record(), "1d")
    assert flag["code"] == "assumed_vintage"
    assert "40%" in flag["message"] and FLAG_TEXT["assumed_vintage"] in flag["message"]


def test_no_two_flags_say_the_same() -> None:
    said = [flag["message"] for flag in red_flags(tuple(FLAG_TEXT), quality(), record(), "1d")]
    assert len(set(said)) == len(FLAG_TEXT)
    assert "failed" in FLAG_TEXT["survivorship"] and "picked" in FLAG_TEXT["selection"]


@pytest.mark.parametrize("forecast", [quality(rank_ic=0.11), quality(directional_accuracy=0.59)])
def test_what_is_too_good_to_be_true_on_daily_bars_is_a_suspected_leak(forecast: dict[str, Any]) -> None:
    assert codes(forecast=forecast) == ["suspected_leak"]
    assert codes(forecast=forecast, timeframe="5m") == []


def test_missing_scores_are_no_leak() -> None:
    assert codes(forecast=quality(rank_ic=None, directional_accuracy=NAN)) == []
    assert codes(forecast=quality(rank_ic=NAN)) == []


def test_few_trades_a_short_sample_and_a_missing_pbo_are_said() -> None:
    assert codes(trades=29) == ["few_trades"]
    assert codes(sharpe=0.3) == ["short_sample"]
    assert codes(sharpe=NAN) == []
    (flag,) = red_flags((), quality(), record(pbo=None, pbo_reason="one configuration"), "1d")
    assert flag["code"] == "no_pbo" and "one configuration" in flag["message"]


def test_a_book_that_often_holds_nothing_says_how_often_and_when_it_did_so_longest() -> None:
    assert codes(share_of_bars_invested=0.75) == []
    assert codes(share_of_bars_invested=0.0, trades=0) == ["few_trades"]
    flat = record(share_of_bars_invested=0.6, longest_flat_bars=903, longest_flat_period=["2003-04-08", "2006-11-07"])
    (flag,) = red_flags((), quality(), flat, "1d")
    assert flag["code"] == "often_in_cash"
    assert all(said in flag["message"] for said in ("40%", "903 in a row", "2003-04-08 to 2006-11-07"))


# -- the verdict ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word", "says"),
    [
        ({"sharpe_ci": [NAN, NAN], "excess_sharpe_ci": [NAN, NAN], "trades": 0}, "none", "Nothing was traded"),
        ({"sharpe_ci": [NAN, NAN], "excess_sharpe_ci": [NAN, NAN], "bars": 15}, "none", "15 bars are too few"),
        ({"sharpe_ci": [0.4, 2.0], "excess_sharpe_ci": [0.1, 1.2], "deflated_sharpe": 0.99}, "good", "beyond luck"),
        ({"sharpe_ci": [0.4, 2.0], "excess_sharpe_ci": [0.1, 1.2], "deflated_sharpe": 0.8}, "unproven", "lucky ones"),
        ({"sharpe_ci": [0.4, 2.0], "excess_sharpe_ci": [-0.3, 1.2]}, "unproven", "than holding the universe"),
        ({"sharpe_ci": [-2.0, -0.1]}, "bad", "lost money"),
        ({"sharpe_ci": [-0.5, 1.0]}, "unproven", "cannot be told from zero"),
        ({"sharpe_ci": [0.4, 2.0], "excess_sharpe_ci": [-2.0, -0.2]}, "bad", "did worse than holding"),
    ],
)  # fmt: skip
def test_the_verdict_says_what_the_intervals_say(changes: dict[str, Any], word: str, says: str) -> None:
    said = headline(record(**changes), quality(), {"1": {"nominal": 0.8, "realised": 0.8}})
    assert said["word"] == word
    assert says in said["text"]


def test_the_verdict_ends_with_the_forecasts() -> None:
    text = headline(record(), quality(pinball_skill=0.034), {"1": {"nominal": 0.8, "realised": 0.812}})["text"]
    assert "1-bar 80 % intervals held 81.2%" in text
    assert "3.4% better than the naive forecast" in text
    row = {"1": {"nominal": 0.9, "realised": None}}
    assert "1-bar 90 % intervals have no outcome yet." in headline(record(), quality(pinball_skill=NAN), row)["text"]
    assert "2.0% worse than" in headline(record(), quality(pinball_skill=-0.02), row)["text"]
