"""Size from the default forecaster, direction from the ranker: each does what it is best at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from tradewind.models.assembly import content_hash
from tradewind.models.base import Windows, register
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.lightgbm_rank import LightgbmRank
from tradewind.models.scale_blend import ScaleBlend

RANKED_SYMBOLS = 20
"""Fewer symbols are no field to rank: the default forecaster then says the direction as well."""


@register
@dataclass(eq=False, kw_only=True)
class BlendRank:
    """`scale_blend`'s distribution, moved by what `lightgbm_rank` makes of the playbook's features.

    Without features, or with fewer than 20 symbols, it is `scale_blend` alone.

    Parameters
    ----------
    trust
        Information coefficient the ranker is believed to have: one deviation of its output moves the expected
        return by so many volatilities.
    levels, threads, seed
        Quantile levels, threads of one fit, seed of every draw.
    """

    name: ClassVar[str] = "blend_rank"
    trust: float = 0.02
    levels: Sequence[float] = LEVELS
    threads: int = 1
    seed: int = 0

    def fit(self, windows: Windows) -> Self:
        """Fit both; raises ``DataError`` below 200 samples with history and a known return."""
        ranked = bool(windows.features.names) and len(np.unique(windows.columns)) >= RANKED_SYMBOLS
        levels, threads, seed = tuple(self.levels), self.threads, self.seed
        ranker = LightgbmRank(trust=self.trust, levels=levels, threads=threads, seed=seed)
        self.direction_ = ranker.fit(windows) if ranked else None
        self.size_ = ScaleBlend(ranked=not ranked, levels=levels, threads=threads, seed=seed).fit(windows)
        parts = [self.size_.version_, *([self.direction_.version_] if self.direction_ else [])]
        self.version_ = content_hash(self.name, [self.trust], parts)
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the explanation is the size's, and under ``direction`` the ranker's."""
        size = replace(self.size_.predict(windows), model=self.name, version=self.version_)
        if self.direction_ is None:
            return size
        direction = self.direction_.predict(windows)
        move = np.nan_to_num(direction.score)
        return replace(
            size,
            quantiles=size.quantiles + move[..., None],
            score=size.score + move,
            explanation={**size.explanation, "direction": direction.explanation},
        )
