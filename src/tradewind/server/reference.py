"""`/docs`: every operation on one page, made from the API's own description, without a script from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def reference(document: Mapping[str, Any]) -> str:
    """Return the body of the page that lists the operations of an OpenAPI document."""
    rows = "".join(_rows(document["paths"]))
    return (
        f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>"
        f"<p>{escape(document['info']['description'])}</p>"
        f'<p>All shapes: <a href="/openapi.json">openapi.json</a></p>'
        f"<table><tr><th>operation<th>takes<th>gives</tr>{rows}</table>"
    )


def _rows(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in paths.items():
        for method, operation in operations.items():
            takes = [parameter["name"] for parameter in operation.get("parameters", ())]
            takes += [_name(media) for media in operation.get("requestBody", {}).get("content", {}).values()]
            gives = [_name(media) for media in operation["responses"].get("200", {}).get("content", {}).values()]
            yield (
                f"<tr><td><code>{method.upper()} {escape(path)}</code><br>{escape(operation.get('description', ''))}"
                f"<td>{escape(', '.join(takes))}<td>{escape(', '.join(gives))}</tr>"
            )


def _name(media: Mapping[str, Any]) -> str:
    schema = media.get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2] or str(schema.get("type", ""))
