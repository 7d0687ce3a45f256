"""Stacking: the weights that would have lost least on the forecasts that have come due, refitted on a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tradewind.models.ensembles.base import FloatArray, even, register, require, require_whole
from tradewind.models.ensembles.resolved import Resolved

STEPS = 200
"""Of exponentiated gradient descent; the mean of the later half is taken."""

STEP_SIZE = 0.5

Sample = tuple[FloatArray, FloatArray]
"""Forecasts ``(S, Q, M)`` and outcomes ``(S,)`` of one bar and horizon, in units of their scale."""


class Memory(NamedTuple):
    """Bars seen, the newest samples of each horizon (one entry a bar that had any), horizons, weights so far."""

    bars: int
    samples: tuple[tuple[Sample, ...], ...]
    overlap: tuple[int, ...]
    weights: FloatArray


@register
@dataclass(frozen=True, kw_only=True)
class Stacking:
    """Weights ``w >= 0``, summing to 1, of least mean pinball loss on resolved out-of-sample forecasts.

    One set per horizon, common to all levels, so that the combined quantiles cannot cross (quantile stacking: Fakoor et
    al. 2023; stacking: Wolpert 1992, Breiman 1996). Only forecasts that all members made are learnt from. Fitted by
    exponentiated gradient (Kivinen & Warmuth 1997) from equal weights, then drawn towards them as by ``prior_dates``
    dates of evidence, a bar of a horizon of ``h`` counting ``1 / h``.

    Parameters
    ----------
    window_bars
        Bars with outcomes that are learnt from, the newest.
    refit_bars
        Bars between refits.
    prior_dates
        Weight of equal weights, in independent dates.
    maximum_samples
        Forecasts used in one fit: drawn from those in the window where there are more.
    seed
        Of that draw.
    """

    name: ClassVar[str] = "stacking"
    window_bars: int = 500
    refit_bars: int = 20
    prior_dates: float = 100.0
    maximum_samples: int = 4000
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name in ("window_bars", "refit_bars", "maximum_samples"):
            require_whole(name, getattr(self, name), least=1)
        require_whole("seed", self.seed, least=0)
        require("prior_dates", self.prior_dates, least=0.0)

    def start(self, horizons: Sequence[int], members: int) -> Memory:
        """Return equal weights and no evidence."""
        return Memory(0, ((),) * len(horizons), tuple(horizons), even(horizons, members))

    def step(self, memory: Memory, resolved: Resolved) -> tuple[Memory, FloatArray]:
        """Keep what has come due; every ``refit_bars`` bars fit anew."""
        kept = tuple(self._kept(old, resolved.complete(index)) for index, old in enumerate(memory.samples))
        bars, weights = memory.bars + 1, memory.weights
        if bars % self.refit_bars == 0:
            weights = np.stack([self._fitted(own, index, memory, resolved.levels) for index, own in enumerate(kept)])
        return Memory(bars, kept, memory.overlap, weights), weights

    def _kept(self, old: tuple[Sample, ...], latest: Sample) -> tuple[Sample, ...]:
        return (*old, latest)[-self.window_bars :] if len(latest[1]) else old

    def _fitted(self, samples: tuple[Sample, ...], index: int, memory: Memory, levels: Sequence[float]) -> FloatArray:
        """Return one horizon's weights ``(M,)``."""
        equal = np.full(memory.weights.shape[1], 1.0 / memory.weights.shape[1])
        if not samples:
            return equal
        made = np.concatenate([one for one, _ in samples])
        came = np.concatenate([one for _, one in samples])
        if len(came) > self.maximum_samples:
            some = np.random.default_rng(self.seed).choice(len(came), self.maximum_samples, replace=False)
            made, came = made[some], came[some]
        fitted = least_loss(made, came, levels)
        dates = len(samples) / memory.overlap[index]
        return np.asarray((dates * fitted + self.prior_dates * equal) / (dates + self.prior_dates))


def least_loss(made: FloatArray, came: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the weights ``(M,)``, none negative and summing to 1, of least mean pinball loss.

    Parameters
    ----------
    made
        ``(S, Q, M)`` quantiles of each member.
    came
        ``(S,)`` outcomes.
    """
    inputs = np.ascontiguousarray(made.reshape(-1, made.shape[-1]))
    outcome, level = np.repeat(came, made.shape[1]), np.tile(np.asarray(levels), len(came))
    weights = np.full(inputs.shape[1], 1.0 / inputs.shape[1])
    settled, travelled = np.zeros_like(weights), 0.0
    for step in range(STEPS):
        slope = ((outcome < inputs @ weights) - level) @ inputs / len(outcome)
        slope -= weights @ slope
        travelled += float(np.abs(slope).max()) ** 2
        weights = weights * np.exp(-STEP_SIZE * slope / np.sqrt(max(travelled, 1e-300)))
        weights = weights / weights.sum()
        settled += weights * (step >= STEPS // 2)
    return np.asarray(settled / settled.sum())
