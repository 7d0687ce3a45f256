"""What the book would lose: in stretches of history, under shocks of one's own, and in the worst of many draws.

The book is held through a scenario as it stands, without trading: its loss is minus the sum of weight times the
return of each name over the scenario. A name that cannot be priced is left out and said by name with the reason;
``covered`` is the part of the gross weight that could be.

How a name's return is found, in this order:

*history*
    its own closes, where it has one at both ends (at most five sessions before); else its beta times what the index
    did, where the index and the beta are known; else it is not priced.
*shocks*
    its own ``symbol`` shock; else its betas times the shocks of market and factors (one joint regression on those that
    are shocked) plus the shock of its sector. Where only sectors and symbols are shocked, other names do not move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.market.sectors import UNKNOWN
from tradewind.risk.stress_settings import ScenarioSection
from tradewind.risk.value_at_risk import simulate_returns

FloatArray = NDArray[np.float64]
Dates = NDArray[np.datetime64]

MARKET = "market"
LEAST_FOR_BETA = 60
"""Sessions in which both must have returns before a beta is believed."""

OLDEST_CLOSE_SESSIONS = 5
"""A close may be so many sessions old to stand for the end of a stretch of history."""


@dataclass(frozen=True, eq=False)
class Past:
    """What was known of the names and of the factors at the moment of the test, one row a session.

    Attributes
    ----------
    dates
        ``(T,)`` session dates, rising.
    close
        ``(T, N)`` total-return closes, NaN where missing.
    factors
        Closes ``(T,)`` of what shocks may be of; ``market`` is the benchmark index.
    symbols, sectors
        Of the columns.
    beta_sessions
        Sessions that betas look back on, from the last row.
    """

    dates: Dates
    close: FloatArray
    factors: Mapping[str, FloatArray]
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    beta_sessions: int = 252

    @property
    def returns(self) -> FloatArray:
        """Simple returns ``(T, N)``; NaN where either close is missing, and in the first row."""
        return simple_returns(self.close)

    def betas(self, names: Sequence[str]) -> FloatArray:
        """Return the betas ``(N, K)`` of each name to these factors jointly, NaN where unknown."""
        moves = [simple_returns(self.factors[name][:, None])[:, 0] for name in names]
        last = slice(-self.beta_sessions, None)
        return joint_betas(self.returns[last], np.column_stack(moves)[last])


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a scenario does to the book.

    Attributes
    ----------
    name, kind, description
        Of the scenario.
    loss
        As a fraction of equity, positive for a loss, of what could be priced; NaN where nothing could, and ``reason``
        says why.
    worst_loss
        The largest loss at any close on the way (history) at which all that could be priced has a price, else ``loss``;
        ``notes`` say how many closes were left out, and for which names.
    moves
        ``(N,)`` return of each name, NaN where it could not be priced.
    losses
        ``(N,)`` loss of each position.
    covered
        Share of the gross weight that could be priced.
    via
        How the move of each held name was found where it was not the name's own.
    unpriced
        Why a held name could not be priced.
    """

    name: str
    kind: Literal["history", "shock", "monte_carlo"]
    description: str
    loss: float
    worst_loss: float
    moves: FloatArray
    losses: FloatArray
    covered: float
    reason: str = ""
    via: Mapping[str, str] = field(default_factory=dict)
    unpriced: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def worst(self, symbols: Sequence[str], most: int = 5) -> list[tuple[str, float]]:
        """Return the positions that lose most, the worst first."""
        order = [int(c) for c in np.argsort(-np.nan_to_num(self.losses), kind="stable")[:most]]
        return [(symbols[c], float(self.losses[c])) for c in order if self.losses[c] > 0]

    def to_dict(self, symbols: Sequence[str], weights: FloatArray) -> dict[str, Any]:
        """Return it with its positions by symbol."""
        held = np.flatnonzero(weights).tolist()
        positions = [
            {
                "symbol": symbols[c],
                "weight": float(weights[c]),
                "move": float(self.moves[c]),
                "loss": float(self.losses[c]),
                "via": self.via.get(symbols[c], ""),
            }
            for c in held
        ]
        return {
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "status": "unavailable" if not self.covered else "priced" if self.covered > 1 - 1e-9 else "partly priced",
            "reason": self.reason or None,
            "loss": self.loss,
            "worst_loss": self.worst_loss,
            "covered": self.covered,
            "worst": [{"symbol": name, "loss": loss} for name, loss in self.worst(symbols)],
            "positions": positions if self.covered else [],
            "unpriced": dict(self.unpriced),
            "notes": list(self.notes),
        }


