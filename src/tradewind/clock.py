"""The only module that may ask what time it is; everything else is given a clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Something that knows the present instant, in UTC."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's present instant."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands still: for replays and tests."""

    instant: datetime

    def now(self) -> datetime:
        """Return the fixed instant."""
        return self.instant
