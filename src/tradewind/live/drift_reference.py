"""What a model's training data looked like, and how much they differ from themselves: where thresholds come from.

The training part is cut into blocks. The bars of each are compared, window by window, with what lies before it or after
it, whichever is longer, as the newest bars will be compared with the whole: so ordinary changes of volatility, seasons
and hours of the day are in the distances, and what counts as a change is what the training data did not show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions.pairs.unit_root import adjusted
from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.live import drift_joint as joint
from tradewind.live.drift_tail import TAIL, fitted_tail, tail_excess, tail_p
from tradewind.live.drift_window import Histograms, Seen, WindowState, empty, step
from tradewind.live.settings_drift import DriftSection
from tradewind.stats import drift as distances

FloatArray = NDArray[np.float64]

DISTANCES: Final = ("psi", "js", "ks", "wasserstein")
"""What is measured of each feature, in this order; Wasserstein's in deviations of the training data."""

BLOCKS_MIN: Final = 3
FORMAT: Final = 1
_CHUNK: Final = 256
_WINDOWS_MIN: Final = 10
_LEAST_SPREAD: Final = 0.01


@dataclass(frozen=True, eq=False)
class DriftReference:
    """The training data of a model, as far as drift is concerned. ``F`` features and ``G`` joint ones make ``M``.

    Attributes
    ----------
    names
        ``M`` names.
    window_bars, life_bars
        Bars of a window; bars that the model is to live for, which the rates of false alarms are about.
    half_life_bars
        After how many bars the fading histogram has forgotten a half.
    rows
        Bars of the training data.
    false_discovery_rate, share_limit
        Above which share of drifted features the data have drifted, and the rate at which features are named.
    mean, deviation
        ``(F,)``.
    loadings, group
        ``(F, K)`` and ``(K,)``: see :class:`tradewind.live.drift_joint.Directions`.
    edges, counts, beyond, unit
        ``(M, E)``, ``(M, B)``, ``(M, 2)`` and ``(M,)``: bins, what they hold, what lies beyond them, and the deviation.
    centre, spread
        ``(4, M)`` median of each distance over the training windows, zero at least, and how far above the median a
        tenth of them lie.
    tail_start, tail_scale
        ``(M,)`` score above which that tenth lies, and the mean excess, widened where few episodes are behind it.
    window_size, total_size
        ``(M,)`` independent observations that a window and the training data are worth.
    stability
        ``(M,)`` mean population stability index of the fading histogram within the training data.
    silence
        ``(F,)`` most bars in a row without a new value.
    watched
        ``(M,)`` which are compared at all.
    """

    names: tuple[str, ...]
    window_bars: int
    life_bars: int
    half_life_bars: float
    rows: int
    false_discovery_rate: float
    share_limit: float
    mean: FloatArray
    deviation: FloatArray
    loadings: FloatArray
    group: NDArray[np.int64]
    edges: FloatArray
    counts: FloatArray
    beyond: FloatArray
    unit: FloatArray
    centre: FloatArray
    spread: FloatArray
    tail_start: FloatArray
    tail_scale: FloatArray
    window_size: FloatArray
    total_size: FloatArray
    stability: FloatArray
    silence: NDArray[np.int64]
    watched: NDArray[np.bool_]

    @property
    def features(self) -> int:
        """``F``: how many features a bar has."""
        return len(self.mean)

    def joined(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ``(T, N, F)`` with the joint features, ``(T, N, M)``."""
        moments = joint.Moments(self.mean, self.deviation)
        return joint.with_joint(values, moments, joint.Directions(self.loadings, self.group))

    def start(self, symbols: int) -> WindowState:
        """Return the state of a window before any bar; the fading histogram begins as the training data."""
        return empty(self.window_bars, symbols, self.edges, _steady(self.counts, symbols, self.half_life_bars))

    def step(self, state: WindowState, values: NDArray[np.float32]) -> tuple[WindowState, Seen]:
        """Take in bars ``(T, N, F)``."""
        return step(state, self.joined(values), self.edges, self.half_life_bars)

    def distances(self, window: Histograms) -> FloatArray:
        """Return all distances of windows from the training data, ``(..., 4, M)``."""
        return _distances(Histograms(self.counts, self.beyond), window, self.edges, self.unit)

    def p_values(self, measured: FloatArray) -> FloatArray:
        """Return, for each feature, how rare such distances are among windows of the training data, ``(..., M)``.

        One half below the tail of a tenth, where nothing more is known. NaN where there is no distance, or no interest.
        """
        return tail_p(self.excess(measured))

    def excess(self, measured: FloatArray) -> FloatArray:
        """Return how far the largest distance of each feature lies beyond the usual tenth, ``(..., M)``.

        In scales of that tail, below zero before it: the larger, the rarer. NaN as for :meth:`p_values`.
        """
        score = _score(measured, self.centre, self.spread)
        return np.where(self.watched, (score - self.tail_start) / self.tail_scale, np.nan)

    def drifted(self, p: FloatArray) -> NDArray[np.bool_]:
        """Return which features ``(M,)`` have drifted.

        The false discovery rate is controlled over the features (Benjamini & Hochberg 1995) and the windows that do not
        overlap in a model's life: each p-value counts for that many looks. Joint features are a family of their own.
        """
        return _drifted(p, self.features, self.false_discovery_rate, self.life_bars / self.window_bars)

    def share(self, drifted: NDArray[np.bool_]) -> float:
        """Return which share of the features that are compared has drifted, the joint ones left out."""
        return float(drifted[: self.features].sum() / max(int(self.watched[: self.features].sum()), 1))

    def thresholds(self, column: int = 0) -> FloatArray:
        """Return the distance (by its number in :data:`DISTANCES`) at which each feature by itself has drifted."""
        looks = max(self.life_bars / self.window_bars, 1.0) * self.features
        score = self.tail_start + self.tail_scale * tail_excess(self.false_discovery_rate / looks)
        return np.asarray(self.centre[column] + self.spread[column] * score)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays that are stored without pickle; ``header`` is JSON in UTF-8."""
        header = {"format": FORMAT, **{f.name: getattr(self, f.name) for f in fields(self) if f.name in _HEADER}}
        told = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8).copy()
        held = {f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self) if f.name not in _HEADER}
        return {"header": told, **held}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> DriftReference:
        """Return what :meth:`arrays` said. Raises ``DataError`` where that cannot be."""
        again = "train the model again: `tradewind train PLAYBOOK`"
        try:
            header = json.loads(arrays["header"].tobytes())
            if header.pop("format") != FORMAT:
                raise DataError("the reference of drift has a format of another version", hint=again)
            header["names"] = tuple(header["names"])
            held: dict[str, Any] = {f.name: arrays[f.name] for f in fields(cls) if f.name not in _HEADER}
            return cls(**header, **held)
        except (KeyError, ValueError, TypeError) as failure:
            raise DataError(f"the reference of drift cannot be read: {failure}", hint=again) from failure


