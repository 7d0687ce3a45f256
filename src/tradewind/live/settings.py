"""The section ``[live]`` of a playbook: how its corridor runs on a clock."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tradewind.settings import Section


class LiveSection(Section):
    """How a corridor runs on a clock; no result of a back-test depends on it."""

    engine: Literal["onnx", "model"] = Field(
        "onnx", description="what answers for networks: their ONNX files, or the networks themselves"
    )
    shown_bars: int = Field(2_000, ge=10, le=100_000, description="newest bars of a symbol that can be asked for")
    parity_bars: int = Field(
        20_000, ge=0, description="bars of a replay that are kept to be compared with the back-test when it is over"
    )
    retrain: bool = Field(
        True, description="retrain when the schedule or drift says so; in a replay only when asked to"
    )
