"""The function of one window a row that is exported, traced for a batch of any size."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tradewind.models.networks.mamba import use_scan
from tradewind.models.networks.network import Block, Network, Outputs

_LARGEST_BATCH = 1 << 20
#: Sizes 0 and 1 are traced as constants, so the example has this many windows.
_TRACED = 3


class WindowFunction(nn.Module):
    """A network as a function of windows: ``(batch, L, F)``, ``(batch, C)`` and ``(batch, H, K)`` to its answers.

    One that reads whole dates is also told which rows are of one date, ``(batch,)``.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, values: Tensor, statics: Tensor, future: Tensor, section: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the outputs that the network has, ``(batch, H, …)`` each, in the order of :class:`Outputs`."""
        said = self.network(Block(values, statics, future.unsqueeze(1), section))
        return tuple(part.squeeze(1) for part in said if part is not None)


def arguments_of(block: Block) -> tuple[Tensor, ...]:
    """Return the arguments of a :class:`WindowFunction` of a block of single windows."""
    parts = (block.values, block.statics, block.future.squeeze(1), block.section)
    return tuple(part for part in parts if part is not None)


def output_names(network: Network, block: Block) -> tuple[str, ...]:
    """Return which of the outputs the network has."""
    with torch.inference_mode():
        said = network(block)
    return tuple(name for name, part in zip(Outputs._fields, said, strict=True) if part is not None)


def program_of(network: Network, block: Block) -> ExportedProgram:
    """Trace a network on some single windows; the batch may have any size.

    Mamba blocks are traced bar after bar: twice as fast in ONNX Runtime as in rounds of doubling.
    """
    copied = copy.deepcopy(network).eval()
    use_scan(copied, "loop")
    example = tuple(part.repeat(_TRACED, *[1] * (part.ndim - 1))[:_TRACED] for part in arguments_of(block))
    batch = Dim("batch", min=1, max=_LARGEST_BATCH)
    with quietly():
        return torch.export.export(
            WindowFunction(copied), example, dynamic_shapes=({0: batch},) * len(example), strict=False
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back what exporters say of their own inside: deprecations, and packages that are not asked for."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
