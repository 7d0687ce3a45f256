"""The hidden Markov model: its forward recursion against hmmlearn and brute force, its fit, its names."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regimes_kit import QUICK, a_market
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from tradewind.risk.regimes import LABELS, Fit, NoFitError, RegimeDetector, RegimesSection, fit_window
from tradewind.risk.regimes.hidden_markov import parameters
from tradewind.risk.regimes.kernel import forward
from tradewind.risk.regimes.naming import moments, named, order_by_distance, order_by_moments, still_true

NAMES = ("return", "volatility", "momentum")


@pytest.fixture(scope="module")
def window() -> np.ndarray:
    return a_market(seed=3, sessions=600)[1].values


@pytest.fixture(scope="module")
def fit(window: np.ndarray) -> Fit:
    return named(fit_window(window, NAMES, QUICK), NAMES, None)[0]


def a_model(seed: int, states: int = 3, columns: int = 2) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((states, columns, columns))
    covariance = root @ np.swapaxes(root, 1, 2) + 0.3 * np.eye(columns)
    transition = rng.dirichlet(np.ones(states), size=states)
    return rng.dirichlet(np.ones(states)), transition, rng.standard_normal((states, columns)), covariance


def test_filtered_probabilities_are_hmmlearns_own_at_the_last_row(fit, window):
    from hmmlearn.hmm import GaussianHMM

    theirs = GaussianHMM(4, "full", init_params="")
    theirs.startprob_, theirs.transmat_, theirs.means_ = fit.start, fit.transition, fit.mean
    theirs.covars_ = fit.covariance
    scaled = fit.scaled(window)
    filtered, density, _ = fit.filter(window, fit.initial())
    for stop in (1, 2, 57, 300, 600):
        value, smoothed = theirs.score_samples(scaled[:stop])
        np.testing.assert_allclose(filtered[stop - 1], smoothed[-1], atol=1e-9)
        assert density[:stop].sum() == pytest.approx(value, rel=1e-10)


def test_what_the_detector_says_is_hmmlearns_forward_pass_over_its_window(window):
    from hmmlearn.hmm import GaussianHMM

    detector = RegimeDetector(QUICK, NAMES)
    state, rows = detector.step(detector.initial_state(), window[:400])
    fit = state.fit
    theirs = GaussianHMM(4, "full", init_params="")
    theirs.startprob_, theirs.transmat_, theirs.means_ = fit.start, fit.transition, fit.mean
    theirs.covars_ = fit.covariance
    last_fit = rows.fits[-1].row
    begin = last_fit - QUICK.window_sessions
    smoothed = theirs.predict_proba(fit.scaled(window[max(begin, 0) : 400]))
    np.testing.assert_allclose(rows.probability[-1], smoothed[-1], atol=1e-9)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), hole=st.integers(0, 15))
def test_the_recursion_is_the_sum_over_all_paths_also_where_values_are_missing(seed: int, hole: int):
    start, transition, mean, covariance = a_model(seed)
    values = np.random.default_rng(seed + 1).standard_normal((4, 2))
    values[hole // 4, hole % 2] = np.nan
    values[hole % 4] = np.nan if hole > 7 else values[hole % 4]
    filtered, density, _ = forward(values, np.log(start), np.log(transition), mean, covariance, 0)
    joint = {
        path: _log_probability(path, values, start, transition, mean, covariance)
        for path in product(range(3), repeat=4)
    }
    total = logsumexp(list(joint.values()))
    for s in range(3):
        ends_here = logsumexp([v for path, v in joint.items() if path[-1] == s])
        assert filtered[-1, s] == pytest.approx(np.exp(ends_here - total), abs=1e-10)
    assert np.nansum(density) == pytest.approx(total, abs=1e-9)


def _log_probability(path, values, start, transition, mean, covariance) -> float:
    total = np.log(start[path[0]]) + sum(np.log(transition[a, b]) for a, b in pairwise(path))
    for row, s in zip(values, path, strict=True):
        seen = np.flatnonzero(np.isfinite(row))
        if len(seen):
            total += multivariate_normal.logpdf(row[seen], mean[s][seen], covariance[s][np.ix_(seen, seen)])
    return float(total)


def test_the_density_of_the_return_alone_is_the_mixture_of_its_marginals():
    start, transition, mean, covariance = a_model(5)
    values = np.array([[0.3, -1.0]])
    _, _, leading = forward(values, np.log(start), np.log(transition), mean, covariance, 0)
    expected = sum(start[s] * multivariate_normal.pdf(0.3, mean[s, 0], covariance[s, 0, 0]) for s in range(3))
    assert np.exp(leading[0]) == pytest.approx(expected)


def test_an_observation_that_no_state_can_explain_does_not_break_the_recursion():
    start, transition, mean, covariance = a_model(6)
    filtered, density, _ = forward(
        np.array([[1e150, 0.0], [0.0, 0.0]]), np.log(start), np.log(transition), mean, covariance, 0
    )
    assert np.isfinite(filtered[0]).all()
    assert np.isfinite(density[0])


def test_a_fit_is_at_least_as_likely_as_hmmlearns_from_ten_starts(window):
    from hmmlearn.hmm import GaussianHMM

    ours = fit_window(window, NAMES, RegimesSection())
    value = np.nansum(ours.filter(window, ours.initial())[1])
    scaled = ours.scaled(window)
    best = max(
        GaussianHMM(4, "full", n_iter=40, min_covar=1e-2, random_state=seed).fit(scaled).score(scaled)
        for seed in range(3)
    )
    assert value > best - 0.02 * len(window)  # theirs has no prior to pay for


def test_a_refit_whose_states_come_in_another_order_keeps_every_name(fit, window):
    for order in permutations(range(4)):
        shuffled = fit_window(window, NAMES, QUICK, previous=fit.ordered(np.array(order)))
        again, renamed = named(shuffled, NAMES, fit)
        assert not renamed
        np.testing.assert_allclose(again.mean, fit.mean, atol=0.05)
        fresh, _ = named(shuffled, NAMES, None)
        np.testing.assert_allclose(fresh.mean, again.mean)


def test_matching_undoes_any_permutation_in_any_units(fit):
    moved = replace(fit, center=fit.center + 1e-3, scale=fit.scale * 1.02)
    for order in permutations(range(4)):
        found = order_by_distance(moved.ordered(np.array(order)), fit)
        assert np.array(order)[found].tolist() == [0, 1, 2, 3]


def test_matching_looks_at_the_columns_that_both_fits_have(fit):
    fewer = replace(
        fit,
        columns=fit.columns[:2],
        center=fit.center[:2],
        scale=fit.scale[:2],
        mean=fit.mean[:, :2],
        covariance=fit.covariance[:, :2, :2],
    )
    order = np.array([2, 0, 3, 1])
    assert order[order_by_distance(fewer.ordered(order), fit)].tolist() == [0, 1, 2, 3]


@given(seed=st.integers(0, 10_000))
def test_names_by_moments_are_one_to_one_and_true(seed: int):
    rng = np.random.default_rng(seed)
    start, transition, mean, covariance = a_model(seed, states=4, columns=3)
    fit = Fit(
        np.arange(3), np.zeros(3), np.ones(3), start, transition, mean, covariance, np.zeros(3), np.eye(3), 0, 100, 1
    ).ordered(rng.permutation(4))
    order = order_by_moments(fit, NAMES)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    called = fit.ordered(order)
    turbulence, drift = moments(called, NAMES)
    calm = [drift[LABELS.index(n)] for n in ("bear", "range", "bull")]
    assert int(np.argmax(turbulence)) == LABELS.index("volatile")
    assert calm == sorted(calm)
    assert still_true(called, NAMES)


def test_names_that_have_become_false_are_given_anew(fit):
    swapped = fit.mean.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    turned = replace(fit, mean=swapped, covariance=fit.covariance[[1, 0, 2, 3]])
    misnamed = turned.ordered(np.array([0, 1, 2, 3]))
    again, renamed = named(misnamed, NAMES, misnamed)
    assert renamed
    assert still_true(again, NAMES)


def test_a_refit_starts_from_the_previous_fit_and_settles_at_once(fit, window):
    again = fit_window(window, NAMES, QUICK, previous=fit)
    assert again.iterations <= 5
    np.testing.assert_allclose(again.mean, fit.mean, atol=0.05)


def test_one_window_and_one_seed_give_one_fit(window):
    a, b = (fit_window(window, NAMES, RegimesSection()) for _ in range(2))
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.covariance, b.covariance)


def test_every_covariance_is_positive_definite_even_of_identical_columns(window):
    doubled = np.hstack([window, window[:, :1]])
    fit = fit_window(doubled, (*NAMES, "vix"), QUICK)
    assert (np.linalg.eigvalsh(fit.covariance) > 0).all()
    assert fit.notes == ("the covariance is singular (return, vix determine each other) and was regularised",)


def test_diagonal_covariances_are_diagonal(window):
    fit = fit_window(window, NAMES, RegimesSection(covariance="diag"))
    off = fit.covariance * (1 - np.eye(3))
    assert np.abs(off).max() == 0
    assert parameters(4, 3, "diag") < parameters(4, 3, "full") == 4 * (3 + 6) + 12 + 3


def test_rows_with_holes_are_not_learnt_from(window):
    holed = window.copy()
    holed[::10, 1] = np.nan
    fit = fit_window(holed, NAMES, QUICK)
    assert fit.rows == len(window) - len(window[::10])


def test_a_window_without_rows_is_no_fit(window):
    with pytest.raises(NoFitError, match="'return' left out"):
        fit_window(np.full((100, 3), np.nan), NAMES, QUICK)
    with pytest.raises(NoFitError, match="30 complete sessions cannot determine 51 parameters"):
        fit_window(window[:30], NAMES, QUICK)
