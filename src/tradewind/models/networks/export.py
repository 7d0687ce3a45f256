"""Networks as files that run without PyTorch: written, checked against the network, and asked for forecasts."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from tradewind.errors import DataError, InputError, did_you_mean
from tradewind.models.networks.exported_file import Card, read_bytes, write_whole
from tradewind.models.networks.forecaster import Fitted, newest_block
from tradewind.models.networks.network import Block, Network, Outputs, windows_of
from tradewind.models.networks.sequences import readable
from tradewind.models.networks.window_program import output_names, program_of

if TYPE_CHECKING:
    from tradewind.models.base import Windows
    from tradewind.models.sequence_model import SequenceModel

FORMATS = {"onnx": "onnx_file", "tflite": "lite_file"}
"""Formats, which are the names of the files' suffixes and of the extras, and the modules that know them."""
TOLERANCE = 1e-5
"""How far an exported network's answers may be from the network's, in units of its outputs."""

_CHECKED_WINDOWS = 256
_CHECKED_ALONE, _CHECKED_BATCH = 8, 7


@dataclass(frozen=True)
class Export:
    """A network that was written to a file and answered as it should.

    Attributes
    ----------
    path, format
        Where, and as what.
    number
        Which of the model's networks.
    max_difference
        The largest difference of any output from the network's answer in double precision, which forecasts are made
        of; in units of the outputs.
    windows
        On how many windows.
    bytes, seconds
        Size of the file, and how long it took.
    """

    path: Path
    format: str
    number: int
    max_difference: float
    windows: int
    bytes: int
    seconds: float


class Exported(Network):
    """A file that answers blocks as the network did that it was made of; any run, window by window.

    It has no weights that PyTorch knows of: it cannot be trained, explained or moved to a device.
    """

    def __init__(self, card: Card, session: Any) -> None:
        super().__init__()
        self.card, self.shape, self.session = card, card.shape, session
        self.eval()

    def forward(self, block: Block) -> Outputs:
        """Answer every window of every run in single precision."""
        self._require(block)
        runs, count = block.future.shape[:2]
        said = self.session([part.numpy() for part in self._arguments(block, count)])
        parts = zip(self.card.outputs, said, strict=True)
        return Outputs(**{name: torch.from_numpy(part.reshape(runs, count, *part.shape[1:])) for name, part in parts})

    def _arguments(self, block: Block, count: int) -> Iterator[Tensor]:
        yield windows_of(block.values, self.shape.length, count).float()
        yield block.statics.repeat_interleave(count, 0)
        yield block.future.flatten(0, 1).float()
        if self.card.whole_dates:
            section = block.statics.new_zeros(len(block.values)) if block.section is None else block.section
            yield (section[:, None] * count + torch.arange(count)).flatten()

    def _require(self, block: Block) -> None:
        shape = self.shape
        wanted = (shape.inputs, len(shape.statics), (shape.horizons, shape.future))
        given = (block.values.shape[-1], block.statics.shape[-1], tuple(block.future.shape[2:]))
        if given != wanted or block.values.shape[1] < shape.length:
            raise DataError(
                f"the file of {self.card.model!r} reads windows of {shape.length} bars with {wanted} channels, statics "
                f"and future values, it was given {block.values.shape[1]} bars with {given}",
                hint="ask it for windows as the model reads them, or export the model again",
            )

    def __deepcopy__(self, memo: Any) -> Self:
        """Return itself: nothing in it changes, and what runs the file cannot be copied."""
        return self


def export_fitted(model: SequenceModel, format: str, folder: Path, windows: Windows) -> list[Export]:
    """Write every network of a fitted model to ``folder/NAME-NUMBER.FORMAT`` and check each on real windows.

    Parameters
    ----------
    format
        One of :data:`FORMATS`.
    windows
        Some of these are what the files are checked on, spread over time and the earliest ones, whose windows begin
        before the history does.

    Raises
    ------
    InputError
        An unknown format, or a package that is not installed.
    DataError
        Other features than the model was trained with, no readable window, or answers that differ by more than
        :data:`TOLERANCE`; then no file is left or replaced.
    """
    kind = file_format(format)
    fitted = model.fitted_
    block = examples(fitted, windows)
    rows = len(windows.panel.symbols) if fitted.reading.whole_dates else 1
    whole = Card(
        model=model.name,
        version=model.version_,
        number=0,
        networks=len(fitted.networks),
        shape=fitted.networks[0].shape,
        channels=fitted.channels,
        horizons=tuple(int(horizon) for horizon in windows.labels.horizons),
        levels=tuple(model.levels),
        outputs=output_names(fitted.networks[0], _part(block, slice(0, 2))),
        whole_dates=fitted.reading.whole_dates,
        batch=rows if kind.FIXED_BATCH else 0,
        made_with=kind.made_with(),
    )
    made = []
    for number, network in enumerate(fitted.networks):
        began = time.perf_counter()
        card, content = converted(network, replace(whole, number=number), block, format)
        made.append((card, content, time.perf_counter() - began))
    return [_written(folder / f"{model.name}-{part[0].number}.{format}", format, *part) for part in made]


def _written(path: Path, format: str, card: Card, content: bytes, seconds: float) -> Export:
    write_whole(path, content)
    return Export(path, format, card.number, card.max_difference, card.windows, len(content), seconds)


