import math

import numpy as np
import pytest
from arch.univariate import EGARCH, GARCH, StudentsT, ZeroMean
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from tradewind.errors import InputError
from tradewind.risk import garch_kernel as kernel
from tradewind.risk.garch import KINDS, VolatilityFit, _space, best_of, fit, fit_universe

FREE = {
    "garch": [0.1, 0.96, 0.08, 0.5, 0.15],
    "gjr": [0.1, 0.96, 0.08, 0.7, 0.15],
    "egarch": [-0.1, 0.15, -0.05, 0.96, 0.2],
}


def simulated(seed: int, bars: int = 1500, *, alpha=0.07, gamma=0.0, beta=0.9, nu=6.0, daily=0.01) -> np.ndarray:
    """GARCH (or GJR) returns with a long-run volatility of ``daily``."""
    news = np.random.default_rng(seed).standard_t(nu, bars + 200) * math.sqrt((nu - 2) / nu)
    omega = 1.0 - alpha - gamma / 2 - beta
    out, v = np.empty(bars + 200), 1.0
    for t, z in enumerate(news):
        out[t] = math.sqrt(v) * z
        v = omega + (alpha + gamma * (z < 0)) * out[t] ** 2 + beta * v
    return daily * out[200:]


def simulated_egarch(seed: int, bars: int = 1500, *, alpha=0.15, gamma=-0.08, beta=0.95, nu=7.0) -> np.ndarray:
    news = np.random.default_rng(seed).standard_t(nu, bars + 200) * math.sqrt((nu - 2) / nu)
    out, level = np.empty(bars + 200), 0.0
    for t, z in enumerate(news):
        out[t] = math.exp(level / 2) * z
        level = alpha * (abs(z) - math.sqrt(2 / math.pi)) + gamma * z + beta * level
    return 0.01 * out[200:]


def by_arch(returns: np.ndarray, kind: str):
    """The peer, on returns of unit variance; its likelihood is moved back to the unit of the returns."""
    scale = math.sqrt(np.mean(returns**2))
    volatility = EGARCH(1, 1, 1) if kind == "egarch" else GARCH(1, int(kind == "gjr"), 1)
    model = ZeroMean(returns / scale, volatility=volatility, distribution=StudentsT())
    return model.fit(disp="off", show_warning=False), scale


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_slope_of_the_likelihood(kind):
    returns = simulated(1, 400) * 100
    exponential, free, slope, other = kind == "egarch", np.array(FREE[kind]), np.empty(5), np.empty(5)
    kernel.loss(exponential, free, returns, 1.1, slope)
    for i in range(5):
        nudge = np.eye(5)[i] * 1e-6
        up, down = (kernel.loss(exponential, free + s * nudge, returns, 1.1, other) for s in (1, -1))
        assert slope[i] == pytest.approx((up - down) / 2e-6, abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_is_that_of_scipys_student_t(kind):
    returns = simulated(2, 300) * 100
    exponential, free = kind == "egarch", np.array(FREE[kind])
    variance = kernel.variance(exponential, kernel.natural(exponential, free), returns, 1.1)[:-1]
    nu = 1 / free[4]
    expected = stats.t.logpdf(returns, nu, scale=np.sqrt(variance * (nu - 2) / nu)).mean()
    assert -kernel.loss(exponential, free, returns, 1.1, np.empty(5)) == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.01, 500))
