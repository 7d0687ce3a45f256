"""Playbook sections of the portfolio room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class SizingSection(Section):
    """How a signal becomes a target weight: the smallest of the named steps wins, and is named."""

    risk_per_trade: float = Field(0.02, gt=0, le=0.2, description="equity lost when the stop is hit, fraction")
    kelly_fraction: float | None = Field(
        None, gt=0, le=1, description="cap at this fraction of the Kelly weight; none: no cap"
    )
    conviction: Literal["none", "confidence"] = Field(
        "none",
        description="confidence: half of the weight at decision.confidence_min, all of it from 0.05 above",
    )


class LimitsSection(Section):
    """Limits that no position may pass."""

    position_max: float = Field(0.10, gt=0, le=1, description="largest weight of one position, fraction of equity")
    tier_limits: bool = Field(False, description="the price tier's position limit where it is lower")
    gross_max: float = Field(1.0, gt=0, le=4, description="largest sum of absolute weights")
    sector_max: float | None = Field(None, gt=0, le=1, description="largest weight of one sector; none: no limit")
