"""Stable ids of instruments: symbols change (FB became META) and are used again; ids never do.

An id is the first symbol an instrument was seen under and a running number: ``FB#1``. A *name* says from when
an instrument trades under a symbol. A *merge* says that an id turned out to be another instrument's (its bars
were stored before the rename was learnt); the rows stay, reads join them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import polars as pl

from tradewind.market.bars import UTC_TIME, Schema

#: The start of a name that was there before anything is known.
ALWAYS: Final = datetime(1900, 1, 1, tzinfo=UTC)

#: One row is one statement about an instrument: ``name`` (from ``time`` on it trades as ``symbol``) or
#: ``merge`` (it is the instrument ``into``).
INSTRUMENT_SCHEMA: Final[Schema] = {
    "instrument": pl.String,
    "symbol": pl.String,
    "time": UTC_TIME,
    "kind": pl.String,  # name | merge
    "into": pl.String,
    "known_at": UTC_TIME,
    "recorded_at": UTC_TIME,
    "source": pl.String,
}


@dataclass(frozen=True, slots=True)
class Name:
    """From ``start`` on (until another instrument's name takes over), ``instrument`` trades as ``symbol``."""

    instrument: str
    symbol: str
    start: datetime


@dataclass
class Instruments:
    """The names and merges known to a lake, and what is learnt on top of them.

    ``learn`` and ``rename`` change this object and note what is new as ``pending``, which the lake stores.
    """

    names: list[Name] = field(default_factory=list)
    merges: dict[str, str] = field(default_factory=dict)
    pending: list[dict[str, object]] = field(default_factory=list)
    _index: dict[str, list[Name]] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Instruments:
        """Build from the rows of the lake's ``instruments`` table."""
        known = cls()
        for row in frame.sort("time", "instrument", "symbol").iter_rows(named=True):
            if row["kind"] == "merge":
                known.merges[row["instrument"]] = row["into"]
            else:
                known.names.append(Name(row["instrument"], row["symbol"], row["time"]))
        return known

    def canonical(self, instrument: str) -> str:
        """Return the id that stands for ``instrument`` after all merges."""
        while instrument in self.merges:
            instrument = self.merges[instrument]
        return instrument

    def aliases(self, instrument: str) -> tuple[str, ...]:
        """Return every id whose rows belong to ``instrument``, itself first."""
        return (instrument, *sorted(m for m in self.merges if self.canonical(m) == instrument))

    def id_of(self, symbol: str, at: datetime) -> str | None:
        """Return the instrument that ``symbol`` meant at a moment.

        The latest name that began by then; where none had, the earliest that did later (providers deliver
        history under today's symbol). None for a symbol never seen.
        """
        named = self._by_symbol().get(symbol)
        if not named:
            return None
        begun = [n for n in named if n.start <= at]
        return self.canonical((begun[-1] if begun else named[0]).instrument)

    def symbol_of(self, instrument: str, at: datetime) -> str | None:
        """Return the symbol an instrument traded under at a moment; None for an unknown id."""
        mine = sorted(
            (n for n in self.names if self.canonical(n.instrument) == self.canonical(instrument)),
            key=lambda n: n.start,
        )
        begun = [n for n in mine if n.start <= at]
        return (begun[-1] if begun else mine[0]).symbol if mine else None

    def learn(self, symbols: Iterable[str], *, source: str) -> None:
        """Give an id to every symbol never seen."""
        seen = self._by_symbol()
        for symbol in sorted(set(symbols) - seen.keys()):
            self._name(Name(self._new_id(symbol), symbol, ALWAYS), source)

    def list_again(self, symbol: str, start: datetime, *, source: str) -> str:
        """Return the id of a new instrument that takes over a used symbol from ``start`` on."""
        fresh = self._new_id(symbol)
        self._name(Name(fresh, symbol, start), source)
        return fresh

    def rename(self, old: str, new: str, at: datetime, *, source: str) -> str:
        """Note that ``old`` trades as ``new`` from ``at`` on; return the id of the instrument.

        Where both had ids of their own, ``new``'s becomes an alias of ``old``'s.
        """
        before, after = self.id_of(old, at), self.id_of(new, at)
        if before is None and after is None:
            self.learn([old], source=source)
            before = self.id_of(old, at)
        if before is None:
            assert after is not None
            self._name(Name(after, old, ALWAYS), source)
            return self._named_from(after, new, at, source)
        if after is not None and after != before:
            self._merge(after, before, at, source)
        return self._named_from(before, new, at, source)

    def assign(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return ``frame`` (columns ``symbol`` and ``time``) with the column ``instrument``.

        Every symbol must have been learnt.
        """
        by_symbol = self._by_symbol()
        wanted = frame["symbol"].unique().to_list()
        simple = {s: self._sole(by_symbol[s]) for s in wanted}
        mapped = frame.with_columns(pl.col("symbol").replace_strict(simple, return_dtype=pl.String).alias("instrument"))
        for symbol in sorted(s for s in wanted if simple[s] is None):
            mapped = mapped.with_columns(self._dated(symbol, by_symbol[symbol]))
        return mapped

    def rows(self, *, recorded_at: datetime) -> pl.DataFrame:
        """Return what is pending as rows of the ``instruments`` table."""
        stamp = {"known_at": recorded_at, "recorded_at": recorded_at}
        return pl.DataFrame([{**row, **stamp} for row in self.pending], schema=INSTRUMENT_SCHEMA)

    def _by_symbol(self) -> dict[str, list[Name]]:
        if self._index is None:
            self._index = defaultdict(list)
            for name in sorted(self.names, key=lambda n: (n.start, n.instrument)):
                self._index[name.symbol].append(name)
        return self._index

    def _sole(self, names: list[Name]) -> str | None:
        ids = {self.canonical(n.instrument) for n in names}
        return ids.pop() if len(ids) == 1 else None

    def _dated(self, symbol: str, names: list[Name]) -> pl.Expr:
        choice = pl.lit(self.canonical(names[0].instrument))
        for name in names[1:]:
            began = pl.col("time") >= pl.lit(name.start, dtype=UTC_TIME)
            choice = pl.when(began).then(pl.lit(self.canonical(name.instrument))).otherwise(choice)
        return pl.when(pl.col("symbol") == symbol).then(choice).otherwise("instrument").alias("instrument")

    def _new_id(self, symbol: str) -> str:
        mine = {n.instrument for n in self._by_symbol().get(symbol, ())}
        return f"{symbol}#{1 + sum(i.startswith(f'{symbol}#') for i in mine)}"

    def _named_from(self, instrument: str, symbol: str, at: datetime, source: str) -> str:
        wanted = Name(instrument, symbol, at)
        if wanted not in self.names:
            self._name(wanted, source)
        return instrument

    def _name(self, name: Name, source: str) -> None:
        self.names.append(name)
        self._index = None
        self.pending.append(_statement(name, "name", "", source))

    def _merge(self, loser: str, winner: str, at: datetime, source: str) -> None:
        self.merges[loser] = winner
        self.pending.append(_statement(Name(loser, "", at), "merge", winner, source))


def _statement(name: Name, kind: str, into: str, source: str) -> dict[str, object]:
    return {
        "instrument": name.instrument,
        "symbol": name.symbol,
        "time": name.start,
        "kind": kind,
        "into": into,
        "source": source,
    }