def test_digamma_is_scipys(x):
    assert kernel.digamma(x) == pytest.approx(special.digamma(x), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_arch_finds_the_same_likelihood_parameters_and_path(kind, seed):
    returns = simulated_egarch(seed) if kind == "egarch" else simulated(seed, gamma=0.06 * (kind == "gjr"), beta=0.88)
    ours = fit(returns, kind)
    theirs, scale = by_arch(returns, kind)
    assert ours.used == kind and ours.cause is None and ours.why == ""
    assert ours.log_likelihood == pytest.approx(theirs.loglikelihood - len(returns) * math.log(scale), rel=1e-5)
    assert ours.log_likelihood >= theirs.loglikelihood - len(returns) * math.log(scale) - 1e-3
    for name, value in theirs.params.items():
        if name != "omega":
            assert ours.parameters[name.removesuffix("[1]")] == pytest.approx(value, rel=0.05, abs=0.005)
    np.testing.assert_allclose(ours.sigma, theirs.conditional_volatility * scale, rtol=0.01)
    np.testing.assert_allclose(ours.residuals, returns / ours.sigma, rtol=1e-12)


@pytest.mark.parametrize("kind", ["garch", "gjr"])
def test_arch_forecasts_the_same_within_a_hundredth(kind):
    returns = simulated(3, gamma=0.06 * (kind == "gjr"), beta=0.88)
    theirs, scale = by_arch(returns, kind)
    expected = np.sqrt(theirs.forecast(horizon=20).variance.to_numpy()[-1]) * scale
    np.testing.assert_allclose(fit(returns, kind, horizon_bars=20).forecast, expected, rtol=0.01)


def test_forecasts_of_garch_are_the_closed_form():
    found = fit(simulated(4), horizon_bars=30)
    p = found.parameters
    kept = p["alpha"] + p["beta"]
    base = p["omega"] / (1 - kept)
    expected = base + kept ** np.arange(30) * (found.forecast[0] ** 2 - base)
    np.testing.assert_allclose(found.forecast**2, expected, rtol=1e-9)
    assert found.persistence == pytest.approx(kept)


def test_the_next_bar_follows_from_the_last_one_by_the_parameters():
    returns = simulated(5, gamma=0.08, beta=0.86)
    found = fit(returns, "gjr")
    p, r = found.parameters, returns[-1]
    expected = p["omega"] + (p["alpha"] + p["gamma"] * (r < 0)) * r**2 + p["beta"] * found.current**2
    assert found.forecast[0] ** 2 == pytest.approx(expected, rel=1e-9)


def test_forecasts_of_egarch_are_the_mean_of_a_simulation_with_its_own_residuals():
    returns = simulated_egarch(6)
    found = fit(returns, "egarch", horizon_bars=10)
    p, generator = found.parameters, np.random.default_rng(0)
    level = np.full(200_000, math.log(found.forecast[0] ** 2))
    for h in range(10):
        assert found.forecast[h] == pytest.approx(math.sqrt(np.exp(level).mean()), rel=0.002)
        z = generator.choice(found.residuals, level.size)
        level = p["omega"] + p["alpha"] * (abs(z) - math.sqrt(2 / math.pi)) + p["gamma"] * z + p["beta"] * level


def test_arch_bootstraps_the_same_forecast_of_egarch():
    returns = simulated_egarch(7, 800)
    theirs, scale = by_arch(returns, "egarch")
    drawn = theirs.forecast(
        horizon=5, method="bootstrap", simulations=20_000, random_state=np.random.RandomState(0)
    ).variance.to_numpy()[-1]
    np.testing.assert_allclose(fit(returns, "egarch").forecast, np.sqrt(drawn) * scale, rtol=0.01)


def test_known_parameters_are_recovered():
    found = fit(simulated(8, 20_000, alpha=0.05, gamma=0.08, beta=0.88), "gjr").parameters
    assert found["alpha"] == pytest.approx(0.05, abs=0.015)
    assert found["gamma"] == pytest.approx(0.08, abs=0.02)
    assert found["beta"] == pytest.approx(0.88, abs=0.025)
    assert found["nu"] == pytest.approx(6.0, abs=0.5)
    long = found["omega"] / (1 - found["alpha"] - found["gamma"] / 2 - found["beta"])
    assert math.sqrt(long) == pytest.approx(0.01, rel=0.05)


def test_known_parameters_of_egarch_are_recovered():
    found = fit(simulated_egarch(9, 20_000), "egarch").parameters
    for name, value in {"alpha": 0.15, "gamma": -0.08, "beta": 0.95}.items():
        assert found[name] == pytest.approx(value, abs=0.02)
    assert found["nu"] == pytest.approx(7.0, abs=0.6)


@settings(max_examples=8, deadline=None)
@given(st.floats(1e-4, 1e3), st.sampled_from(KINDS))
def test_scaling_returns_scales_volatilities_and_leaves_the_rest(factor, kind):
    returns = simulated(10, 600)
    one, other = fit(returns, kind), fit(returns * factor, kind)
    np.testing.assert_allclose(other.forecast, one.forecast * factor, rtol=1e-3)
    np.testing.assert_allclose(other.residuals, one.residuals, rtol=1e-2, atol=1e-3)
    assert other.log_likelihood + 600 * math.log(factor) == pytest.approx(one.log_likelihood, abs=1e-2)


def test_gaps_are_skipped_in_the_order_of_events():
    returns = simulated(11, 600)
    holes = np.random.default_rng(0).choice(700, 100, replace=False)
    with_gaps = np.full(700, np.nan)
    there = np.setdiff1d(np.arange(700), holes)
    with_gaps[there] = returns
    with_gaps[holes[0]] = np.inf
    plain, gappy = fit(returns), fit(with_gaps)
    assert gappy.observations == 600 and gappy.parameters == plain.parameters
    np.testing.assert_array_equal(gappy.sigma[there], plain.sigma)
    np.testing.assert_array_equal(gappy.forecast, plain.forecast)
    assert np.isnan(gappy.sigma[holes]).all() and np.isnan(gappy.residuals[holes]).all()


def test_the_best_has_the_smallest_bic():
    returns = simulated_egarch(12)
    best, each = best_of(returns), {kind: fit(returns, kind) for kind in KINDS}
    assert best.asked == "best" and best.used == min(each, key=lambda k: each[k].bic)
    assert best.bic == min(f.bic for f in each.values())
    ours = each["gjr"]
    assert ours.bic == pytest.approx(5 * math.log(1500) - 2 * ours.log_likelihood)


def test_leverage_is_found_where_there_is_some_and_not_paid_for_where_there_is_none():
    assert best_of(simulated(13, 4000, alpha=0.01, gamma=0.15, beta=0.85)).used != "garch"
    assert best_of(simulated(14, 4000)).used == "garch"


# ---- what is used instead -----------------------------------------------------------------------------------------


def test_too_few_returns_are_measured_by_ewma_and_it_says_so():
    found = fit(simulated(15, 249))
    assert (found.asked, found.used, found.cause) == ("garch", "ewma", "too_few_returns")
    assert found.why == "249 returns, 250 are needed"
    assert math.isnan(found.log_likelihood) and math.isnan(found.bic)
    assert np.isfinite(found.sigma).sum() == 249 - 10 and np.isfinite(found.forecast).all()
    assert fit(simulated(15, 250)).used == "garch"


def test_ewma_expects_what_was_known_a_bar_earlier():
    returns = simulated(16, 100)
    found = fit(returns, half_life_bars=20.0)
    weight = 0.5 ** (np.arange(60)[::-1] / 20)
    assert found.sigma[60] == pytest.approx(math.sqrt(np.average(returns[:60] ** 2, weights=weight)))
    shorter = fit(returns[:60], half_life_bars=20.0)
    np.testing.assert_allclose(shorter.forecast, found.sigma[60])


@pytest.mark.parametrize(
    ("returns", "cause"),
    [
        (np.full(500, np.nan), "no_returns"),
        (np.array([]), "no_returns"),
        (np.zeros(500), "constant"),
        (np.full(500, 0.01), "constant"),
        (np.array([0.01, -0.02, 0.01]), "too_few_returns"),
    ],
)
def test_what_cannot_be_measured_is_missing_and_has_a_reason(returns, cause):
    found = fit(returns, "egarch")
    assert (found.used, found.cause) == ("none", cause) and found.why
    assert np.isnan(found.forecast).all() and np.isnan(found.annualised).all() and np.isnan(found.sigma).all()
    assert found.regime() == "unknown" and math.isnan(found.current)


def test_a_search_that_does_not_end_falls_back_to_garch_or_further():
    found = fit(simulated(17), "gjr", most_steps=2)
    assert (found.used, found.cause) == ("ewma", "not_converged")
    assert found.why.startswith("gjr: no greatest likelihood within 2 steps; garch: ")


def test_an_explosive_variance_is_not_used():
    rising = 0.001 * 1.004 ** np.arange(1500) * np.random.default_rng(18).standard_normal(1500)
    found = fit(rising, "gjr")
    assert (found.used, found.cause) == ("ewma", "explosive")
    assert "gjr: persistence 1.0000" in found.why and "garch: persistence 1.0000" in found.why


def test_tails_without_a_variance_are_not_used():
    wild = np.random.default_rng(19).standard_cauchy(1000)
    found = fit(wild)
    assert (found.used, found.cause) == ("ewma", "no_variance")


def test_the_chain_stops_at_garch_where_that_one_can_be_had(monkeypatch):
    from tradewind.risk import garch

    real = garch._estimated
    monkeypatch.setattr(
        garch, "_estimated", lambda u, k, n: ("not_converged", "told to") if k == "egarch" else real(u, k, n)
    )
    found = fit(simulated(20), "egarch")
    assert (found.asked, found.used, found.cause, found.why) == ("egarch", "garch", "not_converged", "told to")
    best = best_of(simulated(20))
    assert best.cause is None and best.used != "egarch" and best.why == "told to"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([*KINDS, "best"]), st.sampled_from(["zeros", "jump", "trend", "steps"]))
