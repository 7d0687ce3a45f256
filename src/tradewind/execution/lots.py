"""Lots, first in, first out: what each share cost, what each sale earned, to the cent.

A fold over fills, splits, dividends and delistings. A fill that goes with the position opens a lot; one against it
closes the oldest lots, its cash and costs split by shares. Dividends (and payments in lieu of fractions) belong to the
lots that stand when they are paid. Interest, borrowing and what is paid on a symbol that is no longer held belong to
the account. Together they are the change of cash, exactly; with the market value of what is open, of equity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.execution import kernel as k
from tradewind.execution import lots_kernel as lk
from tradewind.execution.brokers.base import Execution, Movement
from tradewind.execution.records import COST_KINDS, Records

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

SHARE = 1e9
"""Parts of a share that are counted: brokers that trade fractions give up to nine decimals."""
SHARES_MAX = 9e9
EVENT_KINDS = (lk.SPLIT, lk.IN_LIEU, lk.INCOME, lk.ACCOUNT, lk.ACCOUNT)
"""What the kernel's events are here, in the kernel's order."""


@dataclass(frozen=True, eq=False)
class Flow:
    """What happened to an account, in order.

    Attributes
    ----------
    rows
        ``(L, 6)`` int64 as laid out in :mod:`tradewind.execution.lots_kernel`; the key of a fill is
        ``symbol * len(sleeves) + sleeve``, of everything else its symbol's first.
    symbols, sleeves
        What the keys stand for; one sleeve with an empty name where nothing is tagged.
    """

    rows: IntArray
    symbols: tuple[str, ...]
    sleeves: tuple[str, ...] = ("",)

    @classmethod
    def of_records(cls, records: Records, times: TimeArray, symbols: Sequence[str], first_row: int = 0) -> Flow:
        """Return the flow of the simulator's log; arguments as for :func:`~tradewind.execution.records.fills_table`."""
        log = records.log[records.log[:, k.L_TYPE] != k.TRADE]
        is_fill = log[:, k.L_TYPE] == k.FILL
        kind = np.full(len(log), lk.FILL, dtype=np.int64)
        kind[~is_fill] = np.array(EVENT_KINDS)[log[~is_fill, k.E_KIND].astype(np.int64)]
        cost = np.where(is_fill, sum(log[:, column] for column in COST_KINDS.values()), 0.0)
        rows = np.column_stack(
            (
                kind,
                log[:, k.L_COLUMN].astype(np.int64),
                _micros(times)[log[:, k.L_ROW].astype(np.int64) - first_row],
                _counted(np.where(is_fill, log[:, k.F_QUANTITY], log[:, k.E_SHARES])),
                np.where(is_fill, log[:, k.F_CASH], log[:, k.E_CASH]).astype(np.int64),
                cost.astype(np.int64),
            )
        )
        return cls(rows, tuple(symbols))

    @classmethod
    def of_ledger(cls, ledger: pl.DataFrame) -> Flow:
        """Return the flow of a ledger (:attr:`~tradewind.execution.simulator.Simulation.ledger`); deposits left out."""
        symbols = tuple(ledger["symbol"].unique().sort().filter(pl.Series(ledger["symbol"].unique().sort()) != ""))
        kind_of = {"fill": lk.FILL, **dict(zip(k.EVENT_KINDS, EVENT_KINDS, strict=True))}
        names = ledger["kind"].to_list()
        of_fill = np.cumsum([name == "fill" for name in names]) - 1
        is_cost = ledger["kind"].is_in(list(COST_KINDS)).to_numpy()
        cents = ledger["cents"].to_numpy()
        costs = np.bincount(
            of_fill[is_cost], -cents[is_cost].astype(np.float64), minlength=int(of_fill.max(initial=-1)) + 1
        )
        code = {symbol: number for number, symbol in enumerate(symbols)}
        kept = np.array([name in kind_of for name in names], dtype=bool)
        kind = np.array([kind_of.get(name, -1) for name in names], dtype=np.int64)
        cost = np.zeros(len(names), dtype=np.int64)
        cost[kind == lk.FILL] = costs.astype(np.int64)
        key = np.array([code.get(symbol, -1) for symbol in ledger["symbol"]], dtype=np.int64)
        moment = _micros(ledger["time"].dt.replace_time_zone(None).to_numpy())
        rows = np.column_stack((kind, key, moment, _counted(ledger["shares"].to_numpy()), cents, cost))
        return cls(np.ascontiguousarray(rows[kept]), symbols)

    @classmethod
    def of_journal(
        cls,
        executions: Iterable[Execution],
        movements: Iterable[Movement] = (),
        sleeves: Mapping[str, str] | None = None,
    ) -> Flow:
        """Return the flow of what a broker booked, by time; a movement comes before fills of the same moment.

        Parameters
        ----------
        movements
            ``split`` scales what is held. Shares that come otherwise (an opening, an adoption) are lots that cost
            nothing. Cash of a symbol is income of its lots; other cash is the account's.
        sleeves
            By client order id.
        """
        sleeves, fills, moved = sleeves or {}, list(executions), list(movements)
        symbols = tuple(sorted({f.symbol for f in fills} | {m.symbol for m in moved if m.symbol}))
        names = tuple(sorted({sleeves.get(fill.client_order_id, "") for fill in fills} | {""}))
        first = {symbol: number * len(names) for number, symbol in enumerate(symbols)}
        rows = [_row_of_movement(movement, first) for movement in moved]
        for fill in fills:
            key = first[fill.symbol] + names.index(sleeves.get(fill.client_order_id, ""))
            cents = round(-fill.quantity * fill.price * 100)
            rows.append((lk.FILL, key, _micro(fill.time), fill.quantity, cents, round(fill.fee * 100)))
        table = np.array(rows, dtype=object).reshape(len(rows), lk.FLOW_FIELDS)
        table[:, lk.F_SHARES] = _counted(table[:, lk.F_SHARES].astype(np.float64))
        order = np.argsort(table[:, lk.F_MOMENT].astype(np.int64), kind="stable")
        return cls(np.ascontiguousarray(table[order].astype(np.int64)), symbols, names)


