"""The efficient frontier: what more return would cost in volatility, and where the chosen book stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tradewind.evaluation.report.formats import decimal, percent
from tradewind.evaluation.report.markup import Markup, empty, figure, section
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import around, round_numbers
from tradewind.evaluation.report.tables import Column, Table


def optimiser(result: Mapping[str, Any]) -> Markup:
    """Return the chapter of an optimised book, from the object that ``tradewind optimise --json`` prints."""
    lead = (
        f"{result['objective'].replace('_', ' ')} over {result['horizon_bars']} bars: expected return "
        f"{percent(2)(result['expected_return'] or 0.0)}, volatility {percent(2)(result['volatility'])}."
    )
    return section("optimiser", "Optimised book", lead, frontier(result), weights(result), binding(result))


def frontier(result: Mapping[str, Any]) -> Markup:
    """Return the frontier with the chosen book on or below it: a frontier is of one kind of risk alone."""
    points = result["frontier"]
    if len(points) < 2:
        return figure("Efficient frontier", empty("no more return is to be had inside the limits"), class_="wide")
    risk, gain = (np.array([point[name] for point in points]) for name in ("volatility", "gain"))
    chosen = result["volatility"], (result["expected_return"] or 0.0) - result["cost"]
    x, y = around(risk, [chosen[0]]), around(gain, [chosen[1]])
    plot = Plot(x, y, label="Expected return after costs against volatility", height=300)
    plot.axis_y(percent(2))
    plot.line(risk, gain, "s1")
    for point, a, b in zip(points, risk, gain, strict=True):
        plot.dot(float(a), float(b), "s1", f"volatility {a:.2%}, return {b:.2%}: {_largest(point['weights'])}")
    plot.dot(*chosen, "s2", f"chosen: volatility {chosen[0]:.2%}, return {chosen[1]:.2%}")
    plot.axis_x([(value, percent(2)(value)) for value in round_numbers(x)], "volatility")
    key = legend(("s1", "least volatility for a return"), ("s2", "chosen"))
    caption = f"Over {result['horizon_bars']} bars, return after costs, inside all limits."
    return figure("Efficient frontier", key, plot.render(), _points(points).download(), caption=caption, class_="wide")


def weights(result: Mapping[str, Any]) -> Markup:
    """Return the weights that are held, the largest first."""
    table = Table("weights", "Weights of the optimised book", [Column("Symbol", text=True), Column("Weight")])
    for name, weight in sorted(result["weights"].items(), key=lambda row: -abs(row[1])):
        if weight:
            table.add([name, percent(1)(weight)], [name, weight])
    return figure("Weights", table.render() if table.rows else empty("nothing: all in cash"))


def binding(result: Mapping[str, Any]) -> Markup:
    """Return the limits that bind and what each costs."""
    columns = [
        Column("Limit", text=True),
        Column("Of", text=True),
        Column("Value"),
        Column("Shadow price", hint="what one more unit of the limit would add to the objective"),
    ]
    table = Table("binding", "Limits that bind", columns)
    for row in result["binding"]:
        values = row["name"], row["of"] or "", row["limit"], row["shadow_price"]
        table.add([values[0], values[1], f"{values[2]:g}", decimal(4)(values[3])], values)
    return figure("Limits that bind", table.render() if table.rows else empty("none: the book is inside all of them"))


def _points(points: list[Mapping[str, Any]]) -> Table:
    names = list(points[0]["weights"])
    titles = ["expected_return", "gain", "volatility", *names]
    table = Table("frontier", "The efficient frontier", [Column(title) for title in titles])
    for point in points:
        table.values.append([*(point[title] for title in titles[:3]), *point["weights"].values()])
    return table


def _largest(weights: Mapping[str, float], most: int = 5) -> str:
    """Say the largest weights of a book."""
    rows = sorted(weights.items(), key=lambda row: -abs(row[1]))[:most]
    return ", ".join(f"{name} {weight:.0%}" for name, weight in rows if abs(weight) >= 0.005) or "cash"
