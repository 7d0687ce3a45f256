"""What networks tell of themselves: the bars they looked at, the variables they chose, the curves they learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.evaluation.report.formats import bars, decimal, percent, words
from tradewind.evaluation.report.markup import Markup, figure, node
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Scale, around
from tradewind.evaluation.report.tables import Column, Table, download

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

SERIES = ("s1", "s2", "s3", "s4", "s5")
MOST_MODELS = 2
"""The traded model comes first; a report is no museum."""
MOST_SYMBOLS = 12


def insides(record: TrackRecord) -> list[Markup]:
    """Return the pictures of every model that tells something of its insides."""
    traded = record.decision.belief.forecast
    told = {traded.model: traded.explanation} | {n: f.explanation for n, f in record.forecasts.items()}
    open_ones = {name: said for name, said in told.items() if {"bars", "attention", "curves"} & set(said)}
    found: list[Markup] = []
    for name, said in list(open_ones.items())[:MOST_MODELS]:
        found += [picture for picture in (_looked_at(name, said), _chosen(name, said), _curves(name, said)) if picture]
    return found


def _looked_at(model: str, said: Mapping[str, Any]) -> Markup | None:
    """Return how much each bar of the window weighed: attention by horizon, else shares of what moved the forecast."""
    window = len(said.get("bars", ()))
    if not window:
        return None
    attention = {f"{bars(int(h))} ahead": row[:window] for h, row in said.get("attention", {}).items()}
    lines: dict[str, Sequence[float]] = attention or {"all horizons": said["bars"]}
    title = f"Which bars the {words(model)} looked at"
    ago = np.arange(window) - window + 1
    plot = Plot(Scale(float(ago[0]), 0.0), around([0.0], *lines.values()), label=title)
    plot.axis_y(percent(0 if max(map(max, lines.values())) > 0.1 else 1))
    for kind, (name, shares) in zip(SERIES, lines.items(), strict=False):
        plot.line(ago, shares, kind, name)
    places = [int(place) for place in np.linspace(ago[0], 0, 5).round()]
    plot.axis_x([(place, f"{-place}" if place else "now") for place in places], "bars before the forecast")
    keys = [(kind, name) for kind, name in zip(SERIES, lines, strict=False)]
    rows = [[int(-a), *(shares[i] for shares in lines.values())] for i, a in enumerate(ago)]
    csv = download(f"bars_{model}", ["bars_before", *lines], rows)
    sense = "mean attention of the newest forecasts" if attention else "share of what moved the newest forecasts"
    caption = f"{sense[0].upper()}{sense[1:]}, last fit. What was used, not what causes anything."
    return figure(title, legend(*keys), plot.render(), csv, caption=caption)


def _chosen(model: str, said: Mapping[str, Any]) -> Markup | None:
    """Return the variables that weighed most in each symbol's newest forecast."""
    latest: Mapping[str, Mapping[str, float]] = said.get("latest", {})
    if not latest:
        return None
    most = max(len(own) for own in latest.values())
    table = Table(
        f"variables_{model}",
        "Variables that weighed most in each newest forecast",
        [Column("Symbol", text=True), *(Column(f"{place}.", text=True) for place in range(1, most + 1))],
    )
    for symbol, own in list(latest.items())[:MOST_SYMBOLS]:
        pairs = list(own.items())
        cells = [node("span", words(name), " ", node("b", percent(0)(share))) for name, share in pairs]
        table.add([symbol, *cells, *[""] * (most - len(cells))], [symbol, *(name for name, _ in pairs)])
    left = len(latest) - MOST_SYMBOLS
    more = f" {left} more symbols are in the JSON." if left > 0 else ""
    caption = f"Weights of the variable selection, which sum to 100 % over all variables.{more}"
    return figure(f"What the {words(model)} chose", table.render(), caption=caption, class_="wide")


def _curves(model: str, said: Mapping[str, Any]) -> Markup | None:
    """Return the functions learnt of the channels that moved the forecasts most."""
    curves: Mapping[str, Any] = said.get("curves", {})
    if not curves:
        return None
    points = curves["points"]
    charts = [_curve(name, own, points) for name, own in curves["channels"].items()]
    key = legend(("s1", "of the newest value"), ("s2", "of a short memory"), ("s3", "of a longer one"))
    caption = "What a hidden unit adds for each value of the input, in deviations of it; the strongest function each."
    title = f"Curves that the {words(model)} learnt"
    return figure(title, key, node("div", *charts, class_="thirds"), caption=caption, class_="wide")


def _curve(name: str, own: Mapping[str, Any], points: Sequence[float]) -> Markup:
    lines = [own["newest"], *own["sums"]]
    plot = Plot(Scale(points[0], points[-1]), around([0.0], *lines), label=f"curve of {words(name)}", height=150)
    plot.axis_y(wanted=3)
    plot.level(0.0, "zero")
    for kind, line in zip(SERIES, lines, strict=False):
        plot.line(points, line, kind)
    ends = [points[0], 0.0, points[-1]]
    plot.axis_x([(end, decimal(0, signed=bool(end))(end)) for end in ends])
    return node("div", node("p", f"{words(name)}, {percent(0)(own['share'])}", class_="aside"), plot.render())
