"""Volatility: how far the price will move, the part of the future that is best known."""

from __future__ import annotations

from math import log as _ln

from tradewind.features.expression import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    RETURN,
    TRUE_RANGE,
    Expr,
    correlation,
    cross_deviation,
    cross_mean,
    decay,
    delta,
    deviation,
    ema,
    highest,
    lag,
    log,
    maximum,
    mean,
    minimum,
    rank,
    sqrt,
    variance,
    wilder,
    zscore,
)
from tradewind.features.spec import Family

FAMILY = Family("volatility", "textbook definition: deviation or exponentially weighted mean of squared log returns")
_add = FAMILY.add
_SIGMA = "log return per bar"


def ewma_volatility(half_life: float) -> Expr:
    """Root of the exponential mean of squared returns (mean zero), started at the mean of the first bars."""
    return sqrt(decay(RETURN * RETURN, half_life, max(10, int(half_life))))


EWMA_21 = ewma_volatility(21)

ATR_14 = wilder(TRUE_RANGE, 14)
_add("atr_14", ATR_14, "currency", "Average true range over 14 bars", "Wilder 1978", scale_free=False)
_add("atr_relative_14", ATR_14 / CLOSE, "fraction of close", "Average true range over the close", "Wilder 1978")
for _bars in (20, 63, 252):
    _add(f"volatility_{_bars}", deviation(RETURN, _bars), _SIGMA, f"Standard deviation of returns, {_bars} bars")

for _half_life in (3, 8, 21, 63):
    _add(
        f"ewma_volatility_{_half_life}",
        ewma_volatility(_half_life),
        _SIGMA,
        f"Exponentially weighted volatility, half-life {_half_life} bars",
        "RiskMetrics 1996",
    )
_add("ewma_ratio_3_21", log(ewma_volatility(3) / EWMA_21), "log ratio", "Volatility of days over weeks")
_add("ewma_ratio_8_63", log(ewma_volatility(8) / ewma_volatility(63)), "log ratio", "Volatility of weeks over months")

for _bars in (1, 5, 22, 66):
    _add(f"har_absolute_{_bars}", mean(abs(RETURN), _bars), _SIGMA, f"Mean |return| of {_bars} bars", "Corsi 2009")
for _bars in (5, 22, 66):
    _add(
        f"har_realised_{_bars}",
        sqrt(maximum(mean(RETURN * RETURN, _bars), 0.0)),
        _SIGMA,
        f"Root mean squared return of {_bars} bars",
        "Corsi 2009",
    )

_RANGE = log(HIGH / LOW)
_BODY = log(CLOSE / OPEN)
_GAP = log(OPEN / lag(CLOSE, 1))
_PARKINSON = _RANGE * _RANGE / (4.0 * _ln(2.0))
_GARMAN_KLASS = 0.5 * (_RANGE * _RANGE) - (2.0 * _ln(2.0) - 1.0) * (_BODY * _BODY)
_ROGERS_SATCHELL = log(HIGH / CLOSE) * log(HIGH / OPEN) + log(LOW / CLOSE) * log(LOW / OPEN)


def _yang_zhang(bars: int) -> Expr:
    k = 0.34 / (1.34 + (bars + 1.0) / (bars - 1.0))
    unbiased = bars / (bars - 1.0)
    between = unbiased * variance(_GAP, bars) + (k * unbiased) * variance(_BODY, bars)
    return between + (1.0 - k) * mean(_ROGERS_SATCHELL, bars)


for _bars in (5, 10, 21, 63):
    for _name, _variance, _who in (
        ("parkinson", mean(_PARKINSON, _bars), "Parkinson 1980"),
        ("garman_klass", mean(_GARMAN_KLASS, _bars), "Garman and Klass 1980"),
        ("rogers_satchell", mean(_ROGERS_SATCHELL, _bars), "Rogers and Satchell 1991"),
        ("yang_zhang", _yang_zhang(_bars), "Yang and Zhang 2000"),
    ):
        _words = _name.replace("_", "–").title()
        _add(
            f"{_name}_{_bars}",
            sqrt(maximum(_variance, 0.0)),
            _SIGMA,
            f"{_words} volatility from open, high, low and close over {_bars} bars",
            _who,
        )

