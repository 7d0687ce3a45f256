"""A process that takes bars in is killed again and again: nothing is lost, nothing is doubled."""

import os
import random
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from standin_bars import bars, doubled, held

from killing import killed_and_started, kills
from tradewind.market.store.lake import Lake

CHILD = Path(__file__).with_name("standin_ingest.py")
CLOSES_AT_MOST = 8


def test_killed_at_random_moments_nothing_is_lost_or_doubled(tmp_path):
    chance = random.Random(17)

    def start(home, kill_after):
        """Run once, kill it a moment after so many closes (0: never): in the middle of storing the next one."""
        environment = {**os.environ, "PYTHONPATH": str(CHILD.parent), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": (home / "errors").open("w"), "env": environment, "text": True}
        with pipes["stderr"], subprocess.Popen([sys.executable, CHILD, home], **pipes) as child:
            for number, _ in enumerate(child.stdout, 1):
                if number == kill_after:
                    time.sleep(chance.random() * 0.06)
                    child.kill()
                    break
            child.stdout.read()
        assert Lake(home / "lake").check() == []
        return subprocess.CompletedProcess(child.args, child.returncode, "", (home / "errors").read_text())

    def fresh(number):
        home = tmp_path / str(number)
        home.mkdir()
        return home

    def check(home, _):
        lake = Lake(home / "lake")
        expected = bars().sort("time", "symbol").select(held(lake).columns[:-1])
        assert held(lake).drop("source").rows() == expected.rows()
        assert doubled(lake) == 0 and lake.table_versions("bars")["revision"].max() == 0
        acted = [datetime.fromisoformat(line) for line in (home / "acted.txt").read_text().split()]
        assert acted == bars()["time"].unique().sort().to_list()
        shutil.rmtree(home)

    killed_and_started(start, fresh, check, times=kills(6), places=CLOSES_AT_MOST)
