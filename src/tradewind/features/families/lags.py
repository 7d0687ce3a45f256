"""Lags: what some quantities were a few bars ago."""

from __future__ import annotations

from tradewind.features.expression import HIGH, LOW, RETURN, VOLUME, lag, log, mean
from tradewind.features.families.momentum import RSI_14
from tradewind.features.families.volatility import EWMA_21
from tradewind.features.spec import Family

FAMILY = Family("lags", "an earlier value of the same series")

for _name, _expression, _unit, _lags in (
    ("return_1", RETURN, "log return", (1, 2, 3, 4, 5)),
    ("shock", RETURN / lag(EWMA_21, 1), "standard deviations", (0, 1, 2)),
    ("log_range", log(HIGH / LOW), "log return", (1, 2)),
    ("volume_ratio_20", VOLUME / mean(VOLUME, 20), "ratio", (1, 2)),
    ("rsi_14", RSI_14, "0..100", (1, 5)),
):
    for _bars in _lags:
        FAMILY.add(f"{_name}_lag_{_bars}", lag(_expression, _bars), _unit, f"{_name} {_bars} bars ago")
