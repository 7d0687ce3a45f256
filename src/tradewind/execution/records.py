"""The kernel's records as tables: fills, round trips, and the ledger of every movement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.execution import kernel as k

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

COST_KINDS = {"commission": k.F_COMMISSION, "spread": k.F_SPREAD, "slippage": k.F_SLIPPAGE, "impact": k.F_IMPACT}
ACCOUNT = ""
"""The ledger's symbol for movements that belong to no symbol (deposit, interest, borrow)."""


@dataclass(frozen=True, eq=False)
class Records:
    """Raw records of one or more steps, in order; ``fills``, ``events`` and ``trades`` as the kernel lays them out."""

    fills: FloatArray
    events: FloatArray
    trades: FloatArray

    @classmethod
    def joined(cls, parts: list[Records]) -> Records:
        """Return the records of consecutive steps as one."""
        return cls(
            np.concatenate([p.fills for p in parts]),
            np.concatenate([p.events for p in parts]),
            np.concatenate([p.trades for p in parts]),
        )


def _instants(times: TimeArray, rows: FloatArray) -> pl.Series:
    return pl.Series(times[rows.astype(np.int64)].astype("datetime64[us]")).dt.replace_time_zone("UTC")


def _names(names: tuple[str, ...], index: FloatArray) -> pl.Series:
    """Return ``names[index]`` without a Python object per row."""
    return pl.Series(names, dtype=pl.String).gather(index.astype(np.int64))


def fills_table(records: Records, times: TimeArray, symbols: tuple[str, ...]) -> pl.DataFrame:
    """Return one row a fill. ``price`` is the market's; costs are beside it, in currency.

    ``decided_at`` is the close at which the order was decided: always before ``time``, the close of the bar
    that filled it, except for exits that a resting bracket makes by itself.
    """
    f = records.fills
    columns: dict[str, object] = {
        "time": _instants(times, f[:, k.F_ROW]),
        "symbol": _names(symbols, f[:, k.F_COLUMN]),
        "quantity": f[:, k.F_QUANTITY],
        "price": f[:, k.F_PRICE],
        "cash": f[:, k.F_CASH] / 100,
        **{name: f[:, index] / 100 for name, index in COST_KINDS.items()},
        "reason": _names(k.REASONS, f[:, k.F_REASON]),
        "phase": _names(k.PHASES, f[:, k.F_PHASE]),
        "order": f[:, k.F_ORDER].astype(np.int64),
        "decided_at": _instants(times, f[:, k.F_DECIDED]),
        "row": f[:, k.F_ROW].astype(np.int64),
        "decided_row": f[:, k.F_DECIDED].astype(np.int64),
    }
    return pl.DataFrame(columns)


def trades_table(records: Records, times: TimeArray, symbols: tuple[str, ...]) -> pl.DataFrame:
    """Return one row a round trip, from flat to flat; prices are averages of the market's, before costs.

    ``pnl`` is net: gross profit less costs, plus dividends, plus (negative) borrow, in currency; ``return``
    relates it to the value bought in. ``bars_held`` counts the closes lived through.
    """
    t = records.trades
    net = t[:, k.R_GROSS] - t[:, k.R_COSTS] + t[:, k.R_DIVIDENDS] + t[:, k.R_BORROW]
    value = t[:, k.R_QUANTITY] * t[:, k.R_IN_PRICE]
    return pl.DataFrame(
        {
            "symbol": _names(symbols, t[:, k.R_COLUMN]),
            "entry_time": _instants(times, t[:, k.R_IN_ROW]),
            "exit_time": _instants(times, t[:, k.R_OUT_ROW]),
            "side": _names(("short", "", "long"), t[:, k.R_SIDE] + 1),
            "quantity": t[:, k.R_QUANTITY],
            "entry_price": t[:, k.R_IN_PRICE],
            "exit_price": t[:, k.R_OUT_PRICE],
            "gross_pnl": t[:, k.R_GROSS] / 100,
            "costs": t[:, k.R_COSTS] / 100,
            "dividends": t[:, k.R_DIVIDENDS] / 100,
            "borrow": t[:, k.R_BORROW] / 100,
            "pnl": net / 100,
            "return": net / 100 / value,
            "bars_held": t[:, k.R_AGE].astype(np.int64),
            "exit_reason": _names(k.REASONS, t[:, k.R_REASON]),
            "entry_row": t[:, k.R_IN_ROW].astype(np.int64),
            "exit_row": t[:, k.R_OUT_ROW].astype(np.int64),
        }
    )


