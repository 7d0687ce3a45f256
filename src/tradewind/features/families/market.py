"""Market context: VIX, the index, the universe and the sector. All missing where the panel has no such series."""

from __future__ import annotations

from tradewind.features.expression import (
    CLOSE,
    INDEX,
    INDEX_RETURN,
    LOG_CLOSE,
    RETURN,
    VIX,
    Expr,
    beta,
    correlation,
    cross_mean,
    decay,
    delta,
    deviation,
    log,
    mean,
    positive,
    rank,
    sector_mean,
    sqrt,
    total,
    variance,
    zscore,
)
from tradewind.features.families.volatility import EWMA_21
from tradewind.features.spec import Family

FAMILY = Family("market", "market-wide series of the source (data.context), or a mean over members")
_add = FAMILY.add
_INDEX_LOG = log(INDEX)
_YEAR = 100.0 * 252.0**0.5
"""From volatility per daily bar to the VIX's unit."""


def _residual_share(market: Expr, bars: int) -> Expr:
    fit = correlation(RETURN, market, bars)
    return 1.0 - fit * fit


_add("vix", VIX, "% a year", "CBOE volatility index at the close")
_add("vix_change_1", delta(log(VIX)), "log ratio", "Change of the VIX over one bar")
_add("vix_change_5", delta(log(VIX), 5), "log ratio", "Change of the VIX over 5 bars")
_add("vix_z_63", zscore(log(VIX), 63), "standard deviations", "Log VIX against its last 63 bars")
_add("vix_rank_252", rank(VIX, 252), "0..1", "Rank of the VIX among its last 252 bars")
_INDEX_VOLATILITY = sqrt(decay(INDEX_RETURN * INDEX_RETURN, 21, 21))
_add(
    "vix_premium",
    log(VIX / (_YEAR * _INDEX_VOLATILITY)),
    "log ratio",
    "VIX over realised index volatility (daily bars)",
)
_add("volatility_to_vix", log(_YEAR * EWMA_21 / VIX), "log ratio", "Own volatility over the VIX (daily bars)")

for _bars in (1, 5, 20):
    _add(f"index_return_{_bars}", delta(_INDEX_LOG, _bars), "log return", f"Return of the index over {_bars} bars")
_add("index_volatility_20", deviation(INDEX_RETURN, 20), "log return per bar", "Volatility of the index, 20 bars")
_add("index_ewma_volatility", _INDEX_VOLATILITY, "log return per bar", "Volatility of the index, half-life 21")
_add("index_to_sma_200", log(INDEX / mean(INDEX, 200)), "log ratio", "Index over its mean of 200 bars")
_add("index_correlation_60", correlation(RETURN, INDEX_RETURN, 60), "-1..1", "Correlation with the index, 60 bars")
for _bars in (60, 120):
    _add(
        f"index_beta_{_bars}", beta(RETURN, INDEX_RETURN, _bars), "1", f"Beta to the index, {_bars} bars", "Sharpe 1964"
    )
_add(
    "index_residual_volatility_60",
    deviation(RETURN, 60) * sqrt(_residual_share(INDEX_RETURN, 60)),
    "log return per bar",
    "Volatility that the index does not explain, 60 bars",
    "Ang et al. 2006",
)

_UNIVERSE = cross_mean(RETURN)
_add("universe_return_1", _UNIVERSE, "log return", "Mean return of the universe's members")
for _bars in (5, 20):
    _add(f"universe_return_{_bars}", total(_UNIVERSE, _bars), "log return", f"The same over {_bars} bars")
_add(
    "universe_volatility_20", deviation(_UNIVERSE, 20), "log return per bar", "Volatility of the universe's mean return"
)
_add("universe_correlation_60", correlation(RETURN, _UNIVERSE, 60), "-1..1", "Correlation with the universe, 60 bars")
_add("universe_beta_60", beta(RETURN, _UNIVERSE, 60), "1", "Beta to the universe's mean, 60 bars")
_add("universe_residual_share_60", _residual_share(_UNIVERSE, 60), "0..1", "Share of variance that is its own")
_add(
    "universe_average_correlation_60",
    cross_mean(correlation(RETURN, _UNIVERSE, 60)),
    "-1..1",
    "Mean correlation of the members with the universe: how much moves together",
)
_add("breadth_up", cross_mean(positive(RETURN)), "0..1", "Share of members that rose")
_add(
    "breadth_sma_50", cross_mean(positive(CLOSE - mean(CLOSE, 50))), "0..1", "Share of members above their 50-bar mean"
)

_SECTOR = sector_mean(RETURN)
_add("sector_performance", 100.0 * _SECTOR, "%", "Mean return of the symbol's sector over the bar")
for _bars in (5, 20):
    _add(f"sector_return_{_bars}", total(_SECTOR, _bars), "log return", f"Return of the sector over {_bars} bars")
_add("sector_relative_1", RETURN - _SECTOR, "log return", "Return less the sector's")
_add("sector_relative_20", delta(LOG_CLOSE, 20) - total(_SECTOR, 20), "log return", "20-bar return less the sector's")
_add("sector_volatility", sector_mean(log(EWMA_21)), "log", "Mean log volatility of the sector")
_add(
    "universe_variance_ratio",
    log(variance(_UNIVERSE, 5) / variance(_UNIVERSE, 63)),
    "log ratio",
    "Market variance, 5 over 63",
)
