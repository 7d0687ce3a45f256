from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf

from tradewind.errors import DataError, InputError
from tradewind.risk import beta as betas_of
from tradewind.risk.covariance import (
    covariance,
    initial_state,
    ledoit_wolf,
    sample_covariance,
    step,
    unmeasured_pairs,
)
from tradewind.stats.correlation_matrix import ewma_correlation

SUMS = ("products", "weights", "common", "squares", "weights_squared")


def market(seed: int = 0, bars: int = 200, symbols: int = 8, gaps: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shared = generator.standard_normal((bars, 1))
    scale = 0.005 * (1 + np.arange(symbols))
    returns = scale * (0.6 * shared + 0.8 * generator.standard_normal((bars, symbols)))
    returns[generator.random(returns.shape) < gaps] = np.nan
    return returns


def is_psd(matrix: np.ndarray) -> bool:
    return bool(np.linalg.eigvalsh(matrix)[0] >= -1e-12 * np.trace(matrix))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=4), st.booleans())
def test_a_block_gives_the_bits_of_its_bars(cuts, in_place):
    returns = market(gaps=0.2, bars=60)
    whole = step(initial_state(8, 20.0), returns)
    state = initial_state(8, 20.0)
    edges = [0, *sorted(cuts), 60]
    for start, stop in pairwise(edges):
        state = step(state, returns[start:stop], in_place=in_place)
    assert state.bars == whole.bars == 60
    for name in SUMS:
        np.testing.assert_array_equal(getattr(state, name), getattr(whole, name))


def test_a_step_leaves_the_state_before_as_it_was():
    before = step(initial_state(8, 20.0), market())
    kept = before.copy()
    step(before, market(1))
    for name in SUMS:
        np.testing.assert_array_equal(getattr(before, name), getattr(kept, name))


def test_complete_data_give_the_weighted_covariance_of_pandas():
    """Around zero: pandas takes the mean off, unless every return is there with both signs."""
    returns = market()
    mirrored = np.stack([returns, -returns], axis=1).reshape(-1, 8)
    frame = pd.DataFrame(mirrored).ewm(halflife=40.0).cov(bias=True)
    expected = frame.to_numpy().reshape(400, 8, 8)[-1]
    moves = pd.DataFrame(mirrored).ewm(halflife=40.0).mean().to_numpy()[-1]
    found = covariance(step(initial_state(8, 40.0), mirrored), shrinkage=0.0)
    np.testing.assert_allclose(found, expected + np.outer(moves, moves), rtol=1e-10)


@pytest.mark.parametrize("half_life", [None, 15.0])
def test_every_pair_is_measured_over_the_bars_that_both_have(half_life):
    returns = market(gaps=0.3)
    state = step(initial_state(8, half_life), returns)
    weight = np.ones(200) if half_life is None else 0.5 ** (np.arange(200)[::-1] / half_life)
    found = covariance(state, shrinkage=0.0, least=5)
    for i in range(8):
        own = np.isfinite(returns[:, i])
        assert found[i, i] == pytest.approx(np.average(returns[own, i] ** 2, weights=weight[own]))
        assert state.observations[i] == own.sum()
    decay = 1.0 if half_life is None else 0.5 ** (1 / half_life)
    correlation = found / np.sqrt(np.outer(np.diag(found), np.diag(found)))
    np.testing.assert_allclose(correlation, ewma_correlation(returns, decay=decay, least=5), rtol=1e-9, atol=1e-12)


def test_shrinkage_pulls_correlations_to_their_mean_and_leaves_variances():
    state = step(initial_state(8, 60.0), market())
    plain = covariance(state, shrinkage=0.0)
    deviation = np.sqrt(np.diag(plain))
    off = ~np.eye(8, dtype=bool)
    correlation = plain / np.outer(deviation, deviation)
    for shrinkage in (0.2, 1.0):
        found = covariance(state, shrinkage=shrinkage)
        np.testing.assert_array_equal(np.diag(found), np.diag(plain))
        expected = (1 - shrinkage) * correlation[off] + shrinkage * correlation[off].mean()
        np.testing.assert_allclose((found / np.outer(deviation, deviation))[off], expected, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.6), st.sampled_from([0.0, 0.3, 1.0]), st.integers(3, 40))
