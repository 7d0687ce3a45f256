"""What the past says about the next volatility: own, market-wide, recent, long-run; strictly causal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.models.assembly import WARM_UP_BARS, bar_returns, last_known, log_prices
from tradewind.models.peers import peer_means

if TYPE_CHECKING:
    from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
SmallArray = NDArray[np.float32]

#: Half-lives in bars: two days, a week, two weeks (the anchor), a month, a quarter, a year.
ANCHOR = 11
HALF_LIVES = (2, 5, 22, 66, 250)
_RETURN_HALF_LIVES = (1, 3, 10, 30, 120)
_NAIVE_HALF_LIFE = float(np.log(0.5) / np.log(0.94))
_PARKINSON = 1.0 / (4.0 * np.log(2.0))
#: Mean absolute return in units of the mean of a range-based daily volatility.
_ABSOLUTE_TO_RANGE = 1.2
_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class VolatilityInputs:
    """Everything the scale model reads, all logs of one-bar volatilities or ratios of them.

    Attributes
    ----------
    anchor
        ``(T, N)`` log of the symbol's own two-week volatility: forecasts are offsets from it.
    relative, relative_names
        ``(T, N, K)``: how the symbol stands to the average symbol (mean zero over the symbols of a bar).
    market, market_names
        ``(T, M)``: the average symbol's volatility against its two-week value, and market-wide returns.
    detail, detail_names
        ``(T, N, D)``: further shape of the past, mean zero over symbols, for the tree refinement.
    returns
        ``(T, N)`` log returns bar to bar.
    surprise
        ``(T, N)`` size of the market-relative return in units of its usual size before the bar.
    activity
        ``(T, N)`` log volume against its monthly level.
    """

    anchor: FloatArray
    relative: SmallArray
    relative_names: tuple[str, ...]
    market: FloatArray
    market_names: tuple[str, ...]
    detail: SmallArray
    detail_names: tuple[str, ...]
    returns: FloatArray
    surprise: FloatArray
    activity: FloatArray


@njit(cache=True)
def _decayed_means(values: FloatArray, decays: FloatArray, warm_up: int) -> FloatArray:
    """Weight-normalised exponential means per decay, ``(K, T, N)``; a gap leaves the state as it is."""
    bars, columns = values.shape
    out = np.full((len(decays), bars, columns), np.nan)
    for k in range(len(decays)):
        decay = decays[k]
        total = np.zeros(columns)
        weight = np.zeros(columns)
        count = np.zeros(columns)
        for t in range(bars):
            for n in range(columns):
                value = values[t, n]
                if np.isfinite(value):
                    total[n] = decay * total[n] + value
                    weight[n] = decay * weight[n] + 1.0
                    count[n] += 1.0
                if count[n] >= warm_up:
                    out[k, t, n] = total[n] / weight[n]
    return out


def decayed_means(values: FloatArray, half_lives: Sequence[float], warm_up: int = WARM_UP_BARS) -> FloatArray:
    """Return exponential means of ``(T, N)`` values for several half-lives in bars, ``(K, T, N)``."""
    decays = 0.5 ** (1.0 / np.asarray(half_lives, dtype=np.float64))
    return np.asarray(_decayed_means(np.ascontiguousarray(values, dtype=np.float64), decays, warm_up))


def cross_mean(values: FloatArray, member: BoolArray) -> FloatArray:
    """Return the mean over the members with a value, ``(T, 1)``; NaN where none has one.

    Who joins the universe later does not count yet: that it will join is knowledge of the future.
    """
    finite = np.isfinite(values) & member
    count = finite.sum(axis=1, keepdims=True)
    total = np.where(finite, values, 0.0).sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def daily_volatility(panel: Panel) -> FloatArray:
    """Return each bar's own estimate of volatility, ``(T, N)``.

    Parkinson's range (1980) plus the squared overnight gap; where a bar has no range (closes only, or nothing
    traded) its absolute return at the same mean.
    """
    log_close = log_prices(panel)
    returns = bar_returns(log_close)
    high, low, opened = (log_prices(panel, name) for name in ("high", "low", "open"))
    gap = opened - (log_close - returns)
    span = high - low
    with_range = np.sqrt(_PARKINSON * span**2 + gap**2)
    ranged = np.isfinite(with_range) & (span > 1e-9)
    return np.where(ranged, with_range, _ABSOLUTE_TO_RANGE * np.abs(returns))


def volatility_inputs(panel: Panel) -> VolatilityInputs:
    """Compute the inputs of every bar from that bar and the bars before it."""
    returns = bar_returns(log_prices(panel))
    daily = np.where(np.isfinite(returns), daily_volatility(panel), np.nan)
    own = np.log(decayed_means(daily, (ANCHOR, *HALF_LIVES)) + _FLOOR)
    average = np.stack([cross_mean(level, panel.member) for level in own])
    anchor, market_anchor = own[0], average[0]
    relative = {
        f"own_{half_life}": (own[k] - average[k]) - (anchor - market_anchor)
        for k, half_life in enumerate(HALF_LIVES, 1)
    }
    market = {f"market_{half_life}": (average[k] - market_anchor)[:, 0] for k, half_life in enumerate(HALF_LIVES, 1)}
    market["market_history"] = (_expanding_mean(market_anchor) - market_anchor)[:, 0]
    unit = np.exp(0.5 * np.log(decayed_means(returns**2, (_NAIVE_HALF_LIFE,))[0] + _FLOOR**2))
    push = decayed_means(np.clip(returns / unit, -6.0, 6.0), _RETURN_HALF_LIVES)
    relative["own_return_3"] = push[1] - cross_mean(push[1], panel.member)
    surprise = _surprise(returns, panel.member)
    activity = _activity(panel)
    relative |= _gaps(panel, returns, anchor) | _trading(activity, panel.member) | _downside(returns, panel.member)
    relative |= _peers(returns, own - anchor, panel.member)
    market |= _market_returns(returns, panel.member)
    market["implied"] = _implied(panel, market_anchor)
    detail = _detail(returns, daily, own, unit, push, surprise, panel.member)
    return VolatilityInputs(
        anchor=anchor,
        relative=_stack(relative),
        relative_names=tuple(relative),
        market=np.stack(list(market.values()), axis=-1),
        market_names=tuple(market),
        detail=_stack(detail),
        detail_names=tuple(detail),
        returns=returns,
        surprise=surprise,
        activity=activity,
    )


def _stack(parts: dict[str, FloatArray]) -> SmallArray:
    return np.stack([part.astype(np.float32) for part in parts.values()], axis=-1)


def _expanding_mean(series: FloatArray) -> FloatArray:
    finite = np.isfinite(series)
    total = np.cumsum(np.where(finite, series, 0.0), axis=0)
    return np.where(finite, total / np.maximum(np.cumsum(finite, axis=0), 1), np.nan)


def _market_returns(returns: FloatArray, member: BoolArray) -> dict[str, FloatArray]:
    """Recent returns of the average symbol in units of their volatility: falls raise it (Black 1976)."""
    average = cross_mean(returns, member)
    unit = np.sqrt(decayed_means(average**2, (ANCHOR,))[0]) + _FLOOR
    pushed = decayed_means(np.clip(average / unit, -5.0, 5.0), (3, 10, 30))
    return {f"market_return_{h}": pushed[k][:, 0] for k, h in enumerate((3, 10, 30))}


def _implied(panel: Panel, market_anchor: FloatArray) -> FloatArray:
    """Implied over recent volatility against its own past mean; 0 where no implied volatility is known.

    Zero is "no information": the scale model sees the forecast without it, which its prior is centred on.
    """
    series = panel.context.get("vix")
    if series is None:
        return np.zeros(len(panel))
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = last_known(np.log(series)[:, None]) - market_anchor
    departure = (gap - _expanding_mean(gap))[:, 0]
    return np.where(np.isfinite(departure), departure, 0.0)


def _surprise(returns: FloatArray, member: BoolArray) -> FloatArray:
    excess = np.abs(returns - cross_mean(returns, member))
    usual = np.full_like(excess, np.nan)
    usual[1:] = decayed_means(excess, (22,))[0][:-1]
    return np.asarray(excess / (1.25 * usual + _FLOOR))


def _activity(panel: Panel) -> FloatArray:
    volume = np.where(panel.mask, panel.adjusted("volume"), np.nan)
    level = np.log(np.where(volume > 0, volume, np.nan))
    departure = level - decayed_means(level, (30,))[0]
    return np.asarray(departure - cross_mean(departure, panel.member))


def _gaps(panel: Panel, returns: FloatArray, anchor: FloatArray) -> dict[str, FloatArray]:
    """How much of a symbol's volatility is overnight: gaps are news."""
    size = np.abs(log_prices(panel, "open") - (log_prices(panel) - returns))
    parts = {f"gap_{h}": np.log(mean + _FLOOR) - anchor for h, mean in _means(size, (2, ANCHOR, 66))}
    return {name: _known(part - cross_mean(part, panel.member)) for name, part in parts.items()}


