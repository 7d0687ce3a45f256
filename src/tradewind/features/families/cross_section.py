"""Cross-section: where a symbol stands among the members of the universe at the same bar."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    DOLLAR_VOLUME,
    HIGH,
    LOG_CLOSE,
    OPEN,
    RETURN,
    VOLUME,
    Expr,
    cross_deviation,
    cross_mean,
    cross_rank,
    delta,
    highest,
    lag,
    log,
    mean,
    skewness,
    total,
)
from tradewind.features.families.momentum import RSI_14
from tradewind.features.families.volatility import EWMA_21
from tradewind.features.spec import Family

FAMILY = Family("cross_section", "rank or difference among the members at the same close")
_add = FAMILY.add


def _rank(name: str, x: Expr, what: str) -> None:
    _add(f"rank_{name}", cross_rank(x), "0..1", f"Rank of {what} among the members of the universe")


for _bars in (1, 5, 20, 63):
    _rank(f"return_{_bars}", delta(LOG_CLOSE, _bars), f"the return over {_bars} bars")
_rank("momentum_12_1", lag(LOG_CLOSE, 21) - lag(LOG_CLOSE, 252), "12-1 momentum")
_rank("volatility", EWMA_21, "volatility (half-life 21)")
_rank("volume_ratio", VOLUME / mean(VOLUME, 20), "volume over its mean of 20 bars")
_rank("dollar_volume", mean(DOLLAR_VOLUME, 20), "money traded in 20 bars")
_rank("illiquidity", mean(abs(RETURN) / DOLLAR_VOLUME, 20), "Amihud's illiquidity of 20 bars")
_rank("rsi_14", RSI_14, "RSI(14)")
_rank("high_distance", log(CLOSE / highest(HIGH, 252)), "the distance to the 252-bar high")
_rank("gap", log(OPEN / lag(CLOSE, 1)), "the gap at the open")
_rank("skewness", skewness(RETURN, 60), "the skewness of returns")
_rank("shock", abs(RETURN) / lag(EWMA_21, 1), "the move over its expected size")

_MARKET = cross_mean(RETURN)
_add("excess_return_1", RETURN - _MARKET, "log return", "Return less the universe's mean")
for _bars in (5, 20):
    _add(f"excess_return_{_bars}", total(RETURN - _MARKET, _bars), "log return", f"Excess return over {_bars} bars")
_add(
    "return_cross_z",
    (RETURN - _MARKET) / cross_deviation(RETURN),
    "standard deviations",
    "Return against the universe's mean and deviation today",
)
