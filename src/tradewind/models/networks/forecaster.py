"""A network as a forecaster: what it learns from, what it minimises, and how its answers become forecasts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tradewind.errors import DataError
from tradewind.models.networks.network import Block, Network, Outputs, Shape
from tradewind.models.networks.sequences import (
    Runs,
    Sequences,
    Vocabulary,
    dates_of,
    readable,
    runs_of,
    seen_together,
    sequences_of,
)
from tradewind.models.networks.training import (
    Auxiliary,
    Examples,
    History,
    Progress,
    Schedule,
    memory_failures,
    seeded,
    train,
)
from tradewind.models.networks.transfer import adopt

if TYPE_CHECKING:
    from tradewind.models.base import Windows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Targets are volatility-scaled returns; what lies beyond is as far as this.
LARGEST = 8.0
_MINIMUM_PART = 100
#: Windows, at most, of a run that is forecast.
LONGEST_RUN = 96
_ROW_COST = 1 / 12
"""Of a row that windows share, in windows; about that of the Temporal Fusion Transformer."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What happened after each sample, in units of the causal volatility over each horizon.

    Attributes
    ----------
    returns
        ``(n, H)`` float32; NaN where not known.
    weight
        ``(n, H)`` float32 uniqueness, of mean one where known.
    classes
        ``(n, H)`` int64: 0 down, 1 neutral, 2 up, -1 not known; None without barriers.
    high, low
        ``(n, H)`` the path's highest high and lowest low; None where the network does not forecast them.
    """

    returns: Tensor
    weight: Tensor
    classes: Tensor | None = None
    high: Tensor | None = None
    low: Tensor | None = None


@dataclass(frozen=True)
class Losses:
    """The mean of what is minimised over horizons: pinball of the quantiles, and whatever else is asked for.

    Attributes
    ----------
    levels
        Quantile levels.
    huber
        Weight of the Huber loss of the middle level.
    classes
        Weight of the cross-entropy of the barrier classes.
    auxiliary
        A further target, with its own weight.
    """

    levels: tuple[float, ...]
    targets: Targets
    huber: float = 0.0
    classes: float = 0.2
    auxiliary: Auxiliary | None = None

    def __call__(self, network: Network, block: Block, sample: IntArray) -> Tensor:
        """Return the loss of the windows that were asked for."""
        further: Tensor | None = None
        if self.auxiliary is None:
            outputs = network(block)
        else:
            outputs, further = self.auxiliary(network, block, sample)
        asked = torch.from_numpy(sample)
        known = asked >= 0
        number = asked[known]
        device = block.values.device
        kept = known.to(device)
        said = Outputs(outputs.quantiles[kept], *(None if part is None else part[kept] for part in outputs[1:]))

        def of(values: Tensor) -> Tensor:
            return values[number].to(device)

        truth, weight = of(self.targets.returns), of(self.targets.weight)
        total = self._quantile_loss(said.quantiles, truth, weight)
        if self.huber:
            middle = said.quantiles[..., len(self.levels) // 2]
            error = nn.functional.huber_loss(middle, truth.nan_to_num(), reduction="none")
            total = total + self.huber * _mean(error, weight)
        if said.logits is not None and self.targets.classes is not None:
            classes = of(self.targets.classes)
            there = torch.where(classes >= 0, weight, 0.0)
            logits, classes = said.logits.flatten(0, 1), classes.clamp(min=0)
            entropy = nn.functional.cross_entropy(logits, classes.flatten(), reduction="none")
            total = total + self.classes * _mean(entropy.view_as(classes), there)
        for part, path in ((said.high, self.targets.high), (said.low, self.targets.low)):
            if part is not None and path is not None:
                total = total + self._quantile_loss(part, of(path), weight)
        return total if further is None else total + further

    def _quantile_loss(self, quantiles: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        levels = torch.tensor(self.levels, device=quantiles.device)
        weight = torch.where(truth.isfinite(), weight, 0.0)
        error = truth.nan_to_num()[..., None] - quantiles
        return _mean(torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1), weight)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)


@dataclass(frozen=True)
class Reading:
    """How a network reads: bars of a window, the least share of them, the half-life of the scaling in bars.

    ``whole_dates``: all symbols of a date together.
    """

    window_bars: int
    least_share: float
    half_life_bars: float
    whole_dates: bool = False

    def seen(self, windows: Windows) -> NDArray[np.bool_] | None:
        """Return ``(T, N)`` which symbols are read together at each bar; None where each is read by itself."""
        if not self.whole_dates:
            return None
        return seen_together(windows.panel, self.window_bars, self.least_share)

    def can(self, windows: Windows) -> NDArray[np.bool_]:
        """Return which samples can be read, ``(n,)``."""
        seen = self.seen(windows)
        return (
            readable(windows, self.window_bars, self.least_share)
            if seen is None
            else seen[windows.rows, windows.columns]
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """Trained networks (one a seed) with everything that they need to read a panel.

    Attributes
    ----------
    networks
        In eval mode on the CPU; their answers are averaged.
    channels
        What they were shown, in order.
    date_by_date
        Asked for all samples of one date together and for nothing else: what is said of a bar is then the same to the
        last bit whether it is asked about alone, when it closes, or later among many.
    """

    networks: tuple[Network, ...]
    reading: Reading
    vocabulary: Vocabulary
    channels: tuple[str, ...]
    histories: tuple[History, ...]
    date_by_date: bool = False

    def answer(self, windows: Windows, batch_windows: int) -> tuple[Outputs, NDArray[np.bool_]]:
        """Return the mean answer for every sample ``(n, H, …)`` as numpy-backed tensors, and which can be answered.

        Memory: the activations of ``batch_windows`` windows, or of one run where that is longer (``LONGEST_RUN``).
        """
        can = self.reading.can(windows)
        sequences = self.read(windows, LONGEST_RUN)
        chosen = np.flatnonzero(can)
        examples = Examples(sequences, windows.rows, windows.columns, chosen, chosen, self.reading.seen(windows))
        if self.date_by_date and examples.seen is None:
            batches = runs_by_date(windows.rows, windows.columns, chosen)
        else:
            batches = cheapest_runs(examples, chosen, self.reading.window_bars).batches(batch_windows)
        answers = [_answers(network, sequences, batches, len(can)) for network in self.precise]
        return mean_answer(answers), can

    @cached_property
    def precise(self) -> tuple[Network, ...]:
        """The networks in double precision, which forecasts are made in.

        In single precision the last bits depend on which windows share a batch, and a decision on a forecast's rounded
        value would now and then depend on them.
        """
        return tuple(copy.deepcopy(network).double() for network in self.networks)

    def read(self, windows: Windows, run_windows: int) -> Sequences:
        """Return the tensor of a panel as these networks were shown theirs; ``DataError`` for other channels."""
        sequences = sequences_of(
            windows,
            self.vocabulary,
            half_life_bars=self.reading.half_life_bars,
            padding=self.reading.window_bars + run_windows - 2,
        )
        if sequences.channels != self.channels:
            changed = sorted(set(sequences.channels) ^ set(self.channels)) or ["their order"]
            raise DataError(
                f"the network was trained on other features: {', '.join(changed[:5])} differ",
                hint="train it again, or give it the playbook's [features] that it was trained with",
            )
        return sequences


def cheapest_runs(examples: Examples, chosen: IntArray, length: int) -> Runs:
    """Cut samples into runs as long as pays: long ones share rows, and compute windows that nobody asked for.

    The rows that are asked about are cut evenly, from the first one on.
    """
    if examples.seen is not None or not len(chosen):
        return examples.runs(chosen, 1)
    first, last = examples.rows[chosen].min(), examples.rows[chosen].max()
    span = int(last - first) + 1
    widths = {-(-span // -(-span // limit)) for limit in (LONGEST_RUN, 48, 24, 12, 6, 3, 1)}
    cuts = [examples.runs(chosen, width, -int(first) % width) for width in sorted(widths)]
    return min(cuts, key=lambda runs: runs.sample.size + len(runs) * (length + runs.sample.shape[1] - 1) * _ROW_COST)


def runs_by_date(rows: IntArray, columns: IntArray, chosen: IntArray) -> list[Runs]:
    """Return single windows, those of one date together and by column."""
    order = chosen[np.lexsort((columns[chosen], rows[chosen]))]
    edges = np.flatnonzero(np.diff(rows[order])) + 1
    return [Runs(columns[part], rows[part], part[:, None]) for part in np.split(order, edges) if len(part)]


def _answers(network: Network, sequences: Sequences, batches: Sequence[Runs], count: int) -> Outputs:
    """Return a network's answers laid out by sample; NaN where a sample was not asked for."""
    laid: list[Tensor | None] = [None] * len(Outputs._fields)
    with torch.inference_mode():
        for batch in batches:
            with memory_failures(int((batch.sample >= 0).sum())):
                outputs = network(_precisely(sequences.block(batch, network.shape.length)))
            asked = torch.from_numpy(batch.sample)
            known = asked >= 0
            for place, part in enumerate(outputs):
                if part is None:
                    continue
                if laid[place] is None:
                    laid[place] = torch.full((count, *part.shape[2:]), torch.nan, dtype=part.dtype)
                laid[place][asked[known]] = part[known]  # type: ignore[index]
    if laid[0] is None:
        shape = network.shape
        laid[0] = torch.full((count, shape.horizons, shape.levels), torch.nan)
    return Outputs(*laid)  # type: ignore[arg-type]


