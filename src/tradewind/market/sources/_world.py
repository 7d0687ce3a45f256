"""The law of the synthetic market: compiled, and every draw addressed rather than drawn in turn.

A draw is a hash of (world seed, name, day, purpose, step). So nothing that is asked for can change anything
else: a later end date leaves earlier bars alone, and more symbols leave the others alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.market.sources._draws import normal, stream, student, uniform

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

QUARTER: Final = 63  # sessions
OVERNIGHT: Final = 0.25  # share of a day's diffusive variance before the open
SECTOR_VOL: Final = 0.005
MOMENTUM_MEMORY: Final = 0.95

CALM_DRIFT, STRESS_DRIFT, STRESS_SCALE = 4.5e-4, -8e-4, 1.9
TO_STRESS, TO_CALM = 0.008, 0.03
MARKET_VOL, ARCH, LEVERAGE, GARCH = 0.008, 0.03, 0.08, 0.90

# purposes of a draw
(_REGIME, _MARKET, _MARKET_JUMP, _SECTOR, _TRAITS, _IDIO, _JUMP, _EARNINGS, _GAP, _VOLUME, _END, _PATH) = range(12)
_HIGH, _LOW, _SHARE, _VIX = 12, 13, 14, 15


@njit(cache=True)
def market_path(key: np.uint64, days: int) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return regime, drift, volatility, return and VIX of the market, one value a session.

    A two-state Markov chain scales a GJR-GARCH(1,1) with t(6) shocks. VIX is the root of the variance
    expected over the next 21 sessions, with a premium of 10 % and 3 % of noise.
    """
    regime, drift = np.zeros(days, np.int64), np.zeros(days)
    sigma, ret, vix = np.zeros(days), np.zeros(days), np.zeros(days)
    variance, state = MARKET_VOL**2, 0
    constant = MARKET_VOL**2 * (1 - ARCH - LEVERAGE / 2 - GARCH)
    for t in range(days):
        u = uniform(stream(key, t, _REGIME), 0)
        if state == 0 and u < TO_STRESS:
            state = 1
        elif state == 1 and u < TO_CALM:
            state = 0
        scale = STRESS_SCALE if state == 1 else 1.0
        shock = math.sqrt(variance) * student(stream(key, t, _MARKET), 6.0)
        regime[t], drift[t], sigma[t] = (
            state,
            STRESS_DRIFT if state == 1 else CALM_DRIFT,
            scale * math.sqrt(variance),
        )
        ret[t] = drift[t] + scale * shock
        variance = constant + (ARCH + (LEVERAGE if shock < 0 else 0.0)) * shock * shock + GARCH * variance
        noise = math.exp(0.03 * normal(stream(key, t, _VIX), 0))
        vix[t] = 100.0 * math.sqrt(252.0 * 1.1 * _expected_variance(variance, state)) * noise
    return regime, drift, sigma, ret, vix


@njit(cache=True)
def _expected_variance(variance: float, state: int) -> float:
    """Return the mean daily market variance over the next 21 sessions."""
    stressed, total = float(state), 0.0
    for _ in range(21):
        stressed = stressed * (1 - TO_CALM) + (1 - stressed) * TO_STRESS
        total += variance * (1 + stressed * (STRESS_SCALE**2 - 1))
        variance = MARKET_VOL**2 + (ARCH + LEVERAGE / 2 + GARCH) * (variance - MARKET_VOL**2)
    return total / 21


@njit(cache=True)
def sector_path(key: np.uint64, days: int) -> FloatArray:
    """Return the returns of one sector's own factor."""
    out = np.zeros(days)
    for t in range(days):
        out[t] = SECTOR_VOL * student(stream(key, t, _SECTOR), 6.0)
    return out


@njit(cache=True)
def stock_traits(key: np.uint64, sectors: int) -> tuple[int, FloatArray]:
    """Return a stock's sector and its traits, fixed for ever.

    Traits: 0 beta, 1 sector loading, 2 long-run idiosyncratic volatility, 3 ARCH, 4 GARCH, 5 drift a day,
    6 session of listing, 7 offset of the earnings date in the quarter, 8 dividend yield a year, 9 price that
    calls for a split, 10 first price, 11 dollars traded a day.
    """
    s = stream(key, 0, _TRAITS)
    persistence, arch = 0.93 + 0.05 * uniform(s, 3), 0.04 + 0.05 * uniform(s, 4)
    traits = np.array(
        [
            min(max(1.0 + 0.35 * normal(s, 0), 0.2), 2.2),
            0.5 + 0.5 * uniform(s, 1),
            0.013 * math.exp(0.35 * normal(s, 2)),
            arch,
            persistence - arch,
            1e-4 * normal(s, 5),
            0.0 if uniform(s, 6) < 0.7 else math.floor(2520 * uniform(s, 7)),
            math.floor(QUARTER * uniform(s, 8)),
            0.0 if uniform(s, 9) < 0.4 else 0.01 + 0.03 * uniform(s, 10),
            100.0 * math.exp(0.5 * normal(s, 11)) + 30.0,
            40.0 * math.exp(0.5 * normal(s, 12)),
            4e7 * math.exp(1.2 * normal(s, 13)),
        ]
    )
    return int(sectors * uniform(s, 14)), traits


