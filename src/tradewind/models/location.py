"""Which symbols will do better than the others: a heavily shrunk cross-sectional regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Spread of true effects: one spread of an input moves the expected return by a hundredth of its volatility.
_EFFECT_SPREAD = 0.01
_CLIP = 3.0


@dataclass(frozen=True, eq=False)
class CrossSection:
    """Linear effects on the market-relative return in units of its volatility.

    Attributes
    ----------
    spread
        ``(K,)`` training spread of each input, which has mean zero over the symbols of a bar.
    effects
        ``(K,)`` expected volatility-scaled return for one spread of the input.
    """

    spread: FloatArray
    effects: FloatArray

    @classmethod
    def fit(cls, inputs: NDArray[np.float32], ratio: FloatArray, day: NDArray[np.int64], facts: float) -> CrossSection:
        """Ridge regression with the penalty of a normal prior on the effects.

        Parameters
        ----------
        inputs, ratio, day
            ``(n, K)`` inputs, ``(n,)`` returns over their volatility, ``(n,)`` number of each sample's bar.
        facts
            Independent observations in the samples: overlapping horizons count once.
        """
        target = np.clip(ratio, -_CLIP, _CLIP)
        count = np.maximum(np.bincount(day), 1)
        target = target - (np.bincount(day, target) / count)[day]
        if not target.any():  # one symbol a bar: there is nobody to do better than
            return cls(np.ones(inputs.shape[1]), np.zeros(inputs.shape[1]))
        spread = np.sqrt(np.mean(np.nan_to_num(inputs.astype(np.float64)) ** 2, axis=0)) + 1e-9
        design = _standard(inputs, spread)
        penalty = float(np.mean(target**2)) / (max(facts, 1.0) * _EFFECT_SPREAD**2)
        gram = design.T @ design / len(design) + penalty * np.eye(design.shape[1])
        effects = np.linalg.solve(gram, design.T @ target / len(design))
        return cls(spread, np.asarray(effects, dtype=np.float64))

    def predict(self, inputs: NDArray[np.float32]) -> FloatArray:
        """Return expected market-relative returns in units of volatility, ``(n,)``."""
        return np.asarray(_standard(inputs, self.spread) @ self.effects)


def _standard(inputs: NDArray[np.float32], spread: FloatArray) -> FloatArray:
    """Scale and clip; a missing input says nothing, which for an effect around zero is zero."""
    return np.nan_to_num(np.clip(inputs / spread, -_CLIP, _CLIP).astype(np.float64))
