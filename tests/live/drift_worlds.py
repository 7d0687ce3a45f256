"""Invented histories whose changes are known: features that hang together and linger, and forecasts with a skill."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from scipy.special import ndtri

from tradewind.live.drift_simulation import History, Said
from tradewind.models.forecast import LEVELS

FEATURES, SYMBOLS = 12, 6
NAMES = tuple(f"feature_{n}" for n in range(FEATURES))
WINDOW, LIFE, TRAIN = 5, 60, 600


def features(bars: int = TRAIN + LIFE, seed: int = 0, memory: float = 0.7) -> np.ndarray:
    """Return ``(T, N, F)``: half of each feature is the market's, they follow two factors, and yesterday lingers."""
    draw = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(2, FEATURES))
    own = draw.normal(size=(bars, SYMBOLS, FEATURES))
    factors = draw.normal(size=(bars, 1, 2)) + draw.normal(size=(bars, SYMBOLS, 2))
    shocks = factors @ mix + 0.5 * own
    x = np.empty_like(shocks)
    x[0] = shocks[0]
    for t in range(1, bars):
        x[t] = memory * x[t - 1] + shocks[t]
    return x.astype(np.float32)


def times(bars: int, first: str = "2020-01-01T21:00") -> np.ndarray:
    return np.datetime64(datetime.fromisoformat(first), "us") + np.arange(bars) * np.timedelta64(1, "D")


def forecasts(
    bars: int, seed: int = 0, skill: float = 0.6, horizons: tuple[int, ...] = (1, 5), sigma: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles ``(T, N, H, Q)`` and outcomes ``(T, N, H)`` that they are calibrated for; NaN at the end."""
    draw = np.random.default_rng(seed)
    quantiles = np.empty((bars, SYMBOLS, len(horizons), len(LEVELS)))
    returns = np.full((bars, SYMBOLS, len(horizons)), np.nan)
    for column, horizon in enumerate(horizons):
        scale = sigma * np.sqrt(horizon)
        known = skill * draw.normal(size=(bars, SYMBOLS))
        returns[:, :, column] = scale * (known + np.sqrt(1 - skill**2) * draw.normal(size=(bars, SYMBOLS)))
        spread = scale * np.sqrt(1 - skill**2) * ndtri(np.asarray(LEVELS))
        quantiles[:, :, column] = scale * known[..., None] + spread
        returns[bars - horizon :, :, column] = np.nan
    return quantiles, returns


def history(bars: int = TRAIN + 3 * LIFE, seed: int = 0, skill: float = 0.6) -> History:
    """Return a history with a skilled champion before whom the same without skill was in its seat."""
    quantiles, returns = forecasts(bars, seed, skill)
    plain = np.broadcast_to(np.nanquantile(returns, LEVELS, axis=(0, 1)).T, quantiles.shape)
    made = features(bars, seed)
    return History(times(bars), NAMES, made, returns, (1, 5), LEVELS, Said(quantiles), Said(plain.copy()))
