"""The gate that every order passes: limits on what is held and on what has been lost, and what follows a breach.

The gate is a fold over closes. It is asked with the account's state and the wishes of that close, and answers with what
may be sent, which limit bound what, and what a person should be told. Losses are watched after every bar, whether or
not anything is wished; what is held is looked at again at each session's end, because prices alone can carry it beyond
a limit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tradewind.market.bars import SESSIONS_PER_YEAR
from tradewind.portfolio import limits_kernel as k
from tradewind.portfolio.settings import USUAL_REACTION, WATCHED, LimitsSection
from tradewind.risk.monitor import Exposure
from tradewind.risk.settings import RiskSection

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Alert:
    """Something a person should be told of, at the close of row ``row``."""

    row: int
    level: Literal["info", "warning", "critical"]
    kind: str
    what: str


@dataclass(frozen=True)
class GateState:
    """What the gate remembers of the account.

    Attributes
    ----------
    high_water
        Highest equity at a close.
    session_equity
        Equity at the last session's close.
    blocked
        The limit for which nothing may be opened before the next session's first close; "" for none.
    told
        Limits that tripped since then, of each of which a person was told once.
    halted
        Why nothing may be opened until a release; "" for no halt.
    halted_sessions
        Sessions that ended since the halt began, the one in which it began among them.
    session_over
        The last close was its session's last.
    """

    high_water: float
    session_equity: float
    blocked: str = ""
    told: tuple[str, ...] = ()
    halted: str = ""
    halted_sessions: int = 0
    session_over: bool = False


@dataclass(frozen=True, eq=False)
class Gate:
    """The limits of a playbook over the columns of a book.

    Attributes
    ----------
    symbol_of, sector_of
        Symbol of each column ``(M,)``, sector of each symbol ``(N,)``.
    """

    limits: LimitsSection
    risk: RiskSection
    symbol_of: IntArray
    sector_of: IntArray
    _values: FloatArray = field(init=False, repr=False)
    _blocks: BoolArray = field(init=False, repr=False)
    _refuses: BoolArray = field(init=False, repr=False)
    _sectors: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Lay the limits out as the compiled check reads them."""
        object.__setattr__(self, "_values", _values(self.limits, self.risk))
        object.__setattr__(self, "_sectors", int(self.sector_of.max(initial=0)) + 1)
        chosen = {k.CODES.index(name): reaction for name, reaction in self.limits.reactions.items()}
        for field_name, meant in (("_blocks", ("block", "flatten", "halt")), ("_refuses", ("block",))):
            flags = np.array([chosen.get(code, "clip") in meant for code in range(len(k.CODES))])
            object.__setattr__(self, field_name, flags)

    @property
    def needs_risk(self) -> bool:
        """Return whether betas and covariances must be known."""
        return self.limits.needs_risk or self.risk.volatility_target is not None

    @property
    def asks_in_order(self) -> bool:
        """Return whether it matters which wish is asked first: it does where correlated names count together."""
        return self.limits.correlation_max is not None

    def open(self, equity: float) -> GateState:
        """Return the state of an account that has just been opened."""
        return GateState(equity, equity)

    def watch(
        self, state: GateState, equity: float, row: int, *, session_ended: bool
    ) -> tuple[GateState, bool, list[Alert]]:
        """Look at what has been lost, after a bar; return the state, whether the book must be closed now, and alerts.

        A block holds for what is decided up to its session's close: what is found there concerns the next one.
        """
        if state.session_over:
            state = replace(state, blocked="", told=(), session_over=False)
        alerts: list[Alert] = []
        lost = {
            "drawdown_max": 1.0 - equity / state.high_water if state.high_water > 0 else 0.0,
            "daily_loss_max": 1.0 - equity / state.session_equity if state.session_equity > 0 else 0.0,
        }
        for name in WATCHED:
            limit, value = getattr(self.limits, name), lost[name]
            if limit is None or value < limit or state.halted or state.blocked == name or self._outranked(state, name):
                continue
            if name not in state.told:
                said = f"{name}: lost {value:.2%}, the limit is {limit:.2%}: {self.limits.reaction(name)}"
                alerts.append(Alert(row, "critical", name, said))
            state = self._react(state, name, equity)
        if equity > state.high_water:
            state = replace(state, high_water=equity)
        flatten = self._closes(state)
        if session_ended:
            state, released = self._end_session(state, equity, row)
            alerts += released
        return state, flatten, alerts

    def _react(self, state: GateState, name: str, equity: float) -> GateState:
        """Begin what follows a loss. After a flattened drawdown the next one is measured from there."""
        if self.limits.reaction(name) == "halt":
            return replace(state, halted=name, halted_sessions=0)
        if name == "drawdown_max" and self.limits.reaction(name) == "flatten":
            return replace(state, high_water=equity, blocked=name)
        return replace(state, blocked=name, told=tuple(dict.fromkeys((*state.told, name))))

    def _outranked(self, state: GateState, name: str) -> bool:
        """Return whether the book is being closed already, which a limit that only blocks must not undo."""
        return self._flattens(state.blocked) and self.limits.reaction(name) == "block"

    def _flattens(self, name: str) -> bool:
        return name != "" and self.limits.reaction(name) == "flatten"

    def _closes(self, state: GateState) -> bool:
        """Return whether nothing may be held: as long as it lasts, since one order need not close a position."""
        return state.halted in USUAL_REACTION or self._flattens(state.blocked)

    def _end_session(self, state: GateState, equity: float, row: int) -> tuple[GateState, list[Alert]]:
        """End a session; with it a halt by a limit, where the playbook says that somebody would release it by then."""
        state = replace(state, session_equity=equity, session_over=True)
        if not state.halted:
            return state, []
        after = self.limits.release_after_sessions
        if after is None or state.halted_sessions < after or state.halted not in USUAL_REACTION:
            return replace(state, halted_sessions=state.halted_sessions + 1), []
        said = Alert(row, "warning", "release", f"the halt by {state.halted} is released after {after} sessions")
        return replace(state, halted="", halted_sessions=0, high_water=equity), [said]

    def allow(
        self,
        state: GateState,
        held: FloatArray,
        wish: FloatArray,
        order: IntArray,
        exposure: Exposure,
        equity: float,
    ) -> tuple[FloatArray, IntArray]:
        """Return what of the wishes ``(M,)`` may be sent and which limit bound each (index into ``CODES``)."""
        return self._ask(held, wish, order, exposure, equity, self._values, self._blocks, self._stopped(state))

    def _ask(
        self,
        held: FloatArray,
        wish: FloatArray,
        order: IntArray,
        exposure: Exposure,
        equity: float,
        values: FloatArray,
        blocks: BoolArray,
        stopped: int,
    ) -> tuple[FloatArray, IntArray]:
        allowed, bound = np.empty(len(held)), np.zeros(len(held), np.int64)
        nothing, none = np.empty(0), np.empty((0, 0))
        liquid = np.full(len(self.sector_of), np.inf)
        if self.limits.liquidity_max is not None:
            liquid = self.limits.liquidity_max * exposure.daily_value / max(equity, 1e-9)
        k.allow(
            held,
            wish,
            order,
            self.symbol_of,
            self.sector_of,
            self._sectors,
            values,
            blocks,
            stopped,
            liquid,
            exposure.borrowable,
            nothing if exposure.beta is None else exposure.beta,
            none if exposure.covariance is None else exposure.covariance,
            allowed,
            bound,
        )
        return allowed, bound

    def _stopped(self, state: GateState) -> int:
        if state.halted:
            return k.HALTED
        return k.CODES.index(state.blocked) if state.blocked else 0

    def drifted(self, held: FloatArray, exposure: Exposure, equity: float) -> tuple[FloatArray, IntArray]:
        """Return weights that cut what prices carried beyond a limit by more than the tolerance, NaN for the rest.

        The cut is what the same limits, clipping, allow to somebody who holds nothing and wants the present book.
        Limits that only refuse sell nothing, nor does the volatility target, nor that a risk or lender is not known.
        """
        values = self._values.copy()
        values[k.L_VOLATILITY] = np.inf
        order = np.argsort(-np.abs(held), kind="stable") if self.asks_in_order else np.arange(len(held))
        known = replace(exposure, borrowable=np.ones(len(self.sector_of), np.bool_))
        allowed, bound = self._ask(
            np.zeros(len(held)), held, order, known, equity, values, np.zeros(len(k.CODES), np.bool_), 0
        )
        far = np.abs(held - allowed) > self.limits.drift_tolerance * np.abs(allowed)
        cut = far & (bound != k.NONE) & (bound != k.UNKNOWN) & ~self._refuses[bound]
        return np.where(cut, allowed, np.nan), np.where(cut, bound, 0)