def play(name: str, scenario: ScenarioSection, past: Past, weights: FloatArray) -> Outcome:
    """Put a book of ``weights (N,)`` through one scenario."""
    if scenario.start is not None:
        return replay(name, scenario, past, weights)
    return shock(name, scenario, past, weights)


def replay(name: str, scenario: ScenarioSection, past: Past, weights: FloatArray) -> Outcome:
    """Put the book through a stretch of history, from the close of ``start`` to that of ``end``."""
    first, last = np.datetime64(scenario.start, "D"), np.datetime64(scenario.end, "D")
    if reason := _not_covered(past, first, last):
        return _unavailable(name, "history", scenario.description, weights, reason)
    start, stop = (int(np.searchsorted(past.dates, day, side="right")) - 1 for day in (first, last))
    paths = _own_paths(past.close, start, stop)
    via: dict[str, str] = {}
    unpriced: dict[str, str] = {}
    missing = [c for c in np.flatnonzero(weights).tolist() if not np.isfinite(paths[-1, c])]
    if missing:
        _by_beta(past, start, stop, missing, paths, via, unpriced)
    notes = _gaps(past.symbols, paths, weights)
    return _outcome(name, "history", scenario.description, paths, weights, via, unpriced, notes)


def shock(name: str, scenario: ScenarioSection, past: Past, weights: FloatArray) -> Outcome:
    """Put the book through a sudden move of market, factors, sectors and names."""
    factors = ({} if scenario.market is None else {MARKET: scenario.market}) | dict(scenario.factor)
    lacking = [f for f in factors if f not in past.factors or not np.isfinite(past.factors[f]).any()]
    if lacking:
        have = ", ".join(past.factors) or "none"
        reason = f"there is no series of {lacking[0]!r} to take betas from; there is: {have}"
        return _unavailable(name, "shock", scenario.description, weights, reason)
    moves, via = _moves_by_factor(past, factors)
    moves = moves + np.array([scenario.sector.get(sector, 0.0) for sector in past.sectors])
    notes = _not_held(scenario, past, weights)
    if bool(np.any(moves < -1.0)):
        notes, moves = (*notes, "moves below -100 % are taken as -100 %"), np.maximum(moves, -1.0)
    unpriced: dict[str, str] = {}
    for c, symbol in enumerate(past.symbols):
        if symbol in scenario.symbol:
            moves[c] = scenario.symbol[symbol]
            via.pop(symbol, None)
        elif weights[c] and (reason := _why_not(scenario, past.sectors[c], moves[c], factors)):
            unpriced[symbol], moves[c] = reason, np.nan
            via.pop(symbol, None)
    return _outcome(name, "shock", scenario.description, moves[None, :], weights, via, unpriced, notes)


