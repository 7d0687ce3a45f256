"""Gated recurrent units over 100 bars with a Huber loss (playbook row D4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape


@register
@dataclass(eq=False, kw_only=True)
class Gru(SequenceModel):
    """Gated recurrent units (Cho et al. 2014); their last state answers. The median also has a Huber loss.

    Parameters
    ----------
    width, layers, dropout
        Of the recurrence; row D4 asks for 128 and 2.
    """

    name: ClassVar[str] = "gru"
    window_bars: int = 100
    huber: float = 0.5
    width: int = 64
    layers: int = 1
    dropout: float = 0.4

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks.recurrent import Recurrent

        return Recurrent(shape, kind="gru", width=self.width, layers=self.layers, dropout=self.dropout)
