"""Row C9, weekly: the strongest sectors for five to twenty days, with a trailing stop, built up in parts.

Sectors are ranked by the mean momentum of their members; only names of the first few are bought, and only names of
the last few sold short. Where all names are of one sector (or their sectors are not known) there is nothing to rotate
between, and their own momentum takes its place: the better half is bought. P/E and growth are guards that the
playbook sets. Dividends are in the forecast already, which is of total returns, and so in the expected move and in
the confidence; counting the yield again would count it twice. What is held goes on for ``horizon_bars`` after the
last signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.pyramid import built_up
from tradewind.decisions.signals import Belief, Signals, passed, register
from tradewind.decisions.two_sided import View, with_exits

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TARGET, STOP = 0.075, 0.05


@register
class Position:
    """BUY in leading sectors where the event is probable, SELL in trailing ones."""

    name: ClassVar[str] = "position"
    needs: ClassVar[tuple[str, ...]] = ()
    strategies: ClassVar[Mapping[str, str]] = {"hybrid": ""}

    def decide(self, belief: Belief) -> Signals:
        """Ask for confidence in the names of the sectors that lead (a short: that trail)."""
        belief = with_exits(belief, TARGET, STOP)
        view = View.of(belief)
        leads, trails = rotation(belief)
        long, short = view.sure
        buy, sell = long & leads, short & trails & ~(long & leads)
        up, down = view.odds.event.words
        clauses = (
            "not among the sectors (or, of one sector, the names) that lead, or {confidence_min:.0%} is not reached",
            f"P({up}" + " over {horizon_bars} bars) is at least {confidence_min:.0%} in a sector that leads",
            f"P({down}" + " over {horizon_bars} bars) is at least {confidence_min:.0%} in a sector that trails",
        )
        signals = view.signals(self.name, buy, sell, np.zeros(buy.shape, np.bool_), clauses)
        return replace(signals, scale=built_up(belief, signals), notes=_notes(belief))

    def thresholds(self, belief: Belief) -> Mapping[str, float]:
        """Return how often each condition of a long held."""
        belief = with_exits(belief, TARGET, STOP)
        view = View.of(belief)
        if not view.decided.any():
            return {"forecasts available": 0.0}
        leads = rotation(belief)[0]
        name = f"sectors_top={belief.settings.sectors_top}"
        return {**passed(belief, view.odds), name: float(np.mean(leads[view.decided]))}


def rotation(belief: Belief) -> tuple[BoolArray, BoolArray]:
    """Return whose sector is among the strongest, and whose is among the weakest, ``(T, N)``.

    Nowhere that a symbol has no bar, is no member or is too young for its momentum to be known.
    """
    settings = belief.settings
    own = momentum(belief, settings.rotation_bars)
    groups, most = _groups(belief.panel.sectors), settings.sectors_top
    if len(groups) == 1:
        strength, most = own, -1
    else:
        strength = np.full(own.shape, np.nan)
        for columns in groups:
            strength[:, columns] = _mean(own[:, columns])[:, None]
    known = np.isfinite(own)
    strength = np.where(known, strength, np.nan)
    return known & _among(strength, most), known & _among(-strength, most)


def momentum(belief: Belief, bars: int) -> FloatArray:
    """Return the log return of the last ``bars`` bars of each member, ``(T, N)``, NaN where not known."""
    close = np.log(np.where(belief.panel.mask, belief.panel.adjusted("close"), np.nan))
    result = np.full(close.shape, np.nan)
    if bars < len(close):
        result[bars:] = close[bars:] - close[:-bars]
    return np.where(belief.tradable, result, np.nan)


def _groups(sectors: Sequence[str]) -> list[NDArray[np.int64]]:
    return [np.flatnonzero([s == name for s in sectors]) for name in sorted(set(sectors))]


def _mean(values: FloatArray) -> FloatArray:
    """Return the mean of each row's known values, NaN where there are none."""
    count = np.isfinite(values).sum(axis=1)
    return np.asarray(np.where(count, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan))


def _among(strength: FloatArray, most: int) -> BoolArray:
    """Return what belongs to the ``most`` largest values of its row, equals being one; to the better half for -1."""
    kept = np.zeros(strength.shape, np.bool_)
    for t, row in enumerate(strength):
        told = row[np.isfinite(row)]
        if told.size:
            edges = np.unique(told)[::-1]
            edge = np.median(told) if most < 0 else edges[min(most, len(edges)) - 1]
            kept[t] = row >= edge
    return kept


def _notes(belief: Belief) -> tuple[str, ...]:
    sectors = set(belief.panel.sectors)
    if len(sectors) == 1:
        return (f"all names are of one sector ({sectors.pop()}): their own momentum stands in for its rotation",)
    return ()
