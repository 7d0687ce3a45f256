"""Run `tradewind` in a process that kills itself, as `kill -9` does, at the n-th of the places where a bar is lived."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tradewind.cli.main import app
from tradewind.execution.journal import Journal
from tradewind.live.corridor import LiveCorridor
from tradewind.live.loop import Loop
from tradewind.live.session import Session
from tradewind.market.store.records import Records

PLACES = (
    (LiveCorridor, "step"),
    (Records, "record_close"),
    (Journal, "intend"),
    (Journal, "execution"),
    (Journal, "save_book"),
    (Loop, "_tell"),
    (Session, "save"),
)
"""Where a process may die: before each of these, and so after the one before."""


def dying_at(number: int) -> None:
    """End the process before the n-th call of any of the places."""
    seen: list[int] = []

    def wrapped(honest: Callable[..., Any]) -> Callable[..., Any]:
        def around(*positional: Any, **named: Any) -> Any:
            seen.append(1)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*positional, **named)

        return around

    for owner, name in PLACES:
        setattr(owner, name, wrapped(getattr(owner, name)))


if __name__ == "__main__":
    dying_at(int(sys.argv[1]))
    app(sys.argv[2:])
