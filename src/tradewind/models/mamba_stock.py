"""Mamba over the bars of a window (playbook row C5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape


@register
@dataclass(eq=False, kw_only=True)
class MambaStock(SequenceModel):
    """Selective state spaces over the bars (Gu & Dao 2023, after MambaStock, Shi 2024); the newest bar's state answers.

    Parameters
    ----------
    width, layers, dropout
        Of the layers; row C5 asks for 256.
    d_state, d_conv, expand
        Of each block, as the Mamba paper names them.
    checkpointing
        Compute activations again in the backward pass instead of keeping them: for long windows.
    """

    name: ClassVar[str] = "mamba_stock"
    width: int = 48
    layers: int = 1
    dropout: float = 0.3
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    checkpointing: bool = False

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks import mamba_stock

        return mamba_stock.MambaStock(
            shape,
            width=self.width,
            layers=self.layers,
            dropout=self.dropout,
            d_state=self.d_state,
            d_conv=self.d_conv,
            expand=self.expand,
            checkpointing=self.checkpointing,
        )
