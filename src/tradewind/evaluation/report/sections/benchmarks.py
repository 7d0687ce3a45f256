"""The book beside what anybody could have held, with intervals of the difference, and each of them by regime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tradewind.decisions.surroundings import REGIMES
from tradewind.evaluation.report.formats import (
    Format,
    change,
    count,
    decimal,
    is_missing,
    missing,
    p_value,
    percent,
    shown,
)
from tradewind.evaluation.report.markup import Markup, figure, node, section, together
from tradewind.evaluation.report.plot import Plot
from tradewind.evaluation.report.scales import Scale, around, round_numbers
from tradewind.evaluation.report.sections.regimes import legend_key
from tradewind.evaluation.report.tables import Column, Table, download

NAMES = {
    "book": "The book, after costs", "index": "The index", "nasdaq": "NASDAQ", "equal_weight": "All names alike",
    "cash": "Cash",
}  # fmt: skip
FIGURES = (
    ("annual_return", "Return, a year", percent(1, signed=True)),
    ("volatility", "Volatility", percent(1)),
    ("sharpe", "Sharpe", decimal(2)),
    ("sortino", "Sortino", decimal(2)),
    ("calmar", "Calmar", decimal(2)),
    ("max_drawdown", "Deepest fall", percent(1)),
    ("value_at_risk", "VaR 95 %", percent(2)),
    ("expected_shortfall", "CVaR 95 %", percent(2)),
)
DIFFERENCES = (
    ("excess", "Return ahead, a year", percent(1, signed=True)),
    ("alpha", "Alpha, a year", percent(1, signed=True)),
    ("sharpe_difference", "Sharpe ahead", decimal(2, signed=True)),
)
REGIME_FIGURES = ("return", "volatility", "sharpe")
SIGNS = {"better": ("✓", "up"), "worse": ("✗", "down"), "cannot tell": ("?", "flat")}


def benchmarks(result: Mapping[str, Any]) -> Markup:
    """Return the chapter on benchmarks."""
    found, regimes = result["benchmarks"], result["by_regime"]
    lead = (
        "What else could have been held over the same bars. A difference counts only where its interval leaves zero "
        "out; the verdict is about Sharpe ratios, as a book that is half in cash must not lose for that alone."
    )
    return section(
        "benchmarks", "Benchmarks", lead, ahead(found), beside(found), None if regimes is None else by_regime(regimes)
    )


def ahead(found: Mapping[str, Any]) -> Markup:
    """Return by how much the book was ahead of each benchmark, with intervals drawn and written."""
    level = percent(0)(found["confidence_level"])
    rows = {name: row for name, row in found["against"].items() if row["available"]}
    columns = [
        Column("Against", text=True),
        Column("Verdict", text=True, hint="whether the interval of the difference of Sharpe ratios leaves zero out"),
        Column("Beta", hint="slope of the book's returns on the benchmark's"),
    ]
    for _, title, _ in DIFFERENCES:
        columns += [Column(title), Column(f"{level} interval, p")]
    table = Table("benchmarks", "By how much the book was ahead", columns)
    for name, row in rows.items():
        sign, kind = SIGNS[row["verdict"]]
        badge = node("span", f"{sign} {row['verdict']}", class_=f"badge {kind}")
        cells: list[str] = [NAMES[name], badge, shown(row["beta"], decimal(2))]
        values: list[Any] = [name, row["verdict"], row["beta"]]
        for key, _, how in DIFFERENCES:
            one = row[key]
            cells += [change(one["value"], how), _interval(one, how)]
            values += [one["value"], _plain(one)]
        table.add(cells, values)
    lacking = [row["why"] for row in found["against"].values() if not row["available"]]
    caption = (
        f"Book less benchmark, {found['bars']:,} bars. Intervals: stationary bootstrap of both series together, so "
        "that what they share does not widen them. Alpha: what a holding of beta times the benchmark leaves over. "
        "Cash: what a market-neutral book is measured against."
    )
    note = node("p", "Not compared: ", "; ".join(lacking), class_="aside") if lacking else None
    return figure(
        "Was it better than the obvious?", whiskers(rows), table.render(), note, caption=caption, class_="wide"
    )


def whiskers(rows: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Return the intervals of the difference of Sharpe ratios on one axis; None where none could be made."""
    known = {n: r["sharpe_difference"] for n, r in rows.items() if not is_missing(r["sharpe_difference"]["value"])}
    if not known:
        return None
    ends = np.array([[*one["ci"], one["value"]] for one in known.values()])
    x, y = around(ends, [0.0], margin=0.04), Scale(0.0, float(len(known)))
    label = "Sharpe ratio of the book less the benchmark's, with its interval"
    plot = Plot(x, y, label=label, height=34 * len(known) + 8, class_="named")
    plot.moment(0.0, "zero")
    for place, (name, one) in enumerate(known.items()):
        at = len(known) - place - 0.5
        low, high = one["ci"]
        said = f"{NAMES[name]}: {decimal(2, signed=True)(one['value'])} ({decimal(2)(low)} to {decimal(2)(high)})"
        plot.box((low, high), (at - 0.12, at + 0.12), "s1-fill", said)
        plot.dot(one["value"], at, "s1", said)
        plot.tag(0, 100 - y.share(at), NAMES[name], "left")
    plot.axis_x(
        [(value, decimal(1, signed=True)(value)) for value in round_numbers(x)],
        "Sharpe ratio of the book less the benchmark's",
    )
    return plot.render()


