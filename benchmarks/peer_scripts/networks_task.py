"""A bare training loop for networks of a peer's blocks: the windows of the task, the head of ours, on one thread.

The fewest things that can be done: windows gathered by index, a step of AdamW with clipped gradients. Ours also keeps a
mean of the weights and looks at every loss.
"""

import ctypes
import json
import sys
import time

import numpy as np
import torch
from torch import nn

BATCHES = (128, 512)
TURNS, WARM, TIMED_WINDOWS = 2, 3, 3_000


class Head(nn.Module):
    """What turns the last state, the statics and the calendar ahead into rising quantiles."""

    def __init__(self, sizes, width):
        super().__init__()
        self.steps, self.levels = sizes["steps"], sizes["levels"]
        self.embeddings = nn.ModuleList([nn.Embedding(count, width) for count in sizes["statics"]])
        wide = 2 * width + self.steps * sizes["known"]
        dropout = nn.Dropout(sizes["dropout"])
        self.mix = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, width), nn.SiLU(), dropout)
        self.linear = nn.Linear(width, self.steps * self.levels)

    def forward(self, state, statics, future):
        fixed = sum(embedding(statics[:, place]) for place, embedding in enumerate(self.embeddings))
        mixed = self.mix(torch.cat([state, fixed, future.flatten(1)], dim=-1))
        return rising(self.linear(mixed).unflatten(-1, (self.steps, self.levels)))


def rising(raw):
    middle = raw.shape[-1] // 2
    centre = raw[..., middle : middle + 1]
    above = centre + nn.functional.softplus(raw[..., middle + 1 :]).cumsum(-1)
    below = centre - nn.functional.softplus(raw[..., :middle]).flip(-1).cumsum(-1).flip(-1)
    return torch.cat([below, centre, above], dim=-1)


class Windows:
    """Random windows of the training years; symbols first, so that a window is contiguous."""

    def __init__(self, task):
        self.length, self.steps = (int(n) for n in task["sizes"][:2])
        self.values = torch.from_numpy(np.ascontiguousarray(task["past"].swapaxes(0, 1)))
        self.target = torch.from_numpy(np.ascontiguousarray(task["target"].T))
        self.calendar, self.statics = torch.from_numpy(task["calendar"]), torch.from_numpy(task["statics"])
        self.rows = task["train_rows"]
        self.back, self.ahead = torch.arange(1 - self.length, 1), torch.arange(1, self.steps + 1)
        self.draw = np.random.default_rng(1)

    def batch(self, size):
        column = torch.from_numpy(self.draw.integers(len(self.values), size=size))
        row = torch.from_numpy(self.draw.choice(self.rows, size))[:, None]
        seen = self.values[column[:, None], row + self.back]
        ahead = row + self.ahead
        return seen, self.statics[column], self.calendar[ahead], self.target[column[:, None], ahead]


def sizes_of(task, dropout):
    return {
        "inputs": task["past"].shape[-1],
        "length": int(task["sizes"][0]),
        "steps": int(task["sizes"][1]),
        "levels": len(task["levels"]),
        "known": task["calendar"].shape[-1],
        "statics": [int(n) + 1 for n in task["statics"].max(axis=0)],
        "dropout": dropout,
    }


def speed(network, task, size):
    """Return windows per CPU second of whole steps after a warm-up."""
    windows, levels = Windows(task), torch.from_numpy(task["levels"]).float()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()
    steps = max(6, TIMED_WINDOWS // size)
    for number in range(WARM + steps):
        if number == WARM:
            began = time.process_time()
        *seen, truth = windows.batch(size)
        optimiser.zero_grad(set_to_none=True)
        error = truth.unsqueeze(-1) - network(*seen)
        torch.maximum(levels * error, (levels - 1) * error).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return steps * size / (time.process_time() - began)


def main(builders, version):
    """Time the networks of `{name: builder of (sizes, settings)}`; the settings are those of ours of that name."""
    task, settings = dict(np.load(sys.argv[1])), json.loads(sys.argv[2])
    library = ctypes.CDLL(None)
    for option in (-3, -1):  # the allocator setting of our own training
        library.mallopt(option, 1 << 30)
    torch.set_num_threads(1)
    train, parameters = {}, {}
    for name, build in builders.items():
        torch.manual_seed(1)
        network = build(sizes_of(task, settings[name]["dropout"]), settings[name])
        parameters[name] = sum(p.numel() for p in network.parameters())
        train[name] = {str(size): max(speed(network, task, size) for _ in range(TURNS)) for size in BATCHES}
        train[name]["best"] = max(train[name].values())
    print(json.dumps({"train": train, "parameters": parameters, "version": version}))
