"""The one trainer: seeded, stopped early on a purged later part, resumed after a kill, loud where numbers break."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tradewind.errors import BugError, DataError, InputError
from tradewind.models.networks.memory import keep_large_blocks
from tradewind.models.networks.network import Block, Network, Outputs
from tradewind.models.networks.sequences import Runs, Sequences, dates_of, runs_of

IntArray = NDArray[np.int64]
Progress = Callable[[str, int, int], None]

CHECKPOINT_FORMAT = "1"


def silent(what: str, done: int, total: int) -> None:
    """Say nothing of how far it is."""


@dataclass(frozen=True)
class Schedule:
    """How a network learns.

    Attributes
    ----------
    epochs
        At most so many; fewer once ``patience`` epochs in a row did not improve the later part.
    epoch_windows
        Windows drawn an epoch, without repetition; all of them where there are fewer.
    batch_windows, run_windows, run_stride_bars
        Windows of one step, how many of a symbol share their rows (1: random windows), and the bars between those.
    learning_rate, weight_decay, clip_norm
        Of AdamW: the peak after a tenth of the steps (then a half cosine down to nothing), its decay, and the largest
        norm of a gradient.
    averaging
        Decay of the exponential mean of the weights over the steps, which is what is judged and kept (Polyak & Juditsky
        1992).
    """

    epochs: int = 16
    patience: int = 4
    epoch_windows: int = 8_000
    batch_windows: int = 512
    run_windows: int = 16
    run_stride_bars: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    averaging: float = 0.98

    def __post_init__(self) -> None:
        """Refuse sizes that nothing can be learnt with."""
        for name in ("epochs", "patience", "epoch_windows", "batch_windows", "run_windows", "run_stride_bars"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} must be 1 or more")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)} must be above 0")


class Loss(Protocol):
    """The mean loss of the asked windows of a block; ``sample`` is ``(S, R)``, -1 where a window was not asked for."""

    def __call__(self, network: Network, block: Block, sample: IntArray) -> Tensor:
        """Return a scalar."""
        ...


class Auxiliary(Protocol):
    """A further target that is no quantity of one sample."""

    @property
    def reach_bars(self) -> int:
        """How many bars after a sample its label is known; the early part is purged of those too."""
        ...

    def start(self, network: Network, examples: Examples) -> None:
        """Let an untrained network say what is true on average."""
        ...

    def __call__(self, network: Network, block: Block, sample: IntArray) -> tuple[Outputs, Tensor]:
        """Return what the network says of a block and what is added to its loss, a scalar."""
        ...

    def judge(self, network: Network, examples: Examples) -> None:
        """Write into a trained network what the late part says of it."""
        ...


@dataclass(frozen=True, eq=False)
class Examples:
    """What a network learns from and is stopped by.

    Attributes
    ----------
    sequences
        The tensor.
    rows, columns
        ``(n,)`` the samples; the loss knows what happened to them.
    early, late
        Which samples to learn from, and which later ones to stop by; no label of the first reaches into the second.
    seen
        For networks that read whole dates: ``(T, N)``, see :func:`~tradewind.models.networks.sequences.seen_together`.
    """

    sequences: Sequences
    rows: IntArray
    columns: IntArray
    early: IntArray
    late: IntArray
    seen: NDArray[np.bool_] | None = None

    def runs(self, chosen: IntArray, width: int, offset: int = 0, stride: int = 1) -> Runs:
        """Cut some of the samples into runs, or take all that is seen at their dates."""
        if self.seen is None:
            statics = self.sequences.statics.numpy()[self.columns[chosen], self.rows[chosen]]
            runs = runs_of(self.rows[chosen], self.columns[chosen], statics, width, offset, stride)
        else:
            runs = dates_of(self.rows[chosen], self.columns[chosen], self.seen)
        sample = np.where(runs.sample >= 0, chosen[np.maximum(runs.sample, 0)], -1)
        return replace(runs, sample=sample)


@dataclass
class History:
    """What happened in training: the loss of both parts by epoch, and which epoch was kept."""

    train: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    best: int = -1

    def done(self, schedule: Schedule) -> bool:
        """Return whether nothing is left to do."""
        epochs = len(self.late)
        return epochs >= schedule.epochs or (epochs > 0 and epochs - 1 - self.best >= schedule.patience)


def train(
    network: Network,
    examples: Examples,
    loss: Loss,
    schedule: Schedule,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Progress = silent,
    name: str = "network",
) -> History:
    """Train in place and leave the network at its best epoch, in eval mode on the CPU.

    Everything random in epoch ``e`` follows from ``(seed, e)``, so a training that was killed goes on from its last
    finished epoch to the same weights. Memory: the tensor of ``sequences``, five copies of the weights and the
    activations of one batch.

    Raises
    ------
    DataError
        A loss or gradient that is no number (with its epoch, batch, symbols and bars), or no memory for a batch.
    """
    keep_large_blocks()
    network.to(device)
    optimiser = torch.optim.AdamW(decayed(network, schedule.weight_decay), lr=schedule.learning_rate, fused=True)
    mean = AveragedModel(network)
    history, best = History(), _copy(network)
    if checkpoint is not None and checkpoint.is_file():
        best = _resume(checkpoint, network, mean, optimiser, history) or best
    late = _batches(examples.runs(examples.late, schedule.run_windows), schedule, None)
    while not history.done(schedule):
        epoch = len(history.late)
        progress(name, epoch, schedule.epochs)
        with seeded(seed, epoch + 1):
            learnt = _epoch(network, mean, examples, loss, optimiser, schedule, seed, epoch, device)
        judged = _judge(cast(Network, mean.module), examples, loss, late, device)
        history.train.append(learnt)
        history.late.append(judged)
        if history.best < 0 or judged < history.late[history.best]:
            history.best, best = epoch, _copy(mean.module)
        if checkpoint is not None:
            _save(checkpoint, network, mean, best, optimiser, history)
    progress(name, schedule.epochs, schedule.epochs)
    network.load_state_dict(best)
    network.to("cpu").eval()
    return history


def decayed(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the groups of parameters: matrices decay; offsets, norms and the rates of a state space do not."""
    free = [p for name, p in network.named_parameters() if p.ndim < 2 or name.endswith("A_log")]
    rest = [p for name, p in network.named_parameters() if not (p.ndim < 2 or name.endswith("A_log"))]
    return [{"params": rest, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]


def _epoch(
    network: Network,
    mean: AveragedModel,
    examples: Examples,
    loss: Loss,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    seed: int,
    epoch: int,
    device: torch.device,
) -> float:
    draw = np.random.default_rng([seed, epoch])
    runs = examples.runs(
        examples.early, schedule.run_windows, int(draw.integers(schedule.run_windows)), schedule.run_stride_bars
    )
    batches = _batches(runs, schedule, draw)
    network.train()
    weights, means = (list[Tensor](of.parameters()) for of in (network, mean.module))
    total, count = 0.0, 0
    for number, batch in enumerate(batches):
        rate = _rate(epoch + number / len(batches), schedule.epochs)
        for group in optimiser.param_groups:
            group["lr"] = schedule.learning_rate * rate
        optimiser.zero_grad(set_to_none=True)
        with memory_failures(int((batch.sample >= 0).sum())):
            value = _loss_of(network, examples, loss, batch, device)
            value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(weights, schedule.clip_norm)
        if not (math.isfinite(float(value.detach())) and math.isfinite(float(norm))):
            raise DataError(
                f"training broke in epoch {epoch + 1}, batch {number + 1} of {len(batches)}: the loss is "
                f"{float(value.detach())}, the gradient's norm {float(norm)}; {_about(batch)}",
                hint="lower learning_rate, or look at these bars with `tradewind data check`",
            )
        optimiser.step()
        _move(mean, means, weights, schedule.averaging)
        total += float(value.detach()) * len(batch)
        count += len(batch)
    for kept, buffer in zip(mean.module.buffers(), network.buffers(), strict=True):
        kept.copy_(buffer)
    return total / max(count, 1)


@torch.no_grad()
def _move(mean: AveragedModel, means: list[Tensor], weights: list[Tensor], decay: float) -> None:
    """Move the mean towards the weights, at first onto them; all at once, ``update_parameters`` takes one by one."""
    torch._foreach_lerp_(means, weights, 1.0 - decay if int(mean.n_averaged) else 1.0)
    mean.n_averaged += 1


def _loss_of(network: Network, examples: Examples, loss: Loss, batch: Runs, device: torch.device) -> Tensor:
    block = examples.sequences.block(batch, network.shape.length)
    return loss(network, block.to(device), batch.sample)


@torch.no_grad()
def _judge(network: Network, examples: Examples, loss: Loss, batches: Sequence[Runs], device: torch.device) -> float:
    network.eval()
    sizes = np.array([(batch.sample >= 0).sum() for batch in batches], dtype=np.float64)
    with memory_failures(int(sizes.max())):
        values = [float(_loss_of(network, examples, loss, batch, device)) for batch in batches]
    judged = float(np.dot(sizes, values) / sizes.sum())
    if not math.isfinite(judged):
        raise DataError(
            f"the network's loss on the later part is {judged}",
            hint="lower learning_rate, or look at the newest bars with `tradewind data check`",
        )
    return judged


def _batches(runs: Runs, schedule: Schedule, draw: np.random.Generator | None) -> list[Runs]:
    """Return the runs of each step; shuffled, and as many windows as an epoch has, where there is a generator."""
    if draw is None:
        return runs.batches(schedule.batch_windows)
    edges = runs.edges
    order = draw.permutation(len(edges) - 1)
    asked = np.concatenate([[0], np.cumsum((runs.sample >= 0).sum(axis=1))])
    windows = np.cumsum(np.diff(asked[edges])[order])
    return runs.batches(schedule.batch_windows, order[: int(np.searchsorted(windows, schedule.epoch_windows)) + 1])


def _rate(epoch: float, epochs: int) -> float:
    """Return the share of the peak learning rate: up over the first tenth, then a half cosine down."""
    done = epoch / epochs
    return max(done / 0.1, 1e-2) if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))


