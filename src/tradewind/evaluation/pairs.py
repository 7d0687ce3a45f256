"""Cointegrated pairs of a playbook's universe: found, re-tested out of sample, traded after costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from tradewind.decisions.pairs.formation import SURVIVES, Formation
from tradewind.decisions.pairs.rule import EVENTS
from tradewind.decisions.pairs.settings import PairsSection
from tradewind.decisions.pairs.walk import PairsWalk, Window, walk
from tradewind.errors import DataError
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.settings import EvaluationSection
from tradewind.evaluation.track_record import Trials, book_returns, deflated, periods_per_year, sharpe_interval
from tradewind.evaluation.workspace import Workspace
from tradewind.execution.plan import TradePlan
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.market.panel import Panel
from tradewind.models.assembly import log_prices
from tradewind.portfolio.borrow import BorrowSection, BorrowTerms, extra_cost, terms

NEAREST = 3
"""Pairs shown that come nearest to being found."""


def find_pairs(workspace: Workspace, progress: Progress = silent, *, as_of: datetime | None = None) -> dict[str, Any]:
    """Return the pairs found at the newest formation, what they would do, and how the search has done out of sample.

    Every pair tested in any window is a trial. ``pairs`` is empty, with the ``reason``, where none is found.

    Raises ``DataError`` where the universe has fewer than two names or the history is shorter than one window.
    """
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    panel, plan = loaded.panel, workspace.plan
    if panel.shape[1] < 2:
        raise DataError("a pair takes two names, the universe has one", hint="widen universe.symbols")
    lent = terms(plan.borrow, panel.times, panel.symbols)
    walked = walk(
        log_prices(panel),
        plan.pairs,
        member=panel.member,
        borrowable=lent.available,
        progress=lambda done, total: progress("windows", done, total),
    )
    found = PairsResult(panel, plan.pairs, plan.borrow, lent, walked, plan.execution, plan.account, plan.evaluation)
    return {
        "playbook": plan.playbook.name,
        "source": plan.data.source,
        **found.newest(),
        "windows": [found.window(one) for one in walked.windows],
        "survival": survival_total(walked),
        "track_record": found.track_record(),
        "notes": [*loaded.notes, *lent.notes],
        "flags": list(panel.flags),
        "warnings": list(plan.head.warnings),
    }


def survival_total(walked: PairsWalk) -> dict[str, Any]:
    """Return the survivors of all finished windows, next to what chance and the pairs not found let survive."""
    done = [window.survival for window in walked.windows if window.survival is not None]
    retested, survived = sum(s.retested for s in done), sum(s.survived for s in done)
    others, others_survived = sum(s.others for s in done), sum(s.others_survived for s in done)
    return {
        "windows": len(done),
        "retested": retested,
        "survived": survived,
        "share": survived / retested if retested else None,
        "expected_by_chance": SURVIVES,
        "share_of_pairs_not_found": others_survived / others if others else None,
    }


@dataclass(frozen=True, eq=False)
class PairsResult:
    """A walk with what is needed to say it in a program's or a reader's words."""

    panel: Panel
    settings: PairsSection
    borrow: BorrowSection
    lent: BorrowTerms
    walked: PairsWalk
    execution: ExecutionSection
    account: AccountSection
    evaluation: EvaluationSection

    def newest(self) -> dict[str, Any]:
        """Return the pairs of the newest formation; where there are none, why, and the nearest ones."""
        window = self.walked.windows[-1]
        formation, names = window.formation, self.panel.symbols
        order = np.lexsort((formation.screen.p, formation.q))
        nearest = [k for k in order[np.isfinite(formation.q[order])].tolist() if k not in formation.found][:NEAREST]
        return {
            "as_of": self._instant(len(self.panel) - 1),
            "symbols": self.panel.shape[1],
            "settings": self.settings.model_dump(),
            "trials": self.walked.trials,
            "formed_on": self._instant(formation.row),
            "tests": formation.screen.tests,
            "left_out": {names[n]: why for n, why in formation.left_out.items()},
            "pairs": [self._pair(window, k) for k in formation.found.tolist()],
            "reason": None if formation.found.size else self._why_none(formation),
            "nearest": [self._tests(formation, k) for k in nearest],
        }

    def window(self, window: Window) -> dict[str, Any]:
        """Return one row of the table of windows."""
        formation, lived = window.formation, window.survival
        found = formation.found
        return {
            "formed_on": self._instant(formation.row)[:10],
            "to": self._instant(window.stop - 1)[:10],
            "tests": formation.screen.tests,
            "found": len(found),
            "traded": len(formation.traded),
            "retested": None if lived is None else lived.retested,
            "survived": None if lived is None else lived.survived,
            "share_of_pairs_not_found": lived.others_survived / lived.others if lived and lived.others else None,
            "events": {name: count for name, count in window.counts().items() if count},
        }

    def track_record(self) -> dict[str, Any]:
        """Return what trading the rule would have made after costs and borrow, from the first formation on."""
        from tradewind.execution.simulator import simulate
        from tradewind.stats.metrics import performance, trades
        from tradewind.stats.significance import minimum_detectable_sharpe

        start = self.walked.windows[0].formation.row
        execution = traded_with(self.execution, self.borrow, self.settings)
        simulation = simulate(self.panel, TradePlan(self.walked.orders), execution, self.account, start=start)
        costs = (simulation.shares, self.panel.close, self.panel.times, self.lent.bps, execution.borrow_bps_per_year)
        extra = extra_cost(*costs)
        returns = book_returns(simulation, start) - (extra[1:] / simulation.equity[:-1])[start:]
        per_year = periods_per_year(self.panel.timeframe)
        low, high = sharpe_interval(returns, per_year, self.evaluation)
        sharpe = performance.sharpe(returns, periods_per_year=per_year).value
        pnl = simulation.trades["pnl"].to_numpy()
        paid = simulation.costs | {"borrow": simulation.costs["borrow"] + float(extra.sum())}
        return {
            "from": self._instant(start)[:10],
            "to": self._instant(len(self.panel) - 1)[:10],
            "bars": len(returns),
            "sharpe": sharpe,
            "sharpe_ci": [low, high],
            "confidence_level": self.evaluation.confidence_level,
            "reason": None if np.any(returns) else "no pair was traded: there is nothing to judge",
            "deflated_sharpe": deflated(returns, Trials(self.walked.trials, (), ()), per_year),
            "minimum_detectable_sharpe": minimum_detectable_sharpe(len(returns), periods_per_year=per_year),
            "annual_return": performance.annual_return(returns, periods_per_year=per_year).value,
            "volatility": performance.volatility(returns, periods_per_year=per_year).value,
            "max_drawdown": performance.max_drawdown(returns).value,
            "trades_of_pairs": sum(window.counts()["opened"] for window in self.walked.windows),
            "trades_of_legs": len(pnl),
            "win_rate_of_legs": trades.win_rate(pnl).value,
            "gross_max": float(np.nanmax(simulation.gross_exposure[start:])),
            "net_max": float(np.nanmax(np.abs(simulation.net_exposure[start:]))),
            "costs": {**paid, "total": float(sum(paid.values()))},
            "refused_or_clipped": {k: v for k, v in simulation.counts.items() if v},
            "assumptions": {"borrow_bps_per_year": self.borrow.default_bps, **_changed(self.execution, execution)},
        }

    def _instant(self, row: int) -> str:
        return str(np.datetime_as_string(self.panel.times[row], unit="s")) + "Z"

    def _tests(self, formation: Formation, k: int) -> dict[str, Any]:
        tests, names = formation.screen, self.panel.symbols
        dependent, other = tests.legs[k]
        return {
            "dependent": names[dependent],
            "other": names[other],
            "hedge_ratio": float(tests.hedge_ratio[k]),
            "t": float(tests.t[k]),
            "p": float(tests.p[k]),
            "q": float(formation.q[k]),
            "p_reverse": float(tests.p_reverse[k]),
            "johansen_trace": float(tests.johansen[k]),
            "half_life_bars": float(tests.half_life[k]),
        }

    def _pair(self, window: Window, k: int) -> dict[str, Any]:
        formation = window.formation
        at = np.flatnonzero(formation.traded == k)
        row = self._tests(formation, k)
        if not at.size:
            return row | {"z": None, "action": "none", "why": formation.not_traded[k]}
        z = float(window.z[-1, at[0]])
        side, event = int(window.side[-1, at[0]]), int(window.event[-1, at[0]])
        held = {1: f"hold {row['dependent']} long, {row['other']} short", 0: "stay out"}
        held[-1] = f"hold {row['dependent']} short, {row['other']} long"
        said = EVENTS[event] if event else "no change at this close"
        return row | {"z": z, "action": held[side], "why": said if np.isfinite(z) else "a leg has no price"}

    def _why_none(self, formation: Formation) -> str:
        """Say why no pair was found."""
        settings, tests = self.settings, formation.screen
        if not tests.tests:
            return "no pair could be tested: fewer than two names have every bar of the window"
        rate = f"{settings.false_discovery_rate:.0%}"
        least = np.nanmin(formation.q)
        tested = f"of {tests.tests} pairs tested"
        if least <= settings.false_discovery_rate:
            return f"{tested} those with q below {rate} are not confirmed by the reverse regression and Johansen's test"
        return f"{tested} the surest has q = {least:.2f}: none passes a false discovery rate of {rate}"


def traded_with(execution: ExecutionSection, borrow: BorrowSection, settings: PairsSection) -> ExecutionSection:
    """Return the playbook's costs with what pairs need: shorts, their borrow rate, room for the gross, no band.

    A leg is only traded when its pair opens or closes, so a rebalance band would do nothing but lose legs of pairs that
    share a name.
    """
    changes = {
        "short_allowed": True,
        "borrow_bps_per_year": min(borrow.default_bps, 10_000.0),
        "margin_leverage_max": max(execution.margin_leverage_max, 1.5 * settings.gross_max),
        "rebalance_band": 0.0,
    }
    return ExecutionSection.model_validate({**execution.model_dump(), **changes})


def _changed(before: ExecutionSection, after: ExecutionSection) -> Mapping[str, Any]:
    """Return the execution settings that differ from the playbook's."""
    old, new = before.model_dump(), after.model_dump()
    return {name: value for name, value in new.items() if value != old[name]}
