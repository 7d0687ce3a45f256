"""Replay in a process that gives a person's orders before some bars, and kills itself as `kill -9` does."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from live_kit import LIVED, lived
from live_verb_and_die import PLACES

from killing import dying_at
from spine_kit import workspace
from tradewind.execution.manual import ManualOrders
from tradewind.live.loop import Loop
from tradewind.live.service import LiveRuntime

PLACES = (*PLACES, (Loop, "_orders_due"), (ManualOrders, "settle"), (ManualOrders, "place"))


def main(die_at: int, playbook: Path, home: Path, orders: list[dict[str, Any]]) -> None:
    """Live to the end, or to where it dies; orders that were given before are given again, by the same id."""
    work = workspace(playbook, home)

    async def talk(runtime: LiveRuntime, _: int) -> None:
        assert runtime.prepared is not None
        finest = runtime.prepared.finest
        bar = len(finest.panel) - (len(finest.loaded.panel) - LIVED)
        for wanted in orders:
            asked = dict(wanted)
            if asked.pop("bar") != bar:
                continue
            if "stop" in asked:
                asked["stop"] = round(asked["stop"] * runtime.ticket(asked["symbol"])["price"], 6)
            await runtime.command("order", "ann", reason="so", **asked)

    dying_at(die_at, PLACES)
    runtime = asyncio.run(lived(work, talk))
    assert runtime.loop is not None
    assert runtime.prepared is not None
    told = {
        "orders": [{name: one[name] for name in ("id", "state", "effective")} for one in runtime.manual_orders()],
        "ledger": runtime.prepared.trader.ledger_hash(),
        "differences": [one.to_dict() for one in runtime.parity() or []],
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
