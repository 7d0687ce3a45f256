"""How long the stages of the loop take and how often they fail, over a bounded window of the newest bars."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

STAGES: Final = ("ingest", "features", "forecast", "decide", "trade", "records", "push", "total")
"""In the order of the loop; ``total`` is from a bar's arrival to its push."""

BUCKETS_MS: Final = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 3_000.0, 10_000.0)
"""Upper limits that are counted since the start, for histograms."""

PERCENTILES: Final = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
WINDOW: Final = 1_000


class _Stage:
    """The newest durations of one stage, and all of them counted by length."""

    def __init__(self, window: int) -> None:
        self.newest: deque[float] = deque(maxlen=window)
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, ms: float) -> None:
        self.newest.append(ms)
        self.counts[bisect_left(BUCKETS_MS, ms)] += 1
        self.sum_ms += ms

    def percentiles(self) -> dict[str, float | None]:
        if not self.newest:
            return dict.fromkeys(PERCENTILES)
        values = np.percentile(np.asarray(self.newest), list(PERCENTILES.values()))
        return {name: round(float(value), 3) for name, value in zip(PERCENTILES, values, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        below, buckets = 0, []
        for limit, count in zip(BUCKETS_MS, self.counts[:-1], strict=True):
            below += count
            buckets.append([limit, below])
        return {
            **self.percentiles(),
            "count": sum(self.counts),
            "sum_ms": round(self.sum_ms, 3),
            "buckets": buckets,
        }


class Latency:
    """Durations by stage. Safe from any thread; adding one costs microseconds.

    Parameters
    ----------
    window
        How many of the newest durations of a stage percentiles are about.
    timer
        Seconds that only ever rise.
    """

    def __init__(self, *, window: int = WINDOW, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer, self._window, self._lock = timer, window, threading.Lock()
        self._stages: dict[str, _Stage] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Take a duration; one that is negative or no number is left out, for it measures nothing."""
        if not (math.isfinite(seconds) and seconds >= 0):
            return
        with self._lock:
            self._stages.setdefault(stage, _Stage(self._window)).add(seconds * 1_000.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens in here, also where it fails."""
        began = self._timer()
        try:
            yield
        finally:
            self.add(name, self._timer() - began)

    def percentiles(self, stage: str = "total") -> dict[str, float | None]:
        """Return the p50, p95 and p99 of a stage in milliseconds, interpolated; None where it never ran."""
        with self._lock:
            return self._stages[stage].percentiles() if stage in self._stages else dict.fromkeys(PERCENTILES)

    def to_dict(self) -> dict[str, Any]:
        """Return percentiles of ``total``, how many bars they are about, and every stage; as the health payload."""
        order = {name: place for place, name in enumerate(STAGES)}
        with self._lock:
            names = sorted(self._stages, key=lambda name: (order.get(name, len(order)), name))
            stages = {name: self._stages[name].to_dict() for name in names}
            bars = len(self._stages["total"].newest) if "total" in self._stages else 0
        return {**self.percentiles(), "bars": bars, "stages": stages}


class ErrorRate:
    """The share of operations that failed, of the newest ones; and all failures since the start."""

    LEAST: Final = 1_000
    """Fewer operations are judged as if they were so many: one failure at the start is no rate."""

    def __init__(self, *, window: int = 10_000) -> None:
        self._lock = threading.Lock()
        self._newest: deque[bool] = deque(maxlen=window)
        self._failed = 0
        self.errors = 0

    def add(self, ok: bool) -> None:
        """Count one operation."""
        with self._lock:
            if len(self._newest) == self._newest.maxlen:
                self._failed -= self._newest[0]
            self._newest.append(not ok)
            self._failed += not ok
            self.errors += not ok

    @property
    def rate(self) -> float | None:
        """The share that failed; None where nothing was done yet."""
        with self._lock:
            return self._failed / len(self._newest) if self._newest else None

    def exceeds(self, limit: float) -> bool:
        """Return whether more failed than ``limit`` allows."""
        with self._lock:
            return self._failed > limit * max(len(self._newest), self.LEAST)
