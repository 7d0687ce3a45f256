"""The default forecaster: a pooled log-volatility with a cautious prior, refined by trees, and a measured shape.

The log of each symbol's volatility over the horizon is its own two-week volatility plus

1. a linear part: how far its volatility stands from other symbols' at five half-lives, what its gaps, its volume
   and its peers add, where the market's volatility is heading (heterogeneous autoregression, Corsi 2009, split
   in own and common parts) and which days lie ahead, fitted by Student-t likelihood. Common coefficients are
   held near a prior, because they are learnt from few separate stretches of time however many symbols there are;
2. a refinement by gradient-boosted trees of the differences *between symbols of one bar* only (earnings
   calendar, gaps, volume), kept when a purged validation says it helps.

Quantiles are those of the scaled residuals of all symbols. The score adds a cross-sectional part
(:mod:`tradewind.models.location`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.models.assembly import assemble, content_hash, draw, top_importance, training_id, usable
from tradewind.models.base import Windows, register
from tradewind.models.boosting import repeatable
from tradewind.models.calendar_inputs import CALENDAR_NAMES, calendar_inputs
from tradewind.models.event_clock import EventClock, event_evidence
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.location import CrossSection
from tradewind.models.scale_fit import (
    PRIOR_KNOWN_AT,
    fit_log_scale,
    freedom_at,
    penalties,
    prior_weights,
    shape_quantiles,
    student_scale,
)
from tradewind.models.volatility_inputs import VolatilityInputs, volatility_inputs

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PARALLEL_FITS = 2
"""Horizons fitted side by side: they share nothing, so two cores are used without waiting for each other."""

_MINIMUM_SAMPLES = 100
_REFINEMENT_SAMPLES = 20_000
_REFINEMENT_SYMBOLS = 20
_SIZE_ONLY = ("peers_", "downside")


@dataclass(frozen=True, eq=False)
class _History:
    """What is computed once per panel."""

    inputs: VolatilityInputs
    clock: EventClock
    member: NDArray[np.bool_]
    calendar: dict[int, FloatArray]

    @classmethod
    def of(cls, windows: Windows) -> _History:
        panel = windows.panel
        inputs = volatility_inputs(panel)
        clock = EventClock.of(panel.times, event_evidence(inputs.surprise, inputs.activity))
        ahead = {h: calendar_inputs(panel.times, panel.timeframe, h) for h in windows.labels.horizons}
        return cls(inputs, clock, panel.member, ahead)

    def design(self, rows: IntArray, columns: IntArray, horizon: int) -> FloatArray:
        relative = self.inputs.relative[rows, columns].astype(np.float64)
        common = (self.inputs.market[rows], self.calendar[horizon][rows])
        return np.concatenate([np.ones((len(rows), 1)), relative, *common], axis=1)

    def details(self, rows: IntArray, columns: IntArray, horizon: int) -> NDArray[np.float32]:
        days, position = np.unique(rows, return_inverse=True)
        events = self.clock.at(days, horizon)[position, columns]
        parts = (self.inputs.relative[rows, columns], self.inputs.detail[rows, columns], events)
        return np.concatenate(parts, axis=1)

    def traits(self, rows: IntArray, columns: IntArray) -> NDArray[np.float32]:
        named = self.inputs.relative_names
        kept = [i for i, name in enumerate(named) if name in self.trait_names]
        parts = (self.inputs.relative[rows[:, None], columns[:, None], kept], self.inputs.detail[rows, columns])
        return np.concatenate(parts, axis=1)

    @property
    def trait_names(self) -> tuple[str, ...]:
        """Names of what the expected return may depend on; how large the moves of others are says nothing about it."""
        own = (name for name in self.inputs.relative_names if not name.startswith(_SIZE_ONLY))
        return (*own, *self.inputs.detail_names)

    @property
    def design_names(self) -> tuple[str, ...]:
        return ("level", *self.inputs.relative_names, *self.inputs.market_names, *CALENDAR_NAMES)

    @property
    def detail_names(self) -> tuple[str, ...]:
        return (*self.inputs.relative_names, *self.inputs.detail_names, *self.clock.names)


@dataclass(frozen=True, eq=False)
class _HorizonFit:
    """What was learnt for one horizon."""

    horizon: int
    weights: FloatArray
    shape: FloatArray
    trees: Any
    location: CrossSection | None = None

    def log_scale(self, history: _History, rows: IntArray, columns: IntArray) -> FloatArray:
        """Linear part, ``(n,)`` log volatility over the horizon; NaN where an input is missing."""
        anchor = history.inputs.anchor[rows, columns] + 0.5 * np.log(self.horizon)
        return np.asarray(anchor + history.design(rows, columns, self.horizon) @ self.weights)

    @property
    def drift(self) -> float:
        """Centre of the shape: the expected return of the average symbol in units of its volatility."""
        return float(self.shape[len(self.shape) // 2])

    def edge(self, history: _History, rows: IntArray, columns: IntArray) -> FloatArray:
        """Expected market-relative return in units of volatility, ``(n,)``."""
        if self.location is None:
            return np.zeros(len(rows))
        return self.location.predict(history.traits(rows, columns))

    def refinement(self, history: _History, rows: IntArray, threads: int) -> FloatArray:
        """Tree part of every symbol at ``rows``, mean zero over the symbols of a bar, ``(len(rows), N)``."""
        shape = (len(rows), history.inputs.anchor.shape[1])
        if self.trees is None:
            return np.zeros(shape)
        grid_rows, grid_columns = (part.ravel() for part in np.meshgrid(rows, np.arange(shape[1]), indexing="ij"))
        details = history.details(grid_rows, grid_columns, self.horizon)
        raw = np.asarray(self.trees.predict(details, num_threads=threads)).reshape(shape)
        there = np.isfinite(history.inputs.anchor[rows]) & history.member[rows]
        mean = np.where(there, raw, 0.0).sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
        return np.asarray(raw - mean)


@register
class ScaleBlend:
    """Pooled volatility with a prior, refined between symbols by trees; measured, skewed, heavy-tailed shape.

    Parameters
    ----------
    trees, leaves, learning_rate, minimum_leaf
        Size of the refinement; validation may stop it earlier, down to none.
    maximum_samples
        Samples drawn (seeded) for the linear part; a third of them for the trees.
    ranked
        Whether symbols of a bar get different expected returns, in units of their volatility.
    levels, threads, seed
        Quantile levels, threads of one fit (one: on a busy machine two wait for each other), seed of every draw.
    """

    name: ClassVar[str] = "scale_blend"

    def __init__(
        self,
        trees: int = 150,
        leaves: int = 15,
        learning_rate: float = 0.05,
        minimum_leaf: int = 800,
        maximum_samples: int = 360_000,
        ranked: bool = True,
        levels: Sequence[float] = LEVELS,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.leaves = leaves
        self.learning_rate = learning_rate
        self.minimum_leaf = minimum_leaf
        self.maximum_samples = maximum_samples
        self.ranked = ranked
        self.levels = tuple(levels)
        self.threads = threads
        self.seed = seed

    def fit(self, windows: Windows) -> Self:
        """Fit every horizon; raises ``DataError`` below 100 samples with history and a known return."""
        history = _History.of(windows)
        with ThreadPoolExecutor(max_workers=PARALLEL_FITS) as pool:
            jobs = [
                pool.submit(self._fit_horizon, windows, history, *job) for job in enumerate(windows.labels.horizons)
            ]
            self.fits_ = [job.result() for job in jobs]
        self.input_names_ = history.design_names
        self.detail_names_ = history.detail_names
        self.trait_names_ = history.trait_names
        size = [self.trees, self.leaves, self.learning_rate, self.minimum_leaf, self.maximum_samples]
        settings = [*size, self.ranked, self.seed]
        learnt = [part for fit in self.fits_ for part in (fit.weights, fit.shape)]
        self.version_ = content_hash(self.name, settings, self.levels, training_id(windows), *learnt)
        return self

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples; the score is the expected return of the location part."""
        history = _History.of(windows)
        rows, columns = windows.rows, windows.columns
        days, position = np.unique(rows, return_inverse=True)
        quantiles = np.full((len(rows), len(self.fits_), len(self.levels)), np.nan)
        score = np.full(quantiles.shape[:2], np.nan)
        for index, fit in enumerate(self.fits_):
            refined = fit.refinement(history, days, self.threads)[position, columns]
            scale = np.exp(fit.log_scale(history, rows, columns) + refined)
            edge = fit.edge(history, rows, columns)
            quantiles[:, index] = scale[:, None] * (fit.shape + edge[:, None])
            score[:, index] = scale * (fit.drift + edge)
        return assemble(
            windows,
            quantiles,
            score,
            model=self.name,
            version=self.version_,
            levels=self.levels,
            explanation=self._explanation(),
        )

    def _fit_horizon(self, windows: Windows, history: _History, index: int, horizon: int) -> _HorizonFit:
        scale = np.repeat(self._completeness(windows, history)[:, None], index + 1, axis=1)
        chosen = draw(usable(windows, index, scale, _MINIMUM_SAMPLES), self.maximum_samples, self.seed)
        rows, columns = windows.rows[chosen], windows.columns[chosen]
        returns = windows.target(index)[chosen]
        freedom = freedom_at(horizon)
        bars = int(rows.max() - rows.min()) + 1
        design = history.design(rows, columns, horizon)
        anchor = history.inputs.anchor[rows, columns] + 0.5 * np.log(horizon)
        relative = len(history.inputs.relative_names)
        penalty = penalties(relative, design.shape[1] - 1 - relative, horizon, len(chosen), bars)
        prior = prior_weights(history.design_names, horizon)
        weights = fit_log_scale(design, np.abs(returns) * np.exp(-anchor), freedom, penalty, prior)
        ratio = returns * np.exp(-(anchor + design @ weights))
        trees = self._refine(history, rows, columns, horizon, np.abs(ratio))
        linear = _HorizonFit(horizon, weights, np.zeros(0), trees)
        if trees is not None:
            days, position = np.unique(rows, return_inverse=True)
            ratio = ratio * np.exp(-linear.refinement(history, days, self.threads)[position, columns])
        facts = len(chosen) / (5.0 * horizon)
        shape = shape_quantiles(ratio, freedom, self.levels, horizon=horizon, facts=facts, bars=bars)
        if not self.ranked:
            return _HorizonFit(horizon, weights, shape, trees)
        day = np.unique(rows, return_inverse=True)[1]
        location = CrossSection.fit(history.traits(rows, columns), ratio, day, facts)
        return _HorizonFit(horizon, weights, shape, trees, location)

    def _completeness(self, windows: Windows, history: _History) -> FloatArray:
        """Return a finite number for each sample whose inputs are all there, else NaN."""
        inputs = history.inputs
        own = inputs.relative[windows.rows, windows.columns].sum(axis=-1)
        common: FloatArray = inputs.market.sum(axis=-1)[windows.rows]
        return np.asarray(own + common + inputs.anchor[windows.rows, windows.columns])

    def _refine(self, history: _History, rows: IntArray, columns: IntArray, horizon: int, size: FloatArray) -> Any:
        """Boost the log-scale between symbols of one bar; None where there is too little to learn from."""
        if len(rows) < _REFINEMENT_SAMPLES or len(np.unique(columns)) < _REFINEMENT_SYMBOLS or self.trees == 0:
            return None
        some = draw(np.ones(len(rows), dtype=bool), self.maximum_samples // 3, self.seed + 1)
        rows, columns, size = rows[some], columns[some], size[some]
        freedom = freedom_at(horizon)
        days, day = np.unique(rows, return_inverse=True)
        size = size / student_scale(size, freedom, day)
        details = history.details(rows, columns, horizon)
        edge = int(0.8 * len(days))
        early, late = day < edge - horizon, day >= edge
        count = self._boost(details[early], size[early], freedom, (details[late], size[late])).best_iteration
        if count < 5:
            return None
        return self._boost(details, size, freedom, None, count)

    def _boost(
        self,
        details: NDArray[np.float32],
        size: FloatArray,
        freedom: float,
        judge: tuple[NDArray[np.float32], FloatArray] | None,
        count: int | None = None,
    ) -> Any:
        import lightgbm

        def objective(level: FloatArray, data: Any) -> tuple[FloatArray, FloatArray]:
            ratio = data.get_label() ** 2 * np.exp(-2.0 * level) / freedom
            curvature = np.full(len(level), 2.0 * freedom / (freedom + 3.0))
            return 1.0 - (freedom + 1) * ratio / (1.0 + ratio), curvature

        def loss(level: FloatArray, data: Any) -> tuple[str, float, bool]:
            ratio = data.get_label() ** 2 * np.exp(-2.0 * level) / freedom
            return "student_t", float(np.mean(level + (freedom + 1) / 2 * np.log1p(ratio))), False

        parameters = {
            **repeatable(self.threads, self.seed),
            "objective": objective,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.minimum_leaf,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.5,
            "bagging_freq": 1,
            "lambda_l2": 20.0,
        }
        data = lightgbm.Dataset(details, size, params=parameters)
        if judge is None:
            return lightgbm.train(parameters, data, count or self.trees)
        held_out = lightgbm.Dataset(judge[0], judge[1], reference=data)
        stop = lightgbm.early_stopping(30, verbose=False)
        return lightgbm.train(parameters, data, self.trees, valid_sets=[held_out], feval=loss, callbacks=[stop])

    def _explanation(self) -> dict[str, Any]:
        weights = {
            str(fit.horizon): dict(zip(self.input_names_, np.round(fit.weights, 4).tolist(), strict=True))
            for fit in self.fits_
        }
        grown = [fit.trees for fit in self.fits_ if fit.trees is not None]
        gains = sum((t.feature_importance("gain") for t in grown), np.zeros(len(self.detail_names_)))
        return {
            "weights": weights,
            "importance": top_importance(self.detail_names_, gains) if grown else {},
            "effects": {str(fit.horizon): self._effects(fit) for fit in self.fits_},
            "refined_horizons": [fit.horizon for fit in self.fits_ if fit.trees is not None],
            "prior_known_at": PRIOR_KNOWN_AT,
        }

    def _effects(self, fit: _HorizonFit) -> dict[str, float]:
        """Return the largest cross-sectional effects on the expected return, in volatilities per spread."""
        if fit.location is None:
            return {}
        order = np.argsort(-np.abs(fit.location.effects), kind="stable")[:8]
        return {self.trait_names_[i]: round(float(fit.location.effects[i]), 5) for i in order}
