"""Processes that are killed as `kill -9` does, again and again: before the n-th of the places that matter."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from tradewind.market.store.table import Table

TESTS = Path(__file__).parent

LASTING: tuple[tuple[Any, str], ...] = (
    (DefaultDialect, "do_commit"),
    (Table, "_write"),
    (os, "replace"),
    (os, "rename"),
    (os, "fsync"),
)
"""Where anything is made to last: a commit of the records, an append to the lake, a file that gets its name."""


def kills(in_ci: int) -> int:
    """Return how often a test kills: a few times in CI, more often in `make crash-test`."""
    return int(os.environ.get("TRADEWIND_KILLS", in_ci))


def dying_at(number: int, places: Sequence[tuple[Any, str]] = LASTING) -> None:
    """End this process before the n-th call of any of the places; 0 is never."""
    seen: list[int] = []

    def wrapped(honest: Callable[..., Any]) -> Callable[..., Any]:
        def around(*positional: Any, **named: Any) -> Any:
            seen.append(1)
            if len(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return honest(*positional, **named)

        return around

    for owner, name in places:
        setattr(owner, name, wrapped(getattr(owner, name)))


def ran(script: Path, *arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python script on a home in a process of its own."""
    path = os.pathsep.join([str(TESTS), str(script.parent), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": path, "TRADEWIND_HOME": str(home), "OMP_NUM_THREADS": "1"}
    # -B: who dies would leave half a compiled module to everybody else.
    command = [sys.executable, "-B", str(script), *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)


def verb(home: Path, die_at: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a verb of `tradewind`, which dies at the n-th place."""
    return ran(Path(__file__), die_at, *arguments, home=home)


def killed_and_started(
    start: Callable[[Path, int], subprocess.CompletedProcess[str]],
    fresh: Callable[[int], Path],
    check: Callable[[Path, subprocess.CompletedProcess[str]], None],
    *,
    times: int,
    places: int,
) -> None:
    """Kill work at random places and start it again, until it has been killed so often.

    Parameters
    ----------
    start
        Does the work in a home, or goes on with it, and dies at the n-th place; 0 is never.
    fresh
        Returns the n-th home to do it in: the next one is taken when the work in one is done.
    check
        Told of each home in which it was done.
    places
        Among how many, counted from a start, it dies: more than a start alone passes, or it would never go on.
    """
    draw = random.Random(20261130)
    deaths = finished = 0
    home = fresh(finished)
    while deaths < times:
        came = start(home, draw.randint(1, places))
        if came.returncode == -signal.SIGKILL:
            deaths += 1
            continue
        assert came.returncode == 0, came.stderr
        check(home, came)
        finished += 1
        assert finished <= 2 * times, "it is done before it can be killed: there are fewer places"
        home = fresh(finished)
    came = start(home, 0)
    assert came.returncode == 0, came.stderr
    check(home, came)
    print(f"{deaths} kills, done {finished + 1} times")


if __name__ == "__main__":
    from tradewind.cli.main import app

    dying_at(int(sys.argv[1]))
    app(sys.argv[2:])
