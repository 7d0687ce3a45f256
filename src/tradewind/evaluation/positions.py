"""Open positions and newest decisions explained: which forecast asked, what sized it, which limit bound it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.decisions.signals import Action
from tradewind.evaluation.account import Clock
from tradewind.evaluation.sleeves import Sleeve, Walked
from tradewind.execution import kernel as k
from tradewind.execution.desk import REASONS
from tradewind.execution.desk_state import column_values
from tradewind.execution.trading import Trading

IntArray = NDArray[np.int64]

DRIFT = "prices carried it beyond a limit"
"""What decided an order that no forecast asked for."""

INTERVAL = (0.10, 0.90)

TABLE: dict[str, Any] = {
    **dict.fromkeys(("symbol", "timeframe", "side"), pl.String), "open": pl.Boolean,
    **dict.fromkeys(("shares", "profit"), pl.Float64), **dict.fromkeys(("entered", "left", "ended_by"), pl.String),
    **dict.fromkeys(("entry_price", "left_price"), pl.Float64),
    **dict.fromkeys(("model", "rule", "decided_at", "action"), pl.String), "horizon_bars": pl.Int64,
    **dict.fromkeys(("confidence", "median"), pl.Float64), "sized_by": pl.String,
    **dict.fromkeys(("wished", "sent"), pl.Float64), **dict.fromkeys(("bound_by", "why"), pl.String),
}  # fmt: skip
"""Columns of the table of all positions."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """An account's life with what asked for it.

    Attributes
    ----------
    rows
        For each timeframe of the clock, the clock's row of each of its own bars, -1 outside.
    """

    walked: Walked
    trading: Trading
    clock: Clock
    rows: tuple[IntArray, ...]

    @classmethod
    def of(cls, walked: Walked, trading: Trading, clock: Clock) -> Explainer:
        """Lay every timeframe's bars on the account's once."""
        return cls(walked, trading, clock, tuple(clock.rows_of(one) for one in clock.wanted))

    def sleeve(self, column: int) -> Sleeve:
        """Return the system that a column of the book belongs to."""
        name = self.clock.wanted[self.clock.sleeve_of[column]].name
        return next(one for one in self.walked.sleeves if one.name == name)

    def symbol(self, column: int) -> str:
        """Return the symbol of a column."""
        return self.clock.panel.symbols[self.clock.symbol_of[column]]

    def timeframe(self, column: int) -> str:
        """Return the name of a column's timeframe; ``all`` where the playbook has none."""
        return self.clock.wanted[self.clock.sleeve_of[column]].name or "all"

    def place(self, row: int, column: int) -> tuple[int, int] | None:
        """Return row and column in a timeframe's own panel of what it said at a close; None where it said nothing."""
        rows = self.rows[self.clock.sleeve_of[column]]
        own = int(np.searchsorted(rows, row, side="right")) - 1
        return (own, int(self.clock.own_column[column])) if own >= 0 and rows[own] == row else None

    def decision(self, row: int, column: int) -> int | None:
        """Return the number of the decision at a row that was about a column; None where there was none."""
        at = int(np.searchsorted(self.trading.decided_rows, row))
        if at >= len(self.trading.decided_rows) or self.trading.decided_rows[at] != row:
            return None
        told = np.isfinite(self.trading.wished[at, column]) or np.isfinite(self.trading.sent[at, column])
        return at if told else None


def positions(walked: Walked, trading: Trading, clock: Clock) -> list[dict[str, Any]]:
    """Return one entry an open position, the heaviest first, as plain values.

    ``asked_by`` is the forecast at whose close the position was decided, ``sized_by`` the weight after each step of
    sizing then, as a share of its timeframe's capital; ``wished`` and ``sent`` are shares of equity before and after
    coordinator and limits, ``bound_by`` what stood between them. ``latest`` is the newest decision about the position,
    ``bound_since`` how often each limit bound it since it was opened. Levels are prices; None where there is none.
    """
    explained = Explainer.of(walked, trading, clock)
    held = np.flatnonzero(trading.simulation.book.state[k.SHARES])
    entries = [_position(explained, int(column)) for column in held]
    return sorted(entries, key=lambda entry: (-abs(entry["value"]), entry["symbol"], entry["timeframe"]))


def closed_positions(walked: Walked, trading: Trading, clock: Clock, most: int | None = 25) -> list[dict[str, Any]]:
    """Return the newest positions that are over, explained as the open ones are; all where ``most`` is None."""
    explained = Explainer.of(walked, trading, clock)
    trips = trading.simulation.records.trades
    return [_closed(explained, trip) for trip in trips[::-1][:most]]


