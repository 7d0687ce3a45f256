"""The dense form of market data: time-major arrays `(time, symbol)` on one calendar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]

FIELDS = ("open", "high", "low", "close", "volume", "split", "dividend")


@dataclass(frozen=True, eq=False)
class Panel:
    """Raw bars of many instruments, aligned on the bar closes of one calendar.

    Row ``t`` holds what was known at ``times[t]``, the close of bar ``t``. A new bar is a new row.

    Attributes
    ----------
    times
        Bar closes, UTC, ``datetime64[us]``, strictly increasing, shape ``(T,)``.
    symbols
        Display symbols, one a column; ``instruments`` are their stable ids.
    fields
        ``open high low close`` in currency, raw (as traded), ``volume`` in shares, ``split`` (shares after one
        share before, effective before the open of the bar; 1 where none) and ``dividend`` (cash per share held
        after that split, ex before the open of the bar; 0 where none). Each ``(T, N)`` float64; prices and
        volume are NaN where ``mask`` is False.
    mask
        True where the instrument has a bar that is fit for use. ``(T, N)``.
    member
        True where the instrument belonged to the universe as of the bar. ``(T, N)``.
    context
        Market-wide series known at the close of each bar, ``(T,)`` float64 with NaN for missing: ``vix``,
        ``index`` (close of the benchmark index) and whatever else the source has.
    sectors
        GICS sector of each column, ``"unknown"`` where no source says.
    timeframe
        Bar size: ``1m 5m 15m 30m 1h 1d 1w``.
    version
        Content hash of what was read; two panels with one version hold the same numbers.
    flags
        Provenance to repeat beside every result (assumed vintages, survivorship, reconstruction ...): a code, or
        ``code: what is so, and of how much``.
    """

    times: TimeArray
    symbols: tuple[str, ...]
    instruments: tuple[str, ...]
    fields: Mapping[str, FloatArray]
    mask: BoolArray
    member: BoolArray
    context: Mapping[str, FloatArray] = field(default_factory=dict)
    sectors: tuple[str, ...] = ()
    timeframe: str = "1d"
    version: str = ""
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        shape = (len(self.times), len(self.symbols))
        for name in FIELDS:
            if name not in self.fields:
                raise DataError(f"panel lacks the field {name!r}; it has {sorted(self.fields)}")
        for name, array in {**self.fields, "mask": self.mask, "member": self.member}.items():
            if array.shape != shape:
                raise DataError(f"panel field {name!r} has shape {array.shape}, expected {shape}")
        for name, series in self.context.items():
            if series.shape != shape[:1]:
                raise DataError(f"context {name!r} has shape {series.shape}, expected {shape[:1]}")
        if len(self.times) > 1 and not bool(np.all(np.diff(self.times) > np.timedelta64(0, "us"))):
            raise DataError("panel times are not strictly increasing")
        if not self.sectors:
            object.__setattr__(self, "sectors", ("unknown",) * len(self.symbols))

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.times)

    @property
    def shape(self) -> tuple[int, int]:
        """Return ``(T, N)``."""
        return len(self.times), len(self.symbols)

    def __getattr__(self, name: str) -> Any:
        """Let ``panel.close`` mean ``panel.fields["close"]``."""
        if name in FIELDS:
            return self.fields[name]
        raise AttributeError(name)

    @cached_property
    def factor(self) -> FloatArray:
        """Forward adjustment factor ``(T, N)``: 1 at the first bar, never rewritten by later events.

        ``close * factor`` is the total-return series: a dividend is reinvested at the previous close
        less the dividend, which is known before the open of the ex-date (CRSP's convention).
        """
        from tradewind.market.actions import forward_factor

        return forward_factor(self.close, self.split, self.dividend, self.mask)

    def adjusted(self, name: str) -> FloatArray:
        """Return ``open high low close`` times the factor, or ``volume`` divided by splits alone."""
        if name == "volume":
            return np.asarray(self.volume / np.cumprod(self.split, axis=0))
        return np.asarray(self.fields[name] * self.factor)

    def rows(self, start: int, stop: int) -> Panel:
        """Return the bars ``start:stop`` (views). The factor restarts at 1; use :meth:`head` for prefixes."""
        part = slice(start, stop)
        return replace(
            self,
            times=self.times[part],
            fields={k: v[part] for k, v in self.fields.items()},
            mask=self.mask[part],
            member=self.member[part],
            context={k: v[part] for k, v in self.context.items()},
        )

    def window(self, start: int) -> Panel:
        """Return the bars from ``start`` on (views), with the factor that they have in the whole."""
        part = self.rows(start, len(self))
        part.__dict__["factor"] = self.factor[start:]
        return part

    def head(self, stop: int) -> Panel:
        """Return what was known up to and including bar ``stop - 1``."""
        return self.rows(0, stop)

    def as_of(self, time: np.datetime64) -> Panel:
        """Return the bars that had closed at ``time``."""
        return self.head(int(np.searchsorted(self.times, time, side="right")))

    def select(self, symbols: Iterable[str]) -> Panel:
        """Return only these symbols, in this order."""
        wanted = list(symbols)
        missing = [s for s in wanted if s not in self.symbols]
        if missing:
            raise InputError(
                f"no such symbols in this panel: {', '.join(missing)}",
                hint=f"it has {', '.join(self.symbols[:20])}{' …' if len(self.symbols) > 20 else ''}",
            )
        return self._columns([self.symbols.index(s) for s in wanted])

    def _columns(self, index: Sequence[int]) -> Panel:
        columns = np.asarray(index, dtype=np.int64)
        return replace(
            self,
            symbols=tuple(self.symbols[i] for i in index),
            instruments=tuple(self.instruments[i] for i in index),
            fields={k: np.ascontiguousarray(v[:, columns]) for k, v in self.fields.items()},
            mask=np.ascontiguousarray(self.mask[:, columns]),
            member=np.ascontiguousarray(self.member[:, columns]),
            sectors=tuple(self.sectors[i] for i in index),
        )
