"""Mamba over the bars of each stock, then graph layers over the stocks of each date."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.mamba import Mamba, run_layer
from tradewind.models.networks.mamba_stock import BidirectionalLayer
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of
from tradewind.models.networks.recurrent import Answer, StaticContext
from tradewind.models.networks.stock_graph import Graph, GraphLayer, StockGraph


class Samba(Network):
    """Graph-Mamba over stocks, after SAMBA (Mehrabian, Hoseinzade, Mazloum & Chen 2024, arXiv:2410.03707).

    SAMBA's nodes are the features of one index, its adjacency is learnt alone, and each node has weights of its own.
    Here the nodes are the stocks of a date, their returns' correlations are edges too, and weights are shared: the
    stocks of tomorrow are not those of today. From SAMBA are the layers that read bars both ways, the Gaussian kernel
    of learnable embeddings as adjacency, and Chebyshev graph convolutions.

    Parameters
    ----------
    width, layers, dropout
        Of every state, of the Mamba layers, and the share dropped in training.
    graph_layers, order
        Graph layers, and the order of their polynomials: how many neighbours of neighbours a layer hears.
    embedding
        Of a node, for the learnt adjacency.
    correlation_bars, least_correlation
        See :class:`~tradewind.models.networks.stock_graph.StockGraph`.
    d_state, d_conv, expand
        Of each Mamba block; the two of a layer read in opposite directions.
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
        graph_layers: int,
        order: int,
        embedding: int,
        correlation_bars: int,
        least_correlation: float,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check(graph_layers, order, embedding, correlation_bars, least_correlation)
        self.shape = shape
        self.checkpointing = checkpointing
        self.enter = nn.Linear(shape.inputs, width)
        self.layers = nn.ModuleList(
            [
                BidirectionalLayer(
                    Mamba(width, d_state, d_conv, expand), Mamba(width, d_state, d_conv, expand), dropout
                )
                for _ in range(layers)
            ]
        )
        self.ends = nn.Linear(2 * width, width)
        self.graph = StockGraph(
            shape, width=width, embedding=embedding, bars=correlation_bars, threshold=least_correlation
        )
        self.graph_layers = nn.ModuleList([GraphLayer(width, order, dropout) for _ in range(graph_layers)])
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.context = StaticContext(shape.statics, width)
        self.answer = Answer(shape, width, dropout)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)

    def forward(self, block: Block) -> Outputs:
        """Answer every window; all windows of one section that end at the same bar are nodes of one graph."""
        states = self._read(block)
        weight = self.graph(block, states).weight
        for layer in self.graph_layers:
            states = layer(states, weight)
        hidden = self.norm(states).transpose(0, 1).flatten(0, 1)
        return self.answer(hidden, self.context(block.statics), block.future)

    @torch.no_grad()
    def neighbours(self, block: Block) -> Graph:
        """Return the graphs that the forecasts were made on."""
        graph: Graph = self.graph(block, self._read(block))
        return graph

    def _read(self, block: Block) -> Tensor:
        """Return what reading each window both ways leaves at its two ends, ``(R, S, width)``."""
        runs, count = block.future.shape[:2]
        states = windows_of(self.enter(block.values), self.shape.length, count)
        for layer in self.layers:
            states = run_layer(layer, states, self.checkpointing)
        ends = self.ends(torch.cat([states[:, -1], states[:, 0]], dim=-1))
        return ends.view(runs, count, -1).transpose(0, 1)


def _check(graph_layers: int, order: int, embedding: int, bars: int, least: float) -> None:
    for name, size in {"graph_layers": graph_layers, "order": order, "embedding": embedding}.items():
        if size < 1:
            raise InputError(f"{name} = {size} must be 1 or more")
    if bars < 3 or not 0 <= least < 1:
        raise InputError(
            f"correlations above {least} over {bars} bars make no graph",
            hint="correlation_bars is 3 or more, least_correlation lies in [0, 1)",
        )