def positions_table(walked: Walked, trading: Trading, clock: Clock) -> pl.DataFrame:
    """Return every position of an account, the open ones first, one row each: what asked, sized, bound and ended it.

    ``sized_by`` is the path of weights in words; times are text, as everywhere in results.
    """
    rows = [*positions(walked, trading, clock), *closed_positions(walked, trading, clock, None)]
    return pl.DataFrame([_flat(row) for row in rows], schema=TABLE, orient="row")


def last_decisions(walked: Walked, trading: Trading, clock: Clock, most: int = 25) -> list[dict[str, Any]]:
    """Return the newest decisions that opened, changed or closed something or were bound, the newest first."""
    explained = Explainer.of(walked, trading, clock)
    found: list[dict[str, Any]] = []
    for at in range(len(trading.decided_rows) - 1, -1, -1):
        columns = np.flatnonzero(_matters(trading, at))
        heaviest = np.argsort(-np.abs(np.nan_to_num(trading.wished[at, columns])), kind="stable")
        found += [_decided(explained, at, int(column)) for column in columns[heaviest][: most - len(found)]]
        if len(found) >= most:
            break
    return found


def _matters(trading: Trading, at: int) -> NDArray[np.bool_]:
    """Return the columns about which a decision said something else than to stay out."""
    wished, sent, row = trading.wished[at], trading.sent[at], int(trading.decided_rows[at])
    held = trading.simulation.shares[row] != 0
    said = np.isfinite(wished) | np.isfinite(sent)
    return said & (held | (np.nan_to_num(wished) != 0) | (np.nan_to_num(sent) != 0))


def _position(explained: Explainer, column: int) -> dict[str, Any]:
    trading = explained.trading
    book, times = trading.simulation.book, trading.simulation.times
    state = book.state[:, column]
    shares, side = float(state[k.SHARES]), float(np.sign(state[k.SHARES]))
    value = float(column_values(book)[column])
    opened = int(state[k.IN_ROW])
    asked = _asked_at(trading, column, opened, side)
    entry = float(state[k.ENTRY])
    net = side * (_out_value(state) - state[k.IN_VALUE]) - state[k.COSTS] + state[k.DIVIDENDS] + state[k.BORROW]
    return {
        "symbol": explained.symbol(column),
        "timeframe": explained.timeframe(column),
        "side": "long" if side > 0 else "short",
        "shares": shares,
        "price": _finite(state[k.MARK]),
        "value": value / 100,
        "weight": value / float(book.scalars[k.EQUITY]) if book.scalars[k.EQUITY] > 0 else None,
        "profit": float(net) / 100,
        "entered": _text(times, opened),
        "entry_price": _finite(entry),
        **_explained(explained, asked, column),
        "bound_since": _bound_since(trading, column, asked),
        "latest": _latest(explained, column),
        "stop": _finite(entry * (1 - side * state[k.STOP])),
        "take_profit": _finite(entry * (1 + side * state[k.TAKE])),
        "trailing_stop": _finite(state[k.EXTREME] * (1 - side * state[k.TRAIL])),
    }


def _closed(explained: Explainer, trip: NDArray[np.float64]) -> dict[str, Any]:
    trading, column = explained.trading, int(trip[k.L_COLUMN])
    side, opened, left = float(trip[k.R_SIDE]), int(trip[k.R_IN_ROW]), int(trip[k.L_ROW])
    gross = side * (trip[k.R_OUT_VALUE] - trip[k.R_IN_VALUE])
    net = float(gross - trip[k.R_COSTS] + trip[k.R_DIVIDENDS] + trip[k.R_BORROW]) / 100
    asked = _asked_at(trading, column, opened, side)
    return {
        "symbol": explained.symbol(column),
        "timeframe": explained.timeframe(column),
        "side": "long" if side > 0 else "short",
        "shares": side * float(trip[k.R_QUANTITY]),
        "profit": net,
        "entered": _text(trading.simulation.times, opened),
        "entry_price": _finite(trip[k.R_IN_VALUE] / 100 / trip[k.R_QUANTITY]),
        "left": _text(trading.simulation.times, left),
        "left_price": _finite(trip[k.R_OUT_VALUE] / 100 / trip[k.R_OUT_QUANTITY]),
        "ended_by": k.REASONS[int(trip[k.R_REASON])],
        **_explained(explained, asked, column),
        "bound_since": _bound_since(trading, column, asked, left),
    }


def _flat(row: dict[str, Any]) -> tuple[Any, ...]:
    asked = row["asked_by"] or {}
    steps = "; ".join(f"{name} {weight:.4f}" for name, weight in row["sized_by"].items())
    known = {**row, **asked, "sized_by": steps, "open": "left" not in row}
    return tuple(known.get(name) for name in TABLE)


