"""Playbook sections of the market room."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from tradewind.settings import Section

if TYPE_CHECKING:
    from tradewind.market.panel import Panel

TierName = Literal["penny", "low", "mid", "high", "mega"]
Timeframe = Literal["1m", "5m", "15m", "30m", "1h", "1d", "1w"]


def _first_instant(value: object) -> object:
    """Read a plain date as its first instant, and a time without a zone as UTC."""
    return _instant(value, time.min)


def _last_instant(value: object) -> object:
    """Read a plain date as its last instant, and a time without a zone as UTC."""
    return _instant(value, time.max)


def _instant(value: object, of_day: time) -> object:
    if isinstance(value, str):
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, of_day, tzinfo=UTC) if isinstance(value, date) else value


class UniverseSection(Section):
    """Which instruments may be traded, as of when."""

    symbols: tuple[str, ...] = Field(
        (), description="symbols; empty: all members of index or membership_path, else everything the source lists"
    )
    hindsight: bool = Field(False, description="true where the symbols were picked knowing later years")
    index: str = Field(
        "", description="index whose members are traded, as they were read week by week (nasdaq100); empty: none"
    )
    index_refresh_days: float = Field(
        7, gt=0, description="`tradewind sync` reads the members again once they are this old"
    )
    index_url: str | None = Field(None, description="where to read the members; empty: the index's usual place")
    membership_path: str | None = Field(
        None,
        description="table of symbol, start and end: only members as of each date are traded; with index it speaks "
        "for the time before the members were first read",
    )
    tiers: tuple[TierName, ...] = Field((), description="price tiers that may be traded (row A3); empty: all")
    min_dollar_volume: float = Field(
        0, ge=0, description="lowest median of daily dollar volume over the last dollar_volume_bars"
    )
    dollar_volume_bars: int = Field(20, ge=2, description="bars over which dollar volume is taken")

    def restrict(self, panel: Panel) -> Panel:
        """Return the panel with ``member`` narrowed to the allowed price tiers and to liquid names.

        Both are judged on the raw price and volume of the bar itself and of earlier ones: nothing later.
        """
        from tradewind.market.universe import eligible

        return eligible(panel, self.tiers, self.min_dollar_volume, self.dollar_volume_bars)


class DataSection(Section):
    """Which bars."""

    source: str = Field("sample", description="name of the source; its options stand in [source.NAME.options]")
    timeframe: Timeframe = Field("1d", description="bar size")
    start: Annotated[datetime | None, BeforeValidator(_first_instant)] = Field(
        None, description="first bar (a date, or an instant in UTC); empty: as far back as the source goes"
    )
    end: Annotated[datetime | None, BeforeValidator(_last_instant)] = Field(
        None, description="last bar (a date counts to its end); empty: the newest"
    )
    context: Mapping[str, str] = Field(
        {"index": "^GSPC", "vix": "^VIX"}, description="market-wide series: name = symbol of the source"
    )
    fill_forward_max_bars: int = Field(
        0, ge=0, le=20, description="longest gap that is filled with the last close, and marked; 0: none"
    )
