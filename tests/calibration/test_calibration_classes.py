"""Probabilities of events: fair ones are left alone, bad ones mended, and nothing is learnt before it is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.calibration.classes import EventCalibrator, _pool_adjacent_violators, calibrate_event
from tradewind.errors import InputError

METHODS = ("platt", "beta", "isotonic")


def market(seed: int, rows: int = 1500, columns: int = 30) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = generator.beta(4, 4, (rows, columns))
    return p, (generator.random((rows, columns)) < p).astype(float)


@pytest.mark.parametrize("method", METHODS)
def test_overconfident_probabilities_are_pulled_back(method: str) -> None:
    p, happened = market(0)
    boasted = 1 / (1 + np.exp(-3 * np.log(p / (1 - p))))
    found = calibrate_event(boasted, happened, 5, method, prior_dates=10.0)  # type: ignore[arg-type]
    late = slice(700, None)
    assert np.mean((found[late] - p[late]) ** 2) < 0.05 * np.mean((boasted[late] - p[late]) ** 2)


@pytest.mark.parametrize("method", METHODS)
def test_fair_probabilities_are_left_nearly_alone(method: str) -> None:
    p, happened = market(1)
    found = calibrate_event(p, happened, 5, method)  # type: ignore[arg-type]
    assert np.abs(found - p)[300:].mean() < 0.02


@pytest.mark.parametrize("method", METHODS)
def test_before_anything_is_known_probabilities_are_taken_at_their_word(method: str) -> None:
    p, happened = market(2, rows=8)
    assert np.array_equal(calibrate_event(p, happened, 5, method)[:5], p[:5])  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_a_higher_forecast_never_gives_a_lower_probability(method: str) -> None:
    p, happened = market(3, rows=200)
    found = calibrate_event(p, happened, 3, method)  # type: ignore[arg-type]
    order = np.argsort(p[-1])
    assert (np.diff(found[-1][order]) >= -1e-12).all()
    assert ((found[-1] >= 0) & (found[-1] <= 1)).all()


@given(st.integers(0, 1000), st.integers(1, 39), st.sampled_from(METHODS))
@settings(max_examples=15, deadline=None)
def test_splitting_a_block_changes_no_bit(seed: int, cut: int, method: str) -> None:
    p, known = market(seed, rows=40, columns=4)
    calibrator = EventCalibrator(3, method)  # type: ignore[arg-type]
    whole = calibrator.step(calibrator.initial_state(4), p, known)[1]
    state, first = calibrator.step(calibrator.initial_state(4), p[:cut], known[:cut])
    assert np.array_equal(np.concatenate([first, calibrator.step(state, p[cut:], known[cut:])[1]]), whole)


@pytest.mark.parametrize("method", METHODS)
def test_outcomes_are_not_used_before_they_are_known(method: str) -> None:
    p, happened = market(4, rows=60)
    other = happened.copy()
    other[30:] = 1 - other[30:]
    one, two = (calibrate_event(p, h, 5, method) for h in (happened, other))  # type: ignore[arg-type]
    assert np.array_equal(one[:35], two[:35])
    assert not np.array_equal(one[35:], two[35:])


@pytest.mark.parametrize("method", METHODS)
def test_forecasts_that_are_all_alike_move_to_what_happens_and_no_further(method: str) -> None:
    # Forecasts of 54 to 58 % hold no information on the shape of a map: only its level may be learnt from them.
    generator = np.random.default_rng(7)
    p = generator.uniform(0.54, 0.58, (1500, 5))
    happened = (generator.random(1500) < 0.62)[:, None].astype(float) * np.ones(5)
    found = calibrate_event(p, happened, 5, method)  # type: ignore[arg-type]
    assert found.min() > 0.4 and found.max() < 0.8
    assert 0.57 < found[800:].mean() < 0.63


@pytest.mark.parametrize("method", METHODS)
def test_a_market_that_contradicts_its_forecasts_does_not_turn_their_order_round(method: str) -> None:
    p, happened = market(8, rows=600)
    found = calibrate_event(p, 1 - happened, 1, method, prior_dates=5.0)  # type: ignore[arg-type]
    order = np.argsort(p[-1])
    assert (np.diff(found[-1][order]) >= -1e-12).all()
    assert np.ptp(found[-1]) < 0.2


def test_missing_forecasts_stay_missing() -> None:
    p, happened = market(5, rows=30, columns=3)
    p[10, 1] = np.nan
    found = calibrate_event(p, happened, 2)
    assert np.isnan(found[10, 1])
    assert np.isfinite(found).sum() == 89


def test_pooling_equals_scikit_learn() -> None:
    from sklearn.isotonic import isotonic_regression

    generator = np.random.default_rng(6)
    y, w = generator.normal(size=50), generator.uniform(0.1, 2, 50)
    assert _pool_adjacent_violators(y, w) == pytest.approx(isotonic_regression(y, sample_weight=w))


def test_unknown_methods_and_senseless_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="plat"):
        EventCalibrator(5, "plat")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positive"):
        EventCalibrator(0)
    calibrator = EventCalibrator(2)
    with pytest.raises(InputError, match="fit"):
        calibrator.step(calibrator.initial_state(3), np.zeros((2, 2)), np.zeros((2, 2)))
