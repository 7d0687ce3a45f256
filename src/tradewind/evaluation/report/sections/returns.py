"""What came of it in money: equity over drawdown, months, the worst falls, every figure, and the harder variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.evaluation.report.calendar import Fall, MonthTable, monthly_returns, worst_falls
from tradewind.evaluation.report.formats import (
    change,
    decimal,
    is_missing,
    missing,
    money,
    percent,
    short_money,
    shown,
    words,
)
from tradewind.evaluation.report.markup import Markup, empty, figure, node, section
from tradewind.evaluation.report.metrics import FIGURES, explained, formula, sample_size
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, Scale, around, milliseconds, spaced
from tradewind.evaluation.report.tables import Column, Table

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

LINES = {"book": "The book, after costs", "equal": "Holding all names equally", "index": "The index"}
SAMPLE_KEYS = frozenset({"bars", "confidence_level"})
IN_SAMPLE_SHARE = 0.12
"""Part of the picture that the years of pure learning may take."""


def returns(record: TrackRecord) -> Markup:
    """Return the chapter on money."""
    period = record.result["period"]
    lead = (
        f"Traded out-of-sample from {period['out_of_sample_from']} to {period['to']}: every forecast came from a model "
        "that had never seen the bar. Decided at a close, filled at the next open or later."
    )
    both = node(
        "div",
        figure("Worst drawdowns", worst(record), caption="The deepest falls from a peak, and how long they took."),
        figure("Would it survive?", robustness(record.result), caption="The same decisions, made harder."),
        class_="grid",
    )
    return section("returns", "Track record", lead, equity_chart(record), months(record), both, all_figures(record))


def wealth(record: TrackRecord) -> dict[str, Array]:
    """Return the book, equal weight and (where there is one) the index from the first traded close, in currency."""
    from tradewind.evaluation.track_record import buy_and_hold, index_returns

    simulation, start = record.simulations["base"], record.start
    lines = {"book": simulation.equity[start:]}
    lines["equal"] = _grown(buy_and_hold(record.world, start), simulation.start_capital)
    index = index_returns(record.world, start)
    if index is not None:
        lines["index"] = _grown(index, simulation.start_capital)
    return lines


def equity_chart(record: TrackRecord) -> Markup:
    """Return equity over drawdown on one axis of time, in-sample shaded."""
    lines = wealth(record)
    panel, start = record.world.panel, record.start
    if len(panel) - start < 2:
        return figure("Equity and drawdown", empty("fewer than two bars were traded"))
    times = milliseconds(panel.times)
    first = max(times[0], times[start] - IN_SAMPLE_SHARE * (times[-1] - times[start]))
    axis = Scale(float(first), float(times[-1]))
    upper, lower = _equity(axis, times, start, lines), _under_water(axis, times, start, lines)
    names = [(kind, LINES[kind]) for kind in lines]
    caption = (
        f"Shaded: in-sample, from {record.result['period']['from']} on, where models only learn; the rest is "
        "out-of-sample. "
        "Below: how far under its last peak the book stood (red) and equal holding (dashed)."
    )
    if _is_log(lines):
        caption += " Logarithmic scale: equal heights are equal growth."
    return figure("Equity and drawdown", legend(*names), upper, lower, caption=caption, class_="wide")


def months(record: TrackRecord) -> Markup:
    """Return the table of monthly returns as a heat map centred on zero."""
    table = monthly_returns(record.world.panel.times[record.start :], record.simulations["base"].equity[record.start :])
    columns = [Column("Year"), *(Column(m) for m in MonthTable.MONTHS), Column("Year total")]
    shown_table = Table("monthly_returns", "Net return by month, in percent", columns)
    strongest = max(float(np.nanmax(np.abs(table.months), initial=0.0)), 1e-12)
    for year, row, total in zip(table.years, table.months, table.totals, strict=True):
        cells = [Markup(year), *(_heat(v, strongest) for v in row), _year_total(total)]
        shown_table.add(cells, [year, *row.tolist(), total])
    caption = "Net of costs, in percent. Deeper colour: further from zero; the sign is in the number."
    return figure("Return by month", shown_table.render("heat"), caption=caption, class_="wide")


def worst(record: TrackRecord) -> Markup:
    """Return the table of the five worst drawdowns."""
    falls = worst_falls(record.world.panel.times[record.start :], record.simulations["base"].equity[record.start :])
    if not falls:
        return empty("equity never fell below a peak")
    table = Table(
        "worst_drawdowns",
        "The worst drawdowns",
        [Column("Depth"), Column("Peak"), Column("Trough"), Column("Recovered"), Column("Bars")],
    )
    for f in falls:
        table.add([percent(1)(-f.depth), f.peak, f.trough, _recovered(f), f"{f.bars:,}"], list(f.__dict__.values()))
    return table.render()


def robustness(result: Mapping[str, Any]) -> Markup:
    """Return the table of the variants: one bar later, doubled costs."""
    record = result["track_record"]
    names = {"delay_1": "One bar later", "double_costs": "Doubled costs"}
    table = Table(
        "robustness", "The result under harder terms", [Column("Variant"), Column("Sharpe"), Column("Annual return")]
    )
    for name, row in {"As decided": record, **result["robustness"]}.items():
        sharpe = shown(row["sharpe"], decimal(2), title=explained("sharpe", record["bars"]))
        cells = [names.get(name, words(name)), sharpe, change(row["annual_return"], percent(1))]
        table.add(cells, [name, row["sharpe"], row["annual_return"]])
    return table.render()


def all_figures(record: TrackRecord) -> Markup:
    """Return every figure of the track record with its formula and sample size."""
    found = record.result["track_record"]
    columns = [Column("Figure"), Column("Value"), Column("n"), Column("Formula", text=True)]
    table = Table("figures", "Every figure of the track record", columns)
    for name, about in FIGURES.items():
        size = sample_size(name, found)
        reason = str(found.get("pbo_reason") or "") if name == "pbo" else ""
        value = shown(found.get(name), about.how, reason or "not defined for this sample", explained(name, size))
        table.add([about.label, value, f"{size:,}", formula(name)], [about.label, found.get(name), size, formula(name)])
    _add_unknown(table, found)
    _add_intervals(table, found)
    _add_baselines(table, found)
    return node(
        "details", node("summary", "Every figure, with its formula and sample size"), table.render(), class_="card"
    )


def _add_unknown(table: Table, found: Mapping[str, Any]) -> None:
    """Add figures that this page knows no words for: a new metric shows itself."""
    for name, value in found.items():
        if name not in FIGURES and name not in SAMPLE_KEYS and isinstance(value, int | float):
            table.add([words(name), shown(value, decimal(4)), "–", formula(name)], [name, value, None, formula(name)])


def _add_intervals(table: Table, found: Mapping[str, Any]) -> None:
    level = percent(0)(found.get("confidence_level", 0.95))
    how = f"stationary bootstrap (Politis & Romano 1994), {level}"
    excess = "Sharpe over equal holding at the same risk, interval"
    for name, key in (("Sharpe interval", "sharpe_ci"), (excess, "excess_sharpe_ci")):
        low, high = found[key]
        value = missing("too little moved") if is_missing(low) else f"{decimal(2)(low)} to {decimal(2)(high)}"
        table.add([name, value, f"{found['bars']:,}", how], [name, f"{low} to {high}", found["bars"], how])


def _add_baselines(table: Table, found: Mapping[str, Any]) -> None:
    for key, row in found["baselines"].items():
        who = "equal holding" if key == "equal_weight" else "the index"
        if row is None:
            none = missing("the source has no index")
            table.add([f"Figures of {who}", none, "–", "price returns of the benchmark index"], [who, None, None, None])
            continue
        for name, value in row.items():
            label = f"{FIGURES[name].label.removesuffix(', net')} of {who}"
            cells = [label, shown(value, FIGURES[name].how), f"{found['bars']:,}", formula(name)]
            table.add(cells, [label, value, found["bars"], formula(name)])


def _equity(axis: Scale, times: Array, start: int, lines: dict[str, Array]) -> Markup:
    scale = around(*lines.values(), log=_is_log(lines))
    plot = Plot(axis, scale, label="Equity of the book and its baselines", height=300, class_="ends upper")
    _shade(plot, axis, float(times[start]))
    plot.axis_y(short_money)
    for kind in reversed(lines):
        plot.line(times[start:], lines[kind], kind, LINES[kind])
    places = spaced([100 - plot.y.share(float(v[-1])) for v in lines.values()], gap=5.6, low=2, high=98)
    for (kind, v), top in zip(lines.items(), places, strict=True):
        plot.tag(100, top, money(float(v[-1])), f"right {kind}")
    plot.tag(0.6, 3, "in-sample", "below")
    plot.hover("0")
    return plot.render()


def _is_log(lines: Mapping[str, Array]) -> bool:
    """Return whether growth is large enough for a logarithmic scale (and nothing went broke)."""
    lowest, highest = min(float(v.min()) for v in lines.values()), max(float(v.max()) for v in lines.values())
    return lowest > 0 and highest > 3 * lowest


def _under_water(axis: Scale, times: Array, start: int, lines: Mapping[str, Array]) -> Markup:
    falls = {kind: v / np.maximum.accumulate(v) - 1.0 for kind, v in lines.items()}
    lowest = min(float(np.nanmin(f)) for f in (falls["book"], falls["equal"]))
    plot = Plot(axis, Scale(min(lowest * 1.08, -0.01), 0.0), label="Drawdown", height=130, class_="ends")
    _shade(plot, axis, float(times[start]))
    plot.axis_y(percent(0), 3)
    plot.area(times[start:], falls["book"], 0.0, "loss")
    plot.line(times[start:], falls["equal"], "equal", LINES["equal"])
    plot.line(times[start:], falls["book"], "loss-line", LINES["book"])
    plot.axis_time()
    plot.hover("1%")
    return plot.render()


def _shade(plot: Plot, axis: Scale, start: float) -> None:
    plot.box((axis.low, start), (plot.y.low, plot.y.high), "in-sample", "in-sample: models learn, nothing is traded")


def _grown(moves: Array, capital: float) -> Array:
    return np.asarray(capital * np.concatenate(([1.0], np.cumprod(1.0 + moves))))


def _heat(value: float, strongest: float) -> Markup:
    if is_missing(value):
        return missing("not traded in this month")
    depth = abs(value) / strongest * 0.55
    kind = "gain" if value > 0 else "fall" if value < 0 else "zero"
    return node("span", decimal(1)(value * 100), class_=kind, style=f"--depth:{depth:.2f}")


def _year_total(value: float) -> Markup:
    return missing("not traded in this year") if is_missing(value) else node("b", decimal(1)(value * 100))


def _recovered(fall: Fall) -> str:
    return fall.recovered or missing("not yet recovered at the end of the sample")
