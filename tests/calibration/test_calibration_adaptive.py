"""Adaptive conformal calibration: the fold's laws, what it mends, and how it does on the open data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from tradewind.calibration.adaptive import Block, ConformalCalibrator, became_known, calibrate
from tradewind.calibration.settings import CalibrationSection
from tradewind.errors import InputError
from tradewind.labels.targets import Labels
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.stats.losses import pinball
from tradewind.stats.volatility import ewma_volatility

HORIZONS = (1, 5, 20)
DATA = Path(__file__).parents[2] / "../shared/data/daily/sp500_ohlcv_2005_2016.parquet"


def forecast_of(
    quantiles: np.ndarray, horizons: tuple[int, ...] = HORIZONS, times: np.ndarray | None = None
) -> Forecast:
    rows, columns = quantiles.shape[:2]
    days = np.datetime64("2010-01-01", "us") + np.arange(rows) * np.timedelta64(86_400_000_000, "us")
    names = tuple(f"S{n}" for n in range(columns))
    return Forecast(days if times is None else times, names, horizons, LEVELS, quantiles, quantiles[..., 3])


def labels_of(outcomes: np.ndarray, horizons: tuple[int, ...] = HORIZONS) -> Labels:
    end = np.arange(len(outcomes))[:, None, None] + np.broadcast_to(horizons, outcomes.shape)
    return Labels(horizons, outcomes, np.ones(outcomes.shape[:2]), end, np.ones_like(outcomes))


def ahead(daily: np.ndarray, horizons: tuple[int, ...] = HORIZONS) -> np.ndarray:
    level = np.cumsum(daily, axis=0)
    found = np.full((*daily.shape, len(horizons)), np.nan)
    for k, h in enumerate(horizons):
        found[:-h, :, k] = level[h:] - level[:-h]
    return found


def market(
    seed: int, rows: int = 900, columns: int = 20, scale: float | np.ndarray = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Names that share a market; honest normal quantiles times ``1 / scale``."""
    generator = np.random.default_rng(seed)
    daily = 0.6 * generator.normal(size=(rows, 1)) + 0.8 * generator.normal(size=(rows, columns))
    daily *= np.broadcast_to(np.asarray(scale, dtype=float).reshape(-1, 1), daily.shape)
    unit = np.sqrt(np.array(HORIZONS))[:, None] * stats.norm.ppf(LEVELS)
    return np.broadcast_to(unit, (rows, columns, *unit.shape)).copy(), ahead(daily)


def coverage(quantiles: np.ndarray, outcomes: np.ndarray, index: int, rows: slice = slice(None)) -> float:
    q, y = quantiles[rows, :, index], outcomes[rows, :, index]
    known = np.isfinite(y) & np.isfinite(q[..., 0])
    return float(((y >= q[..., 1]) & (y <= q[..., 5]))[known].mean())


def adjusted(quantiles: np.ndarray, outcomes: np.ndarray, **options: float) -> np.ndarray:
    return calibrate(forecast_of(quantiles), labels_of(outcomes), CalibrationSection(**options))[0].quantiles


@given(st.integers(0, 1000), st.lists(st.integers(1, 119), min_size=1, max_size=4, unique=True))
@settings(max_examples=15, deadline=None)
def test_splitting_a_block_changes_no_bit(seed: int, cuts: list[int]) -> None:
    quantiles, outcomes = market(seed, rows=120, columns=4)
    known = became_known(outcomes, HORIZONS)
    calibrator = ConformalCalibrator(CalibrationSection(), HORIZONS, LEVELS)
    whole = calibrator.step(calibrator.initial_state(4), Block(quantiles, known))[1]
    state, parts = calibrator.initial_state(4), []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 120], strict=True):
        state, part = calibrator.step(state, Block(quantiles[start:stop], known[start:stop]))
        parts.append(part)
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_step_leaves_the_old_state_alone() -> None:
    quantiles, outcomes = market(0, rows=50, columns=3)
    calibrator = ConformalCalibrator(CalibrationSection(), HORIZONS, LEVELS)
    start = calibrator.initial_state(3)
    block = Block(quantiles, became_known(outcomes, HORIZONS))
    one, two = calibrator.step(start, block)[1], calibrator.step(start, block)[1]
    assert np.array_equal(one, two)
    assert start.bars == 0
    assert not start.owed.any()


