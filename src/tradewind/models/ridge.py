"""Ridge regression of centre and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tradewind.models.base import register
from tradewind.models.forecast import LEVELS
from tradewind.models.location_scale import LocationScale


@register
class Ridge(LocationScale):
    """Linear in the standardised features, with a heavy quadratic penalty."""

    name: ClassVar[str] = "ridge"

    def __init__(
        self,
        penalty: float = 2_000.0,
        maximum_samples: int = 200_000,
        levels: Sequence[float] = LEVELS,
        threads: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__(maximum_samples, levels, threads, seed)
        self.penalty = penalty

    def regressor(self) -> Any:
        """Return scikit-learn's ridge."""
        from sklearn.linear_model import Ridge as SklearnRidge

        return SklearnRidge(alpha=self.penalty)
