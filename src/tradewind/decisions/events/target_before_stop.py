"""The price touches the target before the stop, and in time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tradewind.decisions.confidence import FloatArray, Sides, Trade, ahead, register, traded, truth
from tradewind.decisions.signals import Belief
from tradewind.market.panel import Panel

CERTAIN = 0.5
"""Barriers less than this many sigmas apart are left within the horizon but for one path in 10^8."""
IMAGES = 16
STEEPEST = 200.0
"""Drifts beyond so many sigmas are as good as certain, and would overflow."""


@register
class TargetBeforeStop:
    """High and low of the raw bars after the next open; a bar that holds both counts as the stop."""

    name: ClassVar[str] = "target_before_stop"
    words: ClassVar[tuple[str, str]] = ("target before stop", "target before stop of a short")

    def forecast(self, belief: Belief, trade: Trade) -> Sides:
        """Return the chance of a diffusion that has the forecast's median and sigma at the horizon."""
        median, sigma = belief.median(trade.bars), belief.sigma(trade.bars)
        with np.errstate(divide="ignore", invalid="ignore"):
            drift = median / sigma
            long = touch_probability(np.log1p(trade.target.long) / sigma, -np.log1p(-trade.stop.long) / sigma, drift)
            fall = -np.log1p(-np.where(trade.target.short < 1, trade.target.short, np.nan))
            short = touch_probability(fall / sigma, np.log1p(trade.stop.short) / sigma, -drift)
        told = np.isfinite(drift)
        return Sides(*(np.where(told, np.nan_to_num(chance), np.nan) for chance in (long, short)))

    def outcome(self, belief: Belief, trade: Trade) -> Sides:
        """Walk the bars after each close; where the forecast has no target there is no outcome."""
        return Sides(
            first_touch(belief.panel, trade.bars, trade.target.long, trade.stop.long, side=1),
            first_touch(belief.panel, trade.bars, trade.target.short, trade.stop.short, side=-1),
        )


def touch_probability(target: FloatArray, stop: FloatArray, drift: FloatArray) -> FloatArray:
    """Return the probability that a Brownian motion meets an upper barrier before a lower one within unit time.

    Parameters
    ----------
    target, stop
        Distances of the barriers from the start, > 0, in units of the deviation at the end of the time.
    drift
        Its mean at the end of the time, in the same units.

    Returns
    -------
    The first-passage density of the upper barrier (Darling & Siegert 1953) integrated to time one: a sum over images
    of single-barrier passages (Borodin & Salminen 2002). Close barriers are surely met, which has a closed form.
    NaN where an argument is.
    """
    from scipy.special import log_ndtr

    nu = np.clip(drift, -STEEPEST, STEEPEST)
    total = np.zeros(np.broadcast_shapes(target.shape, stop.shape, nu.shape))
    for image in range(-IMAGES, IMAGES + 1):
        centre = target + 2 * image * (target + stop)
        c = np.abs(centre)
        passed = np.exp(nu * (target - c) + log_ndtr(nu - c)) + np.exp(nu * (target + c) + log_ndtr(-nu - c))
        total += np.sign(centre) * passed
    met = _sooner_or_later(np.minimum(target, CERTAIN), np.minimum(stop, CERTAIN), nu)
    return np.asarray(np.clip(np.where(target + stop < CERTAIN, met, total), 0.0, 1.0))


def _sooner_or_later(target: FloatArray, stop: FloatArray, nu: FloatArray) -> FloatArray:
    """Return the probability with no limit of time: the ratio of scale functions, ``stop / width`` without drift."""
    still = np.abs(nu) < 1e-9
    steady = np.where(still, 1.0, nu)
    moving = -np.expm1(-2 * steady * stop) / -np.expm1(-2 * steady * (target + stop))
    return np.where(still, stop / (target + stop), moving)


def first_touch(panel: Panel, bars: int, target: FloatArray, stop: FloatArray, *, side: int) -> FloatArray:
    """Return 1 where the target was touched before the stop in the ``bars`` bars after each close, else 0.

    Entry is the open of the next bar, and that bar counts. A bar that opens beyond one of them meets that one first; a
    bar that reaches both counts as the stop. Bars that are missing touch nothing. NaN without an entry or a target, and
    until ``bars`` bars have passed, so that quick ones are not known before slow ones.
    """
    rows = len(panel)
    best, worst = ("high", "low") if side > 0 else ("low", "high")
    opened, best_of, worst_of = (side * traded(panel, name) for name in ("open", best, worst))
    entry = ahead(opened, 1)
    goal, limit = entry + np.abs(entry) * target, entry - np.abs(entry) * stop
    running = np.isfinite(entry) & np.isfinite(goal) & (np.arange(rows) + bars < rows)[:, None]
    known, won = running.copy(), np.zeros(running.shape, dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        for bar in range(1, bars + 1):
            first = ahead(opened, bar)
            lost = (first <= limit) | ((first < goal) & (ahead(worst_of, bar) <= limit))
            gained = ~lost & (ahead(best_of, bar) >= goal)
            won |= running & gained
            running &= ~(lost | gained)
    return truth(won, known)