def _trading(activity: FloatArray, member: BoolArray) -> dict[str, FloatArray]:
    """How much more than usual a symbol is traded."""
    recent = decayed_means(activity, (3,))[0]
    return {"activity_1": _known(activity), "activity_3": _known(recent - cross_mean(recent, member))}


def _downside(returns: FloatArray, member: BoolArray) -> dict[str, FloatArray]:
    """Log of a month's falls over its rises."""
    falls, rises = (decayed_means(np.maximum(side * returns, 0.0), (22,))[0] for side in (-1.0, 1.0))
    tilt = np.log(falls + _FLOOR) - np.log(rises + _FLOOR)
    return {"downside": _known(tilt - cross_mean(tilt, member))}


def _peers(returns: FloatArray, departure: FloatArray, member: BoolArray) -> dict[str, FloatArray]:
    """How the volatility of those that move with a symbol stands to their two weeks: newest, week, quarter."""
    excess = returns - cross_mean(returns, member)
    usual = np.sqrt(decayed_means(excess**2, (22,))[0]) + _FLOOR
    moves = np.where(member, _known(np.clip(excess / usual, -4.0, 4.0)), 0.0)
    chosen = {"peers_2": 1, "peers_5": 2, "peers_66": 4}
    values = np.stack([departure[k] - cross_mean(departure[k], member) for k in chosen.values()])
    means = peer_means(moves, np.where(member, _known(values), 0.0))
    return {name: mean - cross_mean(mean, member) for name, mean in zip(chosen, means, strict=True)}


