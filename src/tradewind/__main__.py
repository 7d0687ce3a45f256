"""`python -m tradewind`: the same as the command `tradewind`."""

from __future__ import annotations

from tradewind.cli.main import run

if __name__ == "__main__":
    run()