def _movements(records: Records) -> tuple[FloatArray, list[str]]:
    """Return every movement as (sequence, row, column, kind, shares, cents, price), in order of happening."""
    kinds = ["fill", *COST_KINDS, *k.EVENT_KINDS]
    f, e = records.fills, records.events
    parts = [_moved(f, k.F_SEQUENCE, k.F_ROW, k.F_COLUMN, 0, f[:, k.F_QUANTITY], f[:, k.F_CASH], f[:, k.F_PRICE])]
    nothing = np.zeros(len(f))
    for number, index in enumerate(COST_KINDS.values(), start=1):
        part = _moved(f, k.F_SEQUENCE, k.F_ROW, k.F_COLUMN, number, nothing, -f[:, index], f[:, k.F_PRICE])
        parts.append(part[part[:, 5] != 0])
    first_event = 1 + len(COST_KINDS)
    parts.append(
        _moved(
            e,
            k.E_SEQUENCE,
            k.E_ROW,
            k.E_COLUMN,
            first_event + e[:, k.E_KIND],
            e[:, k.E_SHARES],
            e[:, k.E_CASH],
            e[:, k.E_PRICE],
        )
    )
    moves = np.concatenate(parts)
    return moves[np.lexsort((moves[:, 3], moves[:, 0]))], kinds


def _moved(
    source: FloatArray,
    sequence: int,
    row: int,
    column: int,
    kind: int | FloatArray,
    shares: FloatArray,
    cents: FloatArray,
    price: FloatArray,
) -> FloatArray:
    kinds = np.broadcast_to(np.asarray(kind, dtype=np.float64), shares.shape)
    return np.column_stack((source[:, sequence], source[:, row], source[:, column], kinds, shares, cents, price))


def ledger_table(records: Records, times: TimeArray, symbols: tuple[str, ...], start_cents: float) -> pl.DataFrame:
    """Return every movement of cash and shares; ``cash`` summed is the cash at the end, to the cent."""
    moves, kinds = _movements(records)
    table = pl.DataFrame(
        {
            "time": _instants(times, moves[:, 1]),
            "symbol": _names((ACCOUNT, *symbols), moves[:, 2] + 1),
            "kind": _names(tuple(kinds), moves[:, 3]),
            "shares": moves[:, 4],
            "cash": moves[:, 5] / 100,
            "price": moves[:, 6],
            "cents": moves[:, 5].astype(np.int64),
        }
    )
    deposit = pl.DataFrame(
        {
            "time": _instants(times, np.zeros(1)),
            "symbol": [ACCOUNT],
            "kind": ["deposit"],
            "shares": [0.0],
            "cash": [start_cents / 100],
            "price": [np.nan],
            "cents": [int(start_cents)],
        }
    )
    return pl.concat([deposit, table])


def ledger_digest(records: Records, times: TimeArray, symbols: tuple[str, ...], start_cents: float) -> str:
    """Return the SHA-256 of the ledger in canonical form: equal books lived through equal movements."""
    moves, kinds = _movements(records)
    canonical = np.column_stack(
        (
            times[moves[:, 1].astype(np.int64)].astype("datetime64[us]").astype(np.int64),
            moves[:, 2].astype(np.int64),
            moves[:, 3].astype(np.int64),
            np.rint(moves[:, 4] * k.MILLION).astype(np.int64),
            moves[:, 5].astype(np.int64),
        )
    )
    digest = hashlib.sha256("\x1f".join(("ledger/1", str(int(start_cents)), *kinds, "", *symbols)).encode())
    digest.update(np.ascontiguousarray(canonical, dtype="<i8").tobytes())
    return digest.hexdigest()
