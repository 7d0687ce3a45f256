"""Networks as LiteRT (TensorFlow Lite) files of a fixed batch, for phones and small boards.

A batch of one window, or of one date for networks that read whole dates. The card is a file in a zip archive behind
the model, where TensorFlow Lite keeps what belongs to a model: ``unzip -p FILE tradewind.json`` prints it.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import ExportedProgram

from tradewind.errors import DataError
from tradewind.models.networks import lite_environment
from tradewind.models.networks.exported_file import CARD, Card, damaged, opened

NEEDS = ("ai_edge_litert",)
FIXED_BATCH = True

_MAKERS = ("litert-torch", "litert-converter")
_SCRIPT = Path(__file__).with_name("lite_convert.py")
_CARD_FILE = f"{CARD}.json"
_IDENTIFIER = slice(4, 8), b"TFL3"
_ARCHIVE = b"PK\x03\x04"


def made_with() -> tuple[tuple[str, str], ...]:
    """Return the versions of what writes these files."""
    pins = (line.split("==") for line in lite_environment.LOCK.read_text("utf-8").splitlines() if "==" in line)
    return (("torch", version("torch")), *((name, pin) for name, pin in pins if name in _MAKERS))


def convert(program: ExportedProgram, card: Card) -> bytes:
    """Return the program as a LiteRT model.

    Raises
    ------
    InputError
        The environment that converts is not built.
    DataError
        It cannot convert the network.
    """
    python = lite_environment.interpreter()
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "network.pt2", Path(name) / "network.tflite"
        torch.export.save(program, source)
        what = [str(source), str(target), str(card.batch), ",".join(card.inputs), ",".join(card.outputs)]
        # isolated: the modules beside the script must not stand in for those that it imports
        done = subprocess.run([str(python), "-I", str(_SCRIPT), *what], capture_output=True, text=True, check=False)
        if done.returncode or not target.exists():
            raise DataError(
                f"{card.model!r} could not be converted to LiteRT: {lite_environment.last_lines(done.stderr)}",
                hint="export it to onnx, and please report this",
            )
        return target.read_bytes()


def seal(body: bytes, card: Card) -> bytes:
    """Return the model with its card in a zip archive behind it; LiteRT reads what stands before."""
    return _with_card(body, card.sealed(body))


def unseal(content: bytes, path: Path) -> tuple[Card, bytes]:
    """Return a file's card and its model; ``DataError`` where either was changed."""
    place, identifier = _IDENTIFIER
    begin = content.rfind(_ARCHIVE)
    if content[place] != identifier or begin < 0:
        raise damaged(path, "it is no LiteRT model with a card, or only a part of one")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            text = archive.read(_CARD_FILE).decode()
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise damaged(path, "its card cannot be read") from error
    body = content[:begin]
    if content != _with_card(body, text):
        raise damaged(path, "its card is not as it was written")
    return opened(text, body, path), body


def _with_card(body: bytes, text: str) -> bytes:
    whole = io.BytesIO(body)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_CARD_FILE), text)
    return whole.getvalue()


class Session:
    """A LiteRT model in its interpreter."""

    def __init__(self, content: bytes, card: Card, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._card = card
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise damaged(path, f"LiteRT refuses it: {error}") from error

    def __call__(self, arguments: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the outputs, window by window or date by date."""
        given = [part if part.dtype == np.float32 else part.astype(np.int32) for part in arguments]
        groups = self._dates(given[-1]) if self._card.whole_dates else np.arange(len(given[0]))[:, None]
        said = [self._answer([part[group] for part in given]) for group in groups]
        back = np.argsort(np.concatenate(groups), kind="stable")
        return [np.concatenate(parts)[back] for parts in zip(*said, strict=True)]

    def _answer(self, given: list[NDArray[Any]]) -> list[NDArray[np.float32]]:
        count, batch = len(given[0]), self._card.batch
        if count < batch:
            given = [np.concatenate([part, np.zeros((batch - count, *part.shape[1:]), part.dtype)]) for part in given]
            given[-1][count:] = -1 - np.arange(batch - count)  # each alone on a date of its own
        said = self._run(**dict(zip(self._card.inputs, given, strict=True)))
        return [said[name][:count].copy() for name in self._card.outputs]

    def _dates(self, section: NDArray[np.int32]) -> list[NDArray[np.intp]]:
        groups = [np.flatnonzero(section == date) for date in np.unique(section)]
        largest = max(map(len, groups))
        if largest > self._card.batch:
            raise DataError(
                f"the file of {self._card.model!r} reads {self._card.batch} symbols of a date, it was given {largest}",
                hint="export the model again on the larger panel, or to onnx",
            )
        return groups
