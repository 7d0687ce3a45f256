"""What the tests of the spine share: one quick back-test, made once a session and only read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from spine_kit import QuickRun, system, workspace
from tradewind.evaluation.backtest import backtest, save

#: The same examples on every machine, however busy it is.
settings.register_profile("tradewind", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tradewind")


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> QuickRun:
    folder = tmp_path_factory.mktemp("quick")
    playbook, home = system(folder), folder / "home"
    used = workspace(playbook, home)
    record = backtest(used)
    run = save(record, used)
    used.records.close()
    return QuickRun(playbook, home, used, record, run)


@pytest.fixture
def home(quick: QuickRun, tmp_path: Path) -> Path:
    """Return a home of one's own with everything that the quick run left: its lake, folds, records and run."""
    return shutil.copytree(quick.home, tmp_path / "home")
