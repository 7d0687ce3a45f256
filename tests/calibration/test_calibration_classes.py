"""Probabilities of events: fair ones are left alone, bad ones mended, and nothing is learnt before it is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.calibration.classes import EventCalibrator, EventState, calibrate_event
from tradewind.calibration.events_kernel import BINS, pool_adjacent_violators
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
    pooled = y.copy()
    pool_adjacent_violators(pooled, w)
    assert pooled == pytest.approx(isotonic_regression(y, sample_weight=w))
    assert np.ptp(y) > np.ptp(pooled) > 0


# -- the compiled maps against their definition, fitted by scipy and scikit-learn -----------------------------------


def histogram(state: EventState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weight, mean forecast and mean outcome of the bins that hold anything."""
    full = state.weight > 1e-9
    weight = state.weight[full]
    return weight, state.forecast[full] / weight, state.happened[full] / weight


def logistic(state: EventState, prior: float, p: np.ndarray, method: str) -> np.ndarray:
    """Maximise the penalised likelihood within bounds that keep the order of the forecasts."""
    from scipy.optimize import minimize
    from scipy.special import expit, logit, xlogy

    def terms(p: np.ndarray) -> np.ndarray:
        inner = np.clip(p, 1e-4, 1 - 1e-4)
        shape = [logit(inner)] if method == "platt" else [np.log(inner), -np.log1p(-inner)]
        return np.stack([*shape, np.ones_like(p)], axis=1)

    weight, said, came = histogram(state)
    anchors = (np.arange(20) + 0.5) / 20
    believed = 0.5 * prior * weight / weight.sum()
    everywhere = np.full(20, prior / 40)
    x = terms(np.concatenate([said, anchors]))
    mass = np.concatenate([weight + believed, everywhere])
    events = np.concatenate([weight * came + believed * said, everywhere * anchors])
    start = np.array([*[1.0] * (x.shape[1] - 1), 0.0])

    def loss(b: np.ndarray) -> float:
        chance = expit(x @ b)
        return float(
            -(xlogy(events, chance) + xlogy(mass - events, 1 - chance)).sum() + 5e-7 * ((b - start) ** 2).sum()
        )

    def slope(b: np.ndarray) -> np.ndarray:
        return -x.T @ (events - mass * expit(x @ b)) + 1e-6 * (b - start)

    bounds = [*[(0, None)] * (x.shape[1] - 1), (None, None)]
    found = minimize(loss, start, jac=slope, bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-12, "maxiter": 1000}).x
    free = np.append(found[:-1] > 1e-9, True)
    for _ in range(20):  # to the last digit, by Newton's steps in the terms that are free
        spread = mass * expit(x @ found) * expit(-x @ found)
        curvature = (x * spread[:, None]).T @ x + 1e-6 * np.eye(len(start))
        found[free] -= np.linalg.solve(curvature[np.ix_(free, free)], slope(found)[free])
    return np.asarray(expit(terms(p) @ found))


@pytest.mark.parametrize("method", ["platt", "beta"])
@pytest.mark.parametrize("against", [False, True])
def test_the_compiled_logistic_maps_are_the_likelihoods_maximum(method: str, against: bool) -> None:
    p, happened = market(9, rows=120, columns=8)
    p[40, 2], happened[60, 5] = np.nan, np.nan
    known = 1 - happened if against else happened
    calibrator = EventCalibrator(1, method, prior_dates=20.0)  # type: ignore[arg-type]
    state, _ = calibrator.step(calibrator.initial_state(8), p, np.roll(known, 1, axis=0))
    asked = np.array([[0.001, 0.2, 0.45, 0.5, 0.55, 0.8, 0.95, 0.999]])
    after, found = calibrator.step(state, asked, np.full((1, 8), np.nan))
    assert found[0] == pytest.approx(logistic(after, 20.0, asked[0], method), abs=1e-12)


def test_the_compiled_isotonic_map_is_scikit_learns_between_the_histograms_levels() -> None:
    from sklearn.isotonic import isotonic_regression

    p, happened = market(10, rows=150, columns=6)
    calibrator = EventCalibrator(1, "isotonic", prior_dates=20.0)
    state, _ = calibrator.step(calibrator.initial_state(6), p, np.roll(happened, 1, axis=0))
    asked = np.array([[0.0, 0.3, 0.5, np.nan, 0.7, 1.0]])
    after, found = calibrator.step(state, asked, np.full((1, 6), np.nan))
    weight, said, came = histogram(after)
    believed = 20.0 * weight / weight.sum()
    level = isotonic_regression(
        (weight * came + believed * said) / (weight + believed), sample_weight=weight + believed
    )
    np.testing.assert_allclose(
        found[0], np.where(np.isnan(asked[0]), np.nan, np.interp(asked[0], said, level)), atol=1e-12
    )


def test_the_histogram_counts_a_date_once_and_fades() -> None:
    p = np.array([[0.205, 0.205, 0.5, np.nan], [0.9, 0.9, 0.9, 1.0], [0.1, 0.1, 0.1, 0.1]])
    came = np.array([[np.nan] * 4, [1, 0, 1, 1], [1, 1, np.nan, 0]])
    calibrator = EventCalibrator(1, half_life_bars=1.0)
    state, _ = calibrator.step(calibrator.initial_state(4), p, came)
    weight, happened = np.zeros(BINS), np.zeros(BINS)
    weight[[20, 50]], happened[[20, 50]] = [1 / 3, 1 / 6], [1 / 6, 1 / 6]
    weight[[90, 99]], happened[[90, 99]] = [2 / 3, 1 / 3], [2 / 3, 0]
    np.testing.assert_allclose(state.weight, weight)
    np.testing.assert_allclose(state.happened, happened)
    assert state.forecast[99] == pytest.approx(1 / 3)


def test_unknown_methods_and_senseless_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="plat"):
        EventCalibrator(5, "plat")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positive"):
        EventCalibrator(0)
    calibrator = EventCalibrator(2)
    with pytest.raises(InputError, match="fit"):
        calibrator.step(calibrator.initial_state(3), np.zeros((2, 2)), np.zeros((2, 2)))
