"""Gated residual networks, alone and many side by side (Lim et al. 2021, section 4.1, equations 2 to 5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tradewind.models.networks import products
from tradewind.models.networks.tft_kernels import gated_norm, raised, worth_it


class _GatedSum(torch.autograd.Function):
    """``skip + value * sigmoid(gate)``, with no more passes over memory on the way back than it needs."""

    @staticmethod
    def forward(ctx: Any, skip: Tensor, value: Tensor, gate: Tensor) -> Tensor:
        share = torch.sigmoid(gate)
        ctx.save_for_backward(value, share)
        return torch.addcmul(skip, value, share)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,), (value, share) = gradients, ctx.saved_tensors
        return gradient, gradient * share, torch.ops.aten.sigmoid_backward(gradient * value, share)


def gated_sum(skip: Tensor, value: Tensor, gate: Tensor, training: bool) -> Tensor:
    """Return ``skip + value * sigmoid(gate)``, all of one shape."""
    if training:
        summed: Tensor = _GatedSum.apply(skip, value, gate)  # type: ignore[no-untyped-call]
        return summed
    return torch.addcmul(skip, value, torch.sigmoid(gate))


class LockedDropout(nn.Module):
    """Dropout whose mask is drawn once per sequence and holds for all of its steps.

    Variational dropout (Gal & Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
    networks", section 4). Drawing a number per step as well costs more CPU time than the layer that it regularises.

    Parameters
    ----------
    rate
        Share of channels dropped.
    steps
        Which axis holds the steps.
    """

    def __init__(self, rate: float, steps: int) -> None:
        super().__init__()
        self.rate, self.steps = rate, steps

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return not self.training or self.rate == 0.0

    def forward(self, values: Tensor) -> Tensor:
        """Drop channels (the last axis)."""
        if self.idle:
            return values
        kept = values.new_ones(values.select(self.steps, 0).shape).unsqueeze(self.steps)
        return values * functional.dropout(kept, self.rate)


class GateAddNorm(nn.Module):
    """``LayerNorm(skip + GLU(x))``, equations 4 and 5, and the gates of equations 17, 20 and 22.

    Values and gates come from two layers instead of the halves of one, so that both lie contiguous in memory.
    """

    def __init__(self, inputs: int, outputs: int, dropout: LockedDropout) -> None:
        super().__init__()
        self.dropout = dropout
        self.value, self.gate = linear(inputs, outputs), linear(inputs, outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Gate ``(…, inputs)`` and add it to ``(…, outputs)``."""
        pairs = ((layer.weight, layer.bias) for layer in (self.value, self.gate))
        return self._gated(self.dropout(x), skip, *pairs)

    def after(self, layer: nn.Linear, x: Tensor, skip: Tensor) -> Tensor:
        """Do the same with what a layer makes of ``x``; without dropout in between, two layers are one."""
        if not self.dropout.idle:
            return self(layer(x), skip)
        return self._gated(x, skip, _joined(layer, self.value), _joined(layer, self.gate))

    def _gated(self, x: Tensor, skip: Tensor, value: tuple[Tensor, Tensor], gate: tuple[Tensor, Tensor]) -> Tensor:
        if worth_it(skip) and not torch.is_grad_enabled():
            weight, offset = (torch.cat(pair) for pair in zip(value, gate, strict=True))
            return gated_norm(skip, products.linear(x, weight), offset, self.norm.weight, self.norm.bias)
        summed = gated_sum(skip, products.linear(x, *value), products.linear(x, *gate), self.training)
        normed: Tensor = self.norm(summed)
        return normed


def _joined(first: nn.Linear, last: nn.Linear) -> tuple[Tensor, Tensor]:
    return last.weight @ first.weight, torch.addmv(last.bias, last.weight, first.bias)


class GatedResidual(nn.Module):
    """A gated residual network, equations 2 to 4; the skip is projected where input and output differ in size."""

    def __init__(self, inputs: int, hidden: int, outputs: int, context: int, dropout: LockedDropout) -> None:
        super().__init__()
        self.first = linear(inputs, hidden)
        self.context = linear(context, hidden, bias=False) if context else None
        self.second = linear(hidden, hidden)
        self.out = GateAddNorm(hidden, outputs, dropout)
        self.skip = linear(inputs, outputs) if inputs != outputs else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Process ``(…, inputs)``; the context must broadcast against it."""
        hidden = products.linear(x, self.first.weight, self.first.bias)
        skip = x if self.skip is None else self.skip(x)
        if self.context is None or context is None:
            return self.finish(hidden, skip)
        added = self.context(context)
        if added.shape[0] == 1 and added.shape[1:] == hidden.shape[1:] and worth_it(hidden):
            return self.out.after(self.second, raised(hidden, added), skip)
        return self.finish(hidden + added, skip)

    def finish(self, hidden: Tensor, skip: Tensor) -> Tensor:
        """Go on from the pre-activation of equation 4 and the skip."""
        return self.out.after(self.second, functional.elu(hidden), skip)


class GatedResiduals(nn.Module):
    """``count`` gated residual networks of one width side by side: batched weights, no loop over them."""

    def __init__(self, count: int, width: int, dropout: float) -> None:
        super().__init__()
        self.first, self.first_bias = stacked(count, width, width), zeros(count, 1, width)
        self.second, self.second_bias = stacked(count, width, width), zeros(count, 1, width)
        self.value, self.value_bias = stacked(count, width, width), zeros(count, 1, width)
        self.gate, self.gate_bias = stacked(count, width, width), zeros(count, 1, width)
        self.scale, self.shift = nn.Parameter(torch.ones(count, 1, width)), zeros(count, 1, width)
        self.dropout = LockedDropout(dropout, steps=2)

    def forward(self, x: Tensor) -> Tensor:
        """Answer ``(count, rows, width)``, each network its own rows, each row a sequence of its own."""
        normed = self.finish(torch.baddbmm(self.first_bias, x, self.first), x, x.shape[1])
        return torch.addcmul(self.shift, normed, self.scale)

    def finish(self, hidden: Tensor, skip: Tensor, sequences: int) -> Tensor:
        """Go on from the pre-activation; return the normed answer before scale and shift.

        ``sequences`` is how many sequences the rows are made of; each has its own dropout mask.
        """
        x = functional.elu(hidden)
        if self.dropout.idle:
            value, gate = (self._joined(*last, x) for last in self._last())
        else:
            x = torch.baddbmm(self.second_bias, x, self.second)
            x = self.dropout(x.view(x.shape[0], sequences, -1, x.shape[-1])).view(x.shape)
            value, gate = (torch.baddbmm(bias, x, weight) for weight, bias in self._last())
        return functional.layer_norm(gated_sum(skip, value, gate, self.training), skip.shape[-1:])

    def gates(self, raised: Tensor, sequences: int) -> tuple[Tensor, Tensor]:
        """Return values and gates of ``(count, width, rows)`` side by side, and what is still to be added to them.

        They are ``(count, 2 * width, rows)`` and ``(count, 2 * width)``.
        """
        last, offset = (torch.cat(pair, -1) for pair in zip(*self._last(), strict=True))
        if self.dropout.idle:
            joined, between = torch.bmm(self.second, last), torch.baddbmm(offset, self.second_bias, last)
            return torch.bmm(joined.transpose(1, 2), raised), between.squeeze(1)
        x = torch.baddbmm(self.second_bias.transpose(1, 2), self.second.transpose(1, 2), raised)
        x = self.dropout(x.view(*x.shape[:2], sequences, -1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return torch.bmm(last.transpose(1, 2), x.view_as(raised)), offset.squeeze(1)

    def _last(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.value, self.value_bias), (self.gate, self.gate_bias)

    def _joined(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return torch.baddbmm(torch.baddbmm(bias, self.second_bias, weight), x, torch.bmm(self.second, weight))


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
