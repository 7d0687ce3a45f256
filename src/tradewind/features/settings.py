"""The ``[features]`` section of a playbook."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tradewind.settings import Section


class FeaturesSection(Section):
    """Which features a playbook computes, and how they are scaled for its models."""

    include: tuple[str, ...] = Field(
        default=("core",),
        min_length=1,
        description="Features, families or groups: all, model (scale-free), core (without near-repetitions), base_20",
    )
    exclude: tuple[str, ...] = Field(default=(), description="Features, families or groups to leave out")
    forecasts: tuple[str, ...] = Field(
        default=(),
        description="Models whose out-of-fold forecasts are features too: expected return and sigma per horizon",
    )
    forecast_min_train_bars: int = Field(
        default=252, ge=60, description="Bars before the first forecast that is a feature; missing until then"
    )
    scaling: Literal["none", "train", "rolling", "cross_section"] = Field(
        default="none",
        description="none (trees need none), train (fitted on the training part), rolling (per symbol), cross_section",
    )
    scaling_half_life_bars: float = Field(
        default=252.0, gt=1.0, le=5000.0, description="Half-life of the rolling scaler's mean and deviation, in bars"
    )
    clip_deviations: float = Field(
        default=6.0, gt=1.0, le=100.0, description="Scaled values beyond this many deviations are clipped"
    )

    @field_validator("forecasts")
    @classmethod
    def _each_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise ValueError("a model is named twice")
        return models
