"""Trade on paper in a process that kills itself, as `kill -9` does, before its n-th bar is stored (0: never)."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from execution_desk import desk_of
from execution_random import ACCOUNT, random_panel, random_plan

from tradewind.clock import FixedClock
from tradewind.execution import kernel as k
from tradewind.execution.journal import Journal
from tradewind.execution.paper import PaperAccount
from tradewind.execution.records import Records as Booked
from tradewind.execution.records import ledger_digest
from tradewind.execution.settings import ExecutionSection
from tradewind.market.store.records import Records

EXECUTION = ExecutionSection(
    participation_max=0.5, short_allowed=True, margin_leverage_max=1.6, cash_interest_rate=0.04
)


def account(home: Path, every: str = "bar") -> tuple[PaperAccount, object, object]:
    r = np.random.default_rng(5)
    panel = random_panel(r, bars=30, symbols=4)
    desk, bars = desk_of(panel, EXECUTION, ACCOUNT)
    journal = Journal(
        Records(f"sqlite:///{home}/records.sqlite"), "paper:one", clock=FixedClock(datetime(2026, 1, 2, tzinfo=UTC))
    )
    return PaperAccount(desk, journal, "hash", every=every), bars, random_plan(r, panel.shape)  # type: ignore[arg-type]


def digest(own: PaperAccount, bars: object) -> str:
    log = np.concatenate(own.log) if own.log else np.empty((0, k.LOG_FIELDS))
    return ledger_digest(Booked(log), bars.times, own.desk.columns, ACCOUNT.start_capital)  # type: ignore[attr-defined]


def main(home: Path, last: int) -> None:
    own, bars, plan = account(home)
    first = own.open(bars, 5)  # type: ignore[arg-type]
    if last:
        save, seen = own.journal.save_book, []

        def dying(*arguments: object) -> str:
            seen.append(1)
            if len(seen) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return save(*arguments)  # type: ignore[arg-type]

        own.journal.save_book = dying  # type: ignore[method-assign]
    own.live_through(bars, plan, first, 5, lambda _row, _step: None)  # type: ignore[arg-type]
    print(digest(own, bars))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
