"""Momentum: how far and how steadily the price has come."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    HIGH,
    LOG_CLOSE,
    LOW,
    OPEN,
    RETURN,
    TRUE_RANGE,
    TYPICAL,
    Expr,
    bars_since_highest,
    delta,
    deviation,
    ema,
    highest,
    lag,
    log,
    lowest,
    maximum,
    mean,
    mean_absolute_deviation,
    minimum,
    positive,
    streak,
    total,
    wilder,
)
from tradewind.features.spec import Family

FAMILY = Family("momentum", "Murphy (1999), Technical Analysis of the Financial Markets: oscillators and past returns")
_add = FAMILY.add


def relative_strength(x: Expr, bars: int) -> Expr:
    """Wilder's RSI, 0..100."""
    change = delta(x)
    gain = wilder(maximum(change, 0.0), bars)
    loss = wilder(maximum(-change, 0.0), bars)
    return 100.0 * gain / (gain + loss)


def stochastic(high: Expr, low: Expr, close: Expr, bars: int) -> Expr:
    """Place of ``close`` between the lowest low and the highest high, 0..100."""
    bottom = lowest(low, bars)
    return 100.0 * (close - bottom) / (highest(high, bars) - bottom)


RSI_14 = relative_strength(CLOSE, 14)
_add("rsi_14", RSI_14, "0..100", "Relative strength index over 14 bars", "Wilder 1978", critical=True)
for _bars in (2, 7, 28):
    _add(f"rsi_{_bars}", relative_strength(CLOSE, _bars), "0..100", f"Relative strength index over {_bars} bars")

_K14 = stochastic(HIGH, LOW, CLOSE, 14)
_SLOW = mean(_K14, 3)
_add("stochastic_fast_14", _K14, "0..100", "Close in the range of 14 bars (fast %K)", "Lane 1984")
_add("stochastic_k_14", _SLOW, "0..100", "Slow %K: mean of 3 of the fast one", "Lane 1984")
_add("stochastic_d_14", mean(_SLOW, 3), "0..100", "%D: mean of 3 of the slow %K", "Lane 1984")
_RSI_K = stochastic(RSI_14, RSI_14, RSI_14, 14)
_add("stochrsi_k_14", _RSI_K, "0..100", "RSI(14) in its own range of 14 bars", "Chande and Kroll 1994")
_add("stochrsi_d_14", mean(_RSI_K, 3), "0..100", "Mean of 3 of the StochRSI", "Chande and Kroll 1994")
_add("williams_r_14", _K14 - 100.0, "-100..0", "Williams %R over 14 bars", "Williams 1979")
_add(
    "cci_20",
    (TYPICAL - mean(TYPICAL, 20)) / (0.015 * mean_absolute_deviation(TYPICAL, 20)),
    "index",
    "Commodity channel index over 20 bars",
    "Lambert 1980",
)
for _bars in (5, 10, 20):
    _add(f"roc_{_bars}", 100.0 * (CLOSE / lag(CLOSE, _bars) - 1.0), "%", f"Rate of change over {_bars} bars")

_SLOW_EMA = ema(CLOSE, 26)
_MACD = ema(CLOSE, 12) - _SLOW_EMA
_SIGNAL = ema(_MACD, 9)
_add("macd", _MACD, "currency", "EMA(12) less EMA(26)", "Appel 1979", scale_free=False)
_add("macd_signal", _SIGNAL, "currency", "EMA(9) of the MACD", "Appel 1979", scale_free=False)
_add("macd_histogram", _MACD - _SIGNAL, "currency", "MACD less its signal", "Appel 1979", scale_free=False)
_add("macd_relative", _MACD / CLOSE, "fraction of close", "MACD over the close", "Appel 1979")
_add("macd_signal_relative", _SIGNAL / CLOSE, "fraction of close", "MACD signal over the close", "Appel 1979")
_add("macd_histogram_relative", (_MACD - _SIGNAL) / CLOSE, "fraction of close", "MACD histogram over the close")

_SMOOTH = ema(ema(ema(CLOSE, 15), 15), 15)
_add("trix_15", 100.0 * (_SMOOTH / lag(_SMOOTH, 1) - 1.0), "%", "Change of the thrice smoothed close", "Hutson 1983")
_BUYING = CLOSE - minimum(LOW, lag(CLOSE, 1))
_SHARES = [total(_BUYING, n) / total(TRUE_RANGE, n) for n in (7, 14, 28)]
_add(
    "ultimate_oscillator",
    100.0 * (4.0 * _SHARES[0] + 2.0 * _SHARES[1] + _SHARES[2]) / 7.0,
    "0..100",
    "Buying pressure over 7, 14 and 28 bars",
    "Williams 1985",
)
_add("balance_of_power", (CLOSE - OPEN) / (HIGH - LOW), "-1..1", "Body over range of the bar", "Livshin 2001")

_add(
    "momentum_12_1",
    lag(LOG_CLOSE, 21) - lag(LOG_CLOSE, 252),
    "log return",
    "Return over 252 bars without the last 21",
    "Jegadeesh and Titman 1993",
)
_add("momentum_6_1", lag(LOG_CLOSE, 21) - lag(LOG_CLOSE, 126), "log return", "Return over 126 bars without the last 21")
_add("momentum_3_1", lag(LOG_CLOSE, 21) - lag(LOG_CLOSE, 63), "log return", "Return over 63 bars without the last 21")
_add(
    "momentum_12_1_per_risk",
    (lag(LOG_CLOSE, 21) - lag(LOG_CLOSE, 252)) / deviation(RETURN, 252),
    "standard deviations",
    "12-1 momentum over the volatility of the year",
    "Barroso and Santa-Clara 2015",
)
for _bars in (20, 63):
    _add(
        f"sharpe_{_bars}",
        mean(RETURN, _bars) / deviation(RETURN, _bars),
        "per bar",
        f"Mean over deviation of the returns of {_bars} bars",
    )
_add("acceleration_20", delta(delta(LOG_CLOSE, 20), 20), "log return", "Return over 20 bars less the one before it")
_add("up_streak", streak(RETURN), "bars", "Successive bars up (positive) or down (negative)")
_add("up_share_20", mean(positive(RETURN), 20), "0..1", "Share of the last 20 bars that rose")
_add(
    "efficiency_20",
    abs(delta(CLOSE, 20)) / total(abs(delta(CLOSE)), 20),
    "0..1",
    "Net move over the path travelled in 20 bars",
    "Kaufman 1995",
)
_add(
    "high_distance_252",
    log(CLOSE / highest(HIGH, 252)),
    "log ratio",
    "Close over the 252-bar high",
    "George and Hwang 2004",
)
_add("low_distance_252", log(CLOSE / lowest(LOW, 252)), "log ratio", "Close over the 252-bar low")
_add("bars_since_high_252", bars_since_highest(HIGH, 252), "bars", "Age of the 252-bar high")