def _precisely(block: Block) -> Block:
    return block._replace(values=block.values.double(), future=block.future.double())


def mean_answer(answers: Sequence[Outputs]) -> Outputs:
    """Average quantiles level by level, and probabilities (not logits)."""
    if len(answers) == 1:
        return answers[0]
    columns = zip(*answers, strict=True)
    parts: list[Tensor | None] = []
    for name, column in zip(Outputs._fields, columns, strict=True):
        if column[0] is None:
            parts.append(None)
        elif name == "logits":
            parts.append(torch.stack([part.softmax(dim=-1) for part in column]).mean(dim=0).log())
        else:
            parts.append(torch.stack(list(column)).mean(dim=0))
    return Outputs(*parts)  # type: ignore[arg-type]


def split_early_late(rows: IntArray, share: float, longest_horizon: int) -> tuple[IntArray, IntArray]:
    """Return the samples to learn from and the later ones to stop by, purged of labels that reach into them."""
    edge = np.quantile(rows, 1.0 - share) if len(rows) else 0.0
    early, late = np.flatnonzero(rows < edge - longest_horizon), np.flatnonzero(rows >= edge)
    if min(len(early), len(late)) < _MINIMUM_PART:
        raise DataError(
            f"{len(rows)} samples leave {len(early)} to learn from and {len(late)} later ones to stop by, "
            f"{_MINIMUM_PART} of each are needed",
            hint="give it a longer history, more symbols, a shorter window or shorter horizons",
        )
    return early, late