def test_whatever_is_known_is_symmetric_and_positive_semidefinite(seed, gaps, shrinkage, bars):
    returns = market(seed, bars, 20, gaps)
    found = covariance(step(initial_state(20, 10.0), returns), shrinkage=shrinkage, least=3)
    known = np.isfinite(returns).sum(axis=0) >= 3
    inside = found[np.ix_(known, known)]
    assert np.isfinite(inside).all() and np.isnan(found[~known]).all() and np.isnan(found[:, ~known]).all()
    if known.any():
        np.testing.assert_array_equal(inside, inside.T)
        assert is_psd(inside)


def test_more_names_than_bars_and_names_twice_are_no_trouble():
    returns = market(3, 40, 30)
    twice = np.hstack([returns, returns, -returns])
    for shrinkage in (0.0, 0.5):
        assert is_psd(covariance(step(initial_state(90, 60.0), twice), shrinkage=shrinkage))


def test_a_symbol_that_never_moved_has_no_variance_and_moves_with_nobody():
    returns = market()
    returns[:, 2] = 0.0
    found = covariance(step(initial_state(8, 60.0), returns))
    others = np.delete(np.arange(8), 2)
    assert (found[2] == 0).all() and (found[:, 2] == 0).all()
    without = covariance(step(initial_state(7, 60.0), returns[:, others]))
    np.testing.assert_allclose(found[np.ix_(others, others)], without, rtol=1e-12)


def test_a_symbol_is_known_after_enough_bars_and_not_before():
    returns = market(bars=60)
    returns[:31, 3] = np.nan
    returns[:, 5] = np.nan
    state = step(initial_state(8, 60.0), returns)
    found = covariance(state, least=30)
    assert np.isnan(found[3]).all() and np.isnan(found[5]).all()
    after = covariance(step(state, market(1, 1)), least=30)
    assert np.isfinite(after[3, 0]) and np.isnan(after[5]).all()
    assert np.isnan(covariance(initial_state(3, 60.0))).all()


def test_a_pair_that_never_met_gets_the_mean_correlation():
    returns = market(bars=200)
    returns[:100, 0] = np.nan
    returns[100:, 1] = np.nan
    state = step(initial_state(8, 60.0), returns)
    plain = covariance(state, shrinkage=0.0)
    correlation = plain / np.sqrt(np.outer(np.diag(plain), np.diag(plain)))
    measured = np.triu(np.ones((8, 8), dtype=bool), 1)
    measured[0, 1] = False
    assert unmeasured_pairs(state) == 1
    assert correlation[0, 1] == pytest.approx(correlation[measured].mean())


def test_permuting_symbols_permutes_the_covariance():
    returns = market(gaps=0.1)
    order = np.random.default_rng(1).permutation(8)
    there = covariance(step(initial_state(8, 60.0), returns))
    back = covariance(step(initial_state(8, 60.0), returns[:, order]))
    np.testing.assert_allclose(back, there[np.ix_(order, order)], rtol=1e-12)


def test_a_sample_is_one_block():
    returns = market(gaps=0.1)
    state = step(initial_state(8, 30.0), returns)
    np.testing.assert_array_equal(
        sample_covariance(returns, half_life_bars=30.0, shrinkage=0.1, least=30), covariance(state, shrinkage=0.1)
    )
    complete = market()
    np.testing.assert_allclose(sample_covariance(complete), complete.T @ complete / 200, rtol=1e-12)


