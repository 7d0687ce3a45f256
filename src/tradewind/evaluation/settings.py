"""Playbook sections of the evaluation room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class EvaluationSection(Section):
    """How the track record is made and judged."""

    min_train_bars: int = Field(756, ge=60, description="bars before the first out-of-sample forecast")
    refit_bars: int = Field(252, ge=5, description="bars between refits: the length of each test block")
    window: Literal["expanding", "rolling"] = Field("expanding", description="training window")
    train_stride_bars: int = Field(1, ge=1, description="train on every n-th bar")
    bootstrap_samples: int = Field(2000, ge=100, description="stationary bootstrap samples for intervals")
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="level of all intervals")
    seed: int = Field(11, ge=0, description="seed of the bootstrap")


class TargetsSection(Section):
    """What the playbook's author hoped for; reported as met, not met or cannot tell, never tuned for."""

    sharpe_min: float | None = Field(None, description="least Sharpe ratio, net, annualised")
    win_rate_min: float | None = Field(None, ge=0, le=1, description="least share of winning trades")
    max_drawdown_max: float | None = Field(None, gt=0, le=1, description="largest drawdown")
    annual_return_min: float | None = Field(None, description="least annual return, net")
    beats_index: bool | None = Field(None, description="annual return above the benchmark index")
    profit_factor_min: float | None = Field(None, gt=0, description="least gross profit over gross loss")
    directional_accuracy_min: float | None = Field(None, ge=0, le=1, description="least share of right directions")
