"""The shape of every section of a playbook: frozen, typed, and strict about names."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all playbook sections. Unknown keys are refused; values never change after validation.

    Each room defines its own sections in ``<room>/settings.py``; ``tradewind.playbook`` reads the TOML and
    reports a bad value with its line, the allowed range and the nearest known name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
