"""The report: one HTML file that opens with the verdict and needs neither network nor scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

__all__ = ["write_page", "write_report"]


def write_report(record: TrackRecord, path: Path) -> Path:
    """Write the report of a finished back-test and return its path.

    The file holds everything it shows: style, pictures (SVG) and tables (with CSV downloads). It is written under a
    temporary name first, so an interrupted write leaves an earlier report as it was.

    Parameters
    ----------
    record
        What :func:`tradewind.evaluation.backtest.backtest` returned.
    path
        Where to write; missing folders are made.
    """
    from tradewind.evaluation.report.page import page

    return write_page(page(record), path)


def write_page(text: str, path: Path) -> Path:
    """Write a page under a temporary name first, then under its own; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
    return path
