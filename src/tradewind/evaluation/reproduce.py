"""Compute a run again from its manifest, and compare every number."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tradewind.evaluation import runs
from tradewind.evaluation.backtest import TrackRecord, backtest, clean
from tradewind.evaluation.corridor import Progress, silent
from tradewind.evaluation.membership import DataPin
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.workspace import Workspace


def repeat(home: Path, folder: Path, progress: Progress = silent) -> TrackRecord:
    """Run a stored run's playbook again on the data that the store had then."""
    manifest = runs.read(folder, "manifest.json")
    plan = Plan.of(runs.playbook_of(manifest["playbook"]))
    as_of, opened = manifest["as_of"], manifest.get("opened")
    return backtest(
        Workspace(plan, home),
        progress,
        as_of=None if as_of is None else datetime.fromisoformat(as_of),
        opened=None if opened is None else datetime.fromisoformat(opened),
        pin=DataPin.from_dict(manifest["pin"]),
        trials_until=datetime.fromisoformat(manifest["started"]),
        counts=False,
    )


def reproduce(home: Path, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Return whether every number agrees, the differences, and what changed since (data, code, environment)."""
    before = runs.read(folder, "result.json")
    manifest = runs.read(folder, "manifest.json")
    record = repeat(home, folder, progress)
    found = runs.differences({k: v for k, v in before.items() if k != "run"}, clean(record.result))
    now = record.manifest.to_dict()
    changed = [key for key in ("data_version", "code", "environment") if now[key] != manifest[key]]
    changed += ["membership"] * _other_members(manifest["pin"], now["pin"])
    return {"reproduced": folder.name, "equal": not found, "differences": found, "changed": changed, "run": record.run}


def _other_members(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether the membership table or the index's snapshots say something else than they did."""
    seen, present = before.get("universe"), now.get("universe")
    return seen is not None and seen != present
