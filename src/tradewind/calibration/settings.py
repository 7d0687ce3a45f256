"""The ``[calibration]`` section of a playbook."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class CalibrationSection(Section):
    """How forecasts are made to cover what they promise."""

    method: Literal["adaptive", "split", "cross", "jackknife_plus", "none"] = Field(
        "adaptive",
        description="adaptive: panel-wide online conformal with delayed feedback; split, cross, jackknife_plus: "
        "conformal from purged blocks of each fold's training rows; none: as forecast",
    )
    folds: int = Field(
        5, ge=2, le=50, description="blocks of the training rows for split (the last one), cross and jackknife_plus"
    )
    coverage: float = Field(
        0.8, gt=0.2, lt=0.99, description="coverage of the interval that is steered hardest; the nearest one forecast"
    )
    control_step: float = Field(
        0.06,
        ge=0,
        le=0.5,
        description="share of the coverage still owed that the next one-bar interval makes good; "
        "falls with the root of the horizon",
    )
    control_limit: float = Field(
        0.6, ge=0, le=2, description="largest change of the log width that repaying coverage may cause"
    )
    memory_step: float = Field(
        0.0005, ge=0, le=0.2, description="step of the slow tracker of each level, per bar (1 / memory in bars)"
    )
    skew_step: float = Field(
        0.0, ge=0, le=0.1, description="step of the slow tracker of each side and of the median, per bar; 0 is off"
    )
    symbol_step: float = Field(
        0.003, ge=0, le=0.1, description="step of each symbol's own width, per independent outcome; 0 pools all symbols"
    )
    symbol_limit: float = Field(0.3, ge=0, le=2, description="largest log width of a symbol against the pool")
