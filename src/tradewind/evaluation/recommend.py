"""The last bar's decisions, said in prices, sizes and words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.signals import Action, Belief, Signals
from tradewind.decisions.style import style_of
from tradewind.evaluation.corridor import World
from tradewind.market.tiers import tier_of
from tradewind.models.ensembles.combine import Combined
from tradewind.models.forecast import Forecast
from tradewind.portfolio.sizing import Targets

INTERVALS = {"50": (0.25, 0.75), "80": (0.10, 0.90), "90": (0.05, 0.95)}
"""Central intervals shown with every recommendation, by the levels that bound them."""


@dataclass(frozen=True, eq=False)
class Decision:
    """Everything that one bar's recommendations are read from.

    ``combined`` where an ensemble is traded; ``share`` of the account's capital that belongs to the system.
    """

    world: World
    belief: Belief
    signals: Signals
    targets: Targets
    combined: Combined | None = None
    share: float = 1.0

    @cached_property
    def sigma(self) -> dict[int, NDArray[np.float64]]:
        """Forecast standard deviation ``(T, N)`` by horizon in bars."""
        return {bars: self.belief.sigma(bars) for bars in self.belief.forecast.horizons}

    def recommendations(self, row: int = -1) -> list[dict[str, Any]]:
        """Return one recommendation per symbol of the universe, the surest actions first, HOLD included."""
        row = range(len(self.world.panel))[row]
        entries = [recommendation(self, row, n) for n in range(len(self.world.panel.symbols))]
        return sorted(entries, key=lambda r: (r["action"] == "HOLD", -(r["confidence"] or 0.0), r["symbol"]))


def recommendation(decision: Decision, row: int, column: int) -> dict[str, Any]:
    """Return what is recommended for one symbol at one close, as plain values.

    ``intervals`` and ``median`` are prices at the horizon (raw, as of the deciding close); ``weight`` is the target
    fraction of the account's equity that a new position would get, 0 where none is recommended; the account's own
    limits, and what it holds already, are asked when the order is made. Where an ensemble is traded,
    ``disagreement`` says how far its members are apart, in deviations.
    """
    world, signals, targets, together = decision.world, decision.signals, decision.targets, decision.combined
    panel = world.panel
    close = float(panel.close[row, column])
    action = Action(int(signals.action[row, column]))
    side = 1 if action >= 0 else -1
    weight = decision.share * float(np.nan_to_num(targets.weight[row, column])) if action != Action.HOLD else 0.0
    exits = signals.exits_at(row, column)
    forecast = math.isfinite(float(signals.confidence[row, column]))
    known = bool(panel.mask[row, column]) and (forecast or signals.ordered_at(row, column))
    return {
        "symbol": panel.symbols[column],
        "as_of": _instant(panel.times[row]),
        "action": action.name if known else "HOLD",
        "confidence": _finite(signals.confidence[row, column]),
        "event": signals.event,
        "horizon_bars": int(signals.horizon_bars[row, column]),
        "style": style_of(int(signals.horizon_bars[row, column]), panel.timeframe),
        "entry": _finite(close),
        "entry_note": "reference close; the order fills at the next open",
        "target": _finite(close * (1 + side * float(signals.target[row, column]))),
        "target_note": None if exits is None else exits.target,
        "stop": _finite(close * (1 - side * float(signals.stop[row, column]))),
        "stop_note": None if exits is None else exits.stop,
        "weight": weight,
        "shares": _shares(world, weight, close),
        "bound_by": targets.steps[int(targets.bound_by[row, column])] if weight else None,
        "sector": panel.sectors[column],
        "tier": tier_of(close) if math.isfinite(close) else None,
        "intervals": intervals(decision.belief.forecast, row, column, close),
        **({} if together is None else {"disagreement": together.disagreement_at(row, column)}),
        **({"agreement": agreement(signals, row, column)} if signals.agreement else {}),
        "reasons": reasons(decision, row, column, known),
    }


def intervals(forecast: Forecast, row: int, column: int, close: float) -> dict[str, dict[str, Any]]:
    """Return the central intervals in prices by horizon, None where there is no forecast."""
    result: dict[str, dict[str, Any]] = {}
    for index, horizon in enumerate(forecast.horizons):
        quantiles = forecast.quantiles[row, column, index]
        prices = dict(zip(forecast.levels, close * np.exp(quantiles), strict=True))
        entry: dict[str, Any] = {"median": _finite(prices[0.5])}
        for name, (low, high) in INTERVALS.items():
            if low in prices and high in prices:
                entry[name] = [_finite(prices[low]), _finite(prices[high])]
        result[str(horizon)] = entry
    return result


def agreement(signals: Signals, row: int, column: int) -> dict[str, dict[str, float | None]]:
    """Return what each member of the ensemble thinks of a long and of a short: calibrated probabilities."""
    return {
        name: {"long": _finite(sides.long[row, column]), "short": _finite(sides.short[row, column])}
        for name, sides in signals.agreement.items()
    }


def reasons(decision: Decision, row: int, column: int, known: bool) -> list[str]:
    """Return the reasons in words: the rule's clause with the numbers it saw, the spread and the binding limit."""
    belief, signals = decision.belief, decision.signals
    if not known:
        return ["no forecast: the symbol has no usable bar at this close, or too little history"]
    if signals.ordered_at(row, column):
        return _ordered_words(signals, row, column)
    settings = belief.settings
    bars = int(signals.horizon_bars[row, column])
    said = [signals.clauses[int(signals.clause[row, column])].format(**settings.model_dump())]
    sigma, median = float(decision.sigma[bars][row, column]), float(belief.median(bars)[row, column])
    words = signals.odds.event.words[int(signals.action[row, column] < 0)]
    said.append(
        f"P({words} in {bars} bars) = {signals.confidence[row, column]:.1%} (costs {belief.round_trip_cost:.2%}); "
        f"median {math.expm1(median):+.2%}, one sigma {sigma:.2%}"
    )
    said += _agreement_words(signals, row, column)
    said += _exit_words(decision, row, column)
    said.append(_volatility_words(decision, row, column))
    said += _disagreement_words(decision, row, column, bars)
    wait = -row % settings.every_bars
    if wait:
        said.append(f"the playbook changes positions every {settings.every_bars} bars: next in {wait}")
    bound = decision.targets.steps[int(decision.targets.bound_by[row, column])]
    if np.nan_to_num(decision.targets.weight[row, column]):
        said.append(f"size set by {bound.replace('_', ' ')}")
    return said


