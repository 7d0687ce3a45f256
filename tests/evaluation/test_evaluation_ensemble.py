"""An ensemble walks the corridor as a model does: shown beside its members and equal weights, audited, reproduced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spine_kit import PLAYBOOK, QuickRun, system, workspace
from tradewind.audit.playbook import audit_playbook
from tradewind.cli.show import show_result
from tradewind.cli.steps import show_steps
from tradewind.errors import DataError, PlaybookError
from tradewind.evaluation import corridor
from tradewind.evaluation.backtest import backtest, clean, save
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.ensemble import ALERT_P, RECENT_DATES, ensemble_flags, ensemble_result
from tradewind.evaluation.explain import explain
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.reproduce import reproduce
from tradewind.evaluation.training import train
from tradewind.evaluation.validate import validated
from tradewind.models.base import MODELS
from tradewind.models.ensembles.base import COMBINERS
from tradewind.models.ensembles.combine import combine
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.naive import NaiveT
from tradewind.models.settings import EnsembleSection
from tradewind.playbook import load

MEMBERS = ("ridge", "naive_t", "naive_normal")
SECTION = '[ensemble]\nmembers = ["ridge", "naive_t", "naive_normal"]\nmethod = "ewma_softmax"\n'
TOGETHER = PLAYBOOK.replace('use = "ridge"', 'use = "ensemble"').replace("[decision]", f"{SECTION}\n[decision]")
NOWHERE = FoldCache(None)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> QuickRun:
    folder = tmp_path_factory.mktemp("together")
    playbook, home = system(folder, playbook=TOGETHER), folder / "home"
    used = workspace(playbook, home)
    record = backtest(used)
    run = save(record, used)
    used.records.close()
    return QuickRun(playbook, home, used, record, run)


@pytest.fixture(scope="module")
def world(together: QuickRun) -> corridor.World:
    return together.record.world


def with_method(together: QuickRun, method: str) -> corridor.World:
    plan = workspace(together.playbook, together.home, ensemble__method=method).plan
    return replace(together.record.world, plan=plan)


# --- what a result says -------------------------------------------------------------------------------------------


def test_the_result_shows_equal_weights_and_every_member_beside_the_ensemble(together: QuickRun) -> None:
    result = together.record.result
    said = result["ensemble"]
    for h in ("1", "5"):
        assert set(said["pinball_skill"][h]) == {"ensemble", "equal_weight", *MEMBERS}
        assert sum(said["weights_last"][h].values()) == pytest.approx(1)
        assert sum(said["weights_mean"][h].values()) == pytest.approx(1)
        for name in ("ensemble", "equal_weight", "ridge"):
            assert said["pinball_skill"][h][name] == result["forecast_quality"][name][h]["pinball_skill"]
    assert said["weights_last"]["1"]["ridge"] != pytest.approx(1 / 3)
    assert {"ensemble (calibrated)", "ensemble", "equal_weight", *MEMBERS} == set(result["forecast_quality"])


def test_a_members_forecasts_are_those_it_makes_alone(together: QuickRun, world: corridor.World) -> None:
    alone = corridor.forecast_out_of_sample(world, "ridge", NOWHERE)
    np.testing.assert_array_equal(together.record.forecasts["ridge"].quantiles, alone.quantiles)


def test_disagreement_stands_in_every_recommendation_and_beside_the_realised_error(together: QuickRun) -> None:
    for one in together.record.result["recommendations"]:
        assert set(one["disagreement"]) == {"1", "5"}
        assert any("members are" in reason for reason in one["reasons"])
    found = together.record.result["ensemble"]["disagreement"]["5"]["distance"]
    assert found["mean"] > 0 and -1 < found["rank_correlation_with_error"] < 1 and found["n"] > 500


def test_a_playbook_without_an_ensemble_says_nothing_of_one(quick: QuickRun) -> None:
    assert "ensemble" not in quick.record.result
    assert not any("disagreement" in one for one in quick.record.result["recommendations"])


def test_explain_shows_each_members_share(together: QuickRun, capsys: pytest.CaptureFixture[str]) -> None:
    steps = explain(together.record, "BBB")
    own = steps["3_ensemble"]["horizons"]["5"]
    assert set(own["shares"]) == set(MEMBERS) and sum(own["shares"].values()) == pytest.approx(1)
    assert own["distance"] > 0
    made = [steps["3_forecasts"][name]["horizons"]["5"]["q95"] * own["shares"][name] for name in MEMBERS]
    assert sum(made) == pytest.approx(steps["3_forecasts"]["ensemble"]["horizons"]["5"]["q95"])
    show_steps(steps)
    show_result(clean(together.record.to_dict()))
    printed = capsys.readouterr().out
    assert "shares by ewma softmax" in printed and "Ensemble by ewma softmax" in printed


def test_an_ensemble_can_be_compared_without_being_traded(together: QuickRun) -> None:
    used = workspace(together.playbook, together.home, models__use="naive_t", models__compare=["ensemble"])
    record = backtest(used, counts=False)
    assert set(MEMBERS) | {"ensemble", "equal_weight", "naive_t (calibrated)"} == set(record.result["forecast_quality"])
    assert not any("disagreement" in one for one in record.result["recommendations"])
    assert record.result["ensemble"] == together.record.result["ensemble"]
    used.records.close()


def test_train_tells_the_weights(together: QuickRun) -> None:
    made = train(together.workspace)["models"]["ensemble"]
    assert made["version"] == together.record.forecasts["ensemble"].version
    assert made["explanation"]["weights_last"] == together.record.result["ensemble"]["weights_last"]


# --- members -------------------------------------------------------------------------------------------------------


def test_members_are_fitted_once_whatever_the_method(together: QuickRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corridor, "forecast_fold", lambda *_: pytest.fail("a member was fitted again"))
    cache = FoldCache(together.home / "folds")
    versions = {
        corridor.forecast_out_of_sample(with_method(together, name), "ensemble", cache).version
        for name in COMBINERS.names()
    }
    assert len(versions) == len(COMBINERS.names())


class Shy(NaiveT):
    """Cannot be fitted before it has seen a number of bars."""

    name = "shy"
    bars = 0

    def fit(self, windows):
        if len(windows.panel) < self.bars:
            raise DataError(f"shy needs {self.bars} bars, it has {len(windows.panel)}")
        return super().fit(windows)


@pytest.fixture
def shy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Shy]]:
    MODELS.names()
    MODELS.register(Shy)
    yield Shy
    MODELS.forget("shy")


def shy_world(together: QuickRun) -> corridor.World:
    used = workspace(together.playbook, together.home, ensemble__members=["shy", "naive_t"])
    return replace(together.record.world, plan=used.plan)


def test_a_member_that_cannot_be_fitted_is_left_out_where_it_cannot(
    together: QuickRun, shy: type[Shy], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shy_world(together)
    folds = corridor.folds_of(world)
    second = int(folds[1].test[0])
    monkeypatch.setattr(shy, "bars", second)
    combined = corridor.combine_out_of_sample(world, NOWHERE)
    assert combined.left_out == {
        "shy": f"in 1 of {len(folds)} folds: shy needs {second} bars, it has {folds[0].test[0]}"
    }
    alone = combined.members["naive_t"].quantiles
    np.testing.assert_array_equal(combined.forecast.quantiles[:second], alone[:second])
    assert combined.members["shy"].available[second:].any() and not combined.members["shy"].available[:second].any()


def test_what_a_member_can_do_later_changes_nothing_before(
    together: QuickRun, shy: type[Shy], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shy_world(together)
    second = int(corridor.folds_of(world)[1].test[0])
    monkeypatch.setattr(shy, "bars", second)
    whole = corridor.combine_out_of_sample(world, NOWHERE)
    monkeypatch.setattr(shy, "bars", 10_000)
    never = corridor.combine_out_of_sample(world, NOWHERE)
    np.testing.assert_array_equal(whole.weights[:second], never.weights[:second])
    np.testing.assert_array_equal(whole.forecast.quantiles[:second], never.forecast.quantiles[:second])
    assert not never.members["shy"].available.any()


def test_a_result_says_who_was_left_out(
    together: QuickRun, shy: type[Shy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shy, "bars", 10_000)
    used = workspace(together.playbook, tmp_path, ensemble__members=["shy", "naive_t"])
    result = backtest(used).result
    assert any("ensemble: shy is left out" in note for note in result["notes"])
    assert result["ensemble"]["pinball_skill"]["1"]["shy"] is None
    used.records.close()


def test_without_any_member_there_is_no_forecast(
    together: QuickRun, shy: type[Shy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shy, "bars", 10_000)
    used = workspace(together.playbook, together.home, ensemble__members=["shy"])
    with pytest.raises(DataError, match="no member of the ensemble could be fitted: shy needs"):
        corridor.combine_out_of_sample(replace(together.record.world, plan=used.plan), NOWHERE)


# --- nothing from the future ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", COMBINERS.names())
def test_a_truncated_history_gives_the_same_weights_and_forecasts(together: QuickRun, method: str) -> None:
    world = with_method(together, method)
    stop = int(corridor.folds_of(world)[1].test[0]) + 30
    cache = FoldCache(together.home / "folds")
    whole = corridor.combine_out_of_sample(world, cache)
    then = corridor.combine_out_of_sample(corridor.build_world(world.plan, world.panel.head(stop)), cache)
    np.testing.assert_allclose(then.weights, whole.weights[:stop], atol=1e-9)
    np.testing.assert_allclose(then.forecast.quantiles, whole.forecast.quantiles[:stop], atol=1e-9)
    assert np.ptp(whole.weights[:stop], axis=0).max() > 0.01 or method == "equal"


@pytest.mark.parametrize("method", ["thompson", "stacking"])
def test_the_audit_of_an_ensemble_finds_nothing(together: QuickRun, tmp_path: Path, method: str) -> None:
    used = workspace(together.playbook, tmp_path / "home", ensemble__method=method)
    audit = audit_playbook(used)
    assert not audit.findings and not audit.unexamined
    assert "forecasts" in audit.subjects


def test_the_audit_catches_weights_that_know_what_is_not_resolved(
    together: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def early(members, outcomes, combiner, left_out):
        """Outcomes as if each were known when it was forecast."""
        told = np.full_like(outcomes, np.nan)
        for index, h in enumerate((1, 5)):
            told[:-h, :, index] = outcomes[h:, :, index]
        return combine(members, told, combiner, left_out)

    def hindsight(members, outcomes, combiner, left_out):
        """The weights of the last bar for the whole past."""
        made = combine(members, outcomes, combiner, left_out)
        settled = COMBINERS.create("equal")
        object.__setattr__(settled, "start", lambda *_: made.weights[-1])
        return combine(members, outcomes, settled, left_out)

    for plant in (early, hindsight):
        monkeypatch.setattr(corridor, "combine", plant)
        used = workspace(together.playbook, tmp_path / plant.__name__)
        assert "forecasts" in {finding.subject for finding in audit_playbook(used).findings}


def test_a_reproduction_agrees(together: QuickRun) -> None:
    found = reproduce(together.home, together.folder)
    assert found["equal"], found["differences"]


# --- alerts --------------------------------------------------------------------------------------------------------


def made(sigma: np.ndarray, shift: np.ndarray) -> Forecast:
    """Normal forecasts over one bar for two symbols, of this width and this far off by bar."""
    from scipy.special import ndtri

    bars = len(sigma)
    quantiles = (shift[:, None] + sigma[:, None] * ndtri(np.asarray(LEVELS)))[:, None, None, :]
    quantiles = np.tile(quantiles, (1, 2, 1, 1))
    times = np.datetime64("2015-01-01T21:00:00", "us") + np.arange(bars) * np.timedelta64(1, "D")
    return Forecast(times, ("A", "B"), (1,), LEVELS, quantiles, quantiles[..., 3].copy(), model="made")


def alerts(good: Forecast, bad: Forecast, bars: int) -> list[str]:
    """Flags of an ensemble that trusts the first member alone, where returns are standard normal."""
    came = np.random.default_rng(5).standard_normal((bars, 2, 1))
    came[-1] = np.nan
    combiner = COMBINERS.create("equal")
    object.__setattr__(combiner, "start", lambda *_: np.array([[1.0, 0.0]]))
    combined = combine({"trusted": good, "other": bad}, came, combiner)
    return [flag["code"] for flag in ensemble_flags(ensemble_result(combined, came, {}, EnsembleSection()))]


def test_an_ensemble_as_good_as_ever_raises_no_alert() -> None:
    bars, still = 600, np.zeros(600)
    assert alerts(made(still + 1, still), made(still + 1.5, still), bars) == []


def test_an_ensemble_that_gets_worse_raises_both_alerts() -> None:
    bars, still = 600, np.zeros(600)
    late = np.where(np.arange(bars) > bars - RECENT_DATES, 1.2, 0.0)
    found = alerts(made(still + 1, late), made(still + 1, -late), bars)
    assert found == ["ensemble_worse_than_equal_weight", "ensemble_degraded"]


def test_too_short_a_history_is_said_not_tested(together: QuickRun) -> None:
    tests = together.record.result["ensemble"]["degradation"]["5"]
    assert tests["against_own_past"]["p"] is None and tests["against_own_past"]["dates"] > 0
    assert ALERT_P < 0.05


# --- playbooks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ('"naive_t", "naive_normal"]', '"naive_tt"]', "members", "did you mean 'naive_t' or"),
        ('"naive_t", "naive_normal"]', "]", "members", "two or more"),
        ('"naive_t", "naive_normal"]', '"ridge"]', "members", "once"),
        ('"naive_t", "naive_normal"]', '"ensemble"]', "members", "models that it combines"),
        ('method = "ewma_softmax"', 'method = "ewma_sofmax"', "method", "did you mean 'ewma_softmax'?"),
        ('"ewma_softmax"', '"bayes"\nparameters = { flor = 0.1 }', "parameters", "did you mean 'floor'?"),
        ('"ewma_softmax"', '"bayes"\nparameters = { floor = 0.5 }', "parameters", "0.333 or less"),
        ('"price"]', '"price"]\nforecasts = ["ensemble"]', "forecasts", "name its members"),
        ("[limits]", '[calibration]\nmethod = "cross"\n[limits]', 'method = "cross"', '"adaptive"'),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, before: str, after: str, line: str, said: str
) -> None:
    assert before in TOGETHER
    text = TOGETHER.replace(before, after)
    path = system(tmp_path, playbook=text)
    with pytest.raises(PlaybookError) as refused:
        validated(Plan.of(load(path)))
    number = next(n for n, row in enumerate(text.splitlines(), start=1) if row.startswith(line))
    assert f"{path}:{number}" in refused.value.what
    assert said in refused.value.hint


def test_an_ensemble_that_is_named_without_a_section_is_refused(tmp_path: Path) -> None:
    path = system(tmp_path, playbook=TOGETHER.replace(SECTION, ""))
    with pytest.raises(PlaybookError, match="0 member"):
        validated(Plan.of(load(path)))


def test_the_whole_playbook_is_accepted(together: QuickRun) -> None:
    plan = validated(Plan.of(load(together.playbook)))
    assert plan.ensemble == EnsembleSection(members=MEMBERS, method="ewma_softmax")
    assert load_or_sync(together.workspace).panel.symbols
