"""Momentum: how far and how steadily the price has come."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    Expr,
    delta,
    ema,
    highest,
    lowest,
    maximum,
    wilder,
)
from tradewind.features.spec import Family

FAMILY = Family("momentum")
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
    return 100.0 * ((close - bottom) / (highest(high, bars) - bottom))


RSI_14 = relative_strength(CLOSE, 14)
_add("rsi_14", RSI_14, "0..100", "Relative strength index over 14 bars", "Wilder 1978", critical=True)
for _bars in (2, 7, 28):
    _add(f"rsi_{_bars}", relative_strength(CLOSE, _bars), "0..100", f"Relative strength index over {_bars} bars")

_MACD = ema(CLOSE, 12) - ema(CLOSE, 26)
_SIGNAL = ema(_MACD, 9)
_add("macd", _MACD, "currency", "EMA(12) less EMA(26)", "Appel 1979", scale_free=False)
_add("macd_signal", _SIGNAL, "currency", "EMA(9) of the MACD", "Appel 1979", scale_free=False)
_add("macd_histogram", _MACD - _SIGNAL, "currency", "MACD less its signal", "Appel 1979", scale_free=False)
_add("macd_relative", _MACD / CLOSE, "fraction of close", "MACD over the close")
_add("macd_signal_relative", _SIGNAL / CLOSE, "fraction of close", "MACD signal over the close")
_add("macd_histogram_relative", (_MACD - _SIGNAL) / CLOSE, "fraction of close", "MACD histogram over the close")
