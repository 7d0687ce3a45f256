"""Every forecast of a running corridor with what became of it, and what that says of each seat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, f1_score, precision_score, recall_score

from spine_kit import QuickRun, workspace
from tradewind.evaluation import corridor
from tradewind.evaluation.data import load
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.live_skill import Resolved, reliability_of, rolling_coverage, seat_report, skill_of
from tradewind.evaluation.prediction_log import (
    Outcomes,
    as_datetime,
    origin_of_plan,
    origin_of_run,
    predictions_at,
    target_of,
)
from tradewind.evaluation.workspace import Workspace
from tradewind.market.store.records import AliasChange, LiveSession, ModelDecision, ModelRecord, Prediction, Records
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.stats.losses import pinball

START = datetime(2024, 3, 4, 21, tzinfo=UTC)
SEAT = "dual/lstm"


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    made = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    yield made
    made.close()


def session(run: str = "live-1", mode: str = "PAPER", **detail: object) -> LiveSession:
    return LiveSession(run, "dual", "hash", mode, "synthetic", START, detail=detail)


def prediction(
    day: int,
    symbol: str = "AAA",
    *,
    outcome: float | None = None,
    sigma: float = 0.02,
    median: float = 0.0,
    **more: object,
) -> Prediction:
    """Return a normal forecast of one day; the naive one beside it is of standard deviation 0.02."""
    quantiles = {f"{p:g}": float(median + sigma * ndtri(p)) for p in LEVELS}
    known = {
        "run": "live-1",
        "seat": SEAT,
        "model": "lstm-a",
        "regime": "bull",
        "scale": 0.02,
        "horizon_bars": 1,
    } | more
    return Prediction(
        symbol=symbol,
        time=START + timedelta(days=day),
        target=target_of("lstm"),
        quantiles=quantiles,
        outcome=outcome,
        **known,  # type: ignore[arg-type]
    )


def drawn(count: int = 2000, seed: int = 4, sigma: float = 0.02, **more: object) -> list[Prediction]:
    """Return forecasts whose medians know something of what comes."""
    rng = np.random.default_rng(seed)
    signal = 0.01 * rng.standard_normal(count)
    came = signal + 0.02 * rng.standard_normal(count)
    return [
        prediction(day // 4, f"S{day % 4}", outcome=float(r), median=float(m), sigma=sigma, **more)
        for day, (m, r) in enumerate(zip(signal, came, strict=True))
    ]


def arrays(made: list[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([[*one.quantiles.values()] for one in made]), np.array([one.outcome for one in made], dtype=float)


def test_every_figure_is_what_the_textbooks_say() -> None:
    made = drawn()
    found = skill_of(Resolved.of(made))
    quantiles, came = arrays(made)
    medians = quantiles[:, 3]
    for name, low, high in (("90", 0, 6), ("80", 1, 5), ("50", 2, 4)):
        held = (came >= quantiles[:, low]) & (came <= quantiles[:, high])
        assert found["coverage"][name] == pytest.approx(held.mean())
    assert found["coverage_80"] == found["coverage"]["80"] == pytest.approx(0.8, abs=0.03)
    own, naive = (pinball(came, q, LEVELS).mean() for q in (quantiles, np.tile(0.02 * ndtri(LEVELS), (len(made), 1))))
    assert found["pinball"] == pytest.approx(own) and found["pinball_skill"] == pytest.approx(1 - own / naive)
    assert found["hit_rate"] == pytest.approx(np.mean(np.sign(medians) == np.sign(came)))
    told = found["direction"]
    for side, label in (("up", 1), ("down", -1)):
        words = {"labels": [label], "average": "macro"}
        assert told[f"precision_{side}"] == pytest.approx(precision_score(np.sign(came), np.sign(medians), **words))
        assert told[f"recall_{side}"] == pytest.approx(recall_score(np.sign(came), np.sign(medians), **words))
    assert told["f1"] == pytest.approx(f1_score(np.sign(came), np.sign(medians), labels=[1, -1], average="macro"))
    rose = norm.sf(0.0, medians, 0.02)
    assert found["brier"] == pytest.approx(brier_score_loss(came > 0, rose), rel=0.01)
    assert found["forecasts"] == 2000 and found["dates"] == 500


def test_forecasts_that_are_too_narrow_are_caught_at_it() -> None:
    found = skill_of(Resolved.of(drawn(8000, sigma=0.012)))
    assert found["coverage_80"] < 0.6 and found["calibration_error"] > 0.04
    assert skill_of(Resolved.of(drawn(8000)))["calibration_error"] < 0.025


def test_without_an_outcome_or_a_naive_forecast_nothing_is_made_up() -> None:
    empty = skill_of(Resolved.of([prediction(0)]))
    assert empty["forecasts"] == 0 and empty["coverage_80"] is None and empty["brier"] is None
    found = skill_of(Resolved.of(drawn(40, scale=None)))
    assert found["pinball_skill"] is None and found["pinball"] > 0


def test_the_naive_forecast_itself_has_no_skill() -> None:
    same = [prediction(day, outcome=0.01 * (-1) ** day) for day in range(50)]
    assert skill_of(Resolved.of(same))["pinball_skill"] == pytest.approx(0.0)


def test_reliability_counts_everything_once() -> None:
    rng = np.random.default_rng(1)
    said = rng.uniform(0.3, 0.7, 1000)
    rows = reliability_of(said, rng.uniform(size=1000) < said)
    assert sum(row["n"] for row in rows) == 1000 and len(rows) == 10
    assert all(abs(row["probability"] - row["happened"]) < 0.2 for row in rows)
    assert reliability_of(np.full(7, 0.5), np.arange(7) < 3) == [
        {"probability": 0.5, "happened": pytest.approx(3 / 7), "n": 7}
    ]
    assert reliability_of(np.empty(0), np.empty(0)) == []


def test_rolling_coverage_is_a_mean_of_dates_at_the_last_of_them() -> None:
    inside = [prediction(day, outcome=0.0) for day in range(120)]
    outside = [prediction(day, outcome=0.5) for day in range(120, 150)]
    points = rolling_coverage(Resolved.of([*inside, *outside]), dates=20)
    assert len(points) == 131 and points[0]["time"] == "2024-03-23T21:00:00+00:00"
    assert points[0]["value"] == 1.0 and points[-1]["value"] == 0.0
    assert len(rolling_coverage(Resolved.of([prediction(day, outcome=0.0) for day in range(900)]))) == 200


def test_levels_that_most_do_not_have_are_left_out() -> None:
    odd = Prediction("live-1", "AAA", START, "log_return:lstm", 2, {"0.5": 0.0}, outcome=0.1, seat=SEAT)
    assert len(Resolved.of([*drawn(20), odd])) == 20


# -- what became of it ---------------------------------------------------------------------------------------


@pytest.fixture
def used(quick: QuickRun, home: Path) -> Iterator[Workspace]:
    made = workspace(quick.playbook, home)
    yield made
    made.records.close()


def test_a_corridors_forecasts_are_resolved_late_in_bulk_and_once(used: Workspace) -> None:
    """Recorded bar by bar, told by labels of the whole history, against the prices themselves."""
    records, world = used.records, corridor.build_world(used.plan, load(used).panel)
    made = corridor.calibrated(world, corridor.forecast_out_of_sample(world, "ridge", FoldCache(None)))[0]
    records.record_live_session(session(origin=list(origin_of_plan(used.plan))))
    scale = world.labels.scale
    for row in range(300, 420):
        told = predictions_at(
            made, row, run="live-1", model="ridge", seat="quick", artefact="ridge-a", regime="bear", scale=scale[row]
        )
        records.record_predictions(told)
        records.record_predictions(told)
    known = Outcomes(
        world.panel.times, world.panel.symbols, world.labels.horizons, world.labels.returns, origin_of_plan(used.plan)
    )
    at = as_datetime(world.panel.times[-1])
    head = world.head(360)
    early = Outcomes(
        head.panel.times, head.panel.symbols, head.labels.horizons, head.labels.returns, origin_of_plan(used.plan)
    )
    first = early.resolve(records, at=at, runs=["live-1"])
    assert first == (60 - 1) * 4 + (60 - 5) * 4
    assert known.resolve(records, at=at, runs=["live-1"]) == (119 + 115) * 4 - first
    assert known.resolve(records, at=at, runs=["live-1"]) == 0
    assert records.count_predictions("quick") == (120 * 4 * 2, (119 + 115) * 4)
    adjusted = np.log(world.panel.adjusted("close"))
    rows = {as_datetime(time): row for row, time in enumerate(world.panel.times)}
    for one in records.predictions_of("quick", resolved=True, limit=50):
        row, column = rows[one.time], world.panel.symbols.index(one.symbol)
        assert one.outcome == pytest.approx(adjusted[row + one.horizon_bars, column] - adjusted[row, column])
        assert one.scale == pytest.approx(scale[row, column] * np.sqrt(one.horizon_bars))
    report = seat_report(records, "quick", horizon_bars=5)
    assert report["live"]["judged"] == 115 * 4 and set(report["live"]["by_regime"]) == {"bear"}
    assert set(report["live"]["by_symbol"]) == set(world.panel.symbols)


def test_forecasts_of_other_bars_are_left_alone(used: Workspace) -> None:
    records, world = used.records, corridor.build_world(used.plan, load(used).panel)
    time = as_datetime(world.panel.times[10])
    for run, origin in (("same", origin_of_plan(used.plan)), ("other", ("yahoo", "{}", "1d"))):
        records.record_live_session(session(run, origin=list(origin)))
    for run in ("same", "other", "nobody-knows"):
        records.record_predictions([Prediction(run, "AAA", time, target_of("x"), 1, {"0.5": 0.0}, seat="s")])
    strange = [
        Prediction("same", "ZZZ", time, target_of("x"), 1),
        Prediction("same", "AAA", time, target_of("x"), 3),
        Prediction("same", "AAA", time, "volatility", 1),
        Prediction("same", "AAA", time + timedelta(hours=1), target_of("x"), 1),
    ]
    records.record_predictions(strange)
    known = Outcomes(
        world.panel.times, world.panel.symbols, world.labels.horizons, world.labels.returns, origin_of_plan(used.plan)
    )
    found = known.of(records, runs=["same", "other", "nobody-knows"])
    assert [(one.run, one.symbol, one.horizon_bars, one.target) for one, _ in found] == [
        ("same", "AAA", 1, "log_return:x")
    ]
    assert origin_of_run(records, "nobody-knows") is None


def test_classes_are_stored_by_their_names() -> None:
    chances = np.array([[[[0.2, 0.3, 0.5]], [[np.nan] * 3]]])
    quantiles = np.tile(ndtri(np.asarray(LEVELS)), (1, 2, 1, 1))
    times = np.array([np.datetime64("2024-03-04T21:00", "us")])
    forecast = Forecast(times, ("A", "B"), (5,), LEVELS, quantiles, np.zeros((1, 2, 1)), probabilities=chances)
    one, other = predictions_at(forecast, 0, run="r", scale=np.array([0.01, np.nan]))
    assert one.probabilities == {"down": 0.2, "neutral": 0.3, "up": 0.5} and other.probabilities == {}
    assert one.target == "log_return" and one.scale == pytest.approx(0.01 * np.sqrt(5)) and other.scale is None
    assert list(one.quantiles) == ["0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95"]


# -- the report of a seat ------------------------------------------------------------------------------------


def seated(records: Records) -> None:
    at = START - timedelta(days=30)
    for name in ("lstm-a", "lstm-b"):
        records.record_model(ModelRecord(name, "dual", "lstm", name[-1], at, at - timedelta(days=9), "digest"))
    records.change_aliases(SEAT, lambda _: [AliasChange(SEAT, "champion", "lstm-a", at, "train")])
    later = START + timedelta(days=250)
    decision = ModelDecision(SEAT, later, "promoted", "lstm-a", "lstm-b", ["it saves 3 %"], {"looks": 1}, "nightly")
    records.change_aliases(SEAT, lambda _: [AliasChange(SEAT, "champion", "lstm-b", later, "promote")], decision)


def test_a_seat_tells_who_sits_there_how_good_it_is_and_what_was_decided(records: Records) -> None:
    seated(records)
    records.record_live_session(session())
    records.record_live_session(session("replay-1", "REPLAY"))
    made = [*drawn(800), *drawn(800, seed=9, model="lstm-b", regime="bear", horizon_bars=6)]
    records.record_predictions([*made, prediction(1000), *drawn(40, run="replay-1")])
    report = seat_report(records, SEAT)
    assert (report["seat"], report["key"], report["model"]) == ("lstm", SEAT, "lstm")
    assert report["champion"]["id"] == "lstm-b" and report["challenger"] is None
    assert set(report["champion"]) == {"id", "version", "trained_until", "made"}
    assert report["champions_before"] == ["lstm-a"]
    live = report["live"]
    assert (live["forecasts"], live["resolved"], live["judged"]) == (1601, 1600, 1600), "a replay's are no live ones"
    for group, names in (
        ("by_regime", {"bull", "bear"}),
        ("by_model", {"lstm-a", "lstm-b"}),
        ("by_horizon", {"1", "6"}),
    ):
        assert set(live[group]) == names and all(one["forecasts"] == 800 for one in live[group].values())
    assert live["by_model"]["lstm-b"] == skill_of(Resolved.of(made[800:]))
    assert sum(row["n"] for row in report["reliability"]) == 1600
    (decision,) = report["decisions"]
    assert (
        decision["decision"] == "promoted" and decision["reasons"] == ["it saves 3 %"] and decision["by"] == "nightly"
    )
    assert seat_report(records, SEAT, runs=["replay-1"])["live"]["resolved"] == 40


def test_an_empty_seat_says_so(records: Records) -> None:
    report = seat_report(records, SEAT)
    assert report["champion"] is None and report["decisions"] == [] and report["reliability"] == []
    assert report["live"]["forecasts"] == 0 and report["live"]["coverage_rolling"] == []


def test_only_the_newest_forecasts_are_read(records: Records) -> None:
    records.record_live_session(session())
    records.record_predictions(drawn(400))
    live = seat_report(records, SEAT, limit=100)["live"]
    assert (live["forecasts"], live["resolved"], live["judged"], live["dates"]) == (400, 400, 100, 25)
