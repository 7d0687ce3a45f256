"""Horizons in trading time, turned into bars: a session has 390 minutes, a week five sessions."""

from __future__ import annotations

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
    number of bars is rounded to the nearest one.
    """
    if not section.horizons:
        return section.horizons_bars, ()
    bar = TIMEFRAMES[timeframe]
    short = [h for h in section.horizons if minutes_of(h) < bar]
    kept = sorted({round(minutes_of(h) / bar) for h in section.horizons if h not in short})
    if not kept:
        raise InputError(f"every horizon of {list(section.horizons)} is shorter than a {timeframe} bar")
    notes = [f"the horizon {h} is shorter than a {timeframe} bar and was dropped" for h in short]
    return tuple(kept), tuple(notes)
