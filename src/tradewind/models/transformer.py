"""A Transformer encoder over 60 bars: quantiles, and barrier classes where there are any (playbook row B6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape


@register
@dataclass(eq=False, kw_only=True)
class Transformer(SequenceModel):
    """Self-attention over the bars of a window (Vaswani et al. 2017, pre-norm); the newest bar's state answers.

    Parameters
    ----------
    width, heads, layers, dropout
        Of the encoder.
    """

    name: ClassVar[str] = "transformer"
    width: int = 64
    heads: int = 4
    layers: int = 2
    dropout: float = 0.3

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks import transformer

        return transformer.Transformer(
            shape, width=self.width, heads=self.heads, layers=self.layers, dropout=self.dropout
        )
