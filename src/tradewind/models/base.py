"""The one protocol every forecaster obeys, and the registry that finds them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tradewind.features.table import Features
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.forecast import LEVELS, Forecast


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


_REGISTRY: dict[str, Callable[..., Model]] = {}
__all__ = ["LEVELS", "Model", "Windows", "create", "names", "register", "source_file"]


def register(factory: Any) -> Any:
    """Class decorator: make a model known by its ``name``."""
    _REGISTRY[factory.name] = factory
    return factory


def names() -> tuple[str, ...]:
    """Return the names of all known models, sorted."""
    _load()
    return tuple(sorted(_REGISTRY))


def create(name: str, **parameters: Any) -> Model:
    """Build an unfitted model; unknown names and parameters are refused with the nearest known one."""
    import inspect

    from tradewind.errors import did_you_mean

    make = _factory(name)
    known = inspect.signature(make).parameters
    for parameter in parameters:
        if parameter not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise did_you_mean(f"parameter of the model {name!r}:", parameter, known)
    return make(**parameters)


def source_file(name: str) -> Path | None:
    """Return the file that a model was written in; None where it was typed into an interpreter."""
    import inspect

    try:
        found = inspect.getsourcefile(inspect.unwrap(_factory(name)))
    except TypeError:
        return None
    return Path(found) if found and Path(found).is_file() else None


def _factory(name: str) -> Callable[..., Model]:
    from tradewind.errors import did_you_mean

    _load()
    if name not in _REGISTRY:
        raise did_you_mean("model", name, _REGISTRY)
    return _REGISTRY[name]


@cache
def _load() -> None:
    """Import the shipped model files, and those of third parties (entry points ``tradewind.models``)."""
    import importlib
    import pkgutil
    from importlib.metadata import entry_points

    import tradewind.models as room

    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"{room.__name__}.{module.name}")
    for point in entry_points(group="tradewind.models"):
        point.load()