@njit(cache=True)
def stock_path(
    key: np.uint64,
    traits: FloatArray,
    market: tuple[FloatArray, FloatArray, FloatArray],
    sector: FloatArray,
    strength: float,
) -> tuple[int, int, float, FloatArray]:
    """Return first and one-past-last session, what holders got per share at the end, and the daily state.

    The state is ``(10, days)``: 0 base (previous close after split and dividend), 1 open, 2 close,
    3 diffusive volatility, 4 volume, 5 split, 6 dividend, 7 expected log return, 8 jump, 9 standardised
    predictor. ``market`` is (drift, volatility, return).
    """
    days = len(sector)
    out = np.zeros((10, days))
    beta, loading, long_run, arch, garch = traits[:5]
    first, offset = int(traits[6]), int(traits[7])
    close, variance, predictor, activity, rest = traits[10], long_run**2, 0.0, 0.0, 0
    close = _tick(close)
    for t in range(first, days):
        end = uniform(stream(key, t, _END), 0)
        if t > first and (end < 0.01 / 252 or close < 0.05):
            return first, t, (0.02 if end < 0.004 / 252 or close < 0.05 else 1.0) * close, out
        split, rest = _split(close, traits[9], rest)
        paid = 0.0
        if (t - offset - 20) % QUARTER == 0:
            paid = math.floor(traits[8] / 4 * close / split * 100) / 100
        base = close / split - paid
        idio = math.sqrt(variance)
        shock = student(stream(key, t, _IDIO), 5.0)
        jump = _jumps(key, t, (t - offset) % QUARTER == 0)
        expected = traits[5] + beta * market[0][t] + strength * idio * predictor
        sd = math.sqrt((beta * market[1][t]) ** 2 + (loading * SECTOR_VOL) ** 2 + variance)
        diffusive = beta * (market[2][t] - market[0][t]) + loading * sector[t] + idio * shock
        gap = OVERNIGHT * (expected + diffusive) + jump
        gap += math.sqrt(OVERNIGHT * (1 - OVERNIGHT)) * sd * normal(stream(key, t, _GAP), 0)
        out[9, t] = predictor
        close = _tick(base * math.exp(expected + diffusive + jump))
        activity = 0.7 * activity + 0.25 * normal(stream(key, t, _VOLUME), 0)
        surprise = abs(diffusive + jump) / sd - 0.75
        out[0, t], out[1, t], out[2, t], out[3, t] = base, _tick(base * math.exp(gap)), close, sd
        out[4, t] = traits[11] * math.exp(activity + 0.3 * min(surprise, 4.0)) / close
        out[5, t], out[6, t], out[7, t], out[8, t] = split, paid, expected, jump
        variance = long_run**2 * (1 - arch - garch) + (arch * shock * shock + garch) * variance
        predictor = MOMENTUM_MEMORY * predictor + math.sqrt(1 - MOMENTUM_MEMORY**2) * shock
    return first, days, np.nan, out


@njit(cache=True)
def _jumps(key: np.uint64, day: int, earnings: bool) -> float:
    """Return the overnight jump: about one a year at random, and one at each quarter's earnings."""
    s = stream(key, day, _JUMP)
    jump = 0.04 * normal(s, 1) if uniform(s, 0) < 1.0 / 252.0 else 0.0
    return jump + (0.045 * normal(stream(key, day, _EARNINGS), 0) if earnings else 0.0)


@njit(cache=True)
def _split(close: float, high: float, rest: int) -> tuple[float, int]:
    """Return the ratio of a split that the last close calls for, and the sessions before the next one."""
    if rest > 0:
        return 1.0, rest - 1
    if close > high:
        return (4.0 if close > 1.6 * high else 2.0), QUARTER
    return (0.1, QUARTER) if close < 1.5 else (1.0, 0)


