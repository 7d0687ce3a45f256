"""Row A9: the NASDAQ-TFT signals: position, day trade and sell, with the sentiment conditions switched off.

The thresholds of the original were written for uncalibrated scores; confidence here is the calibrated probability of
the playbook's event, and move thresholds may be given in forecast sigmas (``threshold_unit``). Horizons are in trading
time: how many bars a week, a day or four hours are depends on the bars. ``decision.strategy`` (row A11) says which
clauses act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.decisions.confidence import Odds, Sides, Trade, odds
from tradewind.decisions.signals import (
    Action,
    Belief,
    Exits,
    Signals,
    bounded_stop,
    passed,
    register,
    stop_distance,
    stop_words,
)
from tradewind.errors import BugError

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

WEEK, DAY, FOUR_HOURS = "1w", "1d", "4h"
RSI_OVERHEATED, RSI_SELL = 65.0, 75.0
RSI_DAY_TRADE = (55.0, 70.0)
HOLD_STOP, FAST_STOP = 0.05, 0.02
FAST_MOVE_SHARE = 0.4
"""The thresholds of the day and of four hours are 2 % where that of the week is 5 %: the same share in any unit."""

NO_SENTIMENT = "(sentiment conditions are off: no source)"


@dataclass(frozen=True, eq=False)
class _Clause:
    """A part of the rule: where it holds, what it says, and the odds of the trade that it means."""

    words: str
    action: Action
    holds: BoolArray
    odds: Odds
    exits: Exits

    @property
    def confidence(self) -> FloatArray:
        return self.odds.calibrated.long if self.action > 0 else self.odds.calibrated.short

    @property
    def stop(self) -> FloatArray:
        return self.odds.trade.stop.long if self.action > 0 else self.odds.trade.stop.short

    @property
    def target(self) -> FloatArray:
        return self.odds.trade.target.long if self.action > 0 else self.odds.trade.target.short

    def sure(self, least: float) -> _Clause:
        """Return the clause where it also has that much confidence."""
        return _Clause(self.words, self.action, self.holds & (self.confidence >= least), self.odds, self.exits)


@register
class NasdaqTft:
    """STRONG_BUY on a calm RSI and a strong week; BUY on a firm RSI and strong hours; SELL on an overheated one."""

    name: ClassVar[str] = "nasdaq_tft"
    needs: ClassVar[tuple[str, ...]] = ("rsi_14",)
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": "", "long_term": "", "day_trade": FOUR_HOURS}

    def decide(self, belief: Belief) -> Signals:
        """Apply the strategy's clauses; where several hold, the one over the longest time speaks.

        Medians are the clauses'; confidence is over the bars that the trade may last.
        """
        clauses = self._clauses(belief)
        main = clauses[0].odds
        decided = belief.tradable & np.isfinite(main.calibrated.long)
        where = [clause.holds & decided for clause in clauses]

        def spoken(values: Sequence[ArrayLike], otherwise: ArrayLike) -> FloatArray:
            """Return the value of the clause that speaks, or what is so where none does."""
            shaped = [np.broadcast_to(np.asarray(v, dtype=np.float64), decided.shape) for v in (*values, otherwise)]
            return np.select(where, shaped[:-1], shaped[-1])

        action = spoken([c.action for c in clauses], 0).astype(np.int8)
        return Signals(
            rule=self.name,
            event=belief.settings.event,
            action=action,
            decided=decided,
            close=action < 0,
            cover=action > 0,
            horizon_bars=spoken([c.odds.trade.bars for c in clauses], main.trade.bars).astype(np.int64),
            confidence=spoken([c.confidence for c in clauses], main.calibrated.long),
            stop=spoken([c.stop for c in clauses], _bounded(belief, HOLD_STOP)),
            target=spoken([c.target for c in clauses], main.trade.target.long),
            clause=spoken(range(1, len(clauses) + 1), 0).astype(np.int16),
            clauses=(f"no clause of the strategy {belief.settings.strategy!r} holds", *(c.words for c in clauses)),
            odds=main,
            notes=_notes(belief),
            exits=(_idle_exits(belief, clauses[0].exits), *(c.exits for c in clauses)),
        )

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each condition of the main clause held."""
        long_term = belief.settings.strategy != "day_trade"
        threshold = belief.settings.entry_threshold * (1.0 if long_term else FAST_MOVE_SHARE)
        move, rsi = belief.move(_bars(belief, WEEK if long_term else FOUR_HOURS)), _rsi(belief)
        usable = belief.tradable & np.isfinite(move)
        if not usable.any():
            return {"forecasts available": 0.0}
        low, high = (0.0, RSI_OVERHEATED) if long_term else RSI_DAY_TRADE
        said = "RSI < 65" if long_term else "55 < RSI < 70"
        median = f"{'1-week' if long_term else '4-hour'} median > {threshold:g} {belief.settings.threshold_unit}"
        return {
            said: float(np.mean(((rsi > low) & (rsi < high))[usable])),
            median: float(np.mean(move[usable] > threshold)),
            **passed(belief, self._clauses(belief)[0].odds),
        }

    def _clauses(self, belief: Belief) -> list[_Clause]:
        """Return the strategy's clauses, the one over the longest time first; the first one's odds are the rule's."""
        strategy, least = belief.settings.strategy, belief.settings.confidence_min
        found: list[_Clause] = []
        if strategy != "day_trade":
            found += [clause.sure(least) for clause in _long_term(belief)]
        if strategy != "long_term" and belief.bars_in(FOUR_HOURS) is not None:
            found.append(_day_trade(belief).sure(least))
        if strategy != "long_term" and belief.bars_in(DAY) is not None:
            found.append(_sell(belief))
        return found


