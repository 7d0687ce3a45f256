"""What we know at each bar's close: features as folds over stateful primitives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradewind.features.table import Features

if TYPE_CHECKING:
    from tradewind.features.graph import FeatureEngine, FeatureState, compute, missing_inputs

__all__ = ["FeatureEngine", "FeatureState", "Features", "compute", "missing_inputs"]


def __getattr__(name: str) -> Any:
    """Import the compiled engine only when it is asked for."""
    if name in __all__:
        from tradewind.features import graph

        return getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
