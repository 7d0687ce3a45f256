"""The correlations of the bars after each date as a further target of a graph of stocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tradewind.errors import DataError
from tradewind.models.networks.network import Block, Outputs
from tradewind.models.networks.pair_head import FARTHEST, fisher_z
from tradewind.models.networks.sequences import bar_channels
from tradewind.models.networks.stock_graph import correlations
from tradewind.stats.correlation_matrix import ewma_correlation

if TYPE_CHECKING:
    from tradewind.models.base import Windows
    from tradewind.models.networks.network import Network
    from tradewind.models.networks.pair_head import PairHead
    from tradewind.models.networks.samba import Samba
    from tradewind.models.networks.sequences import Runs
    from tradewind.models.networks.training import Examples

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DATES = 64
_PAST_BARS = 100
_LOST = 3
"""Fisher's z of ``n`` bars has the variance ``1 / (n - 3)``."""


@dataclass(frozen=True, eq=False)
class NextCorrelations:
    """Realised correlations over the next bars, between the samples of one date.

    A label is known where all of its bars have passed by the panel's last one; it is made of the same returns that the
    graph correlates, in units of the volatility known before each bar.

    Attributes
    ----------
    moves
        ``(T, N)`` float32 scaled returns; NaN where there was none.
    rows, columns
        ``(n,)`` the samples.
    reach_bars
        Over how many bars.
    weight
        Of the squared error of Fisher's z in the loss.
    """

    moves: Tensor
    rows: IntArray
    columns: IntArray
    reach_bars: int
    weight: float

    @classmethod
    def of(cls, windows: Windows, bars: int, weight: float) -> NextCorrelations:
        """Return those of the samples."""
        return cls(scaled_moves(windows), windows.rows, windows.columns, bars, weight)

    def __call__(self, network: Network, block: Block, sample: IntArray) -> tuple[Outputs, Tensor]:
        """Return what the network says and the weighted squared error of its pairs; 0 where no pair's is known."""
        outputs, said = cast("Samba", network).with_pairs(block)
        truth, weight = (part.to(said.device) for part in self.after(sample[:, -1]))
        error = (said[-1] - truth).square()
        return outputs, self.weight * (error * weight).sum() / weight.sum().clamp(min=1e-6)

    def after(self, sample: IntArray) -> tuple[Tensor, Tensor]:
        """Return Fisher's z of each pair's realised correlation and its weight, ``(S, S)`` each, of ``(S,)`` samples.

        The weight is the number of common bars less three, in units of all of them: the inverse of the variance of the
        truth itself. It is nothing where fewer than half of the bars are common, where one stock did not move, for
        pairs of different dates, and where -1 stands for who was not asked for.
        """
        row, column = self.rows[np.maximum(sample, 0)], self.columns[np.maximum(sample, 0)]
        resolved = (sample >= 0) & (row + self.reach_bars < len(self.moves))
        ahead = np.minimum(row[:, None] + np.arange(1, self.reach_bars + 1), len(self.moves) - 1)
        moves = self.moves[ahead, column[:, None]]
        moved = torch.from_numpy(resolved) & (moves.nan_to_num().abs().amax(dim=-1) > 0)
        present = (moves.isfinite() & moved[:, None]).to(moves.dtype)
        least = self.reach_bars // 2
        truth = fisher_z(correlations(moves.nan_to_num(), present, least))
        common = present @ present.T
        date = torch.from_numpy(row)
        pair = (date[:, None] == date[None, :]) & (common >= least)
        pair.fill_diagonal_(False)
        return truth, torch.where(pair, (common - _LOST) / (self.reach_bars - _LOST), 0.0)

    def start(self, network: Network, examples: Examples) -> None:
        """Let an untrained network say the window's own correlation, shrunk as least squares on some early dates says.

        Raises
        ------
        DataError
            No pair of stocks has enough common bars after any of these dates.
        """
        total: FloatArray = np.zeros(5)
        for runs, block in _some_dates(examples, examples.early, network.shape.length):
            now = fisher_z(cast("Samba", network).graph.now(block)[-1])
            truth, weight = self.after(runs.sample[:, -1])
            x, y, w = (part.double().numpy() for part in (now, truth, weight))
            total += np.array([w.sum(), (w * x).sum(), (w * y).sum(), (w * x * x).sum(), (w * x * y).sum()])
        count, x, y, xx, xy = total.tolist()
        if count <= 0:
            raise DataError(
                f"no two stocks have {self.reach_bars // 2} bars in common in the {self.reach_bars} after any date "
                "that is learnt from",
                hint="give it a longer history or more symbols, or forecast no correlations: correlation_weight = 0",
            )
        spread = xx - x * x / count
        slope = (xy - x * y / count) / spread if spread > 0 else 0.0
        pairs = cast("PairHead", cast("Samba", network).pairs)
        pairs.start_at(torch.tensor([slope, (y - slope * x) / count]))

    @torch.no_grad()
    def judge(self, network: Network, examples: Examples) -> None:
        """Write into the trained network how far it, the line it began with and the past were from the late part."""
        pairs = cast("PairHead", cast("Samba", network).pairs)
        slope, offset = pairs.begun
        total, count = np.zeros(len(pairs.scores)), 0.0
        for runs, block in _some_dates(examples, examples.late, network.shape.length):
            _, said = cast("Samba", network).with_pairs(block)
            shrunk = slope * fisher_z(cast("Samba", network).graph.now(block)[-1]) + offset
            past = torch.from_numpy(past_correlation(self.moves, int(runs.last[0]), runs.column))
            truth, weight = self.after(runs.sample[:, -1])
            weight = torch.where(past.isfinite(), weight, 0.0).double()
            told = (said[-1], shrunk, fisher_z(past.nan_to_num()))
            total += [float(((part - truth).double().square() * weight).sum()) for part in told]
            count += float(weight.sum())
        pairs.scores.copy_(torch.from_numpy(total / count if count > 0 else np.full_like(total, np.nan)))


def scaled_moves(windows: Windows) -> Tensor:
    """Return one-bar returns in units of the volatility known before, ``(T, N)``, as networks are shown them."""
    return torch.from_numpy(bar_channels(windows.panel)[..., 0].copy())


def past_correlation(moves: Tensor, row: int, columns: IntArray) -> FloatArray:
    """Return the exponentially weighted correlations at a row; NaN for pairs that have none."""
    return ewma_correlation(moves[max(0, row + 1 - _PAST_BARS) : row + 1, columns].double().numpy())


def from_z(z: FloatArray) -> FloatArray:
    """Return correlations, symmetric to the last bit, with ones on the diagonal."""
    found: FloatArray = np.clip(np.tanh(z), -FARTHEST, FARTHEST)
    np.fill_diagonal(found, 1.0)
    return (found + found.T) / 2


def _some_dates(examples: Examples, chosen: IntArray, length: int) -> Iterator[tuple[Runs, Block]]:
    """Return some whole dates, spread evenly: next correlations of neighbouring dates are nearly the same."""
    runs = examples.runs(chosen, 1)
    begins, count = runs.edges, len(runs.edges) - 1
    for date in np.unique(np.linspace(0, count - 1, min(_DATES, count)).round().astype(np.int64)):
        one = runs[int(begins[date]) : int(begins[date + 1])]
        yield one, examples.sequences.block(one, length)
