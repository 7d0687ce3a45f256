"""Trade in a process of its own that kills itself, as `kill -9` does, before its n-th step (0: never)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from execution_broker import NOON, FileBroker, dying, trade

from tradewind.clock import FixedClock
from tradewind.execution.journal import Journal
from tradewind.market.store.records import Records


def main(home: Path, last: int) -> None:
    journal = Journal(Records(f"sqlite:///{home}/records.db"), "file:one", clock=FixedClock(NOON))
    broker = FileBroker(home / "broker.json")
    steps = dying(lambda: os.kill(os.getpid(), signal.SIGKILL), journal, broker, last)
    trade(journal, broker)
    print(len(steps))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
