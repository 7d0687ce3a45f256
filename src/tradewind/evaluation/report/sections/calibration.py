"""Whether the intervals and probabilities kept their promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.calibration.coverage import ROLLING_DATES, pit_histogram
from tradewind.evaluation.report.formats import bars, decimal, is_missing, percent, words
from tradewind.evaluation.report.markup import Markup, empty, figure, node
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, Scale, around, milliseconds, round_numbers
from tradewind.evaluation.report.tables import download
from tradewind.stats.proportion import wilson

if TYPE_CHECKING:
    from tradewind.calibration.coverage import HorizonCoverage
    from tradewind.evaluation.backtest import TrackRecord

TOLERANCE = 0.02
"""Half the width of the band around the promised coverage."""

FEW_DATES = 60
"""A year with fewer dates is drawn small."""

PIT_BINS = 20
TENTHS = [(v / 10, f"{v * 10}") for v in range(0, 11, 2)]


def coverage(record: TrackRecord) -> Markup:
    """Return one small chart a horizon: coverage of every year and of the last hundred dates, against the promise."""
    charts = [_coverage_of(record, horizon) for horizon in record.coverage.horizons]
    rows = [
        [h.horizon, year, h.nominal, share]
        for h in record.coverage.horizons
        for year, share in sorted(h.by_year.items())
    ]
    key = legend(
        ("promise", "promised, ± 2 points"),
        ("within", "a year inside the band"),
        ("beyond", "a year outside"),
        ("rolling", f"last {ROLLING_DATES} dates"),
    )
    caption = "Share of outcomes that fell inside the interval. Too high is too cautious, too low too bold."
    caption += "".join(_by_volatility(h) for h in record.coverage.horizons)
    csv = download("coverage_by_year", ["horizon_bars", "year", "promised", "realised"], rows)
    return figure(
        "Coverage over the years", key, node("div", *charts, class_="thirds"), csv, caption=caption, class_="wide"
    )


def _by_volatility(found: HorizonCoverage) -> str:
    """Return the coverage while forecasts were narrow, as usual, or wide for what had been forecast before."""
    if not found.by_volatility:
        return ""
    shares = ", ".join(f"{name} {share:.1%}" for name, share in found.by_volatility.items())
    return f" Over {bars(found.horizon)}, by how wide the forecasts were: {shares}."


def reliability(table: Mapping[str, Any]) -> Markup:
    """Return the reliability diagram of the traded event: does what it calls 60 % happen 60 % of the time."""
    title = "Reliability of the confidence"
    rows: Sequence[Mapping[str, Any]] = table["table"]
    said = f"Event: {words(table['event'])}, in {bars(table['horizon_bars'])}. "
    said += "Dots on the diagonal: probabilities can be taken at their word."
    if not rows:
        return figure(title, empty("no forecast has an outcome yet"), caption=said)
    forecast, observed = np.array([r["forecast"] for r in rows]), np.array([r["observed"] for r in rows])
    low, high = wilson(observed, np.array([r["n"] for r in rows]) / table["horizon_bars"])
    axis, upward = _axes(forecast, low, high, table.get("threshold"))
    plot = Plot(axis, upward, label=f"{title}: forecast probability against observed frequency")
    plot.axis_y(percent(0))
    first, last = max(axis.low, upward.low), min(axis.high, upward.high)
    plot.line([first, last], [first, last], "promise")
    plot.sticks(forecast, low, high, "whisker")
    for x, y, row in zip(forecast, observed, rows, strict=True):
        plot.dot(x, y, "s1", f"forecast {percent(1)(x)}, happened {percent(1)(y)}, n = {row['n']:,}")
    if not is_missing(table.get("threshold")):
        plot.moment(table["threshold"], "threshold")
        plot.note(table["threshold"], upward.low + 0.05 * (upward.high - upward.low), "acts above", "threshold")
    plot.axis_x(_percents(axis), "forecast probability; upwards: how often it happened")
    csv = download("reliability", ["forecast", "observed", "n"], [[r["forecast"], r["observed"], r["n"]] for r in rows])
    passed: Any = table.get("threshold_passed")
    share = "" if is_missing(passed) else f" The threshold was passed by {percent(1)(passed)} of forecasts."
    whiskers = " Whiskers: 95 %, outcomes that overlap in time counted once."
    return figure(title, plot.render(), csv, caption=said + whiskers + share)


def quantile_reliability(table: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return how many outcomes fell below each forecast quantile, less its level."""
    title = "Every quantile, promised and kept"
    known = {h: row["reliability"] for h, row in table.items() if row.get("reliability")}
    lines = {h: [r for r in rows if not is_missing(r["realised"])] for h, rows in known.items()}
    lines = {h: rows for h, rows in lines.items() if rows}
    if not lines:
        return figure(title, empty("no forecast has an outcome yet"))
    off = [abs(r["realised"] - r["level"]) for rows in lines.values() for r in rows]
    reach = max(0.03, *off) * 1.25
    plot = Plot(Scale(0.0, 1.0), Scale(-reach, reach), label=title)
    plot.axis_y(lambda v: decimal(0 if reach > 0.04 else 1, signed=True)(v * 100))
    plot.box((0.0, 1.0), (-TOLERANCE, TOLERANCE), "tolerance", "± 2 points")
    plot.level(0.0, "promise")
    for kind, (horizon, rows) in zip(("s1", "s2", "s3", "s4", "s5"), lines.items(), strict=False):
        levels, errors = [r["level"] for r in rows], [r["realised"] - r["level"] for r in rows]
        plot.line(levels, errors, kind)
        for level, error in zip(levels, errors, strict=True):
            plot.dot(
                level, error, kind, f"{bars(horizon)}: promised {percent(0)(level)}, kept {percent(1)(level + error)}"
            )
    plot.axis_x([(level, text) for level, text in TENTHS], "quantile level, %; upwards: points too many below it")
    keys = [(kind, f"{bars(h)} ahead") for kind, h in zip(("s1", "s2", "s3", "s4", "s5"), lines, strict=False)]
    rows = [[h, r["level"], r["realised"]] for h, found in lines.items() for r in found]
    csv = download("quantile_reliability", ["horizon_bars", "level", "realised"], rows)
    caption = "Zero is perfect. Shaded: within two points of the promise."
    return figure(title, legend(*keys), plot.render(), csv, caption=caption)


