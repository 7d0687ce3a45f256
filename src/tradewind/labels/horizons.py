"""Horizons in trading time, turned into bars: a session has 390 minutes, a week five sessions."""

from __future__ import annotations

import math
import re

from tradewind.errors import InputError
from tradewind.labels.settings import LabelsSection
from tradewind.market.bars import TIMEFRAMES

_MINUTES = {"m": 1, "h": 60, "d": TIMEFRAMES["1d"], "w": TIMEFRAMES["1w"]}
_FORM = re.compile(r"(\d+)([mhdw])")


def minutes_of(horizon: str) -> int:
    """Return the trading minutes of ``30m``, ``4h``, ``3d`` or ``1w``; raises ``InputError`` for anything else."""
    match = _FORM.fullmatch(horizon.strip())
    if match is None:
        raise InputError(
            f"{horizon!r} is not a horizon", hint="write 30m, 4h, 3d or 1w: trading time, not hours on a wall"
        )
    return int(match[1]) * _MINUTES[match[2]]


def resolve(section: LabelsSection, timeframe: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the horizons in bars, rising, and notes on those that were dropped as shorter than a bar.

    Where the playbook gives ``horizons`` in trading time they replace ``horizons_bars``. A horizon that is no whole
    number of bars is rounded to the nearest one, and a note says so.
    """
    if not section.horizons:
        return section.horizons_bars, ()
    bar = TIMEFRAMES[timeframe]
    short = [h for h in section.horizons if minutes_of(h) < bar]
    exact = {h: bars_of(minutes_of(h), bar) for h in section.horizons if h not in short}
    if not exact:
        raise InputError(
            f"every horizon of {list(section.horizons)} is shorter than a {timeframe} bar",
            hint="add a longer one to labels.horizons, or choose smaller bars with data.timeframe",
        )
    notes = [f"the horizon {h} is shorter than a {timeframe} bar and was dropped" for h in short]
    notes += [
        f"the horizon {h} is {bars:.4g} bars of {timeframe} and was rounded to {nearest(bars)}"
        for h, bars in exact.items()
        if bars != nearest(bars)
    ]
    return tuple(sorted({nearest(bars) for bars in exact.values()})), tuple(notes)


def bars_of(minutes: int, bar: int) -> float:
    """Return the bars that so many trading minutes fill; the last bar of a session ends with it, however short."""
    if bar >= TIMEFRAMES["1d"]:
        return minutes / bar
    sessions, rest = divmod(minutes, TIMEFRAMES["1d"])
    return sessions * math.ceil(TIMEFRAMES["1d"] / bar) + rest / bar


def nearest(bars: float) -> int:
    """Return the nearest whole number of bars, halves upwards."""
    return math.floor(bars + 0.5)
