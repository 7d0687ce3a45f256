"""What a metric is, and the registry that finds one by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from tradewind.errors import BugError, did_you_mean

Kind = Literal["returns", "trades", "weights", "forecasts"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure: its value (NaN when the sample does not define it), sample size and formula."""

    name: str
    value: float
    n: int
    formula: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A registered metric: what it is computed from, its unit, formula and function."""

    name: str
    kind: Kind
    unit: str
    formula: str
    compute: Callable[..., Metric]


REGISTRY: dict[str, Definition] = {}


def metric(kind: Kind, unit: str, formula: str) -> Callable[..., Callable[..., Metric]]:
    """Register a function that returns ``(value, n)`` under its name; it then returns a :class:`Metric`."""

    def decorate(function: Callable[..., tuple[float, int]]) -> Callable[..., Metric]:
        name = function.__name__
        if name in REGISTRY:
            raise BugError(f"metric {name!r} is registered twice")

        def compute(*arguments: object, **options: object) -> Metric:
            value, n = function(*arguments, **options)
            return Metric(name, float(value), int(n), formula)

        compute.__name__, compute.__doc__, compute.__module__ = name, function.__doc__, function.__module__
        REGISTRY[name] = Definition(name, kind, unit, formula, compute)
        return compute

    return decorate


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """Return the names of all registered metrics, or of one kind."""
    return tuple(sorted(d.name for d in REGISTRY.values() if kind in (None, d.kind)))


def definition(name: str) -> Definition:
    """Return a metric's definition; unknown names are refused with the nearest known one."""
    if name not in REGISTRY:
        raise did_you_mean("metric", name, REGISTRY)
    return REGISTRY[name]


def summary(returns: ArrayLike, periods_per_year: float) -> dict[str, Metric]:
    """Return every metric that needs nothing but the returns."""
    return {name: REGISTRY[name].compute(returns, periods_per_year=periods_per_year) for name in names("returns")}
