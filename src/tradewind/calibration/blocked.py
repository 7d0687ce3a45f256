"""Conformal quantiles from blocks of a fold's own training rows: split, cross and jackknife+ for any model.

The training rows of a walk-forward fold are cut into consecutive blocks. A model that has not seen a block, nor a label
that reaches into it, forecasts it; how far the outcomes then lay from each quantile, in units of the forecast's own
interval, is the block's scores (conformalised quantile regression, Romano, Patterson & Candès 2019, one level at a
time). Every level is moved to where its own share of the scores lies below it. They hold for exchangeable scores, which
those of markets are not: unlike the adaptive calibrator they learn nothing between refits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tradewind.calibration.coverage import interval_levels
from tradewind.calibration.regressors import PurgedBlocks
from tradewind.errors import DataError
from tradewind.models.forecast import Forecast

FloatArray = NDArray[np.float64]
Rows = NDArray[np.int64]
Learn = Callable[[Rows], Callable[[Rows], Forecast]]
"""Fit a model on these rows, their labels alone, and return how to ask it: rows in, forecast of those rows out."""

Method = Literal["split", "cross", "jackknife_plus"]
METHODS: tuple[Method, ...] = ("split", "cross", "jackknife_plus")
HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Training:
    """What a walk-forward fold knows before its test rows.

    Attributes
    ----------
    learn
        How to fit and to ask the model.
    rows
        Training rows, rising.
    outcomes
        ``(T, N, H)`` log returns that were known before the test rows, NaN elsewhere.
    longest_horizon_bars, embargo_bars
        How far labels reach, and the bars kept free besides.
    """

    learn: Learn
    rows: Rows
    outcomes: FloatArray
    longest_horizon_bars: int
    embargo_bars: int = 0


@dataclass(frozen=True, eq=False)
class _Held:
    """A held-out block: how to ask the model that did not see it, and its sorted scores by horizon, ``(n, Q)``."""

    ask: Callable[[Rows], Forecast]
    scores: tuple[FloatArray, ...]


def is_blocked(method: str) -> TypeGuard[Method]:
    """Return whether a calibration method is one of these."""
    return method in METHODS


def conformal(
    method: Method, training: Training, forecast: Forecast, test: Rows, *, folds: int = 5, coverage: float = 0.8
) -> Forecast:
    """Return the forecast of a fold's test rows with every level at its conformal place; quantiles never cross.

    Parameters
    ----------
    method
        ``split``: a model fitted without the last block speaks, moved by that block's scores. ``cross``: the model
        fitted on everything speaks, moved by the scores of all blocks together (Vovk 2015). ``jackknife_plus``: the
        models that each left out one block speak, each moved by the scores of the block that it left out (CV+ of
        Barber, Candès, Ramdas & Tibshirani 2021).
    forecast
        What the model fitted on all training rows says of the test rows.
    folds
        Number of blocks.
    coverage
        The interval in whose width scores are measured is the nearest one to this.

    Raises
    ------
    DataError
        When a level lies beyond what so few scores can tell.
    """
    pair = interval_levels(forecast.levels, coverage)
    held = _held_out(training, folds, pair, last_only=method == "split")
    _check_enough(held, forecast)
    if method == "jackknife_plus":
        quantiles = _each_by_its_own([block.ask(test) for block in held], [block.scores for block in held], pair)
    else:
        spoken = held[0].ask(test) if method == "split" else forecast
        quantiles = _moved(spoken, _pooled(held), pair)
        forecast = spoken
    return replace(forecast, quantiles=_in_order(quantiles), version=f"{forecast.version}+{method}{folds}")


def _held_out(training: Training, folds: int, pair: tuple[int, int], *, last_only: bool) -> list[_Held]:
    blocks = PurgedBlocks(training.rows, training.longest_horizon_bars, folds, training.embargo_bars)
    splits = [(training.rows[kept], training.rows[block]) for kept, block in blocks.split(None)]
    held = []
    for kept, block in splits[-1:] if last_only else splits:
        if not kept.size:
            raise DataError(
                f"nothing to learn from is left beside a block of {len(block)} bars",
                hint="lower calibration.folds or raise evaluation.min_train_bars",
            )
        ask = training.learn(kept)
        held.append(_Held(ask, _scores(ask(block), training.outcomes, block, pair)))
    return held


def _scores(forecast: Forecast, outcomes: FloatArray, rows: Rows, pair: tuple[int, int]) -> tuple[FloatArray, ...]:
    """Return by horizon how far outcomes lay above each level, in interval widths, sorted, ``(n, Q)``."""
    quantiles = forecast.quantiles[rows - rows[0]]
    distance = (outcomes[rows][..., None] - quantiles) / _width(quantiles, pair)[..., None]
    by_horizon = (distance[:, :, index].reshape(-1, quantiles.shape[-1]) for index in range(quantiles.shape[2]))
    return tuple(np.sort(s[np.isfinite(s).all(axis=1)], axis=0) for s in by_horizon)


def _width(quantiles: FloatArray, pair: tuple[int, int]) -> FloatArray:
    """Return the width of an interval, NaN where it has none: nothing can be measured in it."""
    width = quantiles[..., pair[1]] - quantiles[..., pair[0]]
    return np.where(width > 0, width, np.nan)


def _check_enough(held: Sequence[_Held], forecast: Forecast) -> None:
    outermost = min(min(p, 1.0 - p) for p in forecast.levels)
    needed = int(np.ceil(1.0 / outermost - 1e-9)) - 1
    for index, horizon in enumerate(forecast.horizons):
        count = sum(len(block.scores[index]) for block in held)
        if count < needed:
            raise DataError(
                f"{count} scores over {horizon} bars cannot tell where the level {outermost:g} lies: it takes {needed}",
                hint='lower calibration.folds, raise evaluation.min_train_bars, or use calibration.method = "adaptive"',
            )


def _pooled(held: Sequence[_Held]) -> list[FloatArray]:
    return [np.sort(np.concatenate(scores), axis=0) for scores in zip(*(b.scores for b in held), strict=True)]


def _moved(forecast: Forecast, scores: Sequence[FloatArray], pair: tuple[int, int]) -> FloatArray:
    """Return every level moved by the order statistic of its scores, in widths of the forecast's own interval."""
    moves = np.empty((len(forecast.horizons), len(forecast.levels)))
    for index, of_horizon in enumerate(scores):
        for level, p in enumerate(forecast.levels):
            low, high = _ranks(len(of_horizon), p)
            moves[index, level] = (of_horizon[low - 1, level] + of_horizon[high - 1, level]) / 2
    return np.asarray(forecast.quantiles + _width(forecast.quantiles, pair)[..., None] * moves)


