"""What the tests of the account share: one back-test on two timeframes, made once a session and only read."""

from __future__ import annotations

import pytest
from evaluation_timeframes import two_timeframes

from spine_kit import QuickRun, workspace
from tradewind.evaluation.backtest import backtest, save


@pytest.fixture(scope="session")
def framed(tmp_path_factory: pytest.TempPathFactory) -> QuickRun:
    folder = tmp_path_factory.mktemp("framed")
    playbook, home = two_timeframes(folder), folder / "home"
    used = workspace(playbook, home)
    record = backtest(used)
    run = save(record, used)
    used.records.close()
    return QuickRun(playbook, home, used, record, run)
