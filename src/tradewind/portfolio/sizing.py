"""Signal to target position: named steps, one after the other; the last that changed a weight is named beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Belief, Signals
from tradewind.errors import InputError
from tradewind.market import tiers
from tradewind.market.bars import SESSIONS_PER_YEAR, TIMEFRAMES
from tradewind.models.assembly import bar_returns, log_prices
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.stats.correlation_matrix import ewma_correlation

Array = NDArray[np.float64]
Codes = NDArray[np.int16]

CONVICTION_SPAN = 0.05
"""Confidence above ``confidence_min`` at which a signal gets all of its weight."""

CORRELATION_BARS, CORRELATION_DECAY = 120, 0.97


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
    after
        ``(T, N)`` the weight that a signal had after each step that was taken, in their order.
    """

    weight: Array
    bound_by: Codes
    steps: tuple[str, ...]
    after: dict[str, Array] = field(default_factory=dict)

    def times_bound(self) -> dict[str, int]:
        """Return how many opened targets each step determined."""
        opened = self.weight[np.isfinite(self.weight) & (self.weight != 0)]
        bound = self.bound_by[np.isfinite(self.weight) & (self.weight != 0)]
        return {name: int(np.sum(bound == i)) for i, name in enumerate(self.steps)} if opened.size else {}

    def path(self, row: int, column: int) -> dict[str, float]:
        """Return the weight of one signal after each step; empty where nothing is opened."""
        if not np.nan_to_num(self.weight[row, column]):
            return {}
        return {name: float(weight[row, column]) for name, weight in self.after.items()}


@dataclass(frozen=True, eq=False)
class _Sized:
    """Signed weights under way ``(T, N)``, 0 where nothing opens, and the step that last changed each."""

    weight: Array
    bound: Codes


Step = Callable[[Array], Array]


def size(
    belief: Belief,
    signals: Signals,
    sizing: SizingSection,
    limits: LimitsSection,
    *,
    short_allowed: bool = False,
) -> Targets:
    """Size every signal: risk per trade over stop distance, then every step of the playbook, in this order.

    Weights are fractions of the capital at the deciding close. SELL closes a long, and opens a short only where
    ``short_allowed``. The limits on sectors and on the gross scale down what one bar opens; what is held already is
    the desk's to count.
    """
    side = np.sign(signals.action).astype(np.float64)
    opens = (side > 0) | ((side < 0) & short_allowed)
    steps = _steps(belief, signals, sizing, limits)
    started = np.where(opens, side * _known(sizing.risk_per_trade / signals.stop), 0.0)
    sized, after = _Sized(started, np.zeros(started.shape, np.int16)), {"risk_per_trade": started}
    for code, (name, step) in enumerate(steps.items(), start=1):
        changed = step(sized.weight)
        touched = changed != sized.weight
        sized = _Sized(changed, np.where(touched, np.int16(code), sized.bound))
        after[name] = changed
    wanted = sized.weight
    closes = _leaves(belief, signals, wanted) if short_allowed else signals.close | (side < 0)
    weight = np.where(opens, wanted, np.where(closes, 0.0, np.nan))
    return Targets(np.where(signals.decided, weight, np.nan), sized.bound, tuple(after), after)


def _steps(belief: Belief, signals: Signals, sizing: SizingSection, limits: LimitsSection) -> dict[str, Step]:
    """Return the steps that the playbook takes, by name, in their order: beliefs first, then risk, then limits."""
    shape = signals.action.shape
    steps: dict[str, Step] = {}
    if sizing.kelly_fraction is not None:
        implied = sizing.kelly_from == "confidence"
        full = kelly_by_confidence(belief, signals) if implied else kelly(belief, signals)
        steps["kelly"] = _cap(sizing.kelly_fraction * full)
    if sizing.risk_budget is not None:
        steps["risk_budget"] = _cap(sizing.risk_budget / annual_volatility(belief))
    steps["position_max"] = _cap(np.full(shape, limits.position_max))
    if limits.tier_limits:
        steps["tier_limit"] = _cap(tiers.by_tier(belief.panel.close, "position_limit_pct") / 100)
    if sizing.conviction == "confidence":
        steps["conviction"] = _times(conviction(signals.confidence, belief.settings.confidence_min))
    if signals.scale is not None:
        steps["pyramid"] = _times(signals.scale)
    if sizing.regime_multipliers:
        steps["regime"] = _times(regime_multiplier(belief)[:, None])
    if sizing.correlation_penalty:
        steps["correlation_penalty"] = lambda weight: weight * correlation_factor(belief, weight)
    if limits.sector_max is not None:
        limit = limits.sector_max
        steps["sector_max"] = lambda weight: _hold_sectors(weight, belief, limit)
    steps["gross_max"] = lambda weight: _hold(weight, np.ones(shape[1], np.bool_), limits.gross_max)
    return steps


