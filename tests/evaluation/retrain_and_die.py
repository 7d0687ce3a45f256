"""Retrain a playbook and die by SIGKILL at a named moment; "never" is none."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spine_kit import workspace
from tradewind.evaluation import retraining, training
from tradewind.evaluation.model_registry import ModelRegistry
from tradewind.evaluation.retraining import retrain
from tradewind.models.ridge import Ridge


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(place: Any, name: str, at: int = 1) -> None:
    _around(place, name, at, first=True)


def _after(place: Any, name: str, at: int = 1) -> None:
    _around(place, name, at, first=False)


def _around(place: Any, name: str, at: int, *, first: bool) -> None:
    own: Callable[..., Any] = getattr(place, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at and first:
            _die()
        came = own(*arguments, **named)
        if calls == at:
            _die()
        return came

    setattr(place, name, counted)


MOMENTS: dict[str, Callable[[], None]] = {
    "never": lambda: None,
    "reading corporate actions": lambda: _after(retraining, "synchronise"),
    "fitting the first block": lambda: _before(Ridge, "fit"),
    "fitting the last block": lambda: _before(Ridge, "fit", 3),
    "between fit and artefact": lambda: _before(training, "store"),
    "between artefact and its note": lambda: _after(training, "store"),
    "before the promotion": lambda: _before(ModelRegistry, "promote"),
    "after the promotion": lambda: _after(ModelRegistry, "promote"),
    "before the report": lambda: _before(retraining.runs, "write"),
    "after the report": lambda: _after(retraining.runs, "write"),
}

if __name__ == "__main__":
    _playbook, _home, _moment = sys.argv[1:]
    MOMENTS[_moment]()
    retrain(workspace(Path(_playbook), Path(_home)))
