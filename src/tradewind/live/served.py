"""Who forecasts: the champion of each seat, asked bar after bar, or about many bars at once with the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.evaluation import corridor
from tradewind.evaluation.corridor import Progress, World, silent
from tradewind.evaluation.fold_cache import FoldCache
from tradewind.evaluation.model_exports import export, predictor
from tradewind.evaluation.model_registry import CHAMPION, ModelRegistry, exports_of, seats_of
from tradewind.evaluation.stored_models import scaled_as
from tradewind.features.scaling import Scaler, scaler_from_dict
from tradewind.features.table import Features
from tradewind.labels.splits import Fold
from tradewind.models.artefact import EXPORTS, Artefact
from tradewind.models.base import MODELS, Model, Windows
from tradewind.models.forecast import Forecast
from tradewind.stats.growing import Growing

if TYPE_CHECKING:
    from tradewind.evaluation.workspace import Workspace
    from tradewind.models.networks.export import Exported

Engine = Literal["onnx", "model"]
ONNX: Final = "onnx"


Timeline = Sequence[tuple[np.datetime64, "Served"]]
"""Who forecast for a seat, each from the bar of that close on, oldest first; the first from as early as it could."""


class Stepper(Protocol):
    """Something that is shown every bar once, in order, and forecasts at its close."""

    def step(self, windows: Windows) -> Forecast | None:
        """Forecast the samples, which are all of the newest bar; None where there are none."""
        ...


@dataclass(frozen=True, eq=False)
class Served:
    """A stored model that forecasts in a running corridor.

    Attributes
    ----------
    name
        Of the model; it names the seat too where an ensemble is traded.
    seat
        Where it is champion.
    engine
        ``onnx``: its exported files answer through ONNX Runtime, date by date; ``model``: the model itself does.
    """

    name: str
    seat: str
    artefact: Artefact
    engine: Engine

    @cached_property
    def model(self) -> Model:
        """The fitted model."""
        return self.artefact.model()

    @cached_property
    def runners(self) -> tuple[Exported, ...]:
        """The exported files, opened; none where the model itself answers."""
        if self.engine != ONNX:
            return ()
        from tradewind.models.networks.export import runners_of

        return runners_of(sorted((self.artefact.folder / EXPORTS / ONNX).glob(f"*.{ONNX}")))

    @property
    def trained_until(self) -> np.datetime64:
        """The last bar that it learnt from."""
        return np.datetime64(str(self.artefact.card["manifest"]["trained_until"]).removesuffix("+00:00"), "us")

    def over(self, world: World, rows: NDArray[np.int64]) -> Forecast:
        """Forecast many bars of a world at once, ``rows`` rising."""
        asked = corridor.windows(scaled_as(self.artefact, world), rows)
        if not asked.rows.size:
            raise DataError(
                f"nobody belongs to the universe in {len(rows)} bars from {world.panel.times[rows[0]]} on",
                hint="look at [universe], and at what `tradewind data check` says",
            )
        answer = predictor(self.artefact, ONNX) if self.engine == ONNX else self.model.predict
        return answer(asked).at(world.panel.times[rows])

    def stepper(self, world: World) -> Stepper:
        """Return what goes on from the end of a world, bar after bar."""
        nobody = np.empty(0, dtype=np.int64)
        history = Windows(world.panel, world.features, world.labels, nobody, nobody)
        scaling = _Scaling.after(self.artefact, world.features)
        shown = replace(history, features=scaling.view(world))
        own = getattr(self.model, "stepper", None)
        inner = None if own is None else own(shown, self.runners)
        return _Scaled(scaling, _Asked(self.answer) if inner is None else inner)

    def answer(self, windows: Windows) -> Forecast:
        """Forecast samples with their whole history at hand."""
        if self.runners:
            return self.model.predict_with(self.runners, windows)  # type: ignore[attr-defined]
        return self.model.predict(windows)


class _Scaling:
    """Features as a model is shown them, row after row; what the scaler learns on the way is its own."""

    def __init__(self, scaler: Scaler | None, scaled: Growing | None) -> None:
        self._scaler, self._scaled = scaler, scaled

    @classmethod
    def after(cls, artefact: Artefact, history: Features) -> _Scaling:
        stored = artefact.card["scaler"]
        if stored is None:
            return cls(None, None)
        scaler = scaler_from_dict(stored)
        return cls(scaler, Growing(scaler.transform(history).values))

    def extend(self, newest: Features) -> None:
        """Scale the next rows."""
        if self._scaler is not None and self._scaled is not None:
            self._scaled.extend(self._scaler.transform(newest).values)

    def view(self, windows: Windows | World) -> Features:
        """Return the features of all rows so far, scaled."""
        return windows.features if self._scaled is None else replace(windows.features, values=self._scaled.view)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A stepper that is shown scaled features."""

    scaling: _Scaling
    inner: Stepper

    def step(self, windows: Windows) -> Forecast | None:
        features = windows.features
        newest = replace(features, times=features.times[-1:], values=features.values[-1:])
        self.scaling.extend(newest)
        return self.inner.step(replace(windows, features=self.scaling.view(windows)))


