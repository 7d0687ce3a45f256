"""Exponentially weighted correlations against pandas, and matrices that are made whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.stats.correlation_matrix import ewma_correlation, positive_semidefinite


def pairs_told_one_by_one(size: int, seed: int) -> np.ndarray:
    half = np.triu(np.random.default_rng(seed).uniform(-1, 1, (size, size)), 1)
    return half + half.T + np.eye(size)


def test_weighted_correlations_are_those_of_pandas_around_zero() -> None:
    import pandas as pd

    draw = np.random.default_rng(0)
    returns = draw.normal(size=(80, 4)) + draw.normal(size=(80, 1))
    returns[draw.random(returns.shape) < 0.1] = np.nan
    found = ewma_correlation(returns, decay=0.9, least=10)
    for i in range(4):
        for j in range(4):
            both = np.isfinite(returns[:, i] + returns[:, j])
            a, b = (pd.Series(np.where(both, returns[:, k], np.nan)) for k in (i, j))
            product, one, other = (
                (x * y).ewm(alpha=0.1, adjust=True).mean().iloc[-1] for x, y in ((a, b), (a, a), (b, b))
            )
            assert found[i, j] == pytest.approx(product / np.sqrt(one * other))


def test_a_pair_with_too_few_common_rows_or_that_did_not_move_has_none() -> None:
    returns = np.random.default_rng(1).normal(size=(30, 4))
    returns[:25, 1], returns[:, 2] = np.nan, 0.0
    found = ewma_correlation(returns, least=6)
    assert np.isnan(found[1, [0, 2, 3]]).all()
    assert np.isnan(found[2, [0, 3]]).all()
    assert np.isfinite(found[0, 3])
    assert (np.diag(found) == 1).all()


def test_newer_rows_weigh_more() -> None:
    x = np.random.default_rng(2).normal(size=60)
    y = np.where(np.arange(60) < 40, -x, x)
    returns = np.column_stack([x, y])
    assert ewma_correlation(returns, decay=1.0)[0, 1] < 0 < ewma_correlation(returns, decay=0.9)[0, 1]


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_a_made_matrix_has_no_negative_eigenvalue_and_ones_on_its_diagonal(size: int, seed: int) -> None:
    made = positive_semidefinite(pairs_told_one_by_one(size, seed))
    assert np.linalg.eigvalsh(made).min() > -1e-12
    assert (np.diag(made) == 1).all()
    assert np.array_equal(made, made.T)
    assert np.abs(made).max() <= 1


@given(st.integers(2, 8), st.integers(0, 2**31))
def test_permuting_symbols_permutes_the_made_matrix(size: int, seed: int) -> None:
    matrix, order = pairs_told_one_by_one(size, seed), np.random.default_rng(seed).permutation(size)
    permuted = positive_semidefinite(matrix[np.ix_(order, order)])
    np.testing.assert_allclose(permuted, positive_semidefinite(matrix)[np.ix_(order, order)], atol=1e-9)


def test_a_matrix_that_fits_together_is_returned_as_it_is() -> None:
    matrix = np.corrcoef(np.random.default_rng(3).normal(size=(5, 60)))
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1.0)
    assert np.array_equal(positive_semidefinite(matrix), matrix)


def test_a_known_answer() -> None:
    """Two that move with a third and against each other: one eigenvalue is below nothing."""
    matrix = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]])
    values, vectors = np.linalg.eigh(matrix)
    clipped = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
    size = np.sqrt(np.diag(clipped))
    np.testing.assert_allclose(positive_semidefinite(matrix), clipped / np.outer(size, size), atol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [np.ones((2, 3)), np.array([[1.0, np.nan], [np.nan, 1.0]]), np.array([[1, 0.5], [0.4, 1]]), np.zeros((2, 2))],
)
def test_what_is_no_correlation_matrix_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InputError):
        positive_semidefinite(wrong)


@pytest.mark.parametrize("wrong", [{"decay": 0.0}, {"decay": 1.1}])
def test_a_decay_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        ewma_correlation(np.zeros((5, 2)), **wrong)
