"""Runs on disk: what was asked, what it was computed from, what came out; and the proof that it comes out again."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError
from tradewind.market.store.failures import storage_failures
from tradewind.playbook import Playbook

PACKAGES = (
    "numpy",
    "scipy",
    "polars",
    "numba",
    "scikit-learn",
    "lightgbm",
    "xgboost-cpu",
    "arch",
    "deltalake",
    "skfolio",
    "cvxpy-base",
    "clarabel",
    "hmmlearn",
    "pyvinecopulib",
    "torch",
    "safetensors",
)


@dataclass(frozen=True)
class Manifest:
    """Everything needed to compute a run again, and to see what changed when it differs."""

    run: str
    playbook: Mapping[str, Any]
    data_version: str
    started: str
    pin: Mapping[str, Any]
    as_of: str | None
    code: str
    environment: Mapping[str, str]
    seeds: Mapping[str, int]
    trial_key: str
    opened: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as plain values."""
        return dict(self.__dict__)


def environment() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def playbook_record(playbook: Playbook) -> dict[str, Any]:
    """Return a resolved playbook as plain values, for :func:`playbook_of`."""
    return {
        "name": playbook.name,
        "path": str(playbook.path.name),
        "source": playbook.source,
        "values": _written(playbook.values),
        "source_options": _written(playbook.source_options),
        "hash": playbook.content_hash,
    }


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON writes them: a date of a TOML file becomes its text."""
    return dict(json.loads(json.dumps(values, default=str)))


def playbook_of(record: Mapping[str, Any]) -> Playbook:
    """Return the resolved playbook that a run was made with."""
    return Playbook(record["name"], Path(record["path"]), record["source"], record["values"], record["source_options"])


def new_run_id(name: str, key: str, now: datetime) -> str:
    """Return a readable and unique run id; ids sort by the microsecond in which the run started."""
    return f"{now:%Y%m%dT%H%M%S%f}-{name}-{key[:6]}-{os.getpid() % 10000:04d}"


def folder_of(home: Path, run: str) -> Path:
    """Return the folder of a run; ``latest`` is the newest one."""
    runs = home / "runs"
    known = sorted(p.name for p in runs.iterdir() if (p / "result.json").is_file()) if runs.is_dir() else []
    if run == "latest" and known:
        return runs / known[-1]
    if run in known:
        return runs / run
    raise InputError(
        f"no run {run!r} in {runs}",
        hint=f"known: {', '.join(known[-5:])}" if known else "make one: tradewind backtest sample",
    )


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return a JSON file of a run."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {folder / name}: {error}",
            hint="run the back-test again; nothing else depends on it",
        ) from None
    return content


def write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write a JSON file of a run under a temporary name first."""
    text = json.dumps(content, indent=1, allow_nan=False, default=str)
    with storage_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}"
        temporary.write_text(text, "utf-8")
        temporary.replace(folder / name)


def read_array(path: Path) -> NDArray[np.float64] | None:
    """Return a stored series; None where there is none, or only a damaged file."""
    try:
        series: NDArray[np.float64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return series


def write_array(path: Path, series: NDArray[np.float64]) -> None:
    """Write a series under a temporary name first."""
    with storage_failures(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        np.save(temporary, series, allow_pickle=False)
        temporary.replace(path)


def differences(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """Return where two results differ: path, before, after; exact, number by number."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted({*before, *after})
        return [d for k in keys for d in differences(before.get(k), after.get(k), f"{path}.{k}".strip("."))]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            d for i, (a, b) in enumerate(zip(before, after, strict=True)) for d in differences(a, b, f"{path}[{i}]")
        ]
    return [] if before == after else [{"path": path, "before": before, "after": after}]
