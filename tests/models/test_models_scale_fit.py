from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from tradewind.errors import InputError
from tradewind.models.garch import fit_garch, variance_path
from tradewind.models.lightgbm_rank import rank_scores
from tradewind.models.location import CrossSection
from tradewind.models.naive import fit_student_t
from tradewind.models.scale_blend import ScaleBlend
from tradewind.models.scale_fit import drift, fit_log_scale, penalties, prior_weights, student_scale
from tradewind.models.voting import Voting


def test_the_likelihood_fit_finds_the_true_weights():
    rng = np.random.default_rng(0)
    design = np.c_[np.ones(60_000), rng.normal(size=(60_000, 2))]
    truth = np.array([-0.3, 0.5, -0.2])
    size = np.abs(np.exp(design @ truth) * rng.standard_t(4, 60_000))
    found = fit_log_scale(design, size, 4.0, np.zeros(3), np.zeros(3))
    np.testing.assert_allclose(found, truth, atol=0.02)


def test_a_strong_penalty_keeps_the_prior():
    rng = np.random.default_rng(0)
    design = np.c_[np.ones(500), rng.normal(size=500)]
    found = fit_log_scale(design, np.abs(rng.normal(size=500)), 4.0, np.full(2, 1e6), np.array([0.1, 0.2]))
    np.testing.assert_allclose(found, [0.1, 0.2], atol=1e-3)


def test_market_wide_weights_yield_with_time_not_with_symbols():
    few, many = (penalties(2, 2, 20, samples, 750) for samples in (3_000, 300_000))
    assert many[1] < few[1] / 50
    assert many[3] == few[3]
    assert penalties(2, 2, 20, 300_000, 7_500)[3] < many[3] / 5


def test_priors_are_interpolated_between_horizons():
    names = ("level", "own_250", "unheard_of")
    one, five, between = (prior_weights(names, h)[1] for h in (1, 5, 2))
    assert one < between < five
    assert prior_weights(names, 60)[1] == prior_weights(names, 20)[1]
    assert prior_weights(names, 5)[[0, 2]].tolist() == [0.0, 0.0]


def test_student_scale_agrees_with_scipy_by_group():
    rng = np.random.default_rng(2)
    values = np.r_[2.0 * rng.standard_t(5, 4_000), 0.5 * rng.standard_t(5, 4_000)]
    group = np.repeat([0, 1], 4_000)
    found = student_scale(np.abs(values), 5.0, group)
    for member in (0, 1):
        _, _, width = student.fit(values[group == member], fdf=5, floc=0)
        assert found[group == member][0] == pytest.approx(width, rel=1e-3)


def test_fitted_tails_match_the_truth():
    freedom, width = fit_student_t(1.5 * np.random.default_rng(3).standard_t(5, 50_000))
    assert freedom in (4.0, 5.0, 6.0)
    assert width == pytest.approx(1.5, rel=0.03)


def test_drift_is_mostly_the_long_run_premium_until_decades_have_passed():
    assert drift(0.5, 1, 100) == pytest.approx(0.025, abs=0.02)
    assert drift(0.5, 1, 250_000) == pytest.approx(0.5, abs=0.01)


def test_garch_parameters_agree_with_arch():
    arch = pytest.importorskip("arch")
    rng = np.random.default_rng(5)
    news = rng.standard_t(7, 4_000) * np.sqrt(5 / 7)
    variance, returns = 1e-4, np.empty(4_000)
    for step, shock in enumerate(news):
        returns[step] = np.sqrt(variance) * shock
        variance = 1e-4 * 0.03 + 0.07 * returns[step] ** 2 + 0.90 * variance
    oracle = arch.arch_model(100 * returns, mean="Zero", vol="GARCH", dist="t").fit(disp="off").params
    base, alpha, beta, freedom = fit_garch(returns)
    assert alpha == pytest.approx(oracle["alpha[1]"], abs=0.02)
    assert beta == pytest.approx(oracle["beta[1]"], abs=0.03)
    assert freedom == pytest.approx(oracle["nu"], rel=0.15)
    assert base == pytest.approx(np.mean(returns**2), rel=0.1)


def test_the_variance_path_forgets_its_start():
    returns = np.random.default_rng(1).normal(0, 0.01, 800)
    low, high = (variance_path(returns, 1e-4, 0.05, 0.9) for _ in range(2))
    assert low[-1] == high[-1]
    longer = variance_path(np.r_[0.08, returns], 1e-4, 0.05, 0.9)
    assert longer[-1] == pytest.approx(low[-1], rel=1e-6)


def test_cross_sectional_effects_are_found_where_they_are_and_shrunk_where_they_are_not():
    rng = np.random.default_rng(4)
    day = np.repeat(np.arange(1_000), 50)
    inputs = rng.normal(size=(50_000, 2)).astype(np.float32)
    ratio = 0.05 * inputs[:, 0] + rng.normal(size=50_000) + rng.normal(size=1_000)[day]
    fitted = CrossSection.fit(inputs, ratio, day, facts=50_000)
    assert 0.03 < fitted.effects[0] < 0.055
    assert abs(fitted.effects[1]) < 0.01
    doubtful = CrossSection.fit(inputs, ratio, day, facts=100)
    assert abs(doubtful.effects[0]) < 0.001
    assert fitted.predict(np.full((1, 2), np.nan, dtype=np.float32))[0] == 0.0


def test_rank_scores_are_symmetric_within_each_bar_and_skip_missing():
    values = np.array([3.0, 1.0, 2.0, np.nan, 5.0, 4.0])
    scores = rank_scores(values, np.array([7, 7, 7, 7, 9, 9]))
    np.testing.assert_allclose(scores[:3], [0.6745, -0.6745, 0.0], atol=1e-4)
    assert np.isnan(scores[3])
    assert scores[4] == pytest.approx(-scores[5])


def test_voting_needs_three_known_members():
    with pytest.raises(InputError, match="three"):
        Voting(weights={"random_forest": 1.0, "svm": 1.0})
    with pytest.raises(InputError, match="no member"):
        Voting(weights={"random_forest": 1.0, "svm": 1.0, "oracle": 1.0})


def test_the_default_forecaster_narrows_when_the_market_has_calmed(make_panel, make_windows):
    panel = make_panel(bars=700, symbols=8, seed=3)
    model = ScaleBlend(trees=0).fit(make_windows(panel.head(600), np.arange(80, 600)))
    forecast = model.predict(make_windows(panel, np.arange(600, 700)))
    width = np.nanmean(forecast.quantiles[:, :, 0, 5] - forecast.quantiles[:, :, 0, 1], axis=1)
    size = np.nanmean(np.abs(np.diff(np.log(panel.close), axis=0))[580:], axis=1)
    recent = np.convolve(size, np.ones(20) / 20, mode="valid")[:100]
    assert np.corrcoef(width, recent)[0, 1] > 0.3
    assert forecast.explanation["prior_known_at"] == "2004-12-31"
    assert set(forecast.explanation["weights"]) == {"1", "5"}


def test_the_refinement_is_learnt_with_enough_symbols_and_averages_out_over_a_bar(make_panel, make_windows):
    panel = make_panel(bars=1_100, symbols=24, seed=5)
    model = ScaleBlend(trees=20, minimum_leaf=100, threads=1)
    model.fit(make_windows(panel.head(1_000), np.arange(80, 1_000), horizons=(1,)))
    forecast = model.predict(make_windows(panel, np.arange(1_000, 1_100), horizons=(1,)))
    assert forecast.available[:, 1:-1].all()
    assert isinstance(forecast.explanation["refined_horizons"], list)
