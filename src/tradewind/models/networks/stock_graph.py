"""A graph over the stocks of a date: who moves with whom by the window itself, and by what was learnt of each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tradewind.models.networks.network import Block, Shape, windows_of
from tradewind.models.networks.recurrent import StaticContext
from tradewind.models.networks.sequences import PRESENT_CHANNEL, RETURN_CHANNEL

_TINY = 1e-6
_FAR = -1e4


class Graph(NamedTuple):
    """What connects the stocks of each date, ``(R, S, S)`` each; nothing connects stocks of different sections.

    Attributes
    ----------
    correlation
        Of the returns of the newest bars of the windows; 0 with itself and where too few bars are common.
    learnt
        Gaussian kernel of the embeddings; each row adds up to one.
    weight
        What messages are weighed with, from the stock of the column to that of the row; a row adds up to at most one.
    """

    correlation: Tensor
    learnt: Tensor
    weight: Tensor


class StockGraph(nn.Module):
    """Adjacency of all windows that end at the same bar: correlations above a threshold, and a learnt part.

    The learnt part is a Gaussian kernel of node embeddings, as in SAMBA (Mehrabian et al. 2024, equation 9), which are
    made of what is static of a stock and of the state that its window left: a stock that was never seen in training has
    one too. Nothing depends on the order of the stocks or on how many there are.

    Parameters
    ----------
    width, embedding
        Of the states that are read, and of a node's embedding.
    bars, threshold
        Correlations are over the newest ``bars`` of a window; those above ``threshold`` are edges, whose weight grows
        from nothing at the threshold, so that rounding cannot switch an edge on or off.
    """

    def __init__(self, shape: Shape, *, width: int, embedding: int, bars: int, threshold: float) -> None:
        super().__init__()
        self.length = shape.length
        self.bars = min(bars, shape.length)
        self.threshold = threshold
        self.place = StaticContext(shape.statics, embedding)
        self.state = nn.Linear(width, embedding)
        self.sharpness = nn.Parameter(torch.zeros(()))
        self.balance = nn.Parameter(torch.zeros(()))

    def forward(self, block: Block, states: Tensor) -> Graph:
        """Return the graph of each date from ``(R, S, width)`` states."""
        others = self.others(block)
        correlation = self.now(block)
        edges = nn.functional.relu(correlation - self.threshold) / (1.0 - self.threshold)
        moving = edges / (1.0 + edges.sum(dim=-1, keepdim=True))  # one for the stock itself: no edge, no jump
        learnt = self._learnt(block, states, others)
        share = torch.sigmoid(self.balance)
        return Graph(correlation, learnt, share * moving + (1.0 - share) * learnt)

    def now(self, block: Block) -> Tensor:
        """Return the correlations of the windows' newest bars, ``(R, S, S)``; 0 as :class:`Graph` says."""
        returns, present = self._newest(block)
        return correlations(returns, present, least=self.bars // 2) * self.others(block)

    def nodes(self, block: Block, states: Tensor) -> Tensor:
        """Return the embeddings that the learnt part is made of, ``(R, S, embedding)``."""
        placed: Tensor = self.place(block.statics) + self.state(states)
        return placed

    def others(self, block: Block) -> Tensor:
        """Return ``(S, S)``: 1 for pairs of different stocks in one section."""
        place = torch.arange(block.values.shape[0], device=block.values.device)
        others = place[:, None] != place[None, :]
        if block.section is not None:
            others = others & (block.section[:, None] == block.section[None, :])
        return others.to(block.values.dtype)

    def _newest(self, block: Block) -> tuple[Tensor, Tensor]:
        """Return the returns and whether there was a bar, ``(R, S, bars)`` each."""
        runs, count = block.future.shape[:2]
        read = block.values[..., [RETURN_CHANNEL, PRESENT_CHANNEL]]
        windows = windows_of(read, self.length, count)[:, self.length - self.bars :]
        both = windows.reshape(runs, count, self.bars, 2).transpose(0, 1)
        return both[..., 0], both[..., 1]

    def _learnt(self, block: Block, states: Tensor, others: Tensor) -> Tensor:
        nodes = self.nodes(block, states)
        square = nodes.square().sum(dim=-1)
        inner = nodes @ nodes.transpose(-1, -2)
        distance = (square[..., :, None] + square[..., None, :] - 2.0 * inner).clamp(min=0.0)
        near = -nn.functional.softplus(self.sharpness) * distance
        return torch.softmax(near + _FAR * (1.0 - others), dim=-1) * others


class GraphLayer(nn.Module):
    """A graph convolution by Chebyshev polynomials (Defferrard et al. 2016) behind a norm, added to its input.

    With the largest eigenvalue taken as 2, the scaled Laplacian of a graph whose rows add up to one is less its
    adjacency; the signs are the weights' to learn.
    """

    def __init__(self, width: int, order: int, dropout: float) -> None:
        super().__init__()
        self.order = order
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.mix = nn.Linear((order + 1) * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, weight: Tensor) -> Tensor:
        """Return ``(R, S, width)`` from the same and the ``(R, S, S)`` weights of messages."""
        terms = [self.norm(states)]
        for place in range(self.order):
            passed = weight @ terms[-1]
            terms.append(passed if place == 0 else 2.0 * passed - terms[-2])
        return states + self.dropout(nn.functional.silu(self.mix(torch.cat(terms, dim=-1))))


def correlations(returns: Tensor, present: Tensor, least: int) -> Tensor:
    """Return Pearson correlations of all pairs over the bars that both have, ``(…, S, S)`` from ``(…, S, B)``.

    0 where a pair has fewer than ``least`` bars in common, or where one did not move.
    """
    moves = returns * present
    there, common = present.transpose(-1, -2), (present @ present.transpose(-1, -2))
    count = common.clamp(min=1.0)
    first, square = moves @ there, moves.square() @ there
    product = moves @ moves.transpose(-1, -2)
    covariance = product - first * first.transpose(-1, -2) / count
    variance = (square - first.square() / count).clamp(min=0.0)
    size = (variance * variance.transpose(-1, -2)).clamp(min=_TINY).sqrt()
    return covariance / size * (common >= least).to(returns.dtype)
