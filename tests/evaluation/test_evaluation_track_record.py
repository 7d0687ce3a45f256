"""Trials are counted, runs come out again, and what was known then is what is said of then."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from spine_kit import BARS, PLAYBOOK, SYMBOLS, QuickRun, prices, system, workspace
from tradewind.clock import FixedClock
from tradewind.errors import DataError, InputError
from tradewind.evaluation import runs
from tradewind.evaluation.backtest import TrackRecord, backtest, clean, save
from tradewind.evaluation.data import synchronise
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.reproduce import reproduce
from tradewind.evaluation.track_record import Trials, backtest_overfitting, deflated, time_in_the_market


def run(playbook: Path, home: Path, *, as_of: datetime | None = None, **overrides: object) -> TrackRecord:
    used = workspace(playbook, home, **overrides)
    record = backtest(used, as_of=as_of)
    save(record, used)
    used.records.close()
    return record


def trials(record: TrackRecord) -> int:
    return int(record.result["track_record"]["trials"])


# -- trials --------------------------------------------------------------------------------------------------


def test_an_identical_run_on_identical_data_is_no_new_trial(quick: QuickRun, home: Path) -> None:
    assert trials(quick.record) == 1
    again = run(quick.playbook, home)
    assert trials(again) == 1
    assert clean(again.result) == clean(quick.record.result)


def test_every_other_setting_that_was_looked_at_is_a_trial(quick: QuickRun, home: Path) -> None:
    second = run(quick.playbook, home, decision__every_bars=3)
    third = run(quick.playbook, home, decision__every_bars=4)
    assert (trials(second), trials(third)) == (2, 3)
    assert trials(run(quick.playbook, home)) == 3


def test_prose_is_no_setting(quick: QuickRun, home: Path) -> None:
    assert trials(run(quick.playbook, home, playbook__description="other words")) == 1


def test_variants_under_another_name_count_where_they_say_that_they_are_of_the_family(
    quick: QuickRun, home: Path, tmp_path: Path
) -> None:
    def named(name: str, head: str) -> Path:
        text = quick.playbook.read_text().replace("every_bars = 2", "every_bars = 3")
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace("format = 1", f"format = 1\n{head}"))
        return path

    assert trials(run(named("stranger", ""), home)) == 1
    assert trials(run(named("cousin", 'lineage = "quick"'), home)) == 2


def test_overfitting_has_a_reason_below_two_trials_and_a_number_from_two_on(quick: QuickRun, home: Path) -> None:
    alone = quick.record.result["track_record"]
    assert alone["pbo"] is None
    assert "two" in alone["pbo_reason"] or "one" in alone["pbo_reason"]
    assert "no_pbo" in {flag["code"] for flag in quick.record.result["red_flags"]}
    both = run(quick.playbook, home, decision__every_bars=3).result["track_record"]
    assert 0 <= both["pbo"] <= 1
    assert both["pbo_reason"] is None


def test_trials_over_other_bars_are_counted_but_not_compared() -> None:
    rng = np.random.default_rng(1)
    longer = [rng.standard_normal(300) for _ in range(3)]
    value, reason = backtest_overfitting([*longer, rng.standard_normal(200)], 200)
    assert value is None and reason
    assert backtest_overfitting(longer, 300)[0] is not None
    assert backtest_overfitting([], 300)[0] is None


def test_a_second_look_lowers_the_deflated_sharpe() -> None:
    returns = np.random.default_rng(2).normal(0.0006, 0.01, 500)
    alone = deflated(returns, Trials(1, (1.0,), ()), 252)
    others = deflated(returns, Trials(5, (1.0, 0.2, -0.5, 0.7, 0.4), ()), 252)
    assert others < alone


def test_a_damaged_series_of_an_earlier_trial_is_counted_but_not_compared(quick: QuickRun, home: Path) -> None:
    (stored,) = (home / "trials").glob("*.npy")
    stored.write_bytes(stored.read_bytes()[:50])
    other = run(quick.playbook, home, decision__every_bars=3).result["track_record"]
    assert (other["trials"], other["pbo"]) == (2, None)
    assert run(quick.playbook, home).result["track_record"]["pbo"] is not None


# -- the same numbers again ----------------------------------------------------------------------------------


def test_a_run_comes_out_again_number_by_number(quick: QuickRun, home: Path) -> None:
    answer = reproduce(home, home / "runs" / quick.folder.name)
    assert answer["equal"] and answer["differences"] == [] and answer["changed"] == []
    assert answer["reproduced"] == quick.folder.name


def test_a_number_that_was_tampered_with_is_found(quick: QuickRun, home: Path) -> None:
    folder = home / "runs" / quick.folder.name
    result = runs.read(folder, "result.json")
    result["track_record"]["sharpe"] += 1e-9
    result["recommendations"][1]["weight"] = 0.5
    runs.write(folder, "result.json", result)
    answer = reproduce(home, folder)
    assert not answer["equal"]
    assert [row["path"] for row in answer["differences"]] == ["recommendations[1].weight", "track_record.sharpe"]


def test_a_run_comes_out_again_after_its_data_were_corrected_and_others_were_tried(tmp_path: Path) -> None:
    playbook, home = system(tmp_path), tmp_path / "home"
    first = run(playbook, home)
    corrected = prices().with_columns(close=(pl.col("close") * 1.001).round(4), high=pl.col("high") * 1.01)
    corrected.write_csv(tmp_path / "prices.csv")
    assert synchronise(workspace(playbook, home)).bars.corrected == BARS * len(SYMBOLS)
    second = run(playbook, home)
    assert second.manifest.data_version != first.manifest.data_version
    assert second.result["track_record"]["sharpe"] != first.result["track_record"]["sharpe"]
    answer = reproduce(home, home / "runs" / first.manifest.run)
    assert answer["equal"], answer["differences"]


def test_the_newest_run_is_the_latest_even_within_one_second(quick: QuickRun, home: Path) -> None:
    moment = datetime(2030, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
    made = []
    for tick in range(3):
        used = workspace(quick.playbook, home, decision__every_bars=3 + tick)
        object.__setattr__(used, "clock", FixedClock(moment + timedelta(microseconds=tick)))
        record = backtest(used)
        save(record, used)
        made.append(record.manifest.run)
        assert runs.folder_of(home, "latest").name == record.manifest.run
    assert made == sorted(set(made))


def test_an_unknown_run_is_refused_with_those_there_are(quick: QuickRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'yesterday'") as caught:
        runs.folder_of(quick.home, "yesterday")
    assert quick.folder.name in caught.value.hint
    with pytest.raises(InputError) as caught:
        runs.folder_of(tmp_path, "latest")
    assert "tradewind backtest" in caught.value.hint


def test_a_damaged_result_is_said_to_be_damaged(quick: QuickRun, home: Path) -> None:
    folder = home / "runs" / quick.folder.name
    (folder / "result.json").write_text('{"playbook": "qui')
    with pytest.raises(DataError, match=r"cannot read .*result\.json"):
        reproduce(home, folder)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"a": 1.0}, {"a": 1.0}, []),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b[1]"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, ["a"]),
        ({"a": None}, {"a": 0.0}, ["a"]),
    ],
)
def test_differences_are_exact_and_say_where(before: Any, after: Any, paths: list[str]) -> None:
    assert [row["path"] for row in runs.differences(before, after)] == paths


# -- as of then ----------------------------------------------------------------------------------------------


def test_what_is_said_as_of_then_is_what_would_have_been_said_then(quick: QuickRun, home: Path, tmp_path: Path) -> None:
    row = 371
    moment = as_datetime(quick.record.world.panel.times[row])
    now = run(quick.playbook, home, as_of=moment)
    day = str(quick.record.world.panel.times[row])[:10]
    then = run(system(tmp_path / "then", prices().filter(pl.col("date") <= day)), tmp_path / "then" / "home")
    assert now.result["as_of"] == then.result["as_of"] == f"{day}T20:00:00Z"
    said, heard = dict(clean(now.result)), dict(clean(then.result))
    for result in (said, heard):
        result.pop("playbook_hash")  # the file lies elsewhere
        result["track_record"].pop("trials"), result["track_record"].pop("deflated_sharpe")
    assert runs.differences(heard, said) == []


def test_a_moment_between_two_closes_sees_the_earlier_one(quick: QuickRun, home: Path) -> None:
    times = quick.record.world.panel.times
    before = as_datetime(times[371]) - timedelta(microseconds=1)
    assert run(quick.playbook, home, as_of=before).result["as_of"] == f"{str(times[370])[:19]}Z"


def test_recommendations_of_the_past_in_one_record_are_those_that_were_given(quick: QuickRun, home: Path) -> None:
    row = 371
    then = run(quick.playbook, home, as_of=as_datetime(quick.record.world.panel.times[row]))
    assert quick.record.decision.recommendations(row) == then.result["recommendations"]


# -- the log of predictions ----------------------------------------------------------------------------------


def test_every_forecast_and_signal_of_the_newest_bar_is_logged(quick: QuickRun) -> None:
    records = workspace(quick.playbook, quick.home).records
    logged, signals = records.predictions(quick.folder.name), records.signals(quick.folder.name)
    records.close()
    assert {(p.symbol, p.horizon_bars) for p in logged} == {(s, h) for s in SYMBOLS for h in (1, 5)}
    assert {p.time for p in logged} == {as_datetime(quick.record.world.panel.times[-1])}
    assert all(sorted(p.quantiles.values()) == list(p.quantiles.values()) for p in logged)
    assert all(p.outcome is None for p in logged)
    assert {s.symbol: (s.action, s.weight) for s in signals} == {
        r["symbol"]: (r["action"], r["weight"]) for r in quick.record.result["recommendations"]
    }


def test_a_forecast_is_resolved_with_what_happened_once_that_is_known(quick: QuickRun, home: Path) -> None:
    row = BARS - 4
    then = run(quick.playbook, home, as_of=as_datetime(quick.record.world.panel.times[row]))
    run(quick.playbook, home)
    records = workspace(quick.playbook, home).records
    logged = records.predictions(then.manifest.run)
    records.close()
    close = {s: prices().filter(pl.col("symbol") == s)["close"].to_numpy() for s in SYMBOLS}
    for made in logged:
        if made.horizon_bars == 1:
            assert made.outcome == pytest.approx(math.log(close[made.symbol][row + 1] / close[made.symbol][row]))
            assert made.resolved_at is not None
        else:
            assert made.outcome is None  # five bars later lies beyond the data


def test_a_forecast_of_another_market_is_not_resolved_with_this_one(
    quick: QuickRun, home: Path, tmp_path: Path
) -> None:
    then = run(quick.playbook, home, as_of=as_datetime(quick.record.world.panel.times[-10]))
    run(system(tmp_path / "other", prices(seed=4)), home)
    records = workspace(quick.playbook, home).records
    outcomes = {p.outcome for p in records.predictions(then.manifest.run)}
    records.close()
    assert outcomes == {None}


# -- what a result is ----------------------------------------------------------------------------------------


def test_a_result_is_plain_json_without_nan_and_what_changes_stands_under_run(quick: QuickRun) -> None:
    stored = json.loads((quick.folder / "result.json").read_text())
    assert {k: v for k, v in stored.items() if k != "run"} == clean(quick.record.result)
    text = json.dumps({k: v for k, v in stored.items() if k != "run"})
    assert "NaN" not in text
    assert quick.folder.name not in text and str(quick.home) not in text


def test_doubled_costs_double_what_trading_costs_and_cost_performance(quick: QuickRun) -> None:
    base, dear = quick.record.simulations["base"], quick.record.simulations["double_costs"]
    # The books drift apart a little, because costs eat equity.
    assert sum(dear.costs.values()) == pytest.approx(2 * sum(base.costs.values()), rel=0.05)
    robust = quick.record.result["robustness"]["double_costs"]
    assert robust["annual_return"] < quick.record.result["track_record"]["annual_return"]


def test_without_costs_doubling_them_changes_nothing(quick: QuickRun, home: Path) -> None:
    free = {f"execution__{name}": 0.0 for name in ("commission_bps", "spread_bps", "slippage_bps")}
    record = run(quick.playbook, home, **free)
    np.testing.assert_array_equal(record.simulations["double_costs"].equity, record.simulations["base"].equity)


def test_one_bar_of_delay_fills_one_bar_later(quick: QuickRun) -> None:
    base, late = (quick.record.simulations[name].fills["row"].to_numpy() for name in ("base", "delay_1"))
    assert late.min() == base.min() + 1
    assert base.min() > quick.record.start  # a close is never traded on itself


def test_nothing_is_traded_before_the_first_out_of_sample_forecast(quick: QuickRun) -> None:
    base = quick.record.simulations["base"]
    assert np.all(base.shares[: quick.record.start + 1] == 0)
    assert np.all(base.equity[: quick.record.start + 1] == quick.record.world.plan.account.start_capital)


def test_hypothetical_baselines_are_those_of_the_prices(quick: QuickRun) -> None:
    wide = prices().pivot(on="symbol", index="date", values="close").sort("date").select(SYMBOLS).to_numpy()
    moves = (wide[1:] / wide[:-1] - 1).mean(axis=1)[quick.record.start :]
    expected = moves.mean() / moves.std(ddof=1) * math.sqrt(252)
    assert quick.record.result["track_record"]["baseline_sharpe"] == pytest.approx(expected, rel=1e-6)


def test_the_playbooks_targets_are_judged(quick: QuickRun) -> None:
    rows = {row["target"]: row["verdict"] for row in quick.record.result["targets"]}
    assert rows["maximum drawdown < 50 %"] == "met"
    assert rows["annual return above the index"] == "cannot tell"  # there is no index in the file
    assert len(rows) == 3


def test_what_the_playbook_warns_of_stands_in_the_result(quick: QuickRun, home: Path) -> None:
    assert run(quick.playbook, home, playbook__warnings=["mind the gap"]).result["warnings"] == ["mind the gap"]


def test_horizons_shorter_than_a_bar_are_dropped_and_said(tmp_path: Path) -> None:
    text = PLAYBOOK.replace("horizons_bars = [1, 5]", 'horizons = ["1h", "1d", "1w"]')
    record = run(system(tmp_path, playbook=text), tmp_path / "home")
    assert list(record.result["coverage"]) == ["1", "5"]
    assert any("1h is shorter than a 1d bar" in note for note in record.result["notes"])


def test_every_action_says_what_its_target_and_stop_are(quick: QuickRun) -> None:
    decision = quick.record.decision
    rows = np.flatnonzero((decision.signals.action != 0).any(axis=1))
    entries = [entry for entry in decision.recommendations(int(rows[-1])) if entry["action"] != "HOLD"]
    assert entries
    for entry in entries:
        assert "quantile of the forecast over 5 bars" in entry["target_note"] and "sigmas" in entry["stop_note"]
        said = [reason for reason in entry["reasons"] if reason.startswith(("target ", "stop "))]
        assert entry["target_note"] in said[0] and "shown, not traded" in said[0]
        assert entry["stop_note"] in said[1] and "5 bars after the signal" in said[1]


@pytest.mark.parametrize(
    ("held", "share", "longest", "period"),
    [
        ([1, 1, 1, 1], 1.0, 0, None),
        ([0, 0, 1, 0], 0.25, 2, ["2020-01-01", "2020-01-02"]),
        ([-1, 0, 0, 0], 0.25, 3, ["2020-01-02", "2020-01-04"]),
        ([0, 5, 0, 5], 0.5, 1, ["2020-01-01", "2020-01-01"]),
    ],
)
def test_time_in_cash_is_counted(held: list[float], share: float, longest: int, period: list[str] | None) -> None:
    times = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]").astype("datetime64[us]")
    found = time_in_the_market(np.column_stack([np.zeros(4), np.array(held, dtype=float)]), times)
    assert list(found.values()) == [share, longest, period]


def test_a_book_is_invested_on_the_bars_whose_exposure_is_not_nothing(quick: QuickRun) -> None:
    exposure = quick.record.simulations["base"].gross_exposure[quick.record.start + 1 :]
    found = quick.record.result["track_record"]
    assert found["share_of_bars_invested"] == pytest.approx(np.mean(exposure > 0))
    assert 0 < found["share_of_bars_invested"] < 1
