"""How good the forecasts were: scores against the naive one, and how much their ranking knew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.evaluation.report.formats import (
    Format,
    arrow,
    bars,
    change,
    count,
    decimal,
    is_missing,
    missing,
    p_value,
    percent,
    shown,
    words,
)
from tradewind.evaluation.report.importance import Influence, influences
from tradewind.evaluation.report.markup import Markup, empty, figure, node, section
from tradewind.evaluation.report.metrics import SCORES, formula
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, Scale, around, milliseconds
from tradewind.evaluation.report.sections import calibration
from tradewind.evaluation.report.sections.insides import insides
from tradewind.evaluation.report.tables import Column, Table, download
from tradewind.stats.metrics.skill import correlations_by_date

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

BUCKETS = 5
MANY_NAMES = 10
"""From so many symbols on, forecasts are sorted within each date; fewer are sorted over all dates."""

SERIES = ("s1", "s2", "s3", "s4", "s5")
FEW_NAMES = "a rank correlation needs three or more symbols on a date"


def forecasts(record: TrackRecord) -> Markup:
    """Return the chapter on the forecasts."""
    lead = (
        "A forecast here is a whole distribution. It is good when it is sharper than the naive one (no drift, recent "
        "volatility) and when its intervals hold what they promise."
    )
    ranks = rank_correlations(record)
    pictures = [
        calibration.reliability(record.result["reliability"]),
        calibration.quantile_reliability(record.result["coverage"]),
        calibration.pit(record),
        ic_over_time(record, ranks),
        ic_histogram(record, ranks),
        buckets(record),
        *importance(record),
        *insides(record),
    ]
    grid = node("div", *pictures, class_="grid")
    return section("forecasts", "Forecasts", lead, quality(record.result), calibration.coverage(record), grid)


def quality(result: Mapping[str, Any]) -> Markup:
    """Return the table of scores, one row a model and horizon."""
    rows = [(m, i, h, row) for m, hs in result["forecast_quality"].items() for i, (h, row) in enumerate(hs.items())]
    names = [name for name in SCORES if any(name in row for *_, row in rows)]
    figures = [Column(SCORES[name][0], hint=formula(name)) for name in names]
    table = Table(
        "forecast_quality",
        "Scores of every model and horizon",
        [Column("Model", text=True), Column("Bars"), *figures, Column("n", hint="forecasts with an outcome")],
    )
    for model, i, horizon, row in rows:
        title = node("span", words(model), class_="again" if i else None)
        cells = [title, horizon, *(_score(name, row) for name in names), count(row["n"])]
        table.add(cells, [model, horizon, *(row.get(n) for n in names), row["n"]], None if i else "group")
    caption = "Lower pinball loss is better; positive skill beats the naive forecast; p is the chance of that by luck."
    return figure("Scores", table.render(), _superior_ability(result), caption=caption, class_="wide")


def rank_correlations(record: TrackRecord) -> dict[int, Array]:
    """Return the rank correlation of score and outcome by date, ``(T,)`` from the first traded row, by horizon."""
    forecast, outcomes = record.decision.belief.forecast, record.world.labels.returns
    rows = slice(record.start, None)
    return {
        horizon: correlations_by_date(forecast.score[rows, :, i], outcomes[rows, :, i], ranks=True)
        for i, horizon in enumerate(forecast.horizons)
    }


def ic_over_time(record: TrackRecord, ranks: Mapping[int, Array]) -> Markup:
    """Return the cumulative rank IC: a line that climbs steadily is skill, one that wanders is luck."""
    title, caption = "Rank IC, summed over time", "A steady climb is skill; a line that wanders around zero is not."
    known = {h: r for h, r in ranks.items() if np.isfinite(r).any()}
    if not known:
        return figure(title, empty(FEW_NAMES), caption=caption)
    times = milliseconds(record.world.panel.times[record.start :])
    summed = {h: np.where(np.isfinite(r), np.nancumsum(r), np.nan) for h, r in known.items()}
    plot = Plot(around(times, margin=0), around([0.0], *summed.values()), label=title)
    plot.axis_y(decimal(0))
    plot.level(0, "zero")
    for kind, (horizon, values) in zip(SERIES, summed.items(), strict=False):
        plot.line(times, values, kind, bars(horizon))
    plot.axis_time(6)
    plot.hover("1")
    keys = [(kind, f"{bars(h)} ahead") for kind, h in zip(SERIES, summed, strict=False)]
    return figure(title, legend(*keys), plot.render(), caption=caption)


def ic_histogram(record: TrackRecord, ranks: Mapping[int, Array]) -> Markup:
    """Return the histogram of the rank IC by date at the traded horizon."""
    horizon = record.result["reliability"]["horizon_bars"]
    title = f"Rank IC by date, {bars(horizon)} ahead"
    values = ranks.get(horizon, np.empty(0))
    values = values[np.isfinite(values)]
    if not values.size:
        return figure(title, empty(FEW_NAMES))
    height, edges = np.histogram(values, bins=21, range=(-1.0, 1.0))
    plot = histogram(height / values.size, edges, title, percent(0))
    plot.moment(0.0, "zero")
    plot.moment(float(values.mean()), "mean")
    plot.note(float(values.mean()), plot.y.high * 0.97, f"mean {decimal(3, signed=True)(float(values.mean()))}", "mean")
    plot.axis_x([(v, decimal(1)(v)) for v in (-1.0, -0.5, 0.0, 0.5, 1.0)], "rank correlation of forecast and outcome")
    return figure(title, plot.render(), caption=f"Share of {values.size:,} dates. The dashed line is the mean.")


def buckets(record: TrackRecord) -> Markup:
    """Return the mean outcome by bucket of the forecast: it should rise from left to right."""
    horizon = record.result["reliability"]["horizon_bars"]
    title = "What followed low and high forecasts"
    found = bucket_outcomes(record, horizon)
    if found is None:
        return figure(title, empty("too few different forecasts to sort into buckets"))
    means, errors, sizes = found
    low, high = means - 2 * errors, means + 2 * errors
    number = len(means)
    plot = Plot(Scale(0.5, number + 0.5), around([0.0], low, high), label=title)
    plot.axis_y(percent(1))
    for i, (mean, n) in enumerate(zip(means, sizes, strict=True), start=1):
        said = f"bucket {i}: mean {percent(2, signed=True)(mean)}, n = {n:,}"
        plot.box((i - 0.32, i + 0.32), (0.0, mean), "bar up" if mean >= 0 else "bar down", said)
    plot.sticks(np.arange(1, number + 1), low, high, "whisker")
    plot.level(0, "zero")
    names = {1: "lowest", number: "highest"}
    plot.axis_x([(i, names.get(i, str(i))) for i in range(1, number + 1)], "forecast, sorted into fifths")
    rows = [[i + 1, float(means[i]), float(errors[i]), int(sizes[i])] for i in range(number)]
    csv = download("buckets", ["bucket", "mean_log_return", "standard_error", "n"], rows)
    among = "among the symbols of a date" if len(record.world.panel.symbols) >= MANY_NAMES else "over all dates"
    caption = f"Mean log return over {bars(horizon)} by fifth of the forecast {among}; whiskers: two standard errors."
    return figure(title, plot.render(), csv, caption=caption)


def bucket_outcomes(record: TrackRecord, horizon: int) -> tuple[Array, Array, Array] | None:
    """Return mean outcome, its standard error and the sample size by fifth of the score; None with too few scores.

    The error takes outcomes that overlap in time, and names of one date, as one observation a horizon.
    """
    forecast = record.decision.belief.forecast
    index = forecast.horizons.index(horizon)
    score = forecast.score[record.start :, :, index]
    outcome = record.world.labels.returns[record.start :, :, index]
    known = np.isfinite(score) & np.isfinite(outcome)
    if score.shape[1] >= MANY_NAMES:
        score = _rank_by_date(np.where(known, score, np.nan))
    edges = np.unique(np.quantile(score[known], np.linspace(0, 1, BUCKETS + 1)[1:-1])) if known.any() else np.empty(0)
    if len(edges) < BUCKETS - 1:
        return None
    bucket = np.searchsorted(edges, score, side="right")
    found = [_mean_and_error(np.where(known & (bucket == b), outcome, np.nan), horizon) for b in range(BUCKETS)]
    means, errors, sizes = np.array(found).T
    return means, errors, sizes.astype(np.int64)


EFFECTS_TITLE = "What moved the expected return"


def importance(record: TrackRecord) -> list[Markup]:
    """Return which inputs the model leaned on, where it says so."""
    found = influences(record)
    title = "What the model looked at"
    if not found:
        return [figure(title, empty("no model says what it leaned on"))]
    return [_influence(EFFECTS_TITLE if i.effects else title, i) for i in found]


def _influence(title: str, said: Influence) -> Markup:
    how = percent(1)
    if said.signed:
        how = lambda v: f"{arrow(v)} {decimal(4, signed=True)(v)}"  # noqa: E731
    caption = f"{words(said.model)}: {said.sense}. What was used, not what causes anything."
    csv = download("importance", ["input", "value"], [[name, value] for name, value in said.values.items()])
    return figure(title, meters(said.values, how), csv, caption=caption)


def meters(values: Mapping[str, float], how: Format, kind: str = "s1") -> Markup:
    """Return horizontal bars with their names and values."""
    longest = max((abs(v) for v in values.values()), default=0.0) or 1.0
    rows = (
        node(
            "li",
            node("span", words(name), class_="name", title=name),
            node(
                "span",
                node("i", class_=f"meter {kind if v >= 0 else 's2'}", style=f"width:{abs(v) / longest * 100:.1f}%"),
                class_="track",
            ),
            node("span", how(v), class_="figure"),
        )
        for name, v in values.items()
    )
    return node("ul", *rows, class_="meters")


def histogram(shares: Array, edges: Array, label: str, how: Format, kind: str = "s1-fill") -> Plot:
    """Return a histogram without its x-axis."""
    plot = Plot(Scale(float(edges[0]), float(edges[-1])), Scale(0.0, float(np.max(shares)) * 1.12 or 1.0), label=label)
    plot.axis_y(how, 4)
    gap = float(edges[1] - edges[0]) * 0.04
    for share, left, right in zip(shares, edges[:-1], edges[1:], strict=True):
        said = f"{decimal(2)(left)} to {decimal(2)(right)}: {percent(1)(share)}"
        plot.box((left + gap, right - gap), (0.0, float(share)), kind, said)
    return plot


def _superior_ability(result: Mapping[str, Any]) -> Markup | None:
    """Say how likely it is that the best of the models only looks better than the naive one."""
    found = {h: p for h, p in result.get("superior_ability_p", {}).items() if not is_missing(p)}
    if not found:
        return None
    said = "; ".join(f"{bars(h)} ahead {p_value(p)}" for h, p in found.items())
    reason = result.get("superior_ability_reason")
    but = f" ({reason})" if reason else ""
    text = f"Chance that no model is better than the naive one (Hansen's SPA, 2005): {said}{but}."
    return node("p", text, class_="aside")


def _score(name: str, row: Mapping[str, Any]) -> Markup:
    if row.get("reason"):
        return missing(f"could not be fitted: {row['reason']}")
    if name == "pinball_skill":
        return change(row.get(name), percent(1))
    reasons = {
        "dm_p": "this is the naive forecast itself, or as good as it",
        "confidence_set_p": "too few dates to compare the models",
    }
    reason = reasons.get(name, "the forecast has no direction, or there are too few symbols on a date")
    return shown(row.get(name), SCORES[name][1], reason, f"{formula(name)}; n = {row['n']:,}")


def _rank_by_date(values: Array) -> Array:
    """Return each value's place among its row's, 0 to 1, NaN kept."""
    order = np.argsort(np.argsort(np.where(np.isfinite(values), values, np.inf), axis=1), axis=1).astype(np.float64)
    count_by_date = np.isfinite(values).sum(axis=1, keepdims=True)
    return np.where(np.isfinite(values), (order + 0.5) / np.maximum(count_by_date, 1), np.nan)


def _mean_and_error(values: Array, horizon: int) -> tuple[float, float, int]:
    n = int(np.isfinite(values).sum())
    if not n:
        return float("nan"), float("nan"), 0
    count_by_date = np.isfinite(values).sum(axis=1)
    by_date = np.nansum(values, axis=1)[count_by_date > 0] / count_by_date[count_by_date > 0]
    spread = float(by_date.std(ddof=1)) if len(by_date) > 1 else float("nan")
    return float(np.nanmean(values)), spread / float(np.sqrt(max(len(by_date) / horizon, 1.0))), n
