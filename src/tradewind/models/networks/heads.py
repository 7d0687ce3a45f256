"""How a network's last hidden state becomes quantiles and classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tradewind.models.networks.network import rising

#: Share of the usual random weights that a quantile head starts with: at first it says what is true on average.
_QUIET = 0.1


class QuantileHead(nn.Module):
    """A linear layer whose outputs rise over the levels, ``(..., width)`` to ``(..., H, Q)``."""

    def __init__(self, width: int, horizons: int, levels: int) -> None:
        super().__init__()
        self.horizons, self.levels = horizons, levels
        self.linear = nn.Linear(width, horizons * levels)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return rising quantiles."""
        return rising(self.linear(hidden).unflatten(-1, (self.horizons, self.levels)))

    @torch.no_grad()
    def start_at(self, quantiles: Tensor) -> None:
        """Let the untrained head say about these ``(H, Q)`` rising quantiles whatever it is shown."""
        self.linear.weight.mul_(_QUIET)
        self.linear.bias.copy_(free(quantiles).flatten())


class ClassHead(nn.Module):
    """Logits of down, neutral and up, ``(..., width)`` to ``(..., H, 3)``."""

    def __init__(self, width: int, horizons: int) -> None:
        super().__init__()
        self.horizons = horizons
        self.linear = nn.Linear(width, horizons * 3)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits."""
        return self.linear(hidden).unflatten(-1, (self.horizons, 3))

    @torch.no_grad()
    def start_at(self, shares: Tensor) -> None:
        """Let the untrained head say about these ``(H, 3)`` shares whatever it is shown."""
        self.linear.weight.mul_(_QUIET)
        self.linear.bias.copy_(shares.clamp(min=1e-3).log().flatten())


def free(quantiles: Tensor) -> Tensor:
    """Return the free numbers that :func:`rising` turns into these quantiles, ``(..., Q)``; equal steps get apart."""
    middle = quantiles.shape[-1] // 2
    steps = torch.diff(quantiles, dim=-1).clamp(min=1e-3)
    loose = torch.log(torch.expm1(steps))
    return torch.cat([loose[..., :middle], quantiles[..., middle : middle + 1], loose[..., middle:]], dim=-1)
