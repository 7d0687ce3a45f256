"""mambapy: its parallel scan in PyTorch."""

import time
from importlib.metadata import version

import torch
from mamba_task import main, say
from mambapy.mamba import MambaBlock, MambaConfig


def step_seconds(block, steps=300):
    cache = (None, torch.zeros(1, block.config.d_inner, block.config.d_conv - 1))
    x = torch.zeros(1, block.config.d_model)
    with torch.inference_mode():
        for number in range(steps + 20):
            if number == 20:
                start = time.process_time()
            _, cache = block.step(x, cache)
    return (time.process_time() - start) / steps


if __name__ == "__main__":
    block = MambaBlock(MambaConfig(d_model=256, n_layers=1, d_state=16, d_conv=4, expand_factor=2))
    answer, block, _ = main(block, version("mambapy"), runs=6)
    say(answer | {"step_seconds": step_seconds(block)})
