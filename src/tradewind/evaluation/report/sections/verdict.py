"""The first screen: the verdict in a sentence, the figures it stands on, and what makes them less believable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.evaluation.report.formats import (
    bars,
    change,
    count,
    decimal,
    is_missing,
    missing,
    money,
    percent,
    probability,
    shown,
    words,
)
from tradewind.evaluation.report.markup import Markup, node, together
from tradewind.evaluation.report.metrics import FORECAST_FORMULAS, explained, sample_size
from tradewind.evaluation.report.scales import Scale

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

SIGNS = {"good": "✓", "bad": "✗", "unproven": "?", "none": "–"}


def verdict(record: TrackRecord) -> Markup:
    """Return the first screen."""
    result = record.result
    said = result["verdict"]
    money_words, _, forecast_words = str(said["text"]).partition(" Forecasts: ")
    return node(
        "section",
        node(
            "div",
            node("span", SIGNS.get(said["word"], "?"), class_="sign", aria_hidden="true"),
            node(
                "div",
                node("h1", money_words),
                node("p", "Forecasts: ", forecast_words) if forecast_words else None,
                class_="said",
            ),
            class_=f"verdict {said['word']}",
        ),
        node("div", *_tiles(result, record.simulations["base"].start_capital), class_="tiles"),
        red_flags(result["red_flags"]),
        id="verdict",
    )


def red_flags(flags: list[Mapping[str, Any]]) -> Markup:
    """Return what makes the result less believable."""
    if not flags:
        return node("p", "✓ No red flags were found.", class_="flags none")
    entries = (node("li", *_flag(f["code"], f["message"])) for f in flags)
    title = f"⚑ {len(flags)} red flag{'s' if len(flags) != 1 else ''}"
    return node("div", node("h3", title), node("ul", together(entries)), class_="flags")


def _flag(code: str, message: str) -> list[str]:
    name = words(code)
    if name == message:
        return [message]
    return [node("b", f"{name[:1].upper()}{name[1:]}".replace("pbo", "PBO")), ": ", message]


def _tiles(result: Mapping[str, Any], capital: float) -> list[Markup]:
    record = result["track_record"]
    return [
        _annual_return(record),
        _sharpe(record),
        _tile("deflated_sharpe", "Deflated Sharpe", record, probability, _deflated_words(record)),
        _pbo(record),
        _tile("trials", "Trials counted", record, count, "every configuration tried in this lineage, by itself"),
        _costs(record, capital),
        _coverage(result["coverage"]),
        _tile("max_drawdown", "Maximum drawdown", record, percent(1), _drawdown_words(record)),
    ]


def _tile(name: str, title: str, record: Mapping[str, Any], how: Any, below: str | Markup) -> Markup:
    value = shown(record.get(name), how)
    return _box(title, value, below, explained(name, sample_size(name, record)))


def _box(title: str, value: Markup, below: str | Markup, hint: str) -> Markup:
    return node("div", node("h3", title), node("p", value, class_="value"), node("p", below), class_="tile", title=hint)


def _annual_return(record: Mapping[str, Any]) -> Markup:
    hold = record["baselines"]["equal_weight"]["annual_return"]
    below = together(["after costs; holding all names equally ", shown(hold, percent(1, signed=True))])
    value = change(record["annual_return"], percent(1))
    return _box("Net annual return", value, below, explained("annual_return", record["bars"]))


def _sharpe(record: Mapping[str, Any]) -> Markup:
    low, high = record["sharpe_ci"]
    level = percent(0)(record.get("confidence_level", 0.95))
    hold = together([node("i", class_="swatch"), "holding all equally ", shown(record["baseline_sharpe"], decimal(2))])
    span = "no interval: too little moved"
    if not is_missing(low):
        span = f"{level} interval {decimal(2)(low)} to {decimal(2)(high)}"
    below = together([_whisker(record), node("span", span, node("br"), hold)])
    return _box("Sharpe ratio", shown(record["sharpe"], decimal(2)), below, explained("sharpe", record["bars"]))


def _whisker(record: Mapping[str, Any]) -> Markup | None:
    """Draw the interval on a small axis with zero, and the baseline as a tick."""
    low, high = record["sharpe_ci"]
    if is_missing(low) or is_missing(record["sharpe"]):
        return None
    others = [v for v in (record["baseline_sharpe"], record["sharpe"], 0.0) if not is_missing(v)]
    axis = Scale(min(low, *others) - 0.1, max(high, *others) + 0.1)
    marks = [
        node("i", class_="range", style=f"left:{axis.share(low):.1f}%;width:{axis.share(high) - axis.share(low):.1f}%"),
        node("i", class_="zero", style=f"left:{axis.share(0):.1f}%", title="zero"),
        node("i", class_="point", style=f"left:{axis.share(record['sharpe']):.1f}%"),
    ]
    if not is_missing(record["baseline_sharpe"]):
        place = axis.share(record["baseline_sharpe"])
        marks.append(node("i", class_="other", style=f"left:{place:.1f}%", title="holding all names equally"))
    return node("span", *marks, class_="whisker", aria_hidden="true")


def _deflated_words(record: Mapping[str, Any]) -> str:
    trials = record["trials"]
    luck = "the luckiest of " + f"{trials:,} trials" if trials != 1 else "luck in one trial"
    return f"chance that the true Sharpe beats {luck}"


def _pbo(record: Mapping[str, Any]) -> Markup:
    reason = record.get("pbo_reason") or "not computed"
    below = f"none: {reason}" if record["pbo"] is None else "chance that the best configuration is overfitted"
    return _box(
        "Overfitting (PBO)", shown(record["pbo"], percent(0), reason), below, explained("pbo", record["trials"])
    )


def _costs(record: Mapping[str, Any], capital: float) -> Markup:
    """Return the costs as a share of what the book earned before them."""
    total = record["costs"]["total"]
    before = record["final_equity"] - capital + total
    hint = "costs / (final equity − start capital + costs)"
    if before <= 0:
        reason = "the book earned nothing before costs"
        return _box("Costs, share of profit", missing(reason), f"{money(total)} paid; {reason}", hint)
    below = f"{money(total)} of {money(before)} earned before costs"
    return _box("Costs, share of profit", shown(total / before, percent(1)), below, hint)


def _coverage(coverage: Mapping[str, Mapping[str, Any]]) -> Markup:
    rows = [
        node(
            "span",
            node("span", bars(horizon)),
            node("b", shown(row["realised"], percent(1))),
            class_="held",
            title=f"{FORECAST_FORMULAS['coverage']}; n = {row['n']:,}"
            if row.get("n")
            else FORECAST_FORMULAS["coverage"],
        )
        for horizon, row in coverage.items()
    ]
    promised = sorted({round(float(row["nominal"]), 6) for row in coverage.values()})
    below = "promised " + ", ".join(percent(0)(p) for p in promised)
    tiles = node("div", node("h3", "Intervals held"), together(rows), node("p", below), class_="tile")
    return tiles if rows else _box("Intervals held", missing("no outcomes yet"), "no outcomes yet", "")


def _drawdown_words(record: Mapping[str, Any]) -> Markup:
    hold = shown(record["baselines"]["equal_weight"]["max_drawdown"], percent(1))
    return together(["deepest fall from a peak; holding all names ", hold])
