"""A playbook: one TOML file that declares a trading system, resolved with the environment and flags.

Every value has an origin: the default of its section, a line of the file, the part of the file that narrows it to
one source (``[source.NAME]``), an environment variable (``TRADEWIND__SECTION__KEY``) or a flag (``--set``).
Rooms own their sections; this module only finds, merges and reports.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tradewind.errors import PlaybookError
from tradewind.settings import Section

FORMAT = 1
"""Newest playbook format this code understands."""

ENVIRONMENT_PREFIX = "TRADEWIND__"

PARTS = "timeframes"
"""Tables of sections that make several systems of one playbook, each over its own bars."""

WITHOUT_RESULT = frozenset(
    {"playbook", "tune", "broker", "challenge", "schedule", "alerts", "drift", "ingest", "live", "server"}
)
"""Sections that change no result: name and description, what a search may try, and how a system is run."""

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Playbook:
    """A resolved playbook.

    Attributes
    ----------
    name
        File name without its suffix; the lineage that trials are counted under is ``lineage`` or else the name.
    path
        Where it was read from.
    source
        The source in force, after ``--source``.
    values
        Resolved nested values of all sections but ``source``; defaults are not in here.
    source_options
        Options of the source in force, by its own section.
    origins
        Dotted key to where its value came from.
    lines
        Dotted key to its line in the file.
    narrowings
        What the file says of each source, in force or not: its ``[source.NAME]`` tables as they stand.
    """

    name: str
    path: Path
    source: str
    values: Mapping[str, Any]
    source_options: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    narrowings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def lineage(self) -> str:
        """The family of variants that this playbook's trials are counted in."""
        return str(self.values.get("playbook", {}).get("lineage") or self.name)

    @property
    def content_hash(self) -> str:
        """Hash of everything that can change a result, which :data:`WITHOUT_RESULT` cannot."""
        values = {k: v for k, v in self.values.items() if k not in WITHOUT_RESULT}
        content = {"values": values, "source": self.source, "options": dict(self.source_options)}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def changed(self, values: Mapping[str, Any], origin: str) -> Playbook:
        """Return it with these values by dotted key, taken as they are; ``origin`` says where they come from."""
        merged, origins = dict(self.values), dict(self.origins)
        _overlay(merged, origins, _nested(values, read=lambda value: value), lambda _key: origin)
        return replace(self, values=merged, origins=origins)

    def part(self, table: str, name: str) -> Playbook:
        """Return it as ``[table.name]`` narrows it: the sections in there over its own, and no such tables any more."""
        parts = self.values.get(table, {})
        merged = {key: value for key, value in self.values.items() if key != table}
        origins = dict(self.origins)
        prefix = f"{table}.{name}"
        _overlay(merged, origins, parts[name], lambda key: self.origins.get(f"{prefix}.{key}", prefix))
        inner = {key[len(prefix) + 1 :]: line for key, line in self.lines.items() if key.startswith(f"{prefix}.")}
        return replace(self, values=merged, origins=origins, lines={**self.lines, **inner})

    def without(self, section: str) -> Playbook:
        """Return it without one section."""
        return replace(self, values={name: part for name, part in self.values.items() if name != section})

    def section(self, name: str, model: type[S]) -> S:
        """Validate one section with its room's model; raise :class:`PlaybookError` with place and remedy."""
        values = self.values.get(name, {})
        if not isinstance(values, Mapping):
            raise PlaybookError(f"{self.place(name)}: [{name}] must be a table, got {values!r}")
        try:
            return model.model_validate(dict(values))
        except ValidationError as error:
            raise self._explain(name, model, error.errors()) from None

    def options(self, model: type[S]) -> S:
        """Validate the options of the source in force, as :meth:`section` does."""
        try:
            return model.model_validate(dict(self.source_options))
        except ValidationError as error:
            raise self._explain(f"source.{self.source}.options", model, error.errors()) from None

    def refuse_unknown_in_narrowing(
        self,
        source: str,
        sections: Mapping[str, type[Section]],
        options: type[Section] | None,
        in_parts: Mapping[str, type[Section]] | None = None,
    ) -> None:
        """Raise for a section, key or option of ``[source.NAME]`` that nobody owns, also where it is not in force.

        ``in_parts`` are the sections that a table of sections may have (all of them).
        """
        for name, value in self.narrowings[source].items():
            place = f"source.{source}.{name}"
            if name == "options" and options is None:
                self._require_table(place, value)
            elif name == PARTS:
                self.refuse_unknown_in_parts(place, value, in_parts or sections, sections)
            else:
                self._refuse_unknown(place, value, {**sections, "options": options} if options else sections)

    def refuse_unknown_in_parts(
        self, place: str, parts: Any, sections: Mapping[str, type[Section]], shared: Iterable[str] = ()
    ) -> None:
        """Raise for a section or key that nobody owns in tables of sections, ``[timeframes.NAME.SECTION]``.

        ``shared`` are sections that all of them have in common, and none may have of its own.
        """
        self._require_table(place, parts)
        for part, tables in parts.items():
            self._require_table(f"{place}.{part}", tables)
            for name, value in tables.items():
                if name in shared and name not in sections:
                    own = f"{place}.{part}.{name}"
                    raise PlaybookError(
                        f"{self.place(own)}: there is no [{own}]: [{name}] is of the account that all share",
                        hint=f"write [{name}]; of its own {part} may have {', '.join(sections)}",
                    )
                self._refuse_unknown(f"{place}.{part}.{name}", value, sections)

    def _require_table(self, place: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise PlaybookError(f"{self.place(place)}: [{place}] must be a table, got {value!r}")

    def _refuse_unknown(self, place: str, value: Any, sections: Mapping[str, type[Section]]) -> None:
        """Raise for a table that is no section, or has a key that its section lacks."""
        name = place.rpartition(".")[2]
        if name not in sections:
            known = (s for s in sections if s != "playbook")
            raise PlaybookError(
                f"{self.place(place)}: unknown section [{place}]", hint=_nearest(name, known, "sections")
            )
        self._require_table(place, value)
        self._refuse_unknown_keys(place, value, sections[name])

    def _refuse_unknown_keys(self, section: str, values: Mapping[str, Any], model: type[Section]) -> None:
        for key in values:
            if key not in model.model_fields:
                raise PlaybookError(
                    f"{self.place(f'{section}.{key}')}: unknown key {key!r} in [{section}]",
                    hint=_nearest(key, model.model_fields, "keys"),
                )

    def place(self, key: str) -> str:
        """Return ``file:line`` of a dotted key, or the origin that set it."""
        origin = self.origins.get(key, "")
        if origin and not origin.startswith(self.path.name):
            return origin
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f"{self.path}:{self.lines[key]}" if key else str(self.path)

    def refuse_unknown_sections(self, known: Iterable[str]) -> None:
        """Raise for a section that no room owns."""
        known = sorted({*known, "playbook", "source", PARTS})
        for name in self.values:
            if name not in known:
                raise PlaybookError(
                    f"{self.place(name)}: unknown section [{name}]", hint=_nearest(name, known, "sections")
                )

    def _explain(self, section: str, model: type[Section], errors: list[ErrorDetails]) -> PlaybookError:
        lines, hint = [], ""
        for error in errors:
            key = ".".join([section, *(str(part) for part in error["loc"])])
            if error["type"] == "extra_forbidden":
                name = str(error["loc"][-1])
                lines.append(f"{self.place(key)}: unknown key {name!r} in [{section}]")
                hint = hint or _nearest(name, model.model_fields, "keys")
            else:
                lines.append(f"{self.place(key)}: {key} = {error.get('input')!r}: {error['msg']}")
                hint = hint or _allowed(model, error)
        return PlaybookError(
            "\n".join(lines), hint=hint or "`tradewind config show` prints every value with its origin"
        )


def load(
    reference: str | Path,
    *,
    source: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Playbook:
    """Read a playbook by shipped name or path and resolve it.

    Parameters
    ----------
    reference
        ``sample`` (a shipped or local ``sample.toml``) or a path.
    source
        Override of ``data.source``.
    overrides
        Flags: dotted key to value; strings are read as TOML where they can be.
    environ
        Environment to read ``TRADEWIND__SECTION__KEY`` from.
    """
    path = find(reference)
    text = _read(path)
    raw = _parse(path, text)
    _refuse_newer(path, raw)
    lines = key_lines(text)
    narrowing = raw.pop("source", {})
    _require_tables(path, lines, narrowing)
    variables, flags = _from_environment(environ or {}), _nested(overrides or {})
    said: dict[str, str] = {}
    _overlay(narrowing, said, variables.pop("source", {}), lambda key: _variable(f"source.{key}"))
    _overlay(narrowing, said, flags.pop("source", {}), lambda key: f"--set source.{key}")
    _require_tables(path, lines, narrowing)
    values: dict[str, Any] = raw
    origins = {key: f"{path.name}:{lines.get(key, 1)}" for key in _leaves(values)}
    origins |= {
        f"source.{key}": origin for key, origin in said.items() if not any(k.startswith(f"{key}.") for k in said)
    }
    chosen = source or _late_source(values, overrides, environ) or ""
    part = dict(narrowing.get(chosen, {}))
    options = part.pop("options", {})

    def place_in_part(key: str) -> str:
        return said.get(f"{chosen}.{key}") or f"{path.name}:{lines.get(f'source.{chosen}.{key}', 1)}"

    _overlay(values, origins, part, place_in_part)
    _overlay(values, origins, variables, _variable)
    _overlay(values, origins, flags, lambda key: f"--set {key}")
    if source:
        _overlay(values, origins, {"data": {"source": source}}, lambda _key: f"--source {source}")
    all_lines = {**lines, **_lines_of_part(lines, chosen)}
    return Playbook(path.stem, path, chosen, values, options, origins, all_lines, narrowing)


def find(reference: str | Path) -> Path:
    """Return the file of a playbook given by path or by name (the working folder first, then the shipped ones)."""
    path = Path(reference)
    if path.suffix == ".toml" or path.parent != Path():
        if path.is_file():
            return path
        raise PlaybookError(f"no playbook file {path}", hint="`tradewind init` copies a shipped one to edit")
    for candidate in (Path(f"{reference}.toml"), Path("playbooks") / f"{reference}.toml"):
        if candidate.is_file():
            return candidate
    known = shipped()
    if str(reference) in known:
        return known[str(reference)]
    raise PlaybookError(f"no playbook {str(reference)!r}", hint=_nearest(str(reference), known, "shipped playbooks"))


def shipped() -> dict[str, Path]:
    """Return the playbooks that come with the package, by name."""
    folder = Path(str(resources.files("tradewind") / "playbooks"))
    return {p.stem: p for p in sorted(folder.glob("*.toml"))}


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlaybookError(f"cannot read {path}: {error}", hint="a playbook is a TOML file in UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlaybookError(
            f"{path}: not valid TOML: {error}",
            hint="look at this line and the one above: a bracket or quote that is not closed, a key given twice?",
        ) from None


def _refuse_newer(path: Path, raw: Mapping[str, Any]) -> None:
    head = raw.get("playbook", {})
    version = head.get("format", FORMAT) if isinstance(head, Mapping) else FORMAT
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PlaybookError(f"{path}: playbook.format = {version!r} is no format", hint=f"write format = {FORMAT}")
    if version > FORMAT:
        raise PlaybookError(
            f"{path}: playbook format {version!r} is newer than this version understands ({FORMAT})",
            hint="upgrade with `pip install --upgrade tradewind`",
        )


def _require_tables(path: Path, lines: Mapping[str, int], narrowing: Any) -> None:
    """Raise unless everything under ``source`` is a table of a source's name."""
    tables = narrowing.items() if isinstance(narrowing, Mapping) else [("", narrowing)]
    for name, part in tables:
        if not isinstance(part, Mapping) or not isinstance(part.get("options", {}), Mapping):
            key = f"source.{name}".strip(".")
            raise PlaybookError(
                f"{path}:{lines.get(key, 1)}: [{key}] must be a table, got {part!r}",
                hint="name the source in force as data.source, its options in [source.NAME.options]",
            )


def _late_source(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None, environ: Mapping[str, str] | None
) -> str | None:
    by_flag = (overrides or {}).get("data.source")
    by_environment = (environ or {}).get(f"{ENVIRONMENT_PREFIX}DATA__SOURCE")
    data = values.get("data", {})
    by_file = data.get("source") if isinstance(data, Mapping) else None
    return by_flag or by_environment or by_file


_HEADER = re.compile(r"^\s*\[\[?\s*([A-Za-z0-9_.\-\"]+)\s*\]\]?")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\-\"]+)\s*=")


def key_lines(text: str) -> dict[str, int]:
    """Return dotted key to line number, by reading the headers and keys of the file."""
    lines: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            prefix = header[1].replace('"', "")
            lines.setdefault(prefix, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{prefix}.{key[1]}".strip(".").replace('"', ""), number)
    return lines


def _lines_of_part(lines: Mapping[str, int], source: str) -> dict[str, int]:
    start = f"source.{source}."
    return {key[len(start) :]: line for key, line in lines.items() if key.startswith(start)}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")


def _overlay(
    values: dict[str, Any], origins: dict[str, str], part: Mapping[str, Any], origin: Any, prefix: str = ""
) -> None:
    """Merge ``part`` over ``values`` in place, table by table, and note where each value came from."""
    for key, value in part.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and isinstance(values.get(key, {}), Mapping):
            values[key] = dict(values.get(key, {}))
            _overlay(values[key], origins, value, origin, f"{dotted}.")
        else:
            values[key] = value
        origins[dotted] = origin(dotted)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found = {
        name[len(ENVIRONMENT_PREFIX) :].lower().replace("__", "."): value
        for name, value in environ.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    return _nested(found)


def _variable(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "__")


def _nested(flat: Mapping[str, Any], read: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Return dotted keys as tables; strings are read as TOML unless ``read`` says how."""
    nested: dict[str, Any] = {}
    for dotted, value in flat.items():
        place = nested
        *parents, last = dotted.split(".")
        if not parents:
            raise PlaybookError(
                f"{dotted!r} names no section", hint="name the section too, as in --set decision.every_bars=5"
            )
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = (read or _toml_value)(value)
    return nested


def _toml_value(text: Any) -> Any:
    """Read a flag or variable as a TOML value; bare words are strings, and what is no text stays as it is."""
    if not isinstance(text, str):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nearest(name: str, known: Iterable[str], kind: str) -> str:
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known {kind}: {', '.join(choices)}"


def _allowed(model: type[Section], error: ErrorDetails) -> str:
    """Say the allowed range of the field that was refused, from its own declaration."""
    loc = error["loc"]
    if not loc or str(loc[0]) not in model.model_fields:
        return ""
    name = str(loc[0])
    schema = model.model_json_schema()["properties"].get(name, {})
    bounds = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}
    said = [f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema]
    said += [f"one of {', '.join(map(str, schema['enum']))}"] if "enum" in schema else []
    default = schema.get("default")
    text = schema.get("description", "")
    allowed = " and ".join(said) or schema.get("type", "see its type")
    return f"{name}: {text}; allowed: {allowed}; default {default!r}"
