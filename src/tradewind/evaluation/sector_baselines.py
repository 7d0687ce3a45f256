"""Baselines of sectors, fitted on what a plan has stored and kept with where they come from (row A2)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.data import load_or_sync
from tradewind.evaluation.fold_cache import code_version, panel_digest
from tradewind.evaluation.prediction_log import as_datetime
from tradewind.evaluation.workspace import Workspace
from tradewind.market.sectors import Baseline, believed, fit_profiles
from tradewind.market.store.records import SectorFitRecord

if TYPE_CHECKING:
    from tradewind.market.panel import Panel


def fit(workspace: Workspace, progress: Progress = silent, *, as_of: datetime | None = None) -> SectorFitRecord:
    """Estimate the baselines of the plan's sectors from its stored daily bars, and keep them.

    Parameters
    ----------
    as_of
        Use only bars known then (default: all). The fit counts from the last bar that it rests on.
    """
    from tradewind.features import compute

    panel = load_or_sync(workspace, progress, as_of=as_of).panel
    fits = fit_profiles(panel, compute(panel, ["rsi_14"]).column("rsi_14").astype("float64"))
    record = SectorFitRecord(
        lake=workspace.lake_name,
        as_of=as_datetime(panel.times[-1]),
        recorded_at=workspace.clock.now(),
        sectors={one.sector: one.to_dict() for one in fits},
        provenance=_provenance(workspace, panel),
    )
    workspace.records.record_sector_fit(record)
    return record


def known(workspace: Workspace, moment: datetime | None = None) -> dict[str, Baseline]:
    """Return what is believed of every sector at a moment: the newest fit on the plan's lake known then, or priors."""
    return believed(workspace.records.sector_fits(workspace.lake_name), moment)


def _provenance(workspace: Workspace, panel: Panel) -> dict[str, object]:
    playbook = workspace.plan.playbook
    return {
        "playbook": playbook.name,
        "playbook_hash": playbook.content_hash,
        "source": workspace.plan.data.source,
        "from": str(panel.times[0])[:10],
        "to": str(panel.times[-1])[:10],
        "symbols": len(panel.symbols),
        "data_version": panel_digest(panel),
        "code": code_version(),
        "flags": list(panel.flags),
    }
