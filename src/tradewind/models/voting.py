"""Weighted votes of unlike regressors, trained side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.models.base import register
from tradewind.models.kernel_machine import KernelMachine
from tradewind.models.location_scale import LocationScale, importance_of, steady
from tradewind.models.random_forest import RandomForest
from tradewind.models.xgboost_trees import Xgboost

FloatArray = NDArray[np.float64]

#: Playbook row E4.
WEIGHTS = {"random_forest": 0.35, "xgboost": 0.35, "svm": 0.20, "mlp": 0.10}
_KERNEL_SAMPLES = 20_000
_NETWORK_SAMPLES = 20_000
_EPOCHS = 10


@register
@dataclass(eq=False, kw_only=True)
class Voting(LocationScale):
    """Random forest, XGBoost, a support vector machine and a small network, averaged with fixed weights.

    Parameters
    ----------
    weights
        Share of each member, normalised to one; at least three members. Default: 0.35, 0.35, 0.20 and 0.10.
    threads
        Members fitted at a time, each on one thread.
    """

    name: ClassVar[str] = "voting"
    threads: int = 2
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuse strangers and committees of fewer than three."""
        super().__post_init__()
        self.weights = dict(self.weights or WEIGHTS)
        unknown = sorted(set(self.weights) - set(WEIGHTS))
        if unknown:
            raise InputError(f"voting has no member {unknown[0]!r}", hint=f"choose among {', '.join(WEIGHTS)}")
        if len(self.weights) < 3 or min(self.weights.values()) <= 0:
            raise InputError("voting needs at least three members with positive weights")

    def regressor(self) -> Committee:
        """Return the committee."""
        return Committee(self.weights or WEIGHTS, self.threads, self.seed)


class Committee:
    """Fits its members in parallel; its prediction is their weighted mean."""

    def __init__(self, weights: Mapping[str, float], threads: int, seed: int) -> None:
        total = sum(weights.values())
        self.weights = {name: share / total for name, share in weights.items()}
        self.threads = threads
        self.seed = seed

    def fit(self, inputs: FloatArray, targets: FloatArray) -> Self:
        """Fit every member on its share of the samples."""
        from joblib import Parallel, delayed

        jobs = [delayed(_fit_member)(name, inputs, targets, self.seed) for name in self.weights]
        self.members_ = dict(zip(self.weights, Parallel(n_jobs=self.threads, prefer="threads")(jobs), strict=True))
        return self

    def predict(self, inputs: FloatArray) -> FloatArray:
        """Return the weighted mean of the members' predictions."""
        return np.asarray(sum(w * np.asarray(self.members_[n].predict(inputs)) for n, w in self.weights.items()))

    @property
    def feature_importances_(self) -> FloatArray:
        """Importance by those members that tell it."""
        told = [self.weights[n] * importance_of(m) for n, m in self.members_.items()]
        return np.asarray(sum(told))


def _fit_member(name: str, inputs: FloatArray, targets: FloatArray, seed: int) -> Any:
    limit = {"svm": _KERNEL_SAMPLES, "mlp": _NETWORK_SAMPLES}.get(name, len(inputs))
    if len(inputs) > limit:
        some = np.sort(np.random.default_rng(seed).choice(len(inputs), limit, replace=False))
        inputs, targets = inputs[some], targets[some]
    member = _member(name, seed)
    if name != "mlp":
        return steady(member.fit(inputs, targets))
    for _ in range(_EPOCHS):
        member.partial_fit(inputs, targets)
    return member


def _member(name: str, seed: int) -> Any:
    if name == "random_forest":
        return RandomForest(threads=1, seed=seed).regressor()
    if name == "xgboost":
        return Xgboost(learning_rate=0.1, seed=seed).regressor()
    if name == "svm":
        return KernelMachine(seed=seed)
    from sklearn.neural_network import MLPRegressor

    return MLPRegressor(hidden_layer_sizes=(16,), alpha=10.0, learning_rate_init=3e-3, random_state=seed)
