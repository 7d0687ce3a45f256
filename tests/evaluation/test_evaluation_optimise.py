"""`tradewind optimise`: one object, from what was known at the newest close."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from spine_kit import SYMBOLS, QuickRun, workspace
from tradewind.cli import optimise as verb
from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.optimise import _settings, optimised, pose, shocks
from tradewind.evaluation.report.sections.frontier import optimiser
from tradewind.portfolio.optimiser import OptimiserSection

KEYS = {
    "playbook", "as_of", "objective", "weights", "expected_return", "volatility", "cvar", "turnover", "cost", "binding",
    "excluded", "frontier", "notes", "status",
}  # fmt: skip


@pytest.mark.parametrize("objective", [None, "min_cvar", "hierarchical"])
def test_a_book_is_printed_with_all_that_the_verb_promises(quick: QuickRun, home: Path, objective: str | None) -> None:
    used = workspace(quick.playbook, home)
    found = optimised(used, objective=objective)
    assert set(found) >= KEYS and set(found["weights"]) == set(SYMBOLS)
    assert found["objective"] in (objective or "max_sharpe", "min_variance")
    assert max(found["weights"].values()) <= 0.2 + 1e-6
    assert found["as_of"] == quick.record.result["as_of"]
    assert json.loads(json.dumps(found))["cvar"] > 0 or not any(found["weights"].values())
    used.records.close()


def test_the_verb_prints_one_object_and_a_table(
    quick: QuickRun, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.callback()(lambda: None)
    verb.add_to(app)
    words = ["optimise", str(quick.playbook), "--objective", "risk_parity"]
    said = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert said.exit_code == 0 and said.stdout.count("\n") == 1
    assert set(json.loads(said.stdout)) >= KEYS
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "risk_parity" in shown.stdout and "AAA" in shown.stdout
    wrong = CliRunner().invoke(app, ["optimise", str(quick.playbook), "--objective", "max_sharp", "--json"])
    assert wrong.exit_code == 2 and "max_sharpe" in json.loads(wrong.stdout)["error"]["hint"]


def test_bars_after_the_close_change_nothing_that_is_posed_at_it(quick: QuickRun) -> None:
    world, forecast = quick.record.world, quick.record.decision.belief.forecast
    row, settings = 350, OptimiserSection()
    whole = pose(world, forecast, row, settings)
    cut = pose(world.head(row + 1), forecast.at(world.panel.times[: row + 1]), row, settings)
    for name in ("covariance", "expected", "uncertainty", "scenarios"):
        assert np.array_equal(getattr(whole.problem, name), getattr(cut.problem, name)), name


@pytest.mark.parametrize("views", ["black_litterman", "entropy_pooling", "none"])
@pytest.mark.parametrize("prior", ["zero", "equilibrium"])
def test_forecasts_pull_what_is_expected_from_the_prior_towards_them(quick: QuickRun, views: str, prior: str) -> None:
    world, forecast = quick.record.world, quick.record.decision.belief.forecast
    posed = pose(world, forecast, len(world.panel) - 1, OptimiserSection(views=views, prior=prior))
    assert np.isfinite(posed.problem.expected).all()
    assert (posed.problem.probabilities is not None) == (views == "entropy_pooling")
    assert any(views.replace("_", " ") in note for note in posed.notes)


def test_a_horizon_that_is_not_forecast_and_views_without_scenarios_are_refused(quick: QuickRun) -> None:
    world, forecast = quick.record.world, quick.record.decision.belief.forecast
    early = OptimiserSection(views="entropy_pooling")
    first = corridor.first_forecast_row(forecast)
    with pytest.raises(DataError, match="share fewer than 60 past horizons") as refused:
        pose(world.head(40), forecast.part(np.arange(40)), 39, early)
    assert "black_litterman" in refused.value.hint
    assert first > 40
    short = workspace(quick.playbook, quick.home, decision__horizon_bars=7).plan
    with pytest.raises(InputError, match="horizon_bars = 7"):
        pose(type(world)(short, world.panel, world.features, world.labels), forecast, first, OptimiserSection())


def test_the_limits_of_the_playbook_hold_and_its_costs_are_known(quick: QuickRun) -> None:
    settings = _settings(quick.workspace, None)
    assert (settings.position_max, settings.long_only) == (0.2, True)
    assert settings.cost_bps == pytest.approx(3.0)


def test_scenarios_have_todays_volatility_and_too_few_are_none() -> None:
    closes = np.cumsum(np.random.default_rng(0).normal(0.001, 0.01, (300, 3)), axis=0)
    found, note = shocks(closes, np.array([0.05, 0.1, 0.2]), 5)
    assert found is not None and len(found) == 295 and "295 overlapping" in note
    assert np.allclose(found.std(axis=0), [0.05, 0.1, 0.2]) and np.allclose(found.mean(axis=0), 0)
    assert shocks(closes[:50], np.ones(3), 5)[0] is None


def test_the_frontier_is_drawn_with_its_table(quick: QuickRun, home: Path) -> None:
    used = workspace(quick.playbook, home)
    found = optimised(used)
    page = optimiser(found)
    assert "Efficient frontier" in page and ("<svg" in page or "no more return" in page)
    assert "Weights" in optimiser({**found, "frontier": []})
    used.records.close()
