"""Trend: averages that follow the price, bands around them, and how strong the following is."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    HIGH,
    LOG_CLOSE,
    LOW,
    TRUE_RANGE,
    age,
    bars_since_highest,
    bars_since_lowest,
    beta,
    correlation,
    delta,
    deviation,
    ema,
    log,
    maximum,
    mean,
    sign,
    where,
    wilder,
)
from tradewind.features.spec import Family

FAMILY = Family("trend", "Murphy (1999), Technical Analysis of the Financial Markets: moving averages")
_add = FAMILY.add

for _bars in (5, 10, 20, 50, 200):
    _sma = mean(CLOSE, _bars)
    _add(f"sma_{_bars}", _sma, "currency", f"Mean close of {_bars} bars", scale_free=False)
    _add(f"close_to_sma_{_bars}", log(CLOSE / _sma), "log ratio", f"Close over its mean of {_bars} bars")
for _span in (12, 26, 50):
    _ema = ema(CLOSE, _span)
    _add(f"ema_{_span}", _ema, "currency", f"Exponential mean close, span {_span}", scale_free=False)
    _add(f"close_to_ema_{_span}", log(CLOSE / _ema), "log ratio", f"Close over its exponential mean, span {_span}")
_add("sma_20_to_50", log(mean(CLOSE, 20) / mean(CLOSE, 50)), "log ratio", "20-bar over 50-bar mean")
_add("sma_50_to_200", log(mean(CLOSE, 50) / mean(CLOSE, 200)), "log ratio", "50-bar over 200-bar mean")

_MIDDLE, _WIDTH = mean(CLOSE, 20), 2.0 * deviation(CLOSE, 20)
_BOLLINGER = "Bollinger 2001"
_add("bollinger_upper_20", _MIDDLE + _WIDTH, "currency", "Upper band, 20 bars, 2σ", _BOLLINGER, scale_free=False)
_add("bollinger_lower_20", _MIDDLE - _WIDTH, "currency", "Lower band, 20 bars, 2σ", _BOLLINGER, scale_free=False)
_add(
    "bollinger_position_20",
    (CLOSE - _MIDDLE + _WIDTH) / (2.0 * _WIDTH),
    "0..1 inside the bands",
    "Where between the bands the close lies (%b)",
    _BOLLINGER,
)
_add("bollinger_width_20", 2.0 * _WIDTH / _MIDDLE, "fraction of mean", "Distance between the bands", _BOLLINGER)

_UP, _DOWN = delta(HIGH), -delta(LOW)
_ATR = wilder(TRUE_RANGE, 14)
_PLUS = 100.0 * wilder(where(_UP - _DOWN, maximum(_UP, 0.0), 0.0), 14) / _ATR
_MINUS = 100.0 * wilder(where(_DOWN - _UP, maximum(_DOWN, 0.0), 0.0), 14) / _ATR
_add("plus_di_14", _PLUS, "0..100", "Positive directional indicator", "Wilder 1978")
_add("minus_di_14", _MINUS, "0..100", "Negative directional indicator", "Wilder 1978")
_add(
    "adx_14",
    wilder(100.0 * abs(_PLUS - _MINUS) / (_PLUS + _MINUS), 14),
    "0..100",
    "Average directional index: strength of the trend, either way",
    "Wilder 1978",
)
_AROON_UP = 100.0 - bars_since_highest(HIGH, 15) * (100.0 / 14.0)
_AROON_DOWN = 100.0 - bars_since_lowest(LOW, 15) * (100.0 / 14.0)
_add("aroon_up_14", _AROON_UP, "0..100", "How recent the 14-bar high is", "Chande 1995")
_add("aroon_down_14", _AROON_DOWN, "0..100", "How recent the 14-bar low is", "Chande 1995")
_add("aroon_oscillator_14", _AROON_UP - _AROON_DOWN, "-100..100", "Aroon up less Aroon down", "Chande 1995")

for _bars in (20, 63):
    _slope = beta(LOG_CLOSE, age(CLOSE), _bars)
    _fit = correlation(LOG_CLOSE, age(CLOSE), _bars)
    _add(f"regression_slope_{_bars}", _slope, "log return per bar", f"Slope of the log close over {_bars} bars")
    _add(
        f"regression_fit_{_bars}",
        sign(_fit) * _fit * _fit,
        "-1..1",
        f"Signed R² of the log close on time over {_bars} bars",
    )
