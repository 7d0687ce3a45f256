"""Distributions read from their quantiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tradewind.errors import InputError
from tradewind.stats import distribution as d

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
TAILS = ("normal", "t", "exponential")
P = np.array([0.001, 0.02, 0.05, 0.17, 0.5, 0.61, 0.95, 0.97, 0.999])

quantiles = arrays(np.float64, 7, elements=st.floats(1e-3, 1.0)).map(np.cumsum)


def test_a_normal_is_reproduced_inside_and_outside_the_levels() -> None:
    on = d.grid(LEVELS, "normal")
    q = stats.norm.ppf(LEVELS, 0.3, 2.0)
    assert d.quantile(q, P, on) == pytest.approx(stats.norm.ppf(P, 0.3, 2.0))
    x = np.array([-6.0, 0.0, 1.0, 5.0])
    assert d.cdf(np.tile(q, (4, 1)), x, on) == pytest.approx(stats.norm.cdf(x, 0.3, 2.0))
    assert d.mean(q, on) == pytest.approx(0.3)


def test_a_student_t_is_reproduced_inside_and_outside_the_levels() -> None:
    on = d.grid(LEVELS, "t", df=4.0)
    q = stats.t.ppf(LEVELS, 4.0, -0.1, 0.5)
    assert d.quantile(q, P, on) == pytest.approx(stats.t.ppf(P, 4.0, -0.1, 0.5))
    assert d.mean(q, on) == pytest.approx(-0.1)


def test_exponential_tails_are_those_of_a_laplace() -> None:
    on = d.grid(LEVELS, "exponential")
    q = stats.laplace.ppf(LEVELS)
    outside = np.array([0.001, 0.02, 0.97, 0.999])
    assert d.quantile(q, outside, on) == pytest.approx(stats.laplace.ppf(outside))


@pytest.mark.parametrize("tail", TAILS)
@given(q=quantiles)
@settings(max_examples=50, deadline=None)
def test_cdf_undoes_quantile(tail: d.Tail, q: np.ndarray) -> None:
    on = d.grid(LEVELS, tail)
    x = d.quantile(q, P, on)
    assert np.all(np.diff(x) > 0)
    assert d.cdf(np.tile(q, (len(P), 1)), x, on) == pytest.approx(P, abs=1e-9)


@pytest.mark.parametrize("tail", TAILS)
@given(q=quantiles)
@settings(max_examples=25, deadline=None)
def test_the_mean_is_the_integral_of_the_quantile_function(tail: d.Tail, q: np.ndarray) -> None:
    on = d.grid(LEVELS, tail)
    fine = stats.norm.cdf(np.linspace(-7, 7, 40001))
    x = d.quantile(q, fine, on)
    integral = np.trapezoid(x, fine) + fine[0] * x[0] + (1 - fine[-1]) * x[-1]
    assert float(d.mean(q, on)) == pytest.approx(integral, abs=2e-3 * q[-1])


@pytest.mark.parametrize("tail", TAILS)
def test_mean_weights_add_up_to_one(tail: d.Tail) -> None:
    assert d.mean_weights(d.grid(LEVELS, tail)).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("tail", TAILS)
def test_samples_have_the_quantiles_they_were_drawn_from(tail: d.Tail) -> None:
    on = d.grid(LEVELS, tail)
    q = np.array([-3.0, -2.0, -0.8, 0.1, 0.7, 1.4, 2.2])
    drawn = d.sample(q, 200_000, np.random.default_rng(0), on)
    assert np.quantile(drawn, LEVELS) == pytest.approx(q, abs=0.03)


@pytest.mark.parametrize("tail", TAILS)
def test_what_happened_has_a_uniform_pit_under_the_truth(tail: d.Tail) -> None:
    on = d.grid(LEVELS, tail)
    q = np.array([-3.0, -2.0, -0.8, 0.1, 0.7, 1.4, 2.2])
    drawn = d.sample(q, 20_000, np.random.default_rng(1), on)
    assert stats.kstest(d.pit(np.tile(q, (20_000, 1)), drawn, on), "uniform").pvalue > 0.01


def test_leading_axes_are_kept_and_missing_stays_missing() -> None:
    on = d.grid(LEVELS)
    q = np.tile(np.linspace(-1, 1, 7), (4, 3, 2, 1))
    q[1, 2, 0] = np.nan
    above = d.probability_above(q, 0.0, on)
    assert above.shape == (4, 3, 2)
    assert np.isnan(above[1, 2, 0])
    assert np.isnan(d.mean(q, on)[1, 2, 0])
    assert np.isfinite(above).sum() == 23
    assert d.quantile(q, [0.3, 0.6], on).shape == (4, 3, 2, 2)


def test_a_point_forecast_is_a_step() -> None:
    on = d.grid(LEVELS)
    q = np.full((3, 7), 0.5)
    assert list(d.cdf(q, np.array([0.4, 0.5, 0.6]), on)) == pytest.approx([0.0, 0.95, 1.0])


@pytest.mark.parametrize("tail", TAILS)
def test_a_flat_stretch_keeps_probabilities_in_order(tail: d.Tail) -> None:
    on = d.grid(LEVELS, tail)
    q = np.array([-2.0, -2.0, -1.0, 0.0, 0.0, 1.0, 1.0])
    x = np.linspace(-3, 2, 101)
    p = d.cdf(np.tile(q, (101, 1)), x, on)
    assert np.isfinite(p).all()
    assert (np.diff(p) >= -1e-12).all()
    assert p[0] == 0.0
    assert p[-1] == 1.0


@pytest.mark.parametrize(("levels", "tail", "df"), [((0.5,), "t", 5), ((0.1, 0.9), "cauchy", 5), ((0.1, 0.9), "t", 1)])
def test_grids_without_a_distribution_are_refused(levels: tuple[float, ...], tail: d.Tail, df: float) -> None:
    with pytest.raises(InputError):
        d.grid(levels, tail, df)


def test_certain_probabilities_have_no_quantile() -> None:
    with pytest.raises(InputError, match="inside"):
        d.quantile(np.linspace(-1, 1, 7), [0.0], d.grid(LEVELS))
