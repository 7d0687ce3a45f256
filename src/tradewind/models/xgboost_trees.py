"""XGBoost of centre and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tradewind.models.base import register
from tradewind.models.forecast import LEVELS
from tradewind.models.location_scale import LocationScale


@register
class Xgboost(LocationScale):
    """Shallow boosted trees (Chen & Guestrin 2016), strongly regularised."""

    name: ClassVar[str] = "xgboost"

    def __init__(
        self,
        trees: int = 100,
        depth: int = 4,
        learning_rate: float = 0.05,
        maximum_samples: int = 150_000,
        levels: Sequence[float] = LEVELS,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(maximum_samples, levels, threads, seed)
        self.trees = trees
        self.depth = depth
        self.learning_rate = learning_rate

    def regressor(self) -> Any:
        """Return XGBoost's regressor."""
        from xgboost import XGBRegressor

        return XGBRegressor(
            n_estimators=self.trees,
            max_depth=self.depth,
            learning_rate=self.learning_rate,
            min_child_weight=200,
            reg_lambda=50.0,
            subsample=0.6,
            colsample_bytree=0.6,
            tree_method="hist",
            max_bin=64,
            n_jobs=self.threads,
            random_state=self.seed,
        )
