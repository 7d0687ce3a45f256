"""Was the winner picked from noise? PBO by CSCV, the SPA test and the model confidence set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Probability of back-test overfitting, or why there is none.

    Attributes
    ----------
    value
        Share of the splits in which the in-sample best ends in the lower half out of sample; None with a ``reason``.
    reason
        Why there is no value.
    configurations, splits
        What it was computed from.
    slope
        Regression slope of the out-of-sample on the in-sample Sharpe ratio of the selected; NaN without a value.
    probability_of_loss
        Share of the splits in which the selected lost money out of sample.
    """

    value: float | None
    reason: str | None
    configurations: int
    splits: int = 0
    slope: float = math.nan
    probability_of_loss: float = math.nan


def probability_of_overfitting(returns: ArrayLike, blocks: int = 16) -> Overfitting:
    """Return the PBO by combinatorially symmetric cross-validation (Bailey, Borwein, López de Prado & Zhu 2017).

    Parameters
    ----------
    returns
        ``(T, M)`` per-bar returns of ``M`` configurations over the same bars, none missing.
    blocks
        Even number of consecutive blocks; all ways to take half of them are the splits (12,870 for 16). Reduced to
        what leaves 5 bars a block.
    """
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim != 2:
        raise InputError(f"returns have shape {r.shape}, PBO needs (bars, configurations)")
    bars, count = r.shape
    usable = min(blocks, bars // 5) // 2 * 2
    reason = _why_not(r, count, usable)
    if reason is not None:
        return Overfitting(None, reason, count)
    inside, outside = _split_sharpes(r, usable)
    best = np.argmax(inside, axis=1)
    rows = np.arange(len(best))
    chosen_in, chosen_out = inside[rows, best], outside[rows, best]
    below = (outside < chosen_out[:, None]).sum(axis=1) + 0.5 * ((outside == chosen_out[:, None]).sum(axis=1) - 1)
    rank = (below + 1.0) / (count + 1.0)
    slope = float(np.polyfit(chosen_in, chosen_out, 1)[0]) if np.ptp(chosen_in) > 0 else math.nan
    return Overfitting(float((rank <= 0.5).mean()), None, count, len(best), slope, float((chosen_out < 0).mean()))


def _why_not(r: FloatArray, count: int, blocks: int) -> str | None:
    if count < 2:
        return f"{count} configuration tried: overfitting by selection needs at least two"
    if not np.isfinite(r).all():
        return "some configurations lack returns on some bars"
    if blocks < 2:
        return f"{len(r)} bars are too few to split"
    if not (np.ptp(r, axis=0) > 0).all():
        return "a configuration never traded: its Sharpe ratio is undefined"
    return None


def _split_sharpes(r: FloatArray, blocks: int) -> tuple[FloatArray, FloatArray]:
    """Return the Sharpe ratios inside and outside of every split, ``(splits, M)``, from block sums."""
    parts = np.array_split(r, blocks)
    sums = np.array([[p.sum(axis=0), (p**2).sum(axis=0)] for p in parts])
    sizes = np.array([len(p) for p in parts], dtype=np.float64)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    picked = np.zeros((len(chosen), blocks))
    np.put_along_axis(picked, chosen, 1.0, axis=1)
    return _sharpes(picked, sums, sizes), _sharpes(1.0 - picked, sums, sizes)


def _sharpes(picked: FloatArray, sums: FloatArray, sizes: FloatArray) -> FloatArray:
    n = (picked @ sizes)[:, None]
    mean = picked @ sums[:, 0] / n
    variance = np.maximum(picked @ sums[:, 1] / n - mean**2, 0.0) * n / (n - 1.0)
    return np.where(variance > 1e-24, mean / np.sqrt(np.where(variance > 1e-24, variance, 1.0)), 0.0)


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """P-values that no model beats the benchmark (Hansen 2005); ``consistent`` is the one to read."""

    lower: float
    consistent: float
    upper: float


def superior_predictive_ability(
    benchmark_losses: ArrayLike, model_losses: ArrayLike, *, block_bars: int, samples: int = 1000, seed: int = 0
) -> SuperiorAbility:
    """Test whether any of the models has smaller expected loss than the benchmark (arch's SPA).

    ``benchmark_losses`` ``(T,)``, ``model_losses`` ``(T, M)``. The ``upper`` p-value is White's reality check in its
    studentised form.
    """
    from arch.bootstrap import SPA

    test = SPA(np.asarray(benchmark_losses), np.asarray(model_losses), block_size=block_bars, reps=samples, seed=seed)
    test.compute()
    p = test.pvalues
    return SuperiorAbility(float(p["lower"]), float(p["consistent"]), float(p["upper"]))


def model_confidence_set(
    losses: ArrayLike,
    names: Sequence[str],
    *,
    size: float = 0.1,
    block_bars: int,
    samples: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Return each model's p-value of belonging to the set of the best (Hansen, Lunde & Nason 2011; arch's MCS).

    ``losses`` ``(T, M)``. Models with a p-value above ``size`` cannot be told from the best. Models with the same
    losses on every row stand for each other.
    """
    from arch.bootstrap import MCS

    table = np.asarray(losses, dtype=np.float64)
    if table.shape[1] != len(names):
        raise InputError(f"{table.shape[1]} columns of losses for {len(names)} names")
    distinct, place = np.unique(table, axis=1, return_inverse=True)
    if distinct.shape[1] < 2:
        return dict.fromkeys(names, 1.0)
    test = MCS(distinct, size=size, block_size=block_bars, reps=samples, seed=seed)
    test.compute()
    p = test.pvalues["Pvalue"]
    return {name: float(p.loc[index]) for name, index in zip(names, place.ravel(), strict=True)}
