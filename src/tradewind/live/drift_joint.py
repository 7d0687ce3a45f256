"""How features hang together, as a few features more: where a change of correlations shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

NAMES: Final = ("joint: strong directions", "joint: middle directions", "joint: weak directions", "joint: what is left")
"""Of the principal directions: those of the first 60 % of the variance, to 90 %, to 99 %, and the rest."""

_SHARES: Final = (0.6, 0.9, 0.99)
_CLIP: Final = 4.0
_FLOOR: Final = 1e-4
_CHUNK: Final = 256


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and deviation of each feature, ``(F,)``; a deviation of one where it does not vary or is not known."""

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Moments:
        """Measure ``(T, N, F)``."""
        x = values.reshape(-1, values.shape[-1])
        known = np.isfinite(x)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, x, 0.0).sum(axis=0, dtype=np.float64) / count
        square = np.where(known, x - mean, 0.0)
        deviation = np.sqrt((square**2).sum(axis=0, dtype=np.float64) / count)
        return cls(mean, np.where(deviation > 1e-12 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0))

    def standardised(self, values: NDArray[np.float32]) -> FloatArray:
        """Return values in deviations from the mean, at most four; the mean stands in for what is missing."""
        z = np.clip((values - self.mean) / self.deviation, -_CLIP, _CLIP)
        return np.where(np.isfinite(values), z, 0.0)

    def products(self, values: NDArray[np.float32]) -> FloatArray:
        """Return the sum of the products of standardised features over ``(T, N, F)``, ``(F, F)``."""
        total = np.zeros((values.shape[-1], values.shape[-1]))
        for first in range(0, len(values), _CHUNK):
            z = self.standardised(values[first : first + _CHUNK]).reshape(-1, values.shape[-1])
            total += z.T @ z
        return total


@dataclass(frozen=True, eq=False)
class Directions:
    """Principal directions of standardised features, each of variance one over the training data.

    Attributes
    ----------
    loadings
        ``(F, K)``, contiguous: the last bits of a product depend on the layout in memory.
    group
        ``(K,)`` which of :data:`NAMES` each belongs to.
    """

    loadings: FloatArray
    group: NDArray[np.int64]

    @classmethod
    def of(cls, products: FloatArray, rows: int) -> Directions:
        """Take apart the mean products of ``rows`` rows."""
        power, vectors = np.linalg.eigh(products / max(rows, 1))
        power, vectors = np.maximum(power[::-1], 0.0), vectors[:, ::-1]
        total = max(float(power.sum()), 1e-300)
        before = (np.cumsum(power) - power) / total
        scale = np.sqrt(np.maximum(power, _FLOOR * total / len(power)))
        return cls(
            np.ascontiguousarray(vectors / scale), np.searchsorted(_SHARES, before, side="right").astype(np.int64)
        )

    def lengths(self, standardised: FloatArray) -> NDArray[np.float32]:
        """Return, for each group, the log of the mean squared score of each row ``(N, F)``: ``(N, G)``."""
        square = (standardised @ self.loadings) ** 2
        member = self.group[:, None] == np.arange(len(NAMES))
        mean = (square @ member.astype(np.float64)) / np.maximum(member.sum(axis=0), 1)
        return np.asarray(np.log(mean + 0.01), dtype=np.float32)


def with_joint(values: NDArray[np.float32], moments: Moments, directions: Directions) -> NDArray[np.float32]:
    """Return ``(T, N, F + G)``: the features and what their directions say, bar by bar.

    A product of matrices of another shape may differ in its last bits: a bar is always taken alone. Rows that know
    nothing say nothing.
    """
    bars, symbols, features = values.shape
    made = np.full((bars, symbols, features + len(NAMES)), np.nan, dtype=np.float32)
    made[..., :features] = values
    for t, bar in enumerate(values):
        known = np.isfinite(bar).any(axis=1)
        made[t, :, features:] = np.where(known[:, None], directions.lengths(moments.standardised(bar)), np.nan)
    return made
