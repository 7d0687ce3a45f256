"""A corridor to serve: the one of the server's tests, and clients light enough not to be what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "server"))

from server_kit import Service, service  # noqa: E402

__all__ = ["Service", "ask", "percentiles", "serving"]


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Service]:
    """Run the server in this loop."""
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder), **settings) as made:
            yield made


async def ask(module: str, *arguments: str) -> Any:
    """Run clients in a process of their own; return what it prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, cwd=ROOT, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}")
    return json.loads(out)


def percentiles(milliseconds: list[float]) -> dict[str, float]:
    """Return the median and the tail."""
    ordered = sorted(milliseconds)
    return {name: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for name, q in POINTS.items()}


POINTS = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