def start_from_average(network: Network, targets: Targets, chosen: IntArray, levels: tuple[float, ...]) -> None:
    """Let a network begin with the samples' own quantiles and shares of classes."""
    quantiles = torch.from_numpy(np.quantile(targets.returns.numpy()[chosen], levels, axis=0).T).float()
    classes = targets.classes
    shares = None if classes is None else torch.stack([(classes[chosen] == k).float().mean(0) for k in range(3)], -1)
    network.start_at(quantiles, shares)


def fit_networks(
    build: Any,
    windows: Windows,
    targets: Targets,
    *,
    reading: Reading,
    schedule: Schedule,
    levels: tuple[float, ...],
    huber: float,
    late_share: float,
    seeds: Sequence[int],
    device: torch.device,
    parent: Fitted | None = None,
    auxiliary: Auxiliary | None = None,
    checkpoints: Path | None,
    key: str,
    progress: Progress,
    name: str,
) -> Fitted:
    """Train one network a seed on the samples of ``windows`` whose targets are known.

    Parameters
    ----------
    build
        Makes an untrained network of a :class:`Shape`.
    parent
        Whose weights the training goes on from; None: it begins anew.
    auxiliary
        A further target.
    """
    vocabulary = Vocabulary.of(windows)
    known = torch.isfinite(targets.returns).all(dim=-1).numpy() & reading.can(windows)
    chosen = np.flatnonzero(known)
    reach = max(*windows.labels.horizons, 0 if auxiliary is None else auxiliary.reach_bars)
    early, late = split_early_late(windows.rows[chosen], late_share, reach)
    padding = reading.window_bars - 1 + (schedule.run_windows - 1) * schedule.run_stride_bars
    sequences = sequences_of(windows, vocabulary, half_life_bars=reading.half_life_bars, padding=padding)
    examples = Examples(sequences, windows.rows, windows.columns, chosen[early], chosen[late], reading.seen(windows))
    shape = Shape(
        length=reading.window_bars,
        inputs=len(sequences.channels),
        statics=vocabulary.sizes,
        future=sequences.future.shape[-1],
        horizons=len(windows.labels.horizons),
        levels=len(levels),
        classes=targets.classes is not None,
    )
    networks, histories, finished = [], [], list[Path]()
    for number, seed in enumerate(seeds):
        with seeded(seed):
            network = build(shape)
            if parent is None:
                start_from_average(network, targets, chosen[early], levels)
                if auxiliary is not None:
                    auxiliary.start(network, examples)
            else:
                adopt(network, vocabulary, sequences.channels, parent, number)
        path = None if checkpoints is None else checkpoints / f"{key}-{seed}.safetensors"
        finished += [] if path is None else [path]
        losses = Losses(levels, targets, huber, auxiliary=auxiliary)
        said = name if len(seeds) == 1 else f"{name}, seed {seed}"
        histories.append(
            train(
                network, examples, losses, schedule, seed=seed, device=device, checkpoint=path,
                progress=progress, name=said,
            )
        )  # fmt: skip
        if auxiliary is not None:
            auxiliary.judge(network, examples)
        networks.append(network)
    for path in finished:
        path.unlink(missing_ok=True)
    return Fitted(tuple(networks), reading, vocabulary, sequences.channels, tuple(histories))