def _decided(explained: Explainer, at: int, column: int) -> dict[str, Any]:
    row = int(explained.trading.decided_rows[at])
    return {
        "time": _text(explained.trading.simulation.times, row),
        "symbol": explained.symbol(column),
        "timeframe": explained.timeframe(column),
        **_explained(explained, row, column),
    }


def _explained(explained: Explainer, row: int, column: int) -> dict[str, Any]:
    """Return what asked for a column's weight at a close, what sized it and which limit bound it."""
    at, own = explained.decision(row, column), explained.place(row, column)
    wished = None if at is None else _finite(explained.trading.wished[at, column])
    sleeve = explained.sleeve(column)
    asked = None if own is None or wished is None else _asked_by(sleeve, *own)
    return {
        "asked_by": asked,
        "why": None if asked is not None else DRIFT,
        "sized_by": {} if asked is None or own is None else sleeve.decision.targets.path(*own),
        "wished": wished,
        "sent": None if at is None else _finite(explained.trading.sent[at, column]),
        "bound_by": None if at is None else _reason(explained.trading.bound[at, column]),
    }


def _asked_by(sleeve: Sleeve, row: int, column: int) -> dict[str, Any]:
    """Return the forecast and signal of one close, with the members' shares where an ensemble spoke."""
    decision, panel = sleeve.decision, sleeve.world.panel
    belief, signals = decision.belief, decision.signals
    bars = int(signals.horizon_bars[row, column])
    forecast = belief.forecast
    known = bars in forecast.horizons
    quantiles = forecast.quantiles[row, column, forecast.horizons.index(bars)] if known else None
    said: dict[str, Any] = {
        "model": sleeve.plan.models.use,
        "rule": signals.rule,
        "decided_at": _text(panel.times, row),
        "action": Action(int(signals.action[row, column])).name,
        "horizon_bars": bars,
        "confidence": _finite(signals.confidence[row, column]),
        "event": signals.event,
        "median": None if quantiles is None else _move(forecast.levels, quantiles, 0.5),
        "interval_80": None if quantiles is None else [_move(forecast.levels, quantiles, level) for level in INTERVAL],
    }
    if decision.combined is not None:
        said["members"] = decision.combined.shares_at(row, column).get(str(bars), {})
    return said


def _asked_at(trading: Trading, column: int, opened: int, side: float) -> int:
    """Return the row at whose close the fill was decided that opened a position; the bar before where none is told."""
    fills = trading.simulation.records.fills
    own = fills[
        (fills[:, k.L_COLUMN] == column) & (fills[:, k.L_ROW] == opened) & (np.sign(fills[:, k.F_QUANTITY]) == side)
    ]
    return int(own[-1, k.F_DECIDED]) if len(own) else opened - 1


def _bound_since(trading: Trading, column: int, row: int, until: int | None = None) -> dict[str, int]:
    """Return how often each limit bound a column from one row to another."""
    rows = trading.decided_rows
    since = trading.bound[(rows >= row) & (rows <= (rows.max(initial=0) if until is None else until)), column]
    return {REASONS[code]: times for code, times in sorted(Counter(since[since > 0].tolist()).items())}


def _latest(explained: Explainer, column: int) -> dict[str, Any] | None:
    """Return the newest decision about a column, where it is known."""
    trading = explained.trading
    about = np.flatnonzero(np.isfinite(trading.wished[:, column]) | np.isfinite(trading.sent[:, column]))
    if not about.size:
        return None
    at = int(about[-1])
    return {
        "decided_at": _text(trading.simulation.times, int(trading.decided_rows[at])),
        "wished": _finite(trading.wished[at, column]),
        "sent": _finite(trading.sent[at, column]),
        "bound_by": _reason(trading.bound[at, column]),
    }


def _out_value(state: NDArray[np.float64]) -> float:
    """Return what was sold so far and what is held at the last close, in cents."""
    return float(state[k.OUT_VALUE] + np.rint(abs(state[k.SHARES]) * state[k.MARK] * 100))


def _reason(code: int | np.int64) -> str | None:
    return REASONS[int(code)] if code > 0 else None


def _move(levels: tuple[float, ...], quantiles: NDArray[np.float64], level: float) -> float | None:
    """Return one quantile as a simple return."""
    if level not in levels:
        return None
    value = float(quantiles[levels.index(level)])
    return round(math.expm1(value), 6) if math.isfinite(value) else None


def _finite(value: float | np.floating[Any]) -> float | None:
    number = float(value)
    return round(number, 6) + 0.0 if math.isfinite(number) else None


def _text(times: NDArray[np.datetime64], row: int) -> str | None:
    return f"{np.datetime_as_string(times[row], unit='s')}Z" if 0 <= row < len(times) else None
