"""Playbook sections of the risk room."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class RiskSection(Section):
    """How the risk of what is held is measured; the limits on it stand in ``[limits]``."""

    half_life_sessions: float = Field(60.0, gt=1, description="half-life of covariances and betas, in sessions")
    shrinkage: float = Field(
        0.2, ge=0, le=1, description="how far correlations are pulled towards their mean, 0: not at all"
    )
    warm_up_sessions: int = Field(30, ge=5, description="sessions with a return before a symbol's risk is known")
    var_level: float = Field(0.95, gt=0.5, lt=1, description="confidence of value at risk over one session")
    var_method: Literal["filtered_historical", "historical", "parametric", "student_t"] = Field(
        "filtered_historical", description="how value at risk of the book is estimated where it is judged"
    )
    var_window_sessions: int = Field(504, ge=120, description="sessions that value at risk looks back on")
    var_half_life_sessions: float = Field(
        11.0, gt=1, le=1000, description="half-life of the volatility behind value at risk, in sessions"
    )
    volatility_target: float | None = Field(
        None, gt=0, le=2, description="annual volatility above which nothing is added to the book; none: no target"
    )
