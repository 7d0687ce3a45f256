"""A meta-learner of few weights: one per member and one per class, by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_STEPS = 50
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class OpinionPool:
    """Conditional logistic regression: log odds are a weighted sum of the members' scores plus a constant per class.

    ``log p_c = Σ_m weight_m · score_mc / spread_m + constant_c`` up to normalisation (McFadden 1974; as a logarithmic
    opinion pool: Genest & Zidek 1986). A member has one weight for all classes, so a handful of numbers is learnt, and
    the constants put back how frequent classes truly are, whatever weights the members were fitted with: fitted on
    samples that no member saw, the probabilities are calibrated. The penalty draws the weights to zero, where only the
    frequencies are left; a member whose weight would be negative is left out, the most negative first (Breiman 1996:
    stacking wants no negative weights).

    Attributes
    ----------
    weights, spread
        ``(M,)``.
    constants
        ``(C,)``.
    """

    weights: FloatArray
    constants: FloatArray
    spread: FloatArray

    @classmethod
    def fit(cls, scores: FloatArray, classes: IntArray, weight: FloatArray, penalty: float) -> OpinionPool:
        """Fit.

        Parameters
        ----------
        scores
            ``(n, M, C)``.
        classes
            ``(n,)``.
        weight
            ``(n,)``: how many independent observations a sample stands for.
        penalty
            Half of it times the squared weights is added to the loss, summed over observations.
        """
        members = scores.shape[1]
        spread = np.maximum(_centred(scores).std(axis=(0, 2)), 1e-9)
        scaled = _centred(scores) / spread[:, None]
        kept = np.arange(members)
        while True:
            weights, constants = _most_likely(scaled[:, kept], classes, weight, penalty)
            if not len(kept) or weights.min() >= 0:
                break
            kept = np.delete(kept, weights.argmin())
        whole = np.zeros(members)
        whole[kept] = weights
        return cls(whole, constants, spread)

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Return ``(n, C)``, summing to one."""
        pooled = np.einsum("nmc,m->nc", _centred(scores), self.weights / self.spread)
        return _softmax(pooled + self.constants)


def _most_likely(
    scaled: FloatArray, classes: IntArray, weight: FloatArray, penalty: float
) -> tuple[FloatArray, FloatArray]:
    """Return the weights of members ``(M,)`` and the constants of classes ``(C,)``, by Newton's method."""
    members, count = scaled.shape[1:]
    design = np.concatenate([scaled, np.broadcast_to(np.eye(count), (len(scaled), count, count))], axis=1)
    ridge = np.concatenate([np.full(members, penalty), np.full(count, _LEAST)])
    theta = np.concatenate([np.zeros(members), _log_shares(classes, weight, count)])
    for _ in range(_STEPS):
        step = _newton_step(theta, design, classes, weight, ridge)
        longest = float(np.abs(step).max())
        theta = theta + step / max(longest, 1.0)
        if longest < 1e-9:
            break
    return theta[:members], theta[members:]


def _newton_step(
    theta: FloatArray, design: FloatArray, classes: IntArray, weight: FloatArray, ridge: FloatArray
) -> FloatArray:
    chance = _softmax(np.einsum("nkc,k->nc", design, theta))
    mean = np.einsum("nkc,nc->nk", design, chance)
    came = np.take_along_axis(design, classes[:, None, None], axis=2)[:, :, 0]
    slope = weight @ (came - mean) - ridge * theta
    flat = np.moveaxis(design, 2, 1).reshape(-1, design.shape[1])
    second = (flat * (weight[:, None] * chance).reshape(-1, 1)).T @ flat
    curvature = second - (mean * weight[:, None]).T @ mean + np.diag(ridge)
    return np.asarray(np.linalg.solve(curvature, slope))


def _log_shares(classes: IntArray, weight: FloatArray, count: int) -> FloatArray:
    share = np.bincount(classes, weight, count) / weight.sum()
    return np.asarray(np.log(np.maximum(share, 1e-3)))


def _centred(scores: FloatArray) -> FloatArray:
    return np.asarray(scores - scores.mean(axis=2, keepdims=True))


def _softmax(logits: FloatArray) -> FloatArray:
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def log_loss(probability: FloatArray, classes: IntArray, weight: FloatArray) -> float:
    """Return the weighted mean of minus the log of what the class that came was given."""
    given = np.take_along_axis(probability, classes[:, None], axis=1)[:, 0]
    return float(np.average(-np.log(np.maximum(given, 1e-12)), weights=weight))


def macro_f1(probability: FloatArray, classes: IntArray, weight: FloatArray) -> float:
    """Return the mean over the classes that came of F1, each sample taken for its likeliest class."""
    said = probability.argmax(axis=1)
    scores = []
    for one in np.unique(classes):
        both = float(weight @ ((said == one) & (classes == one)))
        either = float(weight @ (said == one) + weight @ (classes == one))
        scores.append(2.0 * both / either)
    return float(np.mean(scores))
