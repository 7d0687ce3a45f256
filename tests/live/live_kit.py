"""What the tests of a running corridor share: small playbooks of every shape, and how to run one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spine_kit import PLAYBOOK, prices, system, workspace
from tradewind.clock import SystemClock
from tradewind.evaluation.workspace import Workspace
from tradewind.live.replay import Replay
from tradewind.live.service import LiveRuntime
from tradewind.live.settings import LiveSection
from tradewind.live.settings_drift import DriftSection
from tradewind.market.sources.replay import ReplayClock
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


Talk = Callable[[LiveRuntime, int], Awaitable[None]]


async def lived(work: Workspace, talk: Talk | None = None) -> LiveRuntime:
    """Live through the stored days; ``talk`` is let in before each bar."""
    clock = ReplayClock(datetime(1970, 1, 1, tzinfo=UTC))
    runtime = LiveRuntime(work, LiveSection(), "REPLAY", clock, SystemClock(), drift_section=DriftSection(use=False))
    prepared = await runtime.prepare()
    replay = Replay(runtime, prepared, clock, "max")
    number = 0
    async for bar, name in replay.bars():
        if talk is not None:
            await talk(runtime, number)
        await runtime.take(bar, name)
        number += 1
    await runtime.jobs_done()
    await runtime.close()
    return runtime
