"""How often somebody may ask: a bucket that fills at a steady rate and empties by one with each request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

REMEMBERED = 10_000
"""How many callers' buckets are remembered; whoever was away the longest begins with a full one again."""


@dataclass(slots=True)
class Bucket:
    """Requests that are left, as of an instant of a clock that only goes forward."""

    left: float
    at: float

    def take(self, now: float, rate: float, most: float) -> float:
        """Take one and return 0; where none is left, return the seconds until there is one."""
        self.left = min(most, self.left + max(0.0, now - self.at) * rate)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / rate


class RateLimit:
    """A bucket for each caller.

    Parameters
    ----------
    rate
        Requests a second in the long run.
    most
        Requests at once.
    now
        Seconds of a clock that only goes forward.
    """

    def __init__(self, rate: float, most: int, now: Callable[[], float], *, remembered: int = REMEMBERED) -> None:
        self._rate, self._most, self._now, self._remembered = rate, most, now, remembered
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Count a request: 0 where it may go on, else the seconds that the caller should wait."""
        now = self._now()
        bucket = self._buckets.pop(caller, None) or Bucket(self._most, now)
        self._buckets[caller] = bucket
        if len(self._buckets) > self._remembered:
            self._buckets.popitem(last=False)
        return bucket.take(now, self._rate, self._most)
