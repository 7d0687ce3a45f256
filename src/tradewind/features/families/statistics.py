"""Statistics of recent prices and returns: shape, memory, place in their own history."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    LOG_CLOSE,
    RETURN,
    correlation,
    delta,
    highest,
    kurtosis,
    lag,
    log,
    lowest,
    quantile,
    rank,
    record_high,
    skewness,
    variance,
    zscore,
)
from tradewind.features.spec import Family

FAMILY = Family("statistics", "sample statistic over a rolling window, textbook definition")
_add = FAMILY.add
_SIGMA = "standard deviations"

for _bars in (20, 60):
    _add(f"zscore_{_bars}", zscore(LOG_CLOSE, _bars), _SIGMA, f"Log close against its last {_bars} bars")
_add("return_z_60", zscore(RETURN, 60), _SIGMA, "Return against those of the last 60 bars")
_add("skewness_60", skewness(RETURN, 60), "1", "Skewness of the returns of 60 bars")
_add("kurtosis_60", kurtosis(RETURN, 60), "1", "Excess kurtosis of the returns of 60 bars")
for _lag in (1, 5):
    _add(
        f"autocorrelation_{_lag}_60",
        correlation(RETURN, lag(RETURN, _lag), 60),
        "-1..1",
        f"Correlation of returns {_lag} bars apart, 60 bars",
    )
_add(
    "variance_ratio_5_60",
    variance(delta(LOG_CLOSE, 5), 60) / (5.0 * variance(RETURN, 60)),
    "ratio",
    "Variance of 5-bar returns over five times that of one bar: above 1 trends, below 1 reverts",
    "Lo and MacKinlay 1988",
)
_add("return_rank_60", rank(RETURN, 60), "0..1", "Rank of the return among the last 60")
_add("close_rank_126", rank(CLOSE, 126), "0..1", "Rank of the close among the last 126")
_add("close_to_median_60", log(CLOSE / quantile(CLOSE, 60, 0.5)), "log ratio", "Close over its median of 60 bars")
_LOW_TAIL, _HIGH_TAIL = quantile(RETURN, 60, 0.05), quantile(RETURN, 60, 0.95)
_add("low_tail_60", _LOW_TAIL, "log return", "5 % quantile of the returns of 60 bars")
_add("high_tail_60", _HIGH_TAIL, "log return", "95 % quantile of the returns of 60 bars")
_add("tail_balance_60", (_HIGH_TAIL + _LOW_TAIL) / (_HIGH_TAIL - _LOW_TAIL), "-1..1", "Which tail reaches further")
_DRAWDOWN = LOG_CLOSE - highest(LOG_CLOSE, 126)
_add("drawdown", LOG_CLOSE - record_high(LOG_CLOSE), "log ratio", "Close over its record")
_add("drawdown_126", _DRAWDOWN, "log ratio", "Close over its high of 126 bars")
_add("worst_drawdown_63", lowest(_DRAWDOWN, 63), "log ratio", "Deepest 126-bar drawdown of the last 63 bars")
_add("best_return_20", highest(RETURN, 20), "log return", "Largest return of 20 bars (MAX)", "Bali et al. 2011")
_add("worst_return_20", lowest(RETURN, 20), "log return", "Smallest return of 20 bars")
