"""Playbook section of the model room."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tradewind.settings import Section


class ModelsSection(Section):
    """Which models forecast, and which of them is traded on."""

    use: str = Field("scale_blend", description="model whose forecasts are calibrated, reported and traded")
    compare: tuple[str, ...] = Field(("naive_normal",), description="models judged beside it, never traded")
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict, description="parameters by model name")
    seed: int = Field(7, ge=0, description="seed of everything random in the models")

    @property
    def all(self) -> tuple[str, ...]:
        """The traded model first, then the compared ones, each once."""
        return tuple(dict.fromkeys((self.use, *self.compare)))
