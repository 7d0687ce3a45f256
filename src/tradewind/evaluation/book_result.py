"""What the account looked like while it lived: limits, exposure, value at risk, attribution, timeframes, alerts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.account import Clock
from tradewind.evaluation.attribution import attribution
from tradewind.evaluation.book_risk import along
from tradewind.evaluation.compliance import compliance
from tradewind.evaluation.corridor import World
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.sleeves import Sleeve, Walked
from tradewind.evaluation.track_record import book_returns, index_returns
from tradewind.execution.simulator import Simulation
from tradewind.execution.trading import Trading
from tradewind.portfolio.limits import times_bound
from tradewind.portfolio.settings import USUAL_REACTION

FloatArray = NDArray[np.float64]

ALERTS_SHOWN = 50


def book_result(
    plan: Plan, walked: Walked, trading: Trading, clock: Clock, simulation: Simulation, start: int
) -> dict[str, Any]:
    """Return the parts of the result that are about the account, all free of what changes from run to run."""
    world = walked.primary.world
    return {
        "ledger_hash": trading.simulation.ledger_hash,
        "timeframes": {**_timeframes(plan, walked, clock, trading), **_left_out(walked.unavailable)},
        "limits": limits_result(plan, trading),
        "compliance": compliance(plan, trading, clock),
        "regimes": None if walked.regimes is None else walked.regimes.to_dict(),
        "gross": _spread(simulation.gross_exposure[start:]),
        "net": _spread(simulation.net_exposure[start:]),
        "beta": realised_beta(world, simulation, start),
        "var": value_at_risk(plan, world, simulation, start),
        "attribution": attribution(plan, walked, trading, clock),
        "alerts": alerts(trading, clock),
    }


def _timeframes(plan: Plan, walked: Walked, clock: Clock, trading: Trading) -> dict[str, Any]:
    names = trading.desk.coordinator.names
    share = trading.share[-1] if len(trading.share) else trading.desk.coordinator.base
    found = {}
    for one in sorted(walked.sleeves, key=lambda sleeve: names.index(sleeve.name)):
        number = names.index(one.name)
        columns = np.flatnonzero(clock.sleeve_of == number)
        found[one.name or "all"] = {
            **_about(one, clock),
            "capital": float(trading.desk.coordinator.base[number]),
            "capital_now": float(share[number]),
            "times_bound": _counted(trading.bound[:, columns], trading),
        }
    return found


def _about(one: Sleeve, clock: Clock) -> dict[str, Any]:
    panel, plan = one.world.panel, one.plan
    lacking = clock.without_bars(one.wanted)
    said = f"no {clock.panel.timeframe} bars, in which the account trades, of: {', '.join(lacking)}"
    return {
        "available": True,
        "timeframe": panel.timeframe,
        "model": plan.models.use,
        "rule": plan.decision.rule,
        "horizon_bars": plan.decision.horizon_bars,
        "symbols": list(panel.symbols),
        "out_of_sample_from": str(panel.times[one.start])[:16],
        "notes": [*one.decision.signals.notes, *([said] if lacking else [])],
    }


def _left_out(unavailable: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"available": False, "why": why} for name, why in unavailable.items()}


def _counted(bound: NDArray[np.int64], trading: Trading) -> dict[str, int]:
    from tradewind.execution.desk import REASONS

    codes = Counter(bound[bound > 0].tolist())
    return {REASONS[code]: times for code, times in sorted(codes.items())}


def limits_result(plan: Plan, trading: Trading) -> dict[str, Any]:
    """Return every limit in force, what follows a breach, and how often it bound an order or the book."""
    counts = Counter(trading.times_bound())
    counts.update(alert.kind for alert in trading.alerts if alert.kind in ("drawdown_max", "daily_loss_max"))
    found = {}
    for name, times in times_bound(counts, plan.limits, plan.risk).items():
        value = plan.risk.volatility_target if name == "volatility_target" else getattr(plan.limits, name, None)
        reaction = plan.limits.reaction(name) if name in USUAL_REACTION else None
        found[name] = {"limit": value, "reaction": reaction, "times_bound": times}
    for name in ("coordinator_conflict",):
        if counts.get(name):
            found[name] = {"limit": None, "reaction": "the longer bars win", "times_bound": counts[name]}
    return found


def _spread(values: FloatArray) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not known.size:
        return {"mean": None, "max": None, "min": None, "last": None}
    return {
        "mean": float(known.mean()),
        "max": float(known.max()),
        "min": float(known.min()),
        "last": float(known[-1]),
    }


def realised_beta(world: World, simulation: Simulation, start: int) -> dict[str, Any]:
    """Return the slope of the book's returns on the index's, with its standard error (heteroskedastic, White 1980)."""
    index = index_returns(world, start)
    returns = book_returns(simulation, start)
    if index is None or len(returns) < 20 or not np.any(returns):
        why = "the source has no index" if index is None else f"{len(returns)} bars, or nothing was held"
        return {"realised": None, "error": None, "bars": len(returns), "reason": why}
    centred = index - index.mean()
    power = float(centred @ centred)
    if not power > 0:
        return {"realised": None, "error": None, "bars": len(returns), "reason": "the index did not move"}
    slope = float(centred @ returns) / power
    left = returns - returns.mean() - slope * centred
    error = math.sqrt(float((centred**2) @ (left**2))) / power
    return {"realised": slope, "error": error, "bars": len(returns), "reason": ""}


def value_at_risk(plan: Plan, world: World, simulation: Simulation, start: int) -> dict[str, Any]:
    """Return how often the book lost more than value at risk said the bar before, and whether that is as promised.

    The loss is that of what was held when value at risk was asked for, as if nothing had been traded until the next
    close; ``with_trading`` counts what the account lost, whose new positions nobody had asked about.
    """
    from tradewind.risk.var_tests import conditional_coverage, hits, independence, kupiec

    settings, held = plan.risk, along(plan.risk, world, simulation, start)
    seen = hits(-held.returns, held.var)
    count, cluster, both = (test(seen, settings.var_level) for test in (kupiec, independence, conditional_coverage))
    traded = kupiec(hits(-book_returns(simulation, start), held.var), settings.var_level)
    return {
        "level": settings.var_level,
        "method": settings.var_method,
        "bars": world.panel.timeframe,
        "sessions": count.sessions,
        "exceptions": count.exceptions,
        "expected": count.expected,
        "kupiec_p": count.p_value,
        "independence_p": cluster.p_value,
        "conditional_coverage_p": both.p_value,
        "with_trading": {"exceptions": traded.exceptions, "kupiec_p": traded.p_value},
        "last": held.newest if math.isfinite(held.newest) else None,
        "limit": plan.limits.var_max,
        "reason": count.reason,
    }


UNLIKELY = 0.01
"""Chance below which a number of exceptions is not taken for bad luck."""


def risk_flags(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Say so where losses beyond value at risk were more frequent than promised, of what was held or of the account."""
    held, traded = found["exceptions"], found["with_trading"]["exceptions"]
    promised = f"{found['expected']:.0f} of {found['sessions']:,} bars were promised at {found['level']:.0%}"
    if held > found["expected"] and found["kupiec_p"] < UNLIKELY:
        message = f"what was held lost more than value at risk said {held:,} times; {promised}: it is too small"
        return [{"code": "value_at_risk", "message": message}]
    if traded > found["expected"] and found["with_trading"]["kupiec_p"] < UNLIKELY:
        message = (
            f"the account lost more than value at risk said {traded:,} times; {promised}, and of what was held at the "
            "close before it kept that promise: positions opened and closed since then are in no value at risk"
        )
        return [{"code": "value_at_risk_with_trading", "message": message}]
    return []


def alerts(trading: Trading, clock: Clock) -> dict[str, Any]:
    """Return how many alerts of each kind there were, and the newest of those that are more than information."""
    times = clock.panel.times
    shown = [
        {
            "time": str(np.datetime_as_string(times[alert.row], unit="s")) + "Z",
            "level": alert.level,
            "kind": alert.kind,
            "what": alert.what,
        }
        for alert in [alert for alert in trading.alerts if alert.level != "info"][-ALERTS_SHOWN:]
    ]
    return {"counts": dict(Counter(alert.kind for alert in trading.alerts)), "newest": shown[::-1]}
