"""Significance against worked examples of the papers, and against arch, scipy and statsmodels."""

import math

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.stats import significance as s
from tradewind.stats.metrics import performance


def ar1(n: int, phi: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=n)
    x = np.zeros(n)
    for t in range(1, n):
        x[t] = phi * x[t - 1] + noise[t]
    return x


def test_deflated_sharpe_is_the_worked_example_of_bailey_and_lopez_de_prado_2014() -> None:
    # Section "A numerical example": annual SR 2.5 over 5 years of daily data, skewness -3, kurtosis 10,
    # 100 trials with annualised variance 1/2: SR0 = 0.1132 a day and DSR = 0.9004.
    expected = s.expected_maximum_sharpe(100, 0.5 / 250)
    assert expected == pytest.approx(0.1132, abs=5e-5)
    value = s.probabilistic_sharpe_of(2.5 / math.sqrt(250), 1250, -3.0, 10.0, benchmark=expected)
    assert value == pytest.approx(0.9004, abs=1e-3)


def test_deflated_sharpe_of_the_same_example_with_46_trials_is_about_95_percent() -> None:
    expected = s.expected_maximum_sharpe(46, 0.5 / 250)
    value = s.probabilistic_sharpe_of(2.5 / math.sqrt(250), 1250, -3.0, 10.0, benchmark=expected)
    assert value == pytest.approx(0.9505, abs=1e-3)


def test_minimum_track_record_is_the_worked_example_of_bailey_and_lopez_de_prado_2012() -> None:
    # An annualised Sharpe ratio of 2 beats 1 with 95 % after 2.73 years of daily normal returns; after 4.99 years
    # of monthly returns with skewness -0.72 and kurtosis 5.78.
    normal = s.minimum_track_record_of(2 / math.sqrt(252), 0.0, 3.0, benchmark=1 / math.sqrt(252))
    assert normal / 252 == pytest.approx(2.73, abs=0.01)
    skewed = s.minimum_track_record_of(2 / math.sqrt(12), -0.72, 5.78, benchmark=1 / math.sqrt(12))
    assert skewed / 12 == pytest.approx(4.99, abs=0.02)


def test_minimum_track_record_is_where_the_probabilistic_sharpe_reaches_the_confidence() -> None:
    n = s.minimum_track_record_of(0.1, -0.5, 5.0, benchmark=0.02, confidence=0.9)
    assert s.probabilistic_sharpe_of(0.1, round(n), -0.5, 5.0, benchmark=0.02) == pytest.approx(0.9, abs=1e-3)
    assert s.minimum_track_record_of(0.1, 0.0, 3.0, benchmark=0.1) == math.inf


def test_one_trial_deflates_nothing_and_more_trials_deflate_more() -> None:
    r = np.random.default_rng(1).normal(0.001, 0.01, 1000)
    single = s.deflated_sharpe(r, trials=1, trial_variance=0.0)
    assert single == s.probabilistic_sharpe(r)
    many = [s.deflated_sharpe(r, trials=k, trial_variance=1e-3) for k in (2, 10, 100, 1000)]
    assert all(a > b for a, b in zip([single, *many], many, strict=False))


def test_constant_returns_have_no_probabilistic_sharpe() -> None:
    assert math.isnan(s.probabilistic_sharpe(np.full(100, 0.001)))
    assert math.isnan(s.probabilistic_sharpe(np.array([0.01])))


def test_the_minimum_detectable_sharpe_is_detected_with_the_stated_power() -> None:
    n = 500
    target = s.minimum_detectable_sharpe(n, periods_per_year=252) / math.sqrt(252)
    r = np.random.default_rng(3).normal(target, 1.0, (4000, n))
    found = [s.probabilistic_sharpe_of(x.mean() / x.std(ddof=1), n, 0.0, 3.0) > 0.95 for x in r]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


def test_two_weeks_could_only_show_an_absurd_sharpe() -> None:
    assert s.minimum_detectable_sharpe(10, periods_per_year=252) > 10
    assert math.isnan(s.minimum_detectable_sharpe(1, periods_per_year=252))