def saliency(fitted: Fitted, windows: Windows, at_most: int = 256) -> tuple[FloatArray, FloatArray]:
    """Return how much each channel ``(F,)`` and each bar of the window ``(L,)`` moved the quantiles, as shares.

    Gradient times input (Shrikumar et al. 2016) of the medians and of the distances of all levels from them; absolute
    values are summed over both and the newest samples. Of the first network where there are several seeds.
    """
    found = newest_block(fitted, windows, at_most)
    if found is None:
        return np.full(len(fitted.channels), np.nan), np.full(fitted.reading.window_bars, np.nan)
    _, block = found
    network = fitted.networks[0]
    values = block.values.clone().requires_grad_(True)
    outputs = network(block._replace(values=values))
    quantiles = outputs.quantiles
    middle = quantiles[..., quantiles.shape[-1] // 2]
    centre, width = middle.sum(), (quantiles - middle[..., None]).abs().sum()
    slopes = [torch.autograd.grad(part, values, retain_graph=True)[0] for part in (centre, width)]
    moved = torch.stack([(slope * values).abs() for slope in slopes]).sum(dim=(0, 1))
    size = moved.detach().double().numpy()
    return _shares(size.sum(axis=0)), _shares(size.sum(axis=1))


def newest_block(fitted: Fitted, windows: Windows, at_most: int) -> tuple[IntArray, Block] | None:
    """Return the newest samples that can be read and their windows, one a run; None where there is none.

    A network of whole dates is shown whole dates, at least one; symbols that were not asked for have the sample -1.
    """
    runs = newest_runs(fitted, windows, at_most)
    if runs is None:
        return None
    return runs.sample[:, 0], fitted.read(windows, 1).block(runs, fitted.reading.window_bars)


def newest_runs(fitted: Fitted, windows: Windows, at_most: int) -> Runs | None:
    """Return the runs of :func:`newest_block`."""
    chosen = np.flatnonzero(fitted.reading.can(windows))
    chosen = chosen[np.argsort(windows.rows[chosen], kind="stable")]
    if not len(chosen):
        return None
    seen = fitted.reading.seen(windows)
    if seen is None:
        chosen = chosen[-at_most:]
        rows, columns = windows.rows[chosen], windows.columns[chosen]
        runs = runs_of(rows, columns, np.zeros((len(rows), 0), dtype=np.int64), 1)
    else:
        runs = dates_of(windows.rows[chosen], windows.columns[chosen], seen)
        begins = runs.edges[:-1]
        first = min(int(np.searchsorted(begins, len(runs) - at_most)), len(begins) - 1)
        runs = runs[int(begins[first]) :]
    return replace(runs, sample=np.where(runs.sample >= 0, chosen[np.maximum(runs.sample, 0)], -1))


def _shares(sizes: FloatArray) -> FloatArray:
    total = float(sizes.sum())
    return sizes / total if total > 0 else np.full_like(sizes, np.nan)
