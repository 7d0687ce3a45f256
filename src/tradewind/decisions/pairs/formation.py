"""Which pairs are believed at a close: every pair tested, false discoveries controlled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.pairs.screen import JOHANSEN_TRACE_5, Screen, all_pairs, screen, still_cointegrated
from tradewind.decisions.pairs.settings import PairsSection
from tradewind.decisions.pairs.unit_root import adjusted
from tradewind.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CONFIRMS = 0.05
"""Level of the tests that confirm a pair; they only take pairs away, so that they are not paid for."""

SURVIVES = 0.05
"""Level of the test out of sample: the share that would survive it by chance alone."""


@dataclass(frozen=True, eq=False)
class Formation:
    """What is known of all pairs at the close of one bar.

    Attributes
    ----------
    row
        The bar; the formation window ends with it.
    screen
        The tests of all pairs over the window.
    q
        ``(P,)`` p-values adjusted for the number of tests.
    found
        Numbers of the pairs taken to be cointegrated, the surest first.
    traded
        Those of them that are traded.
    not_traded
        Why each of the others is not.
    left_out
        Columns without a test, each with its reason.
    """

    row: int
    screen: Screen
    q: FloatArray
    found: IntArray
    traded: IntArray
    not_traded: Mapping[int, str]
    left_out: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Survival:
    """How many pairs are cointegrated in the bars after their formation as well, at 5 %, their hedge ratio frozen.

    ``retested`` and ``survived`` are of the pairs found; ``others`` and ``others_survived`` of all that were tested and
    not found. Chance lets 5 % survive; what the others do is what this market lets survive without any selection.
    """

    retested: int
    survived: int
    others: int
    others_survived: int


def form(log_price: FloatArray, row: int, settings: PairsSection, member: BoolArray | None = None) -> Formation:
    """Test all pairs of the names that have every bar of the window ending with ``row``.

    Parameters
    ----------
    log_price
        ``(T, N)`` log of total-return prices, NaN where a name has no bar. Rows after ``row`` are not read.
    member
        ``(N,)`` names that may be traded at the close of ``row``; all where None.

    Raises
    ------
    DataError
        Fewer rows than a window has.
    """
    if row + 1 < settings.formation_bars:
        raise DataError(
            f"{row + 1} bars are fewer than the {settings.formation_bars} that pairs are found on",
            hint="sync more history, or lower pairs.formation_bars",
        )
    window = log_price[row + 1 - settings.formation_bars : row + 1]
    left_out = _left_out(window, member)
    columns = np.array([n for n in range(window.shape[1]) if n not in left_out], dtype=np.int64)
    tested = screen(window, all_pairs(columns), settings.adf_lags)
    q = adjusted(tested.p, settings.correction)
    found = _found(tested, q, settings)
    not_traded = _not_traded(tested, found, settings)
    traded = np.array([k for k in found if k not in not_traded], dtype=np.int64)
    return Formation(row, tested, q, found, traded, not_traded, left_out)


def survival(formation: Formation, log_price: FloatArray, settings: PairsSection) -> Survival | None:
    """Return what became of the pairs in the trading window after their formation; None while it is not over."""
    first = formation.row + 1
    later = log_price[first : first + settings.trading_bars]
    if len(later) < settings.trading_bars:
        return None
    p = still_cointegrated(later, formation.screen, settings.adf_lags)
    known, found = np.isfinite(p), np.zeros(len(p), dtype=np.bool_)
    found[formation.found] = True
    counts = ((known & part, known & part & (p < SURVIVES)) for part in (found, ~found))
    return Survival(*(int(flags.sum()) for pair in counts for flags in pair))


def _left_out(window: FloatArray, member: BoolArray | None) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for n in range(window.shape[1]):
        gaps = int((~np.isfinite(window[:, n])).sum())
        if member is not None and not member[n]:
            reasons[n] = "not in the universe at the end of the window"
        elif gaps:
            reasons[n] = f"has no price on {gaps} of the window's {len(window)} bars"
        elif np.ptp(window[:, n]) == 0:
            reasons[n] = "its price never moved in the window"
    return reasons


def _found(tested: Screen, q: FloatArray, settings: PairsSection) -> IntArray:
    """Return the rejected pairs by rising q, then p, then statistic."""
    rejects = q <= settings.false_discovery_rate
    if settings.reverse:
        rejects &= tested.p_reverse <= CONFIRMS
    if settings.johansen:
        rejects &= tested.johansen > JOHANSEN_TRACE_5
    order = np.lexsort((tested.t, tested.p, q))
    return order[rejects[order]].astype(np.int64)


def _not_traded(tested: Screen, found: IntArray, settings: PairsSection) -> dict[int, str]:
    reasons: dict[int, str] = {}
    free = settings.pairs_max
    for k in found.tolist():
        life, ratio = float(tested.half_life[k]), float(tested.hedge_ratio[k])
        if ratio <= 0:
            reasons[k] = f"its hedge ratio is {ratio:.2f}: both legs on one side hedge nothing"
        elif not settings.half_life_min_bars <= life <= settings.half_life_max_bars:
            least, most = settings.half_life_min_bars, settings.half_life_max_bars
            reasons[k] = f"its half-life of {life:.1f} bars is not within {least:g} to {most:g}"
        elif not free:
            reasons[k] = f"surer pairs fill pairs_max = {settings.pairs_max}"
        else:
            free -= 1
    return reasons
