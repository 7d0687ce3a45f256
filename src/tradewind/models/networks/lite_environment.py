"""The environment that converts networks to LiteRT, beside the one that Tradewind runs in.

litert-torch cannot stand in Tradewind's own: it holds packages back that Tradewind needs newer (typing_extensions,
pydantic). It takes 2 GB; what it makes is run by ai-edge-litert, which is small and stands in Tradewind's own.

    python -m tradewind.models.networks.lite_environment
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tradewind.errors import InputError, RetryError

LOCK = Path(__file__).with_name("lite_environment.txt")
COMMAND = "python -m tradewind.models.networks.lite_environment"
_LAST_LINES = 3


def folder() -> Path:
    """Return where the environment stands: inside Tradewind's own, so that it goes with it."""
    return Path(sys.prefix) / "tflite"


def built() -> bool:
    """Return whether it is there, whole, and of this version's lock."""
    done = folder() / "complete"
    return done.exists() and done.read_text("utf-8") == LOCK.read_text("utf-8")


def interpreter() -> Path:
    """Return its interpreter; ``InputError`` with the command that builds it where it is not there."""
    if not built():
        raise InputError(
            "writing .tflite files needs litert-torch, in an environment of its own (2 GB) that is not built here",
            hint=f"{COMMAND} (in a checkout: make tflite)",
        )
    return _python()


def build() -> None:
    """Build it where it is not there; ``RetryError`` where packages cannot be had."""
    if built():
        return
    run([sys.executable, "-m", "venv", "--clear", str(folder())])
    run([str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(LOCK)])
    (folder() / "complete").write_text(LOCK.read_text("utf-8"), "utf-8")


def run(command: list[str]) -> None:
    """Run a step of it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RetryError(
            f"{' '.join(command)} failed: {last_lines(done.stderr)}", hint="look to the network and the disk"
        )


def last_lines(text: str) -> str:
    """Return the end of what a program said."""
    return " | ".join(text.strip().splitlines()[-_LAST_LINES:])


def _python() -> Path:
    return folder() / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


if __name__ == "__main__":
    sys.stderr.write(f"{folder()}: litert-torch and what it needs, 2 GB\n")
    build()
