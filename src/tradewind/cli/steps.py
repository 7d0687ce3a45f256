"""How one recommendation, followed from raw bars to order, looks in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FEATURE_COLUMNS = 2


def show_steps(steps: Mapping[str, Any]) -> None:
    """Print the steps of ``tradewind explain`` for people; ``--json`` has every digit."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 110)
    console.print(f"[bold]{steps['symbol']}[/] as of {_time(steps['as_of'])}")
    for title, content in _sections(steps):
        console.print(f"\n[bold]{title}[/]")
        console.print(content)


def _sections(steps: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yield the heading and the contents of each step, in the order of the corridor."""
    order = steps["7_order"]
    yield f"sector: {steps['sector']['sector']}", _sector(steps["sector"])
    yield "1 bars, raw prices", _bars(steps["1_bars"])
    yield "2 features", _features(steps["2_features"])
    yield "3 forecasts, log returns in percent", _forecasts(steps["3_forecasts"])
    if "3_ensemble" in steps:
        method = steps["3_ensemble"]["method"].replace("_", " ")
        yield f"3 ensemble, shares by {method}, distances in sigma", _ensemble(steps["3_ensemble"]["horizons"])
    yield "4 calibration, log returns in percent", _calibration(steps["4_calibration"])
    yield "5 decision", _decision(steps["5_decision"])
    yield "6 size", _lines(steps["6_size"])
    yield "7 order", _lines(order) if order["order"] else f"  none: {order['why']}"
    yield "provenance", _lines(steps["provenance"])


def short(value: Any) -> str:
    """Return a value with as many digits as a reader needs, a dash where there is none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:,.{0 if abs(value) >= 1e5 else 2}f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "; ".join(map(short, value))
    return str(value).replace("_", " ") if isinstance(value, str) else f"{value:,}"


def _time(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z") + " UTC"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Any:
    """Return a table whose first columns are words and whose others are numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=True)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < words else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _lines(values: Mapping[str, Any]) -> str:
    width = max(map(len, values))
    return "\n".join(f"  {name.replace('_', ' '):<{width}}  {short(value)}" for name, value in values.items())


def _sector(sector: Mapping[str, Any]) -> Any:
    """Return the symbol beside what is typical of its sector."""
    names = [name for name, value in sector.items() if isinstance(value, Mapping)]
    rows = [
        (name.replace("_", " "), *(short(sector[name][k]) for k in ("symbol", "typical", "ratio"))) for name in names
    ]
    return _table((f"last {sector['bars']} bars", "symbol", f"typical ({sector['basis']})", "ratio"), rows)


def _bars(bars: Sequence[Mapping[str, Any]]) -> Any:
    prices = ("open", "high", "low", "close")
    rows = (
        (_time(b["time"]), *(f"{b[p]:,.2f}" for p in prices), f"{b['volume']:,.0f}", short(b["adjustment_factor"]))
        for b in bars
    )
    return _table(("time", *prices, "volume", "adjustment"), rows)


def _features(features: Mapping[str, float | None]) -> Any:
    """Return names and values side by side, read downwards."""
    items = [(name, short(value)) for name, value in features.items()]
    height = -(-len(items) // FEATURE_COLUMNS)
    items += [("", "")] * (height * FEATURE_COLUMNS - len(items))
    from rich.table import Table

    table = Table(box=None, pad_edge=True, show_header=False)
    for _ in range(FEATURE_COLUMNS):
        table.add_column(overflow="fold")
        table.add_column(justify="right", no_wrap=True)
    for row in range(height):
        table.add_row(*(cell for column in range(FEATURE_COLUMNS) for cell in items[column * height + row]))
    return table


def _forecasts(models: Mapping[str, Any]) -> Any:
    rows = [
        (name, h, *_percents(quantiles)) for name, model in models.items() for h, quantiles in model["horizons"].items()
    ]
    levels = next(iter(next(iter(models.values()))["horizons"].values()))
    return _table(("model", "bars", *levels), rows)


def _ensemble(horizons: Mapping[str, Any]) -> Any:
    """Return each member's share of the forecast, and how far medians and quantiles are apart, in deviations."""
    members = next(iter(horizons.values()))["shares"]
    rows = [
        (h, *(f"{share:.1%}" for share in own["shares"].values()), short(own["spread"]), short(own["distance"]))
        for h, own in horizons.items()
    ]
    return _table(("bars", *members, "medians apart", "quantiles apart"), rows)


def _calibration(horizons: Mapping[str, Any]) -> Any:
    rows = [(h, when, *_percents(both[when])) for h, both in horizons.items() for when in ("before", "after")]
    return _table(("bars", "", *next(iter(horizons.values()))["after"]), rows, words=2)


def _percents(quantiles: Mapping[str, float | None]) -> list[str]:
    return ["–" if value is None else f"{value:+.2%}" for value in quantiles.values()]


def _decision(decision: Mapping[str, Any]) -> str:
    confidence = "–" if decision["confidence"] is None else f"{decision['confidence']:.1%}"
    event = f"{decision['event'].replace('_', ' ')} within {decision['horizon_bars']} bars"
    head = f"  {decision['action']}, confidence {confidence} ({event})"
    return "\n".join([head, *(f"  - {reason}" for reason in decision["reasons"])])
