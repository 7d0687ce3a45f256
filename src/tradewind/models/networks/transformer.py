"""A Transformer encoder (Vaswani et al. 2017, pre-norm) over each window."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tradewind.models.networks.heads import QuantileHead
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of
from tradewind.models.networks.recurrent import Answer, StaticContext


class Transformer(Network):
    """Self-attention over the bars of a window; the newest bar's state answers.

    Parameters
    ----------
    width, heads, layers, dropout
        Of the encoder; the feed-forward part is twice as wide.
    """

    position: Tensor

    def __init__(self, shape: Shape, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.enter = nn.Linear(shape.inputs, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.register_buffer("position", positions(shape.length, width), persistent=False)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    @property
    def quantile_head(self) -> QuantileHead:
        """The head that a training starts from the average of."""
        return self.answer.quantiles

    def forward(self, block: Block) -> Outputs:
        """Answer every window; what enters the encoder is computed once for every row of a run."""
        windows = windows_of(self.enter(block.values), self.shape.length) + self.position
        states = self.encoder(windows)
        return self.answer(states[:, -1], self.context(block.statics), block.future)


def positions(length: int, width: int) -> Tensor:
    """Return sines and cosines of each bar's place, ``(L, width)``."""
    place = torch.arange(length)[:, None]
    pace = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    waves = torch.zeros(length, width)
    waves[:, 0::2] = torch.sin(place * pace)
    waves[:, 1::2] = torch.cos(place * pace[: width // 2])
    return waves
