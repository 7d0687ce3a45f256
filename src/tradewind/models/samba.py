"""Mamba over the bars and a graph over the stocks (playbook row C11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tradewind.errors import InputError
from tradewind.models.base import Windows, register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape
    from tradewind.models.networks.samba import Samba as SambaNetwork

_TOLD = 3


@register
@dataclass(eq=False, kw_only=True)
class Samba(SequenceModel):
    """SAMBA-style graph-Mamba (after Mehrabian et al. 2024) whose nodes are the stocks of a date, not features.

    All members of the universe with a bar and a readable window are in the graph of a date, whoever is asked about; a
    date with fewer than two has no forecast. Edges are correlations of the newest bars, and a learnt kernel of what
    is known of each stock.

    Parameters
    ----------
    width, layers, dropout
        Of the Mamba layers, which read a window both ways, and of the graph layers; row C11 asks for width 128.
    graph_layers, order
        Graph layers, and the order of their Chebyshev polynomials.
    embedding
        Of a stock in the learnt adjacency.
    correlation_bars, least_correlation
        Newest bars that are correlated, and above what a pair is an edge.
    d_state, d_conv, expand, checkpointing
        As in ``mamba_stock``.
    run_windows, run_stride_bars
        Must be 1: what is learnt from are whole dates, as many as fit into ``batch_windows`` (at least one).
    """

    name: ClassVar[str] = "samba"
    whole_dates: ClassVar[bool] = True
    window_bars: int = 30
    run_windows: int = 1
    run_stride_bars: int = 1
    width: int = 32
    layers: int = 2
    dropout: float = 0.3
    graph_layers: int = 4
    order: int = 2
    embedding: int = 8
    correlation_bars: int = 30
    least_correlation: float = 0.3
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    checkpointing: bool = False

    def __post_init__(self) -> None:
        """Refuse runs, which a graph of one date has no use for."""
        super().__post_init__()
        if self.run_windows != 1 or self.run_stride_bars != 1:
            raise InputError(
                f"'samba' reads whole dates: run_windows = {self.run_windows} and run_stride_bars = "
                f"{self.run_stride_bars} must be 1"
            )

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks import samba

        return samba.Samba(
            shape,
            width=self.width,
            layers=self.layers,
            dropout=self.dropout,
            graph_layers=self.graph_layers,
            order=self.order,
            embedding=self.embedding,
            correlation_bars=self.correlation_bars,
            least_correlation=self.least_correlation,
            d_state=self.d_state,
            d_conv=self.d_conv,
            expand=self.expand,
            checkpointing=self.checkpointing,
        )

    def explain(self, windows: Windows) -> dict[str, Any]:
        """Return also ``neighbours``: whom each stock heard most at the newest date, with weight and correlation."""
        from tradewind.models.networks.forecaster import newest_runs

        told = super().explain(windows)
        runs = newest_runs(self.fitted_, windows, at_most=1)
        if runs is None:
            return told
        network = cast("SambaNetwork", self.fitted_.networks[0])
        graph = network.neighbours(self.fitted_.read(windows, 1).block(runs, self.window_bars))
        names = [windows.panel.symbols[column] for column in runs.column]
        strongest = graph.weight[0].argsort(dim=-1, descending=True, stable=True)[:, : min(_TOLD, len(names) - 1)]
        neighbours = {
            name: {
                names[other]: {
                    "weight": round(float(graph.weight[0, place, other]), 5),
                    "correlation": round(float(graph.correlation[0, place, other]), 5),
                }
                for other in strongest[place].tolist()
            }
            for place, name in enumerate(names)
            if runs.sample[place, 0] >= 0
        }
        return {**told, "neighbours": neighbours}