def _about(batch: Runs) -> str:
    columns = sorted({int(n) for n in batch.column})
    return f"its windows end at rows {int(batch.last.min())} to {int(batch.last.max())} of columns {columns[:10]}"


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Let torch draw from this seed inside, and leave its generator outside as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        yield


@contextmanager
def memory_failures(windows: int) -> Iterator[None]:
    """Say what to do where memory ends."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        said = str(error).lower()
        if isinstance(error, RuntimeError) and not any(word in said for word in ("out of memory", "allocate memory")):
            raise
        raise DataError(
            f"there is no memory for a batch of {windows} windows: {str(error).splitlines()[0]}",
            hint="lower batch_windows, window_bars or the width of the network",
        ) from error


def device_of(wanted: str) -> torch.device:
    """Return the device to train on: ``auto`` is a GPU where there is one; one that was asked for must be there."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f"device = {wanted!r} is none", hint='choose "auto", "cpu" or "cuda"')
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError(
            "device = 'cuda' was asked for, and this machine or this build of torch has no CUDA",
            hint='set device = "auto", or install a build of torch with CUDA',
        )
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _save(
    path: Path,
    network: nn.Module,
    mean: AveragedModel,
    best: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    history: History,
) -> None:
    """Write a checkpoint under another name first: a kill leaves the old one or the new one."""
    from safetensors.torch import save_file

    tensors = {f"now.{name}": value for name, value in _copy(network).items()}
    tensors |= {f"mean.{name}": value for name, value in _copy(mean).items()}
    tensors |= {f"best.{name}": value.clone() for name, value in best.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{key}": value.detach().cpu().clone() for key, value in state.items()}
    about = {"format": CHECKPOINT_FORMAT, "history": json.dumps(vars(history))}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.safetensors")
    save_file(tensors, temporary, metadata=about)
    temporary.replace(path)


def _resume(
    path: Path, network: nn.Module, mean: AveragedModel, optimiser: torch.optim.Optimizer, history: History
) -> dict[str, Tensor]:
    """Put network, optimiser and history where the checkpoint left them; return the best weights so far.

    A damaged checkpoint is worth nothing: the training begins anew, and nothing is returned.
    """
    try:
        tensors, about = read_checkpoint(path)
    except DataError:
        return {}
    parts: dict[str, dict[str, Any]] = {"now": {}, "mean": {}, "best": {}, "optimiser": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    try:
        network.load_state_dict(parts["now"])
        mean.load_state_dict(parts["mean"])
    except RuntimeError as error:
        raise BugError(f"the checkpoint {path} is of another network: {str(error).splitlines()[0]}") from None
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimiser"].items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for key, value in json.loads(about["history"]).items():
        setattr(history, key, value)
    return parts["best"]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file; ``DataError`` where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise DataError(f"the checkpoint {path} cannot be read: {error}", hint="delete it to train again") from None
    if about.get("format") != CHECKPOINT_FORMAT:
        raise DataError(
            f"the checkpoint {path} has format {about.get('format')!r}, this version reads {CHECKPOINT_FORMAT!r}",
            hint="delete it to train again",
        )
    return tensors, about