def _known(values: Array) -> Array:
    """Return values with 0 for what is not known or not positive: nothing is opened on what nobody knows."""
    return np.asarray(np.where(np.isfinite(values), np.maximum(values, 0.0), 0.0))


def _cap(most: Array) -> Step:
    largest = _known(most)
    return lambda weight: np.asarray(np.sign(weight) * np.minimum(np.abs(weight), largest))


def _times(factor: Array) -> Step:
    return lambda weight: np.asarray(weight * factor)


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
    return np.asarray(np.nan_to_num(np.clip(0.5 + (confidence - least) / (2 * CONVICTION_SPAN), 0.0, 1.0)))


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


def kelly_by_confidence(belief: Belief, signals: Signals) -> Array:
    """Return the full Kelly weight at the mean that agrees with the calibrated confidence, never negative.

    A normal with the forecast's deviation whose chance of a profit after costs is the confidence has the net mean
    ``sigma * z(confidence)``, and hence the weight ``z(confidence) / sigma``. Only for a confidence in profits.
    """
    if signals.event != "profit_after_costs":
        raise InputError(
            f'sizing.kelly_from = "confidence" needs a confidence in profits, and this one is about {signals.event!r}',
            hint='set decision.event = "profit_after_costs", or sizing.kelly_from = "score"',
        )
    from scipy.special import ndtri

    sure = np.clip(signals.confidence, 1e-6, 1 - 1e-6)
    return np.asarray(np.maximum(ndtri(sure), 0.0) / belief.sigma(belief.settings.horizon_bars))


def annual_volatility(belief: Belief) -> Array:
    """Return the forecast's standard deviation over the traded horizon as a yearly one, ``(T, N)``."""
    bars = belief.settings.horizon_bars
    years = bars * TIMEFRAMES[belief.panel.timeframe] / TIMEFRAMES["1d"] / SESSIONS_PER_YEAR
    return np.asarray(belief.sigma(bars) / np.sqrt(years))


def regime_multiplier(belief: Belief) -> Array:
    """Return the share of risk that the regime allows, ``(T,)``; 0 while the regime is not known yet."""
    known = belief.surroundings.multiplier
    if known is None:
        raise InputError(
            "sizing.regime_multipliers = true, but there are no regimes", hint="set [regimes] use = true as well"
        )
    return _known(known)


def correlation_factor(belief: Belief, weight: Array) -> Array:
    """Return ``1 - 2 rho`` within [0.5, 1] for each wanted name (row C13), 1 elsewhere, ``(T, N)``.

    ``rho`` is the mean of its exponentially weighted correlations with the other names wanted at that bar, a short's
    turned round; from the returns of the last 120 bars. Where it is not known the factor is that of a full correlation.
    """
    factor = np.ones(weight.shape)
    returns = bar_returns(log_prices(belief.panel))
    for row in np.flatnonzero((weight != 0).sum(axis=1) > 1):
        wanted = np.flatnonzero(weight[row])
        seen = returns[max(0, row - CORRELATION_BARS + 1) : row + 1, wanted]
        side = np.sign(weight[row, wanted])
        rho = ewma_correlation(seen, decay=CORRELATION_DECAY) * side[:, None] * side[None, :]
        np.fill_diagonal(rho, np.nan)
        with np.errstate(invalid="ignore"):
            mean = np.where(np.isfinite(rho).any(axis=1), np.nansum(rho, axis=1), 1.0) / np.maximum(
                np.isfinite(rho).sum(axis=1), 1
            )
        factor[row, wanted] = np.clip(1.0 - 2.0 * mean, 0.5, 1.0)
    return factor


def _hold_sectors(weight: Array, belief: Belief, limit: float) -> Array:
    """Scale what a bar opens in each sector down to the limit."""
    for sector in sorted(set(belief.panel.sectors)):
        weight = _hold(weight, np.array([s == sector for s in belief.panel.sectors]), limit)
    return weight


def _hold(weight: Array, columns: NDArray[np.bool_], limit: float) -> Array:
    """Scale what a bar opens in some columns down to a limit on its sum."""
    gross = np.abs(weight[:, columns]).sum(axis=1)
    factor = np.where(gross > limit, limit / np.maximum(gross, 1e-12), 1.0)
    touched = (factor < 1.0)[:, None] & columns[None, :]
    return np.where(touched, weight * factor[:, None], weight)
