"""Long short-term memory over 60 bars: quantiles, and barrier classes where there are any (playbook rows B6, D4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape


@register
@dataclass(eq=False, kw_only=True)
class Lstm(SequenceModel):
    """Long short-term memory (Hochreiter & Schmidhuber 1997); its last state answers.

    Parameters
    ----------
    width, layers, dropout
        Of the recurrence.
    """

    name: ClassVar[str] = "lstm"
    width: int = 64
    layers: int = 1
    dropout: float = 0.4

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks.recurrent import Recurrent

        return Recurrent(shape, kind="lstm", width=self.width, layers=self.layers, dropout=self.dropout)
