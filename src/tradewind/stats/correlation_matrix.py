"""Correlation matrices: of the recent past, exponentially weighted, and one made of pairs that do not fit together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

_UNEVEN = 1e-9


def ewma_correlation(returns: FloatArray, *, decay: float = 0.94, least: int = 10) -> FloatArray:
    """Return exponentially weighted correlations around zero at the last row, ``(N, N)``, of ``(B, N)`` returns.

    RiskMetrics (1996, section 5.2.2); each pair over the rows that both have.

    Parameters
    ----------
    decay
        Weight of a row against that of the row after it.
    least
        Rows that a pair must have in common.

    Returns
    -------
    One on the diagonal; NaN where too few rows are common or one did not move.

    Raises
    ------
    InputError
        Returns that are no table, or a decay outside of (0, 1].
    """
    if returns.ndim != 2 or not 0 < decay <= 1:
        raise InputError(f"returns {returns.shape} must be (bar, symbol), decay = {decay} in (0, 1]")
    there = np.isfinite(returns).astype(np.float64)
    moves = np.where(there > 0, returns, 0.0)
    weighed = moves * decay ** np.arange(len(returns))[::-1, None]
    product, square = weighed.T @ moves, (weighed * moves).T @ there
    size = square * square.T
    known = (there.T @ there >= least) & (size > 0)
    found = np.where(known, (product + product.T) / 2 / np.sqrt(np.where(known, size, 1.0)), np.nan)
    np.fill_diagonal(found, 1.0)
    return found


def positive_semidefinite(matrix: FloatArray) -> FloatArray:
    """Return a correlation matrix near to one whose pairs do not fit together, ``(N, N)``.

    Negative eigenvalues are set to nothing and the diagonal is scaled back to one (Rebonato & Jäckel 1999:
    spectral decomposition). It is near the given one, not the nearest (Higham 2002). A matrix without a negative
    eigenvalue is returned as it is.

    Raises
    ------
    InputError
        A matrix that is not square, symmetric and finite with ones on its diagonal.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise InputError(f"a correlation matrix is square and has no gaps, this one is {matrix.shape}")
    if np.abs(matrix - matrix.T).max(initial=0.0) > _UNEVEN or np.abs(np.diag(matrix) - 1.0).max(initial=0.0) > _UNEVEN:
        raise InputError("a correlation matrix is symmetric and has ones on its diagonal")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if not len(values) or values[0] >= 0:
        return matrix
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    root /= np.sqrt((root**2).sum(axis=1, keepdims=True))
    found: FloatArray = np.clip(root @ root.T, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return (found + found.T) / 2