def _long_term(belief: Belief) -> list[_Clause]:
    rsi, week, threshold = _rsi(belief), belief.move(_bars(belief, WEEK)), belief.settings.entry_threshold
    trade = odds(belief, _position(belief))
    return [
        _Clause(
            f"RSI below 65 and the 1-week median above the threshold {NO_SENTIMENT}",
            Action.STRONG_BUY,
            (rsi < RSI_OVERHEATED) & (week > threshold),
            trade,
            _position_exits(belief, "10%"),
        ),
        _Clause(
            "RSI above 35 and the 1-week median below minus the threshold: the mirror of STRONG_BUY",
            Action.STRONG_SELL,
            (rsi > 100 - RSI_OVERHEATED) & (week < -threshold),
            trade,
            _position_exits(belief, "90%"),
        ),
    ]


def _day_trade(belief: Belief) -> _Clause:
    rsi, hours = _rsi(belief), belief.move(_bars(belief, FOUR_HOURS))
    low, high = RSI_DAY_TRADE
    return _Clause(
        f"RSI between 55 and 70 and the 4-hour median above its threshold {NO_SENTIMENT}",
        Action.BUY,
        (rsi > low) & (rsi < high) & (hours > FAST_MOVE_SHARE * belief.settings.entry_threshold),
        odds(belief, _fast(belief, FOUR_HOURS)),
        _fast_exits(belief, "4 hours"),
    )


def _sell(belief: Belief) -> _Clause:
    rsi, day = _rsi(belief), belief.move(_bars(belief, DAY))
    return _Clause(
        f"RSI above 75 and the 1-day median below its threshold {NO_SENTIMENT}",
        Action.SELL,
        (rsi > RSI_SELL) & (day < -FAST_MOVE_SHARE * belief.settings.entry_threshold),
        odds(belief, _fast(belief, DAY)),
        _fast_exits(belief, "1 day"),
    )


def _position(belief: Belief) -> Trade:
    """Return the trade of weeks: aimed at the week's p50, stopped at its p10 (a short's p90).

    Sigmas stand in where that quantile is not on the losing side.
    """
    week, levels = _bars(belief, WEEK), belief.forecast.levels
    quantiles, sigmas = belief.quantiles(week), stop_distance(belief, week)
    low, high = quantiles[..., levels.index(0.1)], quantiles[..., levels.index(0.9)]
    below = bounded_stop(belief, np.where(low < 0, -np.expm1(low), sigmas))
    above = bounded_stop(belief, np.where(high > 0, np.expm1(high), sigmas))
    return Trade(belief.settings.horizon_bars, Sides(below, above), _median_targets(belief, week))


def _position_exits(belief: Belief, losing: str) -> Exits:
    """Say what :func:`_position` aims at and stops at."""
    sigmas = f"{belief.settings.stop_sigma:g} sigmas where that is no loss"
    stop = stop_words(belief.settings, f"the {losing} quantile over 1 week ({sigmas})")
    return Exits("median of the forecast over 1 week", stop)


def _fast_exits(belief: Belief, aim: str) -> Exits:
    """Say what :func:`_fast` aims at and stops at."""
    return Exits(f"median of the forecast over {aim}", stop_words(belief.settings, f"{FAST_STOP:.0%} of the entry"))


def _idle_exits(belief: Belief, main: Exits) -> Exits:
    """Say what is shown where no clause holds: a long's target of the main trade, and the stop of what is held."""
    return Exits(main.target, stop_words(belief.settings, f"{HOLD_STOP:.0%} of the entry"))


def _fast(belief: Belief, aim: str) -> Trade:
    """Return the trade of a day with a stop of 2 %, aimed at the p50 of a horizon."""
    targets = _median_targets(belief, _bars(belief, aim))
    return Trade(_bars(belief, DAY), Sides.both(_bounded(belief, FAST_STOP)), targets)


def _median_targets(belief: Belief, bars: int) -> Sides:
    """Return the distance of the p50 on either side, NaN where it lies on the losing one."""
    up, down = np.expm1(belief.median(bars)), -np.expm1(belief.median(bars))
    return Sides(np.where(up > 0, up, np.nan), np.where(down > 0, down, np.nan))


def _bounded(belief: Belief, stop: float) -> FloatArray:
    return bounded_stop(belief, np.full(belief.panel.shape, stop))


def _rsi(belief: Belief) -> NDArray[np.float32]:
    return belief.features.column("rsi_14")


def _bars(belief: Belief, trading_time: str) -> int:
    bars = belief.bars_in(trading_time)
    if bars is None:
        raise BugError(f"{trading_time} asked of {belief.panel.timeframe} bars")
    return bars


def _notes(belief: Belief) -> tuple[str, ...]:
    """Say what of row A9 is switched off, and in what the RSI is counted."""
    timeframe, strategy = belief.panel.timeframe, belief.settings.strategy
    said = ["sentiment conditions of row A9 are switched off: there is no sentiment source"]
    for name, needed in (("day-trade", FOUR_HOURS), ("sell", DAY)):
        if strategy == "long_term":
            said.append(f"the {name} clause is off: decision.strategy = 'long_term'")
        elif belief.bars_in(needed) is None:
            said.append(
                f"the {name} clause is off: it needs a forecast over {needed}, which {timeframe} bars cannot give"
            )
    if strategy == "day_trade":
        said.append("the long-term clauses are off: decision.strategy = 'day_trade'")
    if timeframe != "1d":
        said.append(f"RSI(14) is over 14 bars of {timeframe}, not over 14 days")
    return tuple(said)
