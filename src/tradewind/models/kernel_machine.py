"""A support vector machine whose cost grows with the samples, not with their square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(eq=False)
class KernelMachine:
    """Support vector regression with a Gaussian kernel, one machine per target, on a map shared by all.

    The kernel is approximated by its values at drawn landmarks (Nyström: Williams & Seeger 2001), on which the
    machine is linear; the loss is the squared distance beyond ``tolerance`` (Ho & Lin 2012), whose minimum is the
    mean, as the centre and the log size need, and is found without drawing.

    Parameters
    ----------
    landmarks
        Samples drawn for the map.
    cost
        Price of one squared error against the squared length of the weights.
    tolerance
        Errors up to this cost nothing.
    seed
        Of the draw.
    """

    landmarks: int = 300
    cost: float = 0.03
    tolerance: float = 0.2
    seed: int = 0

    def fit(self, inputs: FloatArray, targets: FloatArray) -> Self:
        """Fit ``(n, F)`` standardised inputs to ``(n, K)`` targets."""
        from sklearn.kernel_approximation import Nystroem

        count = min(self.landmarks, len(inputs))
        self.map_ = Nystroem(gamma=1.0 / inputs.shape[1], n_components=count, random_state=self.seed).fit(inputs)
        mapped = self.map_.transform(inputs)
        self.machines_ = [self._machine().fit(mapped, target) for target in targets.T]
        return self

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Return ``(n, K)`` predictions."""
        mapped = self.map_.transform(inputs)
        return np.stack([np.asarray(machine.predict(mapped)) for machine in self.machines_], axis=1)

    def _machine(self) -> Any:
        from sklearn.svm import LinearSVR

        loss = "squared_epsilon_insensitive"
        return LinearSVR(C=self.cost, epsilon=self.tolerance, loss=loss, dual=False, max_iter=2_000)
