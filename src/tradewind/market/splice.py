"""Bars of several sizes on one axis, the finest there are at each time: a short intraday history ends a long one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tradewind.market.panel import FIELDS, FloatArray, Panel


def spliced(panels: Sequence[Panel]) -> Panel:
    """Return the finest panel with the earlier bars of the longer ones before it.

    A row is a bar of whatever size it had: its open is the first price after the row before it, its volume what was
    traded since. A larger bar is taken only where it closed before the finer ones begin, so that no trading is told
    twice; what was traded between the last of them and the first finer bar is told by neither.

    Parameters
    ----------
    panels
        The finest first; the others as long or longer. All of one market.

    Returns
    -------
    Panel of the finest bar size. Symbols are those of all, the finest panel's first; a symbol that a part lacks has no
    bar there. Context series are those of all parts, NaN where one lacks it.
    """
    whole = panels[0]
    for coarse in panels[1:]:
        stop = int(np.searchsorted(coarse.times, whole.times[0], side="left"))
        if stop:
            whole = _behind(coarse.head(stop), whole)
    return whole


def _behind(early: Panel, late: Panel) -> Panel:
    """Return two panels that do not overlap as one, on the later one's terms."""
    symbols = (*late.symbols, *(s for s in early.symbols if s not in late.symbols))
    first, last = _widened(early, symbols), _widened(late, symbols)
    names = dict.fromkeys((*late.context, *early.context))
    context = {name: np.concatenate([_series(part, name) for part in (early, late)]) for name in names}
    sectors = _by_symbol(early, early.sectors) | _by_symbol(late, late.sectors)
    instruments = _by_symbol(early, early.instruments) | _by_symbol(late, late.instruments)
    return replace(
        late,
        times=np.concatenate([early.times, late.times]),
        symbols=symbols,
        instruments=tuple(instruments[s] for s in symbols),
        sectors=tuple(sectors[s] for s in symbols),
        fields={name: np.concatenate([first.fields[name], last.fields[name]]) for name in FIELDS},
        mask=np.concatenate([first.mask, last.mask]),
        member=np.concatenate([first.member, last.member]),
        context=context,
    )


def _by_symbol(panel: Panel, values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(panel.symbols, values, strict=True))


def _series(panel: Panel, name: str) -> FloatArray:
    return panel.context.get(name, np.full(len(panel), np.nan))


def _widened(panel: Panel, symbols: tuple[str, ...]) -> Panel:
    """Return the panel with these symbols in this order; those that it lacks have no bar."""
    if panel.symbols == symbols:
        return panel
    place = {symbol: i for i, symbol in enumerate(panel.symbols)}
    columns = np.array([place.get(symbol, -1) for symbol in symbols], dtype=np.int64)
    there = columns >= 0
    empty = {"split": 1.0, "dividend": 0.0}

    def laid(values: FloatArray, otherwise: float) -> FloatArray:
        return np.where(there, values[:, columns], otherwise)

    return replace(
        panel,
        symbols=symbols,
        instruments=symbols,
        sectors=("unknown",) * len(symbols),
        fields={name: laid(panel.fields[name], empty.get(name, np.nan)) for name in FIELDS},
        mask=panel.mask[:, columns] & there,
        member=panel.member[:, columns] & there,
    )
