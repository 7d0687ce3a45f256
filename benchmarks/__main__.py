"""`python -m benchmarks [--json] NAME …`: run benchmarks; each prints one object.

Each benchmark is a module of this folder with `run(json_only: bool) -> dict` giving
`{name, ratios, figures, aims, met}`; `met` is one boolean.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

HIDDEN = {"__init__", "__main__", "peers", "results"}


def names() -> list[str]:
    return sorted(
        p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in HIDDEN and not p.stem.startswith("_")
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", choices=names(), metavar="NAME", help=", ".join(names()))
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object per benchmark on stdout")
    arguments = parser.parse_args()
    for name in arguments.name or names():
        result = importlib.import_module(f"benchmarks.{name}").run()
        print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
