"""Thompson sampling: at each bar one member speaks, drawn by how probable it is that it is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tradewind.models.ensembles.base import FloatArray, decay_of, register, require, require_whole
from tradewind.models.ensembles.resolved import Resolved


class Memory(NamedTuple):
    """Bars seen; faded count, sum and sum of squares of each member's excess losses, ``(H, M)``; the horizons."""

    bars: int
    faded: FloatArray
    total: FloatArray
    squares: FloatArray
    overlap: FloatArray


@register
@dataclass(frozen=True, kw_only=True)
class Thompson:
    """The member with the least draw from the posterior of its mean excess loss (Thompson 1933; Russo et al. 2018).

    The posterior is normal: resolved losses, discounted, with ``prior_dates`` dates of no excess before the first. A
    bar of a horizon of ``h`` counts ``1 / h`` dates. The draw at a bar depends on ``seed``, the number of bars before
    it and what has come due, so the same history makes the same choices.

    Parameters
    ----------
    half_life_bars
        After how many bars a loss counts half.
    prior_dates
        Weight of the belief that all members are alike, in independent dates.
    prior_deviation
        Standard deviation of a date's excess loss before any was seen, as a share of a calibrated loss.
    seed
        Of the draws.
    """

    name: ClassVar[str] = "thompson"
    half_life_bars: float = 250.0
    prior_dates: float = 10.0
    prior_deviation: float = 0.1
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name in ("half_life_bars", "prior_dates", "prior_deviation"):
            require(name, getattr(self, name), above=0.0)
        require_whole("seed", self.seed, least=0)

    def start(self, horizons: Sequence[int], members: int) -> Memory:
        """Return what is known before the first bar: that all are alike."""
        none = np.zeros((len(horizons), members))
        return Memory(0, none, none, none, np.asarray(horizons, dtype=np.float64)[:, None])

    def step(self, memory: Memory, resolved: Resolved) -> tuple[Memory, FloatArray]:
        """Learn from what has come due, then draw and choose, horizon by horizon."""
        memory = self._learn(memory, resolved.excess_loss)
        noise = np.random.default_rng((self.seed, memory.bars)).standard_normal(memory.faded.shape)
        mean, error = self._posterior(memory)
        chosen = np.argmin(mean + error * noise, axis=1)
        return memory, np.asarray(np.arange(noise.shape[1]) == chosen[:, None], dtype=np.float64)

    def _learn(self, memory: Memory, latest: FloatArray) -> Memory:
        """Fade and add; a member of whom nothing has come due is left as it is."""
        seen, decay = np.isfinite(latest), decay_of(self.half_life_bars)
        loss, keep = np.where(seen, latest, 0.0), np.where(seen, decay, 1.0)
        faded, total = keep * memory.faded + seen, keep * memory.total + loss
        return Memory(memory.bars + 1, faded, total, keep * memory.squares + loss**2, memory.overlap)

    def _posterior(self, memory: Memory) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard error of each member's mean excess loss, ``(H, M)`` each."""
        prior = self.prior_dates * memory.overlap
        weight = memory.faded + prior
        mean = memory.total / weight
        variance = (memory.squares + prior * self.prior_deviation**2) / weight - mean**2
        return mean, np.sqrt(np.maximum(variance, 0.0) * memory.overlap / weight)
