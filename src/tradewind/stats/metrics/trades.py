"""Figures of merit from closed trades."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.stats.metrics.registry import metric
from tradewind.stats.metrics.sample import clean, mean, ratio

FloatArray = NDArray[np.float64]


@metric("trades", "fraction", "trades with profit > 0 / trades")
def win_rate(profits: ArrayLike) -> tuple[float, int]:
    """Return the share of closed trades that ended in profit after costs."""
    p = clean(profits)
    return ratio(float((p > 0).sum()), float(p.size)), p.size


@metric("trades", "ratio", "Σ profits / |Σ losses|")
def profit_factor(profits: ArrayLike) -> tuple[float, int]:
    """Return gross profit over gross loss; undefined while nothing was lost."""
    p = clean(profits)
    return ratio(float(p[p > 0].sum()), float(-p[p < 0].sum())), p.size


@metric("trades", "bars", "mean(exit bar - entry bar)")
def average_holding(holding_bars: ArrayLike) -> tuple[float, int]:
    """Return the mean number of bars that a closed trade was held."""
    held = clean(holding_bars)
    return mean(held), held.size


@metric("trades", "ratio", "mean profit of winners / mean loss of losers")
def win_loss_ratio(profits: ArrayLike) -> tuple[float, int]:
    """Return the average win over the average loss."""
    p = clean(profits)
    return ratio(mean(p[p > 0]), -mean(p[p < 0])), p.size
