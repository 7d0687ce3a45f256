"""Price tiers: how a share's price alone changes what one may do with it (row A3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tradewind.settings import Section

FloatArray = NDArray[np.float64]

TierName = Literal["penny", "low", "mid", "high", "mega"]
Horizon = Literal["day", "swing", "position"]


class Tier(Section):
    """One half-open range of prices and its limits."""

    lower_usd: float = Field(ge=0, description="lowest price that belongs")
    upper_usd: float = Field(gt=0, description="first price that no longer belongs")
    daily_volatility_pct: float = Field(gt=0, description="typical standard deviation of daily returns, %")
    sentiment_weight: float = Field(ge=0, description="multiplies the sentiment conditions of the rules")
    min_daily_volume_shares: float = Field(ge=0, description="shares a day below which it is left alone")
    position_limit_pct: float = Field(gt=0, le=100, description="largest position, % of equity")
    stop_loss_pct: float = Field(gt=0, lt=100, description="stop below the entry, %")
    ideal_horizon: Horizon
    typical_hold: str = Field("", description="how long such positions are usually held")
    take_profit_pct: tuple[float, float] | None = Field(None, description="usual take-profit range, %")


# lower, upper, volatility, sentiment weight, millions of shares, position limit, stop, horizon
_A3: Final[Mapping[TierName, tuple[float, float, float, float, float, float, float, Horizon]]] = {
    "penny": (0.5, 5, 5, 2.0, 0.5, 5, 10, "day"),
    "low": (5, 25, 3, 1.5, 1, 8, 5, "day"),
    "mid": (25, 100, 2, 1.2, 2, 10, 3, "swing"),
    "high": (100, 500, 1.5, 1.0, 3, 12, 2, "position"),
    "mega": (500, 1e12, 1, 0.8, 5, 15, 2, "position"),
}
_HOLDS: Final[Mapping[str, tuple[str, tuple[float, float]]]] = {
    "penny": ("1-4 hours", (15, 20)),
    "mid": ("3-7 days", (5, 10)),
    "mega": ("2-4 weeks", (8, 12)),
}


def _tier(name: TierName) -> Tier:
    lower, upper, volatility, weight, millions, limit, stop, horizon = _A3[name]
    hold, profit = _HOLDS.get(name, ("", None))
    return Tier(
        lower_usd=lower,
        upper_usd=upper,
        daily_volatility_pct=volatility,
        sentiment_weight=weight,
        min_daily_volume_shares=millions * 1e6,
        position_limit_pct=limit,
        stop_loss_pct=stop,
        ideal_horizon=horizon,
        typical_hold=hold,
        take_profit_pct=profit,
    )


#: The tiers, cheapest first: [0.50, 5), [5, 25), [25, 100), [100, 500), [500, ∞) US dollars.
TIERS: Final[Mapping[TierName, Tier]] = {name: _tier(name) for name in _A3}
NAMES: Final[tuple[TierName, ...]] = tuple(TIERS)
DEFAULT: Final[tuple[TierName, ...]] = ("low", "mid", "high")
_EDGES: Final = np.array([tier.lower_usd for tier in TIERS.values()])


def tier_index(close: FloatArray) -> NDArray[np.int64]:
    """Return the tier's number of each raw price, same shape; -1 where not tradable (below 0.50, NaN)."""
    found = np.searchsorted(_EDGES, close, side="right") - 1
    return np.where(np.isfinite(close), found, -1)


def tier_of(price: float) -> TierName | None:
    """Return the tier of a raw price; None below 0.50 and for prices that are no number: not tradable."""
    index = int(tier_index(np.array([price]))[0])
    return None if index < 0 else NAMES[index]


def allowed(close: FloatArray, names: Iterable[TierName]) -> NDArray[np.bool_]:
    """Return where the raw price of the same bar lies in one of the tiers, same shape."""
    return np.isin(tier_index(close), [NAMES.index(name) for name in names])


def by_tier(close: FloatArray, attribute: str) -> FloatArray:
    """Return a numeric attribute of each raw price's tier, same shape; NaN where not tradable."""
    values = np.array([float(getattr(tier, attribute)) for tier in TIERS.values()] + [np.nan])
    return np.asarray(values[tier_index(close)])
