"""The stateful primitives: a dozen compiled folds that every feature is made of.

Each takes time-major blocks ``(T, N)`` float64 and a state, updates the state in place and fills its outputs.
One law holds for all: cutting the rows into blocks anywhere, down to single bars, gives the same bits.

A value that is NaN or infinite is *missing*: it yields NaN and leaves the symbol's state alone, so every window
counts the symbol's own bars and a symbol starts at its first one. Outputs are NaN until the window is full.

A state is three arrays with a symbol axis: ``memory`` float64 ``(k, N)``, ``marks`` int64 ``(m, N)`` and ``ring``, the
window, ``(W, N)`` (``(N, W)`` for the primitives that read the whole window at each bar). Kernels work on the columns
``first <= j < last``, so threads share the arrays by symbols. Sums are compensated or restarted from their
window each time the ring comes round: rounding never accumulates, however many bars go by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.features.expression import Parameter

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

compiled = njit(nogil=True, cache=True, error_model="numpy")


@compiled
def _missing(value: float) -> bool:
    return not (abs(value) < np.inf)


@compiled
def smooth(x, out, memory, marks, ring, seed, weight, first, last):  # type: ignore[no-untyped-def]
    """Exponential mean, started at the mean of the first ``seed`` values."""
    level = memory[0]
    count = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            out[t, j] = np.nan
            if _missing(value):
                continue
            if count[j] >= seed:
                level[j] += weight * (value - level[j])
                out[t, j] = level[j]
                continue
            count[j] += 1
            level[j] += value
            if count[j] == seed:
                level[j] /= seed
                out[t, j] = level[j]


@compiled
def lag(x, out, memory, marks, ring, bars, first, last):  # type: ignore[no-untyped-def]
    """The value ``bars`` own bars ago."""
    place = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            if _missing(value):
                out[t, j] = np.nan
                continue
            p = place[j]
            out[t, j] = ring[p, j]
            ring[p, j] = value
            place[j] = p + 1 if p + 1 < bars else 0


@compiled
def rolling_sum(x, out, memory, marks, ring, window, first, last):  # type: ignore[no-untyped-def]
    """Sum over the window, as an unevaluated pair of doubles (Neumaier)."""
    high, low = memory[0], memory[1]
    place = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            out[t, j] = np.nan
            if _missing(value):
                continue
            p = place[j]
            oldest = ring[p, j]
            ring[p, j] = value
            place[j] = p + 1 if p + 1 < window else 0
            full = oldest == oldest
            s, c = high[j], low[j]
            u = s + value
            c += (s - (u - (u - s))) + (value - (u - s))
            if full:
                v = u - oldest
                c += (u - (v - (v - u))) + (-oldest - (v - u))
                u = v
            high[j], low[j] = u, c
            if full or p + 1 == window:
                out[t, j] = u + c


@compiled
def rolling_variance(x, out, memory, marks, ring, window, first, last):  # type: ignore[no-untyped-def]
    """Population variance: a sliding update, restarted from the window at each turn of the ring."""
    centre, square, peak = memory[0], memory[1], memory[2]
    place = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            out[t, j] = np.nan
            if _missing(value):
                continue
            p = place[j]
            oldest = ring[p, j]
            ring[p, j] = value
            p += 1
            restart = p == window
            place[j] = 0 if restart else p
            if not restart:
                if oldest != oldest:
                    continue
                step = value - oldest
                before = centre[j]
                centre[j] = before + step / window
                square[j] += step * ((value - centre[j]) + (oldest - before))
                peak[j] = max(peak[j], square[j])
                restart = square[j] < 1e-6 * peak[j]
            if restart:
                m = 0.0
                for i in range(window):
                    m += ring[i, j]
                m /= window
                s = 0.0
                for i in range(window):
                    s += (ring[i, j] - m) ** 2
                centre[j], square[j], peak[j] = m, s, s
            noise = 1e-15 * centre[j]
            out[t, j] = square[j] / window if square[j] > 4.0 * window * noise * noise else 0.0


@compiled
def rolling_covariance(x, y, out, out_x, out_y, memory, marks, ring, window, first, last):  # type: ignore[no-untyped-def]
    """Population covariance and both variances over the bars on which both values are there."""
    mean_x, mean_y, xy, xx, yy = memory[0], memory[1], memory[2], memory[3], memory[4]
    peak_x, peak_y = memory[5], memory[6]
    place = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            a, b = x[t, j], y[t, j]
            out[t, j] = np.nan
            out_x[t, j] = np.nan
            out_y[t, j] = np.nan
            if _missing(a) or _missing(b):
                continue
            p = place[j]
            old_a, old_b = ring[p, j], ring[window + p, j]
            ring[p, j], ring[window + p, j] = a, b
            p += 1
            restart = p == window
            place[j] = 0 if restart else p
            if not restart:
                if old_a != old_a:
                    continue
                step_a, step_b = a - old_a, b - old_b
                before_a, before_b = mean_x[j], mean_y[j]
                mean_x[j] = before_a + step_a / window
                mean_y[j] = before_b + step_b / window
                xx[j] += step_a * ((a - mean_x[j]) + (old_a - before_a))
                yy[j] += step_b * ((b - mean_y[j]) + (old_b - before_b))
                xy[j] += (a - mean_x[j]) * (b - before_b) - (old_a - mean_x[j]) * (old_b - before_b)
                peak_x[j] = max(peak_x[j], xx[j])
                peak_y[j] = max(peak_y[j], yy[j])
                restart = xx[j] < 1e-6 * peak_x[j] or yy[j] < 1e-6 * peak_y[j]
            if restart:
                ma, mb = 0.0, 0.0
                for i in range(window):
                    ma += ring[i, j]
                    mb += ring[window + i, j]
                ma /= window
                mb /= window
                saa, sbb, sab = 0.0, 0.0, 0.0
                for i in range(window):
                    da, db = ring[i, j] - ma, ring[window + i, j] - mb
                    saa += da * da
                    sbb += db * db
                    sab += da * db
                mean_x[j], mean_y[j] = ma, mb
                xx[j], yy[j], xy[j] = saa, sbb, sab
                peak_x[j], peak_y[j] = saa, sbb
            noise_x, noise_y = 1e-15 * mean_x[j], 1e-15 * mean_y[j]
            flat_x = xx[j] <= 4.0 * window * noise_x * noise_x
            flat_y = yy[j] <= 4.0 * window * noise_y * noise_y
            out[t, j] = 0.0 if flat_x or flat_y else xy[j] / window
            out_x[t, j] = 0.0 if flat_x else xx[j] / window
            out_y[t, j] = 0.0 if flat_y else yy[j] / window


@compiled
def rolling_extreme(x, out, memory, marks, ring, window, direction, first, last):  # type: ignore[no-untyped-def]
    """Maximum (``direction`` 1) or minimum (-1) of the window (van Herk 1992).

    Bars are counted in runs of ``window``. ``memory`` holds the best of the run so far; the ring holds, from the place
    of the newest bar on, the best of the rest of the run before.
    """
    best = memory[0]
    place = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j] * direction
            out[t, j] = np.nan
            if _missing(value):
                continue
            p = place[j]
            ring[p, j] = value
            best[j] = value if p == 0 or value > best[j] else best[j]
            p += 1
            if p < window:
                place[j] = p
                before = ring[p, j]
                if before == before:
                    out[t, j] = max(best[j], before) * direction
                continue
            place[j] = 0
            out[t, j] = best[j] * direction
            for i in range(window - 2, -1, -1):
                ring[i, j] = max(ring[i, j], ring[i + 1, j])


@compiled
def age_of_extreme(x, out, memory, marks, ring, window, direction, first, last):  # type: ignore[no-untyped-def]
    """Bars since the maximum (``direction`` 1) or minimum (-1) of the window; the latest of equals."""
    best = memory[0]
    place, ages = marks[0], marks[1]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j] * direction
            out[t, j] = np.nan
            if _missing(value):
                continue
            p = place[j]
            started = p > 0 or ring[p, j] == ring[p, j]
            full = p + 1 == window or ring[p, j] == ring[p, j]
            ring[p, j] = value
            place[j] = p + 1 if p + 1 < window else 0
            ages[j] += 1
            if not started or value >= best[j]:
                best[j], ages[j] = value, 0
            elif ages[j] >= window:
                best[j], ages[j] = value, 0
                i = p
                for k in range(1, window):
                    i = i - 1 if i > 0 else window - 1
                    if ring[i, j] > best[j]:
                        best[j], ages[j] = ring[i, j], k
            if full:
                out[t, j] = ages[j]


@compiled
def cumulative(x, out, memory, marks, ring, kind, first, last):  # type: ignore[no-untyped-def]
    """Since the first bar: compensated sum (``kind`` 0) or maximum (1)."""
    high, low = memory[0], memory[1]
    count = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            if _missing(value):
                out[t, j] = np.nan
                continue
            if kind == 1:
                high[j] = value if count[j] == 0 or value > high[j] else high[j]
            else:
                s = high[j]
                u = s + value
                low[j] += (s - (u - (u - s))) + (value - (u - s))
                high[j] = u
            count[j] = 1
            out[t, j] = high[j] + low[j]


@compiled
def run_length(x, out, memory, marks, ring, kind, first, last):  # type: ignore[no-untyped-def]
    """Signed streak of one sign (``kind`` 0), or bars since ``x > 0`` (1)."""
    run, seen = marks[0], marks[1]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            out[t, j] = np.nan
            if _missing(value):
                continue
            if kind == 0:
                if value > 0.0:
                    run[j] = run[j] + 1 if run[j] > 0 else 1
                elif value < 0.0:
                    run[j] = run[j] - 1 if run[j] < 0 else -1
                else:
                    run[j] = 0
                out[t, j] = run[j]
            else:
                run[j] = 0 if value > 0.0 else run[j] + 1
                seen[j] = 1 if value > 0.0 else seen[j]
                if seen[j]:
                    out[t, j] = run[j]


@compiled
def rolling_scan(x, out, memory, marks, ring, window, kind, first, last):  # type: ignore[no-untyped-def]
    """Statistics that read the whole window at each bar; kinds in the order of ``expression.SCANS``."""
    place = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            out[t, j] = np.nan
            if _missing(value):
                continue
            p = place[j]
            held = ring[j]
            full = p + 1 == window or held[p] == held[p]
            held[p] = value
            place[j] = p + 1 if p + 1 < window else 0
            if not full:
                continue
            if kind == 1:
                halves = 0
                for i in range(window):
                    halves += int(held[i] < value) + int(held[i] <= value)
                out[t, j] = halves / (2.0 * window)
                continue
            m = 0.0
            for i in range(window):
                m += held[i]
            m /= window
            if kind == 0:
                s = 0.0
                for i in range(window):
                    s += abs(held[i] - m)
                out[t, j] = s / window
                continue
            s2, s3, s4 = 0.0, 0.0, 0.0
            for i in range(window):
                d = held[i] - m
                q = d * d
                s2 += q
                s3 += q * d
                s4 += q * q
            s2 /= window
            if s2 > 4e-30 * m * m:
                if kind == 2:
                    out[t, j] = s3 / window / (s2 * np.sqrt(s2))
                else:
                    out[t, j] = s4 / window / (s2 * s2) - 3.0


@compiled
def rolling_quantile(x, out, memory, marks, ring, window, level, first, last):  # type: ignore[no-untyped-def]
    """Quantile of the window, linear between order statistics; the ring keeps it by age, then by size."""
    place = marks[0]
    at = level * (window - 1)
    low = min(int(at), max(window - 2, 0))
    high = min(low + 1, window - 1)
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            out[t, j] = np.nan
            if _missing(value):
                continue
            p = place[j]
            by_age, by_size = ring[j, :window], ring[j, window:]
            oldest = by_age[p]
            by_age[p] = value
            place[j] = p + 1 if p + 1 < window else 0
            full = oldest == oldest
            i = p
            if full:
                i, beyond = 0, window
                while i < beyond:
                    middle = (i + beyond) // 2
                    if by_size[middle] < oldest:
                        i = middle + 1
                    else:
                        beyond = middle
            while i > 0 and by_size[i - 1] > value:
                by_size[i] = by_size[i - 1]
                i -= 1
            while full and i + 1 < window and by_size[i + 1] < value:
                by_size[i] = by_size[i + 1]
                i += 1
            by_size[i] = value
            if full or p + 1 == window:
                out[t, j] = by_size[low] + (at - low) * (by_size[high] - by_size[low])


@compiled
def volume_profile(x, volume, out, out_below, memory, marks, ring, window, bins, first, last):  # type: ignore[no-untyped-def]
    """Price slice with the most volume, and the share of volume below the newest price."""
    place = marks[0]
    weight = np.empty(bins)
    for t in range(x.shape[0]):
        for j in range(first, last):
            value, size = x[t, j], volume[t, j]
            out[t, j] = np.nan
            out_below[t, j] = np.nan
            if _missing(value) or _missing(size):
                continue
            p = place[j]
            held = ring[j]
            full = p + 1 == window or held[p] == held[p]
            held[p], held[window + p] = value, size
            place[j] = p + 1 if p + 1 < window else 0
            if not full:
                continue
            low, high, below, all_volume = held[0], held[0], 0.0, 0.0
            for i in range(window):
                low = min(low, held[i])
                high = max(high, held[i])
                all_volume += held[window + i]
                if held[i] < value:
                    below += held[window + i]
                elif held[i] == value:
                    below += 0.5 * held[window + i]
            if not all_volume > 0.0:
                continue
            out_below[t, j] = below / all_volume
            width = (high - low) / bins
            if not width > 0.0:
                out[t, j] = value
                continue
            for b in range(bins):
                weight[b] = 0.0
            for i in range(window):
                weight[min(int((held[i] - low) / width), bins - 1)] += held[window + i]
            heaviest = 0
            for b in range(1, bins):
                heaviest = b if weight[b] > weight[heaviest] else heaviest
            out[t, j] = low + (heaviest + 0.5) * width


@compiled
def parabolic(high, low, out, memory, marks, ring, acceleration, limit, first, last):  # type: ignore[no-untyped-def]
    """Parabolic stop-and-reverse (Wilder 1978); the first direction is that of the first move."""
    stop, extreme, factor, last_high, last_low = memory[0], memory[1], memory[2], memory[3], memory[4]
    trend = marks[0]
    for t in range(high.shape[0]):
        for j in range(first, last):
            h, w = high[t, j], low[t, j]
            out[t, j] = np.nan
            if _missing(h) or _missing(w):
                continue
            before_h, before_w = last_high[j], last_low[j]
            last_high[j], last_low[j] = h, w
            if trend[j] == 0:
                trend[j] = 2
                continue
            if trend[j] == 2:
                down, up = before_w - w, h - before_h
                trend[j] = -1 if down > 0.0 and down > up else 1
                stop[j] = before_h if trend[j] < 0 else before_w
                extreme[j] = w if trend[j] < 0 else h
                factor[j] = acceleration
                before_h, before_w = h, w
            level = stop[j]
            if trend[j] > 0:
                if w <= level:
                    trend[j] = -1
                    level = max(extreme[j], before_h, h)
                    out[t, j] = level
                    factor[j] = acceleration
                    extreme[j] = w
                    level = max(level + acceleration * (w - level), before_h, h)
                else:
                    out[t, j] = level
                    if h > extreme[j]:
                        extreme[j] = h
                        factor[j] = min(factor[j] + acceleration, limit)
                    level = min(level + factor[j] * (extreme[j] - level), before_w, w)
            elif h >= level:
                trend[j] = 1
                level = min(extreme[j], before_w, w)
                out[t, j] = level
                factor[j] = acceleration
                extreme[j] = h
                level = min(level + acceleration * (h - level), before_w, w)
            else:
                out[t, j] = level
                if w < extreme[j]:
                    extreme[j] = w
                    factor[j] = min(factor[j] + acceleration, limit)
                level = max(level + factor[j] * (extreme[j] - level), before_h, h)
            stop[j] = level


@compiled
def session_range(x, session, high, low, close, total, memory, marks, ring, first, last):  # type: ignore[no-untyped-def]
    """High, low and last of the session before; and the sum since this session began."""
    now_high, now_low, now_last, key = memory[0], memory[1], memory[2], memory[3]
    old_high, old_low, old_last, running = memory[4], memory[5], memory[6], memory[7]
    started = marks[0]
    for t in range(x.shape[0]):
        for j in range(first, last):
            value = x[t, j]
            if _missing(value) or _missing(session[t, j]):
                high[t, j] = np.nan
                low[t, j] = np.nan
                close[t, j] = np.nan
                total[t, j] = np.nan
                continue
            if started[j] == 0 or session[t, j] != key[j]:
                fresh = started[j] == 0
                old_high[j] = np.nan if fresh else now_high[j]
                old_low[j] = np.nan if fresh else now_low[j]
                old_last[j] = np.nan if fresh else now_last[j]
                now_high[j], now_low[j], running[j] = value, value, 0.0
                key[j] = session[t, j]
                started[j] = 1
            now_high[j] = max(now_high[j], value)
            now_low[j] = min(now_low[j], value)
            now_last[j] = value
            running[j] += value
            high[t, j], low[t, j], close[t, j], total[t, j] = old_high[j], old_low[j], old_last[j], running[j]


@compiled
def adjustment(close, split, dividend, out, out_split, memory, marks, ring, first, last):  # type: ignore[no-untyped-def]
    """Forward factor of prices and of share counts; events on missing bars still count.

    ``memory`` holds the last known close and both factors; ``marks[1]`` tells of an impossible event.
    """
    last_close, factor, shares = memory[0], memory[1], memory[2]
    known, broken, started = marks[0], marks[1], marks[2]
    for t in range(close.shape[0]):
        for j in range(first, last):
            s, d = split[t, j], dividend[t, j]
            if started[j] == 0:
                factor[j], shares[j], started[j] = 1.0, 1.0, 1
            shares[j] *= s
            if known[j] and (s != 1.0 or d != 0.0):
                before = last_close[j] / s if s > 0.0 else np.nan
                if not (0.0 <= d < before):
                    broken[j] = 1
                factor[j] *= s / (1.0 - d / before)
                last_close[j] = before - d
            value = close[t, j]
            out[t, j] = np.nan
            out_split[t, j] = np.nan
            if not _missing(value):
                known[j], last_close[j] = 1, value
                out[t, j], out_split[t, j] = factor[j], shares[j]


@dataclass(frozen=True, slots=True)
class State:
    """What one fold remembers; see the head of this module."""

    memory: FloatArray
    marks: IntArray
    ring: FloatArray


@dataclass(frozen=True, slots=True)
class Primitive:
    """A compiled fold with the shape of its state.

    ``run(*inputs, *outputs, memory, marks, ring, *params, first, last)`` fills the outputs for columns
    ``first <= j < last``.
    """

    run: Callable[..., Any]
    outputs: int = 1
    memory: int = 0
    marks: int = 1
    rings: int = 0
    window_last: bool = False

    def start(self, n_symbols: int, params: tuple[Parameter, ...]) -> State:
        """Return the state before the first bar."""
        depth = self.rings * int(params[0]) if self.rings else 0
        shape = (n_symbols, depth) if self.window_last else (depth, n_symbols)
        return State(
            np.zeros((self.memory, n_symbols)),
            np.zeros((self.marks, n_symbols), dtype=np.int64),
            np.full(shape, np.nan),
        )


PRIMITIVES: dict[str, Primitive] = {
    "smooth": Primitive(smooth, memory=1),
    "lag": Primitive(lag, rings=1),
    "rolling_sum": Primitive(rolling_sum, memory=2, rings=1),
    "rolling_variance": Primitive(rolling_variance, memory=3, rings=1),
    "rolling_covariance": Primitive(rolling_covariance, outputs=3, memory=7, rings=2),
    "rolling_extreme": Primitive(rolling_extreme, memory=1, rings=1),
    "age_of_extreme": Primitive(age_of_extreme, memory=1, marks=2, rings=1),
    "cumulative": Primitive(cumulative, memory=2),
    "run_length": Primitive(run_length, marks=2),
    "rolling_scan": Primitive(rolling_scan, rings=1, window_last=True),
    "rolling_quantile": Primitive(rolling_quantile, rings=2, window_last=True),
    "volume_profile": Primitive(volume_profile, outputs=2, rings=2, window_last=True),
    "parabolic": Primitive(parabolic, memory=5),
    "session_range": Primitive(session_range, outputs=4, memory=8),
    "adjustment": Primitive(adjustment, outputs=2, memory=3, marks=3),
}
