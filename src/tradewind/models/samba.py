"""Mamba over the bars and a graph over the stocks (playbook row C11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.models.base import Windows, register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape
    from tradewind.models.networks.samba import Samba as SambaNetwork
    from tradewind.models.networks.sequences import Runs
    from tradewind.models.networks.training import Auxiliary

_TOLD, _TOLD_PAIRS = 3, 5
_FEWEST_BARS = 8


class Correlations(NamedTuple):
    """How the stocks of a date will be correlated over the next bars, and how they were.

    Attributes
    ----------
    symbols
        The stocks in the graph of the date, ``S``.
    forecast
        ``(S, S)``, positive semi-definite with ones on its diagonal.
    naive
        ``(S, S)`` exponentially weighted correlations of the past (decay 0.94); NaN with fewer than ten common bars.
    """

    symbols: tuple[str, ...]
    forecast: NDArray[np.float64]
    naive: NDArray[np.float64]


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
    next_correlation_bars, correlation_weight
        Over how many next bars the correlation of each pair is forecast too, and what the squared error of its Fisher z
        weighs beside the pinball loss; 0: no correlations are forecast.
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
    next_correlation_bars: int = 20
    correlation_weight: float = 0.2
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
        if self.next_correlation_bars < _FEWEST_BARS or not self.correlation_weight >= 0:
            raise InputError(
                f"correlations over the next {self.next_correlation_bars} bars with the weight "
                f"{self.correlation_weight} cannot be learnt",
                hint=f"next_correlation_bars is {_FEWEST_BARS} or more, correlation_weight not below 0",
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
            next_correlations=self.correlation_weight > 0,
        )

    def correlations(self, windows: Windows) -> Correlations:
        """Return the next correlations of all stocks in the graph of the newest date, whoever is asked about.

        Raises
        ------
        InputError
            A model that was trained with ``correlation_weight = 0``.
        DataError
            None of the samples' dates has a graph.
        """
        from tradewind.models.networks.forecaster import newest_runs
        from tradewind.models.networks.next_correlations import past_correlation, scaled_moves
        from tradewind.stats.correlation_matrix import positive_semidefinite

        if not self.correlation_weight:
            raise InputError(
                "this 'samba' was trained without correlations", hint="train it with correlation_weight above 0"
            )
        runs = newest_runs(self.fitted_, windows, at_most=1)
        if runs is None:
            raise DataError(
                f"none of {len(windows.rows)} samples is in a graph of two stocks or more",
                hint="ask for members of the universe with a bar and enough of a window",
            )
        symbols = tuple(windows.panel.symbols[column] for column in runs.column)
        past = past_correlation(scaled_moves(windows), int(runs.last[0]), runs.column)
        return Correlations(symbols, positive_semidefinite(self._pairs(windows, runs)[0]), past)

    def _pairs(self, windows: Windows, runs: Runs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the next correlations of the pairs of a date, one by one, and those of their windows."""
        import torch

        from tradewind.models.networks.next_correlations import from_z
        from tradewind.models.networks.training import threads

        block = self.fitted_.read(windows, 1).block(runs, self.window_bars)
        block = block._replace(values=block.values.double(), future=block.future.double())
        networks = cast("tuple[SambaNetwork, ...]", self.fitted_.precise)
        with threads(self.threads), torch.inference_mode():
            told = torch.stack([network.with_pairs(block)[1][-1] for network in networks]).mean(dim=0)
            window = networks[0].graph.now(block)[-1]
        return from_z(told.numpy()), window.numpy()

    def _auxiliary(self, windows: Windows) -> Auxiliary | None:
        if not self.correlation_weight:
            return None
        from tradewind.models.networks.next_correlations import NextCorrelations

        return NextCorrelations.of(windows, self.next_correlation_bars, self.correlation_weight)

    def explain(self, windows: Windows) -> dict[str, Any]:
        """Return also ``neighbours``: whom each stock heard most at the newest date, with weight and correlation.

        And ``correlations``, where they are forecast: the pairs of asked stocks whose next correlation is forecast
        farthest from their window's, and the mean squared error of Fisher's z over the late part of the training, by
        network: of the forecast, of the window's shrunk by a straight line, and of the past with exponential weights.
        The late part also chose the epoch, so the forecast's is a little too good.
        """
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
        correlations = self._told_pairs(windows, runs, names) if self.correlation_weight else {}
        return {**told, "neighbours": neighbours, **correlations}

    def _told_pairs(self, windows: Windows, runs: Runs, names: Sequence[str]) -> dict[str, Any]:
        forecast, window = self._pairs(windows, runs)
        asked = runs.sample[:, 0] >= 0
        one, other = np.triu_indices(len(names), 1)
        one, other = (side[asked[one] | asked[other]] for side in (one, other))
        farthest = np.argsort(-np.abs(forecast - window)[one, other], kind="stable")[:_TOLD_PAIRS]
        changes = [
            {
                "pair": sorted((names[i], names[j])),
                "forecast": round(float(forecast[i, j]), 5),
                "window": round(float(window[i, j]), 5),
            }
            for i, j in zip(one[farthest].tolist(), other[farthest].tolist(), strict=True)
        ]
        scores = [cast("SambaNetwork", network).pair_scores() for network in self.fitted_.networks]
        return {"correlations": {"bars": self.next_correlation_bars, "changes": changes, "late_squared_error": scores}}