@dataclass(frozen=True, eq=False)
class Lots:
    """The lots closed in a block of the flow, and those open after it.

    Attributes
    ----------
    closed
        ``(M, 9)`` int64: one row for each part of a lot that was closed.
    open_lots
        ``(O, 6)`` int64, oldest first within a key.
    account_cents
        Interest, borrowing and what else belongs to no lot, of this block.
    """

    closed: IntArray
    open_lots: IntArray
    account_cents: int
    symbols: tuple[str, ...]
    sleeves: tuple[str, ...]

    @property
    def realised_cents(self) -> int:
        """Return what the closed lots earned, net of costs, income included."""
        return int(_earned(self.closed).sum())

    @property
    def cash_cents(self) -> int:
        """Return cash less what the open lots had brought before, so far: the change of cash since the first block."""
        o = self.open_lots
        tied = int(o[:, lk.L_CENTS].sum() - o[:, lk.L_COST].sum() + o[:, lk.L_INCOME].sum())
        return self.realised_cents + tied + self.account_cents

    def value_cents(self, prices: Sequence[float] | FloatArray) -> IntArray:
        """Return ``(O,)`` the market value of each open lot; those of a key add up to its value rounded once.

        ``prices`` are by symbol. ``DataError`` where one of what is held is missing.
        """
        key, shares = self.open_lots[:, lk.L_KEY], self.open_lots[:, lk.L_SHARES]
        price = np.asarray(prices, dtype=np.float64)[key // len(self.sleeves)]
        if np.isnan(price).any():
            missing = sorted({self.symbols[i // len(self.sleeves)] for i in key[np.isnan(price)]})
            raise DataError(f"no price for {missing}, of which there are open lots", hint="hand in the last close")
        until = np.cumsum(shares)
        start = np.flatnonzero(np.diff(key, prepend=-1))
        before = np.repeat(until[start] - shares[start], np.diff(start, append=len(key)))
        rounded = np.rint((until - before) / SHARE * price * 100).astype(np.int64)
        return np.diff(rounded, prepend=0) + np.where(np.diff(key, prepend=-1) != 0, _shifted(rounded), 0)

    def closed_table(self) -> pl.DataFrame:
        """Return one row for each closed part of a lot, money in currency, in order of closing.

        ``realised`` is net: ``exit_value`` less ``entry_value`` (both ways round for a short), less ``costs``, plus
        ``income``.
        """
        c = self.closed
        side = np.where(c[:, lk.C_SHARES] < 0, -1, 1)
        entry, left = _instants(c[:, lk.C_ENTRY]), _instants(c[:, lk.C_EXIT])
        return pl.DataFrame(
            {
                **self._names(c[:, lk.C_KEY]),
                "side": pl.Series(("short", "long")).gather((side + 1) // 2),
                "shares": np.abs(c[:, lk.C_SHARES]) / SHARE,
                "entry_time": entry,
                "exit_time": left,
                "held_days": (left - entry).dt.total_microseconds() / 86_400e6,
                "entry_value": -side * c[:, lk.C_IN] / 100,
                "exit_value": side * c[:, lk.C_OUT] / 100,
                "costs": (c[:, lk.C_IN_COST] + c[:, lk.C_OUT_COST]) / 100,
                "income": c[:, lk.C_INCOME] / 100,
                "realised": _earned(c) / 100,
            }
        )

    def open_table(self, prices: Sequence[float] | FloatArray) -> pl.DataFrame:
        """Return one row an open lot, valued; ``unrealised`` is what closing it at no cost would realise."""
        o, value = self.open_lots, self.value_cents(prices)
        return pl.DataFrame(
            {
                **self._names(o[:, lk.L_KEY]),
                "shares": o[:, lk.L_SHARES] / SHARE,
                "entry_time": _instants(o[:, lk.L_MOMENT]),
                "entry_value": -o[:, lk.L_CENTS] / 100,
                "value": value / 100,
                "costs": o[:, lk.L_COST] / 100,
                "income": o[:, lk.L_INCOME] / 100,
                "unrealised": (value + o[:, lk.L_CENTS] - o[:, lk.L_COST] + o[:, lk.L_INCOME]) / 100,
            }
        )

    def unrealised_cents(self, prices: Sequence[float] | FloatArray) -> int:
        """Return what closing all open lots at these prices, at no cost, would realise."""
        o = self.open_lots
        tied = o[:, lk.L_CENTS].sum() - o[:, lk.L_COST].sum() + o[:, lk.L_INCOME].sum()
        return int(self.value_cents(prices).sum() + tied)

    def _names(self, key: IntArray) -> dict[str, pl.Series]:
        return {
            "symbol": pl.Series(self.symbols, dtype=pl.String).gather(key // len(self.sleeves)),
            "sleeve": pl.Series(self.sleeves, dtype=pl.String).gather(key % len(self.sleeves)),
        }


def fifo(flow: Flow, before: Lots | None = None) -> Lots:
    """Fold a flow into lots; history is one long block, the newest bar a short one.

    Parameters
    ----------
    before
        The lots after the block before this one, of the same symbols and sleeves; None for a new account.
    """
    if before is not None and (before.symbols, before.sleeves) != (flow.symbols, flow.sleeves):
        raise InputError(
            "lots go on with the symbols and sleeves they began with", hint="use the names of the whole life"
        )
    old = np.empty((0, lk.LOT_FIELDS - 1), dtype=np.int64) if before is None else before.open_lots
    keys, fills = len(flow.symbols) * len(flow.sleeves), int((flow.rows[:, lk.F_KIND] == lk.FILL).sum())
    lots = np.empty((len(old) + fills, lk.LOT_FIELDS), dtype=np.int64)
    heads, tails = _chained(lots, old, keys)
    closed = np.empty((len(old) + 2 * fills, lk.CLOSED_FIELDS), dtype=np.int64)
    rows = np.require(flow.rows, np.int64, ["C", "W"])
    opened, done, account = lk.replay(rows, len(flow.sleeves), len(old), lots, heads, tails, closed)
    return Lots(closed[:done].copy(), _still_open(lots[:opened], heads), int(account), flow.symbols, flow.sleeves)


def _chained(lots: IntArray, old: IntArray, keys: int) -> tuple[IntArray, IntArray]:
    """Put lots from before into the table and link those of each key; they come grouped by key, oldest first."""
    heads, tails = np.full(keys, -1, dtype=np.int64), np.full(keys, -1, dtype=np.int64)
    count = len(old)
    lots[:count, :-1] = old
    if count:
        key = old[:, lk.L_KEY]
        last = np.append(key[1:] != key[:-1], True)
        lots[:count, lk.L_NEXT] = np.where(last, -1, np.arange(1, count + 1))
        heads[key[::-1]] = np.arange(count)[::-1]
        tails[key] = np.arange(count)
    return heads, tails


def _still_open(lots: IntArray, heads: IntArray) -> IntArray:
    """Return the lots not used up, grouped by key, oldest first (lots are numbered in order of opening)."""
    first = heads[lots[:, lk.L_KEY]]
    left = lots[(first >= 0) & (np.arange(len(lots)) >= first)]
    return np.ascontiguousarray(left[np.argsort(left[:, lk.L_KEY], kind="stable"), :-1])


def _earned(closed: IntArray) -> IntArray:
    costs = closed[:, lk.C_IN_COST] + closed[:, lk.C_OUT_COST]
    return closed[:, lk.C_IN] + closed[:, lk.C_OUT] - costs + closed[:, lk.C_INCOME]


def _shifted(values: IntArray) -> IntArray:
    return np.concatenate([[0], values[:-1]]).astype(np.int64)


def _counted(shares: FloatArray) -> IntArray:
    if not (np.abs(shares) < SHARES_MAX).all():
        raise DataError(
            f"{np.abs(shares).max()} shares in one movement cannot be counted", hint=f"at most {SHARES_MAX:g}"
        )
    return np.rint(shares * SHARE).astype(np.int64)


def _micros(times: TimeArray) -> IntArray:
    return times.astype("datetime64[us]").astype(np.int64)


def _micro(time: datetime) -> int:
    return round(time.timestamp() * 1e6)


def _instants(micros: IntArray) -> pl.Series:
    return pl.Series(micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _row_of_movement(movement: Movement, first: Mapping[str, int]) -> tuple[int, int, int, float, int, int]:
    cents, moment = round(movement.cash * 100), _micro(movement.time)
    if not movement.symbol:
        return lk.ACCOUNT, -1, moment, 0.0, cents, 0
    kinds = {"split": lk.SPLIT, "cash_in_lieu": lk.IN_LIEU}
    kind = kinds.get(movement.kind, lk.FILL if movement.quantity else lk.INCOME)
    return kind, first[movement.symbol], moment, movement.quantity, cents, 0
