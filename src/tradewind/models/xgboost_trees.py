"""XGBoost of centre and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tradewind.models.base import register
from tradewind.models.location_scale import LocationScale


@register
@dataclass(eq=False, kw_only=True)
class Xgboost(LocationScale):
    """Shallow boosted trees (Chen & Guestrin 2016), strongly regularised.

    Parameters
    ----------
    trees, depth, learning_rate
        Number of trees per target, their depth, and how much of each is believed.
    """

    name: ClassVar[str] = "xgboost"
    maximum_samples: int = 150_000
    trees: int = 100
    depth: int = 4
    learning_rate: float = 0.05

    def regressor(self) -> Any:
        """Return XGBoost's regressor: it grows trees of their own for every target."""
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
