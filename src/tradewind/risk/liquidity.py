"""How long it takes to get out: positions against average daily volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError

FloatArray = NDArray[np.float64]

HORIZONS = (1, 5, 20)
"""Days after which the part sold is told."""


@dataclass(frozen=True, eq=False)
class Liquidity:
    """How fast each position, and the book, can be closed.

    Attributes
    ----------
    traded
        ``(N,)`` average value traded a day; NaN where unknown.
    adv_share
        ``(N,)`` position as a share of it; NaN where unknown, 0 where nothing is held.
    days
        ``(N,)`` days to close each position; NaN where unknown, infinite where the name has no volume.
    liquidated
        Days to the part of the gross that is closed by then at least: unknown positions count as still held.
    unknown
        Part of the gross whose volume is unknown.
    participation
        Share of a day's volume that is traded into.
    """

    traded: FloatArray
    adv_share: FloatArray
    days: FloatArray
    liquidated: dict[int, float]
    unknown: float
    participation: float

    def above(self, adv_share_max: float) -> NDArray[np.bool_]:
        """Return which positions are more than this share of average daily volume, ``(N,)``; unknown ones are not."""
        return np.asarray(np.nan_to_num(self.adv_share, nan=0.0, posinf=np.inf) > adv_share_max)

    def to_dict(self, symbols: Sequence[str], weights: FloatArray, adv_share_max: float) -> dict[str, Any]:
        """Return it by symbol."""
        held = np.flatnonzero(weights).tolist()
        slowest = self.days[held][np.isfinite(self.days[held])]
        return {
            "participation": self.participation,
            "days_to_liquidate": float(slowest.max()) if slowest.size == len(held) and held else None,
            "liquidated": {str(days): share for days, share in self.liquidated.items()},
            "unknown_share": self.unknown,
            "unknown": [symbols[c] for c in held if math.isnan(self.days[c])],
            "without_volume": [symbols[c] for c in held if math.isinf(self.days[c])],
            "adv_share_max": adv_share_max,
            "above_adv_share_max": [symbols[c] for c in np.flatnonzero(self.above(adv_share_max)).tolist()],
            "positions": [
                {
                    "symbol": symbols[c],
                    "value_traded_a_day": float(self.traded[c]),
                    "adv_share": float(self.adv_share[c]),
                    "days": float(self.days[c]),
                }
                for c in held
            ],
        }


def average_value_traded(close: FloatArray, volume: FloatArray, *, sessions: int = 20) -> FloatArray:
    """Return the mean value traded a day over the last sessions, ``(N,)``, from raw closes and volumes ``(T, N)``.

    A halted session's volume of 0 counts. Unknown (NaN) where fewer than half of the sessions are known, or where the
    last five are not: what was traded before a name stopped says nothing.
    """
    if close.shape != volume.shape or close.ndim != 2 or sessions < 1:
        raise InputError(f"closes {close.shape} and volumes {volume.shape} must be tables (session, name) of one shape")
    value = (close * np.where(volume >= 0, volume, np.nan))[-sessions:]
    known = np.isfinite(value)
    count = known.sum(axis=0)
    enough = (2 * count >= min(sessions, len(value))) & (count > 0) & known[-5:].any(axis=0)
    return np.where(enough, np.where(known, value, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def liquidity(weights: FloatArray, equity: float, traded: FloatArray, *, participation: float = 0.10) -> Liquidity:
    """Return how long a book takes to close, each position on its own and a share of the day's volume at a time.

    Parameters
    ----------
    weights
        ``(N,)`` fractions of equity, shorts negative.
    equity
        Of the account, in the currency of ``traded``.
    traded
        ``(N,)`` average value traded a day, NaN where unknown; see :func:`average_value_traded`.
    participation
        Share of a day's volume, in (0, 1].
    """
    if not 0 < participation <= 1 or not equity > 0 or weights.shape != traded.shape:
        raise InputError(
            f"a participation of {participation}, an equity of {equity} and {weights.shape} weights against "
            f"{traded.shape} volumes cannot be",
            hint="participation lies in (0, 1], equity is positive, and there is one volume a name",
        )
    if not np.isfinite(weights).all():
        raise InputError("a weight is unknown: how much there is to sell is not known")
    size = np.abs(weights) * equity
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(size > 0, size / traded, 0.0)
    gross = float(size.sum())
    known = np.isfinite(traded)
    sold = {
        days: float(np.minimum(size, days * participation * np.where(known, traded, 0.0)).sum()) / gross
        if gross
        else 1.0
        for days in HORIZONS
    }
    unknown = float(size[~known].sum()) / gross if gross else 0.0
    return Liquidity(traded, share, share / participation, sold, unknown, participation)
