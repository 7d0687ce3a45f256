"""Runs of windows that lie several bars apart: they share rows, but not so much of what happens after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tradewind.models.networks.network import Block
from tradewind.models.networks.sequences import Runs, Sequences, runs_of
from tradewind.models.networks.training import Examples

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SpacedSequences(Sequences):
    """Sequences whose runs hold a window every ``stride`` bars; a run of ``R`` has ``L + (R - 1) * stride`` rows.

    Neighbouring windows forecast nearly the same days, so a batch of them says less than as many far apart: a network
    learns more from a run if its windows' horizons do not overlap. Only for networks that read such blocks.

    Attributes
    ----------
    stride
        Bars between the windows of a run; ``padding`` must be at least ``L - 1 + (R - 1) * stride``.
    """

    stride: int = 1

    def block(self, runs: Runs, length: int) -> Block:
        """Return the rows of some runs, copied."""
        reach = (runs.sample.shape[1] - 1) * self.stride
        column, last = torch.from_numpy(runs.column), torch.from_numpy(runs.last)
        rows = last[:, None] + torch.arange(1 - length - reach, 1) + self.padding
        asked = (last[:, None] + torch.arange(-reach, 1, self.stride)).clamp(min=0)
        return Block(self.values[column[:, None], rows], self.statics[column, last], self.future[asked])


@dataclass(frozen=True, eq=False)
class SpacedExamples(Examples):
    """Examples cut into runs of windows that lie ``stride`` bars apart, as those of its sequences do."""

    stride: int = 1

    def runs(self, chosen: IntArray, width: int, offset: int = 0) -> Runs:
        """Cut some of the samples into runs; each of the ``stride`` phases of a symbol has runs of its own."""
        place, phase = np.divmod(self.rows[chosen] + offset, self.stride)
        statics = self.sequences.statics.numpy()[self.columns[chosen], self.rows[chosen]]
        runs = runs_of(place, self.columns[chosen] * self.stride + phase, statics, width)
        column, phases = np.divmod(runs.column, self.stride)
        sample = np.where(runs.sample >= 0, chosen[np.maximum(runs.sample, 0)], -1)
        return Runs(column, runs.last * self.stride + phases - offset, sample)
