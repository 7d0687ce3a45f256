"""Ridge regression of centre and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tradewind.models.base import register
from tradewind.models.location_scale import LocationScale


@register
@dataclass(eq=False, kw_only=True)
class Ridge(LocationScale):
    """Linear in the standardised features, with a heavy quadratic penalty.

    Parameters
    ----------
    penalty
        Price of the squared coefficients against the squared errors of all samples.
    """

    name: ClassVar[str] = "ridge"
    maximum_samples: int = 200_000
    penalty: float = 2_000.0

    def regressor(self) -> Any:
        """Return scikit-learn's ridge."""
        from sklearn.linear_model import Ridge as SklearnRidge

        return SklearnRidge(alpha=self.penalty)
