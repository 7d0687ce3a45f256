"""Forecasts of several models combined into one, and how far the models disagree.

Quantiles are averaged level by level (Vincentization: Vincent 1912; Lichtendahl, Grushka-Cockayne & Winkler 2013): the
combination has the members' shape, with the mean of their places and widths. Mixing their densities (the linear pool)
adds the spread between members to the width, so a pool of calibrated members is too wide (Gneiting & Ranjan 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.models.assembly import content_hash
from tradewind.models.ensembles.base import Combiner, even
from tradewind.models.ensembles.fold import WeightFold, came_due
from tradewind.models.ensembles.resolved import mean_of_present, positive, sigma_of
from tradewind.models.forecast import Forecast
from tradewind.models.settings import ENSEMBLE

FloatArray = NDArray[np.float64]

EQUAL_WEIGHT = "equal_weight"
"""What the baseline of every combination is called among models."""


@dataclass(frozen=True, eq=False)
class Combined:
    """Members' forecasts combined.

    Attributes
    ----------
    forecast, equal
        With the method's weights, and with equal ones: the baseline.
    members
        What was combined, by name, on the same axes.
    weights
        ``(T, H, M)``: of the forecasts made at each bar, before members without a forecast are left out.
    spread
        ``(T, N, H)`` disagreement: standard deviation of the members' medians, in deviations of their mean forecast.
    distance
        ``(T, N, H)`` disagreement: mean absolute distance of their quantiles from the mean ones, in the same unit.
    left_out
        Why members have no forecast in some fold, by name.

    Both figures are of all members alike, whatever their weights; NaN where fewer than two have a forecast.
    """

    forecast: Forecast
    equal: Forecast
    members: Mapping[str, Forecast]
    weights: FloatArray
    spread: FloatArray
    distance: FloatArray
    left_out: Mapping[str, str]

    def weights_at(self, row: int) -> dict[str, dict[str, float]]:
        """Return the weights at one bar, by horizon and member."""
        return self._named(self.weights[row])

    def mean_weights(self) -> dict[str, dict[str, float]]:
        """Return the weights averaged over the bars with a forecast, by horizon and member."""
        made = self.forecast.available.any(axis=(1, 2))
        return self._named(self.weights[made].mean(axis=0)) if made.any() else {}

    def shares_at(self, row: int, column: int) -> dict[str, dict[str, float]]:
        """Return how much of one symbol's forecast each member is, by horizon; all 0 where there is none."""
        rows = np.array([row])
        shares = shares_of([one.part(rows) for one in self.members.values()], self.weights[rows])
        return self._named(np.stack(shares, axis=-1)[0, column])

    def disagreement_at(self, row: int, column: int) -> dict[str, dict[str, float | None]]:
        """Return ``spread`` and ``distance`` of one symbol's forecasts, by horizon."""
        pairs = zip(self.forecast.horizons, self.spread[row, column], self.distance[row, column], strict=True)
        return {str(h): {"spread": _known(s), "distance": _known(d)} for h, s, d in pairs}

    def _named(self, weights: FloatArray) -> dict[str, dict[str, float]]:
        rows = zip(self.forecast.horizons, weights, strict=True)
        return {str(h): {name: float(w) for name, w in zip(self.members, row, strict=True)} for h, row in rows}


def combine(
    members: Mapping[str, Forecast],
    outcomes: FloatArray,
    combiner: Combiner,
    left_out: Mapping[str, str] | None = None,
) -> Combined:
    """Combine out-of-sample forecasts bar by bar, each with weights learnt from what had come due by then.

    Parameters
    ----------
    members
        Two or more, all on one time axis, with the same symbols, horizons and levels; NaN where one has no forecast.
    outcomes
        ``(T, N, H)`` log returns from each bar, as labels have them: moved here to the bars that they are known at.
    left_out
        Why some have no forecast in some fold, to be passed on.

    Raises
    ------
    InputError
        Fewer than two members, or members on other axes.
    DataError
        No member has any forecast.
    """
    forecasts = list(members.values())
    _require_alike(members)
    first = forecasts[0]
    fold = WeightFold(combiner, first.horizons, first.levels, len(forecasts))
    known = came_due(outcomes, first.horizons)
    _, weights = fold.step(fold.initial_state(len(first.symbols)), [one.quantiles for one in forecasts], known)
    level = np.broadcast_to(even(first.horizons, len(forecasts)), weights.shape)
    equal = average(forecasts, level, EQUAL_WEIGHT)
    spread, distance = disagreement(forecasts, equal)
    combined = Combined(
        average(forecasts, weights, ENSEMBLE), equal, dict(members), weights, spread, distance, dict(left_out or {})
    )
    said = explanation_of(combined, combiner)
    version = content_hash(repr(combiner), [[name, one.version] for name, one in members.items()])
    return replace(combined, forecast=replace(combined.forecast, explanation=said, version=version))


