"""Rules that need no recomputation: splits, fills, membership and vintages, each checked on what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.audit.findings import Finding, iso
from tradewind.errors import DataError
from tradewind.market.panel import Panel

Rows = NDArray[np.int64]
FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

_PRICE_SLACK = 1e-9


def audit_splits(
    folds: Iterable[tuple[Rows, Rows]], end: Rows, times: TimeArray, *, embargo_bars: int = 0
) -> list[Finding]:
    """Find training rows that share bars with the test rows.

    Parameters
    ----------
    folds
        Pairs of training and test rows.
    end
        ``(T,)`` row at which the label of each row is known (the longest over symbols and horizons).
    times
        ``(T,)`` bar closes.
    embargo_bars
        Bars that must lie free between them as well.

    Notes
    -----
    A training label is clean when it is known before the first test row of a stretch less the embargo, or opens
    after the last label of the stretch is known (López de Prado 2018, ch. 7).
    """
    found = []
    for number, (train, test) in enumerate(folds):
        name = f"fold {number}"
        twice = np.intersect1d(train, test)
        if twice.size:
            text = f"{twice.size} rows are in both training and test"
            found.append(Finding("splits", name, iso(times[twice[0]]), "overlap", float(twice.size), text))
        for first, last in _stretches(test):
            until = int(end[first : last + 1].max())
            before = np.setdiff1d(train[train < first], twice)
            after = np.setdiff1d(train[train > last], twice)
            guilty = np.r_[before[end[before] >= first - embargo_bars], after[after <= until + embargo_bars]]
            if guilty.size:
                worst = int(np.max(np.minimum(end[guilty], until) - np.maximum(guilty, first) + 1))
                text = f"{guilty.size} training labels share bars with the test from {iso(times[first])}"
                found.append(Finding("splits", name, iso(times[guilty[0]]), "overlap", float(worst), text))
    return found


def _stretches(rows: Rows) -> list[tuple[int, int]]:
    if len(rows) == 0:
        return []
    ordered = np.sort(rows)
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


@dataclass(frozen=True, eq=False)
class FillRecord:
    """Fills as recorded: for each, the row of its decision and its fill, its column and the market's price."""

    decided: Rows
    filled: Rows
    column: Rows
    price: FloatArray

    def __post_init__(self) -> None:
        """Refuse arrays of different lengths."""
        if len({len(self.decided), len(self.filled), len(self.column), len(self.price)}) != 1:
            raise DataError("decided, filled, column and price differ in length")


def audit_fills(fills: FillRecord, panel: Panel, *, slack: float = _PRICE_SLACK) -> list[Finding]:
    """Find fills at or before their decision's bar, outside their bar's range, or where there was no bar.

    Parameters
    ----------
    fills
        What was filled. ``price`` is the market's, before costs, raw.
    panel
        The bars they were filled in.
    slack
        Relative slack of the range (rounding).
    """
    inside = (fills.filled >= 0) & (fills.filled < len(panel)) & (fills.decided >= 0)
    rows, columns = np.clip(fills.filled, 0, len(panel) - 1), fills.column
    late = fills.filled > fills.decided
    open_ = panel.mask[rows, columns]
    with np.errstate(invalid="ignore"):
        above = fills.price > panel.high[rows, columns] * (1.0 + slack)
        below = fills.price < panel.low[rows, columns] * (1.0 - slack)
    found = _fill_findings(~inside, fills, panel, "order", "filled outside the history")
    found += _fill_findings(inside & ~late, fills, panel, "order", "filled no later than the bar of its decision")
    found += _fill_findings(inside & ~open_, fills, panel, "price", "filled where there was no bar")
    return found + _fill_findings(inside & open_ & (above | below), fills, panel, "price", "outside the bar's range")


