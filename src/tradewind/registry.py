"""What can be plugged in: files of a room, and what other packages bring through entry points, found by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from tradewind.errors import did_you_mean

Plugin = TypeVar("Plugin")
Factory = TypeVar("Factory", bound=type[Any])


@cache
def load(room: str, group: str) -> tuple[Any, ...]:
    """Import every file of a room, and what the entry points of a group name.

    Parameters
    ----------
    room
        A package, e.g. ``"tradewind.models"``: each of its modules is imported, in alphabetical order.
    group
        Of entry points, e.g. ``"tradewind.models"``: how another distribution adds its own.

    Returns
    -------
        The modules, then whatever the entry points point at.
    """
    import pkgutil
    from importlib.metadata import entry_points

    names = sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(room).__path__))
    modules = [importlib.import_module(f"{room}.{name}") for name in names]
    return (*modules, *(point.load() for point in entry_points(group=group)))


class Registry(Generic[Plugin]):
    """Named factories of one kind: shipped ones in the files of a room, others' through entry points.

    Nothing is imported before the first question is asked.

    Parameters
    ----------
    kind
        What an error calls it, e.g. ``"model"``.
    room, group
        As for :func:`load`.
    """

    def __init__(self, kind: str, *, room: str, group: str) -> None:
        self.kind, self.room, self.group = kind, room, group
        self._factories: dict[str, Callable[..., Plugin]] = {}

    def register(self, factory: Factory) -> Factory:
        """Class decorator: make a factory known by its ``name``."""
        self._factories[factory.name] = factory
        return factory

    def forget(self, name: str) -> None:
        """Take a factory out again."""
        del self._factories[name]

    def names(self) -> tuple[str, ...]:
        """Return all known names, sorted."""
        load(self.room, self.group)
        return tuple(sorted(self._factories))

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def factory(self, name: str) -> Callable[..., Plugin]:
        """Return what makes it; an unknown name is an ``InputError`` with the nearest known one."""
        if name not in self:
            raise did_you_mean(self.kind, name, self._factories)
        return self._factories[name]

    def create(self, name: str, **parameters: Any) -> Plugin:
        """Make one; unknown names and parameters are an ``InputError`` with the nearest known one."""
        factory = self.factory(name)
        known = inspect.signature(factory).parameters
        for parameter in parameters:
            if parameter not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
                raise did_you_mean(f"parameter of the {self.kind} {name!r}:", parameter, known)
        return factory(**parameters)

    def source_file(self, name: str) -> Path | None:
        """Return the file that it was written in; None where it was typed into an interpreter."""
        try:
            found = inspect.getsourcefile(inspect.unwrap(self.factory(name)))
        except TypeError:
            return None
        return Path(found) if found and Path(found).is_file() else None