def pit(record: TrackRecord) -> Markup:
    """Return the histogram of where outcomes fell in their forecast distributions, at the traded horizon."""
    horizon = record.result["reliability"]["horizon_bars"]
    title = f"Where outcomes fell, {bars(horizon)} ahead"
    forecast = record.decision.belief.forecast
    index = forecast.horizons.index(horizon)
    shares, edges = pit_histogram(forecast, record.world.labels.returns, index, bins=PIT_BINS)
    if not np.any(shares):
        return figure(title, empty("no forecast has an outcome yet"))
    from tradewind.evaluation.report.sections.forecasts import histogram

    plot = histogram(shares, edges, title, percent(0))
    plot.level(1 / PIT_BINS, "promise")
    plot.axis_x(
        [(v, decimal(2)(v)) for v in (0.0, 0.25, 0.5, 0.75, 1.0)], "forecast probability of less than what came"
    )
    caption = "Probability integral transform. Flat on the dashed line is perfect; a U is too narrow, a hump too wide."
    return figure(title, plot.render(), caption=caption)


def _coverage_of(record: TrackRecord, found: HorizonCoverage) -> Markup:
    head = f"{bars(found.horizon)} ahead"
    if found.n:
        head += f": {percent(1)(found.realised)} of {found.n:,}"
    times = record.world.panel.times
    rows = np.flatnonzero(np.isfinite(found.by_date))
    if not rows.size:
        return node("div", node("h4", head), empty("no forecast of this horizon has an outcome yet"))
    rolled = _rolling(found.by_date[rows])
    at = milliseconds(times[rows])
    years = {year: share for year, share in found.by_year.items() if not is_missing(share)}
    off = max(abs(s - found.nominal) for s in years.values()) if years else 0.0
    off = max(off, float(np.nanmax(np.abs(rolled - found.nominal), initial=0.0)))
    reach = max(0.06, off * 1.1)
    y = Scale(max(found.nominal - reach, 0.0), min(found.nominal + reach, 1.0))
    plot = Plot(Scale(float(at[0]), float(at[-1])), y, label=head, height=150)
    plot.axis_y(percent(0), 4)
    plot.box((plot.x.low, plot.x.high), (found.nominal - TOLERANCE, found.nominal + TOLERANCE), "tolerance")
    plot.level(found.nominal, "promise")
    if np.isfinite(rolled).any():
        plot.line(at, rolled, "rolling", f"last {ROLLING_DATES} dates")
    for year, share in years.items():
        middle = float(np.clip(milliseconds(np.array([f"{year}-07-01"], "datetime64[ms]"))[0], plot.x.low, plot.x.high))
        kind = "within" if abs(share - found.nominal) <= TOLERANCE else "beyond"
        number = int(np.sum(times[rows].astype("datetime64[Y]") == np.datetime64(str(year), "Y")))
        said = f"{year}: {percent(1)(share)} on {number} dates (promised {percent(0)(found.nominal)})"
        plot.dot(middle, share, kind if number >= FEW_DATES else f"{kind} few", said)
    plot.axis_time(6)
    plot.hover("1%")
    return node("div", node("h4", head), plot.render())


def _rolling(by_date: Array) -> Array:
    """Return the mean of the last hundred dates, NaN before there are as many."""
    result = np.full(len(by_date), np.nan)
    if len(by_date) >= ROLLING_DATES:
        summed = np.concatenate(([0.0], np.cumsum(by_date)))
        result[ROLLING_DATES - 1 :] = (summed[ROLLING_DATES:] - summed[:-ROLLING_DATES]) / ROLLING_DATES
    return result


def _axes(forecast: Array, low: Array, high: Array, threshold: Any) -> tuple[Scale, Scale]:
    """Return the scales across and upwards, both inside 0 to 1."""
    across = around(forecast, [] if is_missing(threshold) else [float(threshold)], margin=0.12)
    upward = around(low, high, [across.low, across.high], margin=0.03)
    return _probabilities(across), _probabilities(upward)


def _probabilities(scale: Scale) -> Scale:
    return Scale(max(scale.low, 0.0), min(scale.high, 1.0))


def _percents(axis: Scale) -> list[tuple[float, str]]:
    return [(v, percent(0)(v)) for v in round_numbers(axis, 6)]
