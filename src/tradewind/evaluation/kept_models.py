"""Fitted models kept on disk by all that they were fitted on, so that a retraining never fits one of them twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tradewind.errors import DataError
from tradewind.evaluation.fold_cache import FoldCache, code_version, content_of, libraries, source_digest
from tradewind.market.store.failures import storage_failures
from tradewind.models import artefact as artefacts
from tradewind.models.base import Model, Windows, origin_of
from tradewind.models.state import UnstorableError, pack


@dataclass(frozen=True)
class KeptModels(FoldCache):
    """A :class:`FoldCache` that keeps the models too.

    Networks forget their checkpoints once they are trained: a kill after that, before anything is stored, would cost
    the whole training. And the block that tonight's walk ends with is longer tomorrow, of the same model.

    Attributes
    ----------
    kept
        Folder of the models; None keeps none. Models that only pickle can store are not kept.
    used
        Names of those that were asked for.
    """

    kept: Path | None = None
    used: set[str] = field(default_factory=set)

    def fitted(self, name: str, parameters: Mapping[str, Any], shown: Windows, fit: Callable[[], Model]) -> Model:
        """Return the model that was fitted on just this, or fit and keep it."""
        if self.kept is None:
            return fit()
        folder = self.kept / f"{name}-{_key(name, parameters, shown)}"
        self.used.add(folder.name)
        stored = _read(folder)
        if stored is not None:
            return stored
        made = fit()
        _write(folder, name, parameters, made)
        return made

    def forget_others(self) -> None:
        """Delete the models that nobody asked for; half-written ones with them."""
        if self.kept is None or not self.kept.is_dir():
            return
        with storage_failures(self.kept):
            for folder in self.kept.iterdir():
                if folder.name not in self.used:
                    shutil.rmtree(folder)


def _key(name: str, parameters: Mapping[str, Any], shown: Windows) -> str:
    origin = origin_of(name, parameters)
    parts = [
        name,
        dict(parameters),
        content_of(shown),
        code_version(),
        libraries(),
        source_digest(name),
        None if origin is None else origin.content,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _read(folder: Path) -> Model | None:
    """Return what is stored; None where there is nothing, or only a damaged one, which makes room for another."""
    if not folder.exists():
        return None
    try:
        return artefacts.read(folder).model()
    except DataError:
        artefacts.put_aside(folder)
        return None


def _write(folder: Path, name: str, parameters: Mapping[str, Any], model: Model) -> None:
    try:
        if pack(model).pickled is not None:
            return
        version = str(getattr(model, "version_", ""))
        card: dict[str, Any] = {"model": name, "version": version, "parameters": dict(parameters), "features": []}
        artefacts.write(folder, model, card, {})
    except UnstorableError:
        return
