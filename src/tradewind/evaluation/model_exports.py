"""Stored networks for other runtimes: written beside their artefact, and asked for forecasts in the model's place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.errors import InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.stored_models import scaled_as
from tradewind.market.store.failures import storage_failures
from tradewind.models.artefact import EXPORTS, Artefact
from tradewind.models.base import Windows
from tradewind.models.forecast import Forecast
from tradewind.models.sequence_model import SequenceModel, torch_is_there

if TYPE_CHECKING:
    from tradewind.evaluation.corridor import World

TORCH = "torch"
CHECKED_BARS = 250
"""The newest bars of the playbook's panel whose windows an exported file is compared on."""


def export(artefact: Artefact, world: World, format_: str, out: Path | None = None) -> dict[str, Any]:
    """Write an artefact's networks in a format, each compared with the original on real windows first.

    Parameters
    ----------
    world
        Of the playbook that the model was trained for.
    format_
        ``onnx`` or ``tflite``.
    out
        Also copy the files here.

    Returns
    -------
        Files, the largest difference and its limit, how many windows; kept beside the files as ``export.json``.

    Raises
    ------
    InputError
        The model is no network, or the format needs a package that is not installed.
    DataError
        The answers differ by more than the limit; then nothing is written.
    """
    model = _network_of(artefact)
    from tradewind.models.networks.export import TOLERANCE, export_fitted

    rows = np.arange(max(0, len(world.panel) - CHECKED_BARS), len(world.panel))
    windows = corridor.windows(scaled_as(artefact, world), rows)
    folder = artefact.folder / EXPORTS / format_
    written = export_fitted(model, format_, folder, windows)
    report: dict[str, Any] = {
        "model": artefact.id,
        "format": format_,
        "files": [one.path.name for one in written],
        "max_difference": max(one.max_difference for one in written),
        "limit": TOLERANCE,
        "windows": min(one.windows for one in written),
        "bytes": sum(one.bytes for one in written),
        "seconds": round(sum(one.seconds for one in written), 2),
    }
    with storage_failures(folder):
        unfinished = folder / ".export.json"
        unfinished.write_text(json.dumps(report, indent=1), "utf-8")
        unfinished.replace(folder / "export.json")
    place = folder if out is None else _copied(report["files"], folder, out)
    return {**report, "files": [str(place / name) for name in report["files"]]}


def predictor(artefact: Artefact, engine: str, *, trust_pickle: bool = False) -> Callable[[Windows], Forecast]:
    """Return what forecasts for an artefact: the model itself (``torch``), or its exported files in its place."""
    if engine == TORCH:
        return artefact.model(trust_pickle=trust_pickle).predict
    model = _network_of(artefact)
    from tradewind.models.networks.export import file_format, runners_of

    file_format(engine)
    paths = sorted((artefact.folder / EXPORTS / engine).glob(f"*.{engine}"))
    if not paths:
        raise InputError(
            f"{artefact.id} has not been exported to {engine}",
            hint=f"tradewind models export {artefact.id} --format {engine}",
        )
    return partial(model.predict_with, runners_of(paths))


def _network_of(artefact: Artefact) -> SequenceModel:
    torch_is_there(artefact.card["model"])
    model = None if artefact.pickled else artefact.model()
    if not isinstance(model, SequenceModel):
        raise InputError(
            f"{artefact.id} is no network: only networks are exported",
            hint="`tradewind models list` shows the others; `--engine torch` runs any model",
        )
    return model


def _copied(names: list[str], folder: Path, out: Path) -> Path:
    with storage_failures(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(folder / name, out / name)
    return out
