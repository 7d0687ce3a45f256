"""The risk of each name of a playbook's universe at the newest close, and of all of them held alike (row D5).

Everything is counted in sessions, whatever bars the playbook trades on, and rests on what was known at that close.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import load_or_sync, require_symbol
from tradewind.evaluation.stress import Sessions, sessions_of
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import SESSIONS_PER_YEAR, TIMEFRAMES
from tradewind.risk import covariance, garch
from tradewind.risk.copulas import fit_copula, simulate
from tradewind.risk.diversification import DRAWS, diversification_benefit, scenarios
from tradewind.risk.features import Filtered, RiskFeatures, RiskFeaturesSection, VolatilityModel, risk_features
from tradewind.risk.market_dependence import MarketDependence, market_dependence
from tradewind.risk.score import risk_scores
from tradewind.risk.settings import RiskSection
from tradewind.risk.stress import MARKET

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MARKETS: Mapping[str, str] = {"spy": "index", "qqq": "nasdaq"}
"""What stands for SPY and QQQ: a series of the playbook's ``data.context``."""

LEAST_PAST = 200
"""Earlier measurements, of all names together, that a score is a place among."""

FEWEST, MOST, APART = 3, 210, 20
"""Sessions measured before the newest: at least and at most, and how far apart at most; each measures every name."""

PAIRS_SHOWN = 10
MATRIX_NAMES = 25
"""Names up to which all correlations are told."""


@dataclass(frozen=True, eq=False)
class Names:
    """Names side by side with the two markets, one row a session, the newest last.

    Attributes
    ----------
    returns
        Log total returns ``(T, N)``; NaN where missing.
    market
        ``(T, 2)``: of SPY and QQQ, or what stands for them; NaN for one that is not there.
    """

    symbols: tuple[str, ...]
    returns: FloatArray
    market: FloatArray


def risk_of_names(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    symbols: Sequence[str] = (),
    kind: garch.Asked = "garch",
    as_of: datetime | None = None,
) -> dict[str, Any]:
    """Measure each name's volatility, its eight risk features, its score and its dependence on the two markets.

    Parameters
    ----------
    symbols
        Names of the universe; all of them by default.
    kind
        Model of volatility; ``best`` is the smallest BIC of the three.
    as_of
        Use only what was known then.

    Raises
    ------
    InputError
        A symbol that is not in the universe, or bars that are longer than a session.
    DataError
        No data.
    """
    plan = workspace.plan
    if TIMEFRAMES[plan.data.timeframe] > TIMEFRAMES["1d"]:
        raise InputError(f"the playbook has {plan.data.timeframe} bars", hint="risk counts in sessions: use 1d or less")
    panel = load_or_sync(workspace, progress, as_of=as_of).panel
    asked = tuple(dict.fromkeys(symbols)) or panel.symbols
    for symbol in asked:
        require_symbol(panel, symbol)
    seen = sessions_of(panel, RiskFeaturesSection().history_bars)
    return {
        "playbook": plan.playbook.name,
        "source": plan.data.source,
        "as_of": str(np.datetime_as_string(panel.times[-1], unit="s")) + "Z",
        "markets": _markets(seen, plan.data.context),
        **measure(names_of(seen, asked), plan.risk, kind, seed=plan.models.seed, progress=progress),
        "notes": list(seen.notes),
        "warnings": list(plan.head.warnings),
    }


def names_of(seen: Sessions, symbols: Sequence[str]) -> Names:
    """Return the log returns of some names, and of the two markets, by session."""
    past = seen.past
    columns = [past.symbols.index(symbol) for symbol in symbols]
    nothing = np.full(len(past.dates), np.nan)
    market = np.column_stack([past.factors.get(MARKET, nothing), past.factors.get(MARKETS["qqq"], nothing)])
    return Names(tuple(symbols), _log_returns(past.close[:, columns]), _log_returns(market))


