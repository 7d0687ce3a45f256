"""Trend: levels that follow the price, and how strong the following is."""

from __future__ import annotations

from tradewind.features.expression import CLOSE, TRUE_RANGE, deviation, ema, log, mean, wilder
from tradewind.features.spec import Family

FAMILY = Family("trend")
_add = FAMILY.add

ATR_14 = wilder(TRUE_RANGE, 14)
for _bars in (5, 10, 20, 50, 200):
    _sma = mean(CLOSE, _bars)
    _add(f"sma_{_bars}", _sma, "currency", f"Mean close of {_bars} bars", scale_free=False)
    _add(f"close_to_sma_{_bars}", log(CLOSE / _sma), "log ratio", f"Close over its mean of {_bars} bars")
for _span in (12, 26, 50):
    _ema = ema(CLOSE, _span)
    _add(f"ema_{_span}", _ema, "currency", f"Exponential mean close, span {_span}", scale_free=False)
    _add(f"close_to_ema_{_span}", log(CLOSE / _ema), "log ratio", f"Close over its exponential mean, span {_span}")

_MIDDLE, _WIDTH = mean(CLOSE, 20), 2.0 * deviation(CLOSE, 20)
_add("bollinger_upper_20", _MIDDLE + _WIDTH, "currency", "Upper Bollinger band, 20 bars, 2σ", scale_free=False)
_add("bollinger_lower_20", _MIDDLE - _WIDTH, "currency", "Lower Bollinger band, 20 bars, 2σ", scale_free=False)
_add(
    "bollinger_position_20",
    (CLOSE - _MIDDLE + _WIDTH) / (2.0 * _WIDTH),
    "0..1 inside the bands",
    "Where between the Bollinger bands the close lies (%b)",
    "Bollinger 2001",
)
_add("bollinger_width_20", 2.0 * _WIDTH / _MIDDLE, "fraction of mean", "Distance between the Bollinger bands")
