"""One bar of adaptive conformal calibration for a whole panel, against MAPIE's time-series regressor per symbol.

A symbol-step calibrates three intervals (seven levels) at three horizons for one symbol and learns from what became
known at that bar. Ours does 500 symbols at once; MAPIE has no panel form and needs one regressor per symbol and
horizon: predict and adapt, the cheapest way its adaptive conformal inference can be driven (a constant point forecast,
so that no time goes into a model).
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from scipy import stats

from tradewind.calibration.adaptive import Block, CalibratorState, ConformalCalibrator, became_known
from tradewind.calibration.settings import CalibrationSection

SYMBOLS, BARS, WARM_UP = 500, 400, 100
HORIZONS = (1, 5, 20)
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
MAPIE_HISTORY, MAPIE_STEPS, MAPIE_SYMBOLS = 500, 40, 3
AIM = 1000.0


def run() -> dict[str, Any]:
    daily = np.random.default_rng(0).standard_t(5, (BARS, SYMBOLS)) * 0.01
    ours_live, ours_history = ours(daily)
    one_horizon = peer()
    mapie = one_horizon * len(HORIZONS)
    ratio = mapie / ours_live
    return {
        "name": "conformal",
        "ratios": {"mapie": ratio},
        "figures": {
            "symbols": SYMBOLS,
            "horizons": len(HORIZONS),
            "levels": len(LEVELS),
            "microseconds_per_symbol_step": ours_live * 1e6,
            "microseconds_per_symbol_step_in_history": ours_history * 1e6,
            "milliseconds_per_panel_step": ours_live * SYMBOLS * 1e3,
            "mapie_milliseconds_per_symbol_step": mapie * 1e3,
            "mapie_ratio_for_one_of_the_horizons": one_horizon / ours_live,
            "mapie_ratio_in_history": mapie / ours_history,
        },
        "aims": {"mapie": AIM},
        "met": bool(ratio >= AIM),
    }


def ours(daily: np.ndarray) -> tuple[float, float]:
    """Return seconds per symbol-step, bar by bar as in live use and over one block of history."""
    calibrator = ConformalCalibrator(CalibrationSection(), HORIZONS, LEVELS)
    block = a_block(daily)
    state, _ = calibrator.step(calibrator.initial_state(SYMBOLS), part(block, 0, WARM_UP))
    live = bar_by_bar(calibrator, state, block)
    history = min(timed(calibrator, state, part(block, WARM_UP, BARS)) for _ in range(3))
    return live, history / ((BARS - WARM_UP) * SYMBOLS)


def bar_by_bar(calibrator: ConformalCalibrator, state: CalibratorState, block: Block) -> float:
    spent = []
    for bar in range(WARM_UP, BARS):
        bars = part(block, bar, bar + 1)
        spent.append(timed(calibrator, state, bars))
        state, _ = calibrator.step(state, bars)
    return float(np.median(spent)) / SYMBOLS


def timed(calibrator: ConformalCalibrator, state: CalibratorState, block: Block) -> float:
    start = time.perf_counter()
    calibrator.step(state, block)
    return time.perf_counter() - start


def a_block(daily: np.ndarray) -> Block:
    level = np.cumsum(daily, axis=0)
    outcomes = np.full((*daily.shape, len(HORIZONS)), np.nan)
    for k, h in enumerate(HORIZONS):
        outcomes[:-h, :, k] = level[h:] - level[:-h]
    unit = 0.01 * np.sqrt(np.array(HORIZONS))[:, None] * stats.norm.ppf(LEVELS)
    quantiles = np.broadcast_to(unit, (*daily.shape, *unit.shape)).copy()
    return Block(quantiles, became_known(outcomes, HORIZONS))


def part(block: Block, start: int, stop: int) -> Block:
    return Block(block.quantiles[start:stop], block.outcomes[start:stop])


def peer() -> float:
    """Return MAPIE's seconds per symbol-step: the median over steps of a few symbols."""
    from mapie.regression import TimeSeriesRegressor
    from sklearn.dummy import DummyRegressor

    warnings.simplefilter("ignore")
    spent = []
    for symbol in range(MAPIE_SYMBOLS):
        y = np.random.default_rng(symbol).standard_t(5, MAPIE_HISTORY + MAPIE_STEPS) * 0.01
        x = np.zeros((len(y), 1))
        point = DummyRegressor(strategy="constant", constant=0.0).fit(x[:1], y[:1])
        model = TimeSeriesRegressor(point, method="aci", cv="prefit")
        model.fit(x[:MAPIE_HISTORY], y[:MAPIE_HISTORY])
        for t in range(MAPIE_HISTORY, len(y)):
            start = time.perf_counter()
            model.predict(x[t : t + 1], confidence_level=[0.5, 0.8, 0.9])
            model.adapt_conformal_inference(x[t : t + 1], y[t : t + 1], gamma=0.02)
            spent.append(time.perf_counter() - start)
    return float(np.median(spent))
