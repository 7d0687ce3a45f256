"""Patches of bars: what a network over patches reads instead of single bars."""

from __future__ import annotations

from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.network import Shape, windows_of


class Patches(nn.Module):
    """Cut every window into patches and embed each; neighbouring windows share their patches' embeddings.

    Parameters
    ----------
    patch_bars, stride_bars
        Bars of a patch, and from one patch to the next. The newest patch ends at the newest bar; bars before the
        oldest whole patch are not read.
    width
        Of an embedding.

    Raises
    ------
    InputError
        A patch longer than a window, or sizes below 1.
    """

    def __init__(self, shape: Shape, patch_bars: int, stride_bars: int, width: int) -> None:
        super().__init__()
        if not (1 <= patch_bars <= shape.length and stride_bars >= 1):
            raise InputError(
                f"patches of {patch_bars} bars every {stride_bars} cannot be cut out of windows of {shape.length}",
                hint="patch_bars lies between 1 and window_bars, stride_bars is 1 or more",
            )
        self.patch_bars, self.stride_bars = patch_bars, stride_bars
        self.begins = shape.length - patch_bars + 1  # rows of a window that a patch may begin at
        self.count = (self.begins - 1) // stride_bars + 1
        self.embed = nn.Linear(shape.inputs * patch_bars, width)

    def forward(self, values: Tensor, windows: int) -> Tensor:
        """Return the patches of every window of the runs, oldest first, ``(S * R, patches, width)``."""
        cut = values.unfold(1, self.patch_bars, 1).flatten(2)  # one patch from every row, (S, rows, F * bars)
        embedded = windows_of(self.embed(cut), self.begins, windows)
        return embedded[:, (self.begins - 1) % self.stride_bars :: self.stride_bars]
