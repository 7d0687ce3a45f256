"""How long `tradewind --help` takes, against the start of the interpreter alone and the import of pandas."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

RUNS = 7
AIM_SECONDS = 0.4


def run() -> dict[str, Any]:
    tradewind = str(Path(sys.executable).with_name("tradewind"))
    ours = seconds_of([tradewind, "--help"])
    bare = seconds_of([sys.executable, "-c", "pass"])
    pandas = seconds_of([sys.executable, "-c", "import pandas"])
    return {
        "name": "startup",
        "ratios": {"import_pandas": pandas / ours},
        "figures": {"help_seconds": ours, "interpreter_seconds": bare, "import_pandas_seconds": pandas, "runs": RUNS},
        "aims": {"help_seconds": AIM_SECONDS},
        "met": ours < AIM_SECONDS,
    }


def seconds_of(command: list[str]) -> float:
    """Return the median wall time of a command over several runs, after one that warms the disk cache."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return median(times[1:])
