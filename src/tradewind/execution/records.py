"""The kernel's records as tables: fills, round trips, and the ledger of every movement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.execution import kernel as k
from tradewind.execution.book import Book

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

COST_KINDS = {"commission": k.F_COMMISSION, "spread": k.F_SPREAD, "slippage": k.F_SLIPPAGE, "impact": k.F_IMPACT}
ACCOUNT = ""
"""The ledger's symbol for movements that belong to no symbol (deposit, interest, borrow)."""


@dataclass(frozen=True, eq=False)
class Records:
    """The kernel's log of one or more consecutive steps, ``(L, 14)``, in order of happening."""

    log: FloatArray

    @classmethod
    def joined(cls, parts: list[Records]) -> Records:
        """Return the records of consecutive steps as one."""
        return cls(np.concatenate([part.log for part in parts]))

    @cached_property
    def fills(self) -> FloatArray:
        """Return the fills alone, columns as in the kernel's ``F_*``."""
        return self._of(k.FILL)

    @cached_property
    def events(self) -> FloatArray:
        """Return corporate actions, interest and borrow, columns as in the kernel's ``E_*``."""
        return self._of(k.EVENT)

    @cached_property
    def trades(self) -> FloatArray:
        """Return the finished round trips, columns as in the kernel's ``R_*``."""
        return self._of(k.TRADE)

    def _of(self, kind: float) -> FloatArray:
        return np.ascontiguousarray(self.log[self.log[:, k.L_TYPE] == kind])


