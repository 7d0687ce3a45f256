"""Which state is which regime: by what the states are like, and by what they were called before.

Two moments of each state, in the units of its window, decide. *Turbulence* is the mean of the log volatility plus the
log of the standard deviation of the return; *drift* is the mean of the return plus the mean of the momentum. The most
turbulent state is ``volatile``; of the others the one of highest drift is ``bull``, the one of lowest ``bear``, and
the one between them ``range``.

A refit keeps the names: new states are matched to the old ones by the distance between their distributions. Only
where the names so kept would say something false of the states are they given anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tradewind.risk.regimes.hidden_markov import Fit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LABELS = ("bull", "bear", "volatile", "range")
BULL, BEAR, VOLATILE, RANGE = range(4)

_FIRST_THINGS_FIRST = 1e6
"""Weight of turbulence against drift: who is volatile is settled before who is bull."""
_SLACK = 0.25
"""How far ``range`` may drift past ``bull`` or ``bear``, in window deviations, before names are given anew."""


def moments(fit: Fit, names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Return turbulence and drift of each state, ``(S,)`` each, in the units of the fit's window."""
    used = [names[c] for c in fit.columns]
    turbulence = 0.5 * np.log(fit.covariance[:, fit.lead, fit.lead])
    drift = fit.mean[:, fit.lead].copy()
    if "volatility" in used:
        turbulence = turbulence + fit.mean[:, used.index("volatility")]
    if "momentum" in used:
        drift += fit.mean[:, used.index("momentum")]
    return turbulence, drift


def order_by_moments(fit: Fit, names: Sequence[str]) -> IntArray:
    """Return for each label the state that its moments call so: the best one-to-one assignment.

    The score is the drift of ``bull`` less that of ``bear``, and before all else the turbulence of ``volatile``.
    """
    turbulence, drift = moments(fit, names)
    score = np.zeros((len(LABELS), len(drift)))
    score[BULL], score[BEAR] = drift, -drift
    score[VOLATILE] = _FIRST_THINGS_FIRST * (turbulence - turbulence.max())
    return _assigned(-score)


def order_by_distance(fit: Fit, old: Fit) -> IntArray:
    """Return for each state of the old fit the state of the new one that takes its place: least total distance."""
    shared, new_place, old_place = np.intersect1d(fit.columns, old.columns, return_indices=True)
    new_states = _raw(fit, new_place)
    old_states = _raw(old, old_place)
    cost = np.array([[_bhattacharyya(a, b) for b in new_states] for a in old_states])
    return _assigned(cost) if len(shared) else np.arange(len(cost))


def still_true(fit: Fit, names: Sequence[str]) -> bool:
    """Return whether states in the order of the labels deserve them.

    ``volatile`` must be the most turbulent and ``bull`` drift above ``bear``; ``range`` may leave the room between
    them by a quarter of a deviation, so that two states that are nearly alike do not swap names at each refit.
    """
    turbulence, drift = moments(fit, names)
    between = drift[BEAR] - _SLACK <= drift[RANGE] <= drift[BULL] + _SLACK
    return bool(int(np.argmax(turbulence)) == VOLATILE and drift[BULL] > drift[BEAR] and between)


def named(fit: Fit, names: Sequence[str], old: Fit | None) -> tuple[Fit, bool]:
    """Return the fit with its states in the order of :data:`LABELS`, and whether old names had to be given anew."""
    if old is None:
        return fit.ordered(order_by_moments(fit, names)), False
    kept = fit.ordered(order_by_distance(fit, old))
    if still_true(kept, names):
        return kept, False
    return fit.ordered(order_by_moments(fit, names)), True


def _raw(fit: Fit, place: IntArray) -> list[tuple[FloatArray, FloatArray]]:
    """Return mean and covariance of each state in the units of the observations, on some of its columns."""
    scale = fit.scale[place]
    mean = fit.center[place] + fit.mean[:, place] * scale
    covariance = fit.covariance[:, place][:, :, place] * np.outer(scale, scale)
    return list(zip(mean, covariance, strict=True))


def _bhattacharyya(a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> float:
    """Return the Bhattacharyya distance of two Gaussians (Kailath 1967); it does not depend on units."""
    middle = (a[1] + b[1]) / 2
    gap = a[0] - b[0]
    log_spread = [float(np.linalg.slogdet(c)[1]) for c in (middle, a[1], b[1])]
    return float(gap @ np.linalg.solve(middle, gap)) / 8 + (log_spread[0] - (log_spread[1] + log_spread[2]) / 2) / 2


def _assigned(cost: FloatArray) -> IntArray:
    """Return the column of each row in the one-to-one assignment of least cost (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(cost)[1], dtype=np.int64)
