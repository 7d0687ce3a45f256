"""Time that passes only when nobody has anything to do: an event loop whose hours take no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2025, 3, 3, 14, 0, tzinfo=UTC)  # a Monday, half an hour before New York opens


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for a timer, says how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            ready = super().select(5)
            if not ready:
                raise RuntimeError("everybody waits for somebody else")
            return ready
        self.passed += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.passed


class LoopClock:
    """The clock of such a loop; ``jump`` moves it against the time that passes."""

    def __init__(self, start: datetime = START) -> None:
        self.start, self.jumped = start, timedelta(0)

    def now(self) -> datetime:
        try:
            passed = asyncio.get_running_loop().time()
        except RuntimeError:
            passed = 0.0
        return self.start + timedelta(seconds=passed) + self.jumped

    def jump(self, seconds: float) -> None:
        self.jumped += timedelta(seconds=seconds)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


async def inline(call: Any, *arguments: Any) -> Any:
    """Do blocking work here and now: a thread would not know of virtual time."""
    return call(*arguments)
