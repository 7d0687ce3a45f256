"""Whether value at risk keeps its word on the open daily panel: exceptions by method, level, book and year.

Six books of 2005-2016: all names alike, and five of 50 names with random weights (seeded), of 341 tickers that were
members in 2021 (survivors: calmer than what one could have held). Every forecast is made at a close for the session
after it, from the 504 sessions before. All p-values but the shortfall's are exact. The ratios are shares of books and
levels of which a test does not speak against the method at 5 %: ``kupiec`` the number of exceptions (row C24 asks for
it), ``independence`` that one does not call the next.
``books`` says of books that were chosen and traded (see ``benchmarks._books_task``) what volatility they aimed at and
had, the beta and net of the neutral ones, and the yearly turnover; ``volatility_near_target`` is the share of the
optimised ones within two points of their target (row C14), ``beta_small`` that of neutral ones below 0.1 (row C16).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._books_task import the_books as the_traded_books
from benchmarks._open_task import open_panel
from tradewind.evaluation.stress import judgement
from tradewind.risk.stress import simple_returns
from tradewind.risk.value_at_risk import HALF_LIFE_SESSIONS, METHODS, tail_path

LEVELS = (0.95, 0.99)
WINDOW, HALF_LIFE = 504, HALF_LIFE_SESSIONS
BOOKS, NAMES = 5, 50
COVERAGE = 0.9
TESTS = ("kupiec", "independence")
SIGNIFICANCE = 0.05
AIMS = {"kupiec_filtered_historical": 1.0, "volatility_near_target": 1.0, "beta_small": 1.0}


def run() -> dict[str, Any]:
    panel = open_panel()
    returns = simple_returns(np.where(panel.mask, panel.adjusted("close"), np.nan))
    years = panel.times.astype("datetime64[Y]").astype(int) + 1970
    books = the_books(returns)
    start = time.process_time()
    found = {name: of_a_book(returns, weights, years) for name, weights in books.items()}
    seconds = time.process_time() - start
    kept = {f"{test}_{method}": share_kept(found, method, test) for test in TESTS for method in METHODS}
    traded = the_traded_books()
    kept |= near_what_was_asked(traded)
    return {
        "name": "risk_quality",
        "ratios": kept,
        "figures": {
            "weighings": len(books),
            "names_a_book": NAMES,
            "sessions": len(returns),
            "window_sessions": WINDOW,
            "half_life_sessions": HALF_LIFE,
            "cpu_seconds": seconds,
            "value_at_risk": found,
            "books": traded,
        },
        "aims": AIMS,
        "met": bool(all(kept[name] >= aim for name, aim in AIMS.items())),
    }


def near_what_was_asked(traded: dict[str, Any]) -> dict[str, float]:
    """Return the share of books near their target of volatility, and of neutral ones with hardly any beta."""
    aimed = [book for book in traded.values() if book["target_volatility"] is not None]
    neutral = [book for name, book in traded.items() if name.endswith("neutral")]
    near = [abs(book["realised_volatility"] - book["target_volatility"]) <= 0.02 for book in aimed]
    return {
        "volatility_near_target": float(np.mean(near)),
        "beta_small": float(np.mean([abs(book["beta"]) < 0.1 for book in neutral])),
    }


def the_books(returns: np.ndarray) -> dict[str, np.ndarray]:
    """Return weights by book, of names that have all returns of the first window: only the past decides."""
    columns = np.flatnonzero(np.isfinite(returns[1:WINDOW]).all(axis=0))
    equal = np.zeros(returns.shape[1])
    equal[columns] = 1.0 / len(columns)
    books = {"equal_weight": equal}
    for seed in range(BOOKS):
        draw = np.random.default_rng(seed)
        weights = np.zeros(returns.shape[1])
        weights[draw.choice(columns, NAMES, replace=False)] = draw.dirichlet(np.ones(NAMES))
        books[f"random_{seed}"] = weights
    return books


def of_a_book(returns: np.ndarray, weights: np.ndarray, years: np.ndarray) -> dict[str, Any]:
    own = own_returns(returns, weights)
    found: dict[str, Any] = {}
    for level in LEVELS:
        for method in METHODS:
            path = tail_path(returns, weights, level, method, WINDOW, HALF_LIFE, coverage=COVERAGE)
            whole = told(judgement(own, path.var, path.cvar, level))
            by_year = {
                str(year): told(judgement(*(part(series, years, year) for series in (own, path.var, path.cvar)), level))
                for year in np.unique(years[WINDOW:])
            }
            found[f"{method} {level:.0%}"] = {**whole, "by_year": by_year}
    return found


def part(series: np.ndarray, years: np.ndarray, year: int) -> np.ndarray:
    """Return the sessions of a year with the row before them, where its first forecast was made."""
    rows = np.flatnonzero(years == year)
    return series[rows[0] - 1 : rows[-1] + 1]


def own_returns(returns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    held = np.flatnonzero(weights)
    known = np.isfinite(returns[:, held])
    there = known @ weights[held]
    total = np.nan_to_num(returns[:, held]) @ weights[held]
    return np.where(there >= COVERAGE, total / np.where(there > 0, there, 1.0), np.nan)


def told(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("sessions", "exceptions", "expected", "kupiec_p", "independence_p", "conditional_p", "shortfall_p")
    return {name: None if row[name] != row[name] else row[name] for name in kept}


def share_kept(found: dict[str, Any], method: str, test: str) -> float:
    """Return the share of books and levels that a test does not speak against."""
    p = [book[f"{method} {level:.0%}"][f"{test}_p"] for book in found.values() for level in LEVELS]
    return float(np.mean([one is None or one >= SIGNIFICANCE for one in p]))