def worst_draw(
    covariance: FloatArray,
    weights: FloatArray,
    *,
    horizon_sessions: int = 20,
    freedom: float = 5.0,
    samples: int = 20_000,
    seed: int = 0,
) -> Outcome:
    """Return the draw in which the book loses most, of so many from a multivariate Student-t.

    The worst of more draws is worse: it is a picture, not an estimate; 99.9 % of the draws stand in the notes. Only the
    covariance of what is held is read, and it must be positive semi-definite.
    """
    mine = np.flatnonzero(weights)
    part = covariance[np.ix_(mine, mine)]
    text = f"the worst of {samples:,} draws over {horizon_sessions} sessions"
    if not mine.size or not np.isfinite(part).all():
        reason = "nothing is held" if not mine.size else "the covariance of what is held is unknown"
        return _unavailable("monte_carlo", "monte_carlo", text, weights, reason)
    generator = np.random.default_rng(seed)
    draws = simulate_returns(part, samples, generator, horizon_sessions=horizon_sessions, freedom=freedom)
    losses = -(draws @ weights[mine])
    moves = np.full(len(weights), np.nan)
    moves[mine] = draws[int(np.argmax(losses))]
    note = f"99.9 % of the draws lose less than {np.quantile(losses, 0.999):.1%}; {freedom:g} degrees of freedom"
    return _outcome("monte_carlo", "monte_carlo", text, moves[None, :], weights, {}, {}, (note,))


def simple_returns(close: FloatArray) -> FloatArray:
    """Return simple returns since the row before, ``(T, N)``; NaN where either close is missing."""
    sound = np.where(close > 0, close, np.nan)
    found = np.full(close.shape, np.nan)
    found[1:] = sound[1:] / sound[:-1] - 1.0
    return found


def joint_betas(returns: FloatArray, factors: FloatArray) -> FloatArray:
    """Return least-squares slopes ``(N, K)`` of each name on all factors ``(T, K)`` at once, with an intercept.

    Over the sessions that a name and all factors have; NaN with fewer than :data:`LEAST_FOR_BETA` of them or where the
    factors do not vary apart from each other.
    """
    found = np.full((returns.shape[1], factors.shape[1]), np.nan)
    for column in range(returns.shape[1]):
        both = np.isfinite(returns[:, column]) & np.isfinite(factors).all(axis=1)
        if both.sum() < LEAST_FOR_BETA:
            continue
        x = factors[both] - factors[both].mean(axis=0)
        slopes, _, rank, _ = np.linalg.lstsq(x, returns[both, column], rcond=1e-10)
        if rank == factors.shape[1]:
            found[column] = slopes
    return found


def _moves_by_factor(past: Past, factors: Mapping[str, float]) -> tuple[FloatArray, dict[str, str]]:
    """Return what the factors do to each name, ``(N,)``, NaN without a beta, and how in words."""
    if not factors:
        return np.zeros(len(past.symbols)), {}
    betas = past.betas(list(factors))
    via = {
        symbol: "beta "
        + " + ".join(f"{b:.2f} x {f} {move:+.1%}" for b, (f, move) in zip(row, factors.items(), strict=True))
        for symbol, row in zip(past.symbols, betas, strict=True)
    }
    return np.asarray(betas @ np.array(list(factors.values()))), via


def _why_not(scenario: ScenarioSection, sector: str, move: float, factors: Mapping[str, float]) -> str:
    """Say why a shock cannot price a name; empty where it can."""
    if scenario.sector and sector == UNKNOWN and UNKNOWN not in scenario.sector:
        return "its sector is unknown"
    return "" if math.isfinite(move) else f"fewer than {LEAST_FOR_BETA} returns in common with {', '.join(factors)}"


def _not_covered(past: Past, first: np.datetime64, last: np.datetime64) -> str:
    if not len(past.dates) or past.dates[-1] < last:
        end = past.dates[-1] if len(past.dates) else "nowhere"
        return f"the data end on {end}, before the stretch does ({last})"
    return f"the data begin on {past.dates[0]}, after the stretch does ({first})" if past.dates[0] > first else ""


def _own_paths(close: FloatArray, start: int, stop: int) -> FloatArray:
    """Return each name's return since row ``start`` at the rows after it up to ``stop``, ``(stop - start, N)``.

    A missing close is the last one of the five sessions before, else NaN.
    """
    before = max(0, start - OLDEST_CLOSE_SESSIONS)
    part = np.where(close[before : stop + 1] > 0, close[before : stop + 1], np.nan)
    filled = part.copy()
    for back in range(1, OLDEST_CLOSE_SESSIONS + 1):
        older = np.full_like(part, np.nan)
        older[back:] = part[:-back]
        filled = np.where(np.isfinite(filled), filled, older)
    return np.asarray(filled[start - before + 1 :] / filled[start - before] - 1.0)


