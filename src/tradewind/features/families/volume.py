"""Volume: how much is traded, on which side, and what it moves."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    DOLLAR_VOLUME,
    HIGH,
    LOW,
    RETURN,
    TYPICAL,
    VOLUME,
    correlation,
    cumulative,
    delta,
    deviation,
    ema,
    log,
    maximum,
    mean,
    sign,
    total,
    zscore,
)
from tradewind.features.spec import Family

FAMILY = Family("volume", "Murphy (1999), Technical Analysis of the Financial Markets: volume")
_add = FAMILY.add

_add("volume_sma_20", mean(VOLUME, 20), "shares", "Mean volume of 20 bars", scale_free=False)
_add("volume_ratio_20", VOLUME / mean(VOLUME, 20), "ratio", "Volume over its mean of 20 bars (relative volume)")
_add("volume_ratio_5_63", log(mean(VOLUME, 5) / mean(VOLUME, 63)), "log ratio", "Mean volume of 5 over 63 bars")
_add("volume_z_63", zscore(log(VOLUME), 63), "standard deviations", "Log volume against its last 63 bars")
_add("volume_change_1", delta(log(VOLUME)), "log ratio", "Volume over that of the bar before")
_add("volume_variation_20", deviation(VOLUME, 20) / mean(VOLUME, 20), "ratio", "Unevenness of volume over 20 bars")

_SIGNED = sign(delta(CLOSE)) * VOLUME
_OBV = cumulative(_SIGNED)
_add("obv", _OBV, "shares", "On-balance volume since the second bar", "Granville 1963", scale_free=False)
for _bars in (5, 20, 63):
    _add(
        f"obv_share_{_bars}",
        total(_SIGNED, _bars) / total(VOLUME, _bars),
        "-1..1",
        f"Change of on-balance volume over the volume of {_bars} bars",
        "Granville 1963",
    )

_MOVE, _FLOW = sign(delta(TYPICAL)), TYPICAL * VOLUME
_IN, _OUT = total(maximum(_MOVE, 0.0) * _FLOW, 14), total(maximum(-_MOVE, 0.0) * _FLOW, 14)
_add("mfi_14", 100.0 * _IN / (_IN + _OUT), "0..100", "Money flow index over 14 bars", "Quong and Soudack 1989")

_LOCATION = (2.0 * CLOSE - HIGH - LOW) / (HIGH - LOW)
_add("accumulation_distribution", cumulative(_LOCATION * VOLUME), "shares", "Chaikin's line", scale_free=False)
_add("chaikin_money_flow_20", total(_LOCATION * VOLUME, 20) / total(VOLUME, 20), "-1..1", "Chaikin money flow, 20 bars")
_PROXY = "a proxy from OHLCV: there are no signed trades in bars"
_add("order_flow_proxy_1", _LOCATION, "-1..1", f"Order flow of the bar by where it closed in its range; {_PROXY}")
_add(
    "order_flow_proxy_5",
    total(_LOCATION * VOLUME, 5) / total(VOLUME, 5),
    "-1..1",
    f"Order flow imbalance over 5 bars; {_PROXY}",
)
_add(
    "force_index_13", ema(delta(CLOSE) * VOLUME, 13), "currency", "Elder's force index", "Elder 1993", scale_free=False
)

_IMPACT = abs(RETURN) / DOLLAR_VOLUME
_add(
    "amihud_20",
    mean(_IMPACT, 20),
    "1 / currency",
    "Illiquidity: |return| per money traded",
    "Amihud 2002",
    scale_free=False,
)
_add("amihud_ratio_20_126", log(mean(_IMPACT, 20) / mean(_IMPACT, 126)), "log ratio", "Illiquidity of 20 over 126 bars")
_add("dollar_volume_20", log(mean(DOLLAR_VOLUME, 20)), "log currency", "Mean money traded, 20 bars", scale_free=False)
_add(
    "price_volume_correlation_20",
    correlation(RETURN, log(VOLUME), 20),
    "-1..1",
    "Correlation of return and log volume over 20 bars",
)
_add(
    "move_volume_correlation_63",
    correlation(abs(RETURN), log(VOLUME), 63),
    "-1..1",
    "Correlation of |return| and log volume over 63 bars",
)
