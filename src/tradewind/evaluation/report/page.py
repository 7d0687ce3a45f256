"""The page: head, navigation and chapters in one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from tradewind.evaluation.report.markup import Markup, node, together
from tradewind.evaluation.report.sections.account import account
from tradewind.evaluation.report.sections.benchmarks import benchmarks
from tradewind.evaluation.report.sections.book_risk import book_risk
from tradewind.evaluation.report.sections.fans import fans
from tradewind.evaluation.report.sections.forecasts import forecasts
from tradewind.evaluation.report.sections.frontier import optimiser
from tradewind.evaluation.report.sections.provenance import provenance, warnings
from tradewind.evaluation.report.sections.recommendations import recommendations
from tradewind.evaluation.report.sections.regimes import regimes
from tradewind.evaluation.report.sections.returns import returns
from tradewind.evaluation.report.sections.targets import targets
from tradewind.evaluation.report.sections.trading import trading
from tradewind.evaluation.report.sections.verdict import verdict

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord

CHAPTERS = {
    "verdict": "Verdict",
    "recommendations": "Recommendations",
    "fans": "Fans",
    "returns": "Track record",
    "benchmarks": "Benchmarks",
    "forecasts": "Forecasts",
    "account": "Account",
    "trading": "Trades",
    "risk": "Risk",
    "regimes": "Regimes",
    "targets": "Targets",
    "provenance": "Provenance",
}
"""In the order of the page; one that has nothing to show is left out."""

LOGO = node(
    "svg", node("path", d="M3 12h16a4 4 0 1 0-4-4M3 18h22a4 4 0 1 1-4 4M3 24h9"),
    class_="logo", viewBox="0 0 32 32", aria_hidden="true",
)  # fmt: skip


def page(record: TrackRecord) -> str:
    """Return the whole report as HTML."""
    chapters, result = _chapters(record), record.result
    return _document(
        f"{result['playbook']} · {result['as_of'][:10]} · Tradewind",
        _header(record),
        _navigation([name for name in CHAPTERS if chapters[name] is not None]),
        node("main", chapters["verdict"], warnings(result["warnings"]), *list(chapters.values())[1:]),
    )


def optimiser_page(result: Mapping[str, Any]) -> str:
    """Return what ``tradewind optimise`` found as HTML: weights, what binds, and the efficient frontier."""
    facts = (
        node("span", f"■ {result['objective'].upper().replace('_', ' ')}", class_="badge mode"),
        node("span", "as of ", node("b", result["as_of"][:10])),
        node("span", f"over {result['horizon_bars']} bars"),
    )
    return _document(
        f"{result['playbook']} · optimiser · Tradewind",
        _bar(result["playbook"], together(facts)),
        node("main", optimiser(result)),
    )


def _document(title: str, *parts: Markup | None) -> str:
    """Return a whole page: head, the parts, the footer and the script that shows numbers on hover."""
    footer = node("footer", "Made by Tradewind. Not financial advice. Past performance proves nothing.")
    body = node("body", *parts, footer, node("script", Markup(_asset("hover.js"))))
    return f"<!doctype html>\n{node('html', _head(title), body, lang='en')}\n"


def _chapters(record: TrackRecord) -> dict[str, Markup | None]:
    """Return the chapters in their order, None for one that has nothing to show."""
    result, found = record.result, record.walked.regimes
    return {
        "verdict": verdict(record),
        "recommendations": recommendations(result),
        "fans": fans(record),
        "returns": returns(record),
        "benchmarks": benchmarks(result),
        "forecasts": forecasts(record),
        "account": account(record),
        "trading": trading(record),
        "risk": book_risk(record),
        "regimes": None if found is None else regimes(found.times, found.price, found),
        "targets": targets(result["targets"]),
        "provenance": provenance(record),
    }


def _head(title: str) -> Markup:
    return node(
        "head",
        Markup('<meta charset="utf-8">'),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("meta", name="color-scheme", content="light dark"),
        node("meta", name="generator", content="tradewind"),
        node("title", title),
        node("style", Markup(_asset("style.css"))),
    )


def _header(record: TrackRecord) -> Markup:
    result = record.result
    facts = (
        node("span", "■ BACKTEST", class_="badge mode"),
        node("span", "as of ", node("b", result["as_of"][:10])),
        node("span", f"{result['universe']['symbols']:,} symbols, {result['universe']['timeframe']} bars"),
        node("span", "source ", node("b", result["source"])),
    )
    return _bar(result["playbook"], together(facts))


def _bar(playbook: str, facts: Markup) -> Markup:
    brand = node("span", LOGO, "Tradewind", class_="brand")
    return node("header", brand, node("span", playbook, class_="playbook"), facts)


def _navigation(names: list[str]) -> Markup:
    links = (node("a", CHAPTERS[name], href=f"#{name}") for name in names)
    return node("nav", *links, aria_label="Chapters")


def _asset(name: str) -> str:
    return resources.files("tradewind.evaluation.report").joinpath(name).read_text("utf-8")
