"""A process that takes bars in is killed again and again: nothing is lost, nothing is doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from standin_bars import bars, doubled, held

from tradewind.market.store.lake import Lake

CHILD = Path(__file__).with_name("standin_ingest.py")
KILLS = int(os.environ.get("TRADEWIND_KILLS", "6"))


def lived(home, kill_after, pause):
    """Run once, kill it a moment after so many closes (None: never); return exit status and complaints."""
    environment = {**os.environ, "PYTHONPATH": str(CHILD.parent), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": (home / "errors").open("w"), "env": environment, "text": True}
    with pipes["stderr"], subprocess.Popen([sys.executable, CHILD, home], **pipes) as child:
        for number, _ in enumerate(child.stdout, 1):
            if number == kill_after:
                time.sleep(pause)  # somewhere in the middle of the next close
                child.kill()
                break
        child.stdout.read()
    return child.returncode, (home / "errors").read_text()


def test_killed_at_random_points_nothing_is_lost_or_doubled(tmp_path):
    chance = random.Random(17)
    for _ in range(KILLS):
        status, errors = lived(tmp_path, chance.randint(1, max(1, 22 // KILLS)), chance.random() * 0.06)
        assert status == -signal.SIGKILL, errors
        assert Lake(tmp_path / "lake").check() == []
    assert lived(tmp_path, None, 0)[0] == 0
    lake = Lake(tmp_path / "lake")
    assert held(lake).drop("source").rows() == bars().sort("time", "symbol").select(held(lake).columns[:-1]).rows()
    assert doubled(lake) == 0 and lake.table_versions("bars")["revision"].max() == 0
    acted = [datetime.fromisoformat(line) for line in (tmp_path / "acted.txt").read_text().split()]
    assert acted == bars()["time"].unique().sort().to_list()
