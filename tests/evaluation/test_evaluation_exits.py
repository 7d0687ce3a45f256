"""What closes a position besides its rule: the target and the trailing stop, where the playbook wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_kit import QuickRun, workspace
from tradewind.evaluation.backtest import TrackRecord, backtest


def reasons(record: TrackRecord) -> set[str]:
    return set(record.simulations["base"].fills["reason"])


def again(quick: QuickRun, home: Path, **changes: object) -> TrackRecord:
    used = workspace(quick.playbook, home, **changes)
    try:
        return backtest(used, counts=False)
    finally:
        used.records.close()


def test_by_default_nothing_is_sold_at_its_target_or_by_a_trailing_stop(quick: QuickRun) -> None:
    assert not {"take_profit", "trail"} & reasons(quick.record)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"decision__take_profit": True, "decision__target_quantile": 0.75}, "take_profit"),
        ({"decision__trailing_stop": True, "decision__stop_sigma": 0.5}, "trail"),
    ],
)
def test_a_playbook_that_asks_for_an_exit_gets_it(
    quick: QuickRun, home: Path, change: dict[str, object], reason: str
) -> None:
    record = again(quick, home, **change)
    assert reason in reasons(record)
    assert np.isfinite(record.result["track_record"]["sharpe"])
