"""mambapy: its blocks in the networks `mamba_stock` and `ts_mamba`, in a bare training loop."""

from importlib.metadata import version

import torch
from mambapy.mamba import Mamba, MambaBlock, MambaConfig
from networks_task import Head, main
from torch import nn


def config_of(own, layers):
    return MambaConfig(
        d_model=own["width"],
        n_layers=layers,
        d_state=own["d_state"],
        d_conv=own["d_conv"],
        expand_factor=own["expand"],
    )


class OverBars(nn.Module):
    def __init__(self, sizes, own):
        super().__init__()
        self.enter = nn.Linear(sizes["inputs"], own["width"])
        self.stack = Mamba(config_of(own, own["layers"]))
        self.norm = nn.RMSNorm(own["width"], eps=1e-5)
        self.head = Head(sizes, own["width"])

    def forward(self, values, statics, future):
        return self.head(self.norm(self.stack(self.enter(values)))[:, -1], statics, future)


class BothWays(nn.Module):
    """One layer over patches: a block for each direction behind one norm."""

    def __init__(self, own):
        super().__init__()
        self.norm = nn.RMSNorm(own["width"], eps=1e-5)
        self.onward, self.backward = (MambaBlock(config_of(own, 1)) for _ in range(2))
        self.dropout = nn.Dropout(own["dropout"])

    def forward(self, x):
        normed = self.norm(x)
        return x + self.dropout(self.onward(normed) + self.backward(normed.flip(1)).flip(1))


class OverPatches(nn.Module):
    def __init__(self, sizes, own):
        super().__init__()
        self.bars, self.stride = own["patch_bars"], own["stride_bars"]
        spare = sizes["length"] - self.bars
        self.first, count, width = spare % self.stride, spare // self.stride + 1, own["width"]
        self.embed = nn.Linear(sizes["inputs"] * self.bars, width)
        self.layers = nn.Sequential(*(BothWays(own) for _ in range(own["layers"])))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.flatten = nn.Linear(count * width, width)
        self.head = Head(sizes, width)

    def forward(self, values, statics, future):
        patches = values[:, self.first :].unfold(1, self.bars, self.stride).flatten(2)
        states = self.norm(self.layers(self.embed(patches)))
        return self.head(torch.nn.functional.silu(self.flatten(states.flatten(1))), statics, future)


main({"mamba_stock": OverBars, "ts_mamba": OverPatches}, {"mambapy": version("mambapy")})
