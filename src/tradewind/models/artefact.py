"""A trained model as a folder: a card in JSON, tensors in safetensors, each with its hash; written once, never changed.

::

    lstm-20121231-9f0c…/
    ├── artefact.json      the card: model, parameters, features, question, scaler, manifest, metrics, hashes
    ├── state.safetensors  what it learnt, what its calibrator remembers, its losses by day
    ├── state.pickle       only where nothing else can write a part: read on explicit trust alone
    └── exports/           files for other runtimes, each with what was found when it was compared with the model
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.market.store.durable import flush_to_disk
from tradewind.market.store.failures import storage_failures
from tradewind.models.base import Model
from tradewind.models.state import State, UnstorableError, pack, unpack

FORMAT: Final = 1
CARD, TENSORS, PICKLE, EXPORTS = "artefact.json", "state.safetensors", "state.pickle", "exports"
_MODEL, _OTHER = "model/", "other/"
_NEEDED: Final = ("model", "version", "parameters", "state", "files")
_AGAIN: Final = "train it again: `tradewind train PLAYBOOK`; nothing else depends on it"


@dataclass(frozen=True, eq=False)
class Artefact:
    """A stored model whose files are what its card says.

    Attributes
    ----------
    folder
        Where it lies.
    card
        ``model``, ``version``, ``parameters``, ``features``, and whatever else was known when it was made.
    """

    folder: Path
    card: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def digest(self) -> str:
        """The hash of the card, and so of all files."""
        return str(self.card["digest"])

    @property
    def pickled(self) -> bool:
        """Whether parts of it are pickled."""
        return PICKLE in self.card["files"]

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was stored beside the model, by name."""
        return _under(_OTHER, self._tensors)

    def model(self, *, trust_pickle: bool = False) -> Model:
        """Put the fitted model together again; see :func:`tradewind.models.state.unpack` for what it raises."""
        pickled = (self.folder / PICKLE).read_bytes() if self.pickled else None
        state = State(self.card["state"], _under(_MODEL, self._tensors), pickled)
        model = unpack(self.card["model"], self.card["parameters"], state, trust_pickle=trust_pickle)
        if (found := getattr(model, "version_", self.card["version"])) != self.card["version"]:
            raise DataError(f"{self.id} holds a model of version {found}, its card says {self.card['version']}")
        return model

    @cached_property
    def _tensors(self) -> dict[str, NDArray[Any]]:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return dict(load((self.folder / TENSORS).read_bytes()))
        except (OSError, SafetensorError) as failure:
            raise DataError(f"the tensors of {self.folder} cannot be read: {failure}", hint=_AGAIN) from failure


def write(folder: Path, model: Model, card: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Artefact:
    """Store a fitted model under a name of its own; one that is there already stays as it is.

    Parameters
    ----------
    folder
        The artefact's folder; its parent is created.
    card
        JSON-able; ``model``, ``version``, ``parameters`` and ``features`` at least.
    arrays
        What is stored beside the model, for :attr:`Artefact.arrays`.

    Raises
    ------
    UnstorableError
        The model cannot be taken apart, or what it says of itself is no JSON.
    InputError, RetryError
        The folder cannot be written; the disk is full.
    DataError
        There is one of that name and it is damaged.
    """
    if folder.exists():
        return read(folder)
    state = pack(model)
    with storage_failures(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f".partial-{uuid.uuid4().hex}")
        partial.mkdir()
        try:
            _fill(partial, state, card, arrays)
            _take_place(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return read(folder)


def read(folder: Path, *, digest: str | None = None) -> Artefact:
    """Return a stored model once every file has been compared with its hash.

    Parameters
    ----------
    digest
        What the records say its card's hash is.

    Raises
    ------
    DataError
        It is missing, incomplete, changed since, or of another format.
    """
    card = _card(folder)
    if card.get("format") != FORMAT:
        raise DataError(
            f"{folder} is of format {card.get('format')!r}, this Tradewind reads {FORMAT}",
            hint="read it with the version that wrote it, or train it again",
        )
    stated = card.get("digest")
    if stated != _digest(card) or (digest is not None and stated != digest):
        raise DataError(f"the card of {folder} was changed after it was written", hint=_AGAIN)
    for name, about in _files(folder, card).items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing", hint=_AGAIN)
        if path.stat().st_size != about["bytes"] or _hash(path.read_bytes()) != about["sha256"]:
            raise DataError(f"{path} is not what was written: truncated or changed", hint=_AGAIN)
    return Artefact(folder, card)


def put_aside(folder: Path) -> Path:
    """Give a damaged artefact's folder another name, so that its own is free; return where it is now."""
    aside = folder.with_name(f".damaged-{folder.name}-{uuid.uuid4().hex[:8]}")
    with storage_failures(folder.parent):
        folder.rename(aside)
        flush_to_disk(folder.parent)
    return aside


def _fill(folder: Path, state: State, card: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save

    named = {f"{_MODEL}{k}": v for k, v in state.tensors.items()} | {f"{_OTHER}{k}": v for k, v in arrays.items()}
    contents = {TENSORS: save({name: np.array(value, order="C") for name, value in named.items()})}
    if state.pickled is not None:
        contents[PICKLE] = state.pickled
    files = {name: {"bytes": len(content), "sha256": _hash(content)} for name, content in contents.items()}
    whole = {"format": FORMAT, **card, "state": state.tree, "files": files}
    try:
        whole = json.loads(json.dumps(whole, allow_nan=False))
    except (TypeError, ValueError) as failure:
        raise UnstorableError(f"the card of {card.get('model')!r} is no JSON: {failure}") from failure
    contents[CARD] = json.dumps({**whole, "digest": _digest(whole)}, indent=1).encode()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        flush_to_disk(folder / name)
    flush_to_disk(folder)


def _take_place(partial: Path, folder: Path) -> None:
    """Give a finished folder its name; where another process was first, its own is kept."""
    try:
        partial.rename(folder)
    except OSError:
        if not (folder / CARD).exists():
            raise
    flush_to_disk(folder.parent)


def _card(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as failure:
        raise DataError(f"{folder} holds no model that can be read: {failure}", hint=_AGAIN) from failure
    if not isinstance(content, dict):
        raise DataError(f"{folder / CARD} is no card of a model", hint=_AGAIN)
    return content


def _files(folder: Path, card: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the files of a card by name, every one of which is hashed; ``DataError`` for a card of something else."""
    files = card.get("files")
    lacking = sorted(name for name in _NEEDED if name not in card)
    if lacking or not isinstance(files, dict) or not {TENSORS} <= set(files) <= {TENSORS, PICKLE}:
        what = f"it lacks {', '.join(lacking)}" if lacking else "its files are not those of a model"
        raise DataError(f"{folder / CARD} is no card of a model: {what}", hint=_AGAIN)
    if not all(isinstance(about, dict) and {"bytes", "sha256"} <= set(about) for about in files.values()):
        raise DataError(f"{folder / CARD} does not tell the hash of every file", hint=_AGAIN)
    return files


def _digest(card: Mapping[str, Any]) -> str:
    """Return the hash of everything on a card but the hash itself."""
    return _hash(json.dumps({k: v for k, v in card.items() if k != "digest"}, sort_keys=True).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _under(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
