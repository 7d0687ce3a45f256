"""What the tests of a running corridor share: small playbooks of every shape, and how to run one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spine_kit import PLAYBOOK, prices, system, workspace
from tradewind.evaluation.workspace import Workspace
from tradewind.server.running import Run, run

PAIR = PLAYBOOK.replace(
    'use = "ridge"\ncompare = []', 'use = "ensemble"\ncompare = []\n\n[ensemble]\nmembers = ["ridge", "naive_normal"]'
).replace("[decision]\n", '[decision]\nrule = "dual_confirmation"\n')
PAIR = PAIR.replace("[limits]\n", "[execution]\nshort_allowed = true\n\n[limits]\n")
PAIR = PAIR.replace("confidence_min = 0.5\nconfidence_exit = 0.45", "confidence_min = 0.44\nconfidence_exit = 0.4")

NETWORK = PLAYBOOK.replace(
    'use = "ridge"\ncompare = []',
    'use = "lstm"\ncompare = []\nparameters.lstm = { window_bars = 10, width = 8, epochs = 1, epoch_windows = 200 }',
)

BARS, LIVED = 340, 34
"""Bars that there are; of which the last are lived through, since nobody has learnt from them."""


def home_of(folder: Path, playbook: str = PAIR, **overrides: object) -> Workspace:
    """Return the workspace of a small playbook in a home of its own."""
    return workspace(system(folder, prices(BARS), playbook), folder / "home", **overrides)


def replayed(work: Workspace, **more: Any) -> dict[str, Any]:
    """Live through the newest bars at once, without page, and return what it came to."""
    return run(work, Run(replay=True, speed="max", until_done=True, page=False, **more))
