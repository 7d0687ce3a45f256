"""What could go wrong with the book: risk by name, who adds it, and whether value at risk kept its word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.report.formats import count, decimal, is_missing, missing, p_value, percent, shown, words
from tradewind.evaluation.report.markup import Markup, empty, figure, node, section, together
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, around, milliseconds
from tradewind.evaluation.report.sections.forecasts import meters
from tradewind.evaluation.report.tables import Column, Table, download

MOST_NAMES = 40
"""Names shown in the heat map and in the bars; the CSV files hold all."""

_UNIT_LIMIT = 3.0
"""Robust deviations from the median at which a colour is deepest."""


def risk(*content: Markup | None) -> Markup:
    """Return the chapter made of the figures below."""
    lead = "Losses are positive fractions of equity. Every number uses what was known at its close, and nothing later."
    return section("risk", "Risk of the book", lead, *content)


def heat_map(symbols: Sequence[str], measures: Mapping[str, Sequence[float | None] | Array]) -> Markup:
    """Return names against risk measures, each measure coloured around its median over the names.

    Parameters
    ----------
    symbols
        ``N`` names, in the order wanted.
    measures
        Measure to ``N`` values; None or NaN is a dash. Higher must mean riskier. A measure whose name ends in ``%`` is
        a fraction and shown in percent.
    """
    title = "Risk by name"
    if not symbols or not measures:
        return figure(title, empty("nothing is held"), class_="wide")
    values = {name: np.array([np.nan if v is None else float(v) for v in row]) for name, row in measures.items()}
    depths = {name: _deviations(row) for name, row in values.items()}
    columns = [Column("Name", text=True), *(Column(name.removesuffix("%").strip()) for name in values)]
    table = Table("risk_by_name", title, columns)
    for n, symbol in enumerate(symbols):
        cells = [_cell(row[n], depths[name][n], name.endswith("%")) for name, row in values.items()]
        table.add([symbol, *cells], [symbol, *(float(row[n]) for row in values.values())])
    table_shown = Table(table.name, table.caption, columns, table.rows[:MOST_NAMES])
    left = len(symbols) - MOST_NAMES
    caption = "Red: riskier than the median name by this measure, green: calmer; the deeper, the further away."
    caption += f" The CSV file holds {left} more names." if left > 0 else ""
    tall = min(len(symbols), MOST_NAMES) > 20
    return figure(title, table_shown.alone("heat even", tall=tall), table.download(), caption=caption, class_="wide")


def contributions(parts: Mapping[str, Mapping[str, float]]) -> Markup:
    """Return what each position adds, one chart a measure: ``{"volatility": {"AAPL": 0.4, …}}`` in shares of it."""
    charts = []
    for measure, shares in parts.items():
        known = {name: share for name, share in shares.items() if not is_missing(share)}
        ordered = dict(sorted(known.items(), key=lambda item: -abs(item[1])))
        first = dict(list(ordered.items())[:MOST_NAMES])
        body = meters(first, percent(1)) if first else empty("the book has no risk that is known")
        charts.append(node("div", node("h4", f"of {words(measure)}"), body))
    rows = [[measure, name, share] for measure, shares in parts.items() for name, share in shares.items()]
    csv = download("risk_contributions", ["measure", "name", "share"], rows)
    caption = (
        "Each position's part of the whole, by Euler's allocation; together 100 %. Below zero: it lowers the risk."
    )
    body = node("div", *charts, class_="thirds") if charts else empty("nothing is held")
    return figure("Who adds the risk", body, csv, caption=caption, class_="wide")


def against_losses(
    times: NDArray[np.datetime64], returns: Array, var: Array, level: float, *, name: str = "value at risk"
) -> Markup:
    """Return daily results against what value at risk had said the day before, exceptions marked.

    Parameters
    ----------
    times
        ``(T,)`` closes of the sessions.
    returns
        ``(T,)`` the book's return of each session.
    var
        ``(T,)`` value at risk of the *same* session, forecast at the close before it, positive.
    """
    title = f"Daily results against value at risk ({percent(0)(level)})"
    known = np.isfinite(returns) & np.isfinite(var) & (var > 0)
    if not known.any():
        return figure(title, empty("no session has both a result and a value at risk"), class_="wide")
    at, own, limit = milliseconds(times[known]), returns[known], -var[known]
    over = own < limit
    plot = Plot(around(at, margin=0.01), around(own, limit, [0.0]), label=title, height=260)
    plot.axis_y(percent(1), 5)
    plot.sticks(at[~over], np.minimum(own, 0)[~over], np.maximum(own, 0)[~over], "s5")
    for run in np.split(np.arange(len(at)), np.flatnonzero(np.diff(np.flatnonzero(known)) > 1) + 1):
        plot.line(at[run], limit[run], "s1", name)
    for x, y, low in zip(at[over], own[over], limit[over], strict=True):
        day = str(np.datetime64(int(x), "ms"))[:10]
        plot.dot(x, y, "beyond few", f"{day}: {percent(2)(y)}, value at risk {percent(2)(-low)}")
    plot.level(0, "zero")
    plot.axis_time()
    plot.hover("2%")
    promised = (1 - level) * known.sum()
    caption = f"{int(over.sum())} exceptions in {int(known.sum()):,} sessions; {promised:.1f} were promised."
    rows = [[str(t)[:10], float(r), float(v)] for t, r, v in zip(times[known], own, -limit, strict=True)]
    csv = download("value_at_risk", ["session", "return", "value_at_risk"], rows)
    key = legend(("s5", "result of a session"), ("s1", "minus value at risk"), ("beyond", "exception"))
    return figure(title, key, plot.render(), csv, caption=caption, class_="wide")


def exceptions(tests: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return the tests of value at risk by method, as ``evaluation.stress.judgement`` gives them."""
    title = "Did value at risk keep its word"
    if not tests:
        return figure(title, empty("value at risk was not judged"))
    heads = ("Sessions", "Exceptions", "Promised", "Kupiec p", "Independence p", "Both p", "Shortfall p")
    keys = ("sessions", "exceptions", "expected", "kupiec_p", "independence_p", "conditional_p", "shortfall_p")
    how = (count, count, decimal(1), p_value, p_value, p_value, p_value)
    table = Table("value_at_risk_tests", title, [Column("Method", text=True), *(Column(h) for h in heads)])
    for name, row in tests.items():
        why = "; ".join(row.get("reasons", ())) or "not defined for this sample"
        cells = [shown(row.get(key), format_, why) for key, format_ in zip(keys, how, strict=True)]
        table.add([words(name), *cells], [name, *(row.get(key) for key in keys)])
    caption = (
        "Kupiec: as many as promised. Independence (Christoffersen): one does not call the next. A p below 0.05 speaks "
        "against it. All exact, so that few exceptions count rightly; shortfall by bootstrap (McNeil and Frey)."
    )
    return figure(title, table.render(), caption=caption)