def beside(found: Mapping[str, Any]) -> Markup:
    """Return the figures of book and benchmarks."""
    columns = [Column("", text=True), *(Column(title) for _, title, _ in FIGURES)]
    table = Table("benchmark_figures", "Figures of the book and its benchmarks", columns)
    rows = {"book": found["book"], **{n: row for n, row in found["against"].items() if row["available"]}}
    for name, row in rows.items():
        hint = row.get("what")
        label = node("b", NAMES[name]) if name == "book" else node("span", NAMES[name], title=hint)
        table.add(
            [label, *(shown(row[key], how) for key, _, how in FIGURES)], [name, *(row[key] for key, *_ in FIGURES)]
        )
    caption = (
        "VaR and CVaR are losses of one bar, from the sample. Indices are price returns, the universe total returns."
    )
    return figure("Side by side", table.render(), caption=caption, class_="wide")


def by_regime(found: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return what everybody did in each regime."""
    who = [name for name in next(iter(found.values())) if name != "bars"]
    columns = [Column("Regime", text=True), Column("Bars"), *(Column(NAMES[name]) for name in who)]
    table = Table("by_regime", "By regime", columns)
    for regime, row in found.items():
        if not row["bars"]:
            continue
        label = Markup(f"{legend_key(regime)} {regime}") if regime in REGIMES else regime
        numbers = [row[name][key] for name in who for key in REGIME_FIGURES]
        table.add(
            [label, count(row["bars"]), *(_in_regime(row[name]) for name in who)], [regime, row["bars"], *numbers]
        )
    heads = ["regime", "bars", *(f"{name} {key}" for name in who for key in REGIME_FIGURES)]
    csv = download("by_regime", heads, table.values)
    caption = (
        "A bar counts to the regime that was known when it began. Returns are means a year; the Sharpe ratio's "
        "interval stands on hover. Fewer than 20 bars say nothing."
    )
    return figure("By regime", table.alone(), csv, caption=caption, class_="wide")


def _in_regime(one: Mapping[str, Any]) -> Markup:
    """Return what one did in a regime: its return, and below its Sharpe ratio and volatility."""
    if one["sharpe"] is None:
        return missing(one["reason"])
    said = f"Sharpe {decimal(2)(one['sharpe'])}, vol. {percent(0)(one['volatility'])}"
    return together([change(one["return"], percent(0)), node("small", said, title=_interval_words(one["sharpe_ci"]))])


def _interval(one: Mapping[str, Any], how: Format) -> Markup:
    low, high = one["ci"]
    if is_missing(low) or is_missing(high):
        return missing("too few bars, or nothing moved")
    said = node("span", f"{how(low)} to {how(high)}", class_="nowrap")
    return together([said, node("small", "p ", shown(one["p"], p_value))])


def _interval_words(pair: list[Any] | None) -> str | None:
    return None if pair is None else f"95 % interval {decimal(2)(pair[0])} to {decimal(2)(pair[1])}"


def _plain(one: Mapping[str, Any]) -> str | None:
    low, high = one["ci"]
    return None if is_missing(low) or is_missing(high) else f"{low} to {high}, p {one['p']}"
