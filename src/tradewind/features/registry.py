"""The single source of truth for features: names, families, groups. Adding one is one line in a family's file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import MappingProxyType

from tradewind.errors import BugError, InputError, did_you_mean
from tradewind.features.spec import Family, FeatureSpec

BASE_20 = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "rsi_14",
    "macd",
    "macd_signal",
    "bollinger_upper_20",
    "bollinger_lower_20",
    "sma_20",
    "sma_50",
    "atr_14",
    "sentiment_score",
    "sentiment_momentum",
    "sentiment_volatility",
    "news_volume_24h",
    "vix",
    "sector_performance",
    "index_correlation_60",
)
"""The base set of the NASDAQ playbook (row A1)."""

ALL, MODEL, BASE = "all", "model", "base_20"


@lru_cache(maxsize=1)
def specs() -> MappingProxyType[str, FeatureSpec]:
    """Return every feature by name, families in alphabetical order.

    Third parties add families through entry points of the group ``tradewind.features``, each a ``Family``.
    """
    found: dict[str, FeatureSpec] = {}
    for family in _families():
        for spec in family.specs:
            if spec.name in found:
                raise BugError(f"feature {spec.name!r} is in {found[spec.name].family!r} and in {spec.family!r}")
            found[spec.name] = spec
    return MappingProxyType(found)


def _families() -> list[Family]:
    import tradewind.features.families as room

    modules = sorted(m.name for m in pkgutil.iter_modules(room.__path__))
    shipped = [importlib.import_module(f"{room.__name__}.{m}").FAMILY for m in modules]
    from importlib.metadata import entry_points

    return shipped + [point.load() for point in entry_points(group="tradewind.features")]


def families() -> tuple[str, ...]:
    """Return the names of all families, sorted."""
    return tuple(sorted({spec.family for spec in specs().values()}))


def get(name: str) -> FeatureSpec:
    """Return a feature by name; an unknown one is refused with the nearest known."""
    if name not in specs():
        raise did_you_mean("feature", name, specs())
    return specs()[name]


def select(include: Iterable[str] = (MODEL,), exclude: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the computable features that a playbook asks for, in registry order.

    Parameters
    ----------
    include, exclude
        Names of features, of families, or of the groups ``all`` (every computable feature), ``model`` (the
        scale-free ones, fit for a model that pools symbols) and ``base_20`` (row A1).

    Raises
    ------
    InputError
        A name that is none of these, or nothing left.
    """
    dropped = _expand(exclude)
    wanted = _expand(include) - dropped
    chosen = tuple(s.name for s in specs().values() if s.name in wanted and s.expression is not None)
    if not chosen:
        raise InputError("no computable feature is left", hint="widen `include` or narrow `exclude`")
    return chosen


def unavailable(include: Iterable[str] = (ALL,)) -> tuple[FeatureSpec, ...]:
    """Return the features asked for that no source delivers yet; each says why."""
    wanted = _expand(include)
    return tuple(s for s in specs().values() if s.name in wanted and s.expression is None)


def groups() -> tuple[str, ...]:
    """Return the names of the groups that ``select`` understands beside features and families."""
    return (ALL, BASE, MODEL)


def _expand(names: Iterable[str]) -> set[str]:
    return {member for name in names for member in _members(name)}


def _members(name: str) -> Sequence[str]:
    if name == ALL:
        return tuple(specs())
    if name == MODEL:
        return tuple(s.name for s in specs().values() if s.scale_free and s.expression is not None)
    if name == BASE:
        return BASE_20
    if name in specs():
        return (name,)
    if name in families():
        return tuple(s.name for s in specs().values() if s.family == name)
    raise did_you_mean("feature, family or group", name, [*specs(), *families(), *groups()])
