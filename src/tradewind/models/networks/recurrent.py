"""Long short-term memory (Hochreiter & Schmidhuber 1997) and gated recurrent units (Cho et al. 2014) over windows."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tradewind.models.networks.heads import ClassHead, QuantileHead
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of


class StaticContext(nn.Module):
    """Embeddings of ticker, sector and price tier, added up; an unseen category says nothing until it is learnt."""

    def __init__(self, statics: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(count, width) for count in statics])
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.02)  # type: ignore[arg-type]

    def forward(self, statics: Tensor) -> Tensor:
        """Return ``(S, width)``."""
        parts = [embedding(statics[:, place]) for place, embedding in enumerate(self.embeddings)]
        return torch.stack(parts).sum(dim=0)


class Recurrent(Network):
    """A recurrent network over each window; its last state, with what is static and known beforehand, answers.

    Parameters
    ----------
    kind
        ``"lstm"`` or ``"gru"``.
    width, layers, dropout
        Of the recurrence.
    """

    def __init__(self, shape: Shape, *, kind: Literal["lstm", "gru"], width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        cell = nn.LSTM if kind == "lstm" else nn.GRU
        self.enter = nn.Linear(shape.inputs, width)
        self.cell = cell(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def forward(self, block: Block) -> Outputs:
        """Answer every window; what enters the recurrence is computed once for every row of a run."""
        rows = nn.functional.silu(self.enter(block.values))
        states, _ = self.cell(windows_of(rows, self.shape.length, block.future.shape[1]))
        return self.answer(states[:, -1], self.context(block.statics), block.future)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)


class Answer(nn.Module):
    """The last hidden state of each window, what is static and what is known beforehand, to the outputs."""

    def __init__(self, shape: Shape, width: int, dropout: float) -> None:
        super().__init__()
        self.shape = shape
        known = shape.horizons * shape.future
        self.mix = nn.Sequential(
            nn.LayerNorm(2 * width + known), nn.Linear(2 * width + known, width), nn.SiLU(), nn.Dropout(dropout)
        )
        self.quantiles = QuantileHead(width, shape.horizons, shape.levels)
        self.classes = ClassHead(width, shape.horizons) if shape.classes else None

    def forward(self, hidden: Tensor, context: Tensor, future: Tensor) -> Outputs:
        """Return the outputs of ``(S * R, width)`` hidden states, as ``(S, R, …)``."""
        runs, count = future.shape[:2]
        states = hidden.view(runs, count, -1)
        fixed = context[:, None].expand(runs, count, context.shape[-1])
        mixed = self.mix(torch.cat([states, fixed, future.flatten(2)], dim=-1))
        return Outputs(self.quantiles(mixed), None if self.classes is None else self.classes(mixed))

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let both heads begin with what is true on average."""
        self.quantiles.start_at(quantiles)
        if self.classes is not None and shares is not None:
            self.classes.start_at(shares)