def _fill_findings(guilty: NDArray[np.bool_], fills: FillRecord, panel: Panel, how: str, what: str) -> list[Finding]:
    found = []
    for column in np.unique(fills.column[guilty]):
        mine = np.flatnonzero(guilty & (fills.column == column))
        first = mine[np.argmin(fills.filled[mine])]
        bars = float(np.max(fills.decided[mine] - fills.filled[mine] + 1)) if how == "order" else float(len(mine))
        row = int(np.clip(fills.filled[first], 0, len(panel) - 1))
        text = f"{len(mine)} fills {what}"
        found.append(Finding("fills", panel.symbols[int(column)], iso(panel.times[row]), how, bars, text))
    return found


@dataclass(frozen=True, slots=True)
class Membership:
    """One stay of a symbol in an index: ``[start, end)``; ``end`` None while it lasts."""

    symbol: str
    start: np.datetime64
    end: np.datetime64 | None = None


def audit_universe(panel: Panel, stays: Sequence[Membership]) -> list[Finding]:
    """Find members before they joined or after they left, and leavers that the universe never had.

    A universe without those that left is a survivor universe: its past is chosen by its future.
    """
    known = {stay.symbol for stay in stays}
    allowed = np.zeros(panel.shape, dtype=np.bool_)
    for stay in stays:
        if stay.symbol in panel.symbols:
            rows = _between(panel.times, stay.start, stay.end)
            allowed[rows, panel.symbols.index(stay.symbol)] = True
    found = [_wrong_member(panel, j, allowed[:, j]) for j, s in enumerate(panel.symbols) if s in known]
    return [f for f in found if f is not None] + _missing_leavers(panel, stays)


def _between(times: TimeArray, start: np.datetime64, end: np.datetime64 | None) -> NDArray[np.bool_]:
    return np.asarray((times >= start) & ((times < end) if end is not None else True))


def _wrong_member(panel: Panel, column: int, allowed: NDArray[np.bool_]) -> Finding | None:
    wrong = panel.member[:, column] & ~allowed
    if not wrong.any():
        return None
    first = int(np.argmax(wrong))
    text = f"in the universe on {int(wrong.sum())} bars on which it was not a member"
    return Finding("universe", panel.symbols[column], iso(panel.times[first]), "membership", float(wrong.sum()), text)


def _missing_leavers(panel: Panel, stays: Sequence[Membership]) -> list[Finding]:
    first, last = panel.times[0], panel.times[-1]
    left = {s.symbol: s for s in stays if s.end is not None and first < s.end <= last}
    here = {s.symbol for s in stays if s.end is None or s.end > last}
    present = {symbol for j, symbol in enumerate(panel.symbols) if panel.member[:, j].any()}
    absent = sorted((left.keys() - here) - present)
    if not absent:
        return []
    share = f"{len(absent)} of {len(left.keys() - here)} that left meanwhile"
    text = f"survivorship: {share} are missing, such as {', '.join(absent[:5])}"
    earliest = max(first, min(left[symbol].start for symbol in absent))
    return [Finding("universe", absent[0], iso(earliest), "survivorship", float(len(absent)), text)]


def audit_vintages(
    subject: str, column: str, used_at: TimeArray, known_at: TimeArray, *, lag: np.timedelta64 | None = None
) -> list[Finding]:
    """Find values that were used before they were known: revised or not yet published figures.

    Parameters
    ----------
    subject, column
        What the values are called.
    used_at
        ``(n,)`` time at which each value was used.
    known_at
        ``(n,)`` time at which this very value (this revision) became known; NaT is never.
    lag
        Time that must pass between.
    """
    earliest = known_at if lag is None else known_at + lag
    early = np.isnat(known_at) | (used_at < earliest)
    if not early.any():
        return []
    first = np.flatnonzero(early)[np.argmin(used_at[early])]
    ahead = (earliest - used_at)[early & ~np.isnat(known_at)]
    days = float(ahead.max() / np.timedelta64(1, "D")) if ahead.size else np.inf
    text = f"{int(early.sum())} of {early.size} values were used before they were known, by up to {days:.3g} days"
    return [Finding(subject, column, iso(used_at[first]), "vintage", days, text)]
