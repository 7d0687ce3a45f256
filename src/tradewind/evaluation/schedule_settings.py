"""The ``[schedule]`` section of a playbook: what a running corridor does when."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class ScheduleSection(Section):
    """When a running corridor does what is not done at every bar; nothing of a back-test depends on it."""

    exchange: str = Field("XNYS", description="whose sessions, holidays and early closes count")
    prices_minutes: int | None = Field(
        5, ge=1, le=390, description="prices are asked for this often while the exchange is open; none: never"
    )
    sentiment_minutes: int | None = Field(
        15, ge=1, le=1440, description="news are asked for this often, day and night; none: never"
    )
    signals_minutes: int | None = Field(
        None, ge=1, le=390, description="forecasts and signals this often while it is open; default: at every bar"
    )
    retrain: Literal["nightly", "weekly", "never"] = Field(
        "nightly", description="a full retraining after every close, after the week's last one, or none by itself"
    )
    retrain_after_minutes: int = Field(30, ge=0, le=720, description="how long after the close it begins")
    compact_after_minutes: int = Field(
        240, ge=0, le=900, description="how long after the close the lake is compacted and pruned"
    )
