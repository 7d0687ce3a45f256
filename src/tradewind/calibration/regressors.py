"""Split, cross and jackknife+ conformal intervals for point regressors, through MAPIE, with purged time folds.

For models that only give a point. They assume exchangeable residuals, which returns do not have: use them where a
point regressor must be judged, and the adaptive calibrator (:mod:`tradewind.calibration.adaptive`) for what is traded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.labels.splits import purge

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PointIntervals:
    """Point predictions with intervals, ``(n,)`` each."""

    point: FloatArray
    lower: FloatArray
    upper: FloatArray


def split_conformal(
    regressor: Any,
    train: tuple[ArrayLike, ArrayLike],
    calibration: tuple[ArrayLike, ArrayLike],
    new: ArrayLike,
    coverage: float = 0.75,
) -> PointIntervals:
    """Return split-conformal intervals (Papadopoulos et al. 2002; Lei et al. 2018).

    ``train`` and ``calibration`` are ``(X, y)``; the calibration part must lie after the training part in time, with
    the labels between them purged by the caller.
    """
    from mapie.regression import SplitConformalRegressor

    model = SplitConformalRegressor(regressor, confidence_level=_level(coverage), prefit=False)
    model.fit(*(np.asarray(part) for part in train))
    model.conformalize(*(np.asarray(part) for part in calibration))
    return _intervals(model, new)


def cross_conformal(
    regressor: Any,
    features: ArrayLike,
    target: ArrayLike,
    new: ArrayLike,
    *,
    rows: NDArray[np.int64],
    longest_horizon_bars: int,
    method: Literal["cross", "jackknife+"] = "jackknife+",
    coverage: float = 0.75,
    folds: int = 5,
    embargo_bars: int = 0,
) -> PointIntervals:
    """Return cross-conformal (CV) or jackknife+ (CV+) intervals over purged blocks of time.

    Leaving out one sample would leave its overlapping neighbours in: jackknife+ here leaves out blocks, which is the
    CV+ of Barber, Candès, Ramdas & Tibshirani (2021).

    Parameters
    ----------
    rows
        ``(n,)`` bar of each sample, in any order; samples of one bar stay together.
    longest_horizon_bars, embargo_bars
        How far labels reach, and the bars kept free besides.
    """
    from mapie.regression import CrossConformalRegressor

    cv = PurgedBlocks(np.asarray(rows), longest_horizon_bars, folds, embargo_bars)
    style = "plus" if method == "jackknife+" else "base"
    model = CrossConformalRegressor(regressor, confidence_level=_level(coverage), method=style, cv=_for_sklearn(cv))
    model.fit_conformalize(np.asarray(features), np.asarray(target))
    return _intervals(model, new)


@dataclass(frozen=True, eq=False)
class PurgedBlocks:
    """A splitter in scikit-learn's style: blocks of bars, each predicted by what is left after the purge."""

    rows: NDArray[np.int64]
    longest_horizon_bars: int
    folds: int = 5
    embargo_bars: int = 0

    def split(
        self, features: Any, target: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield sample numbers to train on and to predict."""
        bars = np.unique(self.rows)
        if len(bars) < self.folds:
            raise InputError(f"{len(bars)} bars cannot make {self.folds} folds")
        end = np.arange(int(bars[-1]) + 1, dtype=np.int64) + self.longest_horizon_bars
        for block in np.array_split(bars, self.folds):
            kept = purge(np.setdiff1d(bars, block), end, block, embargo_bars=self.embargo_bars)
            yield np.flatnonzero(np.isin(self.rows, kept)), np.flatnonzero(np.isin(self.rows, block))

    def get_n_splits(self, features: Any = None, target: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.folds


def _for_sklearn(blocks: PurgedBlocks) -> Any:
    """Return the blocks as an instance of the class that MAPIE insists on, imported only now."""
    from sklearn.model_selection import BaseCrossValidator

    class Adapter(BaseCrossValidator):
        split = staticmethod(blocks.split)
        get_n_splits = staticmethod(blocks.get_n_splits)

    return Adapter()


def _level(coverage: float) -> float:
    if not 0.0 < coverage < 1.0:
        raise InputError(f"coverage is {coverage}, it must lie in (0, 1)")
    return coverage


def _intervals(model: Any, new: ArrayLike) -> PointIntervals:
    point, bounds = model.predict_interval(np.asarray(new))
    return PointIntervals(np.asarray(point), np.asarray(bounds[:, 0, 0]), np.asarray(bounds[:, 1, 0]))
