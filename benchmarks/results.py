"""`python -m benchmarks.results [NAME …]`: run benchmarks, keep each object with date and machine, write RESULTS.md."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.__main__ import names

FOLDER = Path(__file__).resolve().parent
KEPT = FOLDER / "results"
COLUMNS = (
    "pinball_skill", "pinball_skill_ci", "dm_p", "confidence_set_p", "crps", "coverage_80", "ic", "rank_ic",
    "rank_ic_ci", "net_sharpe", "net_sharpe_ci",
)  # fmt: skip
HEAD = """# Results

Made by `make bench`: each benchmark times Tradewind and its peers in one run, on one machine, and prints one object
`{name, ratios, figures, aims, met}`. A ratio says how many times faster (or better) Tradewind was than the peer. What
missed its aim says so. The whole objects stand in [results/](results/).
"""


def main() -> None:
    KEPT.mkdir(exist_ok=True)
    for name in sys.argv[1:] or names():
        keep(importlib.import_module(f"benchmarks.{name}").run())
    (FOLDER / "RESULTS.md").write_text(page(), "utf-8")


def keep(result: dict[str, Any]) -> None:
    """Store one benchmark's object with when and where it was measured."""
    stamped = {**result, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
    (KEPT / f"{result['name']}.json").write_text(json.dumps(stamped, indent=1) + "\n", "utf-8")


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def page() -> str:
    results = [json.loads(path.read_text("utf-8")) for path in sorted(KEPT.glob("*.json"))]
    rows = ["| benchmark | ratios | aims | met | date | machine |", "|---|---|---|---|---|---|", *map(row, results)]
    return "\n".join([HEAD, *rows, "", *(part for result in results for part in detail(result))])


def row(result: dict[str, Any]) -> str:
    ratios = ", ".join(f"{peer} {value:.3g}×" for peer, value in result["ratios"].items()) or "–"
    aims = ", ".join(f"{name} {value}" for name, value in result["aims"].items())
    met = "yes" if result["met"] else "**no**"
    return f"| {result['name']} | {ratios} | {aims} | {met} | {result['date']} | {result['machine']} |"


def detail(result: dict[str, Any]) -> list[str]:
    """Return the figures of one benchmark: a table of models for the forecasts, a list for the others."""
    lines = [f"## {result['name']}", ""]
    models = {k: v for k, v in result["figures"].items() if isinstance(v, dict) and "1" in v}
    lines += model_table(models) if models else []
    lines += [f"- {key}: {short(value)}" for key, value in result["figures"].items() if key not in models]
    return [*lines, ""]


def model_table(models: dict[str, Any]) -> list[str]:
    told = {column for horizons in models.values() for h, row in horizons.items() if h.isdigit() for column in row}
    columns = [column for column in COLUMNS if column in told]
    lines = [f"| model | horizon | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, horizons in models.items():
        for horizon in (h for h in horizons if h.isdigit()):
            cells = " | ".join(short(horizons[horizon].get(column)) for column in columns)
            lines.append(f"| {name} | {horizon} | {cells} |")
    return [*lines, ""]


def short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(short, value))
    if isinstance(value, dict):
        return "; ".join(f"{k} {short(v)}" for k, v in value.items())
    return "–" if value is None else str(value)


if __name__ == "__main__":
    main()
