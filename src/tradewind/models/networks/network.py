"""What every network reads and says, whatever it is made of."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Block(NamedTuple):
    """Runs of windows: ``S`` runs of ``R`` windows of ``L`` bars, ``k`` bars apart, share ``L + (R - 1) k`` rows each.

    Window ``r`` of a run is rows ``r k … r k + L - 1``; its forecast is made at the close of its last row. A single
    window is a run of one. Every window of a run has the same static values.

    Attributes
    ----------
    values
        ``(S, L + (R - 1) k, F)`` float32: scaled features, 0 where missing; the last channel is 1 where a bar was.
    statics
        ``(S, C)`` int64 categories of each run (ticker, sector, price tier); 0 stands for whatever was not seen in
        training.
    future
        ``(S, R, H, K)`` float32: what is known beforehand of the bar that each horizon ends at (calendar).
    section
        ``(S,)`` int64, for networks that read whole dates: runs of one number end at the same bar and see each other.
        ``None``: all runs do. Networks that read each symbol by itself ignore it.
    """

    values: Tensor
    statics: Tensor
    future: Tensor
    section: Tensor | None = None

    def to(self, device: torch.device) -> Block:
        """Return the block on a device."""
        section = None if self.section is None else self.section.to(device)
        return Block(self.values.to(device), self.statics.to(device), self.future.to(device), section)


class Outputs(NamedTuple):
    """What a network says of every window, in units of the causal volatility over each horizon.

    Attributes
    ----------
    quantiles
        ``(S, R, H, Q)`` of the log return, rising over ``Q``.
    logits
        ``(S, R, H, 3)`` of down, neutral and up; ``None`` without barrier classes.
    high, low
        ``(S, R, H, Q)`` of the path's highest high and lowest low over the horizon, as log returns; ``None`` where a
        network does not say. At every level ``low <= quantiles <= high``, ``low <= 0 <= high``.
    """

    quantiles: Tensor
    logits: Tensor | None = None
    high: Tensor | None = None
    low: Tensor | None = None


class Shape(NamedTuple):
    """The sizes that a network is built for.

    Attributes
    ----------
    length
        Bars of a window, ``L``.
    inputs
        Channels of ``Block.values``, ``F``.
    statics
        Number of categories of each static value, the unseen one (0) included.
    future
        Channels of ``Block.future``, ``K``.
    horizons, levels
        How many of each, ``H`` and ``Q``.
    classes
        Whether the barrier classes are asked for.
    """

    length: int
    inputs: int
    statics: tuple[int, ...]
    future: int
    horizons: int
    levels: int
    classes: bool


class Network(nn.Module):
    """Base of all networks; a subclass is built for a :class:`Shape` and answers a :class:`Block`.

    ``forward`` must give the same answer for a window whichever run it came in (to rounding), so that training on runs,
    on random windows and asking for the newest bar alone are the same thing. A network of whole dates may look at all
    runs of a section; its answer must not depend on their order or on other sections.
    """

    shape: Shape

    def forward(self, block: Block) -> Outputs:
        """Answer every window of every run."""
        raise NotImplementedError

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the untrained network say what is true on average: ``(H, Q)`` quantiles and ``(H, 3)`` of the classes.

        A network that cannot starts from chance and takes longer.
        """


def windows_of(values: Tensor, length: int, count: int) -> Tensor:
    """Return every window of every run side by side, ``(S * R, L, F)``, copied out of ``(S, L + (R - 1) k, F)``.

    ``count`` is ``R``; how far windows are apart follows.
    """
    unfolded = values.unfold(1, length, stride_of(values, length, count)).permute(0, 1, 3, 2)
    return unfolded.reshape(-1, length, values.shape[-1])


def stride_of(values: Tensor, length: int, count: int) -> int:
    """Return how many bars the windows of a run are apart, ``k``; 1 for a run of one."""
    return max(1, (values.shape[1] - length) // max(1, count - 1))


def rising(raw: Tensor) -> Tensor:
    """Turn free numbers ``(..., Q)`` into rising ones: the middle one stands, the others are steps away from it."""
    middle = raw.shape[-1] // 2
    centre = raw[..., middle : middle + 1]
    above = centre + torch.cumsum(nn.functional.softplus(raw[..., middle + 1 :]), dim=-1)
    below = centre - torch.flip(torch.cumsum(torch.flip(nn.functional.softplus(raw[..., :middle]), [-1]), dim=-1), [-1])
    return torch.cat([below, centre, above], dim=-1)
