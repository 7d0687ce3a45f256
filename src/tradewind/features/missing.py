"""What a playbook asks for and will not get, said in words (row A1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tradewind.features import registry
from tradewind.features.graph import missing_inputs
from tradewind.market.panel import Panel

LOUD = "WARNING: "
"""How the note on a missing critical feature begins, so that everybody who shows notes can show it loudly."""

_SHOWN = 5


def missing_notes(panel: Panel, include: Iterable[str], exclude: Iterable[str] = ()) -> tuple[str, ...]:
    """Return one note per critical feature that is missing, loud and first, and one per cause of the others.

    Missing is a feature that no source delivers, whose input this panel lacks, or whose look-back is longer than
    the panel. ``include`` and ``exclude`` are those of ``registry.select``.
    """
    asked = registry.members(include, exclude)
    causes = {name: _cause(name, lacking) for name, lacking in missing_inputs(panel, asked).items()}
    for name in asked:
        bars = registry.get(name).look_back_bars
        if bars > len(panel) and name not in causes:
            causes[name] = f"there are {len(panel)} bars, too few for the look-back"
    critical = [name for name in causes if registry.get(name).critical]
    loud = [f"{LOUD}the critical feature {name!r} is missing: {causes[name]}" for name in critical]
    return (*loud, *_by_cause({name: cause for name, cause in causes.items() if name not in critical}))


def _cause(name: str, lacking: Sequence[str]) -> str:
    return registry.get(name).unavailable or f"the data have no {' and no '.join(lacking)}"


def _by_cause(causes: Mapping[str, str]) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for name, cause in causes.items():
        grouped.setdefault(cause, []).append(name)
    return [f"missing: {_listed(names)}: {cause}" for cause, names in grouped.items()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more features" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