# ---- Ledoit & Wolf ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bars", "symbols"), [(200, 8), (25, 40)])
def test_one_variance_is_scikit_learns(bars, symbols):
    returns = market(4, bars, symbols)
    expected, intensity = sklearn_ledoit_wolf(returns, assume_centered=True)
    found = ledoit_wolf(returns, "one_variance")
    assert found.intensity == pytest.approx(intensity) and found.bars == bars
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-10, atol=1e-18)


def test_constant_correlation_is_the_paper_term_by_term():
    x = market(5, 120, 5)
    x[:, 4] += 3 * x[:, 3]
    bars, count = x.shape
    s = x.T @ x / bars
    root = np.sqrt(np.diag(s))
    mean = np.mean([s[i, j] / root[i] / root[j] for i in range(count) for j in range(count) if i != j])
    f = np.array([[s[i, i] if i == j else mean * root[i] * root[j] for j in range(count)] for i in range(count)])

    def asymptotic(i, j, k, m):
        return np.mean((x[:, i] * x[:, j] - s[i, j]) * (x[:, k] * x[:, m] - s[k, m]))

    pairs = [(i, j) for i in range(count) for j in range(count)]
    pi = sum(asymptotic(i, j, i, j) for i, j in pairs)
    rho = sum(asymptotic(i, i, i, i) for i in range(count))
    rho += sum(
        mean / 2 * (root[j] / root[i] * asymptotic(i, i, i, j) + root[i] / root[j] * asymptotic(j, j, i, j))
        for i, j in pairs
        if i != j
    )
    gamma = np.sum((f - s) ** 2)
    intensity = np.clip((pi - rho) / gamma / bars, 0, 1)
    found = ledoit_wolf(x)
    assert 0 < intensity < 1 and found.intensity == pytest.approx(intensity)
    np.testing.assert_allclose(found.covariance, intensity * f + (1 - intensity) * s, rtol=1e-10)


def test_shrinking_to_one_correlation_comes_nearer_to_the_truth_than_the_sample():
    truth = 0.3 + 0.7 * np.eye(40)
    x = np.random.default_rng(6).multivariate_normal(np.zeros(40), truth, 60)
    shrunk, plain = ledoit_wolf(x), sample_covariance(x)
    assert shrunk.intensity > 0.5
    assert np.linalg.norm(shrunk.covariance - truth) < 0.7 * np.linalg.norm(plain - truth)


@pytest.mark.parametrize("target", ["constant_correlation", "one_variance"])
def test_a_symbol_with_too_few_returns_is_left_out_and_bars_must_be_complete(target):
    returns = market(gaps=0.02)
    returns[:, 1] = np.nan
    returns[:, 2] = 0.0
    found = ledoit_wolf(returns, target)
    complete = np.isfinite(np.delete(returns, 1, axis=1)).all(axis=1)
    assert found.bars == complete.sum()
    assert np.isnan(found.covariance[1]).all() and np.isnan(found.covariance[:, 1]).all()
    kept = np.delete(np.arange(8), 1)
    assert is_psd(found.covariance[np.ix_(kept, kept)])


def test_without_complete_bars_there_is_an_error_that_says_what_to_do():
    returns = market(bars=4)
    returns[::2, 0] = np.nan
    returns[1::2, 1] = np.nan
    with pytest.raises(DataError, match="0 bars have a return of all 8 symbols"):
        ledoit_wolf(returns)


# ---- betas --------------------------------------------------------------------------------------------------------


