"""The eleven GICS sectors, and what is typical of each before any data is seen (row A2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl
from pydantic import Field

from tradewind.errors import DataError
from tradewind.market.tables import column_of, read_table
from tradewind.settings import Section

#: The GICS sectors by their official names; data that says anything else is ``unknown``.
SECTORS: Final = (
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
)
UNKNOWN: Final = "unknown"

_ALIASES: Final[Mapping[str, str]] = {
    "basic materials": "Materials",
    "communication": "Communication Services",
    "communications": "Communication Services",
    "consumer cyclical": "Consumer Discretionary",
    "consumer defensive": "Consumer Staples",
    "finance": "Financials",
    "financial": "Financials",
    "financial services": "Financials",
    "healthcare": "Health Care",
    "technology": "Information Technology",
    "telecommunication services": "Communication Services",
    "telecommunications": "Communication Services",
    "telecommunications services": "Communication Services",
}


class SectorProfile(Section):
    """What is typical of a sector: a prior, which ``tradewind sectors fit`` replaces by an estimate."""

    daily_volatility_pct: float = Field(gt=0, description="typical standard deviation of daily returns, %")
    daily_volume_shares: float = Field(gt=0, description="typical shares traded a day")
    sentiment_weight: float = Field(ge=0, description="multiplies the sentiment conditions of the rules")
    news_per_week: float = Field(ge=0, description="typical number of articles a week")
    rsi: float = Field(ge=0, le=100, description="typical RSI(14)")
    beta: float = Field(description="typical slope against the market")


def _profile(vol: float, millions: float, weight: float, news: float, rsi: float, beta: float) -> SectorProfile:
    return SectorProfile(
        daily_volatility_pct=vol,
        daily_volume_shares=millions * 1e6,
        sentiment_weight=weight,
        news_per_week=news,
        rsi=rsi,
        beta=beta,
    )


_OTHER = _profile(2.0, 10, 1.0, 30, 50, 1.0)

#: The baselines of row A2. Sectors it does not name have the profile of "any other".
BASELINES: Final[Mapping[str, SectorProfile]] = {
    **dict.fromkeys((*SECTORS, UNKNOWN), _OTHER),
    "Information Technology": _profile(2.5, 25, 1.5, 50, 55, 1.3),
    "Financials": _profile(1.8, 15, 1.2, 30, 50, 1.1),
    "Health Care": _profile(2.0, 8, 1.8, 40, 52, 0.9),
    "Consumer Discretionary": _profile(2.2, 12, 1.3, 35, 53, 1.2),
    "Consumer Staples": _profile(1.2, 10, 0.8, 20, 50, 0.7),
    "Communication Services": _profile(2.3, 18, 1.4, 45, 52, 1.1),
}


def official(name: str | None) -> str:
    """Return the GICS name of a sector however providers spell it, or ``unknown``."""
    plain = (name or "").strip().lower()
    by_name = {sector.lower(): sector for sector in SECTORS}
    return by_name.get(plain) or _ALIASES.get(plain, UNKNOWN)


def read_sectors(path: Path) -> dict[str, str]:
    """Read symbol -> GICS sector from a table with such columns; raises ``DataError`` without them."""
    table = read_table(path)
    symbol = column_of(table, ("symbol", "ticker"))
    sector = column_of(table, ("gics sector", "sector", "gics_sector"))
    if symbol is None or sector is None:
        raise DataError(f"{path} lacks a symbol or a sector column; it has {', '.join(table.columns)}")
    pairs = table.select(pl.col(symbol).cast(pl.String), pl.col(sector).cast(pl.String)).drop_nulls(symbol)
    return {name: official(kind) for name, kind in pairs.iter_rows()}