def _instants(times: TimeArray, rows: FloatArray, first_row: int) -> pl.Series:
    """Return the closes of bars by number; null for bars before the first that ``times`` covers."""
    place = rows.astype(np.int64) - first_row
    known = (place >= 0) & (place < len(times))
    instants = np.full(len(rows), np.datetime64("NaT", "us"))
    instants[known] = times[place[known]]
    return pl.Series(instants, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")


def _names(names: tuple[str, ...], index: FloatArray) -> pl.Series:
    """Return ``names[index]`` without a Python object per row."""
    return pl.Series(names, dtype=pl.String).gather(index.astype(np.int64))


def fills_table(records: Records, times: TimeArray, symbols: tuple[str, ...], first_row: int = 0) -> pl.DataFrame:
    """Return one row a fill. ``price`` is the market's; costs are beside it, in currency.

    ``decided_at`` is the close at which the order was decided: always before ``time``, the close of the bar
    that filled it, except for exits that a resting bracket makes by itself.
    """
    f = records.fills
    columns: dict[str, object] = {
        "time": _instants(times, f[:, k.L_ROW], first_row),
        "symbol": _names(symbols, f[:, k.L_COLUMN]),
        "quantity": f[:, k.F_QUANTITY],
        "price": f[:, k.F_PRICE],
        "cash": f[:, k.F_CASH] / 100,
        **{name: f[:, index] / 100 for name, index in COST_KINDS.items()},
        "reason": _names(k.REASONS, f[:, k.F_REASON]),
        "phase": _names(k.PHASES, f[:, k.F_PHASE]),
        "order": f[:, k.F_ORDER].astype(np.int64),
        "decided_at": _instants(times, f[:, k.F_DECIDED], first_row),
        "row": f[:, k.L_ROW].astype(np.int64),
        "decided_row": f[:, k.F_DECIDED].astype(np.int64),
    }
    return pl.DataFrame(columns)


def trades_table(records: Records, times: TimeArray, symbols: tuple[str, ...], first_row: int = 0) -> pl.DataFrame:
    """Return one row a round trip, from flat to flat; prices are averages of the market's, before costs.

    ``pnl`` is net: gross profit less costs, plus dividends, plus (negative) borrow, in currency; ``return``
    relates it to the value bought in. ``bars_held`` counts the closes lived through.
    """
    return _round_trips(records.trades, times, symbols, first_row)


def open_trades_table(book: Book, times: TimeArray, symbols: tuple[str, ...], first_row: int = 0) -> pl.DataFrame:
    """Return what is still held as :func:`trades_table` would if it were sold at the last close without cost.

    ``exit_reason`` is ``open``; ``exit_time`` is the book's last close.
    """
    state = book.state
    held = np.flatnonzero(state[k.SHARES])
    shares, trips = np.abs(state[k.SHARES, held]), np.zeros((len(held), k.LOG_FIELDS))
    trips[:, k.L_COLUMN], trips[:, k.L_ROW] = held, book.row
    trips[:, k.R_SIDE] = np.sign(state[k.SHARES, held])
    kept = ((k.R_IN_ROW, k.IN_ROW), (k.R_QUANTITY, k.IN_QUANTITY), (k.R_IN_VALUE, k.IN_VALUE), (k.R_COSTS, k.COSTS))
    for ours, theirs in (*kept, (k.R_DIVIDENDS, k.DIVIDENDS), (k.R_BORROW, k.BORROW)):
        trips[:, ours] = state[theirs, held]
    trips[:, k.R_OUT_QUANTITY] = state[k.OUT_QUANTITY, held] + shares
    trips[:, k.R_OUT_VALUE] = state[k.OUT_VALUE, held] + np.rint(shares * state[k.MARK, held] * 100)
    trips[:, k.R_AGE] = book.row - state[k.BORN, held] + 1
    return _round_trips(trips, times, symbols, first_row).with_columns(exit_reason=pl.lit("open"))


def _round_trips(t: FloatArray, times: TimeArray, symbols: tuple[str, ...], first_row: int) -> pl.DataFrame:
    side = t[:, k.R_SIDE]
    gross = side * (t[:, k.R_OUT_VALUE] - t[:, k.R_IN_VALUE])
    net = gross - t[:, k.R_COSTS] + t[:, k.R_DIVIDENDS] + t[:, k.R_BORROW]
    return pl.DataFrame(
        {
            "symbol": _names(symbols, t[:, k.L_COLUMN]),
            "entry_time": _instants(times, t[:, k.R_IN_ROW], first_row),
            "exit_time": _instants(times, t[:, k.L_ROW], first_row),
            "side": _names(("short", "", "long"), side + 1),
            "quantity": t[:, k.R_QUANTITY],
            "entry_price": t[:, k.R_IN_VALUE] / 100 / t[:, k.R_QUANTITY],
            "exit_price": t[:, k.R_OUT_VALUE] / 100 / t[:, k.R_OUT_QUANTITY],
            "gross_pnl": gross / 100,
            "costs": t[:, k.R_COSTS] / 100,
            "dividends": t[:, k.R_DIVIDENDS] / 100,
            "borrow": t[:, k.R_BORROW] / 100,
            "pnl": net / 100,
            "return": _relative(net, t[:, k.R_IN_VALUE]),
            "bars_held": t[:, k.R_AGE].astype(np.int64),
            "exit_reason": _names(k.REASONS, t[:, k.R_REASON]),
            "entry_row": t[:, k.R_IN_ROW].astype(np.int64),
            "exit_row": t[:, k.L_ROW].astype(np.int64),
        }
    )


def _relative(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return part over whole; NaN where the whole is nothing (a purchase that rounds to no cent)."""
    result = np.full(part.shape, np.nan)
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def _movements(records: Records) -> tuple[FloatArray, list[str]]:
    """Return every movement as (place, row, column, kind, shares, cents, price), in order of happening."""
    kinds = ["fill", *COST_KINDS, *k.EVENT_KINDS]
    is_fill, is_event = records.log[:, k.L_TYPE] == k.FILL, records.log[:, k.L_TYPE] == k.EVENT
    f, e = records.fills, records.events
    places = np.arange(len(records.log), dtype=np.float64)
    parts = [_moved(places[is_fill], f, 0, f[:, k.F_QUANTITY], f[:, k.F_CASH], f[:, k.F_PRICE])]
    nothing = np.zeros(len(f))
    for number, index in enumerate(COST_KINDS.values(), start=1):
        part = _moved(places[is_fill], f, number, nothing, -f[:, index], f[:, k.F_PRICE])
        parts.append(part[part[:, 5] != 0])
    kind = 1 + len(COST_KINDS) + e[:, k.E_KIND]
    parts.append(_moved(places[is_event], e, kind, e[:, k.E_SHARES], e[:, k.E_CASH], e[:, k.E_PRICE]))
    moves = np.concatenate(parts)
    return moves[np.lexsort((moves[:, 3], moves[:, 0]))], kinds


def _moved(
    place: FloatArray,
    source: FloatArray,
    kind: int | FloatArray,
    shares: FloatArray,
    cents: FloatArray,
    price: FloatArray,
) -> FloatArray:
    kinds = np.broadcast_to(np.asarray(kind, dtype=np.float64), shares.shape)
    return np.column_stack((place, source[:, k.L_ROW], source[:, k.L_COLUMN], kinds, shares, cents, price))


def ledger_table(
    records: Records, times: TimeArray, symbols: tuple[str, ...], start_cash: float, first_row: int = 0
) -> pl.DataFrame:
    """Return every movement of cash and shares; ``cents`` summed is the cash at the end, exactly.

    The first row is the cash at the start: the deposit, or for a later bar what was carried over.
    """
    moves, kinds = _movements(records)
    cents = np.concatenate([[np.rint(start_cash * 100)], moves[:, 5]])
    opening = "deposit" if first_row == 0 else "carried"
    return pl.DataFrame(
        {
            "time": _instants(times, np.concatenate([[first_row], moves[:, 1]]), first_row),
            "symbol": _names((ACCOUNT, *symbols), np.concatenate([[0], moves[:, 2] + 1])),
            "kind": _names((*kinds, opening), np.concatenate([[len(kinds)], moves[:, 3]])),
            "shares": np.concatenate([[0.0], moves[:, 4]]),
            "cash": cents / 100,
            "price": np.concatenate([[np.nan], moves[:, 6]]),
            "cents": cents.astype(np.int64),
        }
    )


def ledger_digest(
    records: Records, times: TimeArray, symbols: tuple[str, ...], start_cash: float, first_row: int = 0
) -> str:
    """Return the SHA-256 of the ledger in canonical form: equal books lived through equal movements."""
    moves, kinds = _movements(records)
    place = moves[:, 1].astype(np.int64) - first_row
    canonical = np.column_stack(
        (
            times[place].astype("datetime64[us]").astype(np.int64),
            moves[:, 2].astype(np.int64),
            moves[:, 3].astype(np.int64),
            np.rint(moves[:, 4] * k.MILLION).astype(np.int64),
            moves[:, 5].astype(np.int64),
        )
    )
    start = str(int(np.rint(start_cash * 100)))
    digest = hashlib.sha256("\x1f".join(("ledger/1", start, *kinds, "", *symbols)).encode())
    digest.update(np.ascontiguousarray(canonical, dtype="<i8").tobytes())
    return digest.hexdigest()
