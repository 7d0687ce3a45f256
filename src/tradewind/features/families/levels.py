"""Levels that traders draw on charts, each also as a distance that a pooled model can use."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    HIGH,
    LOW,
    SESSION,
    TRUE_RANGE,
    TYPICAL,
    VOLUME,
    Expr,
    bars_since_highest,
    bars_since_lowest,
    highest,
    lag,
    log,
    lowest,
    maximum,
    minimum,
    parabolic_stop,
    point_of_control,
    previous_session,
    session_total,
    total,
    volume_below,
    where,
    wilder,
)
from tradewind.features.spec import Family

FAMILY = Family("levels", "Murphy (1999), Technical Analysis of the Financial Markets: retracements and channels")
_add = FAMILY.add
_ATR = wilder(TRUE_RANGE, 14)


def _level(name: str, level: Expr, description: str, source: str = "") -> None:
    """Register a price level, and the close's distance to it in average true ranges."""
    _add(name, level, "currency", description, source, scale_free=False)
    _add(f"close_to_{name}", (CLOSE - level) / _ATR, "ATR(14)", f"Close above: {description}", source)


_PRIOR_HIGH = previous_session(HIGH, SESSION, "high")
_PRIOR_LOW = previous_session(LOW, SESSION, "low")
_PIVOT = (_PRIOR_HIGH + _PRIOR_LOW + previous_session(CLOSE, SESSION, "last")) / 3.0
_level("pivot", _PIVOT, "Pivot point: mean of high, low and close of the session before", "floor traders' rule")
_level("pivot_r1", 2.0 * _PIVOT - _PRIOR_LOW, "First resistance of the pivot", "floor traders' rule")
_level("pivot_s1", 2.0 * _PIVOT - _PRIOR_HIGH, "First support of the pivot", "floor traders' rule")

_TOP, _BOTTOM = highest(HIGH, 63), lowest(LOW, 63)
_RISING = bars_since_lowest(LOW, 63) - bars_since_highest(HIGH, 63)
"""Positive where the low came first: the swing of the window went up, and a retracement comes down from its top."""


def _retracement(share: float) -> Expr:
    span = (_TOP - _BOTTOM) * share
    return where(_RISING, _TOP - span, _BOTTOM + span)


for _share, _label in ((0.382, "382"), (0.5, "500"), (0.618, "618")):
    _level(
        f"fibonacci_{_label}_63",
        _retracement(_share),
        f"Retracement by {100 * _share:.1f} % of the swing of 63 bars (extremes known at the bar)",
    )
_SPAN = _TOP - _BOTTOM
_add(
    "fibonacci_retracement_63",
    where(_RISING, (_TOP - CLOSE) / _SPAN, (CLOSE - _BOTTOM) / _SPAN),
    "0..1",
    "How much of the swing of 63 bars has been taken back",
)


def _middle(bars: int) -> Expr:
    return (highest(HIGH, bars) + lowest(LOW, bars)) / 2.0


_ICHIMOKU = "Hosoda 1969; the lagging span looks ahead and is left out"
_TENKAN, _KIJUN = _middle(9), _middle(26)
_SPAN_A, _SPAN_B = lag((_TENKAN + _KIJUN) / 2.0, 26), lag(_middle(52), 26)
_level("ichimoku_conversion", _TENKAN, "Conversion line: middle of 9 bars", _ICHIMOKU)
_level("ichimoku_base", _KIJUN, "Base line: middle of 26 bars", _ICHIMOKU)
_level("ichimoku_span_a", _SPAN_A, "Leading span A as drawn at the bar: computed 26 bars ago", _ICHIMOKU)
_level("ichimoku_span_b", _SPAN_B, "Leading span B as drawn at the bar: computed 26 bars ago", _ICHIMOKU)
_CEILING, _FLOOR = maximum(_SPAN_A, _SPAN_B), minimum(_SPAN_A, _SPAN_B)
_add(
    "ichimoku_cloud_distance",
    (maximum(CLOSE - _CEILING, 0.0) - maximum(_FLOOR - CLOSE, 0.0)) / _ATR,
    "ATR(14)",
    "Distance above (positive) or below the cloud, 0 inside",
    _ICHIMOKU,
)
_add("ichimoku_cross", (_TENKAN - _KIJUN) / _ATR, "ATR(14)", "Conversion line above the base line", _ICHIMOKU)

_level("parabolic_stop", parabolic_stop(HIGH, LOW, 0.02, 0.2), "Parabolic stop and reverse", "Wilder 1978")
_level("donchian_high_20", highest(HIGH, 20), "High of 20 bars", "Donchian")
_level("donchian_low_20", lowest(LOW, 20), "Low of 20 bars", "Donchian")
_add(
    "donchian_position_55",
    (CLOSE - lowest(LOW, 55)) / (highest(HIGH, 55) - lowest(LOW, 55)),
    "0..1",
    "Place in 55 bars",
)

_VWAP_DAY = session_total(TYPICAL * VOLUME, SESSION) / session_total(VOLUME, SESSION)
_VWAP_20 = total(TYPICAL * VOLUME, 20) / total(VOLUME, 20)
_add("vwap", _VWAP_DAY, "currency", "Volume-weighted typical price of the session so far", scale_free=False)
_add("close_to_vwap", log(CLOSE / _VWAP_DAY), "log ratio", "Close over the session's volume-weighted price")
_add("vwap_20", _VWAP_20, "currency", "Volume-weighted typical price of 20 bars", scale_free=False)
_add("close_to_vwap_20", log(CLOSE / _VWAP_20), "log ratio", "Close over the volume-weighted price of 20 bars")

_PROFILE = "Steidlmayer 1984, from bars: each bar's volume at its typical price"
_level(
    "volume_profile_poc_60", point_of_control(TYPICAL, VOLUME, 60, 12), "Price with the most volume, 60 bars", _PROFILE
)
_add(
    "volume_profile_below_60",
    volume_below(TYPICAL, VOLUME, 60, 12),
    "0..1",
    "Share of volume of 60 bars below",
    _PROFILE,
)
