"""Forecasts of finished folds, kept by the content of everything they depend on.

A walk-forward that was interrupted goes on where it stopped, and a second look at an identical fold costs nothing.
A key covers the bars seen, the settings, the model, the code with its libraries and plug-ins, so a stored forecast can
only be the one that would be computed again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.evaluation.runs import environment
from tradewind.labels.splits import Fold
from tradewind.market.panel import Panel
from tradewind.market.store.failures import storage_failures
from tradewind.models.base import MODELS, Model, Windows, origin_of
from tradewind.models.forecast import SAID, Forecast

if TYPE_CHECKING:
    from tradewind.evaluation.corridor import World


@dataclass(frozen=True)
class FoldCache:
    """A folder of fold forecasts; ``None`` keeps nothing.

    ``models`` keeps fitted models in memory by all that they were fitted on; ``None`` keeps none.
    """

    folder: Path | None
    models: dict[str, Model] | None = None

    def get(
        self, world: World, model: str, fold: Fold, make: Callable[[], Forecast], **besides: str | float
    ) -> Forecast:
        """Return the stored forecast of a fold, or make and store it.

        ``besides`` is what it depends on that other forecasts of the fold do not.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{key_of(world, model, fold, **besides)}.npz"
        stored = _read(path) if path.is_file() else None
        if stored is not None:
            return stored
        forecast = make()
        with storage_failures(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, forecast)
        return forecast

    def fitted(self, name: str, parameters: Mapping[str, Any], shown: Windows, fit: Callable[[], Model]) -> Model:
        """Return a copy of the model that was fitted on just this, or fit and keep it: asking teaches it nothing."""
        if self.models is None:
            return fit()
        key = f"{name} {json.dumps(parameters, sort_keys=True, default=str)} {content_of(shown)}"
        if key not in self.models:
            self.models[key] = fit()
        return copy.deepcopy(self.models[key])


def content_of(windows: Windows) -> str:
    """Return a hash of all that a model is shown."""
    features, labels = windows.features, windows.labels
    digest = hashlib.blake2b(panel_digest(windows.panel).encode() + repr(features.names).encode())
    arrays = (features.values, labels.returns, labels.scale, labels.end, labels.weight, labels.classes)
    for array in (*arrays, windows.rows, windows.columns):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def key_of(world: World, model: str, fold: Fold, **besides: str | float) -> str:
    """Return the hash of everything that a fold's forecast depends on."""
    plan = world.plan
    settings = {
        "features": world.features.names,
        "labels": plan.labels.model_dump(mode="json"),
        "scaling": plan.features.model_dump(mode="json"),
        "parameters": plan.models.parameters.get(model, {}),
        "forecast features": _bases_of(world),
        "seed": plan.models.seed,
        "stride": plan.evaluation.train_stride_bars,
        "model": model,
        "train": [int(fold.train[0]), int(fold.train[-1]), len(fold.train)],
        "test": [int(fold.test[0]), int(fold.test[-1])],
        "code": code_version(),
        "libraries": libraries(),
        "plug-ins": plug_ins(),
        "models": {name: source_digest(name) for name in (model, *plan.features.forecasts)},
        **_origins_of(world, model),
        **besides,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(panel_digest(world.panel.head(int(fold.test[-1]) + 1)).encode())
    return digest.hexdigest()[:32]


def _origins_of(world: World, model: str) -> dict[str, object]:
    """Return the content of the weights that pretrained models bring: a folder keeps its name when they change."""
    names = dict.fromkeys((model, *world.plan.features.forecasts))
    origins = {name: origin_of(name, world.plan.models.parameters.get(name, {})) for name in names}
    found = {name: origin.content for name, origin in origins.items() if origin is not None}
    return {"origins": found} if found else {}


def _bases_of(world: World) -> dict[str, object]:
    """Return what the forecasts among the features depend on that nothing else of a fold says."""
    plan = world.plan
    parameters = {name: plan.models.parameters.get(name, {}) for name in plan.features.forecasts}
    settings = plan.evaluation
    return {"parameters": parameters, "refit": [settings.refit_bars, settings.window]} if parameters else {}


def panel_digest(panel: Panel) -> str:
    """Return a hash of everything in a panel."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((panel.symbols, panel.sectors, panel.timeframe)).encode())
    arrays = [panel.times, panel.mask, panel.member, *(panel.fields[k] for k in sorted(panel.fields))]
    for array in [*arrays, *(panel.context[k] for k in sorted(panel.context))]:
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr(sorted(panel.context)).encode())
    return digest.hexdigest()


@cache
def code_version() -> str:
    """Return the package version and a hash of its source, so that changed code is never taken for the old."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return f"{version('tradewind')}+{digest.hexdigest()[:12]}"


@cache
def libraries() -> dict[str, str]:
    """Return the versions that a model's numbers may depend on."""
    return environment()


def plug_ins() -> list[str]:
    """Return the distributions that bring features or models of others, with their versions, sorted."""
    points = (p for group in ("tradewind.features", "tradewind.models") for p in entry_points(group=group))
    return sorted({f"{p.dist.name} {p.dist.version}" for p in points if p.dist is not None})


def source_digest(model: str) -> str:
    """Return a hash of the file that a model was written in, for those that :func:`code_version` does not cover."""
    path = MODELS.source_file(model)
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _write(path: Path, forecast: Forecast) -> None:
    """Store under a temporary name first: a killed process leaves no half file under the real one."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.npz")
    head = {
        "symbols": forecast.symbols,
        "horizons": forecast.horizons,
        "levels": forecast.levels,
        "model": forecast.model,
        "version": forecast.version,
        "explanation": dict(forecast.explanation),
    }
    head_as_text = np.array(json.dumps(head))
    np.savez(temporary, allow_pickle=False, head=head_as_text, times=forecast.times, **forecast.arrays)
    temporary.replace(path)


def _read(path: Path) -> Forecast | None:
    """Return what is stored; None for a damaged file, which is then made again."""
    try:
        return _stored(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _stored(path: Path) -> Forecast:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        head = json.loads(str(stored["head"]))
        return Forecast(
            times=stored["times"],
            symbols=tuple(head["symbols"]),
            horizons=tuple(head["horizons"]),
            levels=tuple(head["levels"]),
            **{name: stored[name] for name in SAID if name in stored},
            model=head["model"],
            version=head["version"],
            explanation=head["explanation"],
        )
