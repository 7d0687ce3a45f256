"""Scores against scikit-learn, closed forms and the definition of properness."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tradewind.errors import InputError
from tradewind.stats import losses

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@pytest.mark.parametrize("level", LEVELS)
def test_pinball_equals_scikit_learn(level: float) -> None:
    from sklearn.metrics import mean_pinball_loss

    y, q = np.random.default_rng(0).normal(size=(2, 200))
    ours = losses.pinball(y, q[:, None], [level]).mean()
    assert ours == pytest.approx(mean_pinball_loss(y, q, alpha=level))


def test_pinball_takes_outcomes_with_or_without_the_level_axis() -> None:
    y, q = np.random.default_rng(0).normal(size=(4, 3)), np.random.default_rng(1).normal(size=(4, 3, 7))
    assert np.array_equal(losses.pinball(y, q, LEVELS), losses.pinball(y[..., None], q, LEVELS))


def test_missing_outcomes_give_missing_losses() -> None:
    assert np.isnan(losses.pinball(np.nan, np.zeros(7), LEVELS)).all()
    assert np.isnan(losses.crps(np.array([np.nan]), np.zeros((1, 7)), LEVELS)).all()


@given(st.floats(-2, 2), st.floats(-1, 1))
@settings(max_examples=50, deadline=None)
def test_no_other_quantiles_score_better_on_average_than_the_true_ones(shift: float, stretch: float) -> None:
    y = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    true = stats.norm.ppf(LEVELS)
    other = true * np.exp(stretch) + shift
    best = losses.crps(y, np.broadcast_to(true, (4000, 7)), LEVELS).mean()
    assert losses.crps(y, np.broadcast_to(other, (4000, 7)), LEVELS).mean() >= best - 1e-6


def test_crps_from_a_fine_grid_is_the_closed_form_of_the_normal() -> None:
    grid = (np.arange(2000) + 0.5) / 2000
    y = np.array([-1.5, 0.0, 0.7, 3.0])
    exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    ours = losses.crps(y, np.broadcast_to(stats.norm.ppf(grid), (4, 2000)), grid)
    assert ours == pytest.approx(exact, abs=2e-3)


def test_level_weights_share_out_the_whole_of_probability() -> None:
    assert losses.level_weights(LEVELS).sum() == pytest.approx(1.0)


def test_the_brier_score_equals_scikit_learns() -> None:
    from sklearn.metrics import brier_score_loss

    generator = np.random.default_rng(3)
    y, p = generator.integers(0, 2, 300), generator.uniform(0.01, 0.99, 300)
    assert losses.brier(y, p).mean() == pytest.approx(brier_score_loss(y, p))


def test_uniform_quintiles_score_016_as_in_the_m6_competition() -> None:
    score = losses.ranked_probability_score(np.arange(5), np.full((5, 5), 0.2))
    assert score.mean() == pytest.approx(0.16)


def test_ranked_probability_score_of_certainty() -> None:
    sure = np.eye(5)
    assert losses.ranked_probability_score(np.arange(5), sure) == pytest.approx(0.0)
    assert losses.ranked_probability_score(np.array([4]), sure[:1])[0] == pytest.approx(4 / 5)
    assert losses.ranked_probability_score(sure, sure) == pytest.approx(0.0)
    assert np.isnan(losses.ranked_probability_score(np.array([-1]), sure[:1]))[0]


@pytest.mark.parametrize("levels", [(0.5, 0.5), (0.0, 0.5), (0.9, 0.1), ()])
def test_levels_that_do_not_rise_inside_the_unit_interval_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="levels"):
        losses.pinball(0.0, np.zeros(len(levels)), levels)
