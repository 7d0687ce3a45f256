"""Tables: figures right-aligned, and each one to take away as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tradewind.evaluation.report.markup import Markup, node, together

FORMULA_STARTS = ("=", "+", "-", "@", "\t")


@dataclass(frozen=True)
class Column:
    """A column: its heading, whether it holds text, and what its figures mean."""

    title: str
    text: bool = False
    hint: str | None = None


@dataclass
class Table:
    """A table that is filled row by row: what is shown, and the plain values for the CSV file beside it.

    Parameters
    ----------
    name
        Name of the CSV file, without extension.
    caption
        What the table holds, for screen readers.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: list[Markup] = field(default_factory=list)
    values: list[Sequence[Any]] = field(default_factory=list)

    def add(self, cells: Sequence[str], values: Sequence[Any], class_: str | None = None) -> None:
        """Add a row; ``values`` are its plain values for the CSV file."""
        tags = (
            node("th" if i == 0 else "td", cell, class_="text" if column.text else None, scope=None if i else "row")
            for i, (cell, column) in enumerate(zip(cells, self.columns, strict=True))
        )
        self.rows.append(node("tr", *tags, class_=class_))
        self.values.append(values)

    def render(self, class_: str = "") -> Markup:
        """Return the table with its download."""
        return node("div", self.alone(class_), self.download())

    def alone(self, class_: str = "", *, tall: bool = False) -> Markup:
        """Return the table only; a tall one scrolls by itself."""
        heads = (
            node("th", c.title, class_="text" if c.text else None, title=c.hint, scope="col") for c in self.columns
        )
        table = node(
            "table",
            node("caption", self.caption),
            node("thead", node("tr", *heads)),
            node("tbody", *self.rows),
            class_=class_ or None,
        )
        return node("div", table, class_="scroll tall" if tall else "scroll", tabindex="0")

    def download(self) -> Markup:
        """Return the link that saves the plain values."""
        return download(self.name, [c.title for c in self.columns], self.values)


def download(name: str, titles: Sequence[str], values: Sequence[Sequence[Any]]) -> Markup:
    """Return a link that saves rows as CSV, held in the page itself."""
    held = f"data:text/csv;charset=utf-8,{quote(as_csv(titles, values))}"
    return node("a", "CSV", href=held, download=f"{name}.csv", class_="csv", title=f"Save this table as {name}.csv")


def as_csv(titles: Sequence[str], values: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV; missing values are empty, text never starts a spreadsheet formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows([_plain(v) for v in row] for row in values)
    return out.getvalue()


def definitions(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Return names with what they stand for."""
    return node("dl", together(node("div", node("dt", name), node("dd", what)) for name, what in pairs))


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
