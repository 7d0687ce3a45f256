"""The linear part of the default forecaster alone: a pooled heterogeneous autoregression of log volatility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tradewind.models.base import register
from tradewind.models.forecast import LEVELS
from tradewind.models.scale_blend import ScaleBlend


@register
class Har(ScaleBlend):
    """Own and market-wide volatility at five half-lives (Corsi 2009), fitted by likelihood over all symbols."""

    name: ClassVar[str] = "har"

    def __init__(
        self,
        maximum_samples: int = 360_000,
        levels: Sequence[float] = LEVELS,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(trees=0, maximum_samples=maximum_samples, levels=levels, threads=threads, seed=seed)
