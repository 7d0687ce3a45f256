"""Playbook section of the model room."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tradewind.settings import Section

ENSEMBLE = "ensemble"
"""What the combination of ``[ensemble] members`` is called where a model is named."""


class ModelsSection(Section):
    """Which models forecast, and which of them is traded on."""

    use: str = Field(
        "scale_blend", description="model whose forecasts are calibrated, reported and traded; ensemble: see there"
    )
    compare: tuple[str, ...] = Field(("naive_normal",), description="models judged beside it, never traded")
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict, description="parameters by model name")
    seed: int = Field(7, ge=0, description="seed of everything random in the models")

    @property
    def all(self) -> tuple[str, ...]:
        """The traded model first, then the compared ones, each once."""
        return tuple(dict.fromkeys((self.use, *self.compare)))


class EnsembleSection(Section):
    """Which models the model ``ensemble`` combines, and how their weights are learnt."""

    members: tuple[str, ...] = Field(
        (), description="two or more models; each is fitted and shown as if it stood alone"
    )
    method: str = Field(
        "equal",
        description="equal, ewma_softmax, bayes, thompson or stacking: weights by horizon, from forecasts that have "
        "come due; equal weights are always shown beside it",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="parameters of the method")
