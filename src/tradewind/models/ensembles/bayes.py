"""Bayesian model averaging with forgetting: weights from the discounted log predictive score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tradewind.models.ensembles.base import FloatArray, decay_of, floored, register, require, require_room, softmax
from tradewind.models.ensembles.resolved import Resolved


class Memory(NamedTuple):
    """Log posterior up to a constant ``(H, M)``, and how many bars the outcomes of a horizon share ``(H, 1)``."""

    log_posterior: FloatArray
    overlap: FloatArray


@register
@dataclass(frozen=True, kw_only=True)
class Bayes:
    """Posterior probability that a member is the one that describes the present (Raftery, Kárný & Ettler 2010).

    The predictive density of each outcome is read off the member's quantiles: a Student-t with 5 degrees of freedom
    whose scores are joined linearly between them, and goes on beyond the outermost. A bar counts as one outcome
    however many symbols it has, and as ``1 / h`` of one for a horizon of ``h`` bars, because their outcomes overlap.

    Parameters
    ----------
    half_life_bars
        After how many bars evidence counts half: the forgetting that lets another member become the right one.
    floor
        No member's weight falls below it.
    seed
        Not used: nothing is random.
    """

    name: ClassVar[str] = "bayes"
    half_life_bars: float = 120.0
    floor: float = 0.0
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        require("half_life_bars", self.half_life_bars, above=0.0)
        require("floor", self.floor, least=0.0, most=1.0)

    def start(self, horizons: Sequence[int], members: int) -> Memory:
        """Return the even prior."""
        require_room(self.floor, members)
        return Memory(np.zeros((len(horizons), members)), np.asarray(horizons, dtype=np.float64)[:, None])

    def step(self, memory: Memory, resolved: Resolved) -> tuple[Memory, FloatArray]:
        """Forget a little, then add the evidence that has come due; a member without any is left as it is."""
        latest = resolved.excess_log_score
        seen = np.isfinite(latest)
        learnt = decay_of(self.half_life_bars) * memory.log_posterior + np.where(seen, latest, 0.0) / memory.overlap
        posterior = np.where(seen, learnt, memory.log_posterior)
        return memory._replace(log_posterior=posterior), floored(softmax(posterior), self.floor)
