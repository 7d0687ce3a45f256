"""Search a playbook and die by SIGKILL at the n-th time that a model is fitted; 0 is never."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from spine_kit import workspace
from tradewind.evaluation import corridor
from tradewind.evaluation.tuning.search import tune

_playbook, _home, _last, _trials = sys.argv[1:]
_fits = 0
_fit = corridor.forecast_fold


def _counted(*arguments: object, **named: object) -> object:
    global _fits
    _fits += 1
    if _fits == int(_last):
        os.kill(os.getpid(), signal.SIGKILL)
    return _fit(*arguments, **named)  # type: ignore[arg-type]


if __name__ == "__main__":
    corridor.forecast_fold = _counted  # type: ignore[assignment]
    tune(workspace(Path(_playbook), Path(_home)), trials=int(_trials))
    print(_fits)
