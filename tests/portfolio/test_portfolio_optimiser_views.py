"""Forecasts as views: nothing known is the prior, all known is the view."""

from __future__ import annotations

import numpy as np
import pytest
from optimiser_kit import market
from scipy.special import ndtri

from tradewind.errors import DataError, InputError
from tradewind.models.forecast import LEVELS
from tradewind.portfolio.optimiser.views import (
    black_litterman,
    entropy_pooling,
    equilibrium,
    forecast_moments,
    pooled_moments,
)


def test_the_moments_of_a_log_normal_forecast_are_its_own() -> None:
    quantiles = 0.01 + 0.2 * ndtri(np.array(LEVELS))[None, :]
    mean, deviation = forecast_moments(quantiles, LEVELS)
    assert mean[0] == pytest.approx(np.expm1(0.01 + 0.02), abs=1e-9)
    assert deviation[0] == pytest.approx(np.exp(0.03) * np.sqrt(np.expm1(0.04)), rel=1e-9)
    assert np.isnan(forecast_moments(np.full((1, len(LEVELS)), np.nan), LEVELS).mean[0])
    with pytest.raises(InputError, match="80 %"):
        forecast_moments(quantiles[:, :3], LEVELS[:3])


def test_equilibrium_makes_its_reference_optimal() -> None:
    covariance, reference = market(4).covariance, np.array([0.4, 0.3, 0.2, 0.1])
    expected = equilibrium(covariance, reference, 6.0)
    assert np.allclose(np.linalg.solve(covariance, expected) / 6.0, reference)


def test_a_view_of_no_certainty_is_the_prior_and_one_without_doubt_is_the_view() -> None:
    problem = market(5)
    prior, view = np.linspace(-0.01, 0.02, 5), problem.expected
    nothing = black_litterman(prior, problem.covariance, view, np.full(5, np.inf))
    assert np.allclose(nothing.mean, prior) and np.allclose(nothing.uncertainty, 0.05 * problem.covariance)
    sure = black_litterman(prior, problem.covariance, view, np.zeros(5))
    assert np.allclose(sure.mean, view) and np.allclose(sure.uncertainty, 0, atol=1e-12)
    some = black_litterman(prior, problem.covariance, np.where(np.arange(5) == 2, view, np.nan), np.zeros(5))
    assert some.mean[2] == pytest.approx(view[2]) and not np.allclose(some.mean[0], prior[0])


def test_views_that_say_the_prior_change_nothing() -> None:
    problem = market(5, scenarios=400)
    same = black_litterman(problem.expected, problem.covariance, problem.expected, np.full(5, 0.03))
    assert np.allclose(same.mean, problem.expected)
    mean = problem.scenarios.mean(axis=0)
    pooled = entropy_pooling(problem.scenarios, mean, np.zeros(5))
    assert np.allclose(pooled.probabilities, 1 / 400, atol=1e-9) and pooled.relative_entropy < 1e-12


def test_black_litterman_is_the_bayes_rule_of_normals() -> None:
    problem = market(4)
    prior, deviation, picks = np.zeros(4), np.array([0.05, 0.08]), np.array([[1.0, -1, 0, 0], [0, 0, 0.5, 0.5]])
    view = np.array([0.02, 0.01])
    found = black_litterman(prior, problem.covariance, view, deviation, tau=0.1, picks=picks)
    precision = np.linalg.inv(0.1 * problem.covariance) + picks.T @ np.diag(1 / (0.1 * deviation**2)) @ picks
    assert np.allclose(found.uncertainty, np.linalg.inv(precision))
    assert np.allclose(found.mean, np.linalg.solve(precision, picks.T @ (view / (0.1 * deviation**2))))
    assert np.allclose(found.covariance, problem.covariance + found.uncertainty)


def test_tau_scales_how_sure_one_is_and_not_what_is_expected() -> None:
    problem = market(4)
    small, large = (
        black_litterman(np.zeros(4), problem.covariance, problem.expected, np.full(4, 0.05), tau=tau)
        for tau in (0.01, 0.5)
    )
    assert np.allclose(small.mean, large.mean) and np.allclose(small.uncertainty * 50, large.uncertainty)


def test_entropy_pooling_meets_hard_views_and_ignores_empty_ones() -> None:
    scenarios = market(3, scenarios=800).scenarios
    wanted = scenarios.mean(axis=0) + np.array([0.01, -0.005, 0.0])
    deviation = np.array([0.0, 0.0, np.inf])
    found = entropy_pooling(scenarios, wanted, deviation)
    assert np.allclose((found.probabilities @ scenarios)[:2], wanted[:2], atol=1e-9)
    assert found.probabilities.sum() == pytest.approx(1.0) and (found.probabilities > 0).all()
    none = entropy_pooling(scenarios, wanted, np.full(3, np.inf))
    assert np.allclose(none.probabilities, 1 / 800) and none.effective == pytest.approx(800)


def test_entropy_pooling_meets_views_on_volatility() -> None:
    scenarios = market(3, scenarios=2000).scenarios
    spread = scenarios.std(axis=0) * np.array([1.3, 0.8, np.nan])
    found = entropy_pooling(scenarios, scenarios.mean(axis=0), np.zeros(3), volatility=spread)
    _, covariance = pooled_moments(scenarios, found.probabilities)
    assert np.allclose(np.sqrt(np.diag(covariance))[:2], spread[:2], rtol=1e-6)


def test_on_normal_scenarios_entropy_pooling_is_black_litterman() -> None:
    problem = market(4)
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((60_000, 4))
    drawn -= drawn.mean(axis=0)
    drawn = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T, bias=True))).T
    scenarios = drawn @ np.linalg.cholesky(problem.covariance).T
    deviation = np.array([0.05, 0.1, 0.02, np.inf])
    pooled = entropy_pooling(scenarios, problem.expected, deviation)
    bayes = black_litterman(np.zeros(4), problem.covariance, problem.expected, deviation)
    assert np.allclose(pooled.probabilities @ scenarios, bayes.mean, atol=2e-5)


def test_skfolio_pools_to_the_same_probabilities() -> None:
    prior = pytest.importorskip("skfolio.prior")
    import pandas as pd

    scenarios = market(3, scenarios=300).scenarios
    wanted = scenarios.mean(axis=0) + np.array([0.004, -0.003, 0.002])
    frame = pd.DataFrame(scenarios, columns=list("ABC"))
    views = [f"{name} == {value:.12f}" for name, value in zip("ABC", wanted, strict=True)]
    theirs = prior.EntropyPooling(mean_views=views).fit(frame).return_distribution_.sample_weight
    ours = entropy_pooling(scenarios, wanted, np.zeros(3)).probabilities
    assert np.allclose(ours, theirs, atol=2e-6)


def test_hard_views_beyond_all_scenarios_are_refused() -> None:
    scenarios = market(3, scenarios=50).scenarios
    with pytest.raises(DataError, match="agree with all 3 views"):
        entropy_pooling(scenarios, np.full(3, 10.0), np.zeros(3))
    with pytest.raises(InputError, match="negative"):
        black_litterman(np.zeros(3), np.eye(3), np.zeros(3), np.full(3, -1.0))
