"""Signal to target position: named steps, the tightest wins, and the result says which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Belief, Signals
from tradewind.market import tiers
from tradewind.portfolio.settings import LimitsSection, SizingSection

Array = NDArray[np.float64]

CONVICTION_SPAN = 0.05
"""Confidence above ``confidence_min`` at which a signal gets all of its weight."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Desired positions decided at the close of each bar.

    Attributes
    ----------
    weight
        ``(T, N)`` target fraction of equity; NaN leaves the position as it is; 0 closes it.
    bound_by
        ``(T, N)`` int16 index into ``steps``: the step that determined the weight.
    steps
        Names of the steps.
    """

    weight: Array
    bound_by: NDArray[np.int16]
    steps: tuple[str, ...]

    def times_bound(self) -> dict[str, int]:
        """Return how many opened targets each step determined."""
        opened = self.weight[np.isfinite(self.weight) & (self.weight != 0)]
        bound = self.bound_by[np.isfinite(self.weight) & (self.weight != 0)]
        return {name: int(np.sum(bound == i)) for i, name in enumerate(self.steps)} if opened.size else {}


def size(
    belief: Belief,
    signals: Signals,
    sizing: SizingSection,
    limits: LimitsSection,
    *,
    short_allowed: bool = False,
) -> Targets:
    """Size every signal: risk per trade over stop distance, capped by Kelly, position and tier limits, then gross.

    Weights are fractions of equity at the deciding close. SELL closes a long, and opens a short only where
    ``short_allowed``. The limits on sectors and on the gross scale down what one bar opens; what is held already is
    the simulator's to count.
    """
    caps: dict[str, Array] = {"risk_per_trade": sizing.risk_per_trade / signals.stop}
    if sizing.kelly_fraction is not None:
        caps["kelly"] = sizing.kelly_fraction * kelly(belief, signals)
    caps["position_max"] = np.full(signals.action.shape, limits.position_max)
    if limits.tier_limits:
        caps["tier_limit"] = tiers.by_tier(belief.panel.close, "position_limit_pct") / 100
    stacked = np.stack(list(caps.values()))
    bound = np.argmin(np.where(np.isfinite(stacked), stacked, 0.0), axis=0).astype(np.int16)
    magnitude = np.maximum(np.min(np.where(np.isfinite(stacked), stacked, 0.0), axis=0), 0.0)
    if sizing.conviction == "confidence":
        magnitude = magnitude * conviction(signals.confidence, belief.settings.confidence_min)
    side = np.sign(signals.action).astype(np.float64)
    opens = (side > 0) | ((side < 0) & short_allowed)
    wanted = np.where(opens, side * magnitude, 0.0)
    wanted, bound, names = _cap_groups(wanted, bound, (*caps, "sector_max", "gross_max"), belief, limits)
    closes = _leaves(belief, signals, wanted) if short_allowed else signals.close | (side < 0)
    weight = np.where(opens, wanted, np.where(closes, 0.0, np.nan))
    return Targets(np.where(signals.decided, weight, np.nan), bound, names)


def _leaves(belief: Belief, signals: Signals, wanted: Array) -> NDArray[np.bool_]:
    """Return where what is held should be closed: a long by ``close``, a short by ``cover``.

    The side held is that of the last weight opened on a bar on which positions may change; after a stop or a time exit
    there is nothing left to close, and saying so again does nothing.
    """
    held = np.zeros(wanted.shape[1])
    leaves = np.zeros(wanted.shape, dtype=np.bool_)
    due = belief.settings.due(len(wanted))
    for t, row in enumerate(wanted):
        leaves[t] = np.where(held < 0, signals.cover[t], signals.close[t])
        if due[t]:
            opened = signals.decided[t] & (row != 0)
            held = np.where(opened, np.sign(row), np.where(signals.decided[t] & leaves[t], 0.0, held))
    return leaves


def conviction(confidence: Array, least: float) -> Array:
    """Return the share of its weight that a signal gets: half at the least confidence, all from 0.05 above it.

    None from 0.05 below it, where only clauses that ask for no confidence speak. What is much depends on the event,
    and ``confidence_min`` is where the playbook says it: 0.3 is much for a place in the best fifth.
    """
    return np.asarray(np.clip(0.5 + (confidence - least) / (2 * CONVICTION_SPAN), 0.0, 1.0))


def kelly(belief: Belief, signals: Signals) -> Array:
    """Return the full Kelly weight of each trade from the forecast's mean and variance, never negative.

    For small log returns the growth-optimal weight is mean / variance (Kelly 1956; Thorp 2006, eq. 7.3), with the
    round-trip cost taken off the mean.
    """
    bars = belief.settings.horizon_bars
    index = belief.horizon_index(bars)
    variance = belief.sigma(bars) ** 2
    side = np.sign(signals.action)
    mean = belief.forecast.score[:, :, index] + variance / 2
    return np.maximum(side * mean - belief.round_trip_cost, 0.0) / variance


def _cap_groups(
    wanted: Array, bound: NDArray[np.int16], names: tuple[str, ...], belief: Belief, limits: LimitsSection
) -> tuple[Array, NDArray[np.int16], tuple[str, ...]]:
    """Scale the opened weights of a bar down to the sector and the gross limit."""
    if limits.sector_max is not None:
        for sector in sorted(set(belief.panel.sectors)):
            columns = np.array([s == sector for s in belief.panel.sectors])
            wanted, bound = _scale(wanted, bound, columns, limits.sector_max, names.index("sector_max"))
    everything = np.ones(wanted.shape[1], dtype=np.bool_)
    wanted, bound = _scale(wanted, bound, everything, limits.gross_max, names.index("gross_max"))
    return wanted, bound, names


def _scale(
    wanted: Array, bound: NDArray[np.int16], columns: NDArray[np.bool_], limit: float, code: int
) -> tuple[Array, NDArray[np.int16]]:
    gross = np.nansum(np.abs(wanted[:, columns]), axis=1)
    factor = np.where(gross > limit, limit / np.maximum(gross, 1e-12), 1.0)
    touched = (factor < 1.0)[:, None] & columns[None, :]
    return np.where(touched, wanted * factor[:, None], wanted), np.where(touched, np.int16(code), bound)