@njit(cache=True, inline="always")
def _tick(price: float) -> float:
    """Round to a cent, or to a hundredth of one below a dollar."""
    scale = 100.0 if price >= 1.0 else 10000.0
    return max(math.floor(price * scale + 0.5), 1.0) / scale


@njit(cache=True)
def index_path(key: np.uint64, ret: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return a state as of ``stock_path`` for the index that has the market's return."""
    out = np.zeros((10, len(ret)))
    close = 1000.0
    for t in range(len(ret)):
        gap = OVERNIGHT * ret[t] + math.sqrt(OVERNIGHT * (1 - OVERNIGHT)) * sigma[t] * normal(stream(key, t, _GAP), 0)
        out[0, t], out[1, t] = close, _tick(close * math.exp(gap))
        close = _tick(close * math.exp(ret[t]))
        out[2, t], out[3, t], out[5, t] = close, sigma[t], 1.0
        out[4, t] = 2e9 * math.exp(0.2 * normal(stream(key, t, _VOLUME), 0))
    return out


@njit(cache=True)
def session_bars(key: np.uint64, state: FloatArray, steps: IntArray, first: int, last: int, group: int) -> FloatArray:
    """Return ``(bars, 6)``: session, open, high, low, close, volume, for ``first <= session < last``.

    Within a session log price is a Brownian bridge from open to close on steps of five minutes with
    U-shaped variance; highs and lows are drawn from the exact law of a bridge's extremes. ``steps`` holds the
    number of five-minute steps of each session; ``group`` of them make a bar (0: the whole session is one
    bar). Bars of every size are aggregates of the same path.
    """
    width = int(steps.max()) if group == 0 else group
    total = 0
    for t in range(first, last):
        total += -(-steps[t] // width)
    out = np.zeros((total, 6))
    row = 0
    for t in range(first, last):
        bars = -(-steps[t] // width)
        out[row : row + bars, 0] = t
        _session(key, t, state[1:5, t], int(steps[t]), width, out[row : row + bars, 1:])
        row += bars
    return out


@njit(cache=True)
def _session(key: np.uint64, day: int, state: FloatArray, steps: int, width: int, out: FloatArray) -> None:
    """Fill ``out`` (bars, 5) with one session's bars; ``state`` is open, close, volatility and volume."""
    begin, end, sd, volume = state[0], state[1], state[2], state[3]
    walk, clock, share = _bridge(key, day, steps)
    variance = (1 - OVERNIGHT) * sd * sd
    top, bottom = stream(key, day, _HIGH), stream(key, day, _LOW)
    low, high = math.log(begin), math.log(end)
    a, opened = low, begin
    for bar in range(len(out)):
        most, least, shares = -np.inf, np.inf, 0.0
        stop = min((bar + 1) * width, steps)
        for k in range(bar * width, stop):
            b = low + (high - low) * clock[k + 1] + math.sqrt(variance) * walk[k + 1]
            spread, doubled = (a - b) * (a - b), 2 * variance * (clock[k + 1] - clock[k])
            most = max(most, a + b + math.sqrt(spread - doubled * math.log(uniform(top, k))))
            least = min(least, a + b - math.sqrt(spread - doubled * math.log(uniform(bottom, k))))
            shares += math.floor(volume * share[k])
            a = b
        closed = end if stop == steps else _tick(math.exp(a))
        out[bar, 0], out[bar, 3], out[bar, 4] = opened, closed, shares
        out[bar, 1] = max(_tick(math.exp(0.5 * most)), opened, closed)
        out[bar, 2] = min(_tick(math.exp(0.5 * least)), opened, closed)
        opened = closed


@njit(cache=True)
def _bridge(key: np.uint64, day: int, steps: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a standard Brownian bridge, its clock (both from 0 to 1) and each step's share of the volume."""
    walk, clock, share = np.zeros(steps + 1), np.zeros(steps + 1), np.zeros(steps)
    path, part = stream(key, day, _PATH), stream(key, day, _SHARE)
    for k in range(steps):
        weight = 1.0 + 1.5 * (2.0 * (k + 0.5) / steps - 1.0) ** 2
        clock[k + 1] = clock[k] + weight
        walk[k + 1] = walk[k] + math.sqrt(weight) * normal(path, k)
        share[k] = weight * (0.4 + 1.2 * uniform(part, k))
    walk = (walk - clock / clock[-1] * walk[-1]) / math.sqrt(clock[-1])
    return walk, clock / clock[-1], share / share.sum()
