"""Hierarchical risk parity: weights from the tree of who moves with whom, without inverting a covariance."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Linkage = Literal["single", "average", "complete", "ward"]


def hierarchical_risk_parity(covariance: FloatArray, linkage: Linkage = "ward") -> FloatArray:
    """Return the weights ``(N,)``, positive and summing to one (López de Prado 2016).

    Names are ordered by a tree over the distance ``sqrt((1 - correlation) / 2)``; the ordered list is halved again and
    again, and each half gets the share that makes their variances alike, each the variance of its inverse-variance
    portfolio. The paper links by single linkage over distances of distances; here the distances themselves are linked,
    by default with Ward's criterion, which chains less, and leaves are turned so that neighbours are alike (Bar-Joseph,
    Gifford & Jaakkola 2001).
    """
    count = len(covariance)
    weight, variance = np.ones(count), np.diag(covariance)
    parts = [seriation(covariance, linkage)]
    while parts:
        halves = [(part[: len(part) // 2], part[len(part) // 2 :]) for part in parts if len(part) > 1]
        for left, right in halves:
            risks = [_inverse_variance_risk(covariance, variance, half) for half in (left, right)]
            share = 1.0 - risks[0] / (risks[0] + risks[1])
            weight[left] *= share
            weight[right] *= 1.0 - share
        parts = [half for pair in halves for half in pair]
    return weight


def seriation(covariance: FloatArray, linkage: Linkage = "ward") -> IntArray:
    """Return the order of the leaves of the tree over correlation distances, ``(N,)``."""
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(covariance) < 2:
        return np.arange(len(covariance))
    deviation = np.sqrt(np.diag(covariance))
    correlation = np.clip(covariance / np.outer(deviation, deviation), -1.0, 1.0)
    distance = squareform(np.sqrt((1.0 - correlation) / 2.0), checks=False)
    tree = hierarchy.linkage(distance, method=linkage, optimal_ordering=len(covariance) <= 1000)
    return np.asarray(hierarchy.leaves_list(tree), dtype=np.int64)


def _inverse_variance_risk(covariance: FloatArray, variance: FloatArray, part: IntArray) -> float:
    share = 1.0 / variance[part]
    share /= share.sum()
    return float(share @ covariance[np.ix_(part, part)] @ share)
