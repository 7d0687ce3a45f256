"""What every Mamba block is asked: one forward and backward pass on given weights, and single bars; on one thread."""

import ctypes
import json
import sys
import time

import numpy as np
import torch


def keep_large_blocks():
    """The allocator setting that our own training uses, for everyone."""
    library = ctypes.CDLL(None)
    for option in (-3, -1):
        library.mallopt(option, 1 << 30)


def load(path, block):
    """Give the block the task's weights; return its input and the weights of the loss."""
    task = np.load(path)
    block.load_state_dict({name[2:]: torch.from_numpy(task[name]) for name in task.files if name.startswith("w.")})
    return torch.from_numpy(task["x"]), torch.from_numpy(task["loss"])


def once(block, x, loss):
    """Return CPU seconds of one pass in both directions, its output and the gradients."""
    block.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    start = time.process_time()
    y = block(x)
    (y * loss).sum().backward()
    seconds = time.process_time() - start
    return seconds, y, {"x": x.grad} | {name: value.grad for name, value in block.named_parameters()}


def forward_alone(block, x):
    with torch.inference_mode():
        start = time.process_time()
        block(x)
        return time.process_time() - start


def main(block, version, runs):
    task, answers = sys.argv[1:]
    keep_large_blocks()
    torch.set_num_threads(1)
    x, loss = load(task, block)
    spent = []
    for _ in range(runs):
        seconds, y, gradients = once(block, x, loss)
        spent.append(seconds)
    arrays = {"y": y} | {f"g.{name}": value for name, value in gradients.items()}
    np.savez(answers, **{name: value.detach().numpy() for name, value in arrays.items()})
    block.eval()
    answer = {
        "seconds": min(spent),
        "forward_seconds": min(forward_alone(block, x) for _ in range(min(runs, 5))),
        "version": version,
        "torch": torch.__version__,
    }
    return answer, block, x


def say(answer):
    print(json.dumps(answer))