def measure(
    names: Names,
    risk: RiskSection,
    kind: garch.Asked = "garch",
    *,
    options: RiskFeaturesSection | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return everything about the names at the last session, as plain values; what is not known is NaN with a reason.

    The work is bounded: scores compare with fewer earlier sessions the more names there are, and correlations of many
    names are told by their highest pairs.
    """
    settings = options or RiskFeaturesSection()
    window = names.returns[-settings.history_bars :]
    volatility = garch.fit_universe(window, names.symbols, kind, horizon_bars=settings.horizon_bars)
    progress("volatility", 1, 1)
    found = features_now_and_before(names, settings, model_of(kind))
    progress("risk features", 1, 1)
    scores = risk_scores(found, least_past=LEAST_PAST)
    markets = garch.fit_universe(names.market[-settings.history_bars :], tuple(MARKETS), kind)
    gone = np.array([_idle(column) >= settings.every_bars for column in names.returns.T])
    residuals = np.where(gone, np.nan, volatility.residuals)
    tied = market_dependence(
        residuals, markets.residuals, enough_rows=settings.enough_rows, least_rows=settings.least_rows
    )
    said = {
        symbol: {
            "volatility": _volatility(volatility.fits[n], settings, _idle(names.returns[:, n])),
            "features": dict(zip(found.names, found.values[-1, n].tolist(), strict=True)),
            "risk_score": float(scores.values[-1, n]),
            "risk_score_known": float(scores.known[-1, n]),
            "dependence": _dependence(tied, n),
            "reason": str(found.reasons[-1, n]),
        }
        for n, symbol in enumerate(names.symbols)
    }
    return {
        "sessions": len(window),
        "horizon_sessions": settings.horizon_bars,
        "symbols": said,
        "volatility_models": {
            "asked": kind,
            "used": dict(volatility.used),
            "fell_back": {cause: list(who) for cause, who in volatility.fell_back.items()},
        },
        "score": _compared(found, int(np.isfinite(scores.values[-1]).sum())),
        "correlations": correlations(window, names.symbols, risk),
        "book": book_of_all(names.symbols, residuals, volatility, settings, seed),
    }


def model_of(kind: garch.Asked) -> VolatilityModel:
    """Return the estimated model as the features ask for one."""

    def fitted(returns: FloatArray, horizon_bars: int) -> Filtered:
        fits = [garch.fit(np.ascontiguousarray(own), kind, horizon_bars=horizon_bars) for own in returns.T]
        return Filtered(
            np.column_stack([fit.residuals for fit in fits]),
            np.array([fit.current for fit in fits]),
            np.array([fit.over(horizon_bars) for fit in fits]),
        )

    return fitted


def features_now_and_before(names: Names, settings: RiskFeaturesSection, model: VolatilityModel) -> RiskFeatures:
    """Return the features at the last session, in the last row, and at enough sessions before it to compare with.

    The first sessions are left out where that makes the last one a session that is measured.
    """
    late = (len(names.returns) - 1) % settings.every_bars
    returns, market = names.returns[late:], names.market[late:]
    usual = int(np.isfinite(returns[-settings.history_bars :]).sum(axis=1).mean()) if len(returns) else 0
    rows = compared_rows(len(returns), usual, settings.every_bars)
    return risk_features(returns, market, rows, settings, model)


def compared_rows(sessions: int, names: int, every: int) -> IntArray:
    """Return the sessions to measure, rising, the last one among them: so many that the names have a past to compare.

    ``names`` have a return in a usual session. None is measured before a volatility can be estimated.
    """
    newest, first = sessions - 1, garch.LEAST_RETURNS
    before = min(max(math.ceil(LEAST_PAST / max(names, 1)) + 2, FEWEST), MOST)
    apart = max(every, min(APART, (newest - first) // before) // every * every)
    rows = newest - apart * np.arange(before, -1, -1, dtype=np.int64)
    return rows[(rows >= first) | (rows == newest)]


def correlations(returns: FloatArray, symbols: Sequence[str], risk: RiskSection) -> dict[str, Any]:
    """Return the correlations of ``(T, N)`` returns: with decay, pulled towards their mean, and by Ledoit and Wolf.

    ``pairs`` are the highest after shrinkage; ``matrix`` is theirs, told for few names only.
    """
    if len(symbols) < 2:
        return {"mean": math.nan, "pairs": [], "matrix": None, "reason": "a single name has no correlation"}
    state = covariance.step(covariance.initial_state(len(symbols), risk.half_life_sessions), returns)
    least = risk.warm_up_sessions
    raw, shrunk = (_scaled(covariance.covariance(state, shrinkage=s, least=least)) for s in (0.0, risk.shrinkage))
    wolf, intensity, bars, reason = _ledoit_wolf(returns, least)
    upper = np.triu_indices(len(symbols), 1)
    values = shrunk[upper]
    order = [n for n in np.argsort(-np.nan_to_num(values, nan=-2.0), kind="stable") if np.isfinite(values[n])]
    pairs = [(int(upper[0][n]), int(upper[1][n])) for n in order[:PAIRS_SHOWN]]
    known = values[np.isfinite(values)]
    return {
        "half_life_sessions": risk.half_life_sessions,
        "shrinkage": risk.shrinkage,
        "mean": float(known.mean()) if known.size else math.nan,
        "ledoit_wolf": {"intensity": intensity, "sessions": bars, "reason": reason},
        "unmeasured_pairs": covariance.unmeasured_pairs(state, least=least),
        "unknown": [symbols[n] for n in np.flatnonzero(np.isnan(np.diag(shrunk))).tolist()],
        "pairs": [
            {
                "symbols": [symbols[a], symbols[b]],
                "ewma": float(raw[a, b]),
                "shrunk": float(shrunk[a, b]),
                "ledoit_wolf": float(wolf[a, b]),
            }
            for a, b in pairs
        ],
        "matrix": {s: dict(zip(symbols, row, strict=True)) for s, row in zip(symbols, shrunk.tolist(), strict=True)}
        if len(symbols) <= MATRIX_NAMES
        else None,
        "reason": "" if known.size else f"no two names have {least} returns",
    }


def book_of_all(
    symbols: Sequence[str],
    residuals: FloatArray,
    volatility: garch.UniverseVolatility,
    settings: RiskFeaturesSection,
    seed: int,
) -> dict[str, Any]:
    """Return what holding all names alike gains over holding each: by a Student-t copula and each name's own tails."""
    nothing = {"names": [], "left_out": list(symbols), "diversification_benefit": math.nan, "freedom": math.nan}
    if len(symbols) < 2:
        return nothing | {"reason": "a single name diversifies nothing", "notes": []}
    try:
        fit = fit_copula(residuals, "student", least_rows=settings.least_rows)
    except DataError as error:
        return nothing | {"reason": error.what, "notes": []}
    kept: list[int] = fit.columns.tolist()
    ahead = np.array([volatility.fits[n].over(settings.horizon_bars) for n in kept])
    drawn = scenarios(simulate(fit, DRAWS, seed), residuals[:, kept], ahead)
    benefit = diversification_benefit(drawn, np.full(len(kept), 1.0 / len(kept)))
    return {
        "names": [symbols[n] for n in kept],
        "left_out": [symbol for n, symbol in enumerate(symbols) if n not in kept],
        "diversification_benefit": benefit,
        "freedom": fit.freedom,
        "reason": "",
        "notes": [note for note in fit.notes if "left out" not in note],
    }


def _volatility(fit: garch.VolatilityFit, settings: RiskFeaturesSection, idle: int) -> dict[str, Any]:
    """Say a fit; what a name that no longer trades will do is not known."""
    year, stopped = math.sqrt(SESSIONS_PER_YEAR), idle >= settings.every_bars
    return {
        "asked": fit.asked,
        "used": fit.used,
        "cause": fit.cause,
        "why": f"no return for {idle} sessions" if stopped else fit.why,
        "now": math.nan if stopped else fit.current * year,
        "horizon": math.nan if stopped else fit.over(settings.horizon_bars) * year,
        "regime": "unknown" if stopped else fit.regime(settings.horizon_bars, settings.high_ratio),
        "persistence": fit.persistence,
        "parameters": dict(fit.parameters),
        "returns": fit.observations,
    }


def _dependence(tied: MarketDependence, name: int) -> dict[str, Any]:
    return {
        market: {
            "correlation": float(tied.correlation[name, m]),
            "kendall": float(tied.kendall[name, m]),
            "freedom": float(tied.freedom[name, m]),
            "lower_tail": float(tied.lower[name, m]),
            "upper_tail": float(tied.upper[name, m]),
            "lower_seen": float(tied.lower_seen[name, m]),
            "upper_seen": float(tied.upper_seen[name, m]),
            "sessions": int(tied.observations[name, m]),
            "reason": tied.reasons[name][m],
        }
        for m, market in enumerate(MARKETS)
    }


def _compared(found: RiskFeatures, scored: int) -> dict[str, Any]:
    """Say what the scores were compared with."""
    before = found.values[:-1, :, 0]
    known = int(np.isfinite(before).sum())
    few = f"{known} earlier measurements, {LEAST_PAST} are needed: ask for more names or a longer history"
    return {"sessions": len(before), "measurements": known, "scored": scored, "reason": few * (known < LEAST_PAST)}


def _markets(seen: Sessions, context: Mapping[str, str]) -> dict[str, Any]:
    """Say what stands for each market."""
    found = {}
    for market, name in MARKETS.items():
        stands_in = market == "spy" and bool(seen.notes)
        series = seen.past.factors.get(MARKET if market == "spy" else name)
        there = series is not None and bool(np.isfinite(series).any())
        reason = "" if there else f"the playbook's data.context has no {name!r}, or its source no bars of it"
        found[market] = {
            "series": None if stands_in or not there else context.get(name, name),
            "available": there,
            "reason": "; ".join(seen.notes) if stands_in else reason,
        }
    return found


def _ledoit_wolf(returns: FloatArray, least: int) -> tuple[FloatArray, float, int, str]:
    try:
        found = covariance.ledoit_wolf(returns, least=max(least, len(returns) // 2))
    except DataError as error:
        return np.full((returns.shape[1],) * 2, np.nan), math.nan, 0, error.what
    return _scaled(found.covariance), found.intensity, found.bars, ""


def _scaled(matrix: FloatArray) -> FloatArray:
    """Return the correlations of a covariance; NaN where a name is unknown or never moved."""
    deviation = np.sqrt(np.diag(matrix))
    size = np.outer(deviation, deviation)
    return np.divide(matrix, size, out=np.full_like(matrix, np.nan), where=size > 0)


def _log_returns(close: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(close)
    return np.diff(logs, axis=0, prepend=np.full((1, close.shape[1]), np.nan))


def _idle(returns: FloatArray) -> int:
    """Return the sessions since the last return; all of them where there never was one."""
    seen = np.flatnonzero(np.isfinite(returns))
    return len(returns) - 1 - int(seen[-1]) if len(seen) else len(returns)