def _ordered_words(signals: Signals, row: int, column: int) -> list[str]:
    """Say who decided in the rule's place, and what closes the position."""
    said, action = [signals.clauses[int(signals.clause[row, column])]], int(signals.action[row, column])
    if not action:
        return said
    side, stop, target = np.sign(action), float(signals.stop[row, column]), float(signals.target[row, column])
    aim = f"the target at {side * target:+.1%} and " if math.isfinite(target) else ""
    return [*said, f"{aim}the stop at {-side * stop:+.1%} of the entry close it, and what the rule says later"]


def _agreement_words(signals: Signals, row: int, column: int) -> list[str]:
    """Say how sure each member of the ensemble is of either side, where the rule asks each of them."""
    told = [
        f"{name} {sides.long[row, column]:.1%} for a long, {sides.short[row, column]:.1%} for a short"
        for name, sides in signals.agreement.items()
    ]
    return [f"each by itself: {'; '.join(told)}"] if told else []


def _exit_words(decision: Decision, row: int, column: int) -> list[str]:
    """Say what target and stop are, which of them close the position, and when time does."""
    signals, settings = decision.signals, decision.belief.settings
    exits, action = signals.exits_at(row, column), int(signals.action[row, column])
    if exits is None or not action:
        return []
    side, aim = (1 if action > 0 else -1), float(signals.target[row, column])
    target = "none: the forecast sees none on this side" if not math.isfinite(aim) else f"{side * aim:+.1%}"
    shown = "closes the position" if settings.take_profit else "is shown, not traded (decision.take_profit = false)"
    return [
        f"target {target}: {exits.target}; it {shown}",
        f"stop {-side * float(signals.stop[row, column]):+.1%}: {exits.stop}; "
        f"time closes the position {int(signals.horizon_bars[row, column])} bars after the signal was last given",
    ]


def _volatility_words(decision: Decision, row: int, column: int) -> str:
    """Say whether the name is calmer or wilder than its own usual, from its past forecasts alone."""
    sigma = decision.sigma[decision.belief.settings.horizon_bars][: row + 1, column]
    past = sigma[np.isfinite(sigma)]
    if past.size < 60 or not math.isfinite(float(sigma[-1])):
        return "too few forecasts yet to say whether this volatility is usual"
    share = float(np.mean(past <= sigma[-1]))
    word = "calm" if share < 0.25 else "wild" if share > 0.75 else "usual"
    symbol = decision.world.panel.symbols[column]
    return f"expected volatility is {word} for {symbol}: above {share:.0%} of its past forecasts"


def _disagreement_words(decision: Decision, row: int, column: int, bars: int) -> list[str]:
    """Say how far the members of an ensemble are apart, beside what is usual for the symbol so far."""
    if decision.combined is None:
        return []
    index = decision.combined.forecast.horizons.index(bars)
    past = decision.combined.distance[: row + 1, column, index]
    now = float(past[-1])
    if not math.isfinite(now):
        return ["fewer than two members of the ensemble have a forecast here"]
    share = float(np.mean(past[np.isfinite(past)] <= now))
    return [f"the ensemble's members are {now:.2f} sigma apart: more than in {share:.0%} of its forecasts so far"]


def _shares(world: World, weight: float, close: float) -> float | None:
    if not math.isfinite(close) or close <= 0:
        return None
    shares = weight * world.plan.account.start_capital / close
    return round(shares, 6) if world.plan.execution.fractional_shares else float(math.trunc(shares))


def _finite(value: Any) -> float | None:
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def _instant(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}Z"
