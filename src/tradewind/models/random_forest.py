"""Random forests of centre and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tradewind.models.base import register
from tradewind.models.forest import HistogramForest
from tradewind.models.location_scale import LocationScale


@register
@dataclass(eq=False, kw_only=True)
class RandomForest(LocationScale):
    """Bagged deep trees with large leaves (Breiman 2001); 100 trees of depth 10 (playbook row E4).

    Parameters
    ----------
    trees, depth, minimum_leaf
        Number of trees per target, their greatest depth, the fewest samples of a leaf.
    """

    name: ClassVar[str] = "random_forest"
    trees: int = 100
    depth: int = 10
    minimum_leaf: int = 100

    def regressor(self) -> HistogramForest:
        """Return the forest."""
        return HistogramForest(self.trees, self.depth, self.minimum_leaf, self.threads, self.seed)
