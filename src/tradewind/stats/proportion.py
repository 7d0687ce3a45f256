"""How well a proportion is known that so many trials have shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def wilson(share: ArrayLike, n: ArrayLike, z: float = 1.96) -> tuple[FloatArray, FloatArray]:
    """Return the interval of a proportion (Wilson 1927), 95 % by default; ``n`` independent trials, fractions too."""
    share, n = np.asarray(share, dtype=np.float64), np.maximum(np.asarray(n, dtype=np.float64), 1.0)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def clustered_wilson(hits: ArrayLike, trials: ArrayLike, z: float = 1.96) -> tuple[float, float]:
    """Return the interval of a proportion whose trials come in clusters ``(K,)`` and are alike within one.

    The trials count for fewer by the design effect, the variance between clusters over that of independent trials
    (Kish 1965), and never for less than one a cluster; where all trials agree nothing is known of it, and each cluster
    is one.
    """
    k, m = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    clusters, total = len(m), float(m.sum())
    share = float(k.sum()) / total
    plain = share * (1.0 - share) / total
    size = float(clusters)
    if plain > 0 and clusters > 1:
        between = clusters / (clusters - 1.0) * float(((k - share * m) ** 2).sum()) / total**2
        size = min(max(total * min(1.0, plain / max(between, 1e-300)), size), total)
    low, high = wilson(share, size, z)
    return float(low), float(high)
