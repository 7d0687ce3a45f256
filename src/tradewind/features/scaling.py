"""Causal scalers: none uses anything after the bar it scales, each travels with its model as a JSON-able dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.features.table import Features

FloatArray = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826022185056018
"""Standard deviation of a normal over its median absolute deviation."""


class Scaler(Protocol):
    """Something that brings features to a common scale and can be stored."""

    kind: ClassVar[str]

    def transform(self, features: Features) -> Features:
        """Return scaled features; missing stays missing."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return everything needed to rebuild the scaler, as JSON types."""
        ...


@dataclass(frozen=True, eq=False)
class TrainScaler:
    """Robust standardiser whose centre and scale were fitted on the training part alone, all symbols pooled.

    Attributes
    ----------
    names
        Features it knows.
    centre, scale
        Median, and 1.4826 times the median absolute deviation (the standard deviation where that is 0; 1 where
        the feature was constant), ``(F,)``.
    clip
        Largest absolute scaled value.
    fitted_until
        Last bar that was read, ISO; nothing before the bar after it may be judged out of sample.
    """

    names: tuple[str, ...]
    centre: FloatArray
    scale: FloatArray
    clip: float
    fitted_until: str
    kind: ClassVar[str] = "train"

    @classmethod
    def fit(cls, features: Features, *, until: int | None = None, clip: float = 6.0) -> TrainScaler:
        """Fit on the first ``until`` bars (all where None).

        Raises
        ------
        DataError
            No bar to fit on.
        """
        part = features.head(len(features.times) if until is None else until)
        if len(part.times) == 0:
            raise DataError("a scaler was asked to fit on no bar at all")
        pairs = [_robust(part.values[:, :, f]) for f in range(len(part.names))]
        centre, scale = (np.array(v) for v in zip(*pairs, strict=True))
        return cls(part.names, centre, scale, clip, str(part.times[-1]))

    def transform(self, features: Features) -> Features:
        """Return ``(x - centre) / scale``, clipped."""
        place = [_place(self.names, name) for name in features.names]
        centre, scale = self.centre[place].astype(np.float32), self.scale[place].astype(np.float32)
        values = (features.values - centre) / scale
        return replace(features, values=np.clip(values, -self.clip, self.clip, out=values))

    def to_dict(self) -> dict[str, Any]:
        """Return names, centres, scales, clip and the last bar read."""
        return {
            "kind": self.kind,
            "names": list(self.names),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "clip": self.clip,
            "fitted_until": self.fitted_until,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TrainScaler:
        """Rebuild from :meth:`to_dict`."""
        centre, scale = np.array(stored["centre"], dtype=np.float64), np.array(stored["scale"], dtype=np.float64)
        return cls(tuple(stored["names"]), centre, scale, float(stored["clip"]), str(stored["fitted_until"]))


def _robust(values: NDArray[np.float32]) -> tuple[float, float]:
    known = values[np.isfinite(values)].astype(np.float64)
    if known.size == 0:
        return 0.0, 1.0
    centre = float(np.median(known))
    scale = MAD_TO_SIGMA * float(np.median(np.abs(known - centre))) or float(known.std())
    return centre, scale if scale > 0.0 else 1.0


def _place(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise InputError(f"the scaler was not fitted on the feature {name!r}", hint="train the model again")
    return names.index(name)


@dataclass(frozen=True, eq=False)
class CrossSectionScaler:
    """Median and median absolute deviation over the symbols of each bar: no memory, nothing to fit.

    A feature that is the same for every symbol at a bar scales to 0 there.
    """

    clip: float = 6.0
    kind: ClassVar[str] = "cross_section"

    def transform(self, features: Features) -> Features:
        """Return each bar's values in robust deviations from that bar's median."""
        values = np.empty_like(features.values)
        for t, row in enumerate(features.values):
            values[t] = self._bar(row.astype(np.float64))
        return replace(features, values=values)

    def _bar(self, row: FloatArray) -> FloatArray:
        known = np.isfinite(row)
        some = known.any(axis=0)
        centre = np.zeros(row.shape[1])
        spread = np.zeros(row.shape[1])
        centre[some] = np.nanmedian(np.where(known, row, np.nan)[:, some], axis=0)
        spread[some] = MAD_TO_SIGMA * np.nanmedian(np.abs(np.where(known, row - centre, np.nan))[:, some], axis=0)
        scaled = np.where(known, (row - centre) / np.where(spread > 0.0, spread, 1.0), np.nan)
        return np.asarray(np.clip(scaled, -self.clip, self.clip))

    def to_dict(self) -> dict[str, Any]:
        """Return the clip."""
        return {"kind": self.kind, "clip": self.clip}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CrossSectionScaler:
        """Rebuild from :meth:`to_dict`."""
        return cls(float(stored["clip"]))


@dataclass(frozen=True, eq=False)
class RollingScaler:
    """A fold: each symbol's and feature's own exponential mean and deviation, up to and including the bar.

    The update is robust: before it enters mean and variance, a value is pulled to within ``clip`` deviations of
    the mean so far, so that one bad print does not blind the scaler for a year.

    Attributes
    ----------
    half_life_bars
        Half-life of the memory; the weight of a new value is never below that of a plain mean of all so far,
        so that the scaler is an expanding one at first.
    least_bars
        Values before the first scaled one.
    state
        ``count``, ``mean`` and ``variance``, each ``(N, F)``; ``transform`` advances it in place.
    """

    half_life_bars: float = 252.0
    clip: float = 6.0
    least_bars: int = 20
    state: dict[str, FloatArray] = field(default_factory=dict)
    kind: ClassVar[str] = "rolling"

    def transform(self, features: Features) -> Features:
        """Scale the next bars and learn from them; call with successive blocks, each once."""
        shape = features.values.shape[1:]
        for name in ("count", "mean", "variance"):
            if self.state.setdefault(name, np.zeros(shape)).shape != shape:
                raise InputError(f"the scaler knows {self.state[name].shape} symbols and features, not {shape}")
        values = np.empty_like(features.values)
        weight = 1.0 - 0.5 ** (1.0 / self.half_life_bars)
        arrays = (self.state["count"], self.state["mean"], self.state["variance"])
        _roll(features.values, values, *arrays, weight, self.clip, self.least_bars)
        return replace(features, values=values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings and the state."""
        settings = {"half_life_bars": self.half_life_bars, "clip": self.clip, "least_bars": self.least_bars}
        return {"kind": self.kind, **settings, "state": {k: v.tolist() for k, v in self.state.items()}}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> RollingScaler:
        """Rebuild from :meth:`to_dict`."""
        state = {k: np.array(v, dtype=np.float64) for k, v in stored["state"].items()}
        return cls(float(stored["half_life_bars"]), float(stored["clip"]), int(stored["least_bars"]), state)


@njit(nogil=True, cache=True)
def _roll(x, out, count, mean, variance, weight, clip, least):  # type: ignore[no-untyped-def]
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            for f in range(x.shape[2]):
                value = np.float64(x[t, j, f])
                out[t, j, f] = np.nan
                if not abs(value) < np.inf:
                    continue
                n = count[j, f]
                scale = np.sqrt(variance[j, f])
                step = value - mean[j, f]
                if n >= least:
                    step = min(max(step, -clip * scale), clip * scale) if scale > 0.0 else step
                n += 1.0
                count[j, f] = n
                w = max(weight, 1.0 / n)
                mean[j, f] += w * step
                variance[j, f] = (1.0 - w) * (variance[j, f] + w * step * step)
                scale = np.sqrt(variance[j, f])
                if n >= least:
                    scaled = (value - mean[j, f]) / scale if scale > 0.0 else 0.0
                    out[t, j, f] = min(max(scaled, -clip), clip)


_KINDS: dict[str, Callable[[Mapping[str, Any]], Scaler]] = {
    TrainScaler.kind: TrainScaler.from_dict,
    CrossSectionScaler.kind: CrossSectionScaler.from_dict,
    RollingScaler.kind: RollingScaler.from_dict,
}


def scaler_from_dict(stored: Mapping[str, Any]) -> Scaler:
    """Rebuild any scaler from its ``to_dict``; an unknown kind is refused."""
    if stored.get("kind") not in _KINDS:
        raise did_you_mean("scaler", str(stored.get("kind")), _KINDS)
    return _KINDS[stored["kind"]](stored)
