"""TimesFM: Google's pretrained forecaster, zero-shot (playbook row C2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.foundation.model import FoundationModel

if TYPE_CHECKING:
    from tradewind.models.foundation.forecaster import Forecaster
    from tradewind.models.foundation.weights import Weights


@register
@dataclass(eq=False, kw_only=True)
class TimesFM(FoundationModel):
    """TimesFM 2.5 or 3.0, whichever the weights are, through ``timesfm``; both have the levels 0.1 to 0.9.

    The weights of 3.0 are not licensed for commercial or production use.
    """

    name: ClassVar[str] = "timesfm"
    extra: ClassVar[str] = "timesfm"
    packages: ClassVar[Mapping[str, str]] = {"timesfm": "timesfm", "torch": "torch", "safetensors": "safetensors"}
    weights: str = "google/timesfm-2.5-200m-pytorch"

    def open(self, weights: Weights) -> Forecaster:
        """Load weights; raises ``DataError`` for those that are damaged or of another kind."""
        from tradewind.models.foundation.timesfm_pipelines import open_timesfm

        return open_timesfm(weights, self.device)