def average(forecasts: Sequence[Forecast], weights: FloatArray, name: str) -> Forecast:
    """Return the weighted mean of forecasts, level by level; weights ``(T, H, M)``.

    At each bar, symbol and horizon the members with a forecast share the whole weight; where they have none of it, they
    share alike. Without any member there is no forecast. What not every forecast has, like class probabilities or the
    path's extremes, is averaged where all members that share in the forecast have it, and missing elsewhere.
    """
    shares = shares_of(forecasts, weights)
    names = dict.fromkeys(array for one in forecasts for array in one.arrays)
    said: dict[str, Any] = {array: _mean_of(array, forecasts, shares) for array in names}
    version = content_hash(*(one.version for one in forecasts))
    return replace(forecasts[0], **said, model=name, version=version, explanation={})


def blank_forecast(like: Forecast, model: str) -> Forecast:
    """Return a model's forecast on the same axes that says nothing."""
    nothing = like.mapped(lambda values: np.full_like(values, np.nan))
    return replace(like, **nothing, model=model, version="", explanation={})


def shares_of(forecasts: Sequence[Forecast], weights: FloatArray) -> list[FloatArray]:
    """Return each member's share of every forecast, ``(T, N, H)``: they sum to 1, or to 0 where there is none."""
    present = [one.available for one in forecasts]
    own = [np.where(there, weights[:, None, :, index], 0.0) for index, there in enumerate(present)]
    total, count = sum(own), np.maximum(sum(there.astype(np.float64) for there in present), 1.0)
    with np.errstate(invalid="ignore"):
        return [np.where(total > 0, w / total, there / count) for w, there in zip(own, present, strict=True)]


def disagreement(forecasts: Sequence[Forecast], equal: Forecast) -> tuple[FloatArray, FloatArray]:
    """Return how far members are apart, ``(T, N, H)`` each: ``spread`` and ``distance`` of :class:`Combined`."""
    several = sum(one.available.astype(np.int64) for one in forecasts) > 1
    scale = np.where(several, positive(sigma_of(equal.quantiles, equal.levels)), np.nan)
    middle = int(np.argmin(np.abs(np.asarray(equal.levels) - 0.5)))
    squares, distances = [], []
    for one in forecasts:
        gap = np.abs(np.where(one.available[..., None], one.quantiles, np.nan) - equal.quantiles)
        squares.append(gap[..., middle] ** 2)
        distances.append(gap.mean(axis=-1))
    return np.sqrt(mean_of_present(np.stack(squares))) / scale, mean_of_present(np.stack(distances)) / scale


def explanation_of(combined: Combined, combiner: Combiner) -> dict[str, Any]:
    """Return what can be said of a combination in a few numbers."""
    figures = {"spread": combined.spread, "distance": combined.distance}
    horizons = combined.forecast.horizons
    return {
        "method": combiner.name,
        "members": list(combined.members),
        "weights_last": combined.weights_at(-1),
        "weights_mean": combined.mean_weights(),
        "disagreement": {str(h): {k: _typical(v[..., i]) for k, v in figures.items()} for i, h in enumerate(horizons)},
        "left_out": dict(combined.left_out),
    }


def _mean_of(name: str, forecasts: Sequence[Forecast], shares: Sequence[FloatArray]) -> FloatArray | None:
    """Return the mean of one of the arrays where all members that speak have it, NaN elsewhere.

    None where that is everywhere, of an array that a forecast need not have.
    """
    like = next(one.arrays[name] for one in forecasts if name in one.arrays)
    total, weight = np.zeros_like(like), np.zeros_like(shares[0])
    for one, share in zip(forecasts, shares, strict=True):  # one after the other: rising stays rising
        wide = _widened(share, like.ndim)
        total = total + np.where(wide > 0, wide * one.arrays.get(name, np.nan), 0.0)
        weight = weight + share
    mean = np.where(_widened(weight, like.ndim) > 0, total, np.nan)
    return mean if name in ("quantiles", "score") or np.isfinite(mean).any() else None


def _widened(share: FloatArray, dimensions: int) -> FloatArray:
    return share.reshape(*share.shape, *[1] * (dimensions - share.ndim))


def _known(value: np.float64) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _typical(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 6) if known.size else None


def _require_alike(members: Mapping[str, Forecast]) -> None:
    """Raise unless there are two or more, on the same axes, and one of them says something."""
    if len(members) < 2:
        raise InputError(f"an ensemble of {len(members)} member(s) has nothing to weigh", hint="name two or more")
    first_name, first = next(iter(members.items()))
    for name, one in members.items():
        for axis in ("symbols", "horizons", "levels"):
            if getattr(one, axis) != getattr(first, axis):
                own, other = getattr(one, axis), getattr(first, axis)
                raise InputError(
                    f"{name} forecasts other {axis} than {first_name}: {own}, not {other}",
                    hint="give all members of the ensemble the same",
                )
        if not np.array_equal(one.times, first.times):
            raise InputError(f"{name} and {first_name} forecast at other times")
    if not any(one.available.any() for one in members.values()):
        raise DataError(
            "no member of the ensemble made any forecast", hint="`tradewind data check` shows what is missing"
        )
