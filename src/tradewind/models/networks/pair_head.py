"""What a network says of the correlation of each pair of stocks over the bars after a date."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Correlations beyond are taken as far as this, where Fisher's z is still of the size of the others.
FARTHEST = 0.99
_QUIET = 0.1
SCORES = ("forecast", "shrunk_window", "naive")
"""What a trained head is judged with, in order."""


def fisher_z(correlation: Tensor) -> Tensor:
    """Return the inverse hyperbolic tangent of correlations, at most that of 0.99 (Fisher 1921)."""
    return torch.atanh(correlation.clamp(-FARTHEST, FARTHEST))


class PairHead(nn.Module):
    """Fisher's z of every pair's next correlation: a straight line of the window's own, and a term of both stocks.

    The term is ``u_i' D u_j`` with a diagonal ``D`` of alternating signs, so that two stocks that are alike can be told
    to move apart as well as together. ``u`` is made of the state after the graph layers and of the embedding that the
    learnt adjacency is made of: what helps to tell who will move with whom also says who is heard.

    Attributes
    ----------
    line
        Slope and offset of the line.
    begun
        The line that training began with: the window's correlation, shrunk as the early part of the training says.
    scores
        Mean squared error of Fisher's z over the late part of the training: of the network, of ``begun``, and of the
        exponentially weighted correlation of the past. NaN until it was judged.
    """

    begun: Tensor
    scores: Tensor

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.state = nn.Linear(width, embedding)
        self.mix = nn.Linear(embedding, embedding)
        self.line = nn.Parameter(torch.tensor([0.5, 0.0]))
        self.register_buffer("begun", torch.tensor([0.5, 0.0]))
        self.register_buffer("scores", torch.full((len(SCORES),), torch.nan))
        self.register_buffer("signs", 1.0 - 2.0 * (torch.arange(embedding) % 2), persistent=False)
        with torch.no_grad():
            self.mix.weight.mul_(math.sqrt(_QUIET))
            self.mix.bias.zero_()

    def forward(self, correlation: Tensor, states: Tensor, nodes: Tensor) -> Tensor:
        """Return ``(R, S, S)`` from the windows' own, ``(R, S, width)`` states and ``(R, S, embedding)`` nodes."""
        both = self.mix(nn.functional.silu(self.state(states) + nodes))
        inner = (both * self.signs) @ both.transpose(-1, -2)
        slope, offset = self.line
        told = slope * fisher_z(correlation) + offset + (inner + inner.transpose(-1, -2)) / 2
        farthest = math.atanh(FARTHEST)
        return told.clamp(-farthest, farthest)

    @torch.no_grad()
    def start_at(self, line: Tensor) -> None:
        """Begin with this slope and offset."""
        self.line.copy_(line)
        self.begun.copy_(line)
