"""What the author of the playbook hoped for, and whether it was met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.evaluation.report.formats import Format, decimal, is_missing, missing, percent, shown
from tradewind.evaluation.report.markup import Markup, figure, node, section
from tradewind.evaluation.report.tables import Column, Table

SIGNS = {"met": ("✓", "up"), "not met": ("✗", "down"), "cannot tell": ("?", "flat")}


def targets(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the chapter on the playbook's own targets."""
    lead = "The playbook's own targets, never tuned for. A target is met only where its interval lies beyond it."
    if not rows:
        return section("targets", "Targets", "The playbook names no targets of its own.")
    columns = [Column("Target", text=True), Column("Measured"), Column("95 % interval"), Column("Verdict", text=True)]
    table = Table("targets", "The playbook's own targets", columns)
    for row in rows:
        sign, kind = SIGNS[row["verdict"]]
        badge = node("span", f"{sign} {row['verdict']}", class_=f"badge {kind}")
        how = percent(1) if row["unit"] == "share" else decimal(2)
        measured = shown(row["measured"], how, "there is nothing to measure it against")
        table.add(
            [row["target"], measured, _interval(row["ci"], how), badge],
            [row["target"], row["measured"], _plain(row["ci"]), row["verdict"]],
        )
    return section("targets", "Targets", lead, figure("Met, not met, cannot tell", table.render(), class_="wide"))


def _interval(pair: Sequence[float] | None, how: Format) -> str:
    if pair is None or any(is_missing(v) for v in pair):
        return missing("no interval for this sample")
    low, high = pair
    return missing("judged by its value") if low == high else f"{how(low)} to {how(high)}"


def _plain(pair: Sequence[float] | None) -> str | None:
    return None if pair is None or any(is_missing(v) for v in pair) else f"{pair[0]} to {pair[1]}"
