"""From class probabilities to a distribution of the return: what came with each class, mixed by how likely it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_GRID = 400
_CHUNK = 20_000


@dataclass(frozen=True, eq=False)
class ClassMixture:
    """The distribution of scaled returns given each class, on a grid.

    ``F(x) = Σ_c p_c F_c(x)`` with the empirical ``F_c``: nothing is assumed of its shape, and classes as frequent
    as ever give back the distribution of all returns. A likelier neutral class makes it narrower.

    Attributes
    ----------
    grid
        ``(G,)`` returns in units of their scale, rising.
    below
        ``(C, G)`` share of a class's returns that are not above each.
    mean
        ``(C,)`` mean return of each class.
    """

    grid: FloatArray
    below: FloatArray
    mean: FloatArray

    @classmethod
    def fit(cls, ratio: FloatArray, classes: IntArray, weight: FloatArray, count: int) -> ClassMixture:
        """Measure samples: scaled returns, classes and weights ``(n,)``; a class that never came is as all are."""
        grid = np.unique(np.quantile(ratio, np.linspace(0.0, 1.0, _GRID)))
        of = [classes == one if (classes == one).any() else np.ones(len(classes), dtype=bool) for one in range(count)]
        below = np.stack([_share_below(grid, ratio[own], weight[own]) for own in of])
        mean = np.array([np.average(ratio[own], weights=weight[own]) for own in of])
        return cls(grid, below, mean)

    def quantiles(self, probability: FloatArray, levels: Sequence[float]) -> FloatArray:
        """Return ``(n, Q)`` scaled returns for class probabilities ``(n, C)``."""
        parts = [
            self._inverted(probability[start : start + _CHUNK], levels) for start in range(0, len(probability), _CHUNK)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(levels)))

    def means(self, probability: FloatArray) -> FloatArray:
        """Return ``(n,)`` expected scaled returns."""
        return np.asarray(probability @ self.mean)

    def _inverted(self, probability: FloatArray, levels: Sequence[float]) -> FloatArray:
        mixed = probability @ self.below
        rows, found = np.arange(len(mixed)), np.empty((len(mixed), len(levels)))
        for number, level in enumerate(levels):
            after = np.clip((mixed < level).sum(axis=1), 1, len(self.grid) - 1)
            low, high = mixed[rows, after - 1], mixed[rows, after]
            share = np.clip((level - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
            found[:, number] = self.grid[after - 1] + share * (self.grid[after] - self.grid[after - 1])
        return found


def _share_below(grid: FloatArray, values: FloatArray, weight: FloatArray) -> FloatArray:
    order = np.argsort(values, kind="stable")
    mass = np.concatenate(([0.0], np.cumsum(weight[order])))
    return np.asarray(mass[np.searchsorted(values[order], grid, side="right")] / mass[-1])
