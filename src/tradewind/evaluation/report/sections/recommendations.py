"""What to do at the last close: one row a symbol, HOLD included, with the reasons beneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tradewind.evaluation.report.formats import arrow, bars, is_missing, missing, percent, price, quantity, shown, words
from tradewind.evaluation.report.markup import Markup, node, section, together
from tradewind.evaluation.report.scales import Scale
from tradewind.evaluation.report.tables import download

FOLD_ABOVE = 40
"""With more symbols than this the HOLD rows are folded away."""

NO_FORECAST = "no forecast for this symbol at this close"
HEADS = ("Symbol", "Action", "Confidence", "Entry", "Target", "Stop", "Weight", "80 % interval", "Where it may go")
CSV = (
    "symbol", "as_of", "action", "confidence", "event", "horizon_bars", "entry", "target", "target_note",
    "stop", "stop_note", "weight", "shares", "bound_by", "sector", "tier",
)  # fmt: skip


def recommendations(result: Mapping[str, Any]) -> Markup:
    """Return the chapter of recommendations."""
    entries: Sequence[Mapping[str, Any]] = result["recommendations"]
    active = [e for e in entries if e["action"] != "HOLD"]
    idle = [e for e in entries if e["action"] == "HOLD"]
    lead = (
        f"As of the close of {result['as_of'][:10]}: {len(active)} of {len(entries)} symbols call for action. "
        "Entry is the reference close; orders fill at the next open."
    )
    if len(entries) <= FOLD_ABOVE:
        return section(
            "recommendations", "Recommendations", lead, node("div", _table(entries), class_="card"), _csv(entries)
        )
    folded = node("details", node("summary", f"HOLD: {len(idle):,} symbols"), _table(idle), class_="card")
    shown_now = node("div", _table(active), class_="card") if active else node("p", "No symbol calls for action.")
    return section("recommendations", "Recommendations", lead, shown_now, folded, _csv(entries))


def _table(entries: Sequence[Mapping[str, Any]]) -> Markup:
    heads = (node("th", h, scope="col", class_="text" if h in ("Symbol", "Action", HEADS[-1]) else None) for h in HEADS)
    bodies = (_entry(e, opened=i == 0 and len(entries) <= FOLD_ABOVE) for i, e in enumerate(entries))
    table = node(
        "table",
        node("caption", "One recommendation per symbol"),
        node("thead", node("tr", *heads)),
        *bodies,
        class_="recommendations",
    )
    return node("div", table, class_="scroll", tabindex="0")


def _entry(entry: Mapping[str, Any], opened: bool) -> Markup:
    cells = (
        node("th", node("b", entry["symbol"]), _about(entry), scope="row", class_="text"),
        node("td", action(entry["action"]), class_="text", data_label=HEADS[1]),
        node("td", _confidence(entry), data_label=HEADS[2]),
        node("td", shown(entry["entry"], price, "no bar at this close"), data_label=HEADS[3]),
        node("td", _exit(entry, "target", "the forecast sees no target on this side"), data_label=HEADS[4]),
        node("td", _exit(entry, "stop", NO_FORECAST), data_label=HEADS[5]),
        node("td", _weight(entry), data_label=HEADS[6]),
        node("td", _interval(entry), data_label=HEADS[7]),
        node("td", outlook(entry), class_="text wide", data_label=HEADS[8]),
    )
    why = node("tr", node("td", _reasons(entry, opened), colspan=len(HEADS), class_="text why"))
    return node("tbody", node("tr", *cells), why, class_=entry["action"].lower())


def action(name: str) -> Markup:
    """Return an action as a badge: triangles and words, never colour alone."""
    side = -1 if "SELL" in name else 1 if "BUY" in name else 0
    mark = arrow(side) * (2 if name.startswith("STRONG") else 1)
    return node("span", f"{mark} {words(name)}", class_=f"badge {('down', 'flat', 'up')[side + 1]}")


def outlook(entry: Mapping[str, Any]) -> Markup:
    """Draw the forecast of the traded horizon on a line: 90 %, 50 % and median, with entry, stop and target."""
    found = _horizon(entry)
    if is_missing(entry["entry"]) or is_missing(found.get("median")) or not found.get("90"):
        return missing(NO_FORECAST)
    (low, high), (inner_low, inner_high) = found["90"], found.get("50", found["90"])
    marks = [v for v in (entry["stop"], entry["target"]) if not is_missing(v)]
    axis = Scale(min(low, entry["entry"], *marks), max(high, entry["entry"], *marks))
    parts = [
        _span(axis, low, high, "wide"),
        _span(axis, inner_low, inner_high, "inner"),
        node("i", class_="now", style=f"left:{axis.share(entry['entry']):.1f}%"),
        node("i", class_="median", style=f"left:{axis.share(found['median']):.1f}%"),
    ]
    for name, value in (("stop", entry["stop"]), ("target", entry["target"])):
        if not is_missing(value):
            parts.append(node("i", class_=name, style=f"left:{axis.share(value):.1f}%"))
    said = (
        f"90 % between {price(low)} and {price(high)}, median {price(found['median'])}, entry {price(entry['entry'])}"
    )
    return node("span", *parts, class_="outlook", role="img", aria_label=said, title=said)


def _span(axis: Scale, low: float, high: float, kind: str) -> Markup:
    left, right = axis.share(low), axis.share(high)
    return node("i", class_=kind, style=f"left:{left:.1f}%;width:{max(right - left, 0.5):.1f}%")


def _horizon(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = entry["intervals"].get(str(entry["horizon_bars"]), {})
    return found


def _about(entry: Mapping[str, Any]) -> Markup:
    known = [str(v) for v in (entry["sector"], entry["tier"]) if v and v != "unknown"]
    return node("small", " · ".join(words(k) for k in known))


def _confidence(entry: Mapping[str, Any]) -> Markup:
    event = f"calibrated probability of {words(entry['event'])} ({bars(entry['horizon_bars'])})"
    return shown(entry["confidence"], percent(1), NO_FORECAST, title=event)


def _exit(entry: Mapping[str, Any], name: str, otherwise: str) -> Markup:
    """Return the price of a target or stop with its distance; what it is stands on hover and among the reasons."""
    found, entered = entry[name], entry["entry"]
    value = shown(found, price, otherwise, title=entry.get(f"{name}_note"))
    if is_missing(found) or not entered:
        return value
    return together([value, node("small", percent(1, signed=True)(found / entered - 1))])


def _weight(entry: Mapping[str, Any]) -> Markup:
    if not entry["weight"]:
        return missing("nothing to open")
    shares = "" if is_missing(entry["shares"]) else f"{quantity(entry['shares'])} shares"
    bound = f"size set by {words(entry['bound_by'])}" if entry.get("bound_by") else None
    return together([shown(entry["weight"], percent(1), title=bound), node("small", shares)])


def _interval(entry: Mapping[str, Any]) -> Markup:
    pair = _horizon(entry).get("80")
    if not pair or any(is_missing(v) for v in pair):
        return missing(NO_FORECAST)
    after = node("small", f"in {bars(entry['horizon_bars'])}")
    return together([node("span", f"{price(pair[0])} – {price(pair[1])}", class_="nowrap"), after])


def _reasons(entry: Mapping[str, Any], opened: bool) -> Markup:
    first, *others = entry["reasons"] or ["no reason was recorded"]
    if not others:
        return node("p", first)
    points = together(node("li", reason) for reason in others)
    return node("details", node("summary", first), node("ul", points), open="" if opened else None)


def _csv(entries: Sequence[Mapping[str, Any]]) -> Markup:
    pairs = [f"p{level}_{side}" for level in ("80", "90") for side in ("low", "high")]
    rows = []
    for entry in entries:
        found = _horizon(entry)
        spans = [*(found.get("80") or (None, None)), *(found.get("90") or (None, None))]
        rows.append([*(entry.get(k) for k in CSV), *spans, "; ".join(entry["reasons"])])
    return download("recommendations", [*CSV, *pairs, "reasons"], rows)
