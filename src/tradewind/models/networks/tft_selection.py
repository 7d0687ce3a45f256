"""Variable selection networks (Lim et al. 2021, section 4.2, equations 6 to 8), all variables in one operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tradewind.models.networks.tft_gating import GatedResidual, GatedResiduals, LockedDropout
from tradewind.models.networks.tft_kernels import lifted, selected, worth_it


class NumericSelection(nn.Module):
    """Embed numeric variables, process each by a network of its own and weigh them by a context.

    An embedding ``x w + b`` is followed by linear maps (of the variable's own network, and of the one that finds the
    weights), so that these are applied to ``w`` and ``b`` once, not to every row: exact, and the ``variables * width``
    numbers of a row that equation 6 takes in are never written down.
    """

    def __init__(self, variables: int, width: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(variables, 1, width).uniform_(-1.0, 1.0))
        self.bias = nn.Parameter(torch.empty(variables, 1, width).uniform_(-1.0, 1.0))
        self.each = GatedResiduals(variables, width, dropout)
        self.weights = GatedResidual(variables * width, width, variables, width, LockedDropout(dropout, steps=1))

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Select from ``(S, T, V)`` given ``(S, 1, width)``; return ``(S, T, width)`` and the weights ``(S, T, V)``."""
        weights = functional.softmax(self._scores(x, context), -1)
        if worth_it(x, self.weight.shape[-1]):
            return self._fused(x, weights).view(*x.shape[:2], -1), weights
        columns = x.flatten(0, 1).t().unsqueeze(-1)
        hidden = torch.baddbmm(self._through(self.bias) + self.each.first_bias, columns, self._through(self.weight))
        skip = torch.baddbmm(self.bias, columns, self.weight)
        normed = self.each.finish(hidden, skip, x.shape[0])
        return self._weighted(normed, weights.flatten(0, 1)).view(*x.shape[:2], -1), weights

    def _fused(self, x: Tensor, weights: Tensor) -> Tensor:
        """Do the same with kernels that take channels before rows, ``(rows, width)``."""
        x, sequences = x.flatten(0, 1).t().contiguous(), x.shape[0]
        weight, bias = self.weight.squeeze(1), self.bias.squeeze(1)
        first = self.each.first_bias + self._through(self.bias)
        raised = lifted(x, self._through(self.weight).squeeze(1), first.squeeze(1))
        both, offset = self.each.gates(raised, sequences)
        scale, shift = self.each.scale.squeeze(1), self.each.shift.squeeze(1)
        return selected(x, weight, bias, both, offset, scale, shift, weights.flatten(0, 1).t()).t()

    def _through(self, embedding: Tensor) -> Tensor:
        return torch.bmm(embedding, self.each.first)

    def _scores(self, x: Tensor, context: Tensor) -> Tensor:
        assert self.weights.context is not None
        assert self.weights.skip is not None
        hidden = self._of_all(x, self.weights.first) + self.weights.context(context)
        return self.weights.finish(hidden, self._of_all(x, self.weights.skip))

    def _of_all(self, x: Tensor, layer: nn.Linear) -> Tensor:
        """Apply a layer to the embeddings of all variables side by side."""
        matrices = layer.weight.view(layer.out_features, x.shape[-1], -1)
        slope = (matrices * self.weight.squeeze(1)).sum(-1)
        offset = (matrices * self.bias.squeeze(1)).sum((1, 2))
        return functional.linear(x, slope, offset + layer.bias)

    def _weighted(self, normed: Tensor, weights: Tensor) -> Tensor:
        """Sum ``(V, rows, width)`` over the variables; scale and shift of the norm are applied on the way."""
        total = (normed * self.each.scale * weights.t().unsqueeze(-1)).sum(0)
        return torch.addmm(total, weights, self.each.shift.squeeze(1))


class CategorySelection(nn.Module):
    """Embed categories, process each and weigh them; static, without context.

    Category 0 is whatever was not seen in training; there, categories are replaced by it at the rate of the dropout.
    """

    def __init__(self, sizes: tuple[int, ...], width: int, dropout: float) -> None:
        super().__init__()
        self.rate = dropout
        self.embeddings = nn.ModuleList([nn.Embedding(size, width) for size in sizes])
        self.each = GatedResiduals(len(sizes), width, dropout)
        self.weights = GatedResidual(len(sizes) * width, width, len(sizes), 0, LockedDropout(dropout, steps=1))
        for table in self.embeddings:
            nn.init.zeros_(table.weight[0])  # type: ignore[index]

    def forward(self, categories: Tensor) -> tuple[Tensor, Tensor]:
        """Select from ``(S, C)`` categories; return ``(S, width)`` and the weights ``(S, C)``."""
        known = self._sometimes_unseen(categories).unbind(1)
        embedded = torch.stack([table(of) for table, of in zip(self.embeddings, known, strict=True)])
        side_by_side = embedded.transpose(0, 1).flatten(1).unsqueeze(1)
        weights = functional.softmax(self.weights(side_by_side).squeeze(1), -1)
        return (self.each(embedded) * weights.t().unsqueeze(-1)).sum(0), weights

    def _sometimes_unseen(self, categories: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return categories
        return torch.where(torch.rand(categories.shape, device=categories.device) < self.rate, 0, categories)
