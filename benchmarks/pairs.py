"""Cointegration of all pairs of a hundred names, against statsmodels in a loop; and what pairs are worth on open data.

Speed: 4,950 pairs over 756 days, Engle–Granger in both directions and Johansen's trace, on one thread. statsmodels'
``coint`` (twice, without its own search for lags) and ``coint_johansen`` are driven pair by pair on a part of them and
scaled up; their statistics on that part are the oracle.

Worth: the sixty names with the largest median turnover of 2007 on the open daily panel, every setting the default and
looked at once: how many of the pairs found are cointegrated in the year after as well, against chance and against the
pairs that were not found, and what the rule made after costs and borrow, winners and losers.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from benchmarks._open_task import open_panel, year_of
from tradewind.decisions.pairs.screen import Screen, all_pairs, screen
from tradewind.decisions.pairs.settings import PairsSection
from tradewind.decisions.pairs.walk import walk
from tradewind.evaluation.pairs import PairsResult, survival_total
from tradewind.evaluation.settings import EvaluationSection
from tradewind.execution.settings import AccountSection, ExecutionSection
from tradewind.market.panel import Panel
from tradewind.models.assembly import log_prices
from tradewind.models.networks.training import threads
from tradewind.portfolio.borrow import BorrowSection, terms

NAMES, DAYS, LOOPED = 100, 756, 60
TRADED, CHOSEN_IN = 60, 2007
AIMS = {"statsmodels": 100.0, "screen_seconds": 1.0, "difference_max": 1e-6}


def run() -> dict[str, Any]:
    prices = np.cumsum(np.random.default_rng(4).normal(0, 0.015, (DAYS, NAMES)), axis=0)
    pairs = all_pairs(np.arange(NAMES))
    with threads(1):
        seconds = min(_seconds(lambda: screen(prices, pairs)) for _ in range(5))
        peer, difference = statsmodels(prices, screen(prices, pairs))
    ratio = peer / LOOPED * len(pairs) / seconds
    met = ratio >= AIMS["statsmodels"] and seconds <= AIMS["screen_seconds"]
    return {
        "name": "pairs",
        "ratios": {"statsmodels": ratio},
        "figures": {
            "pairs": len(pairs),
            "days": DAYS,
            "screen_seconds": seconds,
            "statsmodels_seconds_scaled_up": peer / LOOPED * len(pairs),
            "difference_max": difference,
            "open_panel": worth(),
        },
        "aims": AIMS,
        "met": bool(met and difference <= AIMS["difference_max"]),
    }


def statsmodels(prices: np.ndarray, ours: Screen) -> tuple[float, float]:
    """Return the seconds that statsmodels takes for some pairs, and how far its statistics are from ours."""
    from statsmodels.tsa.stattools import coint
    from statsmodels.tsa.vector_ar.vecm import coint_johansen

    warnings.simplefilter("ignore")
    some = np.random.default_rng(0).choice(len(ours.legs), LOOPED, replace=False)
    start, found = time.process_time(), []
    for i, j in ours.legs[some]:
        ways = [coint(prices[:, a], prices[:, b], maxlag=1, autolag=None)[0] for a, b in ((i, j), (j, i))]
        found.append((min(ways), coint_johansen(prices[:, [i, j]], 0, 1).lr1[0]))
    seconds = time.process_time() - start
    return seconds, float(np.abs(np.column_stack([ours.t[some], ours.johansen[some]]) - found).max())


def worth() -> dict[str, Any]:
    panel, settings, borrow = most_traded(open_panel()), PairsSection(), BorrowSection()
    lent = terms(borrow, panel.times, panel.symbols)
    start = time.process_time()
    walked = walk(log_prices(panel), settings, member=panel.member, borrowable=lent.available)
    seconds = time.process_time() - start
    sections = (ExecutionSection(), AccountSection(), EvaluationSection())
    result = PairsResult(panel, settings, borrow, lent, walked, *sections)
    record = result.track_record()
    shown = ("from", "to", "sharpe", "sharpe_ci", "deflated_sharpe", "annual_return", "volatility", "max_drawdown")
    return {
        "names": panel.shape[1],
        "trials": walked.trials,
        "walk_seconds": seconds,
        "survival": survival_total(walked),
        "windows": [
            {key: row[key] for key in ("formed_on", "tests", "found", "traded", "retested", "survived", "events")}
            for row in map(result.window, walked.windows)
        ],
        "net": {key: record[key] for key in (*shown, "trades_of_pairs", "win_rate_of_legs", "costs")},
        "flags": list(panel.flags),
    }


def most_traded(panel: Panel) -> Panel:
    """Return the names with the largest median turnover of the year before the first formation window ends."""
    rows = year_of(panel) == CHOSEN_IN
    whole = panel.mask[rows].all(axis=0)
    turnover = np.median(np.where(whole, (panel.close * panel.volume)[rows], 0.0), axis=0)
    best = np.sort(np.argsort(-turnover, kind="stable")[:TRADED])
    return panel.select([panel.symbols[n] for n in best])


def _seconds(work: Any) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
