"""The page on calibration says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tradewind.calibration.settings import CalibrationSection

PAGE = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text("utf-8")


def test_the_example_runs_and_gives_one_interval_a_sample() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    said: dict[str, Any] = {}
    exec(code, said)
    for intervals in (said["found"], said["split"]):
        assert intervals.point.shape == intervals.lower.shape == intervals.upper.shape == (4,)
        assert np.all(intervals.lower < intervals.upper)


def test_the_methods_it_names_are_those_of_the_playbook() -> None:
    named = set(re.findall(r'method = "(\w+)"', PAGE))
    assert named == set(CalibrationSection.model_json_schema()["properties"]["method"]["enum"])
    assert CalibrationSection().method == "adaptive"