def scenarios(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Return what each scenario does to the book, as ``tradewind stress --json`` says it."""
    title = "Scenarios"
    if not rows:
        return figure(title, empty("no scenario was asked for"))
    heads = [Column("Scenario", text=True), Column("Loss"), Column("Worst on the way"), Column("Priced")]
    table = Table("scenarios", title, [*heads, Column("Worst names, and what is not priced", text=True)])
    for row in rows:
        reason = row.get("reason") or "could not be priced"
        label = together((row["name"], node("small", row["description"])))
        losses = [shown(row[key], percent(1), reason) for key in ("loss", "worst_loss")]
        cells = [label, *losses, percent(0)(row["covered"]), _about(row)]
        table.add(cells, [row["name"], row["loss"], row["worst_loss"], row["covered"], row.get("reason") or ""])
    caption = "The book as it stands, held through without trading. Names that lack prices then move by their beta."
    return figure(title, table.render(), caption=caption)


def _about(row: Mapping[str, Any]) -> str:
    if is_missing(row["loss"]):
        return str(row.get("reason") or "")
    said = ", ".join(f"{one['symbol']} {percent(1)(one['loss'])}" for one in row["worst"][:3])
    lost = ", ".join(row["unpriced"])
    return "; ".join(filter(None, (said, lost and f"not priced: {lost}", *row["notes"])))


def _deviations(values: Array) -> Array:
    """Return robust deviations from the median, -3 to 3; 0 where all are alike, NaN where unknown."""
    known = values[np.isfinite(values)]
    if known.size < 2:
        return np.where(np.isfinite(values), 0.0, np.nan)
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle))) or float(np.ptp(known)) / 2 or 1.0
    return np.asarray(np.clip((values - middle) / spread, -_UNIT_LIMIT, _UNIT_LIMIT))


def _cell(value: float, deviations: float, fraction: bool) -> Markup:
    if is_missing(value):
        return missing("unknown for this name")
    kind = "fall" if deviations > 0 else "gain" if deviations < 0 else "zero"
    depth = abs(deviations) / _UNIT_LIMIT * 0.55
    said = percent(1)(value) if fraction else decimal(2)(value)
    return node("span", said, class_=kind, style=f"--depth:{depth:.2f}")
