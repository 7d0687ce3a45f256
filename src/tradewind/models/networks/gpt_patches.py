"""A small stack of GPT-2 blocks over patches of bars, randomly initialised: the shape of a language model, not one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.network import Block, Network, Outputs, Shape
from tradewind.models.networks.patches import Patches
from tradewind.models.networks.recurrent import Answer, StaticContext

_DEVIATION = 0.02


class GPTPatches(Network):
    """Causal decoder blocks (GPT-2: Radford et al. 2019) over patches of bars; the newest patch's state answers.

    Only that state is asked for, so the last block computes it alone.

    After LLM4FTS, without a language model's weights: it is trained from scratch. Positions are learnt, weights begin
    as those of GPT-2.

    Parameters
    ----------
    patch_bars, stride_bars
        See :class:`~tradewind.models.networks.patches.Patches`.
    width, heads, layers, dropout
        Of the blocks; the feed-forward part is four times as wide.

    Raises
    ------
    InputError
        A patch longer than a window, sizes below 1, or a width that cannot be shared among the heads.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        patch_bars: int,
        stride_bars: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} cannot be shared among {heads} heads")
        self.shape = shape
        self.patches = Patches(shape, patch_bars, stride_bars, width)
        self.position = nn.Parameter(torch.randn(self.patches.count, width) * _DEVIATION)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([DecoderBlock(width, heads, dropout, layers) for _ in range(layers)])
        self.leave = nn.LayerNorm(width)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def forward(self, block: Block) -> Outputs:
        """Answer every window; neighbouring windows share their patches' embeddings."""
        states = self.states(self.patches(block.values, block.future.shape[1]), newest_alone=True)
        return self.answer(self.leave(states[:, -1]), self.context(block.statics), block.future)

    def states(self, patches: Tensor, newest_alone: bool = False) -> Tensor:
        """Return each patch's state, which knows the patches up to it, ``(B, patches, width)``; or the newest one's."""
        states = self.dropout(patches + self.position)
        for place, block in enumerate(self.blocks):
            states = block(states, newest_alone and place == len(self.blocks) - 1)
        return states

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)


class DecoderBlock(nn.Module):
    """Causal attention and a feed-forward part, each behind its own normalisation and around a shortcut.

    Parameters
    ----------
    layers
        Blocks of the stack: what ends in a shortcut begins smaller by the root of twice as many.
    """

    def __init__(self, width: int, heads: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.heads, self.share = heads, dropout
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        for part in (self.attend, self.widen):
            nn.init.normal_(part.weight, std=_DEVIATION)
            nn.init.zeros_(part.bias)
        for part in (self.merge, self.narrow):
            nn.init.normal_(part.weight, std=_DEVIATION * (2 * layers) ** -0.5)
            nn.init.zeros_(part.bias)

    def forward(self, states: Tensor, newest_alone: bool = False) -> Tensor:
        """Return the states after the block, ``(B, patches, width)``, or the newest one, ``(B, 1, width)``."""
        asked = states[:, -1:] if newest_alone else states
        asked = asked + self.dropout(self.merge(self._met(self.before_attention(states), newest_alone)))
        wide = nn.functional.gelu(self.widen(self.before_feed(asked)), approximate="tanh")
        return asked + self.dropout(self.narrow(wide))

    def _met(self, seen: Tensor, newest_alone: bool = False) -> Tensor:
        width, weight, bias = seen.shape[-1], self.attend.weight, self.attend.bias
        asking = seen[:, -1:] if newest_alone else seen
        query = nn.functional.linear(asking, weight[:width], bias[:width])
        key, value = nn.functional.linear(seen, weight[width:], bias[width:]).chunk(2, dim=-1)
        query, key, value = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in (query, key, value))
        share = self.share if self.training else 0.0
        met = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=share, is_causal=not newest_alone)
        return met.transpose(1, 2).flatten(2)