@given(st.integers(0, 1000), st.integers(1, 119), st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_an_outcome_is_never_used_before_its_end(seed: int, row: int, index: int) -> None:
    quantiles, outcomes = market(seed, rows=120, columns=4)
    changed = outcomes.copy()
    changed[row:, :, index] += 3.0
    one, two = adjusted(quantiles, outcomes), adjusted(quantiles, changed)
    known_at = row + HORIZONS[index]
    assert np.array_equal(one[:known_at], two[:known_at])
    if known_at < 119:
        assert not np.array_equal(one, two)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_quantiles_never_cross_and_missing_stays_missing(seed: int) -> None:
    quantiles, outcomes = market(seed, rows=200, columns=5, scale=2.5)
    holes = np.random.default_rng(seed).random((200, 5, 3)) < 0.2
    quantiles[holes] = np.nan
    outcomes[np.random.default_rng(seed + 1).random(outcomes.shape) < 0.1] = np.nan
    found = adjusted(quantiles, outcomes, skew_step=0.05, memory_step=0.05)
    assert np.array_equal(np.isnan(found).all(axis=-1), holes)
    assert (np.diff(found[~holes], axis=-1) >= 0).all()


def test_the_unit_of_returns_does_not_matter() -> None:
    quantiles, outcomes = market(3, rows=300, columns=4)
    assert adjusted(0.01 * quantiles, 0.01 * outcomes) == pytest.approx(0.01 * adjusted(quantiles, outcomes))


def test_permuting_symbols_permutes_the_calibration() -> None:
    quantiles, outcomes = market(4, rows=300, columns=4)
    quantiles *= np.linspace(0.5, 2, 4)[:, None, None]
    order = [2, 0, 3, 1]
    found = adjusted(quantiles[:, order], outcomes[:, order])
    assert found == pytest.approx(adjusted(quantiles, outcomes)[:, order])


@pytest.mark.parametrize("wrong", [0.6, 1.7])
def test_forecasts_that_are_always_too_narrow_or_too_wide_are_mended(wrong: float) -> None:
    quantiles, outcomes = market(5, rows=1500)
    found = adjusted(quantiles * wrong, outcomes)
    for index in range(3):
        assert abs(coverage(quantiles * wrong, outcomes, index) - 0.8) > 0.1
        assert coverage(found, outcomes, index, slice(300, None)) == pytest.approx(0.8, abs=0.025)


def test_every_level_is_calibrated_not_only_the_steered_one() -> None:
    quantiles, outcomes = market(6, rows=2500)
    found = adjusted(quantiles * 0.7, outcomes)[500:, :, 0]
    realised = [(outcomes[500:-1, :, 0] <= found[:-1, :, q]).mean() for q in range(7)]
    assert realised == pytest.approx(LEVELS, abs=0.02)


def test_a_sudden_change_of_volatility_is_repaid() -> None:
    scale = np.ones(1500)
    scale[700:] = 2.0
    quantiles, outcomes = market(7, rows=1500, scale=scale)
    found = adjusted(quantiles, outcomes)
    assert coverage(quantiles, outcomes, 0, slice(700, None)) < 0.55
    assert coverage(found, outcomes, 0, slice(700, None)) == pytest.approx(0.8, abs=0.01)
    assert coverage(found, outcomes, 1, slice(700, None)) == pytest.approx(0.8, abs=0.03)


def test_honest_forecasts_are_hardly_touched() -> None:
    quantiles, outcomes = market(8, rows=1500)
    found = adjusted(quantiles, outcomes)
    for index, allowed in enumerate((1.01, 1.015, 1.04)):
        before, after = (np.nanmean(pinball(outcomes[..., index], q[:, :, index], LEVELS)) for q in (quantiles, found))
        assert after / before < allowed


def test_a_symbol_of_its_own_width_is_learnt() -> None:
    quantiles, outcomes = market(9, rows=2500)
    quantiles[:, 0] *= 0.7
    pooled, own = (adjusted(quantiles, outcomes, symbol_step=s) for s in (0.0, 0.005))
    late = slice(1000, None)
    gaps = [abs(coverage(q[:, :1], outcomes[:, :1], 0, late) - 0.8) for q in (pooled, own)]
    assert gaps[1] < 0.5 * gaps[0]


def test_without_a_one_bar_horizon_only_resolved_outcomes_are_fed_back() -> None:
    quantiles, outcomes = market(10, rows=1500)
    forecast = forecast_of(quantiles[:, :, 1:] * 0.6, HORIZONS[1:])
    found, report = calibrate(forecast, labels_of(outcomes), CalibrationSection())
    assert found.horizons == (5, 20)
    assert report[5].realised == pytest.approx(0.8, abs=0.03)


def test_none_gives_the_forecast_back_with_its_coverage() -> None:
    quantiles, outcomes = market(11, rows=200, columns=5)
    forecast = forecast_of(quantiles)
    found, report = calibrate(forecast, labels_of(outcomes), CalibrationSection(method="none"))
    assert found is forecast
    assert report[1].realised == pytest.approx(coverage(quantiles, outcomes, 0))


def test_a_forecast_that_begins_later_than_the_labels_is_aligned() -> None:
    quantiles, outcomes = market(12, rows=200, columns=3)
    later = calibrate(forecast_of(quantiles[50:]), labels_of(outcomes), CalibrationSection(), first_row=50)[0]
    same = calibrate(forecast_of(quantiles[50:]), labels_of(outcomes[50:]), CalibrationSection())[0]
    assert np.array_equal(later.quantiles, same.quantiles)


def test_what_does_not_fit_is_refused() -> None:
    quantiles, outcomes = market(13, rows=60, columns=3)
    forecast, labels = forecast_of(quantiles), labels_of(outcomes)
    with pytest.raises(InputError, match="not labelled"):
        calibrate(forecast, replace(labels, horizons=(1, 5, 10)), CalibrationSection())
    with pytest.raises(InputError, match="shape"):
        calibrate(forecast, labels, CalibrationSection(), first_row=10)
    with pytest.raises(InputError, match="median"):
        ConformalCalibrator(CalibrationSection(), HORIZONS, (0.1, 0.9))
    with pytest.raises(InputError, match="central interval"):
        ConformalCalibrator(CalibrationSection(), HORIZONS, (0.5, 0.9))
    calibrator = ConformalCalibrator(CalibrationSection(), HORIZONS, LEVELS)
    with pytest.raises(InputError, match="expects"):
        calibrator.step(calibrator.initial_state(2), Block(quantiles, outcomes))
    with pytest.raises(ValidationError):
        CalibrationSection(coverage=1.2)


def test_frozen_scores_give_the_split_conformal_interval_of_mapie() -> None:
    """A constant forecast and a slow memory settle where MAPIE's split conformal puts its order statistic."""
    from mapie.regression import SplitConformalRegressor
    from sklearn.dummy import DummyRegressor

    generator = np.random.default_rng(14)
    y = generator.standard_t(4, 6000)
    model = SplitConformalRegressor(DummyRegressor(strategy="constant", constant=0.0).fit([[0.0]], [0.0]), 0.8)
    model.conformalize(np.zeros((6000, 1)), y)
    half = float(model.predict_interval(np.zeros((1, 1)))[1][0, 1, 0])
    outcomes = y.reshape(600, 10, 1)
    quantiles = np.broadcast_to(stats.norm.ppf(LEVELS), (600, 10, 1, 7)).copy()
    options = {"control_step": 0.0, "memory_step": 0.02, "skew_step": 0.0, "symbol_step": 0.0}
    forecast, labels = forecast_of(quantiles, (1,)), labels_of(outcomes, (1,))
    found = calibrate(forecast, labels, CalibrationSection(**options))[0].quantiles
    assert found[200:, 0, 0, 5].mean() == pytest.approx(half, rel=0.03)
    assert found[200:, 0, 0, 1].mean() == pytest.approx(-half, rel=0.03)


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason=f"the open data is not at {DATA}")
def test_on_the_open_daily_panel_every_calendar_year_is_covered() -> None:
    import polars as pl

    table = pl.read_parquet(DATA, columns=["ticker", "date", "adjusted_close"])
    wide = table.pivot(on="ticker", index="date", values="adjusted_close").sort("date")
    daily = np.diff(np.log(wide.drop("date").to_numpy()[:, :120].astype(float)), axis=0)
    times = wide["date"].to_numpy().astype("datetime64[us]")[1:]
    sigma = ewma_volatility(daily, 11.0, 20)
    quantiles = sigma[:, :, None, None] * np.sqrt(np.array(HORIZONS))[:, None] * stats.norm.ppf(LEVELS)
    outcomes = ahead(np.nan_to_num(daily))
    outcomes[~np.isfinite(daily)] = np.nan
    report = calibrate(forecast_of(quantiles, times=times), labels_of(outcomes), CalibrationSection())[1]
    for horizon, allowed in ((1, 0.01), (5, 0.02), (20, 0.03)):
        years = {y: v for y, v in report[horizon].by_year.items() if y >= 2006}
        assert len(years) == 11
        assert all(abs(v - 0.8) <= allowed for v in years.values()), years
    assert report[1].rolling_deviation < 0.0125
    assert report[5].rolling_deviation < 0.02