_HEADER: Final = (
    "names", "window_bars", "life_bars", "half_life_bars", "rows", "false_discovery_rate", "share_limit",
)  # fmt: skip


def drift_reference(
    values: NDArray[np.float32],
    names: Sequence[str],
    window_bars: int,
    life_bars: int,
    settings: DriftSection | None = None,
) -> DriftReference:
    """Measure training data ``(T, N, F)``.

    Parameters
    ----------
    values
        Features known at each bar of the training part, oldest first; NaN is missing. Bars in front of them in which
        features still warm up are left out: those that know less than nine tenths of what the usual bar knows.
    life_bars
        Bars until the next retraining.

    Raises
    ------
    InputError
        Names that do not fit, or a window longer than a model's life.
    DataError
        Fewer than ten windows in a block of the training data: there is nothing to compare.
    """
    if values.ndim != 3 or values.shape[-1] != len(names) or not names:
        raise InputError(f"{len(names)} names do not fit features of shape {values.shape}")
    settings = settings or DriftSection()
    learnt = _Learning(_warm(values), tuple(map(str, names)), window_bars, max(life_bars, window_bars), settings)
    return learnt.reference()


def _warm(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the bars from the first that knows nine tenths of what the usual one knows."""
    known = np.isfinite(values).mean(axis=(1, 2))
    rows = np.flatnonzero(known >= 0.9 * np.median(known)) if len(known) else np.empty(0, dtype=np.int64)
    return values[rows[0] :] if rows.size else values


class _Learning:
    """The way from training data to a reference."""

    def __init__(
        self, values: NDArray[np.float32], names: tuple[str, ...], window_bars: int, life_bars: int, said: DriftSection
    ) -> None:
        self.values, self.names, self.said = values, names, said
        self.window_bars, self.life_bars = window_bars, life_bars
        self.half_life_bars = 4.0 * window_bars
        self.cuts = _blocks(len(values), window_bars, life_bars, said.blocks_max)
        self.moments = joint.Moments.of(values)
        self.products = [self.moments.products(values[a:b]) for a, b in self._parts()]
        self.joined = self._joined()
        flat = self.joined.reshape(-1, self.joined.shape[-1])
        self.edges = distances.quantile_edges(flat, said.bins)
        self.unit = joint.Moments.of(self.joined).deviation

    def reference(self) -> DriftReference:
        blocks = [_summed(self.joined[a:b], self.edges) for a, b in self._parts()]
        whole = Histograms(sum(b.counts for b in blocks), sum(b.beyond for b in blocks))  # type: ignore[arg-type]
        measured, stability = self._against_the_rest(blocks)
        centre, spread = _centred(measured)
        score = _score(measured, centre, spread)
        start, scale = fitted_tail(score, self.window_bars)
        p = tail_p((score - start) / scale)
        window_size, total_size = self._sizes(np.stack([b.counts for b in blocks]))
        directions = joint.Directions.of(np.sum(self.products, axis=0), self.values[..., 0].size)
        return DriftReference(
            (*self.names, *joint.NAMES),
            self.window_bars,
            self.life_bars,
            self.half_life_bars,
            len(self.values),
            self.said.false_discovery_rate,
            self._share_limit(p),
            self.moments.mean,
            self.moments.deviation,
            directions.loadings,
            directions.group,
            self.edges,
            whole.counts,
            whole.beyond,
            self.unit,
            centre,
            spread,
            start,
            scale,
            window_size,
            total_size,
            stability,
            self.silence,
            self._watched(),
        )

    def _parts(self) -> list[tuple[int, int]]:
        return list(zip(self.cuts[:-1], self.cuts[1:], strict=True))

    def _rest(self, block: int) -> list[int]:
        """Return the blocks after this one, or those before it where they are more."""
        count = len(self.cuts) - 1
        return list(range(block + 1, count)) if count - 1 - block >= block else list(range(block))

    def _joined(self) -> NDArray[np.float32]:
        """Return the features with the joint ones, whose directions come from the rest of each block."""
        made = []
        for block, (first, stop) in enumerate(self._parts()):
            rest = self._rest(block)
            rows = sum(self.cuts[r + 1] - self.cuts[r] for r in rest) * self.values.shape[1]
            directions = joint.Directions.of(np.sum([self.products[r] for r in rest], axis=0), rows)
            made.append(joint.with_joint(self.values[first:stop], self.moments, directions))
        return np.concatenate(made)

    def _walk(self) -> Iterator[tuple[int, Seen]]:
        """Walk the training data as the newest bars will be walked; full windows only, and whose block they are in."""
        symbols = self.values.shape[1]
        counts = _summed(self.joined, self.edges).counts
        state = empty(self.window_bars, symbols, self.edges, _steady(counts, symbols, self.half_life_bars))
        for block, (first, stop) in enumerate(self._parts()):
            for row in range(first, stop, _CHUNK):
                bars = self.joined[row : min(row + _CHUNK, stop)]
                state, seen = step(state, bars, self.edges, self.half_life_bars)
                yield block, seen

    def _against_the_rest(self, blocks: Sequence[Histograms]) -> tuple[FloatArray, FloatArray]:
        """Return the distances of every full window from the rest, ``(R, 4, M)``, and the mean fading index."""
        measured, index, owners = [], [], []
        self.silence = np.zeros(len(self.names), dtype=np.int64)
        for block, seen in self._walk():
            self.silence = np.maximum(self.silence, seen.silent[:, : len(self.names)].max(axis=0))
            rest = self._rest(block)
            away = Histograms(
                np.sum([blocks[r].counts for r in rest], axis=0), np.sum([blocks[r].beyond for r in rest], axis=0)
            )
            window = Histograms(seen.window.counts[seen.full], seen.window.beyond[seen.full])
            measured.append(_distances(away, window, self.edges, self.unit))
            index.append(distances.population_stability(away.counts, seen.fading[seen.full]))
            owners += [block] * int(seen.full.sum())
        self.owners = np.array(owners)
        return np.concatenate(measured), np.concatenate(index).mean(axis=0)

    def _share_limit(self, p: FloatArray) -> float:
        """Return the share of drifted features that the training data never kept up, with the margin."""
        looks, rate = self.life_bars / self.window_bars, self.said.false_discovery_rate
        share = np.array([_drifted(row, len(self.names), rate, looks)[: len(self.names)].mean() for row in p])
        wait = self.said.persist_bars
        kept = [np.lib.stride_tricks.sliding_window_view(share[self.owners == b], wait).min(axis=1).max()
                for b in np.unique(self.owners) if (self.owners == b).sum() >= wait]  # fmt: skip
        return float(min(max(self.said.share_min, self.said.share_margin * max(kept, default=0.0)), 1.0))

    def _sizes(self, blocks: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return how many independent observations a window and the whole are worth."""
        apart = [
            _summed(self.joined[row : row + self.window_bars], self.edges).counts
            for row in range(0, len(self.joined) - self.window_bars + 1, self.window_bars)
        ]
        window = distances.effective_size(np.stack(apart)[..., :-1])
        total = len(blocks) * distances.effective_size(blocks[..., :-1])
        return window, np.fmax(total, window)

    def _watched(self) -> NDArray[np.bool_]:
        for name in self.said.exclude:
            if name not in self.names:
                raise did_you_mean("feature to exclude from drift", name, self.names)
        return np.array([name not in self.said.exclude for name in (*self.names, *joint.NAMES)])


def _blocks(bars: int, window_bars: int, life_bars: int, most: int) -> list[int]:
    """Return where the blocks begin, and the end: as long as a model's life where there are enough of them."""
    count = int(np.clip(bars // life_bars, BLOCKS_MIN, most))
    if bars // count < _WINDOWS_MIN * window_bars:
        need = BLOCKS_MIN * _WINDOWS_MIN * window_bars
        count = BLOCKS_MIN
        if bars < need:
            raise DataError(
                f"{bars} bars of training data are too few to know how windows of {window_bars} differ: {need} do",
                hint="train on more bars, or make drift.window_bars shorter",
            )
    return [round(edge) for edge in np.linspace(0, bars, count + 1)]


def _summed(values: NDArray[np.float32], edges: FloatArray) -> Histograms:
    """Return the histograms of bars ``(T, N, M)`` together."""
    from tradewind.live.drift_kernel import count_bars

    counts, beyond = np.zeros((len(edges), edges.shape[1] + 2)), np.zeros((len(edges), 2))
    for first in range(0, len(values), _CHUNK):
        of_bars, outside = count_bars(values[first : first + _CHUNK], edges)
        counts += of_bars.sum(axis=0, dtype=np.int64)
        beyond += outside.sum(axis=0)
    return Histograms(counts, beyond)


def _steady(counts: FloatArray, symbols: int, half_life_bars: float) -> FloatArray:
    """Return the fading histogram of data that have always looked like this."""
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1.0)
    return np.asarray(share * symbols / (1.0 - 0.5 ** (1.0 / half_life_bars)))


def _distances(of: Histograms, window: Histograms, edges: FloatArray, unit: FloatArray) -> FloatArray:
    known, seen = of.counts[..., :-1], window.counts[..., :-1]
    moved = distances.binned_wasserstein(known, seen, edges, of.mean_beyond, window.mean_beyond) / unit
    return np.stack(
        [
            distances.population_stability(of.counts, window.counts),
            distances.jensen_shannon(of.counts, window.counts),
            distances.binned_kolmogorov_smirnov(known, seen),
            moved,
        ],
        axis=-2,
    )


def _centred(measured: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return median and upper spread of each distance; a distance that hardly varies gets a spread of its size.

    A stability index may be below zero, as what chance does is taken off: nothing below zero is a distance, and so no
    centre is, nor a threshold.
    """
    known = np.isfinite(measured).any(axis=0)
    filled = np.where(known, measured, 0.0)
    centre, high = np.nanquantile(filled, [0.5, 1.0 - TAIL], axis=0)
    spread = np.maximum(np.maximum(high - centre, 0.1 * np.abs(centre)), _LEAST_SPREAD)
    return np.maximum(centre, 0.0), spread


def _score(measured: FloatArray, centre: FloatArray, spread: FloatArray) -> FloatArray:
    """Return the largest distance of each feature, each in units of its own spread; NaN where there is none."""
    z = (measured - centre) / spread
    known = np.isfinite(z)
    return np.where(known.any(axis=-2), np.where(known, z, -np.inf).max(axis=-2), np.nan)


def _drifted(p: FloatArray, features: int, rate: float, looks: float) -> NDArray[np.bool_]:
    counted = np.minimum(p * max(looks, 1.0), 1.0)
    return np.concatenate([_discovered(part, rate) for part in (counted[:features], counted[features:])])


def _discovered(p: FloatArray, rate: float) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return np.asarray(adjusted(p, "benjamini_hochberg") <= rate) if (p <= rate).any() else np.zeros(p.shape, bool)
