"""Gated residual networks, alone and many side by side (Lim et al. 2021, section 4.1, equations 2 to 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LockedDropout(nn.Module):
    """Dropout whose mask is drawn once per sequence and holds for all of its steps.

    Variational dropout (Gal & Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
    networks", section 4). Drawing a number per step as well costs more CPU time than the layer that it regularises.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Drop whole channels of ``(..., steps, channels)``."""
        if not self.training or self.rate == 0.0:
            return values
        kept = values.new_ones(*values.shape[:-2], 1, values.shape[-1])
        return values * functional.dropout(kept, self.rate)


class GateAddNorm(nn.Module):
    """``LayerNorm(skip + GLU(x))``, equations 4 and 5, and the gates of equations 17, 20 and 22."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = LockedDropout(dropout)
        self.gate = linear(inputs, 2 * outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Gate ``(..., steps, inputs)`` and add it to ``(..., steps, outputs)``."""
        normed: Tensor = self.norm(functional.glu(self.gate(self.dropout(x)), -1) + skip)
        return normed


class GatedResidual(nn.Module):
    """A gated residual network, equations 2 to 4; the skip is projected where input and output differ in size."""

    def __init__(self, inputs: int, hidden: int, outputs: int, context: int, dropout: float) -> None:
        super().__init__()
        self.first = linear(inputs, hidden)
        self.context = linear(context, hidden, bias=False) if context else None
        self.second = linear(hidden, hidden)
        self.out = GateAddNorm(hidden, outputs, dropout)
        self.skip = linear(inputs, outputs) if inputs != outputs else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Process ``(..., steps, inputs)``; the context must broadcast against it."""
        hidden = self.first(x)
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context)
        return self.finish(hidden, x if self.skip is None else self.skip(x))

    def finish(self, hidden: Tensor, skip: Tensor) -> Tensor:
        """Go on from the pre-activation of equation 4 and the skip."""
        finished: Tensor = self.out(self.second(functional.elu(hidden)), skip)
        return finished


class GatedResiduals(nn.Module):
    """``count`` gated residual networks of one width side by side: batched weights, no loop over them."""

    def __init__(self, count: int, width: int, dropout: float) -> None:
        super().__init__()
        self.first, self.first_bias = stacked(count, width, width), zeros(count, 1, width)
        self.second, self.second_bias = stacked(count, width, width), zeros(count, 1, width)
        self.gate, self.gate_bias = stacked(count, width, 2 * width), zeros(count, 1, 2 * width)
        self.scale, self.shift = nn.Parameter(torch.ones(count, 1, width)), zeros(count, 1, width)
        self.dropout = LockedDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Answer ``(count, rows, width)``, each network its own rows, each row a sequence of its own."""
        return self.scaled(self.finish(torch.baddbmm(self.first_bias, x, self.first), x, x.shape[1]))

    def finish(self, hidden: Tensor, skip: Tensor, sequences: int) -> Tensor:
        """Go on from the pre-activation; return the normed answer before scale and shift.

        ``sequences`` is how many sequences the rows are made of; each has its own dropout mask.
        """
        second = torch.baddbmm(self.second_bias, functional.elu(hidden), self.second)
        second = self.dropout(second.view(second.shape[0], sequences, -1, second.shape[-1])).flatten(1, 2)
        gated = functional.glu(torch.baddbmm(self.gate_bias, second, self.gate), -1)
        return functional.layer_norm(gated + skip, skip.shape[-1:])

    def scaled(self, normed: Tensor) -> Tensor:
        """Apply each network's own scale and shift."""
        return torch.addcmul(self.shift, normed, self.scale)


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer with Glorot's uniform weights and no offset at first."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def stacked(count: int, inputs: int, outputs: int) -> nn.Parameter:
    """Return ``(count, inputs, outputs)`` weights, each matrix Glorot uniform."""
    reach = (6.0 / (inputs + outputs)) ** 0.5
    return nn.Parameter(torch.empty(count, inputs, outputs).uniform_(-reach, reach))


def zeros(*shape: int) -> nn.Parameter:
    """Return parameters that start at zero."""
    return nn.Parameter(torch.zeros(*shape))
