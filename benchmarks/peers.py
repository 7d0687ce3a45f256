"""Environments of their own for the peers, built from a lock on first use in `.bench/`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = Path(__file__).resolve().parent / "locks"


def python_of(environment: str) -> Path:
    """Return the interpreter of a peer environment; build it from `benchmarks/locks/NAME.txt` when absent."""
    folder = ROOT / ".bench" / environment
    lock = LOCKS / f"{environment}.txt"
    done = folder / "complete"
    if not done.exists() or done.read_text() != lock.read_text():
        print(f"building the peer environment {environment} …", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(lock)]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        done.write_text(lock.read_text())
    return folder / "bin" / "python"


def run_peer(environment: str, script: str, *arguments: str) -> Any:
    """Run `benchmarks/peer_scripts/SCRIPT` in a peer environment; its last line of output is one JSON object."""
    path = Path(__file__).resolve().parent / "peer_scripts" / script
    command = [str(python_of(environment)), str(path), *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])