@dataclass(frozen=True, eq=False)
class _Asked:
    """A stepper of a model that keeps no state between bars: it is asked with its history each time."""

    answer: Callable[[Windows], Forecast]

    def step(self, windows: Windows) -> Forecast | None:
        return self.answer(windows) if len(windows.rows) else None


def champions(workspace: Workspace, registry: ModelRegistry, engine: Engine) -> dict[str, Served]:
    """Return who forecasts for a plan, by model: the champions of its seats.

    Raises
    ------
    InputError
        A seat has no champion yet.
    """
    return {name: seated(registry, seat, name, engine) for seat, name in seats_of(workspace.plan).items()}


def seated(registry: ModelRegistry, seat: str, name: str, engine: Engine, reference: str = CHAMPION) -> Served:
    """Return a model of a seat, its champion unless another is named, as one that forecasts."""
    return served(registry.artefact(reference, seat), name, seat, engine)


def served(artefact: Artefact, name: str, seat: str, engine: Engine) -> Served:
    """Return an artefact as one that forecasts; a model that is no network answers by itself, whatever the engine."""
    if artefact.card["model"] != name:
        raise DataError(f"{artefact.id} is a {artefact.card['model']!r}, the seat {seat} is for {name!r}")
    return Served(name, seat, artefact, engine if _is_network(name) else "model")


def require_exports(serving: Mapping[str, Served], world: World) -> list[str]:
    """Write the exported files that the engine needs and that are not there yet; return of which models."""
    made = []
    for one in serving.values():
        if one.engine == ONNX and ONNX not in {found["format"] for found in exports_of(one.artefact.folder)}:
            export(one.artefact, world, ONNX)
            made.append(one.name)
    return made


def history(
    world: World, since: Timeline, stop: int, cache: FoldCache, progress: Progress = silent
) -> list[tuple[int, Forecast]]:
    """Return what a seat had forecast before row ``stop``, as parts from their first rows on.

    Up to the last bar that its first model learnt from, by the models of the walk-forward, as a back-test has it; after
    that by that model, which was trained by then, and from the bars of its successors on by them.
    """
    times, (_, first_one) = world.panel.times, since[0]
    first = min(int(np.searchsorted(times, first_one.trained_until, side="right")), stop)
    seen = world.head(stop)
    folds = [replace(f, test=f.test[f.test < first]) for f in _folds(seen) if int(f.test[0]) < first]
    parts = list(corridor.walk(seen, first_one.name, cache, progress, folds, failures=[]))
    begins = [first, *(min(int(np.searchsorted(times, at)), stop) for at, _ in since[1:])]
    for start, end, (_, one) in zip(begins, [*begins[1:], stop], since, strict=True):
        if start < end:
            parts.append((start, one.over(world.head(end), np.arange(start, end))))
    return parts


def _folds(world: World) -> Sequence[Fold]:
    """Return the walk-forward's folds; none where history is too short for any."""
    try:
        return corridor.folds_of(world)
    except DataError:
        return []


def _is_network(name: str) -> bool:
    from tradewind.models.sequence_model import SequenceModel

    kind = MODELS.factory(name)
    return isinstance(kind, type) and issubclass(kind, SequenceModel)


def require_servable(workspace: Workspace) -> None:
    """Refuse what a running corridor cannot do yet; each has a reason and a way out."""
    plan = workspace.plan
    refused = {
        "forecasts are features of other models": (bool(plan.features.forecasts), "set features.forecasts = []"),
        f"calibration {plan.calibration.method!r} is of each fold's training rows": (
            plan.calibration.method not in ("adaptive", "none"),
            'set calibration.method = "adaptive"',
        ),
    }
    for what, (so, way_out) in refused.items():
        if so:
            name = plan.column(plan.playbook.name)
            raise InputError(f"{name} cannot run on a clock yet: {what}", hint=way_out)
