"""Does anything know more than it may: the leak auditor of any table and of the corridor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.audit.corridor import Subject, audit_corridor
    from tradewind.audit.findings import CorridorAudit, Finding
    from tradewind.audit.frame import FrameAudit, Leak, audit_frame
    from tradewind.audit.rules import (
        FillRecord,
        Membership,
        audit_fills,
        audit_splits,
        audit_universe,
        audit_vintages,
    )

_HOMES = {
    "CorridorAudit": "findings",
    "FillRecord": "rules",
    "Finding": "findings",
    "FrameAudit": "frame",
    "Leak": "frame",
    "Membership": "rules",
    "Subject": "corridor",
    "audit_corridor": "corridor",
    "audit_fills": "rules",
    "audit_frame": "frame",
    "audit_splits": "rules",
    "audit_universe": "rules",
    "audit_vintages": "rules",
}

__all__ = [
    "CorridorAudit",
    "FillRecord",
    "Finding",
    "FrameAudit",
    "Leak",
    "Membership",
    "Subject",
    "audit_corridor",
    "audit_fills",
    "audit_frame",
    "audit_splits",
    "audit_universe",
    "audit_vintages",
]


def __getattr__(name: str) -> Any:
    """Import an auditor only when it is asked for."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