_OVERNIGHT, _INTRADAY = mean(_GAP * _GAP, 21), mean(_BODY * _BODY, 21)
_add("overnight_volatility_21", sqrt(maximum(_OVERNIGHT, 0.0)), _SIGMA, "Root mean squared gap, 21 bars")
_add("intraday_volatility_21", sqrt(maximum(_INTRADAY, 0.0)), _SIGMA, "Root mean squared open-to-close, 21 bars")
_add("overnight_share_21", _OVERNIGHT / (_OVERNIGHT + _INTRADAY), "0..1", "Share of variance between sessions, 21 bars")
_FALL, _RISE = minimum(RETURN, 0.0), maximum(RETURN, 0.0)
for _bars in (21, 63):
    _down = mean(_FALL * _FALL, _bars)
    _add(
        f"downside_volatility_{_bars}", sqrt(maximum(_down, 0.0)), _SIGMA, f"Root semivariance of losses, {_bars} bars"
    )
    _add(
        f"downside_share_{_bars}",
        _down / mean(RETURN * RETURN, _bars),
        "0..1",
        f"Share of squared returns that were losses, {_bars} bars",
        "Barndorff-Nielsen et al. 2010",
    )

_add("log_range", _RANGE, _SIGMA, "Log of high over low")
_add("log_range_ratio_20", log(_RANGE / mean(_RANGE, 20)), "log ratio", "Range of the bar over the usual of 20 bars")
_add("log_range_ema_10", log(ema(_RANGE, 10) / mean(_RANGE, 63)), "log ratio", "Range of 10 bars over 63")
_add("volatility_of_volatility_63", deviation(log(_RANGE), 63), "log ratio", "Deviation of the log range, 63 bars")
_SURPRISE = abs(RETURN) / lag(EWMA_21, 1)
_add("volatility_shock", _SURPRISE, "standard deviations", "|return| over the volatility expected the bar before")
_add("gap_shock", abs(_GAP) / lag(EWMA_21, 1), "standard deviations", "|gap| over the volatility expected before")
for _bars in (5, 20):
    _add(
        f"largest_shock_{_bars}",
        highest(_SURPRISE, _bars),
        "standard deviations",
        f"Largest volatility shock of {_bars} bars",
    )
_add("volatility_rank_252", rank(EWMA_21, 252), "0..1", "Rank of volatility (half-life 21) in its own 252 bars")
_add("volatility_z_126", zscore(log(EWMA_21), 126), "standard deviations", "Log volatility against its 126 bars")
_add("volatility_change_5", delta(log(EWMA_21), 5), "log ratio", "Change of log volatility over 5 bars")
_add(
    "leverage_effect_63",
    correlation(RETURN, delta(log(EWMA_21)), 63),
    "-1..1",
    "Correlation of returns with changes of volatility, 63 bars",
    "Black 1976",
)
_add("shock_persistence_63", correlation(abs(RETURN), lag(abs(RETURN), 1), 63), "-1..1", "Clustering of |return|")

MARKET_LOG = cross_mean(log(EWMA_21))
_add("market_volatility", MARKET_LOG, "log", "Mean log volatility (half-life 21) of the universe")
_add("market_volatility_fast", cross_mean(log(ewma_volatility(3))), "log", "The same with half-life 3")
_add("market_volatility_change_5", delta(MARKET_LOG, 5), "log ratio", "Change of the universe's volatility over 5 bars")
_add("volatility_to_market", log(EWMA_21) - MARKET_LOG, "log ratio", "Own over the universe's volatility")
_add("market_range", cross_mean(log(_RANGE)), "log", "Mean log range of the universe today")
_add("market_dispersion", cross_deviation(RETURN), _SIGMA, "Deviation of today's returns across the universe")
_add("market_dispersion_20", mean(cross_deviation(RETURN), 20), _SIGMA, "Dispersion across the universe, 20 bars")
