"""From values to places on a chart, and the round numbers and dates to label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Tick = tuple[float, str]

SPAN = 1000.0
"""Width and height of every plot in its own units; the browser stretches it to the page."""

MILLISECOND = np.timedelta64(1, "ms")
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic axis from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = False

    def at(self, values: ArrayLike) -> Array:
        """Return places along the axis, 0 to :data:`SPAN`."""
        v, low, high = np.asarray(values, dtype=np.float64), self.low, self.high
        if self.log:
            v, low, high = np.log(v), math.log(low), math.log(high)
        return np.asarray((v - low) / ((high - low) or 1.0) * SPAN)

    def share(self, value: float) -> float:
        """Return one place in percent of the axis."""
        return float(self.at(value)) / SPAN * 100


def around(*values: ArrayLike, margin: float = 0.06, log: bool = False) -> Scale:
    """Return a scale that holds all finite values with some room."""
    joined = np.concatenate([np.ravel(np.asarray(v, dtype=np.float64)) for v in values])
    known = joined[np.isfinite(joined)]
    if not known.size:
        return Scale(0.0, 1.0)
    low, high = float(known.min()), float(known.max())
    if log:
        room = (high / low) ** margin
        return Scale(low / room, high * room, log=True)
    room = (high - low) * margin or abs(high) * margin or 1.0
    return Scale(low - room, high + room)


def round_numbers(scale: Scale, wanted: int = 5) -> list[float]:
    """Return round values inside a scale."""
    if scale.log:
        powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        found = [m * 10.0**p for p in powers for m in (1, 2, 5) if scale.low <= m * 10.0**p <= scale.high]
        if len(found) >= 3:
            return found
    raw = (scale.high - scale.low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s for s in STEPS if s * power >= raw * 0.999) * power
    first = math.ceil(scale.low / step - 1e-9)
    return [i * step for i in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def digits_for(values: Sequence[float]) -> int:
    """Return the fewest digits after the point that write round numbers exactly (at most six)."""
    return next((d for d in range(6) if all(abs(round(v, d) - v) < 1e-9 * max(1.0, abs(v)) for v in values)), 6)


def milliseconds(times: NDArray[np.datetime64]) -> Array:
    """Return instants as milliseconds since 1970, which a browser's ``Date`` takes."""
    return np.asarray((times - np.datetime64(0, "ms")) / MILLISECOND, dtype=np.float64)


def dates(low: float, high: float, wanted: int = 8) -> list[Tick]:
    """Return round dates between two instants (milliseconds) with their labels."""
    days = (high - low) / 86_400_000
    if days > 3 * 365:
        every = next(n for n in (1, 2, 5, 10, 20, 50) if days / 365 / n <= wanted)
        return _calendar(low, high, "Y", every, lambda text: text[:4])
    if days > 90:
        every = next(n for n in (1, 2, 3, 6, 12) if days / 30 / n <= wanted)
        return _calendar(low, high, "M", every, lambda text: text[:7])
    every = max(1, math.ceil(days / wanted))
    return _calendar(low, high, "D", every, lambda text: text[:10])


def _calendar(low: float, high: float, unit: str, every: int, label: object) -> list[Tick]:
    start, stop = (np.datetime64(int(v), "ms").astype(f"datetime64[{unit}]").astype(np.int64) for v in (low, high))
    points = np.arange(start, stop + 1)
    points = points[points % every == 0].astype(f"datetime64[{unit}]")
    instants = milliseconds(points.astype("datetime64[ms]"))
    assert callable(label)
    return [(float(t), label(str(p))) for t, p in zip(instants, points, strict=True) if low <= t <= high]


def spaced(places: Sequence[float], gap: float, low: float = 0.0, high: float = 100.0) -> list[float]:
    """Return places moved apart as little as needed for labels of height ``gap``, inside ``low`` to ``high``."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    result, floor = list(places), low
    for i in order:
        result[i] = floor = max(result[i], floor)
        floor += gap
    ceiling = high
    for i in reversed(order):
        result[i] = ceiling = min(result[i], ceiling)
        ceiling -= gap
    return result


def thinned(x: Array, y: Array, columns: int = 700) -> tuple[Array, Array]:
    """Return a line with at most four points a pixel column (first, lowest, highest, last): it looks the same."""
    known = np.flatnonzero(np.isfinite(y))
    if known.size <= 2 * columns:
        return x[known], y[known]
    edges = np.linspace(0, known.size, columns + 1).astype(np.int64)
    kept: set[int] = set()
    for left, right in pairwise(edges):
        part = known[left:right]
        kept |= {int(part[0]), int(part[-1]), int(part[np.argmin(y[part])]), int(part[np.argmax(y[part])])}
    rows = np.array(sorted(kept))
    return x[rows], y[rows]
