"""Run `tradewind paper` in a process that kills itself, as `kill -9` does, before its n-th bar is stored."""

from __future__ import annotations

import os
import signal
import sys

from tradewind.cli.main import app
from tradewind.execution.journal import Journal

if __name__ == "__main__":
    last, save, seen = int(sys.argv[1]), Journal.save_book, []

    def dying(*arguments: object) -> str:
        seen.append(1)
        if len(seen) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return save(*arguments)  # type: ignore[arg-type]

    Journal.save_book = dying  # type: ignore[method-assign, assignment]
    app(sys.argv[2:])
