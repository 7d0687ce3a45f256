"""Mamba over the bars of each stock, then graph layers over the stocks of each date."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.mamba import Mamba, run_layer
from tradewind.models.networks.mamba_stock import BidirectionalLayer
from tradewind.models.networks.network import Block, Network, Outputs, Shape, windows_of
from tradewind.models.networks.pair_head import SCORES, PairHead
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
    next_correlations
        Whether the network also says how each pair will be correlated, see :meth:`with_pairs`.
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
        next_correlations: bool = False,
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
        self.pairs = PairHead(width, embedding) if next_correlations else None  # last: it moves no other random start

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads say so."""
        self.answer.start_at(quantiles, shares)

    def forward(self, block: Block) -> Outputs:
        """Answer every window; all windows of one section that end at the same bar are nodes of one graph."""
        read = self._read(block)
        return self._answer(block, self._heard(read, self.graph(block, read).weight))

    def with_pairs(self, block: Block) -> tuple[Outputs, Tensor]:
        """Return also Fisher's z of the next correlations, ``(R, S, S)``: symmetric, 0 but between stocks of a section.

        Raises
        ------
        InputError
            A network that was built without.
        """
        if self.pairs is None:
            raise InputError("this network forecasts no correlations", hint="train one with correlation_weight above 0")
        read = self._read(block)
        graph = self.graph(block, read)
        heard = self._heard(read, graph.weight)
        told = self.pairs(graph.correlation, heard, self.graph.nodes(block, read))
        return self._answer(block, heard), told * self.graph.others(block)

    @torch.no_grad()
    def neighbours(self, block: Block) -> Graph:
        """Return the graphs that the forecasts were made on."""
        graph: Graph = self.graph(block, self._read(block))
        return graph

    def pair_scores(self) -> dict[str, float | None]:
        """Return the mean squared errors of Fisher's z that training was judged by; None where no pair was resolved."""
        scores = [torch.nan] * len(SCORES) if self.pairs is None else self.pairs.scores.tolist()
        return {name: round(score, 6) if score == score else None for name, score in zip(SCORES, scores, strict=True)}

    def _heard(self, states: Tensor, weight: Tensor) -> Tensor:
        """Return the states after the graph layers, ``(R, S, width)``."""
        for layer in self.graph_layers:
            states = layer(states, weight)
        heard: Tensor = self.norm(states)
        return heard

    def _answer(self, block: Block, heard: Tensor) -> Outputs:
        hidden = heard.transpose(0, 1).flatten(0, 1)
        said: Outputs = self.answer(hidden, self.context(block.statics), block.future)
        return said

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
