"""Mamba over patches of bars, read in both directions (playbook row C5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.mamba_stock import MambaStock

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape


@register
@dataclass(eq=False, kw_only=True)
class TsMamba(MambaStock):
    """Selective state spaces over patches (after TSMamba, Ma et al. 2024), trained from scratch.

    Reading a window backward looks at no future: a window holds only what was known at the close of its last bar.

    Parameters
    ----------
    patch_bars, stride_bars
        Bars of a patch, and from one patch to the next.
    """

    name: ClassVar[str] = "ts_mamba"
    patch_bars: int = 8
    stride_bars: int = 4

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks import mamba_stock

        return mamba_stock.TSMamba(
            shape,
            patch_bars=self.patch_bars,
            stride_bars=self.stride_bars,
            width=self.width,
            layers=self.layers,
            dropout=self.dropout,
            d_state=self.d_state,
            d_conv=self.d_conv,
            expand=self.expand,
            checkpointing=self.checkpointing,
        )
