"""Where the profit came from, to the cent: by timeframe, model, symbol and sector, by factor, and by cost.

Every split adds up to the change of equity, that by factor in each session too. What belongs to no position (interest,
borrowing) stands by itself.

The split by factor takes each session apart by what was held when it began. A position's market part is its value
then, times the beta known then, times the market's return of the session. Its sector part is its value times what the
names of the sector did beyond their own betas, on average. Selection is what is left of the move of what was held. What
the session's fills gained or lost until its close is called trading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.account import Clock
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.sleeves import Sleeve, Walked
from tradewind.execution import kernel as k
from tradewind.execution.desk_bars import session_ends
from tradewind.execution.desk_state import column_values
from tradewind.execution.records import COST_KINDS
from tradewind.execution.trading import Trading
from tradewind.market.panel import Panel
from tradewind.models.assembly import last_known
from tradewind.models.settings import ENSEMBLE
from tradewind.risk import beta as slopes
from tradewind.risk.settings import RiskSection

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FINANCING = "financing"
"""Interest and borrowing, which are the account's."""

FACTORS = ("market", "sector", "selection", "trading", "dividends", "costs", FINANCING)

UNKNOWN_SECTOR = "unknown"
LEAST_NAMES = 2
"""Names of a sector with a return, below which a sector's move cannot be told from its names' own."""


def attribution(plan: Plan, walked: Walked, trading: Trading, clock: Clock) -> dict[str, Any]:
    """Return the splits, in currency; each one's parts add up to ``total`` exactly, in cents.

    The profit of a timeframe that trades an ensemble is shared among its members (``ensemble.NAME``), session by
    session, by their weights in the forecasts known when it began: who was listened to, not who was right.
    """
    cents = column_profit(trading)
    financing = _financing(trading)
    total = cents.sum() + financing
    names = [one.name or "all" for one in clock.wanted]
    sectors, symbols = clock.panel.sectors, clock.panel.symbols
    by_factor = factor_parts(plan.risk, trading, clock)

    def split(label: Callable[[int], str]) -> dict[str, float]:
        parts: dict[str, float] = {}
        for column, amount in enumerate(cents):
            parts[label(column)] = parts.get(label(column), 0.0) + amount
        return in_currency({**parts, FINANCING: financing})

    return {
        "total": float(total / 100),
        "by_timeframe": split(lambda m: names[clock.sleeve_of[m]]),
        "by_model": in_currency({**_by_model(walked, trading, clock, cents), FINANCING: financing}),
        "by_sector": split(lambda m: sectors[clock.symbol_of[m]]),
        "by_symbol": split(lambda m: symbols[clock.symbol_of[m]]),
        "by_cost": _by_cost(trading, total),
        "by_factor": in_currency(by_factor.total()),
        "by_year": {year: in_currency(parts) for year, parts in by_factor.by_year().items()},
        "notes": list(by_factor.notes),
    }


def in_currency(cents: dict[str, float]) -> dict[str, float]:
    """Return whole cents as currency."""
    return {name: float(amount / 100) + 0.0 for name, amount in cents.items()}


def column_profit(trading: Trading) -> FloatArray:
    """Return each column's profit since the account opened, in cents ``(M,)``: value now and all cash flows before."""
    log = trading.simulation.records.log
    flows = np.zeros(len(trading.desk.columns))
    fills = log[log[:, k.L_TYPE] == k.FILL]
    np.add.at(
        flows,
        fills[:, k.L_COLUMN].astype(np.int64),
        fills[:, k.F_CASH] - fills[:, list(COST_KINDS.values())].sum(axis=1),
    )
    events = log[(log[:, k.L_TYPE] == k.EVENT) & (log[:, k.L_COLUMN] >= 0)]
    np.add.at(flows, events[:, k.L_COLUMN].astype(np.int64), events[:, k.E_CASH])
    return column_values(trading.simulation.book) + flows


@dataclass(frozen=True, eq=False)
class FactorParts:
    """Profit by session and cause.

    Attributes
    ----------
    times
        ``(S,)`` closes of the sessions; the last may be one that had not ended.
    cents
        By name of :data:`FACTORS`: ``(S,)`` whole cents. They add up to the change of equity of each session.
    notes
        What could not be told apart, and why.
    """

    times: NDArray[np.datetime64]
    cents: dict[str, FloatArray]
    notes: tuple[str, ...]

    def total(self) -> dict[str, float]:
        """Return the cents of all sessions together."""
        return {name: float(parts.sum()) for name, parts in self.cents.items()}

    def by_year(self) -> dict[str, dict[str, float]]:
        """Return the cents of each calendar year, with its ``total``."""
        year = self.times.astype("datetime64[Y]").astype(np.int64) + 1970
        found = {}
        for one in np.unique(year).tolist():
            parts = {name: float(cents[year == one].sum()) for name, cents in self.cents.items()}
            found[str(one)] = {**parts, "total": sum(parts.values())}
        return found


