"""Fan charts: where each price has been, and the forecast distribution to the right of now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.report.formats import is_missing, percent, price
from tradewind.evaluation.report.markup import Markup, empty, node, section
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, around, round_numbers, spaced
from tradewind.evaluation.report.sections.recommendations import action

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

MOST_SYMBOLS = 24
BANDS = ((0.05, 0.95, "fan-90"), (0.10, 0.90, "fan-80"), (0.25, 0.75, "fan-50"))


def fans(record: TrackRecord) -> Markup:
    """Return a fan chart for every recommendation, those that call for action first, at most 24."""
    entries: Sequence[Mapping[str, Any]] = record.result["recommendations"]
    chosen = entries[:MOST_SYMBOLS]
    lead = (
        "The fan shows where the price should lie: the darkest band holds it half of the time, the whole fan nine "
        "times out of ten. The thin dashed fan is what was forecast that many bars ago, so you can see how it fared."
    )
    if len(entries) > len(chosen):
        lead += f" Shown: the first {len(chosen)} of {len(entries):,} symbols."
    key = legend(
        ("up-candle", "up ▲ (hollow)"),
        ("down-candle", "down ▼ (filled)"),
        ("fan-50", "50 %"),
        ("fan-80", "80 %"),
        ("fan-90", "90 %"),
        ("median", "median"),
        ("ghost", "forecast made earlier"),
        ("target", "target ▲"),
        ("stop", "stop ▼"),
    )
    charts = [fan(record, entry) for entry in chosen]
    return section("fans", "Forecast fans", lead, key, node("div", *charts, class_="grid fans"))


def fan(record: TrackRecord, entry: Mapping[str, Any]) -> Markup:
    """Return the chart of one symbol: candles, a dashed line at now, the fan, and entry, stop and target."""
    column = record.world.panel.symbols.index(entry["symbol"])
    forecast = record.decision.belief.forecast
    reach = max(forecast.horizons)
    window = min(max(4 * reach, 40), 120, len(record.world.panel))
    candles = _candles(record, column, window)
    head = node("figcaption", node("h3", entry["symbol"]), action(entry["action"]))
    if not np.isfinite(candles["close"]).any():
        return node("figure", head, empty(f"no bar in the last {window} of the sample"), class_="card fan")
    steps, paths = fan_paths(forecast.horizons, forecast.quantiles[-1, column])
    now, past = float(candles["close"][-1]), _past_fan(record, column, candles["close"], reach)
    ahead = now * np.exp(paths) if np.isfinite(now) else np.full_like(paths, np.nan)
    marks = [v for v in (entry["stop"], entry["target"]) if not is_missing(v)] if entry["action"] != "HOLD" else []
    scale = around(candles["low"], candles["high"], ahead, marks, past[1])
    plot = Plot(around([1 - window, reach], margin=0), scale, label=_alt(entry), height=250, class_="fan-plot")
    plot.axis_y()
    _draw_past(plot, past, forecast.levels)
    _draw_candles(plot, candles, window)
    if np.isfinite(ahead).all():
        _draw_fan(plot, steps, ahead, forecast.levels)
    plot.moment(0, "now")
    _draw_levels(plot, entry, ahead, forecast.levels)
    _bar_axis(plot, record, window, reach)
    return node("figure", head, plot.render(), class_="card fan")


def fan_paths(horizons: Sequence[int], quantiles: Array) -> tuple[Array, Array]:
    """Return bars ahead ``(S,)`` and the quantiles there ``(S, Q)``, zero at now.

    Between the horizons that are forecast the quantiles move with the square root of time, as a random walk's do.
    """
    known = np.array([0, *horizons], dtype=np.float64)
    order = np.argsort(known)
    levels = np.vstack([np.zeros(quantiles.shape[1]), quantiles])[order]
    steps = np.unique(np.concatenate([np.linspace(0, 1, 5), np.arange(0.0, known.max() + 0.5)]))
    roots, knots = np.sqrt(steps), np.sqrt(known[order])
    return steps, np.column_stack([np.interp(roots, knots, levels[:, q]) for q in range(levels.shape[1])])


def _candles(record: TrackRecord, column: int, window: int) -> dict[str, Array]:
    """Return the last bars in prices of the last close: splits and dividends before it are taken out."""
    panel = record.world.panel
    factor = panel.factor[-window:, column]
    last = factor[np.isfinite(factor)][-1:] if np.isfinite(factor).any() else np.array([1.0])
    fields = ("open", "high", "low", "close")
    found = {name: panel.fields[name][-window:, column] * factor / last for name in fields}
    usable = panel.mask[-window:, column]
    return {name: np.where(usable, values, np.nan) for name, values in found.items()}


def _past_fan(record: TrackRecord, column: int, close: Array, reach: int) -> tuple[Array, Array]:
    """Return the fan made ``reach`` bars ago as bars before now and prices ``(S, Q)``; empty where there was none."""
    forecast, row = record.decision.belief.forecast, len(record.world.panel) - 1 - reach
    if row < 0 or len(close) <= reach or not np.isfinite(forecast.quantiles[row, column]).all():
        return np.empty(0), np.empty((0, len(forecast.levels)))
    start = close[-1 - reach]
    steps, paths = fan_paths(forecast.horizons, forecast.quantiles[row, column])
    return steps - reach, start * np.exp(paths) if np.isfinite(start) else np.full_like(paths, np.nan)


def _draw_past(plot: Plot, past: tuple[Array, Array], levels: Sequence[float]) -> None:
    steps, prices = past
    if not steps.size or not np.isfinite(prices).all():
        return
    plot.area(steps, prices[:, 0], prices[:, -1], "ghost-fill", "the 90 % interval as it was forecast then")
    for index in (0, len(levels) - 1):
        plot.line(steps, prices[:, index], "ghost")


def _draw_candles(plot: Plot, candles: Mapping[str, Array], window: int) -> None:
    x = np.arange(1 - window, 1, dtype=np.float64)
    known = np.isfinite(candles["open"]) & np.isfinite(candles["close"])
    rising = known & (candles["close"] >= candles["open"])
    for kind, rows in (("up", rising), ("down", known & ~rising)):
        if rows.any():
            body = (
                np.minimum(candles["open"], candles["close"])[rows],
                np.maximum(candles["open"], candles["close"])[rows],
            )
            plot.sticks(x[rows], candles["low"][rows], body[0], f"wick {kind}")
            plot.sticks(x[rows], body[1], candles["high"][rows], f"wick {kind}")
            plot.boxes(x[rows] - 0.32, x[rows] + 0.32, *body, f"candle {kind}")
    plot.line(x, candles["close"], "invisible", "close")


def _draw_fan(plot: Plot, steps: Array, prices: Array, levels: Sequence[float]) -> None:
    for low, high, kind in BANDS:
        if low in levels and high in levels:
            inside = percent(0)(high - low)
            title = f"{inside} of outcomes should end in here"
            plot.area(steps, prices[:, levels.index(low)], prices[:, levels.index(high)], kind, title)
    if 0.5 in levels:
        plot.line(steps, prices[:, levels.index(0.5)], "median", "median")
    for level, name in ((0.05, "5 %"), (0.95, "95 %")):
        if level in levels:
            plot.line(steps, prices[:, levels.index(level)], "invisible", name)


def _draw_levels(plot: Plot, entry: Mapping[str, Any], ahead: Array, levels: Sequence[float]) -> None:
    """Draw entry, stop and target, and write the prices at the right edge, moved apart where they would overlap."""
    named: list[tuple[float, str, str]] = []
    if entry["action"] != "HOLD":
        for name, sign in (("target", "▲"), ("stop", "▼")):
            if not is_missing(entry[name]):
                plot.level(entry[name], name)
                named.append((entry[name], f"{sign} {price(entry[name])}", name))
    if not is_missing(entry["entry"]):
        plot.level(entry["entry"], "entry")
        named.append((entry["entry"], price(entry["entry"]), "entry"))
    if 0.5 in levels and np.isfinite(ahead[-1]).all():
        edges = ((0, "5 %"), (len(levels) - 1, "95 %"))
        named += [(float(ahead[-1, i]), price(float(ahead[-1, i])), "edge") for i, _ in edges]
    places = spaced([100 - plot.y.share(v) for v, _, _ in named], gap=6.4, low=2, high=98)
    for (_, text, kind), top in zip(named, places, strict=True):
        plot.tag(100, top, text, f"right {kind}")


def _bar_axis(plot: Plot, record: TrackRecord, window: int, reach: int) -> None:
    times = record.world.panel.times[-window:]
    daily = record.world.panel.timeframe in ("1d", "1w")
    names = [_moment(t, daily) for t in times]
    places = [int(v) for v in round_numbers(plot.x, 5) if 1 - window < v < -0.12 * (window + reach)]
    ticks = [(float(v), names[v + window - 1]) for v in places]
    plot.axis_x([*ticks, (0.0, "now"), (float(reach), f"+{reach}")])
    plot.hover("2", [*names, *(f"+{i}" for i in range(1, reach + 1))])


def _moment(time: np.datetime64, daily: bool) -> str:
    text = str(np.datetime_as_string(time, unit="D" if daily else "m"))
    return text if daily else text.replace("T", " ")


def _alt(entry: Mapping[str, Any]) -> str:
    found = entry["intervals"].get(str(entry["horizon_bars"]), {})
    pair: NDArray[Any] | list[float] | None = found.get("90")
    if not pair or any(is_missing(v) for v in pair):
        return f"Price of {entry['symbol']}; there is no forecast"
    return (
        f"Price of {entry['symbol']}, last {price(entry['entry'])}; in {entry['horizon_bars']} bars with 90 % "
        f"probability between {price(pair[0])} and {price(pair[1])}"
    )