def _known(values: FloatArray) -> FloatArray:
    """Return 0 where a value is missing: a difference from the others of which nothing is known."""
    return np.where(np.isfinite(values), values, 0.0)


def _detail(
    returns: FloatArray,
    daily: FloatArray,
    own: FloatArray,
    unit: FloatArray,
    push: FloatArray,
    surprise: FloatArray,
    member: BoolArray,
) -> dict[str, FloatArray]:
    anchor = own[0]
    parts = {f"absolute_{h}": np.log(m + _FLOOR) - anchor for h, m in _means(np.abs(returns), (5, 22, 66, 250))}
    parts |= {f"root_square_{h}": 0.5 * np.log(m + _FLOOR**2) - anchor for h, m in _means(returns**2, (2, 22, 250))}
    parts |= {"last": np.log(daily + _FLOOR) - anchor, "level": anchor}
    parts |= {f"return_{h}": push[k] for k, h in enumerate(_RETURN_HALF_LIVES)}
    parts |= {"surprise_0": surprise, "surprise_1": _lagged(surprise, 1), "surprise_2": _lagged(surprise, 2)}
    parts["turmoil"] = decayed_means(np.minimum(surprise, 8.0) ** 2, (66,))[0]
    return {name: part - cross_mean(part, member) for name, part in parts.items()}


def _means(values: FloatArray, half_lives: Sequence[int]) -> list[tuple[int, FloatArray]]:
    return list(zip(half_lives, decayed_means(values, half_lives), strict=True))


def _lagged(values: FloatArray, bars: int) -> FloatArray:
    out = np.full_like(values, np.nan)
    out[bars:] = values[:-bars] if bars else values
    return out
