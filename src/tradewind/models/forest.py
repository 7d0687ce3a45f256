"""A random forest on binned inputs: seconds where sorting the samples of every node takes minutes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.models.boosting import repeatable

FloatArray = NDArray[np.float64]

_FEATURES_PER_NODE = 0.33
_BAG = 0.5
_MOST_LEAVES = 2**17


@dataclass(eq=False)
class HistogramForest:
    """Bagged trees over histograms of the inputs (Breiman 2001; Ke et al. 2017, §2.1), one forest per target.

    Each tree sees half of the samples, drawn without replacement, and each node a third of the features. The samples
    are binned once for all targets.

    Parameters
    ----------
    trees, depth, minimum_leaf
        Number of trees, their greatest depth and the fewest samples of a leaf.
    threads, seed
        Threads of one fit; the trees do not depend on it. Seed of every draw.
    """

    trees: int
    depth: int
    minimum_leaf: int
    threads: int = 1
    seed: int = 0

    def fit(self, inputs: FloatArray, targets: FloatArray, weight: FloatArray | None = None) -> Self:
        """Fit ``(n, F)`` inputs to ``(n, K)`` targets; samples count by ``weight`` ``(n,)``, alike without."""
        import lightgbm

        parameters = self._parameters()
        data = lightgbm.Dataset(inputs, targets[:, 0], weight=weight, params=parameters)
        self.boosters_ = []
        for target in targets.T:
            data.set_label(np.ascontiguousarray(target))
            self.boosters_.append(lightgbm.train(parameters, data, self.trees))
        return self

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Return the means over the trees, ``(n, K)``."""
        return np.stack([np.asarray(b.predict(inputs, num_threads=self.threads)) for b in self.boosters_], axis=1)

    @property
    def feature_importances_(self) -> FloatArray:
        """The share of the squared error that each input took away, ``(F,)``, the mean over the targets."""
        gains = np.array([booster.feature_importance("gain") for booster in self.boosters_])
        return np.asarray((gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)).mean(axis=0))

    def _parameters(self) -> dict[str, Any]:
        return {
            **repeatable(self.threads, self.seed),
            "objective": "regression",
            "boosting": "rf",
            "bagging_fraction": _BAG,
            "bagging_freq": 1,
            "feature_fraction_bynode": _FEATURES_PER_NODE,
            "max_depth": self.depth,
            "num_leaves": min(2**self.depth, _MOST_LEAVES),
            "min_data_in_leaf": self.minimum_leaf,
        }
