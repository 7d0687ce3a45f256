"""The newest bars as histograms, one for each feature: a fold that forgets what has left the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.live.drift_kernel import count_bars, silences

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histograms:
    """What a number of bars look like. Leading axes are free.

    Attributes
    ----------
    counts
        ``(..., F, B)``; the last bin holds what is missing.
    beyond
        ``(..., F, 2)`` sums of how far values lie below the first edge and above the last.
    """

    counts: FloatArray
    beyond: FloatArray

    @property
    def mean_beyond(self) -> FloatArray:
        """``beyond`` over the known values."""
        return np.asarray(self.beyond / np.maximum(self.counts[..., :-1].sum(axis=-1), 1.0)[..., None])


@dataclass(frozen=True, eq=False)
class WindowState:
    """What the fold remembers: the bars of the window, their sum, a fading sum of all bars, and the silent features.

    Attributes
    ----------
    bars, beyond
        ``(W, F, B)`` counts of each bar of the window and ``(W, F, 2)``, oldest first; zero where there were none yet.
    filled
        Bars that the window holds.
    fading
        ``(F, B)`` counts that lose half of their weight in so many bars.
    last, silent
        ``(N, F)`` last known values; ``(F,)`` bars since any symbol had a new one.
    """

    bars: NDArray[np.uint16]
    beyond: FloatArray
    filled: int
    fading: FloatArray
    last: NDArray[np.float32]
    silent: NDArray[np.int64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays that are stored without pickle."""
        names = ("bars", "beyond", "fading", "last", "silent")
        return {**{name: getattr(self, name) for name in names}, "filled": np.array([self.filled])}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> WindowState:
        """Return what :meth:`arrays` said."""
        names = ("bars", "beyond", "fading", "last", "silent")
        return cls(filled=int(arrays["filled"][0]), **{name: arrays[name] for name in names})


@dataclass(frozen=True, eq=False)
class Seen:
    """What the fold saw at the close of each of ``T`` bars.

    Attributes
    ----------
    window
        The newest ``W`` bars, ``(T, F, ...)``.
    fading
        ``(T, F, B)``.
    silent
        ``(T, F)`` bars since any symbol had a new value.
    full
        ``(T,)`` whether the window holds ``W`` bars.
    """

    window: Histograms
    fading: FloatArray
    silent: NDArray[np.int64]
    full: NDArray[np.bool_]


def empty(window_bars: int, symbols: int, edges: FloatArray, fading: FloatArray) -> WindowState:
    """Return the state before any bar; ``fading`` is what the fading sum begins with."""
    features, bins = len(edges), edges.shape[1] + 2
    return WindowState(
        np.zeros((window_bars, features, bins), dtype=np.uint16),
        np.zeros((window_bars, features, 2)),
        0,
        fading,
        np.full((symbols, features), np.nan, dtype=np.float32),
        np.zeros(features, dtype=np.int64),
    )


def step(
    state: WindowState, values: NDArray[np.float32], edges: FloatArray, half_life_bars: float
) -> tuple[WindowState, Seen]:
    """Take in the bars ``(T, N, F)``; one by one or all at once is the same, bit for bit."""
    counts, beyond = count_bars(values, edges)
    last, run = state.last.copy(), state.silent.copy()
    silent = silences(values, last, run)
    width, bars = len(state.bars), len(values)
    counts, beyond = np.concatenate([state.bars, counts]), np.concatenate([state.beyond, beyond])
    total = np.cumsum(counts, axis=0, dtype=np.int64)
    seen = Histograms(
        (total[width:] - total[:bars]).astype(np.float64),
        np.stack([beyond[t + 1 : t + 1 + width].sum(axis=0) for t in range(bars)]),
    )
    fading = _faded(state.fading, counts[width:], half_life_bars)
    filled = state.filled + 1 + np.arange(bars)
    new = WindowState(counts[bars:], beyond[bars:], min(int(filled[-1]), width), fading[-1], last, run)
    return new, Seen(seen, fading, silent, filled >= width)


def _faded(start: FloatArray, counts: NDArray[np.uint16], half_life_bars: float) -> FloatArray:
    keep = 0.5 ** (1.0 / half_life_bars)
    found = np.empty((len(counts), *start.shape))
    held = start
    for t, bar in enumerate(counts):
        held = keep * held + bar
        found[t] = held
    return found
