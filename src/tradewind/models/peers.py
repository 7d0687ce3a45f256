"""What happened to the symbols that move with a symbol: news of an industry reaches its members at different times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

REFRESH_BARS = 20
"""Bars for which one set of peers holds; the next uses all bars before it."""

_DECAY = 0.5 ** (REFRESH_BARS / 250.0)
_NOISE = 0.10
_OWN_WEIGHT = 2.0
_WARM_UP_BARS = 120


def peer_means(moves: FloatArray, values: FloatArray) -> FloatArray:
    """Return each symbol's mean of ``values`` over its peers, weighted by how far their moves go together.

    Parameters
    ----------
    moves
        ``(T, N)`` market-relative returns in units of their usual size; 0 where unknown or not in the universe.
    values
        ``(K, T, N)`` what to average, relative to all symbols; 0 where unknown.

    Returns
    -------
    means
        ``(K, T, N)``. A correlation (half-life one year) counts by what it exceeds 0.10, and a symbol with few
        peers stays near zero. Weights of a bar are made of earlier bars only; 0 during the first 120 bars.
    """
    bars, count = moves.shape
    missing = -bars % REFRESH_BARS  # whole blocks only: the last bits of a product depend on its shape
    moves, values = np.pad(moves, ((0, missing), (0, 0))), np.pad(values, ((0, 0), (0, missing), (0, 0)))
    means = np.zeros(values.shape)
    product, weight = np.zeros((count, count)), 0.0
    for start in range(0, bars, REFRESH_BARS):
        block = slice(start, start + REFRESH_BARS)
        if start >= _WARM_UP_BARS:
            means[:, block] = values[:, block] @ _weights(product / weight).T
        product = _DECAY * product + moves[block].T @ moves[block]
        weight = _DECAY * weight + REFRESH_BARS
    return means[:, :bars]


def _weights(covariance: FloatArray) -> FloatArray:
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    together = np.maximum(covariance / np.outer(spread, spread) - _NOISE, 0.0)
    np.fill_diagonal(together, 0.0)
    return np.asarray(together / (together.sum(axis=1, keepdims=True) + _OWN_WEIGHT))
