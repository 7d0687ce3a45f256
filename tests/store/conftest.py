from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.market.store.lake import Lake
from tradewind.market.store.records import Records


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "home" / "lake", patience_seconds=0.1)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    opened = Records(f"sqlite:///{tmp_path}/home/records.db", patience_seconds=0.1)
    yield opened
    opened.close()
