"""The verbs of the command line as functions: the same objects, the same numbers.

Where a workspace is asked for, a shipped name or a TOML file does as well: it is opened as it stands.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tradewind.audit.playbook import PlaybookAudit
    from tradewind.evaluation.backtest import TrackRecord
    from tradewind.evaluation.workspace import Workspace
    from tradewind.market.sync import SyncReport


def open_playbook(
    playbook: str | Path = "sample", *, source: str | None = None, home: str | Path | None = None, **overrides: Any
) -> Workspace:
    """Read and validate a playbook and bind it to a home folder.

    Parameters
    ----------
    playbook
        A shipped name or a TOML file.
    source
        Use this source instead of the playbook's.
    home
        Where state lives; default ``TRADEWIND_HOME``, else ``./.tradewind``.
    overrides
        Values to override, ``section__key=value``: ``decision__confidence_min=0.55``.

    Raises
    ------
    PlaybookError
        For unknown keys, names and bad values, with their place and the nearest known name.
    """
    from tradewind.evaluation.plan import Plan
    from tradewind.evaluation.validate import validated
    from tradewind.evaluation.workspace import Workspace
    from tradewind.playbook import load

    flags = {key.replace("__", "."): value for key, value in overrides.items()}
    plan = validated(Plan.of(load(playbook, source=source, overrides=flags, environ=os.environ)))
    return Workspace(plan, Path(home or os.environ.get("TRADEWIND_HOME", ".tradewind")))


def _opened(playbook: Workspace | str | Path) -> Workspace:
    return open_playbook(playbook) if isinstance(playbook, (str, Path)) else playbook


def sync(workspace: Workspace | str | Path) -> SyncReport:
    """Bring the lake up to date with the playbook's source; idempotent and resumable.

    All timeframes of a playbook are; what is told is of the first.
    """
    from tradewind.evaluation.data import synchronise_all

    return next(iter(synchronise_all(_opened(workspace))[0].values()))


def backtest(workspace: Workspace | str | Path, *, as_of: datetime | None = None) -> TrackRecord:
    """Walk forward over history, trade the out-of-sample forecasts and judge the result; the run is stored."""
    from tradewind.evaluation.backtest import backtest as run
    from tradewind.evaluation.backtest import save

    workspace = _opened(workspace)
    record = run(workspace, as_of=as_of)
    save(record, workspace)
    return record


def tune(
    workspace: Workspace | str | Path, *, trials: int | None = None, as_of: datetime | None = None
) -> dict[str, Any]:
    """Search the playbook's ranges on the bars before its first test block; every trial is counted."""
    from tradewind.evaluation.tuning.search import tune as search

    return search(_opened(workspace), trials=trials, as_of=as_of)


def report(record: TrackRecord, path: str | Path = "report.html") -> Path:
    """Write the self-contained HTML report of a track record."""
    from tradewind.evaluation.report import write_report

    return write_report(record, Path(path))


def explain(record: TrackRecord, symbol: str) -> dict[str, Any]:
    """Follow one recommendation from raw bars to order, with every number on the way."""
    from tradewind.evaluation.explain import explain as steps

    return steps(record, symbol)


def ranks(
    workspace: Workspace | str | Path, horizon: int = 20, buckets: int = 5, *, as_of: datetime | None = None
) -> dict[str, Any]:
    """Return each symbol's probability of ending in each bucket of the universe's returns."""
    from tradewind.evaluation.ranking import rank_probabilities

    return rank_probabilities(_opened(workspace), horizon, buckets, as_of=as_of)


def audit(workspace: Workspace | str | Path) -> PlaybookAudit:
    """Prove, by recomputing on other futures, that nothing in the playbook knows more than it may."""
    from tradewind.audit.playbook import audit_playbook

    return audit_playbook(_opened(workspace))
