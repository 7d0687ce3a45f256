"""A Transformer encoder (Vaswani et al. 2017, pre-norm: Xiong et al. 2020) over each window."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of
from tradewind.models.networks.recurrent import Answer, StaticContext


class Transformer(Network):
    """Self-attention over the bars of a window; the newest bar's state answers.

    Only that state is asked for, so the last layer computes it alone.

    Parameters
    ----------
    width, heads, layers, dropout
        Of the encoder; the feed-forward part is twice as wide.
    """

    position: Tensor

    def __init__(self, shape: Shape, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} cannot be shared among {heads} heads")
        self.shape = shape
        self.enter = nn.Linear(shape.inputs, width)
        self.layers = nn.ModuleList([EncoderLayer(width, heads, dropout) for _ in range(layers)])
        self.leave = nn.LayerNorm(width)
        self.register_buffer("position", positions(shape.length, width), persistent=False)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def forward(self, block: Block) -> Outputs:
        """Answer every window; what enters the encoder is computed once for every row of a run."""
        states = windows_of(self.enter(block.values), self.shape.length, block.future.shape[1]) + self.position
        last = len(self.layers) - 1
        for place, layer in enumerate(self.layers):
            states = layer(states, 1 if place == last else self.shape.length)
        return self.answer(self.leave(states[:, -1]), self.context(block.statics), block.future)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)


class EncoderLayer(nn.Module):
    """Attention and a feed-forward part, each behind its own normalisation and around a shortcut."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.share = heads, dropout
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.merge = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, newest: int) -> Tensor:
        """Return the states of the ``newest`` bars, ``(B, L, width)`` to ``(B, newest, width)``."""
        asked = states[:, -newest:]
        seen = self.before_attention(states)
        key, value = self.key_value(seen).chunk(2, dim=-1)
        query = self.query(seen[:, -newest:])
        share = self.share if self.training else 0.0
        query, key, value = self._split(query), self._split(key), self._split(value)
        met = nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=share)
        asked = asked + self.dropout(self.merge(met.transpose(1, 2).flatten(2)))
        return asked + self.dropout(self.feed(self.before_feed(asked)))

    def _split(self, states: Tensor) -> Tensor:
        return states.view(states.shape[0], states.shape[1], self.heads, -1).transpose(1, 2)


def positions(length: int, width: int) -> Tensor:
    """Return sines and cosines of each bar's place, ``(L, width)``."""
    place = torch.arange(length)[:, None]
    pace = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    waves = torch.zeros(length, width)
    waves[:, 0::2] = torch.sin(place * pace)
    waves[:, 1::2] = torch.cos(place * pace[: width // 2])
    return waves
