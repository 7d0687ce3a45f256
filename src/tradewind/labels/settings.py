"""The ``[labels]`` section of a playbook."""

from __future__ import annotations

from pydantic import Field, field_validator

from tradewind.settings import Section


class LabelsSection(Section):
    """What is asked about the bars after each bar."""

    horizons_bars: tuple[int, ...] = Field((1, 5, 20), description="horizons of the forecasts, in bars, rising")
    horizons: tuple[str, ...] = Field(
        (), description="horizons in trading time (4h, 1d, 1w) instead of bars; those shorter than a bar are dropped"
    )
    scale_half_life_bars: float = Field(
        20.0,
        gt=1,
        le=1000,
        description="half-life of the volatility that scales labels and barriers, in bars",
    )
    scale_warm_up_bars: int = Field(10, ge=2, le=500, description="returns needed before that volatility counts")
    barriers: bool = Field(False, description="also label with the triple barrier (classes down, neutral, up)")
    barrier_up_sigma: float = Field(
        1.0, gt=0, le=20, description="upper barrier, in one-bar volatilities times the root of the horizon"
    )
    barrier_down_sigma: float = Field(
        1.0, gt=0, le=20, description="lower barrier, in one-bar volatilities times the root of the horizon"
    )
    embargo_bars: int = Field(1, ge=0, le=1000, description="bars kept free between training labels and test block")

    @field_validator("horizons_bars")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] < 1:
            raise ValueError(f"horizons {value} must be distinct, rising and at least 1 bar")
        return value
