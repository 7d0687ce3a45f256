"""Run `tradewind` in a process that kills itself, as `kill -9` does, at the n-th of the places where a bar is lived."""

from __future__ import annotations

import sys

from killing import LASTING, dying_at
from tradewind.cli.main import app
from tradewind.execution.journal import Journal
from tradewind.live.corridor import LiveCorridor
from tradewind.live.loop import Loop
from tradewind.live.session import Session
from tradewind.market.store.records import Records

PLACES = (
    *LASTING,
    (LiveCorridor, "step"),
    (Records, "record_close"),
    (Journal, "intend"),
    (Journal, "execution"),
    (Journal, "save_book"),
    (Loop, "_tell"),
    (Session, "save"),
)
"""Where a process may die: before each of these, and so after the one before."""

if __name__ == "__main__":
    dying_at(int(sys.argv[1]), PLACES)
    app(sys.argv[2:])
