"""From the quantile levels that a model has to those that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError

FloatArray = NDArray[np.float64]
_SAME = 1e-9


def beyond(own: Sequence[float], wanted: Sequence[float]) -> tuple[float, ...]:
    """Return the wanted levels outside the range of a model's own."""
    return tuple(p for p in wanted if p < own[0] - _SAME or p > own[-1] + _SAME)


def at_levels(values: FloatArray, own: Sequence[float], wanted: Sequence[float]) -> FloatArray:
    """Return quantiles at other levels, ``(..., W)`` from ``(..., Q)``.

    Between two of the model's own levels they are interpolated linearly in the level, as its package does it. Beyond
    the outermost one the package repeats it, which calls nine tenths nineteen twentieths; here a normal tail goes on
    from it, as wide as the distance of the outermost level from the median says.

    Parameters
    ----------
    values
        Quantiles at the levels ``own``; crossing ones are sorted first (Chernozhukov, Fernández-Val & Galichon 2010).
        NaN where any of them is missing.
    own, wanted
        Rising levels; ``own`` with the median and one on each side of it, else ``DataError``.
    """
    from scipy.special import ndtri

    levels = np.asarray(own, dtype=np.float64)
    middle = int(np.argmin(np.abs(levels - 0.5)))
    if abs(levels[middle] - 0.5) > _SAME or not 0 < middle < len(levels) - 1 or not (np.diff(levels) > 0).all():
        raise DataError(f"the weights forecast the levels {tuple(own)}: no median with a level on each side of it")
    complete = np.isfinite(values).all(axis=-1, keepdims=True)
    values = np.sort(np.where(complete, values, 0.0), axis=-1)
    answer = np.empty((*values.shape[:-1], len(wanted)))
    for place, p in enumerate(wanted):
        if beyond(own, (p,)):
            edge = 0 if p < 0.5 else -1
            share = (ndtri(p) - ndtri(levels[edge])) / ndtri(levels[edge])
            answer[..., place] = values[..., edge] + share * (values[..., edge] - values[..., middle])
        else:
            answer[..., place] = _between(values, levels, p)
    return np.where(complete, answer, np.nan)


def _between(values: FloatArray, levels: FloatArray, p: float) -> FloatArray:
    right = min(max(int(np.searchsorted(levels, p - _SAME)), 1), len(levels) - 1)
    share = np.clip((p - levels[right - 1]) / (levels[right] - levels[right - 1]), 0.0, 1.0)
    return np.asarray(values[..., right - 1] * (1.0 - share) + values[..., right] * share)
