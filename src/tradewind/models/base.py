"""The one protocol every forecaster obeys, and the registry that finds them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tradewind.features.table import Features
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.forecast import Forecast
from tradewind.registry import Registry


@dataclass(frozen=True, eq=False)
class Windows:
    """Samples as ``(row, column)`` index pairs into shared arrays; nothing is copied per sample.

    Attributes
    ----------
    panel, features, labels
        All end at the same bar: nothing after it exists for the model. In ``fit`` labels that were not
        resolved by that bar are NaN; in ``predict`` labels are the caller's (models must not read them).
    rows, columns
        ``(n,)`` int64: the samples to learn from or to forecast. Models may read any earlier row for history.
    """

    panel: Panel
    features: Features
    labels: Labels
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def matrix(self) -> NDArray[np.float32]:
        """The samples' features, ``(n, F)``."""
        return self.features.values[self.rows, self.columns]

    def target(self, horizon_index: int) -> NDArray[np.float64]:
        """The samples' log returns over one horizon, ``(n,)``."""
        return self.labels.returns[self.rows, self.columns, horizon_index]


class Model(Protocol):
    """A forecaster: ``fit`` on windows, ``predict`` a :class:`Forecast`.

    ``predict`` returns a forecast whose time axis is ``panel.times[first : last + 1]`` of the requested rows,
    all symbols, NaN wherever ``(row, column)`` was not asked for.
    """

    name: ClassVar[str]

    def fit(self, windows: Windows) -> Self:
        """Learn from the samples; raises ``DataError`` when there are too few."""
        ...

    def predict(self, windows: Windows) -> Forecast:
        """Forecast the samples."""
        ...


@runtime_checkable
class Resumable(Protocol):
    """A model whose training takes long enough to be watched, and taken up again after a kill."""

    def resume_in(self, folder: Path | None, progress: Callable[[str, int, int], None]) -> None:
        """Keep checkpoints in a folder, go on from the one that is there, and say how far it is."""
        ...


@dataclass(frozen=True)
class Origin:
    """Where a pretrained model's knowledge comes from.

    Attributes
    ----------
    name
        What the weights are called.
    content
        Hash of the weights and of the packages that read them.
    known_at
        ISO day from which on the world could know what they know: forecasts of earlier bars may have read the future.
        None where nobody said.
    """

    name: str
    content: str
    known_at: str | None


@runtime_checkable
class Pretrained(Protocol):
    """A model that may have learnt from something else than the windows it is fitted on."""

    def origin(self) -> Origin | None:
        """Return where its knowledge comes from; None where it is but what it is shown."""
        ...


MODELS = Registry[Model]("model", room="tradewind.models", group="tradewind.models")
register = MODELS.register


def origin_of(name: str, parameters: Mapping[str, Any]) -> Origin | None:
    """Return where the knowledge of a model with these parameters comes from; None where it is but what it is shown.

    Raises what the model raises where its weights are not there.
    """
    if not hasattr(MODELS.factory(name), "origin"):
        return None
    model = MODELS.create(name, **parameters)
    return model.origin() if isinstance(model, Pretrained) else None