def _values(limits: LimitsSection, risk: RiskSection) -> FloatArray:
    """Return the limits as the compiled check reads them; infinite where there is none."""
    values = np.full(k.LIMIT_FIELDS, np.inf)
    together = limits.position_max if limits.correlated_max is None else limits.correlated_max
    deviations = NormalDist().inv_cdf(risk.var_level)
    named = {
        k.L_POSITION: limits.position_max,
        k.L_SECTOR: limits.sector_max,
        k.L_CORRELATION: limits.correlation_max,
        k.L_CORRELATED: together,
        k.L_GROSS: limits.gross_max,
        k.L_NET: limits.net_max,
        k.L_BETA: limits.beta_max,
        k.L_VAR: None if limits.var_max is None else limits.var_max / deviations,
        k.L_VOLATILITY: None if risk.volatility_target is None else risk.volatility_target / np.sqrt(SESSIONS_PER_YEAR),
    }
    for place, value in named.items():
        values[place] = np.inf if value is None else value
    return values


def times_bound(counts: Counter[str] | dict[str, int], limits: LimitsSection, risk: RiskSection) -> dict[str, int]:
    """Return how often each limit in force bound something, those that never did included."""
    on = {"gross_max", "position_max", *(n for n in k.CODES if getattr(limits, n, None) is not None)}
    on |= {"volatility_target"} if risk.volatility_target is not None else set()
    on |= {name for name, times in counts.items() if times}
    return {name: int(counts.get(name, 0)) for name in k.CODES if name in on}
