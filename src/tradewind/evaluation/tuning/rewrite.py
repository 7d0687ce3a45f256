"""A playbook's text with other values in it: line by line, so that comments and order stay, then read back as proof."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from tradewind.errors import InputError
from tradewind.playbook import Playbook, key_lines

_VALUE = re.compile(r"^(\s*[A-Za-z0-9_.\-\"]+\s*=\s*)(.*)$")
_COMMENT = re.compile(r"\s+#[^\"']*$")


def fragment(settings: Mapping[str, Any]) -> str:
    """Return settings by dotted key as TOML tables."""
    tables: dict[str, list[str]] = {}
    for key, value in settings.items():
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append(f"{name} = {toml(value)}")
    return "\n\n".join("\n".join([f"[{table}]", *lines]) for table, lines in tables.items()) + "\n"


def toml(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool | int | float) else f'"{value}"'


def written_from(book: Playbook, settings: Mapping[str, Any], head: str) -> str:
    """Return the text of a playbook with settings in it, for the source in force, under a comment.

    What was given as ``--set`` goes into it too, as it was a part of what was searched, and so does the lineage: the
    trials of the search keep deflating what the new file's back-test shows, whatever it is called.
    """
    flagged = [
        key for key, origin in book.origins.items() if origin == f"--set {key}" and not key.startswith("source.")
    ]
    given = {key: value for key in flagged if not isinstance(value := _at(book.values, key), Mapping)}
    whole = {**given, **settings, "playbook.lineage": book.lineage}
    placed = {_place(book, key): value for key, value in whole.items()}
    said = "".join(f"# {line}\n" for line in head.splitlines())
    return said + rewritten(book.path.read_text("utf-8"), placed)


def _place(book: Playbook, key: str) -> str:
    """Return where a setting stands in the file: in the part that narrows it to the source in force, where it does."""
    narrowed = book.narrowings.get(book.source, {})
    return key if _at(narrowed, key) is None else f"source.{book.source}.{key}"


def _at(values: Mapping[str, Any], key: str) -> Any:
    place: Any = values
    for part in key.split("."):
        if not isinstance(place, Mapping) or part not in place:
            return None
        place = place[part]
    return place


def rewritten(text: str, settings: Mapping[str, Any]) -> str:
    """Return a playbook's text with these values; raises ``InputError`` where that cannot be done line by line."""
    changed = text
    for key, value in settings.items():
        changed = _with(changed, key, toml(value))
    if not _says(changed, text, settings):
        raise InputError(
            "the playbook is not laid out so that it can be changed line by line",
            hint="put these lines into it by hand:\n" + fragment(settings),
        )
    return changed


def _with(text: str, key: str, value: str) -> str:
    lines, known = text.splitlines(), key_lines(text)
    if key in known:
        at = known[key] - 1
        lines[at] = _replaced(lines[at], value)
    else:
        table, _, name = key.rpartition(".")
        added = f"{name} = {value}"
        if table in known:
            lines.insert(known[table], added)
        else:
            lines += ["", f"[{table}]", added]
    return "\n".join(lines) + "\n"


def _replaced(line: str, value: str) -> str:
    """Return a line ``key = value # comment`` with another value."""
    found = _VALUE.match(line)
    if found is None:
        return line
    comment = _COMMENT.search(found[2])
    return f"{found[1]}{value}{comment[0] if comment else ''}"


def _says(changed: str, text: str, settings: Mapping[str, Any]) -> bool:
    """Return whether the changed text says just what was meant."""
    wanted = tomllib.loads(text)
    for key, value in settings.items():
        place = wanted
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    try:
        said = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        return False
    return json.dumps(said, sort_keys=True, default=str) == json.dumps(wanted, sort_keys=True, default=str)
