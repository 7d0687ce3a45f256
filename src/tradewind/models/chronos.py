"""Chronos: Amazon's pretrained forecasters, zero-shot (playbook row C2)."""

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
class Chronos(FoundationModel):
    """Chronos-T5, Chronos-Bolt or Chronos-2, whichever the weights are, through ``chronos-forecasting``.

    Chronos-2 has the levels 0.01 to 0.99 itself; Chronos-Bolt has 0.1 to 0.9; Chronos-T5 draws ``samples`` paths, one
    series at a time, which takes a hundred times as long as either.
    """

    name: ClassVar[str] = "chronos"
    extra: ClassVar[str] = "chronos"
    packages: ClassVar[Mapping[str, str]] = {
        "chronos": "chronos-forecasting",
        "transformers": "transformers",
        "torch": "torch",
        "safetensors": "safetensors",
    }
    weights: str = "amazon/chronos-2"

    def open(self, weights: Weights) -> Forecaster:
        """Load weights; raises ``DataError`` for those that are damaged or of another kind."""
        from tradewind.models.foundation.chronos_pipelines import open_chronos

        return open_chronos(weights, self.device, self.samples, self.seed)
