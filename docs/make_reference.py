"""Write docs/playbooks.md from the sections themselves: `python docs/make_reference.py`. A test keeps it current."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tradewind.evaluation.plan import SECTIONS
from tradewind.market.sources.files import FilesOptions
from tradewind.market.sources.synthetic import SyntheticOptions
from tradewind.market.sources.yahoo import YahooOptions

OPTIONS = {"files": FilesOptions, "synthetic": SyntheticOptions, "yahoo": YahooOptions}

HEAD = """# Playbooks

A playbook is a TOML file. Three ship: `sample` (real quotes, offline), `nasdaq-tft`
and `dual-model`. `tradewind init my.toml` copies
one; `tradewind config show my.toml` prints every resolved value with its origin. Later wins: default, file,
`[source.NAME]`, environment (`TRADEWIND__SECTION__KEY`), flag (`--set section.key=value`). Unknown keys are errors with
the nearest known name.

`[source.NAME]` says how a source narrows the playbook: its `options` table is the source's own, any other table
overrides the section of that name. It is in force when `data.source` (or `--source`) is NAME.

This page is made from the code by `python docs/make_reference.py`.
"""


def reference() -> str:
    """Return the page."""
    parts = [_section(f"[{name}]", model) for name, model in SECTIONS.items()]
    parts += [_section(f"[source.{name}.options]", model) for name, model in OPTIONS.items()]
    return "\n".join([HEAD, *parts])


def _section(title: str, model: Any) -> str:
    what = (model.__doc__ or "").strip().splitlines()[0]
    rows = [f"## `{title}`", "", what, "", "| key | default | allowed | meaning |", "|---|---|---|---|"]
    for key, schema in model.model_json_schema()["properties"].items():
        meaning = schema.get("description", "").replace("|", "\\|")
        rows.append(f"| `{key}` | {_default(model, key)} | {_allowed(schema)} | {meaning} |")
    return "\n".join([*rows, ""])


def _default(model: Any, key: str) -> str:
    if model.model_fields[key].is_required():
        return "none: say it"
    value = model.model_fields[key].get_default(call_default_factory=True)
    return "–" if value in (None, (), {}, "") else f"`{value}`".replace("|", "\\|")


def _allowed(schema: dict[str, Any]) -> str:
    parts = [schema, *schema.get("anyOf", [])]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {part[word]:g}" for part in parts for word, sign in signs.items() if word in part]
    said += [", ".join(map(str, part["enum"])) for part in parts if "enum" in part]
    return ", ".join(dict.fromkeys(said)) or str(schema.get("type", ""))


if __name__ == "__main__":
    Path(__file__).with_name("playbooks.md").write_text(reference(), "utf-8")
