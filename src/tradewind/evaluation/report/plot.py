"""One chart: shapes in a stretched SVG, labels in HTML over it, so that text stays crisp at every width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tradewind.evaluation.report.formats import Format, decimal
from tradewind.evaluation.report.markup import Markup, node, together
from tradewind.evaluation.report.scales import SPAN, Array, Scale, Tick, dates, digits_for, round_numbers, thinned


class Plot:
    """A chart that is drawn shape by shape, the first one lowest.

    ``kind`` is everywhere a CSS class (``book``, ``up``, ``fan-80`` …): colours live in the style sheet alone. A line
    with a ``name`` answers the pointer; every shape may carry a ``title`` that works without scripts.

    Parameters
    ----------
    label
        What the picture shows, for those who cannot see it.
    height
        Height in pixels; the width is the page's.
    """

    def __init__(self, x: Scale, y: Scale, *, label: str, height: int = 240, class_: str = "") -> None:
        self.x, self.y, self.label, self.height, self.class_ = x, y, label, height, class_
        self._shapes: list[Markup] = []
        self._labels: list[Markup] = []
        self._hover: dict[str, object] = {}

    def line(self, x: ArrayLike, y: ArrayLike, kind: str, name: str | None = None) -> None:
        """Draw a line; gaps in the values are bridged."""
        xs, ys = thinned(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        if xs.size:
            self._path(_points(self.x.at(xs), SPAN - self.y.at(ys)), f"line {kind}", data_name=name)

    def area(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str, title: str | None = None) -> None:
        """Fill between two lines."""
        xs = self.x.at(x)
        top, bottom = (SPAN - self.y.at(np.broadcast_to(np.asarray(v), xs.shape)) for v in (high, low))
        self._path(_points(np.append(xs, xs[::-1]), np.append(top, bottom[::-1])) + "Z", f"area {kind}", title)

    def box(self, x: tuple[float, float], y: tuple[float, float], kind: str, title: str | None = None) -> None:
        """Fill a rectangle."""
        left, right = sorted(self.x.at(x))
        top, bottom = sorted(SPAN - self.y.at(y))
        shape = f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z"
        self._path(shape, f"area {kind}", title)

    def boxes(self, left: Array, right: Array, low: Array, high: Array, kind: str) -> None:
        """Fill many rectangles as one shape (candles)."""
        sides = self.x.at(left), self.x.at(right), SPAN - self.y.at(high), SPAN - self.y.at(low)
        d = "".join(f"M{a:.1f} {t:.1f}H{b:.1f}V{max(u, t + 1):.1f}H{a:.1f}Z" for a, b, t, u in zip(*sides, strict=True))
        self._path(d, f"area {kind}")

    def sticks(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, kind: str) -> None:
        """Draw vertical lines (wicks, whiskers)."""
        sides = self.x.at(x), SPAN - self.y.at(high), SPAN - self.y.at(low)
        self._path("".join(f"M{a:.1f} {t:.1f}V{b:.1f}" for a, t, b in zip(*sides, strict=True)), f"line {kind}")

    def dot(self, x: float, y: float, kind: str, title: str | None = None) -> None:
        """Draw a dot whose size does not stretch."""
        place = f"M{float(self.x.at(x)):.1f} {SPAN - float(self.y.at(y)):.1f}h.01"
        self._path(place, f"dot {kind}", title)

    def level(self, y: float, kind: str) -> None:
        """Draw a horizontal line right across."""
        self._path(f"M0 {SPAN - float(self.y.at(y)):.1f}H{SPAN:.0f}", f"line {kind}")

    def moment(self, x: float, kind: str) -> None:
        """Draw a vertical line from top to bottom."""
        self._path(f"M{float(self.x.at(x)):.1f} 0V{SPAN:.0f}", f"line {kind}")

    def note(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Write a few words at a place."""
        self.tag(self.x.share(x), 100 - self.y.share(y), text, kind)

    def tag(self, left: float, top: float, text: str, kind: str = "") -> None:
        """Write a few words at percentages from the left and from the top."""
        style = f"left:{left:.2f}%;top:{top:.2f}%"
        self._labels.append(node("span", text, class_=f"note {kind}".strip(), style=style))

    def axis_y(self, how: Format | None = None, wanted: int = 5) -> None:
        """Label round values on the left, with a grid line each; without a format, with as many digits as they need."""
        values = round_numbers(self.y, wanted)
        how = decimal(digits_for(values)) if how is None else how
        for value in values:
            self.level(value, "grid")
            self._labels.append(
                node("span", how(value), class_="tick y", style=f"top:{100 - self.y.share(value):.2f}%")
            )

    def axis_x(self, ticks: Iterable[Tick], title: str | None = None) -> None:
        """Label places below; every second one gives way on a phone, unless it says something else than the others."""
        for i, (value, text) in enumerate(ticks):
            kind = "tick x odd" if i % 2 and text[0].isdigit() else "tick x"
            self._labels.append(node("span", text, class_=kind, style=f"left:{self.x.share(value):.2f}%"))
        if title is not None:
            self._labels.append(node("span", title, class_="axis-title"))

    def axis_time(self, wanted: int = 8) -> None:
        """Label round dates below."""
        self.axis_x(dates(self.x.low, self.x.high, wanted))

    def hover(self, how: str, labels: Sequence[str] | None = None) -> None:
        """Let the pointer read the named lines.

        Parameters
        ----------
        how
            Format of the values: digits after the point, ``%`` behind for percent.
        labels
            What to call each whole number on the x-axis; without them x is time.
        """
        y = f"{self.y.low:.8g} {self.y.high:.8g} {int(self.y.log)}"
        self._hover = {"data_x": f"{self.x.low:.8g} {self.x.high:.8g}", "data_y": y, "data_format": how}
        if labels is None:
            self._hover["data_x"] = f"{self.x.low:.0f} {self.x.high:.0f}"
        else:
            self._hover["data_labels"] = "|".join(labels)

    def render(self) -> Markup:
        """Return the chart."""
        box = f"0 0 {SPAN:.0f} {SPAN:.0f}"
        drawing = node("svg", *self._shapes, viewBox=box, preserveAspectRatio="none", role="img", aria_label=self.label)
        classes = f"plot {self.class_}".strip()
        return node("div", drawing, *self._labels, class_=classes, style=f"height:{self.height}px", **self._hover)

    def _path(self, d: str, kind: str, title: str | None = None, **attributes: object) -> None:
        if title is None:
            self._shapes.append(node("path", d=d, class_=kind, **attributes))
        else:
            self._shapes.append(node("path", node("title", title), d=d, class_=kind, **attributes))


def legend(*entries: tuple[str, str]) -> Markup:
    """Return the key of a chart from ``(kind, name)``."""
    keys = (node("span", node("i", class_=f"key {kind}"), name) for kind, name in entries)
    return node("p", together(keys), class_="legend")


def _points(x: Array, y: Array) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
