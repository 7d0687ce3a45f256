"""Tradewind: calibrated market forecasts, honest trades.

The verbs of the command line, from Python: :func:`open_playbook`, :func:`sync`, :func:`backtest`, :func:`explain`,
:func:`ranks`, :func:`tune` and :func:`audit`. They are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.api import audit, backtest, explain, open_playbook, ranks, report, sync, tune

__version__ = "0.1.0"
__all__ = ["__version__", "audit", "backtest", "explain", "open_playbook", "ranks", "report", "sync", "tune"]


def __getattr__(name: str) -> Any:
    """Import a verb when it is asked for."""
    if name in __all__:
        from tradewind import api

        return getattr(api, name)
    raise AttributeError(f"module 'tradewind' has no attribute {name!r}")
