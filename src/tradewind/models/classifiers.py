"""Unlike classifiers of barrier outcomes behind one face: inputs with gaps in, a score per class out.

Whatever a member learns about its inputs (centre, spread, which are often missing) it learns from what it is fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError, did_you_mean
from tradewind.models.boosting import repeatable
from tradewind.models.forest import HistogramForest
from tradewind.models.location_scale import Standardiser

FloatArray = NDArray[np.float64]
Matrix = NDArray[np.float32]
IntArray = NDArray[np.int64]

CLASSES = 3
"""Down, neutral and up, numbered 0, 1 and 2."""

LEAST_PROBABILITY = 1e-3
_KERNEL_SAMPLES = 10_000
_NETWORK_SAMPLES = 20_000
_OFTEN_MISSING = 0.01


class Classifier(Protocol):
    """Fits ``(n, F)`` inputs, NaN where missing, to classes ``(n,)`` of which there are at least two."""

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Learn; weights have the mean 1."""
        ...

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return ``(n, 3)``: the higher, the likelier the class."""
        ...


def balanced(classes: IntArray, weight: FloatArray, balance: float) -> FloatArray:
    """Return weights of mean 1 under which classes are equally heavy (``balance`` 1), or as heavy as they are (0).

    Computed from what is passed alone: what a member is fitted on.
    """
    mass = np.bincount(classes, weight, CLASSES)
    factor = np.where(mass > 0, mass, np.inf) ** -balance
    lifted = weight * factor[classes]
    return np.asarray(lifted / lifted.mean())


def as_log_odds(probability: FloatArray, present: IntArray) -> FloatArray:
    """Return the log probability of every class, ``(n, 3)``, from those of the classes that were ever seen."""
    whole = np.full((len(probability), CLASSES), LEAST_PROBABILITY)
    whole[:, present] = np.clip(probability, LEAST_PROBABILITY, None)
    return np.asarray(np.log(whole / whole.sum(axis=1, keepdims=True)))


@dataclass(eq=False)
class ForestClassifier:
    """A random forest of class indicators: the mean of a leaf is the share of each class in it (Breiman 2001)."""

    seed: int
    trees: int = 50
    depth: int = 8

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Grow one forest per class on the same bins."""
        leaf = max(20, len(classes) // 100)
        self.present_ = np.unique(classes)
        indicators = (classes[:, None] == self.present_).astype(np.float64)
        forest = HistogramForest(self.trees, self.depth, leaf, seed=self.seed)
        self.forest_ = forest.fit(inputs.astype(np.float64), indicators, weight)
        return self

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return log probabilities."""
        return as_log_odds(self.forest_.predict(inputs.astype(np.float64)), self.present_)


@dataclass(eq=False)
class LightgbmClassifier:
    """LightGBM's boosted trees (Ke et al. 2017)."""

    seed: int
    trees: int = 40

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Boost."""
        import lightgbm

        self.present_ = np.unique(classes)
        parameters = {
            **repeatable(1, self.seed),
            "objective": "multiclass",
            "num_class": len(self.present_),
            "num_leaves": 7,
            "learning_rate": 0.08,
            "min_data_in_leaf": max(20, len(classes) // 100),
            "feature_fraction": 0.6,
            "bagging_fraction": 0.6,
            "bagging_freq": 1,
            "lambda_l2": 20.0,
        }
        data = lightgbm.Dataset(inputs, np.searchsorted(self.present_, classes), weight=weight)
        self.booster_ = lightgbm.train(parameters, data, self.trees)
        return self

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return log probabilities."""
        return as_log_odds(np.asarray(self.booster_.predict(inputs, num_threads=1)), self.present_)


@dataclass(eq=False)
class XgboostClassifier:
    """XGBoost's boosted trees (Chen & Guestrin 2016)."""

    seed: int
    trees: int = 40

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Boost."""
        from xgboost import XGBClassifier

        self.present_ = np.unique(classes)
        booster = XGBClassifier(
            n_estimators=self.trees,
            max_depth=3,
            learning_rate=0.1,
            min_child_weight=max(5.0, len(classes) / 200),
            reg_lambda=20.0,
            subsample=0.6,
            colsample_bytree=0.6,
            tree_method="hist",
            max_bin=64,
            n_jobs=1,
            random_state=self.seed,
        )
        self.booster_ = booster.fit(inputs, np.searchsorted(self.present_, classes), sample_weight=weight)
        return self

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return log probabilities."""
        told = np.asarray(self.booster_.predict_proba(inputs), dtype=np.float64)
        return as_log_odds(told, self.present_)


@dataclass(frozen=True, eq=False)
class Filled:
    """Standardised inputs without gaps: a missing value is the centre, and a column of its own says that it was."""

    standardiser: Standardiser
    told: IntArray

    @classmethod
    def of(cls, inputs: Matrix) -> Filled:
        """Measure the samples that a member is fitted on."""
        share = (~np.isfinite(inputs)).mean(axis=0)
        return cls(Standardiser.of(inputs), np.flatnonzero((share > _OFTEN_MISSING) & (share < 1 - _OFTEN_MISSING)))

    def __call__(self, inputs: Matrix) -> FloatArray:
        """Return ``(n, F + indicators)``."""
        missing = (~np.isfinite(inputs[:, self.told])).astype(np.float64)
        return np.concatenate([self.standardiser(inputs), missing], axis=1)


@dataclass(eq=False)
class NetworkClassifier:
    """A network of one hidden layer, on at most 20,000 samples drawn.

    It sees ``shown`` samples in all, each ``most`` times at the most and 8 times at the least.
    """

    seed: int
    width: int = 16
    shown: int = 80_000
    most: int = 100

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Train for a number of epochs that is fixed by the number of samples."""
        from sklearn.neural_network import MLPClassifier

        some = _some(len(classes), _NETWORK_SAMPLES, self.seed)
        inputs, classes, weight = inputs[some], classes[some], weight[some]
        self.filled_, self.present_ = Filled.of(inputs), np.unique(classes)
        shape, filled = (self.width,), self.filled_(inputs)
        network = MLPClassifier(shape, alpha=1.0, learning_rate_init=2e-3, random_state=self.seed)
        for _ in range(min(max(8, self.shown // len(classes)), self.most)):
            network.partial_fit(filled, classes, classes=self.present_, sample_weight=weight)
        self.network_ = network
        return self

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return log probabilities."""
        return as_log_odds(self.network_.predict_proba(self.filled_(inputs)), self.present_)


@dataclass(eq=False)
class SupportVectorClassifier:
    """Support vector machines, each class against the others, on at most 10,000 samples drawn.

    The Gaussian kernel is approximated by its values at drawn landmarks (Nyström: Williams & Seeger 2001), on which the
    machines are linear: the cost of a fit grows with the samples, not with their square. Scores are distances from the
    margins; what they are worth as probabilities, whoever weighs the members finds out on samples not fitted on.
    """

    seed: int
    landmarks: int = 200
    cost: float = 0.01

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Fit one machine per class that is there."""
        from sklearn.kernel_approximation import Nystroem
        from sklearn.svm import LinearSVC

        some = _some(len(classes), _KERNEL_SAMPLES, self.seed)
        inputs, classes, weight = inputs[some], classes[some], weight[some]
        self.filled_, self.present_ = Filled.of(inputs), np.unique(classes)
        filled = self.filled_(inputs)
        count = min(self.landmarks, len(filled))
        self.map_ = Nystroem(gamma=0.5 / filled.shape[1], n_components=count, random_state=self.seed).fit(filled)
        mapped = self.map_.transform(filled)
        self.machines_ = [
            LinearSVC(C=self.cost, dual=False, max_iter=2_000).fit(mapped, classes == one, sample_weight=weight)
            for one in self.present_
        ]
        return self

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return distances from the margins; a class that was never seen is as far away as the farthest."""
        mapped = self.map_.transform(self.filled_(inputs))
        distance = np.stack([machine.decision_function(mapped) for machine in self.machines_], axis=1)
        whole = np.repeat(distance.min(axis=1, keepdims=True), CLASSES, axis=1)
        whole[:, self.present_] = distance
        return np.asarray(whole)


FACTORIES: dict[str, Callable[[int], Classifier]] = {
    "random_forest": lambda seed: ForestClassifier(seed),
    "xgboost": lambda seed: XgboostClassifier(seed),
    "lightgbm": lambda seed: LightgbmClassifier(seed),
    "mlp": lambda seed: NetworkClassifier(seed),
    "svm": lambda seed: SupportVectorClassifier(seed),
}


@dataclass(eq=False)
class Classifiers:
    """Several members fitted on the same samples.

    Parameters
    ----------
    names
        Of the members.
    balance
        How far classes are made equally heavy, 0 to 1; see :func:`balanced`.
    seed, threads
        Seed of every member; members fitted at a time, each on one thread.
    """

    names: Sequence[str]
    balance: float
    seed: int
    threads: int = 1
    members: dict[str, Classifier] = field(default_factory=dict)

    def fit(self, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Self:
        """Fit every member; ``weight`` is that of the samples, before classes are balanced."""
        from joblib import Parallel, delayed

        inputs = _finite_or_missing(inputs)
        lifted = balanced(classes, weight, self.balance)
        jobs = [delayed(_fitted)(name, self.seed, inputs, classes, lifted) for name in self.names]
        found: list[Any] = Parallel(n_jobs=self.threads, prefer="threads")(jobs)
        self.members = dict(zip(self.names, found, strict=True))
        return self

    def scores(self, inputs: Matrix) -> FloatArray:
        """Return ``(n, M, 3)``."""
        inputs = _finite_or_missing(inputs)
        return np.stack([self.members[name].scores(inputs) for name in self.names], axis=1)

    def importance(self, features: int) -> FloatArray:
        """Return what the forest's splits gained by each input, ``(F,)``; zeros without a forest."""
        forest = self.members.get("random_forest")
        return forest.forest_.feature_importances_ if isinstance(forest, ForestClassifier) else np.zeros(features)


def require_members(names: Sequence[str]) -> None:
    """Raise ``InputError`` for a stranger, for one named twice, and for fewer than two."""
    for name in names:
        if name not in FACTORIES:
            raise did_you_mean("member", name, FACTORIES)
    if len(set(names)) < len(names) or len(names) < 2:
        raise InputError(f"members {list(names)} must be two or more, each once")


def _fitted(name: str, seed: int, inputs: Matrix, classes: IntArray, weight: FloatArray) -> Classifier:
    return FACTORIES[name](seed).fit(inputs, classes, weight)


def _finite_or_missing(inputs: Matrix) -> Matrix:
    return np.where(np.isfinite(inputs), inputs, np.float32(np.nan))


def _some(count: int, at_most: int, seed: int) -> IntArray:
    if count <= at_most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, at_most, replace=False))