def _ranks(count: int, level: float) -> tuple[int, int]:
    """Return the ranks (from 1) of the order statistics of ``count`` scores whose middle a level stands for.

    The outer one of the two around ``(count + 1) * level``, so that intervals cover at least what they promise; both
    for the median.
    """
    place = (count + 1) * level
    low, high = int(np.floor(place + 1e-9)), int(np.ceil(place - 1e-9))
    low, high = (low, low) if level < 0.5 else (high, high) if level > 0.5 else (low, high)
    return max(low, 1), min(max(high, 1), count)


def _each_by_its_own(
    forecasts: Sequence[Forecast], scores: Sequence[tuple[FloatArray, ...]], pair: tuple[int, int]
) -> FloatArray:
    """Return the order statistics of all scores, each moved and scaled by the model that its block was held from."""
    every = np.stack([f.quantiles for f in forecasts])
    widths, result = _width(every, pair), np.full(every.shape[1:], np.nan)
    known = np.isfinite((every.sum(axis=-1) + widths).sum(axis=0))
    for index in range(len(forecasts[0].horizons)):
        at = known[:, :, index]
        for level, p in enumerate(forecasts[0].levels):
            centre, width = every[:, :, :, index, level][:, at], widths[:, :, :, index][:, at]
            own = [np.ascontiguousarray(block[index][:, level]) for block in scores]
            found = [_order_statistic(centre, width, own, rank) for rank in sorted({*_ranks(sum(map(len, own)), p)})]
            result[:, :, index, level][at] = np.mean(found, axis=0)
    return result


def _order_statistic(centre: FloatArray, width: FloatArray, scores: Sequence[FloatArray], rank: int) -> FloatArray:
    """Return the ``rank``-th smallest of ``centre[k] + width[k] * scores[k]`` over all blocks, for each sample.

    By halving: the union has as many values at or below ``x`` as its blocks have scores at or below ``x`` in their own
    units. Blocks' own order statistics at the same share bracket it.
    """
    share = rank / sum(map(len, scores))
    filled = [k for k, own in enumerate(scores) if len(own)]
    tops = [centre[k] + width[k] * scores[k][int(np.ceil(share * len(scores[k]) - 1e-9)) - 1] for k in filled]
    floors = [centre[k] + width[k] * scores[k][max(int(share * len(scores[k]) + 1e-9) - 1, 0)] for k in filled]
    low, high = np.min(floors, axis=0), np.max(tops, axis=0)
    low = low - 1e-9 * (np.abs(low) + 1.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        count = sum(np.searchsorted(scores[k], (middle - centre[k]) / width[k], side="right") for k in filled)
        enough = count >= rank
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(high)


def _in_order(quantiles: FloatArray) -> FloatArray:
    """Return the quantiles in rising order (Chernozhukov, Fernández-Val & Galichon 2010), whole or not at all."""
    return np.where(np.isfinite(quantiles).all(axis=-1, keepdims=True), np.sort(quantiles, axis=-1), np.nan)