def test_odd_series_give_finite_numbers_or_a_reason(seed, kind, oddity):
    generator = np.random.default_rng(seed)
    returns = generator.standard_normal(300) * 0.01
    if oddity == "zeros":
        returns[generator.random(300) < 0.8] = 0.0
    elif oddity == "jump":
        returns[generator.integers(300)] = 1e3
    elif oddity == "trend":
        returns += 5.0
    else:
        returns = np.round(returns, 2)
    found = fit(returns, kind)
    assert found.used != "none" and np.isfinite(found.forecast).all() and (found.forecast > 0).all()
    assert (found.cause is None) == (found.used == kind or (kind == "best" and found.used in KINDS))


# ---- regimes and the universe -------------------------------------------------------------------------------------


def made(sigma: list[float], forecast: list[float]) -> VolatilityFit:
    values = np.array(sigma)
    return VolatilityFit("garch", "garch", None, "", {}, values, values, np.array(forecast), 0.9, 0.0, 3, 252.0)


def test_high_is_half_as_much_again_as_now():
    assert made([1.0, 2.0, math.nan], [3.0] * 5).regime() == "high"
    assert made([1.0, 2.0, math.nan], [2.99] * 5).regime() == "normal"
    assert made([1.0], [1.0, 2.0, 2.0]).regime(3, 1.7) == "high"
    assert made([1.0], [1.0, 2.0, 2.0]).over(3) == pytest.approx(math.sqrt(3))
    assert made([1.0], [0.01]).annualised == pytest.approx(0.01 * math.sqrt(252))


