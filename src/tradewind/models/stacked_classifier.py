"""The stacking classifier of playbook row D6: five unlike classifiers of barrier outcomes, weighed out of fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.labels.splits import walk_forward
from tradewind.models.assembly import (
    assemble,
    content_hash,
    draw,
    feature_names,
    settings_of,
    top_importance,
    training_id,
    usable,
)
from tradewind.models.base import Windows, register
from tradewind.models.class_mixture import ClassMixture
from tradewind.models.classifiers import CLASSES, FACTORIES, Classifiers, require_members
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.naive import naive_scale
from tradewind.models.opinion_pool import OpinionPool, log_loss, macro_f1

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DECAY = 0.94
_MINIMUM_SAMPLES = 200
_MINIMUM_PART = 50
_LARGEST = 8.0


@dataclass(frozen=True, eq=False)
class Samples:
    """What one horizon is learnt from.

    Attributes
    ----------
    rows, end
        ``(n,)`` row at which a label opens, and at which it is known.
    inputs
        ``(n, F)``, NaN where missing.
    classes
        ``(n,)`` 0 down, 1 neutral, 2 up.
    ratio
        ``(n,)`` return over the horizon in units of the naive volatility.
    uniqueness
        ``(n,)`` how much of a label is its own: what members are fitted with.
    dates
        ``(n,)`` the same shared out among the samples of a bar, which are one observation together, as they move
        together: what the weights of the members are fitted with.
    """

    rows: IntArray
    end: IntArray
    inputs: NDArray[np.float32]
    classes: IntArray
    ratio: FloatArray
    uniqueness: FloatArray

    @property
    def dates(self) -> FloatArray:
        """See above."""
        return np.asarray(self.uniqueness / np.bincount(self.rows)[self.rows])

    def part(self, which: NDArray[Any]) -> Samples:
        """Return some of the samples, by a mask or by position."""
        arrays: dict[str, Any] = vars(self)
        return Samples(**{name: values[which] for name, values in arrays.items()})


@dataclass(frozen=True, eq=False)
class Stack:
    """One horizon's members, fitted on all samples, their weights and the returns that come with each class."""

    members: Classifiers
    pool: OpinionPool
    mixture: ClassMixture
    told: dict[str, Any]

    def probabilities(self, inputs: NDArray[np.float32]) -> FloatArray:
        """Return ``(n, 3)`` of down, neutral and up; NaN where every input is missing."""
        chance = self.pool.probabilities(self.members.scores(inputs))
        return np.where(np.isfinite(inputs).any(axis=1, keepdims=True), chance, np.nan)