def converted(network: Network, card: Card, block: Block, format: str) -> tuple[Card, bytes]:
    """Return a network as a file's content, checked on these single windows; see :func:`export_fitted`."""
    kind = file_format(format)
    body = kind.convert(program_of(network, block), card)
    session = kind.Session(body, card, Path(f"the new {format} file"), 1)
    found = disagreement(Exported(card, session), network, block)
    if not found <= TOLERANCE:
        raise DataError(
            f"the {format} file of {card.model!r} differs from the network by {found:.2g}, "
            f"at most {TOLERANCE:g} is allowed",
            hint="it was not written; go on with the model as it is, and please report this",
        )
    card = card.checked(found, len(block.values))
    return card, kind.seal(body, card)


def disagreement(exported: Exported, network: Network, block: Block) -> float:
    """Return the largest difference of any output on single windows, in batches of one, of a few and of all."""
    wanted = _precise_answers(network, block)
    count = len(block.values)
    parts = [slice(0, count)]
    if not exported.card.whole_dates:
        parts += [slice(place, place + 1) for place in range(_CHECKED_ALONE)]
        parts += [slice(start, start + _CHECKED_BATCH) for start in range(0, count, _CHECKED_BATCH)]
    said = [(exported(_part(block, part)), part) for part in parts if part.start < count]
    return max(
        _difference(a, b[part]) for answer, part in said for a, b in zip(answer, wanted, strict=True) if b is not None
    )


def _precise_answers(network: Network, block: Block) -> Outputs:
    with torch.inference_mode():
        precise = copy.deepcopy(network).double()
        return cast("Outputs", precise(block._replace(values=block.values.double(), future=block.future.double())))


def _difference(said: Tensor | None, wanted: Tensor) -> float:
    if said is None or said.shape != wanted.shape:
        return float("inf")
    far = float((said.double() - wanted).abs().max())
    return far if far == far else float("inf")


def examples(fitted: Fitted, windows: Windows) -> Block:
    """Return single windows to check a file on: spread over time, the earliest, and one that is empty throughout.

    A network that reads whole dates gets the newest ones whole, and no empty window.
    """
    can = np.flatnonzero(readable(windows, fitted.reading.window_bars, fitted.reading.least_share))
    can = can[np.argsort(windows.rows[can], kind="stable")]
    half = _CHECKED_WINDOWS // 2
    chosen = np.unique([*can[:half], *can[np.linspace(0, len(can) - 1, half, dtype=int)]]) if len(can) else can
    some = replace(windows, rows=windows.rows[chosen], columns=windows.columns[chosen])
    found = newest_block(fitted, some, _CHECKED_WINDOWS)
    if found is None:
        raise DataError(
            f"none of {len(windows.rows)} windows has enough bars to check the exported file on",
            hint="give it the history that the model forecasts from",
        )
    block = found[1]
    if fitted.reading.whole_dates:
        return block
    empty = Block(*(torch.zeros_like(part[:1]) for part in (block.values, block.statics, block.future)))
    return block._replace(**{name: torch.cat([getattr(block, name), getattr(empty, name)]) for name in _PARTS})


_PARTS = ("values", "statics", "future")


def _part(block: Block, chosen: slice | Tensor) -> Block:
    return Block(*(None if part is None else part[chosen] for part in block))  # type: ignore[arg-type]


def runners_of(paths: Iterable[Path], threads: int = 1) -> tuple[Exported, ...]:
    """Return what answers in place of the networks that these files were made of.

    Raises
    ------
    InputError
        A suffix that is no format, or a package that is not installed.
    DataError
        A file that is missing, truncated or changed.
    """
    return tuple(_runner(Path(path), threads) for path in paths)


def _runner(path: Path, threads: int) -> Exported:
    kind = file_format(path.suffix.removeprefix("."))
    card, body = kind.unseal(read_bytes(path), path)
    return Exported(card, kind.Session(body, card, path, threads))


def answering_with(model: SequenceModel, runners: Sequence[Exported], horizons: Sequence[int]) -> Fitted:
    """Return the fitted networks with the files in their place; ``DataError`` where they are not of the same model."""
    fitted, version = model.fitted_, model.version_
    cards = [runner.card for runner in runners]
    if {(card.model, card.version) for card in cards} != {(model.name, version)}:
        others = sorted({f"{card.model} {card.version}" for card in cards}) or ["no file"]
        raise DataError(
            f"the files are of {', '.join(others)}, the model is {model.name} {version}",
            hint="export this model, or load the one that the files were made of",
        )
    if sorted(card.number for card in cards) != list(range(len(fitted.networks))):
        raise DataError(
            f"{model.name} has {len(fitted.networks)} networks, the files are of {[card.number for card in cards]}",
            hint="give it the file of every network once",
        )
    if tuple(horizons) != cards[0].horizons:
        raise DataError(
            f"the files forecast {cards[0].horizons} bars ahead, not {tuple(horizons)}",
            hint="train and export a model for these horizons",
        )
    ordered = sorted(runners, key=lambda runner: runner.card.number)
    return replace(fitted, networks=tuple(ordered), date_by_date=True)


def file_format(name: str) -> ModuleType:
    """Return the module that knows a format; ``InputError`` where there is none or its packages are missing."""
    if name not in FORMATS:
        raise did_you_mean("format of exported networks", name, FORMATS)
    kind = import_module(f"tradewind.models.networks.{FORMATS[name]}")
    missing = [package for package in kind.NEEDS if find_spec(package) is None]
    if missing:
        raise InputError(
            f"files of format {name!r} need {' and '.join(missing)}, not installed here",
            hint=f"pip install 'tradewind[{name}]'",
        )
    return kind
