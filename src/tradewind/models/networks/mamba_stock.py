"""Forecasters made of Mamba blocks: over the bars of a window, and over its patches in both directions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tradewind.models.networks.mamba import Mamba, MambaStack, run_layer
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of
from tradewind.models.networks.patches import Patches
from tradewind.models.networks.recurrent import Answer, StaticContext


class MambaStock(Network):
    """Mamba layers over the bars of each window; the newest bar's state answers (after MambaStock, Shi 2024).

    Parameters
    ----------
    width, layers, dropout
        Of the layers.
    d_state, d_conv, expand
        Of each block, as the Mamba paper names them.
    checkpointing
        See :class:`~tradewind.models.networks.mamba.MambaStack`.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int,
        layers: int,
        dropout: float,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.enter = nn.Linear(shape.inputs, width)
        self.stack = MambaStack(
            width, layers, dropout=dropout, d_state=d_state, d_conv=d_conv, expand=expand, checkpointing=checkpointing
        )
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)

    def forward(self, block: Block) -> Outputs:
        """Answer every window; what enters the layers is computed once for every row of a run.

        A scan over all rows of a run would be causal too, and cheaper, but a run's later windows would then remember
        bars from before their first: the answer to a window would depend on the run it came in.
        """
        states = self.stack(windows_of(self.enter(block.values), self.shape.length, block.future.shape[1]))
        return self.answer(states[:, -1], self.context(block.statics), block.future)


class TSMamba(Network):
    """Mamba layers over patches of bars, forward and backward (after TSMamba, Ma et al. 2024), trained from scratch.

    Reading a window backward looks at no future: a window holds only what was known at the close of its last bar. The
    paper's transfer from a pre-trained language model is left out.

    Parameters
    ----------
    patch_bars, stride_bars
        See :class:`~tradewind.models.networks.patches.Patches`.
    width, layers, dropout, d_state, d_conv, expand, checkpointing
        As in :class:`MambaStock`; half the parameters of a layer read in each direction.

    Raises
    ------
    InputError
        A patch longer than a window, or sizes below 1.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        patch_bars: int,
        stride_bars: int,
        width: int,
        layers: int,
        dropout: float,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.checkpointing = checkpointing
        self.patches = Patches(shape, patch_bars, stride_bars, width)
        self.layers = nn.ModuleList(
            [
                BidirectionalLayer(
                    Mamba(width, d_state, d_conv, expand), Mamba(width, d_state, d_conv, expand), dropout
                )
                for _ in range(layers)
            ]
        )
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.flatten = nn.Linear(self.patches.count * width, width)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)

    def forward(self, block: Block) -> Outputs:
        """Answer every window from all of its patches; neighbouring windows share their patches' embeddings."""
        states = self.patches(block.values, block.future.shape[1])
        for layer in self.layers:
            states = run_layer(layer, states, self.checkpointing)
        hidden = nn.functional.silu(self.flatten(self.norm(states).flatten(1)))
        return self.answer(hidden, self.context(block.statics), block.future)


class BidirectionalLayer(nn.Module):
    """Two Mamba blocks behind one norm, one for each direction of time; both are added to the input."""

    def __init__(self, onward: Mamba, backward: Mamba, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(onward.d_model, eps=1e-5)
        self.onward, self.backward = onward, backward
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, L, d_model)``."""
        normed = self.norm(x)
        both = self.onward(normed) + torch.flip(self.backward(torch.flip(normed, [1])), [1])
        return x + self.dropout(both)