def _by_beta(
    past: Past,
    start: int,
    stop: int,
    columns: Sequence[int],
    paths: FloatArray,
    via: dict[str, str],
    unpriced: dict[str, str],
) -> None:
    """Fill in the paths of names that have none of their own: beta times the index."""
    index = past.factors.get(MARKET)
    moved = None if index is None else _own_paths(index[:, None], start, stop)[:, 0]
    betas = None if index is None else past.betas([MARKET])[:, 0]
    for c in columns:
        symbol = past.symbols[c]
        why = "no closes then"
        if moved is None or betas is None or not np.isfinite(moved[-1]):
            unpriced[symbol] = f"{why}, and none of the index"
        elif not np.isfinite(betas[c]):
            unpriced[symbol] = f"{why}, and fewer than {LEAST_FOR_BETA} returns in common with the index now"
        else:
            paths[:, c] = np.maximum(betas[c] * moved, -1.0)
            via[symbol] = f"{why}: beta {betas[c]:.2f} x index {moved[-1]:+.1%}"


def _gaps(symbols: Sequence[str], paths: FloatArray, weights: FloatArray) -> tuple[str, ...]:
    """Say at how many closes on the way the book cannot be valued, and whose price is missing there."""
    lacking = ~np.isfinite(paths) & (weights != 0) & np.isfinite(paths[-1])
    if not lacking.any():
        return ()
    closes, columns = int(lacking.any(axis=1).sum()), np.flatnonzero(lacking.any(axis=0)).tolist()
    names = ", ".join(symbols[c] for c in columns)
    return (f"the worst loss leaves out {closes} of {len(paths)} closes on the way: no price then of {names}",)


def _not_held(scenario: ScenarioSection, past: Past, weights: FloatArray) -> tuple[str, ...]:
    """Say which shocks hit nothing that is held."""
    held = {past.symbols[c] for c in np.flatnonzero(weights)}
    sectors = {past.sectors[c] for c in np.flatnonzero(weights)}
    idle = [s for s in scenario.symbol if s not in held] + [s for s in scenario.sector if s not in sectors]
    return (f"nothing is held of {', '.join(idle)}",) if idle else ()


def _outcome(
    name: str,
    kind: Literal["history", "shock", "monte_carlo"],
    description: str,
    paths: FloatArray,
    weights: FloatArray,
    via: Mapping[str, str],
    unpriced: Mapping[str, str],
    notes: tuple[str, ...] = (),
) -> Outcome:
    """Sum up the paths ``(S, N)`` of the names' returns; the last row is where the scenario ends."""
    held = weights != 0
    priced = held & np.isfinite(paths[-1])
    gross = float(np.abs(weights[held]).sum())
    covered = float(np.abs(weights[priced]).sum()) / gross if gross else 1.0
    losses = np.where(held, -weights * paths[-1], 0.0)
    if not covered:
        reason = "no position could be priced"
        return Outcome(
            name, kind, description, math.nan, math.nan, paths[-1], losses, 0.0, reason, via, unpriced, notes
        )
    known = np.isfinite(paths[:, priced]).all(axis=1)
    on_the_way = -paths[np.ix_(known, priced)] @ weights[priced]
    loss = float(losses[priced].sum())
    worst = max(loss, float(on_the_way.max(initial=-np.inf)))
    return Outcome(name, kind, description, loss, worst, paths[-1], losses, covered, "", via, unpriced, notes)


def _unavailable(
    name: str, kind: Literal["history", "shock", "monte_carlo"], description: str, weights: FloatArray, reason: str
) -> Outcome:
    nothing = np.full(len(weights), np.nan)
    return Outcome(name, kind, description, math.nan, math.nan, nothing, nothing, 0.0, reason)