@pytest.mark.parametrize("lags", [0, 3, 12])
def test_hac_standard_error_equals_statsmodels(lags: int) -> None:
    import statsmodels.api as sm

    x = ar1(400, 0.5, 7) + 0.3
    fit = sm.OLS(x, np.ones_like(x)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    assert s.hac_standard_error(x, lags) == pytest.approx(float(fit.bse[0]), rel=1e-10)
    assert s.hac_t(np.array([1.0])) is not None


def test_positive_autocorrelation_widens_the_error() -> None:
    x = ar1(2000, 0.7, 2)
    assert s.hac_standard_error(x, 20) > 1.5 * s.hac_standard_error(x, 0)


@pytest.mark.parametrize(("phi", "seed"), [(0.0, 1), (0.3, 2), (0.8, 3)])
def test_automatic_block_length_agrees_with_arch_which_counts_one_lag_more(phi: float, seed: int) -> None:
    from arch.bootstrap import optimal_block_length

    x = ar1(1000, phi, seed)
    oracle = float(optimal_block_length(x)["stationary"].iloc[0])
    assert s.automatic_block_length(x) == pytest.approx(max(oracle, 1.0), rel=0.3)


def test_resampled_blocks_have_the_mean_length_asked_for() -> None:
    index = s.stationary_indices(5000, 20.0, 20, np.random.default_rng(0))
    breaks = (np.diff(index, axis=1) % 5000 != 1).mean()
    assert 1 / breaks == pytest.approx(20.0, rel=0.1)
    assert index.min() >= 0
    assert index.max() < 5000


def test_the_sharpe_interval_agrees_with_arch_and_covers_the_sample() -> None:
    from arch.bootstrap import StationaryBootstrap

    r = np.random.default_rng(5).normal(0.0005, 0.01, 750)
    ours = s.sharpe_interval(r, periods_per_year=252, block_bars=5.0, samples=3000, seed=1)
    oracle = StationaryBootstrap(5, r, seed=2).conf_int(
        lambda x: np.array([x.mean() / x.std(ddof=1) * math.sqrt(252)]), reps=3000, method="percentile"
    )
    assert ours.value == pytest.approx(performance.sharpe(r, periods_per_year=252).value)
    assert (ours.low, ours.high) == pytest.approx((oracle[0, 0], oracle[1, 0]), abs=0.15)


def test_the_same_seed_gives_the_same_interval() -> None:
    r = np.random.default_rng(5).normal(0.0005, 0.01, 300)
    one, two = (s.sharpe_interval(r, periods_per_year=252, samples=200, seed=9) for _ in range(2))
    assert one == two


def test_an_interval_of_nothing_is_missing() -> None:
    assert math.isnan(s.sharpe_interval(np.zeros(50), periods_per_year=252).low)
    with pytest.raises(InputError, match="confidence level"):
        s.sharpe_interval(np.arange(50.0), periods_per_year=252, level=1.5)


def test_ninety_percent_intervals_cover_nine_in_ten_times() -> None:
    generator = np.random.default_rng(11)
    true = 0.1 * math.sqrt(252)
    hits = 0
    for seed in range(150):
        r = generator.normal(0.1, 1.0, 400)
        found = s.sharpe_interval(r, periods_per_year=252, level=0.9, samples=300, seed=seed, block_bars=1.0)
        hits += found.low <= true <= found.high
    assert hits / 150 == pytest.approx(0.9, abs=0.06)


def test_diebold_mariano_equals_the_textbook_at_one_step() -> None:
    from scipy import stats

    generator = np.random.default_rng(0)
    a, b = generator.normal(1.0, 1.0, 80) ** 2, generator.normal(0.8, 1.0, 80) ** 2
    gap = a - b
    found = s.diebold_mariano(a, b)
    error = s.hac_standard_error(gap, found.lags)
    expected = gap.mean() / error * math.sqrt((80 - 1) / 80)
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(expected), 79))


def test_symbols_of_one_date_count_once() -> None:
    generator = np.random.default_rng(4)
    common = generator.normal(0.1, 1.0, 300)
    single = s.diebold_mariano(common, np.zeros(300))
    many = s.diebold_mariano(np.repeat(common[:, None], 50, axis=1), np.zeros((300, 50)))
    assert many.p_value == pytest.approx(single.p_value)


def test_overlapping_horizons_do_not_reject_too_often() -> None:
    generator = np.random.default_rng(8)
    rejected = 0
    for _ in range(300):
        daily = generator.normal(size=520)
        overlapping = np.convolve(daily, np.ones(20), "valid")
        rejected += s.diebold_mariano(overlapping, np.zeros(len(overlapping)), 20).p_value < 0.05
    assert rejected / 300 < 0.13


def test_equal_losses_cannot_be_told_apart() -> None:
    found = s.diebold_mariano(np.ones(50), np.ones(50))
    assert math.isnan(found.p_value)
    assert found.difference == 0.0
