"""What leaves the corridor: recommendations, explanations, ranks and tables that anyone can score."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spine_kit import BARS, SYMBOLS, QuickRun, prices, workspace
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.backtest import backtest, clean, write_forecasts, write_weights
from tradewind.evaluation.explain import explain
from tradewind.evaluation.forecast_quality import superior_ability_reason
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.ranking import rank_probabilities
from tradewind.evaluation.report import write_report
from tradewind.evaluation.training import train

LEVELS = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")

# -- recommendations -----------------------------------------------------------------------------------------


def test_every_symbol_gets_one_recommendation_and_those_to_hold_come_last(quick: QuickRun) -> None:
    for row in (-1, -7, quick.record.start):
        said = quick.record.decision.recommendations(row)
        assert sorted(r["symbol"] for r in said) == list(SYMBOLS)
        held = [r["action"] == "HOLD" for r in said]
        assert held == sorted(held)


def test_stop_and_target_lie_on_their_own_side_of_the_entry(quick: QuickRun) -> None:
    for said in [r for row in range(quick.record.start, BARS) for r in quick.record.decision.recommendations(row)]:
        side = -1 if "SELL" in said["action"] else 1
        assert side * (said["entry"] - said["stop"]) > 0
        assert said["target"] is None or side * (said["target"] - said["entry"]) > 0


def test_intervals_are_prices_around_the_median_and_widen_with_their_level_and_horizon(quick: QuickRun) -> None:
    for said in quick.record.result["recommendations"]:
        for entry in said["intervals"].values():
            assert entry["90"][0] <= entry["80"][0] <= entry["50"][0] <= entry["median"]
            assert entry["median"] <= entry["50"][1] <= entry["80"][1] <= entry["90"][1]
        near, far = (np.ptp(said["intervals"][h]["80"]) for h in ("1", "5"))
        assert far > near


def test_a_weight_is_given_only_where_a_position_is_recommended(quick: QuickRun) -> None:
    for said in [r for row in range(quick.record.start, BARS, 9) for r in quick.record.decision.recommendations(row)]:
        if said["action"] == "HOLD" or "SELL" in said["action"]:
            assert said["weight"] == 0 and said["shares"] == 0 and said["bound_by"] is None
        else:
            assert 0 < said["weight"] <= 0.2
            assert said["bound_by"] in quick.record.decision.targets.steps
            assert said["shares"] * said["entry"] == pytest.approx(said["weight"] * 100_000, rel=1e-4)


def test_reasons_are_sentences_with_the_numbers_of_the_forecast(quick: QuickRun) -> None:
    for said in quick.record.result["recommendations"]:
        assert len(said["reasons"]) >= 3
        assert f"{said['confidence']:.1%}" in " ".join(said["reasons"])
        assert all("{" not in reason for reason in said["reasons"])


def test_a_symbol_without_a_forecast_is_held_and_says_why(quick: QuickRun) -> None:
    before = quick.record.decision.recommendations(quick.record.start - 1)
    assert {r["action"] for r in before} == {"HOLD"}
    assert all("no forecast" in r["reasons"][0] and r["confidence"] is None for r in before)


# -- explanations --------------------------------------------------------------------------------------------

STEPS = ["1_bars", "2_features", "3_forecasts", "4_calibration", "5_decision", "6_size", "7_order"]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_an_explanation_walks_all_the_way_from_bars_to_order(quick: QuickRun, symbol: str) -> None:
    steps = explain(quick.record, symbol)
    assert [k for k in steps if k[0].isdigit()] == STEPS
    (said,) = [r for r in quick.record.result["recommendations"] if r["symbol"] == symbol]
    assert steps["as_of"] == said["as_of"] == quick.record.result["as_of"]
    assert steps["1_bars"][-1]["close"] == pytest.approx(said["entry"])
    assert [bar["time"] for bar in steps["1_bars"]] == sorted(bar["time"] for bar in steps["1_bars"])
    assert {k: said[k] for k in steps["5_decision"]} == steps["5_decision"]
    assert (steps["6_size"]["weight"], steps["6_size"]["bound_by"]) == (said["weight"], said["bound_by"])
    json.dumps(clean(steps), allow_nan=False)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_each_step_of_an_explanation_follows_from_the_one_before(quick: QuickRun, symbol: str) -> None:
    steps = explain(quick.record, symbol)
    (said,) = [r for r in quick.record.result["recommendations"] if r["symbol"] == symbol]
    close = steps["1_bars"][-1]["close"]
    for horizon, calibration in steps["4_calibration"].items():
        own = steps["3_forecasts"]["ridge"]["horizons"][horizon]
        assert calibration["before"] == own
        low, high = (close * math.exp(calibration["after"][q]) for q in ("q10", "q90"))
        assert [low, high] == pytest.approx(said["intervals"][horizon]["80"], abs=1e-5)
    stop = 1 - said["stop"] / said["entry"]
    assert steps["6_size"]["stop_distance"] == pytest.approx(stop, rel=1e-5)
    assert steps["6_size"]["risk_weight"] == pytest.approx(steps["6_size"]["risk_per_trade"] / stop, rel=1e-5)
    if said["weight"]:
        assert steps["7_order"]["shares"] == said["shares"]
        assert steps["7_order"]["stop"] == said["stop"]
        assert steps["7_order"]["notional"] == pytest.approx(said["weight"] * steps["7_order"]["equity"])
    else:
        assert steps["7_order"]["order"] is None


def test_an_explanation_shows_the_bars_of_the_file_and_the_features_that_the_model_saw(quick: QuickRun) -> None:
    steps = explain(quick.record, "BBB")
    stored = prices().filter(pl.col("symbol") == "BBB").tail(5)
    for name in ("open", "high", "low", "close", "volume"):
        assert [bar[name] for bar in steps["1_bars"]] == pytest.approx(stored[name].to_list())
    features = quick.record.world.features
    assert list(steps["2_features"]) == list(features.names)
    assert steps["2_features"]["rsi_14"] == float(features.column("rsi_14")[-1, 1])


def test_an_explanation_says_where_everything_came_from(quick: QuickRun) -> None:
    provenance = explain(quick.record, "AAA")["provenance"]
    assert provenance["data_version"] == quick.record.manifest.data_version
    assert provenance["playbook_hash"] == quick.record.result["playbook_hash"]


def test_a_symbol_outside_of_the_universe_is_refused_with_those_inside(quick: QuickRun) -> None:
    with pytest.raises(InputError, match="'ZZZ' is not in this universe") as caught:
        explain(quick.record, "ZZZ")
    assert "AAA, BBB, CCC, DDD" in caught.value.hint


# -- ranks ---------------------------------------------------------------------------------------------------


def test_ranks_are_probabilities_over_buckets_and_over_symbols(quick: QuickRun, home: Path) -> None:
    found = rank_probabilities(workspace(quick.playbook, home), 5, 4)
    assert (found["as_of"], found["horizon"]) == (quick.record.result["as_of"], 5)
    table = np.array([found["symbols"][s] for s in SYMBOLS])
    assert table.shape == (4, 4)
    assert np.all((table >= 0) & (table <= 1))
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(table.sum(axis=0), 1, atol=1e-5)  # somebody ends in each bucket


def test_ranks_are_the_same_for_the_same_question_and_know_only_what_was_known_then(
    quick: QuickRun, home: Path
) -> None:
    moment = as_datetime(quick.record.world.panel.times[371])
    asked = [rank_probabilities(workspace(quick.playbook, home), 5, 2, as_of=moment) for _ in range(2)]
    assert asked[0] == asked[1]
    assert asked[0]["as_of"] == f"{str(quick.record.world.panel.times[371])[:19]}Z"


def test_a_horizon_that_is_not_forecast_is_refused_with_those_that_are(quick: QuickRun, home: Path) -> None:
    with pytest.raises(InputError, match="horizon 20 is not forecast") as caught:
        rank_probabilities(workspace(quick.playbook, home), 20, 2)
    assert "[1, 5]" in caught.value.hint


def test_more_buckets_than_symbols_are_refused(quick: QuickRun, home: Path) -> None:
    with pytest.raises(DataError, match="4 symbols have a forecast: too few for 5 buckets"):
        rank_probabilities(workspace(quick.playbook, home), 5, 5)


# -- tables --------------------------------------------------------------------------------------------------


def read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else pl.read_parquet(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_forecasts_are_written_in_long_form_for_anyone_to_score(quick: QuickRun, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"forecasts{suffix}"
    write_forecasts(quick.record, path)
    table = read(path)
    assert tuple(table.columns) == ("symbol", "time", "horizon", *LEVELS)
    assert table["time"].dtype == pl.Datetime("us", "UTC")
    assert table.height == 2 * 4 * (BARS - quick.record.start)
    assert table.select(pl.struct("symbol", "time", "horizon").is_duplicated().any()).item() is False
    ordered = [pl.col(a) <= pl.col(b) for a, b in pairwise(LEVELS)]
    assert table.select(pl.all_horizontal(ordered).all()).item()
    forecast = quick.record.decision.belief.forecast
    last = table.filter(pl.col("symbol") == "CCC", pl.col("horizon") == 5).sort("time").tail(1)
    assert last.select(LEVELS).row(0) == pytest.approx(forecast.quantiles[-1, 2, 1].tolist())


def test_forecasts_in_a_file_cover_what_happened_as_often_as_the_result_says(quick: QuickRun, tmp_path: Path) -> None:
    write_forecasts(quick.record, tmp_path / "f.parquet")
    truth = (
        prices()
        .with_columns(outcome=(pl.col("close").shift(-5).over("symbol") / pl.col("close")).log())
        .with_columns(time=pl.col("date").str.to_date(), day=pl.col("date"))
        .select("symbol", "day", "outcome")
    )
    table = pl.read_parquet(tmp_path / "f.parquet").filter(pl.col("horizon") == 5)
    scored = table.with_columns(day=pl.col("time").dt.strftime("%Y-%m-%d")).join(truth, on=["symbol", "day"])
    scored = scored.drop_nulls("outcome")
    held = scored.select((pl.col("outcome") >= pl.col("q10")) & (pl.col("outcome") <= pl.col("q90"))).to_series().mean()
    quality = quick.record.result["forecast_quality"]["ridge (calibrated)"]["5"]
    assert held == pytest.approx(quality["coverage_80"], abs=1e-6)
    assert scored.height == quality["n"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_weights_are_written_as_they_were_decided_at_each_close(quick: QuickRun, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    write_weights(quick.record, path)
    table = read(path)
    assert table.columns == ["symbol", "time", "weight"]
    assert table["time"].dtype == pl.Datetime("us", "UTC")
    decided = corridor.scheduled(quick.record.world, quick.record.decision.targets)
    assert table.height == np.isfinite(decided).sum()
    assert table["weight"].sum() == pytest.approx(np.nansum(decided))
    assert table["weight"].is_between(0, 0.2).all()
    assert table["time"].n_unique() <= math.ceil((BARS - quick.record.start) / 2)  # every second bar


def test_an_unknown_extension_is_refused_before_anything_is_written(quick: QuickRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown extension '\.xlsx'") as caught:
        write_forecasts(quick.record, tmp_path / "forecasts.xlsx")
    assert ".parquet or .csv" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_compared_model_that_cannot_be_fitted_is_left_out_and_said(quick: QuickRun, home: Path) -> None:
    record = backtest(workspace(quick.playbook, home, models__compare='["garch_t", "har"]'))
    (note,) = (text for text in record.result["notes"] if "garch_t" in text)
    assert "left out" in note and "no symbol has the 250 returns" in note
    assert set(record.forecasts) == {"ridge", "har", "naive_normal"}
    quality = record.result["forecast_quality"]
    for horizon, row in quality["garch_t"].items():
        assert row.keys() - {"reason"} == quality["har"][horizon].keys()
        assert row["n"] == 0 and "250 returns" in row["reason"]
        assert all(row[name] is None for name in row if name not in ("n", "reason"))
    assert quality["har"]["5"]["pinball"] > 0
    assert all(p is not None for p in record.result["superior_ability_p"].values())
    assert record.result["superior_ability_reason"] == "without garch_t, which could not be fitted"
    text = write_report(record, home / "report.html").read_text("utf-8")
    assert "could not be fitted: no symbol has the 250 returns" in text
    assert "(without garch_t, which could not be fitted)" in text


def test_training_leaves_out_a_compared_model_that_cannot_be_fitted(quick: QuickRun, home: Path) -> None:
    models = train(workspace(quick.playbook, home, models__compare='["garch_t"]'))["models"]
    assert "250 returns" in models["garch_t"]["left_out"]
    assert models["ridge"]["folds"] > 0 and "left_out" not in models["ridge"]


def test_the_traded_model_must_be_fitted(quick: QuickRun, home: Path) -> None:
    with pytest.raises(DataError, match="250 returns"):
        backtest(workspace(quick.playbook, home, models__use="garch_t"))


def test_a_superior_ability_that_is_missing_has_a_reason() -> None:
    assert superior_ability_reason({"1": 0.3, "5": 0.4}, {}) is None
    assert "fewer than 50 dates" in str(superior_ability_reason({"1": 0.3, "5": None}, {}))
