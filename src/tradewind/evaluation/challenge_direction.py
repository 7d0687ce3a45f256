"""How well ups and downs were called: counts of each date, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tradewind.models.forecast import Forecast

FloatArray = NDArray[np.float64]

UP, DOWN = 1, -1

BARRIERS, SIGN = "which barrier is touched first", "the sign of the return"


def calls_of(
    made: Mapping[str, Forecast],
    returns: FloatArray,
    classes: NDArray[np.int8] | None,
    index: int,
    common: NDArray[np.bool_],
) -> tuple[str, dict[str, FloatArray]]:
    """Return what was called, and the counts ``(T, 8)`` of every model's calls on the same bars.

    Barrier classes where there are some and all forecast them (the likeliest one is the call), else the sign of the
    return (the side on which the median lies).

    Parameters
    ----------
    returns, classes
        ``(T, N)`` over the horizon ``index``.
    common
        ``(T, N)`` which of them count.
    """
    if classes is not None and all(one.probabilities is not None for one in made.values()):
        calls = {name: likeliest(one, index) for name, one in made.items()}
        return BARRIERS, {name: counts(call, classes, common) for name, call in calls.items()}
    happened = np.sign(np.nan_to_num(returns)).astype(np.int8)
    calls = {name: side_of_median(one, index) for name, one in made.items()}
    return SIGN, {name: counts(call, happened, common) for name, call in calls.items()}


def likeliest(forecast: Forecast, index: int) -> NDArray[np.int8]:
    """Return the likeliest class ``(T, N)``, 0 where there is no forecast."""
    assert forecast.probabilities is not None
    chances = forecast.probabilities[:, :, index]
    known = np.isfinite(chances).all(axis=-1)
    return np.where(known, np.argmax(np.nan_to_num(chances), axis=-1) - 1, 0).astype(np.int8)


def side_of_median(forecast: Forecast, index: int) -> NDArray[np.int8]:
    """Return the side on which the median lies ``(T, N)``, 0 where it is 0 or missing."""
    middle = int(np.argmin(np.abs(np.asarray(forecast.levels) - 0.5)))
    return np.sign(np.nan_to_num(forecast.quantiles[:, :, index, middle])).astype(np.int8)


def counts(called: NDArray[np.int8], happened: NDArray[np.int8], known: NDArray[np.bool_]) -> FloatArray:
    """Return ``(T, 8)``: of ups and then of downs, right, wrong and missed calls; calls that were right, and all."""
    columns = []
    for side in (UP, DOWN):
        said, came = known & (called == side), known & (happened == side)
        columns += [said & came, said & ~came, came & ~said]
    columns += [known & (called == happened), known]
    return np.stack([one.sum(axis=1) for one in columns], axis=1).astype(np.float64)


def f1(total: FloatArray) -> FloatArray:
    """Return the mean F1 of ups and downs from summed counts ``(..., 8)``; NaN where one never came nor was called."""
    return np.asarray((_f1(total, 0) + _f1(total, 3)) / 2)


def direction_scores(total: FloatArray) -> dict[str, float | int | None]:
    """Return accuracy, precision, recall and F1 from summed counts ``(8,)``; None where nothing was called or came."""
    found: dict[str, float | int | None] = {"n": int(total[7]), "accuracy": _ratio(total[6], total[7])}
    for name, at in (("up", 0), ("down", 3)):
        right, wrong, missed = total[at : at + 3]
        found[f"precision_{name}"] = _ratio(right, right + wrong)
        found[f"recall_{name}"] = _ratio(right, right + missed)
        found[f"f1_{name}"] = _ratio(2 * right, 2 * right + wrong + missed)
        found[f"called_{name}"] = int(right + wrong)
    both = float(f1(total))
    return {**found, "f1": both if np.isfinite(both) else None}


def _f1(total: FloatArray, at: int) -> FloatArray:
    right, wrong, missed = (total[..., at + i] for i in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(2 * right / (2 * right + wrong + missed))


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