def test_a_shock_makes_the_regime_high_and_calm_makes_it_normal():
    calm = simulated(21, alpha=0.15, beta=0.8)
    assert fit(calm).regime() == "normal"
    shocked = np.append(calm, 8 * np.std(calm))
    assert fit(shocked).regime() == "high"


@pytest.fixture(scope="module")
def universe():
    returns = np.column_stack([simulated(seed, 400) for seed in range(6)])
    returns[:200, 4] = np.nan
    returns[:, 5] = 0.0
    return returns, [*"ABCD", "NEW", "DEAD"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_universe_is_its_symbols_one_by_one(universe, jobs):
    returns, symbols = universe
    found = fit_universe(returns, symbols, "gjr", jobs=jobs)
    assert found.sigma.shape == found.residuals.shape == (400, 6) and found.forecast.shape == (5, 6)
    for column, symbol in enumerate(symbols):
        one = fit(returns[:, column], "gjr")
        np.testing.assert_array_equal(found[symbol].sigma, one.sigma)
        np.testing.assert_array_equal(found.forecast[:, column], one.forecast)
        assert found.regimes()[column] == one.regime()
    assert found.fell_back == {"too_few_returns": ("NEW",), "constant": ("DEAD",)}
    assert found.used == {"gjr": 4, "ewma": 1, "none": 1}


def test_the_order_of_symbols_does_not_matter(universe):
    returns, symbols = universe
    there, back = fit_universe(returns, symbols, jobs=1), fit_universe(returns[:, ::-1], symbols[::-1], jobs=1)
    np.testing.assert_array_equal(there.forecast, back.forecast[:, ::-1])


def test_an_empty_universe_has_nothing_to_say():
    assert fit_universe(np.empty((300, 0)), []).used == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda: fit(np.zeros((3, 2))),
        lambda: fit(np.zeros(300), "grch"),
        lambda: fit(np.zeros(300), horizon_bars=0),
        lambda: fit(np.zeros(300), half_life_bars=math.nan),
        lambda: fit(np.zeros(300), least_returns=5),
        lambda: fit(simulated(0, 300)).over(6),
        lambda: fit_universe(np.zeros((300, 2)), ["A"]),
        lambda: fit_universe(np.zeros((300, 2)), ["A", "A"]),
        lambda: fit_universe(np.zeros((300, 2)), ["AAPL", "MSFT"])["APPL"],
    ],
)
def test_nonsense_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_every_search_begins_inside_its_walls():
    for kind in KINDS:
        starts, box, _ = _space(kind)
        assert (starts >= box[0]).all() and (starts <= box[1]).all()
