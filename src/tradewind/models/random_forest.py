"""Random forests of centre and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tradewind.models.base import register
from tradewind.models.forecast import LEVELS
from tradewind.models.location_scale import LocationScale


@register
class RandomForest(LocationScale):
    """Bagged deep trees with large leaves (Breiman 2001)."""

    name: ClassVar[str] = "random_forest"

    def __init__(
        self,
        trees: int = 60,
        minimum_leaf: int = 100,
        maximum_samples: int = 40_000,
        levels: Sequence[float] = LEVELS,
        threads: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(maximum_samples, levels, threads, seed)
        self.trees = trees
        self.minimum_leaf = minimum_leaf

    def regressor(self) -> Any:
        """Return scikit-learn's random forest."""
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            self.trees,
            min_samples_leaf=self.minimum_leaf,
            max_features=0.33,
            max_samples=0.5,
            n_jobs=self.threads,
            random_state=self.seed,
        )
