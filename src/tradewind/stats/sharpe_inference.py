"""How far a Sharpe ratio may be believed: probabilistic, deflated, and what a sample could have shown at all.

Sharpe ratios inside these formulas are per bar; arguments and results say where they are annualised.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tradewind.errors import InputError
from tradewind.stats.bootstrap import Interval, bootstrap_interval
from tradewind.stats.metrics.sample import clean, moments

FloatArray = NDArray[np.float64]

EULER_MASCHERONI = 0.5772156649015329


def sharpe_standard_error(sharpe: float, n: int, skewness: float = 0.0, kurtosis: float = 3.0) -> float:
    """Return the standard error of a per-bar Sharpe ratio under non-normal returns (Mertens 2002; Lo 2002)."""
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return math.sqrt(max(variance, 0.0) / (n - 1)) if n > 1 else math.nan


def probabilistic_sharpe_of(
    sharpe: float, n: int, skewness: float, kurtosis: float, *, benchmark: float = 0.0
) -> float:
    """Return the probability that the true per-bar Sharpe ratio exceeds ``benchmark``, from the sample's moments.

    Bailey & López de Prado (2012), eq. 6; ``kurtosis`` is 3 for a normal.
    """
    error = sharpe_standard_error(sharpe, n, skewness, kurtosis)
    return _normal_cdf((sharpe - benchmark) / error) if error > 0 else math.nan


def probabilistic_sharpe(returns: ArrayLike, *, benchmark_sharpe: float = 0.0, periods_per_year: float = 1.0) -> float:
    """Return the probability that the true Sharpe ratio of the returns exceeds a benchmark.

    ``benchmark_sharpe`` is annualised with ``periods_per_year`` (1: per bar). NaN where returns do not vary.
    """
    r = clean(returns)
    sharpe, skew, kurt = _moments(r)
    benchmark = benchmark_sharpe / math.sqrt(periods_per_year)
    return probabilistic_sharpe_of(sharpe, r.size, skew, kurt, benchmark=benchmark)


def expected_maximum_sharpe(trials: int, trial_variance: float) -> float:
    """Return the Sharpe ratio that the best of ``trials`` skill-less strategies is expected to show.

    ``trial_variance`` is the variance of the trials' Sharpe ratios (same period as the result). Bailey & López de
    Prado (2014), eq. 1; 0 for a single trial.
    """
    if trials < 1 or trial_variance < 0:
        raise InputError(f"{trials} trials with Sharpe variance {trial_variance} make no sense")
    if trials == 1:
        return 0.0
    first = _normal_quantile(1.0 - 1.0 / trials)
    second = _normal_quantile(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(trial_variance) * ((1.0 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second)


def deflated_sharpe(returns: ArrayLike, *, trials: int, trial_variance: float) -> float:
    """Return the deflated Sharpe ratio: the probability of skill beyond the luck of picking the best trial.

    Parameters
    ----------
    returns
        Per-bar returns of the selected strategy.
    trials
        Configurations that were tried, this one included.
    trial_variance
        Variance across trials of the *per-bar* Sharpe ratio.
    """
    return probabilistic_sharpe(returns, benchmark_sharpe=expected_maximum_sharpe(trials, trial_variance))


def minimum_detectable_sharpe(
    n: int, *, periods_per_year: float, significance_level: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest annualised Sharpe ratio that ``n`` bars would tell from zero.

    One-sided test at ``significance_level`` that detects it with probability ``power``, normal returns.
    """
    if n < 2:
        return math.nan
    reach = (_normal_quantile(1.0 - significance_level) + _normal_quantile(power)) ** 2
    return (
        math.sqrt(periods_per_year * reach / max(n - 1.0 - reach / 2.0, 1e-12)) if n - 1.0 > reach / 2.0 else math.inf
    )


def minimum_track_record(
    returns: ArrayLike, *, benchmark_sharpe: float = 0.0, periods_per_year: float = 1.0, confidence: float = 0.95
) -> float:
    """Return the bars needed for the sample's Sharpe ratio to exceed a benchmark with this confidence.

    Bailey & López de Prado (2012), eq. 11; infinite where the sample does not beat the benchmark.
    """
    sharpe, skew, kurt = _moments(clean(returns))
    benchmark = benchmark_sharpe / math.sqrt(periods_per_year)
    return minimum_track_record_of(sharpe, skew, kurt, benchmark=benchmark, confidence=confidence)


def minimum_track_record_of(
    sharpe: float, skewness: float, kurtosis: float, *, benchmark: float = 0.0, confidence: float = 0.95
) -> float:
    """Return :func:`minimum_track_record` from per-bar moments."""
    if not math.isfinite(sharpe):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    return 1.0 + variance * (_normal_quantile(confidence) / (sharpe - benchmark)) ** 2


def sharpe_interval(
    returns: ArrayLike,
    *,
    periods_per_year: float,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
    block_bars: float | None = None,
) -> Interval:
    """Return the annualised Sharpe ratio with its stationary-bootstrap interval."""

    def annual_sharpe(values: FloatArray) -> FloatArray:
        spread = values.std(axis=-1, ddof=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = values.mean(axis=-1) / spread * math.sqrt(periods_per_year)
        return np.asarray(np.where(spread > 0, ratio, np.nan))

    return bootstrap_interval(returns, annual_sharpe, level=level, samples=samples, seed=seed, block_bars=block_bars)


def _moments(r: FloatArray) -> tuple[float, float, float]:
    """Return the per-bar Sharpe ratio (n - 1), skewness and kurtosis."""
    mean, deviation, skew, kurt = moments(r)
    if not deviation > 0:
        return math.nan, math.nan, math.nan
    return mean / (deviation * math.sqrt(r.size / (r.size - 1))), skew, kurt


def _normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))
