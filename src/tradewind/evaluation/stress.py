"""What the book could lose now: value at risk by every method, who adds how much, scenarios and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import load_or_sync, require_symbol
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.surroundings import laid_on, market_regimes
from tradewind.evaluation.workspace import Workspace
from tradewind.market.bars import SESSIONS_PER_YEAR, TIMEFRAMES
from tradewind.market.panel import Panel
from tradewind.models.assembly import last_known
from tradewind.risk import value_at_risk, var_tests
from tradewind.risk.contributions import Contributions, cvar_contributions, volatility_contributions
from tradewind.risk.copulas import fit_copula, simulate
from tradewind.risk.liquidity import average_value_traded, liquidity
from tradewind.risk.settings import RiskSection
from tradewind.risk.stress import MARKET, Past, play, worst_draw
from tradewind.risk.stress_settings import ScenarioSection, StressSection
from tradewind.risk.value_at_risk import ValueAtRisk
from tradewind.stats.volatility import ewma_volatility

FloatArray = NDArray[np.float64]

OWN_SHOCK = "shock"
"""Name of the scenario made of ``--shock`` flags."""

JUDGED_COVERAGE = 0.5
"""Where today's book is carried back over history, a session needs returns of this share of it."""


@dataclass(frozen=True, eq=False)
class Book:
    """What is put to the test: weights ``(N,)`` of equity, what they are, and why not the playbook's targets."""

    kind: str
    weights: FloatArray
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Sessions:
    """A panel seen session by session: the last close of each, and all that was traded in it.

    ``past`` holds total-return closes; ``close`` and ``volume`` ``(S, N)`` are raw.
    """

    past: Past
    close: FloatArray
    volume: FloatArray
    notes: tuple[str, ...] = ()


def stress(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    shocks: Sequence[str] = (),
    level: float | None = None,
    as_of: datetime | None = None,
) -> dict[str, Any]:
    """Put the playbook's newest targets to the test; the equally weighted universe where it wants to hold nothing.

    Parameters
    ----------
    shocks
        ``market=-0.1``, ``symbol.AAPL=-0.2``, ``sector.Energy=-0.3``, ``factor.vix=0.5``: one scenario together.
    level
        Confidence of value at risk; the playbook's ``risk.var_level`` when None.
    as_of
        Use only what was known then.

    Raises
    ------
    InputError
        A shock, level or symbol that cannot be; bars that are longer than a session.
    DataError
        No data, or nothing to hold.
    """
    own = scenario_of(shocks) if shocks else None
    plan = workspace.plan
    if TIMEFRAMES[plan.data.timeframe] > TIMEFRAMES["1d"]:
        raise InputError(
            f"the playbook has {plan.data.timeframe} bars", hint="stress counts in sessions: use 1d or less"
        )
    loaded = load_or_sync(workspace, progress, as_of=as_of)
    section = plan.stress
    risk = plan.risk if level is None else plan.risk.model_copy(update={"var_level": level})
    if own is not None:
        _require_known(own, loaded.panel)
        section = section.model_copy(update={"scenarios": {**section.scenarios, OWN_SHOCK: own}})
    book = _book(workspace, loaded.panel, loaded.notes, progress)
    found = examine(
        sessions_of(loaded.panel, section.history_sessions),
        book.weights,
        plan.account.start_capital,
        risk,
        section,
        seed=plan.models.seed,
        progress=progress,
    )
    return {
        "playbook": plan.playbook.name,
        "source": plan.data.source,
        "as_of": str(np.datetime_as_string(loaded.panel.times[-1], unit="s")) + "Z",
        "book": book.kind,
        "book_reason": book.reason or None,
        **found,
        "warnings": list(plan.head.warnings),
    }


