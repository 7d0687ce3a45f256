"""Convert a traced network to LiteRT: run by the interpreter of an environment of its own, see `lite_environment`.

`python -I lite_convert.py PROGRAM.pt2 MODEL.tflite BATCH INPUT,… OUTPUT,…`. Nothing of Tradewind is imported: that
environment has PyTorch and litert-torch only.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn


class Named(nn.Module):
    """A traced program whose answers have names, which become those of the file."""

    def __init__(self, program: torch.export.ExportedProgram, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.inner, self.inputs, self.outputs = program.module(), inputs, outputs
        self.training = False

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        """Return the answers by name."""
        said = self.inner(*(given[name] for name in self.inputs))
        return dict(zip(self.outputs, said, strict=True))


def main(source: str, target: str, batch: str, inputs: str, outputs: str) -> None:
    """Write the program as a LiteRT model of this many windows."""
    import litert_torch

    program = torch.export.load(source)
    network = Named(program, inputs.split(","), outputs.split(","))
    traced, _ = program.example_inputs
    example = [part[:1].repeat(int(batch), *[1] * (part.ndim - 1)) for part in traced]
    litert_torch.convert(network, sample_kwargs=dict(zip(network.inputs, example, strict=True))).export(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