def factor_parts(risk: RiskSection, trading: Trading, clock: Clock) -> FactorParts:
    """Return the split of every session's profit by factor; only what was known at its beginning decides the shares."""
    panel, symbol_of = clock.panel, clock.symbol_of
    ends = session_rows(trading)
    if not len(ends):
        return FactorParts(panel.times[:0], {name: np.zeros(0) for name in FACTORS}, ())
    profit, flows = session_profit(trading, ends), _Flows.of(trading, clock, ends)
    seen = np.unique(np.concatenate([np.flatnonzero(session_ends(panel)), ends]))
    beta, market, beyond, notes = known_before(panel, seen, risk)
    place = np.searchsorted(seen, ends)
    began = value_at_start(trading, clock, ends)
    pull = np.rint(began * np.nan_to_num(beta[place] * market[place, None])[:, symbol_of])
    sector = np.rint(began * beyond[place][:, symbol_of])
    moves = profit - flows.dividends + flows.costs
    traded = np.where(began != 0, flows.traded, 0.0) + np.where(began == 0, moves, 0.0)
    parts = {
        "market": pull,
        "sector": sector,
        "selection": moves - traded - pull - sector,
        "trading": traded,
        "dividends": flows.dividends,
        "costs": -flows.costs,
    }
    cents = {name: part.sum(axis=1) + 0.0 for name, part in parts.items()}
    return FactorParts(panel.times[ends], {**cents, FINANCING: flows.financing}, notes)


def session_rows(trading: Trading) -> IntArray:
    """Return the last rows of the sessions since the account opened, the bars after the last whole one included."""
    last = len(trading.simulation.times) - 1
    rows = trading.session_rows
    return rows if (len(rows) and rows[-1] == last) or trading.start > last else np.append(rows, last)


def session_profit(trading: Trading, ends: IntArray) -> FloatArray:
    """Return each column's profit by session in cents ``(S, M)``, that of an unfinished last one included."""
    if len(ends) == len(trading.profit):
        return trading.profit
    rest = column_profit(trading) - trading.profit.sum(axis=0)
    return np.concatenate([trading.profit, rest[None, :]])


def value_at_start(trading: Trading, clock: Clock, ends: IntArray) -> FloatArray:
    """Return the market value of each column in cents when each session began ``(S, M)``: at the close before it."""
    close = last_known(clock.panel.close)[ends[:-1]][:, clock.symbol_of]
    held = np.nan_to_num(trading.simulation.shares[ends[:-1]] * close) * 100.0
    return np.concatenate([np.zeros((1, len(clock.columns))), held])


def known_before(
    panel: Panel, rows: IntArray, risk: RiskSection
) -> tuple[FloatArray, FloatArray, FloatArray, tuple[str, ...]]:
    """Return beta ``(R, N)`` as known at the row before, the market's return ``(R,)``, the sectors' beyond ``(R, N)``.

    The market is the index, where it has a value; else the mean of the names. The sector's return is the mean over its
    names of what their betas do not explain, laid on each of them; 0 where it cannot be told.
    """
    adjusted = np.where(panel.mask, panel.adjusted("close"), np.nan)[rows]
    paid = np.where(panel.mask, panel.close * np.cumprod(panel.split, axis=0), np.nan)[rows]
    index = panel.context.get("index", np.full(len(panel), np.nan))[rows]
    returns, market = _log_moves(adjusted), _log_moves(index[:, None])[:, 0]
    known = np.isfinite(returns)
    mean = np.where(known, returns, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    market = np.where(~np.isfinite(market) & ~np.isfinite(index) & known.any(axis=1), mean, market)
    beta = _betas(returns, market, risk)
    moved = np.expm1(market)
    left = np.expm1(_log_moves(paid)) - beta * moved[:, None]
    notes = [] if np.isfinite(index).any() else ["there is no index: the market is the mean of the universe's names"]
    beyond, alone = _sector_moves(left, panel.sectors)
    if alone:
        notes.append(f"no sector part, as too few names share it: {', '.join(alone)}; it is in selection")
    return beta, moved, np.where(np.isfinite(beta), beyond, 0.0), tuple(notes)


def _sector_moves(left: FloatArray, sectors: tuple[str, ...]) -> tuple[FloatArray, list[str]]:
    """Return the mean of each sector's names laid on each of them, and the sectors that have none."""
    names, alone = np.array(sectors), []
    beyond = np.zeros(left.shape)
    for sector in sorted(set(sectors)):
        own = names == sector
        if sector == UNKNOWN_SECTOR or own.sum() < LEAST_NAMES:
            alone.append(sector)
            continue
        known = np.isfinite(left[:, own])
        count = known.sum(axis=1)
        mean = np.where(known, left[:, own], 0.0).sum(axis=1) / np.maximum(count, 1)
        beyond[:, own] = np.where(count >= LEAST_NAMES, mean, 0.0)[:, None]
    return beyond, alone


def _log_moves(prices: FloatArray) -> FloatArray:
    """Return each row's log move since the last known price; NaN where there is no price, or none before."""
    before = np.concatenate([np.full((1, prices.shape[1]), np.nan), last_known(prices)[:-1]])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(prices / before))


