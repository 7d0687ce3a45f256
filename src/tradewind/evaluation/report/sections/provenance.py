"""Where every number came from: run, data, code, seeds, versions; and what the reader should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tradewind.evaluation.report.formats import words
from tradewind.evaluation.report.markup import Markup, figure, node, section, together
from tradewind.evaluation.report.tables import definitions

if TYPE_CHECKING:
    from tradewind.evaluation.backtest import TrackRecord


def provenance(record: TrackRecord) -> Markup:
    """Return the last chapter."""
    result = record.result
    lead = "Everything needed to compute this again and get the same numbers."
    cards = [
        figure("Run", definitions(_run(record))),
        figure("Data", definitions(_data(record)), _dropped(result["universe"]["dropped"])),
        figure("Versions", definitions(sorted(record.manifest.environment.items()))),
        figure("Notes", _list(result["notes"], "nothing to add")),
    ]
    return section("provenance", "Provenance", lead, node("div", *cards, class_="grid"))


def warnings(texts: Sequence[str]) -> Markup | None:
    """Return the playbook's warnings; None where there are none."""
    return node("div", *(node("p", "⚠ ", text) for text in texts), class_="warning") if texts else None


def _run(record: TrackRecord) -> list[tuple[str, str]]:
    manifest, result = record.manifest, record.result
    seeds = ", ".join(f"{name} {seed}" for name, seed in manifest.seeds.items())
    return [
        ("Run", manifest.run),
        ("Playbook", f"{result['playbook']} ({result['playbook_hash']})"),
        ("Code", manifest.code),
        ("Seeds", seeds or "none"),
        ("Started", manifest.started),
        ("Trial", manifest.trial_key),
        ("Again", f"tradewind reproduce {manifest.run}"),
    ]


def _data(record: TrackRecord) -> list[tuple[str, str]]:
    result = record.result
    period, universe = result["period"], result["universe"]
    return [
        ("Source", str(result["source"])),
        ("As of", str(result["as_of"])),
        ("Version", record.manifest.data_version),
        ("Pinned", _flat(record.manifest.pin) or "nothing"),
        ("Bars", f"{period['bars']:,} of {universe['timeframe']}, {period['from']} to {period['to']}"),
        ("Out-of-sample", f"from {period['out_of_sample_from']}"),
        ("Symbols", f"{universe['symbols']:,}"),
    ]


def _flat(values: Mapping[str, Any]) -> str:
    parts = (f"{words(k)} ({_flat(v)})" if isinstance(v, Mapping) else f"{words(k)} {v}" for k, v in values.items())
    return ", ".join(parts)


def _dropped(dropped: Any) -> Markup | None:
    """Return what was left out; a mapping of names to reasons, or a list."""
    if not dropped:
        return None
    if isinstance(dropped, Mapping):
        texts = [f"{name}: {reason}" for name, reason in dropped.items()]
    else:
        texts = [", ".join(map(str, d.values())) if isinstance(d, Mapping) else str(d) for d in dropped]
    return node("details", node("summary", f"{len(texts):,} left out"), _list(texts, ""))


def _list(texts: Sequence[Any], otherwise: str) -> Markup:
    if not texts:
        return node("p", otherwise)
    return node("ul", together(node("li", words(t) if " " not in str(t) else str(t)) for t in texts))
