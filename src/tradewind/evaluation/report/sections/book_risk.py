"""The chapter on risk, filled: losses against value at risk, what is held name by name, limits and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tradewind.evaluation.book_risk import along, held_risk
from tradewind.evaluation.report.formats import count, decimal, missing, p_value, percent, shown, words
from tradewind.evaluation.report.markup import Markup, empty, figure, node
from tradewind.evaluation.report.sections import risk as parts
from tradewind.evaluation.report.tables import Column, Table, definitions

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

ALERTS_SHOWN = 10
LEVELS = {"info": ("i", "flat"), "warning": ("!", "flat"), "critical": ("✗", "down")}


def book_risk(record: TrackRecord) -> Markup | None:
    """Return the chapter; None where nothing was ever held and no limit ever bound."""
    result, simulation = record.result, record.simulations["base"]
    bound = any(row["times_bound"] for row in result["limits"].values())
    if not simulation.shares.any() and not bound:
        return None
    lists = node("div", limits(result["limits"]), alerts(result["alerts"]), class_="grid")
    checked = checklist(result["compliance"])
    return parts.risk(_losses(record), exposures(result), *_names(record), lists, checked)


def exposures(result: Mapping[str, Any]) -> Markup:
    """Return how the book leaned on the market, and whether value at risk held."""
    var, beta = result["var"], result["beta"]
    promised = f"{count(var['exceptions'])} of {count(var['sessions'])}, {decimal(1)(var['expected'])} promised"
    pairs = [
        ("Gross exposure", _range(result["gross"])),
        ("Net exposure", _range(result["net"])),
        ("Beta realised", _with_error(beta)),
        ("Exceptions", promised),
        ("… after trading", count(var["with_trading"]["exceptions"])),
        ("Kupiec p", shown(var["kupiec_p"], p_value, var["reason"] or "too few sessions")),
        ("Independence p", shown(var["independence_p"], p_value, "too few exceptions")),
        ("Now", shown(var["last"], percent(2), "no value at risk could be made at the last close")),
        ("Limit", shown(var["limit"], percent(2), "the playbook sets none")),
    ]
    caption = (
        f"Value at risk at {percent(0)(var['level'])} over one bar, {words(var['method'])}, against what was then "
        "held; after trading: against what the account lost, new positions included."
    )
    return figure("Exposure and value at risk", definitions(pairs), caption=caption, class_="wide columns")


def limits(found: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return every limit in force, what follows a breach, and how often it bound."""
    columns = [Column("Limit", text=True), Column("Value"), Column("On a breach", text=True), Column("Times bound")]
    table = Table("limits_in_force", "Limits in force", columns)
    for name, row in sorted(found.items(), key=lambda item: -item[1]["times_bound"]):
        value = shown(row["limit"], _format_of(name), "a rule without a number")
        reaction = row["reaction"] or missing("what it leaves is sent")
        table.add([words(name), value, reaction, count(row["times_bound"])], [name, *row.values()])
    caption = "Checked before every order and at each session's end; how often each took something from a wish."
    return figure("Limits in force", table.render() if table.rows else empty("no limit is in force"), caption=caption)


def checklist(found: Mapping[str, Any]) -> Markup:
    """Return every limit as it was kept at each session's end, and whether fills and breaches left a trail."""
    columns = [Column("Check", text=True), Column("Passed", text=True), Column("Worst"), Column("Whose", text=True)]
    columns += [Column(title) for title in ("Limit", "When", "Sessions beyond", "Unanswered", "Unknown")]
    table = Table("compliance", "Compliance checklist", columns)
    for name, row in found["checks"].items():
        how, when = _format_of(name), row["first_breach"] or row["worst_at"] or ""
        worst = shown(row["worst"], how, "nothing was known")
        limit = shown(row["limit"], how, "no limit: told, not judged")
        counts = [row[key] for key in ("sessions_in_breach", "unanswered", "unknown")]
        cells = [words(name), _passed(row["passed"]), worst, row["who"] or "", limit, when[:10], *map(count, counts)]
        table.add(cells, [name, row["passed"], row["worst"], row["who"], row["limit"], when, *counts])
    trail = found["audit_trail"]
    caption = (
        f"Measured anew from shares and prices at each of {count(found['sessions'])} sessions' ends. Beyond: by more "
        f"than the {percent(0)(found['tolerance'])} that prices may carry it; unanswered: without an alert of it or an "
        f"order that it bound. When: the first time beyond, else the worst. Audit trail {_passed(trail['passed'])}: "
        f"{count(trail['fills_without_decision'])} of {count(trail['fills'])} fills without a decision before them."
    )
    return figure("Compliance checklist", table.render(), caption=caption, class_="wide")


def _passed(passed: bool | None) -> str:
    return "·" if passed is None else "✓" if passed else "✗"


def alerts(found: Mapping[str, Any]) -> Markup:
    """Return what a person would have been told, the newest first."""
    total = sum(found["counts"].values())
    if not total:
        return figure("Alerts", empty("there was none"))
    table = Table("alerts", "Alerts", [Column("When"), Column("Alert", text=True)])
    for row in found["newest"]:
        sign, kind = LEVELS.get(row["level"], ("i", "flat"))
        badge = node("span", f"{sign} {row['level']}", class_=f"badge {kind}")
        said = node("span", badge, " ", row["what"])
        table.add([row["time"][:10], said], [row["time"], f"{row['level']}: {row['what']}"])
    kinds = ", ".join(f"{words(kind)} {number:,}" for kind, number in found["counts"].items())
    shown_now = Table(table.name, table.caption, table.columns, table.rows[:ALERTS_SHOWN])
    caption = f"The last {len(shown_now.rows)} of {total:,}: {kinds}. The CSV file holds {len(table.rows)}."
    return figure("Alerts", shown_now.alone(), table.download(), caption=caption)


def _losses(record: TrackRecord) -> Markup | None:
    world, simulation = record.world, record.simulations["base"]
    if simulation.shares.shape != world.panel.shape or len(world.panel) - record.start < 2:
        return None
    found = along(world.plan.risk, world, simulation, record.start)
    return parts.against_losses(found.times, found.returns, found.var, record.result["var"]["level"])


def _names(record: TrackRecord) -> list[Markup]:
    world, simulation = record.world, record.simulations["base"]
    if simulation.shares.shape != world.panel.shape or not simulation.shares[-1].any():
        return []
    held = held_risk(world.plan.risk, world, simulation)
    return [parts.heat_map(held.symbols, held.measures), parts.contributions(held.shares)]


def _range(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return missing("nothing was held")
    low, high, mean = (percent(0)(row[name]) for name in ("min", "max", "mean"))
    return f"{low} to {high}, mean {mean}"


def _with_error(beta: Mapping[str, Any]) -> str:
    if beta["realised"] is None:
        return missing(beta["reason"])
    return f"{decimal(2)(beta['realised'])} ± {decimal(2)(beta['error'])}"


def _format_of(name: str) -> Any:
    return decimal(2) if name in ("beta_max", "correlation_max", "gross_max", "net_max") else percent(1)
