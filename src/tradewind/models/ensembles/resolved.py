"""Forecasts that have come due at a bar, and how well each member did on them beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from tradewind.stats import distribution
from tradewind.stats.losses import pinball

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Resolved:
    """What became known at the close of one bar about earlier forecasts; nothing else is known of the present.

    Attributes
    ----------
    made
        ``(M, N, H, Q)``: what each member forecast ``h`` bars ago over ``h`` bars, log returns, NaN for none.
    came
        ``(N, H)``: the log return over these ``h`` bars, NaN where it is not known.
    levels
        The ``Q`` levels.

    Notes
    -----
    Members are compared on the same forecasts only, by their excess over the mean of the members present, so one that
    was absent on hard days gains nothing by it. Losses are in units of what a calibrated normal forecast of the
    members' mean width would lose: known when the forecast was made, which keeps the score proper, and alike for
    calm and wild names. All symbols of a bar together are one observation, because they move together.
    """

    made: FloatArray
    came: FloatArray
    levels: tuple[float, ...]

    @cached_property
    def scale(self) -> FloatArray:
        """``(N, H)`` mean over members of the normal-equivalent standard deviation; NaN where none or no width."""
        return positive(mean_of_present(sigma_of(self.made, self.levels)))

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """``(M, N, H)``: True where a member's forecast can be judged beside another's."""
        present = np.isfinite(self.made).all(axis=-1) & np.isfinite(self.came / self.scale)
        return np.asarray(present & (present.sum(axis=0) > 1))

    @cached_property
    def excess_loss(self) -> FloatArray:
        """``(H, M)`` mean pinball loss above the members' mean, as a share of a calibrated one; NaN: none due."""
        unit = self.scale * _calibrated_loss(self.levels)
        loss = np.mean(pinball(self.came, self.made, self.levels), axis=-1) / unit
        return self._excess(loss)

    @cached_property
    def excess_log_score(self) -> FloatArray:
        """``(H, M)`` mean log density above the members' mean, nats; NaN: none due.

        The density is read off the quantiles (:func:`tradewind.stats.distribution.log_density`).
        """
        on = distribution.grid(self.levels)
        return self._excess(distribution.log_density(self.made, self.came[None], on))

    def complete(self, horizon_index: int) -> tuple[FloatArray, FloatArray]:
        """Return what all members forecast, ``(S, Q, M)``, and what came, ``(S,)``, in units of the scale."""
        all_there = self.judged[:, :, horizon_index].all(axis=0)
        scale = self.scale[all_there, horizon_index]
        made = np.moveaxis(self.made[:, all_there, horizon_index], 0, -1)
        return made / scale[:, None, None], self.came[all_there, horizon_index] / scale

    def _excess(self, figure: FloatArray) -> FloatArray:
        """Return ``(H, M)`` means over symbols of a figure ``(M, N, H)`` less that of the members beside."""
        known = np.where(self.judged, figure, np.nan)
        above = np.where(self.judged, known - mean_of_present(known), 0.0)
        count = self.judged.sum(axis=1)
        return np.where(count > 0, above.sum(axis=1) / np.maximum(count, 1), np.nan).T


def mean_of_present(values: FloatArray) -> FloatArray:
    """Return the mean over axis 0 of the finite values, NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def sigma_of(quantiles: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the normal-equivalent standard deviation of the middle 80 % (levels nearest to 10 and 90 %)."""
    low, high, span = _middle(tuple(levels))
    return (quantiles[..., high] - quantiles[..., low]) / span


def positive(values: FloatArray) -> FloatArray:
    """Return the values, NaN for those that are not above zero."""
    return np.where(values > 0.0, values, np.nan)


@cache
def _middle(levels: tuple[float, ...]) -> tuple[int, int, float]:
    from scipy.special import ndtri

    p = np.asarray(levels)
    low, high = int(np.argmin(np.abs(p - 0.1))), int(np.argmin(np.abs(p - 0.9)))
    return low, high, float(ndtri(p[high]) - ndtri(p[low]))


@cache
def _calibrated_loss(levels: tuple[float, ...]) -> float:
    """Return the mean over levels of the expected pinball loss of a standard normal forecast of itself."""
    from scipy.special import ndtri

    z = ndtri(np.asarray(levels))
    return float(np.mean(np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)))