@register
@dataclass(eq=False, kw_only=True)
class StackedClassifier:
    """Random forest, XGBoost, LightGBM, a network and support vector machines, weighed by logistic regression.

    Wolpert (1992) on time: the members forecast blocks of the training bars, each fitted on the bars before it whose
    labels were known when the block begins (purged and embargoed), with classes made equally heavy by weights of its
    own training part. On these out-of-fold scores a conditional logistic regression learns one weight per member and
    one constant per class, with the classes as frequent as they are: that is the calibration, and no other is done
    here (events are calibrated online downstream). Then the members are fitted on all samples.

    Quantiles are the mixture of the returns that came out of fold with each class, in units of the naive volatility;
    the score is its mean. It needs barrier labels.

    Parameters
    ----------
    members
        Two or more of ``random_forest``, ``xgboost``, ``lightgbm``, ``mlp``, ``svm``.
    blocks, first_share, embargo_bars
        Out-of-fold blocks, the share of the training bars before the first, and bars kept free before each.
    balance
        How far the members see classes as equally heavy: 1 fully, 0 not at all.
    penalty
        Of the squared weights of members, in observations; a bar with all its symbols is one, overlapping labels less.
    maximum_samples
        Training samples drawn (seeded) when there are more; the machines take 10,000 of them, the network 20,000.
    levels, threads, seed
        Quantile levels, members fitted at a time, seed of every draw.
    """

    name: ClassVar[str] = "stacked_classifier"
    needs_classes: ClassVar[bool] = True
    members: Sequence[str] = tuple(FACTORIES)
    blocks: int = 4
    first_share: float = 0.4
    embargo_bars: int = 1
    balance: float = 1.0
    penalty: float = 2.0
    maximum_samples: int = 30_000
    levels: Sequence[float] = LEVELS
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; keep sequences as tuples, whatever a playbook wrote."""
        self.levels, self.members = tuple(self.levels), tuple(self.members)
        require_members(self.members)
        if self.blocks < 2 or not 0 < self.first_share < 1 or self.embargo_bars < 0:
            raise InputError("blocks must be 2 or more, first_share between 0 and 1, embargo_bars not below 0")
        if not 0 <= self.balance <= 1 or not self.penalty > 0 or self.maximum_samples < _MINIMUM_SAMPLES:
            raise InputError(
                f"balance must lie in [0, 1], penalty above 0, maximum_samples at {_MINIMUM_SAMPLES} or more"
            )

    def fit(self, windows: Windows) -> Self:
        """Fit every horizon.

        Raises
        ------
        InputError
            Where there are no barrier labels.
        DataError
            Where samples, bars or classes are too few.
        """
        require_classes(windows, self.name)
        self.features_ = feature_names(windows, self.name)
        self.stacks_ = [self._stack(windows, index) for index in range(len(windows.labels.horizons))]
        learnt = [(stack.pool.weights, stack.pool.constants, stack.mixture.below) for stack in self.stacks_]
        settings = settings_of(self)
        self.version_ = content_hash(self.name, settings, training_id(windows), *(a for part in learnt for a in part))
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; none where every feature is missing."""
        scale, inputs = naive_scale(windows, _DECAY), windows.matrix
        chances = [stack.probabilities(inputs) for stack in self.stacks_]
        unit = [s.mixture.quantiles(p, self.levels) for s, p in zip(self.stacks_, chances, strict=True)]
        mean = [s.mixture.means(p) for s, p in zip(self.stacks_, chances, strict=True)]
        known = np.stack([np.isfinite(p).all(axis=1) for p in chances], axis=1)
        return assemble(
            windows,
            np.where(known[..., None], np.stack(unit, axis=1) * scale[:, :, None], np.nan),
            np.stack(mean, axis=1) * scale,
            model=self.name,
            version=self.version_,
            levels=self.levels,
            probabilities=np.stack(chances, axis=1),
            explanation=self._explanation(windows.labels.horizons),
        )

    def _explanation(self, horizons: tuple[int, ...]) -> dict[str, Any]:
        gains = np.mean([stack.members.importance(len(self.features_)) for stack in self.stacks_], axis=0)
        told = {str(h): stack.told for h, stack in zip(horizons, self.stacks_, strict=True)}
        return {"importance": top_importance(self.features_, gains), "stack": told}

    def _stack(self, windows: Windows, index: int) -> Stack:
        samples = samples_of(windows, index, self.maximum_samples, self.seed)
        where, scores = self.out_of_fold(samples, windows.labels.horizons[index])
        outside = samples.part(where)
        pool = OpinionPool.fit(scores, outside.classes, outside.dates, self.penalty)
        mixture = ClassMixture.fit(outside.ratio, outside.classes, outside.dates, CLASSES)
        members = self._members().fit(samples.inputs, samples.classes, samples.uniqueness)
        return Stack(members, pool, mixture, self._told(outside, scores, pool))

    def _members(self) -> Classifiers:
        return Classifiers(self.members, self.balance, self.seed, self.threads)

    def out_of_fold(self, samples: Samples, horizon: int) -> tuple[IntArray, FloatArray]:
        """Return samples by position and their scores ``(m, M, 3)`` from members that knew nothing of them.

        Every member behind a score was fitted on labels that were known before the block of the sample begins.
        """
        places, scores = [], []
        for train, test in self.purged_blocks(samples, horizon):
            known = samples.part(train)
            if len(train) < _MINIMUM_PART or len(np.unique(known.classes)) < 2 or not len(test):
                continue
            fitted = self._members().fit(known.inputs, known.classes, known.uniqueness)
            places.append(test)
            scores.append(fitted.scores(samples.inputs[test]))
        if not places or len(np.unique(samples.classes[np.concatenate(places)])) < 2:
            raise DataError(
                f"{len(samples.rows)} samples over {horizon} bars: too few classes or bars to be forecast out of fold",
                hint="give it a longer history, more symbols, shorter horizons or nearer barriers",
            )
        return np.concatenate(places), np.concatenate(scores)

    def purged_blocks(self, samples: Samples, horizon: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield positions of samples to learn from and to forecast: time goes on from the first to the second."""
        first, last = int(samples.rows.min()), int(samples.rows.max())
        before = int(self.first_share * (last - first + 1))
        left = last + 1 - first - before - horizon - self.embargo_bars
        if before < 1 or left < self.blocks:
            raise DataError(
                f"{last - first + 1} training bars are too few for {self.blocks} blocks and labels over {horizon} bars",
                hint="give it a longer history, shorter horizons or fewer blocks",
            )
        for fold in walk_forward(
            last + 1,
            min_train_bars=before,
            test_bars=-(-left // self.blocks),
            longest_horizon_bars=horizon,
            embargo_bars=self.embargo_bars,
            first_row=first,
        ):
            resolved = samples.end < int(fold.test[0]) - self.embargo_bars
            yield (
                np.flatnonzero(np.isin(samples.rows, fold.train) & resolved),
                np.flatnonzero(np.isin(samples.rows, fold.test)),
            )

    def _told(self, outside: Samples, scores: FloatArray, pool: OpinionPool) -> dict[str, Any]:
        """Return each member's weight and, beside the stack's, its loss alone: every one weighed on earlier blocks."""
        alone = {name: self._later(outside, scores[:, [m]]) for m, name in enumerate(self.members)}
        stack, base = self._later(outside, scores), self._later(outside, np.zeros_like(scores[:, :1]))
        weights = dict(zip(self.members, pool.weights.tolist(), strict=True))
        return {
            "classes": dict(zip(("down", "neutral", "up"), _shares(outside), strict=True)),
            "members": {n: {"weight": round(weights[n], 4), **judged} for n, judged in alone.items()},
            "stack": stack,
            "frequencies_alone": base,
            "better_alone": [n for n, judged in alone.items() if judged["log_loss"] < stack["log_loss"]],
        }

    def _later(self, outside: Samples, scores: FloatArray) -> dict[str, float]:
        """Return log loss and F1 on the later half of the out-of-fold bars, weighed by the earlier half, purged."""
        middle = int(np.median(outside.rows))
        early = outside.end < middle - self.embargo_bars
        late = outside.rows >= middle
        if min(early.sum(), late.sum()) < _MINIMUM_PART or len(np.unique(outside.classes[early])) < 2:
            return {"log_loss": float("nan"), "f1": float("nan")}
        before, after = outside.part(early), outside.part(late)
        pool = OpinionPool.fit(scores[early], before.classes, before.dates, self.penalty)
        chance = pool.probabilities(scores[late])
        return {
            "log_loss": round(log_loss(chance, after.classes, after.dates), 6),
            "f1": round(macro_f1(chance, after.classes, after.dates), 4),
        }


def require_classes(windows: Windows, model: str) -> NDArray[np.int8]:
    """Return the barrier classes ``(T, N, H)``; raises ``InputError`` where the playbook asks for none."""
    if windows.labels.classes is None:
        raise InputError(
            f"the model {model!r} learns which barrier is touched first, and there are no barrier labels",
            hint="set labels.barriers = true",
        )
    return windows.labels.classes


def samples_of(windows: Windows, index: int, at_most: int, seed: int) -> Samples:
    """Return the samples of one horizon whose outcome is known; ``DataError`` where they are too few.

    ``at_most`` are drawn where there are more.
    """
    labels, scale = windows.labels, naive_scale(windows, _DECAY)
    known = usable(windows, index, scale, _MINIMUM_SAMPLES)
    known &= np.isfinite(labels.scale[windows.rows, windows.columns])  # barriers stood somewhere
    known &= labels.weight[windows.rows, windows.columns, index] > 0
    known &= np.isfinite(windows.matrix).any(axis=1)
    if int(known.sum()) < _MINIMUM_SAMPLES:
        raise DataError(
            f"{int(known.sum())} samples have a barrier outcome over {labels.horizons[index]} bars and a feature, "
            f"{_MINIMUM_SAMPLES} are needed",
            hint="give it a longer history or more symbols",
        )
    chosen = draw(known, at_most, seed)
    rows, columns = windows.rows[chosen], windows.columns[chosen]
    ratio = labels.returns[rows, columns, index] / scale[chosen, index]
    return Samples(
        rows=rows,
        end=labels.end[rows, columns, index],
        inputs=windows.features.values[rows, columns],
        classes=require_classes(windows, StackedClassifier.name)[rows, columns, index].astype(np.int64) + 1,
        ratio=np.clip(ratio, -_LARGEST, _LARGEST),
        uniqueness=labels.weight[rows, columns, index],
    )


def _shares(outside: Samples) -> list[float]:
    share = np.bincount(outside.classes, outside.dates, CLASSES) / outside.dates.sum()
    return [round(float(one), 4) for one in share]