def _betas(returns: FloatArray, market: FloatArray, risk: RiskSection) -> FloatArray:
    """Return the shrunk beta of each name as it was known before each row, NaN where too little was."""
    found = np.full(returns.shape, np.nan)
    state = slopes.initial_state(returns.shape[1], risk.half_life_sessions)
    for row in range(len(returns)):
        if state.bars >= risk.warm_up_sessions:
            found[row] = slopes.betas(state, least=risk.warm_up_sessions).shrunk
        state = slopes.step(state, returns[row : row + 1], market[row : row + 1])
    return found


@dataclass(frozen=True, eq=False)
class _Flows:
    """What moved in each session, in cents ``(S, M)``: costs paid, dividends, what its fills gained until the close.

    ``financing`` is the account's, ``(S,)``.
    """

    costs: FloatArray
    dividends: FloatArray
    traded: FloatArray
    financing: FloatArray

    @classmethod
    def of(cls, trading: Trading, clock: Clock, ends: IntArray) -> _Flows:
        shape, records = (len(ends), len(trading.desk.columns)), trading.simulation.records
        fills, events = records.fills, records.events
        paid, account = events[events[:, k.E_KIND] == k.DIVIDEND_EVENT], events[events[:, k.L_COLUMN] < 0]
        bought = _summed(shape, ends, fills, fills[:, k.F_QUANTITY])
        mark = np.nan_to_num(last_known(clock.panel.close)[ends])[:, clock.symbol_of]
        financing = np.zeros(len(ends))
        np.add.at(financing, np.searchsorted(ends, account[:, k.L_ROW]), account[:, k.E_CASH])
        return cls(
            costs=_summed(shape, ends, fills, fills[:, list(COST_KINDS.values())].sum(axis=1)),
            dividends=_summed(shape, ends, paid, paid[:, k.E_CASH]),
            traded=np.rint(bought * mark * 100.0) + _summed(shape, ends, fills, fills[:, k.F_CASH]),
            financing=financing,
        )


def _summed(shape: tuple[int, int], ends: IntArray, records: FloatArray, amounts: FloatArray) -> FloatArray:
    """Return amounts by the session and column of their records."""
    total = np.zeros(shape)
    np.add.at(total, (np.searchsorted(ends, records[:, k.L_ROW]), records[:, k.L_COLUMN].astype(np.int64)), amounts)
    return total


def _by_model(walked: Walked, trading: Trading, clock: Clock, cents: FloatArray) -> dict[str, float]:
    """Return the cents by model, an ensemble's by its members."""
    sleeves = {one.name: one for one in walked.sleeves}
    found: dict[str, float] = {}
    for number, wanted in enumerate(clock.wanted):
        sleeve, own = sleeves[wanted.name], clock.sleeve_of == number
        parts = {sleeve.plan.models.use: float(cents[own].sum())}
        if sleeve.plan.models.use == ENSEMBLE and sleeve.combined is not None:
            parts = _by_member(sleeve, trading, own)
        for name, amount in parts.items():
            found[name] = found.get(name, 0.0) + amount
    return found


def _by_member(sleeve: Sleeve, trading: Trading, own: NDArray[np.bool_]) -> dict[str, float]:
    """Return the cents of an ensemble's columns by member: each session's by the weights known when it began."""
    assert sleeve.combined is not None
    ends = session_rows(trading)
    profit = session_profit(trading, ends)[:, own].sum(axis=1)
    horizons, bars = sleeve.combined.forecast.horizons, sleeve.plan.decision.horizon_bars
    weights = sleeve.combined.weights[:, horizons.index(bars) if bars in horizons else 0]
    began = trading.simulation.times[np.concatenate([[trading.start], ends[:-1]])]
    row = np.maximum(np.searchsorted(sleeve.world.panel.times, began, side="right") - 1, 0)
    shares = np.nan_to_num(weights[row])
    parts = np.rint(profit[:, None] * shares)
    rest = profit - parts.sum(axis=1)
    parts[np.arange(len(ends)), shares.argmax(axis=1)] += rest
    return {f"{ENSEMBLE}.{name}": float(parts[:, i].sum()) for i, name in enumerate(sleeve.combined.members)}


def _financing(trading: Trading) -> float:
    events = trading.simulation.records.events
    return float(events[events[:, k.L_COLUMN] < 0, k.E_CASH].sum())


def _by_cost(trading: Trading, total: float) -> dict[str, float]:
    """Return the profit before costs and what each kind of cost took from it."""
    simulation = trading.simulation
    paid = {name: -round(amount * 100) for name, amount in simulation.costs.items()}
    dividends = round(simulation.dividends * 100)
    moves = total - sum(paid.values()) - dividends
    return in_currency({"price_moves": moves, "dividends": dividends, **paid})
