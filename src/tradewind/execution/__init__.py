"""Target -> order -> fill: the simulator, its ledger, and what trading costs.

Names are imported on first use, so that reading settings does not load numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.execution.book import Book
    from tradewind.execution.orders import OrderTable, Ticket
    from tradewind.execution.plan import TradePlan
    from tradewind.execution.quotes import DepthModel, simulate_on_quotes
    from tradewind.execution.settings import AccountSection, ExecutionSection
    from tradewind.execution.simulator import Delisting, Simulation, simulate, step

_HOMES = {
    "AccountSection": "settings",
    "Book": "book",
    "Delisting": "simulator",
    "DepthModel": "quotes",
    "ExecutionSection": "settings",
    "OrderTable": "orders",
    "Simulation": "simulator",
    "Ticket": "orders",
    "TradePlan": "plan",
    "simulate": "simulator",
    "simulate_on_quotes": "quotes",
    "step": "simulator",
}

__all__ = [
    "AccountSection",
    "Book",
    "Delisting",
    "DepthModel",
    "ExecutionSection",
    "OrderTable",
    "Simulation",
    "Ticket",
    "TradePlan",
    "simulate",
    "simulate_on_quotes",
    "step",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