def scenario_of(shocks: Sequence[str]) -> ScenarioSection:
    """Read shocks as a command line gives them into one scenario; raise ``InputError`` for one that cannot be."""
    values: dict[str, Any] = {}
    for text in shocks:
        key, sign, number = text.rpartition("=")
        kind, _, name = key.strip().partition(".")
        try:
            move = float(number)
        except ValueError:
            sign = ""
            move = 0.0
        if not sign or (kind == MARKET) == bool(name):
            raise InputError(
                f"--shock {text} cannot be read",
                hint="write market=-0.1, symbol.AAPL=-0.2, sector.Energy=-0.3 or factor.vix=0.5",
            )
        if kind not in (MARKET, "symbol", "sector", "factor"):
            raise did_you_mean("kind of shock", kind, (MARKET, "symbol", "sector", "factor"))
        if kind == MARKET:
            values[MARKET] = move
        else:
            values.setdefault(kind, {})[name] = move
    try:
        return ScenarioSection.model_validate({**values, "description": "given with --shock"})
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"--shock {' --shock '.join(shocks)}: {first['msg'].removeprefix('Value error, ')}",
            hint="a move is a return: -0.1 is a fall of 10 %; a sector is given once, by its GICS name",
        ) from None


def sessions_of(panel: Panel, beta_sessions: int) -> Sessions:
    """Return the panel by session: total-return and raw closes, volume, and the factors that shocks may be of."""
    days = panel.times.astype("datetime64[D]")
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
    last = np.r_[starts[1:], len(days)] - 1
    close = np.where(panel.mask, panel.adjusted("close"), np.nan)[last]
    traded = np.where(panel.mask, panel.volume, np.nan)
    there = np.add.reduceat(np.isfinite(traded).astype(np.float64), starts)
    volume = np.where(there > 0, np.add.reduceat(np.nan_to_num(traded), starts), np.nan)
    factors = {(MARKET if name == "index" else name): series[last] for name, series in panel.context.items()}
    notes: tuple[str, ...] = ()
    if not np.isfinite(factors.get(MARKET, np.array([np.nan]))).any():
        factors[MARKET] = _equal_index(close)
        notes = ("there is no index: the market is the mean of the universe, every name alike",)
    past = Past(days[last], close, factors, panel.symbols, panel.sectors, beta_sessions)
    return Sessions(past, np.where(panel.mask, panel.close, np.nan)[last], volume, notes)


