"""A small GPT-2 block stack over patches of bars, randomly initialised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tradewind.models.base import register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape


@register
@dataclass(eq=False, kw_only=True)
class GptPatches(SequenceModel):
    """LLM4FTS-style: a small GPT-2 block stack on patches, randomly initialised, not a language model.

    Parameters
    ----------
    patch_bars, stride_bars
        Bars of a patch, and from one patch to the next; the newest patch ends at the newest bar.
    width, heads, layers, dropout
        Of the blocks.
    """

    name: ClassVar[str] = "gpt_patches"
    patch_bars: int = 5
    stride_bars: int = 5
    width: int = 32
    heads: int = 4
    layers: int = 2
    dropout: float = 0.3

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks import gpt_patches

        return gpt_patches.GPTPatches(
            shape,
            patch_bars=self.patch_bars,
            stride_bars=self.stride_bars,
            width=self.width,
            heads=self.heads,
            layers=self.layers,
            dropout=self.dropout,
        )