def of_betas(seed: int, true: np.ndarray, bars: int = 300, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    moves = 0.01 * generator.standard_normal(bars)
    return moves[:, None] * true + noise * generator.standard_normal((bars, len(true))), moves


def test_betas_are_weighted_least_squares_over_the_bars_that_both_have():
    returns, moves = of_betas(0, np.array([0.5, 1.0, 2.0]))
    returns[::3, 1] = np.nan
    moves[::7] = np.nan
    found = betas_of.betas(betas_of.step(betas_of.initial_state(3, 50.0), returns, moves))
    weight = 0.5 ** (np.arange(300)[::-1] / 50)
    for n in range(3):
        both = np.isfinite(returns[:, n]) & np.isfinite(moves)
        w, x, y = weight[both], moves[both], returns[both, n]
        assert found.measured[n] == pytest.approx(np.sum(w * x * y) / np.sum(w * x * x))


def test_without_decay_the_error_is_the_textbooks():
    returns, moves = of_betas(1, np.array([0.5, 1.5]))
    found = betas_of.betas(betas_of.step(betas_of.initial_state(2, None), returns, moves))
    left = returns - np.outer(moves, found.measured)
    expected = np.sqrt((left**2).sum(axis=0) / 299 / (moves**2).sum())
    np.testing.assert_allclose(found.error, expected, rtol=1e-9)


def test_an_uncertain_beta_is_nearer_to_one_and_comes_nearer_to_the_truth():
    true = 1.0 + 0.3 * np.random.default_rng(2).standard_normal(400)
    returns, moves = of_betas(3, true, bars=60, noise=0.03)
    found = betas_of.betas(betas_of.step(betas_of.initial_state(400, None), returns, moves))
    assert (np.abs(found.shrunk - 1) <= np.abs(found.measured - 1)).all()
    assert np.mean((found.shrunk - true) ** 2) < 0.6 * np.mean((found.measured - true) ** 2)
    halfway = betas_of.betas(
        betas_of.step(betas_of.initial_state(400, None), returns, moves), prior_deviation=float(found.error[0])
    )
    assert halfway.shrunk[0] == pytest.approx((1 + found.measured[0]) / 2)


def test_a_beta_needs_enough_bars_and_a_market_that_moves():
    returns, moves = of_betas(4, np.ones(2), bars=40)
    returns[:20, 1] = np.nan
    found = betas_of.betas(betas_of.step(betas_of.initial_state(2, 60.0), returns, moves))
    assert np.isfinite(found.shrunk[0]) and np.isnan(found.shrunk[1])
    still = betas_of.betas(betas_of.step(betas_of.initial_state(2, 60.0), returns, np.zeros(40)))
    assert np.isnan(still.measured).all()
    same = betas_of.betas(betas_of.step(betas_of.initial_state(1, 60.0), moves[:, None], moves))
    assert same.measured[0] == pytest.approx(1.0) and same.error[0] == pytest.approx(0.0, abs=1e-8)


def test_betas_fed_bar_by_bar_have_the_same_bits():
    returns, moves = of_betas(5, np.array([0.5, 1.0, 2.0]), bars=50)
    returns[10:20, 1] = np.nan
    whole = betas_of.step(betas_of.initial_state(3, 20.0), returns, moves)
    state = betas_of.initial_state(3, 20.0)
    for t in range(50):
        state = betas_of.step(state, returns[t : t + 1], moves[t : t + 1])
    np.testing.assert_array_equal(state.sums, whole.sums)
    np.testing.assert_array_equal(state.common, whole.common)


@pytest.mark.parametrize(
    "call",
    [
        lambda: step(initial_state(3, 20.0), np.zeros((5, 4))),
        lambda: step(initial_state(3, 20.0), np.zeros(3)),
        lambda: initial_state(3, 0.0),
        lambda: covariance(initial_state(3, 20.0), shrinkage=1.1),
        lambda: covariance(initial_state(3, 20.0), least=0),
        lambda: sample_covariance(np.zeros(3)),
        lambda: ledoit_wolf(np.zeros(3)),
        lambda: ledoit_wolf(np.zeros((3, 3)), "one"),
        lambda: betas_of.step(betas_of.initial_state(3, 20.0), np.zeros((5, 3)), np.zeros(4)),
        lambda: betas_of.betas(betas_of.initial_state(3, 20.0), least=1),
        lambda: betas_of.betas(betas_of.initial_state(3, 20.0), prior_deviation=0.0),
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(InputError):
        call()
