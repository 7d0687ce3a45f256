"""Belief to signal: what to do, how sure, where to get out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.confidence import EVENTS, Odds, Sides, Trade
from tradewind.decisions.memory import Memory
from tradewind.decisions.settings import DecisionSection
from tradewind.decisions.surroundings import Surroundings
from tradewind.errors import DataError, InputError
from tradewind.features.table import Features
from tradewind.labels.horizons import bars_of, minutes_of, nearest
from tradewind.market import tiers
from tradewind.market.bars import TIMEFRAMES
from tradewind.market.panel import Panel
from tradewind.models.forecast import Forecast
from tradewind.registry import Registry
from tradewind.stats import distribution

if TYPE_CHECKING:
    from tradewind.decisions.guards import Guard

NORMAL_90 = 1.2815515655446004
"""The standard normal's 90 % quantile."""


class Action(IntEnum):
    """What to do; the sign is the side."""

    STRONG_SELL = -2
    SELL = -1
    HOLD = 0
    BUY = 1
    STRONG_BUY = 2


@dataclass(frozen=True, eq=False)
class Belief:
    """Everything a rule may look at, all known at the close of each bar.

    Attributes
    ----------
    panel, features
        Market and features on the same axes ``(T, N)``.
    forecast
        Calibrated forecast on the same time axis.
    round_trip_cost
        Fraction of the traded value that entering and leaving costs.
    settings
        The playbook's decision section.
    surroundings
        Regime, calendars and fundamentals, where the playbook asks for them.
    members
        Calibrated forecasts of an ensemble's members, by name; empty where none is traded or the rule does not ask.
    memory
        What was worked out when the belief had fewer bars; None: nothing.
    """

    panel: Panel
    features: Features
    forecast: Forecast
    round_trip_cost: float
    settings: DecisionSection
    surroundings: Surroundings = field(default_factory=Surroundings)
    members: Mapping[str, Forecast] = field(default_factory=dict)
    memory: Memory | None = None

    def since(self, row: int) -> Belief:
        """Return what is believed from a row on, and nothing that was worked out of it."""
        return replace(
            self,
            panel=self.panel.window(row),
            features=replace(self.features, times=self.features.times[row:], values=self.features.values[row:]),
            forecast=self.forecast.part(np.arange(row, len(self.panel))),
            surroundings=Surroundings(),
            members={},
            memory=None,
        )

    def horizon_index(self, bars: int) -> int:
        """Return the position of a horizon; raises ``InputError`` when it is not forecast."""
        if bars not in self.forecast.horizons:
            raise InputError(
                f"the rule {self.settings.rule!r} needs a forecast over {bars} bars, and there is none",
                hint=f"set decision.horizon_bars to one of {list(self.forecast.horizons)}, or add {bars} to [labels]",
            )
        return self.forecast.horizons.index(bars)

    def bars_in(self, trading_time: str) -> int | None:
        """Return how many of the panel's bars ``4h``, ``1d`` or ``1w`` are, None where it is shorter than one."""
        minutes, bar = minutes_of(trading_time), TIMEFRAMES[self.panel.timeframe]
        return None if minutes < bar else nearest(bars_of(minutes, bar))

    def quantiles(self, bars: int) -> NDArray[np.float64]:
        """Return the calibrated quantiles of one horizon, ``(T, N, Q)``."""
        return self.forecast.quantiles[:, :, self.horizon_index(bars), :]

    def probability_above(self, bars: int, threshold: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return P(log return over ``bars`` > threshold), ``(T, N)``."""
        return distribution.probability_above(self.quantiles(bars), threshold, distribution.grid(self.forecast.levels))

    def median(self, bars: int) -> NDArray[np.float64]:
        """Return the forecast median, ``(T, N)`` log return."""
        return self.quantiles(bars)[..., self.forecast.levels.index(0.5)]

    def sigma(self, bars: int) -> NDArray[np.float64]:
        """Return the normal-equivalent standard deviation of the 80 % interval over ``bars``, ``(T, N)``."""
        levels = self.forecast.levels
        quantiles = self.quantiles(bars)
        width = quantiles[..., levels.index(0.9)] - quantiles[..., levels.index(0.1)]
        return width / (2 * NORMAL_90)

    def move(self, bars: int) -> NDArray[np.float64]:
        """Return the forecast median in the unit that thresholds are given in."""
        median = self.median(bars)
        return median / self.sigma(bars) if self.settings.threshold_unit == "sigma" else np.expm1(median)

    @property
    def tradable(self) -> NDArray[np.bool_]:
        """True where a symbol has a bar and belongs to the universe, ``(T, N)``."""
        return self.panel.mask & self.panel.member


class Exits(NamedTuple):
    """What a trade aims at and where it is stopped, in words."""

    target: str
    stop: str


@dataclass(frozen=True, eq=False)
class Signals:
    """What a rule says at the close of each bar.

    Attributes
    ----------
    action
        ``(T, N)`` int8 of :class:`Action`; HOLD where nothing is said.
    decided
        ``(T, N)``: True where the rule had a forecast; elsewhere a position is left alone.
    close, cover
        ``(T, N)``: True where an open long, an open short should be closed.
    horizon_bars
        Bars after which the position is closed, ``(T, N)`` int64.
    confidence
        Calibrated probability of ``event`` for the trade of that clause, ``(T, N)``.
    stop, target
        Distances from the entry as fractions of it, > 0, ``(T, N)``.
    clause
        ``(T, N)`` int16 index into ``clauses``: which part of the rule spoke.
    odds
        Of the rule's main trade, whose reliability is shown.
    exits
        What target and stop are, in words, one for each of ``clauses``; empty where the rule does not say.
    scale
        ``(T, N)`` share of its weight that a signal asks for now, in (0, 1]; None: all of it.
    agreement
        What each member of an ensemble thinks of the same trade by itself, where the rule asked: calibrated
        probabilities of the event on both sides.
    by_hand
        ``(T, N)``: True where a person decided in the rule's place; None: nowhere. Such a position, also one that the
        rule opened, has the stop and the target that were ordered, and no others: neither does the stop follow the
        price, nor does time close it.
    """

    rule: str
    event: str
    action: NDArray[np.int8]
    decided: NDArray[np.bool_]
    close: NDArray[np.bool_]
    cover: NDArray[np.bool_]
    horizon_bars: NDArray[np.int64]
    confidence: NDArray[np.float64]
    stop: NDArray[np.float64]
    target: NDArray[np.float64]
    clause: NDArray[np.int16]
    clauses: tuple[str, ...]
    odds: Odds
    notes: tuple[str, ...] = ()
    exits: tuple[Exits, ...] = ()
    scale: NDArray[np.float64] | None = None
    agreement: Mapping[str, Sides] = field(default_factory=dict)
    by_hand: NDArray[np.bool_] | None = None

    def ordered_at(self, row: int, column: int) -> bool:
        """Return whether a person decided at one bar."""
        return self.by_hand is not None and bool(self.by_hand[row, column])

    def exits_at(self, row: int, column: int) -> Exits | None:
        """Return what target and stop are at one bar, in words; None where the rule does not say."""
        clause = int(self.clause[row, column])
        return self.exits[clause] if clause < len(self.exits) else None


class Rule(Protocol):
    """A decision rule: looks at a :class:`Belief`, says :class:`Signals`.

    ``needs`` are features; ``strategies`` are the values of ``decision.strategy`` that mean something to it, each with
    the shortest trading time that it must have a forecast of ("" for none). A rule that also looks at the members of an
    ensemble has ``asks_members = True``.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    strategies: ClassVar[Mapping[str, str]]

    def decide(self, belief: Belief) -> Signals:
        """Say what to do at every bar."""
        ...

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return the share of bars on which each threshold was passed."""
        ...


RULES = Registry[Rule]("decision rule", room="tradewind.decisions.rules", group="tradewind.rules")
register = RULES.register


def check(settings: DecisionSection, timeframe: str) -> None:
    """Refuse what no forecast could satisfy, before any is made: unknown names, no source, bars that are too long."""
    if settings.use_sentiment:
        raise InputError(
            "decision.use_sentiment = true, but no sentiment source is configured",
            hint="set decision.use_sentiment = false; the rule then says that sentiment is off",
        )
    EVENTS.factory(settings.event)
    chosen = RULES.create(settings.rule)
    if settings.strategy not in chosen.strategies:
        raise InputError(
            f"decision.strategy = {settings.strategy!r} means nothing to the rule {chosen.name!r}",
            hint=f"choose one of {list(chosen.strategies)}, or another decision.rule",
        )
    shortest = chosen.strategies[settings.strategy]
    if shortest and minutes_of(shortest) < TIMEFRAMES[timeframe]:
        raise InputError(
            f"decision.strategy = {settings.strategy!r} needs a forecast over {shortest}, less than a {timeframe} bar",
            hint=f"set data.timeframe to bars of {shortest} or less that the source has (e.g. 1h), with "
            f'"{shortest}" among labels.horizons, or set decision.strategy = "long_term"',
        )


def asks_members(rule: str) -> bool:
    """Return whether a rule looks at the forecasts of an ensemble's members."""
    return bool(getattr(RULES.factory(rule), "asks_members", False))


def decide(belief: Belief, *, must_fire: bool = True) -> Signals:
    """Apply the playbook's rule; one that never opens a position is an error that names the threshold.

    Where it need not fire (``must_fire``), a rule that has had nothing to do so far just holds.
    """
    from tradewind.decisions.guards import guarded, guards

    check(belief.settings, belief.panel.timeframe)
    chosen = RULES.create(belief.settings.rule)
    wished = chosen.decide(belief)
    applied = guards(belief, wished)
    signals = guarded(wished, applied)
    if must_fire and signals.decided.any() and not (signals.action != Action.HOLD).any():
        shares = dict(chosen.thresholds(belief))
        shares |= {guard.name: float(guard.fine[signals.decided].mean()) for guard in applied}
        passed = ", ".join(f"{name} on {share:.1%}" for name, share in shares.items())
        raise DataError(
            f"the rule {chosen.name!r} never fired in {int(signals.decided.sum()):,} decisions; passed: {passed}",
            hint=_how_to_fire(wished, belief, shares, applied),
        )
    return signals


def _how_to_fire(wished: Signals, belief: Belief, shares: Mapping[str, float], applied: Sequence[Guard]) -> str:
    settings = belief.settings
    acts = wished.action != Action.HOLD
    if acts.any():
        return min(applied, key=lambda guard: float(guard.fine[acts].mean())).hint
    rarest = min(shares, key=lambda name: shares[name])
    if "median" in rarest or "entry_threshold" in rarest:
        return (
            "hardly any forecast median is large enough: ask for less, e.g. "
            f"--set decision.entry_threshold={settings.entry_threshold / 2:g}, or set models.use to a model that "
            "expects returns (naive ones expect none)"
        )
    setting = rarest.partition("=")[0]
    if setting != "confidence_min" and setting in type(settings).model_fields:
        return f"hardly any bar passes decision.{setting}: ask for less, with --set decision.{setting}=…"
    lower = _within_reach(wished, settings)
    return (
        f"lower the threshold that is never passed, e.g. --set decision.confidence_min={lower:.2f} "
        f"(the event is {wished.event!r}){_warning_of_noise(wished, belief, lower)}"
    )


def _warning_of_noise(signals: Signals, belief: Belief, confidence: float) -> str:
    """Say so where a threshold would pass what is no surer than usual, or loses more often than not."""
    came = signals.odds.event.outcome(belief, signals.odds.trade).long
    usual = float(np.mean(came[np.isfinite(came)])) if np.isfinite(came).any() else 0.0
    if confidence < usual:
        why = f"below the {usual:.1%} of all bars on which it happens anyway"
    elif signals.event == "profit_after_costs" and confidence < 0.5:
        why = "below one half, where a trade loses more often than it gains"
    else:
        return ""
    return f"; but that is {why}: it would trade noise, and the honest answer may be that there is no trade here"


def _within_reach(signals: Signals, settings: DecisionSection) -> float:
    """Return a lower threshold of confidence: what one decision in ten passes, if that is lower still."""
    reached = float(np.quantile(signals.confidence[signals.decided], 0.9))
    return max(min(reached, settings.confidence_min - 0.05), 0.0)


def stop_distance(belief: Belief, bars: int) -> NDArray[np.float64]:
    """Return the stop's distance as a fraction of the entry: the playbook's fixed one, else so many forecast sigmas.

    See :func:`bounded_stop` for what is made of it.
    """
    fixed = belief.settings.stop_fraction
    if fixed is not None:
        return bounded_stop(belief, np.full(belief.panel.shape, fixed))
    return bounded_stop(belief, -np.expm1(-belief.settings.stop_sigma * belief.sigma(bars)))


def bounded_stop(belief: Belief, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a stop's distance, the price tier's where that is tighter and asked for, and never below the floor."""
    settings = belief.settings
    if settings.tier_stops:
        distance = np.fmin(distance, tiers.by_tier(belief.panel.close, "stop_loss_pct") / 100)
    return np.maximum(distance, settings.stop_minimum)


def forecast_trade(belief: Belief, bars: int) -> Trade:
    """Return the trade over so many bars with the settings' stop and target, on either side."""
    if belief.memory is None:
        return Trade(bars, Sides.both(_stop(belief, bars)), Sides(_target(belief, bars, 1), _target(belief, bars, -1)))
    count, rows = len(belief.panel), belief.memory.rows
    stop = rows(f"stop {bars}", count, lambda row: _stop(belief.since(row), bars))
    long = rows(f"target {bars}", count, lambda row: _target(belief.since(row), bars, 1))
    short = rows(f"target of a short {bars}", count, lambda row: _target(belief.since(row), bars, -1))
    return Trade(bars, Sides.both(stop), Sides(long, short))


def _stop(belief: Belief, bars: int) -> NDArray[np.float64]:
    return stop_distance(belief, bars)


def _target(belief: Belief, bars: int, side: int) -> NDArray[np.float64]:
    return target_distance(belief, bars, np.full(belief.panel.shape, np.int8(side)))


def target_distance(belief: Belief, bars: int, side: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the target's distance: the playbook's fixed one, else the forecast quantile on the winning side.

    NaN where that quantile lies on the wrong one.
    """
    if belief.settings.target_fraction is not None:
        return np.full(belief.panel.shape, belief.settings.target_fraction)
    quantiles = belief.quantiles(bars)
    up, down = (quantiles[..., belief.forecast.levels.index(_target_level(belief, one))] for one in (1, -1))
    distance = np.where(side >= 0, np.expm1(up), -np.expm1(down))
    return np.where(distance > 0, distance, np.nan)


def forecast_exits(belief: Belief, bars: int, side: int) -> Exits:
    """Say in words what :func:`target_distance` and :func:`stop_distance` are."""
    settings = belief.settings
    target = f"{_target_level(belief, side):.0%} quantile of the forecast over {bars} bars"
    if settings.target_fraction is not None:
        target = f"{settings.target_fraction:.2%} of the entry"
    stop = f"{settings.stop_sigma:g} forecast sigmas of {bars} bars"
    if settings.stop_fraction is not None:
        stop = f"{settings.stop_fraction:.2%} of the entry"
    return Exits(target, stop_words(settings, stop))


def stop_words(settings: DecisionSection, distance: str) -> str:
    """Say in words what :func:`bounded_stop` makes of a distance."""
    said = f"the tighter of {distance} and the price tier's stop" if settings.tier_stops else distance
    return f"{said}, at least {settings.stop_minimum:.1%}"


def _target_level(belief: Belief, side: int) -> float:
    """Return the forecast's level nearest to the target's quantile on the winning side."""
    wanted = belief.settings.target_quantile if side >= 0 else 1 - belief.settings.target_quantile
    return min(belief.forecast.levels, key=lambda level: abs(level - wanted))


def passed(belief: Belief, of: Odds) -> dict[str, float]:
    """Return the share of bars on which a long's confidence passed ``confidence_min``, by the threshold's name."""
    long = of.calibrated.long
    usable = long[belief.tradable & np.isfinite(long)]
    share = float(np.mean(usable >= belief.settings.confidence_min)) if usable.size else 0.0
    return {f"confidence_min={belief.settings.confidence_min}": share}
