"""Prices and volume as they are, on the forward-adjusted total-return scale, and the shape of the bar."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    DOLLAR_VOLUME,
    HIGH,
    LOG_CLOSE,
    LOW,
    OPEN,
    TRUE_RANGE,
    VOLUME,
    delta,
    lag,
    log,
)
from tradewind.features.spec import Family

FAMILY = Family("price", "the bar itself, as delivered, or a plain transformation of it")
_add = FAMILY.add
_ADJUSTED = "forward-adjusted (total return, 1 at the first bar)"

_add("open", OPEN, "currency", f"Open, {_ADJUSTED}", scale_free=False)
_add("high", HIGH, "currency", f"High, {_ADJUSTED}", scale_free=False)
_add("low", LOW, "currency", f"Low, {_ADJUSTED}", scale_free=False)
_add("close", CLOSE, "currency", f"Close, {_ADJUSTED}", critical=True, scale_free=False)
_add("volume", VOLUME, "shares", "Shares traded, in shares of the first bar", critical=True, scale_free=False)
_add("dollar_volume", DOLLAR_VOLUME, "currency", "Close times volume, raw", scale_free=False)
_add("log_close", LOG_CLOSE, "log currency", f"Logarithm of the close, {_ADJUSTED}", scale_free=False)

for _bars in (1, 2, 3, 5, 10, 20, 63, 126, 252):
    _add(f"return_{_bars}", delta(LOG_CLOSE, _bars), "log return", f"Log return over {_bars} bars")
_add("gap", log(OPEN / lag(CLOSE, 1)), "log return", "From the last close to this open")
_add("intraday_return", log(CLOSE / OPEN), "log return", "From this open to this close (close–open spread)")
_add("high_low_spread", (HIGH - LOW) / CLOSE, "fraction of close", "Range of the bar")
_add("close_open_spread", (CLOSE - OPEN) / OPEN, "fraction of open", "Body of the bar")
_add("close_location", (CLOSE - LOW) / (HIGH - LOW), "0..1", "Where in its range the bar closed")
_add("upper_shadow", (HIGH - CLOSE) / CLOSE, "fraction of close", "From the close up to the high")
_add("lower_shadow", (CLOSE - LOW) / CLOSE, "fraction of close", "From the close down to the low")
_add("range_to_true_range", (HIGH - LOW) / TRUE_RANGE, "0..1", "Share of the true range traded in the bar")
