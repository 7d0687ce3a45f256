"""HTML that escapes by itself: text is text unless it says that it is markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

VOID = frozenset({"br", "hr", "img", "meta", "link", "path", "rect", "line"})
"""Elements written without a closing tag: HTML's void ones, and SVG shapes without children."""


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def node(name: str, /, *children: str | None, **attributes: object) -> Markup:
    """Return an element.

    Children that are not :class:`Markup` are escaped; ``None`` is skipped, as a child and as an attribute.
    ``class_`` and ``for_`` lose their underscore, other underscores become hyphens.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not children:
        return Markup(f"<{name}{said}/>") if name in ("path", "rect", "line") else Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{together(children)}</{name}>")


def together(parts: Iterable[str | None]) -> Markup:
    """Return the parts one after the other, escaping those that are not markup."""
    return Markup("".join(p if isinstance(p, Markup) else escape(p, quote=True) for p in parts if p is not None))


def figure(title: str, *content: str | None, caption: str | None = None, class_: str = "") -> Markup:
    """Return a titled block with an optional sentence on how to read it."""
    return node(
        "figure",
        node("figcaption", node("h3", title), None if caption is None else node("p", caption)),
        *content,
        class_=f"card {class_}".strip(),
    )


def section(name: str, title: str, lead: str, *content: str | None) -> Markup:
    """Return a chapter of the page, with the sentence that opens it."""
    return node("section", node("h2", title), node("p", lead, class_="lead"), *content, id=name)


def empty(reason: str) -> Markup:
    """Return the place of a picture that cannot be drawn, saying why."""
    return node("p", "– ", reason, class_="empty")