def examine(
    sessions: Sessions,
    weights: FloatArray,
    equity: float,
    risk: RiskSection,
    section: StressSection,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return every measure of one book ``(N,)`` at the last session, as one object; all of it from the past."""
    past, symbols = sessions.past, sessions.past.symbols
    returns = past.returns
    window = returns[-risk.var_window_sessions :]
    covariance, behind = value_at_risk.ewma_covariance(
        returns[-section.history_sessions :], weights, half_life=risk.half_life_sessions
    )
    if behind < value_at_risk.LEAST_SESSIONS:
        covariance = np.full_like(covariance, np.nan)
    freedom = value_at_risk.fit_freedom(value_at_risk.book_returns(window, weights))
    freedom = freedom if np.isfinite(freedom) else 5.0
    found = _by_method(returns, weights, covariance, freedom, risk, section, seed, symbols)
    progress("value at risk", 1, 1)
    scenarios = [play(name, scenario, past, weights) for name, scenario in section.all.items()]
    scenarios.append(
        worst_draw(
            covariance,
            weights,
            horizon_sessions=section.horizon_sessions,
            freedom=freedom,
            samples=section.samples,
            seed=seed,
        )
    )
    progress("scenarios", 1, 1)
    out = liquidity(
        weights,
        equity,
        average_value_traded(sessions.close, sessions.volume, sessions=section.volume_sessions),
        participation=section.participation,
    )
    parts = {
        "volatility": volatility_contributions(covariance, weights),
        "cvar": cvar_contributions(window, weights, level=risk.var_level),
    }
    held = np.flatnonzero(weights).tolist()
    return {
        "level": risk.var_level,
        "horizon_sessions": 1,
        "gross": float(np.abs(weights).sum()),
        "net": float(weights.sum()),
        "weights": {symbols[c]: float(weights[c]) for c in held},
        "volatility": parts["volatility"].total * SESSIONS_PER_YEAR**0.5,
        "var": {name: _numbers(value) for name, value in found.items()},
        "var_tests": judged(returns, weights, risk),
        "contributions": {name: _parts(part, symbols, held) for name, part in parts.items()},
        "scenarios": [outcome.to_dict(symbols, weights) for outcome in scenarios],
        "liquidity": out.to_dict(symbols, weights, section.adv_share_max),
        "notes": list(sessions.notes),
    }


def judged(returns: FloatArray, weights: FloatArray, risk: RiskSection) -> dict[str, Any]:
    """Return by method how often today's book, held through all of history, would have lost more than was said.

    A session counts where names of at least half the book have a return; the book is scaled up to them.
    """
    own = _own_returns(returns, weights)
    found: dict[str, Any] = {}
    for method in value_at_risk.METHODS:
        path = value_at_risk.tail_path(
            returns,
            weights,
            risk.var_level,
            method,
            _window(risk, risk.var_level),
            coverage=JUDGED_COVERAGE,
        )
        found[method] = judgement(own, path.var, path.cvar, risk.var_level)
    return found


def judgement(own: FloatArray, var: FloatArray, cvar: FloatArray, level: float) -> dict[str, Any]:
    """Return the tests of a path of forecasts.

    Parameters
    ----------
    own
        ``(T,)`` realised returns of the book; row ``t`` is the session ending at ``t``.
    var, cvar
        ``(T,)`` forecasts made at each row for the session *after* it.
    """
    losses, said, beyond = -own[1:], var[:-1], cvar[:-1]
    hit = var_tests.hits(losses, said)
    tests = {
        "kupiec": var_tests.kupiec(hit, level),
        "independence": var_tests.independence(hit, level),
        "conditional": var_tests.conditional_coverage(hit, level),
    }
    short = var_tests.shortfall(losses, said, beyond, level)
    return {
        "sessions": tests["kupiec"].sessions,
        "exceptions": tests["kupiec"].exceptions,
        "expected": tests["kupiec"].expected,
        **{f"{name}_p": test.p_value for name, test in tests.items()},
        "shortfall_p": short.p_value,
        "shortfall_excess": short.mean_excess,
        "reasons": list(dict.fromkeys(filter(None, (*(t.reason for t in tests.values()), short.reason)))),
    }


def _book(workspace: Workspace, panel: Panel, notes: tuple[str, ...], progress: Progress) -> Book:
    """Return the targets at the newest bar; where there are none, equal weights and why."""
    try:
        weights = _targets(workspace, panel, notes, progress)
        why = "" if weights.any() else "the playbook holds nothing at this close"
    except DataError as error:
        weights, why = np.zeros(len(panel.symbols)), f"the playbook has no targets: {error.what}"
    if not why:
        return Book("targets", weights)
    usable = panel.mask[-1] & panel.member[-1]
    if not usable.any():
        raise DataError("no name of the universe has a bar at the newest close", hint="run `tradewind sync`")
    return Book("equal_weight", usable / usable.sum(), f"{why}; the universe is put to the test, every name alike")


def _targets(workspace: Workspace, panel: Panel, notes: tuple[str, ...], progress: Progress) -> FloatArray:
    """Return the weights wanted at the newest bar, ``(N,)``; 0 where a name is not wanted.

    Those of a book are what was last said of each name: it is chosen anew only where that is due.
    """
    cache, plan = FoldCache(workspace.home / "folds"), workspace.plan
    regimes = market_regimes(panel, plan.regimes) if plan.regimes.use else None
    world = corridor.build_world(plan, panel, notes, cache, progress, laid_on(workspace, panel, regimes))
    believed = corridor.believed_out_of_sample(world, cache, progress)
    _, _, targets = corridor.act(world, believed.forecast, believed.members)
    wanted = last_known(targets.weight)[-1] if plan.holds_a_book else targets.weight[-1]
    return np.asarray(np.nan_to_num(wanted), dtype=np.float64)


def _by_method(
    returns: FloatArray,
    weights: FloatArray,
    covariance: FloatArray,
    freedom: float,
    risk: RiskSection,
    section: StressSection,
    seed: int,
    symbols: Sequence[str],
) -> dict[str, ValueAtRisk]:
    level = risk.var_level
    window = _window(risk, level)
    found: dict[str, ValueAtRisk] = {
        method: value_at_risk.var_now(returns, weights, level, method, window, symbols=symbols)
        for method in value_at_risk.METHODS
    }
    found["monte_carlo"] = value_at_risk.monte_carlo(
        covariance, weights, level=level, freedom=freedom, samples=section.samples, seed=seed, symbols=symbols
    )
    found["copula"] = _by_copula(returns[-window:], weights, level, section.samples, seed, symbols)
    return found


def _by_copula(
    returns: FloatArray, weights: FloatArray, level: float, samples: int, seed: int, symbols: Sequence[str]
) -> ValueAtRisk:
    """Return value at risk by a Student-t copula of what is held, each name's own past residuals its margin."""
    held = np.flatnonzero(weights)
    sigma = ewma_volatility(returns[:, held], value_at_risk.HALF_LIFE_SESSIONS)
    before = np.vstack([np.full((1, len(held)), np.nan), sigma[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals = np.where(before > 0, returns[:, held] / before, np.nan)
    names = tuple(symbols[c] for c in held.tolist())
    nothing = ValueAtRisk(np.nan, np.nan, level, 1, "copula", 0)
    if len(held) < 2:
        return _with_reason(nothing, "a single name depends on no other")
    try:
        fit = fit_copula(residuals, "student")
    except DataError as error:
        return _with_reason(nothing, error.what)
    left_out = [names[c] for c in range(len(held)) if c not in fit.columns]
    if left_out:
        return _with_reason(nothing, f"too little history for the copula: {', '.join(left_out)}")
    newest = np.array([column[np.isfinite(column)][-1] for column in sigma.T])
    uniforms = simulate(fit, samples, seed)
    return value_at_risk.copula(uniforms, residuals * newest, weights[held], level=level, symbols=names)


def _with_reason(value: ValueAtRisk, reason: str) -> ValueAtRisk:
    return ValueAtRisk(value.var, value.cvar, value.level, 1, value.method, 0, reason)


def _window(risk: RiskSection, level: float) -> int:
    """Return the playbook's window, or as much more as the level needs."""
    return max(risk.var_window_sessions, value_at_risk.needed_sessions(level) + 20)


def _own_returns(returns: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the book's return of each session, ``(T,)``, scaled up as in :mod:`value_at_risk`; NaN where too few."""
    known = np.isfinite(returns)
    there = known @ np.abs(weights)
    gross = float(np.abs(weights).sum())
    total = np.nan_to_num(returns) @ weights
    enough = (there >= JUDGED_COVERAGE * gross) & (there > 0)
    return np.where(enough, total * gross / np.where(there > 0, there, 1.0), np.nan)


def _equal_index(close: FloatArray) -> FloatArray:
    """Return an index of the mean return of all names, from 1; flat where nobody has a return."""
    from tradewind.risk.stress import simple_returns

    moves = simple_returns(close)
    known = np.isfinite(moves)
    mean = np.where(known, moves, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.cumprod(1.0 + mean))


def _require_known(scenario: ScenarioSection, panel: Panel) -> None:
    for symbol in scenario.symbol:
        require_symbol(panel, symbol)
    known = [name for name in panel.context if name != "index"]
    for name in scenario.factor:
        if name not in known:
            raise did_you_mean("factor", name, known or ("none: the playbook has no context series",))


def _numbers(value: ValueAtRisk) -> dict[str, Any]:
    said = asdict(value)
    kept = ("var", "cvar", "sessions")
    return {name: said[name] for name in kept} | {"reason": value.reason or None, "notes": list(value.notes)}


def _parts(part: Contributions, symbols: Sequence[str], held: Sequence[int]) -> Mapping[str, Any]:
    return {
        "total": part.total,
        "reason": part.reason or None,
        "by_symbol": {symbols[c]: {"component": float(part.component[c]), "share": float(part.share[c])} for c in held},
    }
