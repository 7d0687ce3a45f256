"""The page: files that the web build wrote, read once; where there are none, a page that says how to build it."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tradewind.server.guard import CONTENT_POLICY
from tradewind.server.problems import Refused, of_refusal

FOLDER: Final = Path(__file__).parent / "page"
"""Where the web build writes."""

LONG: Final = "public, max-age=31536000, immutable"
ALWAYS_ASK: Final = "no-cache"
_TYPES: Final[Mapping[str, str]] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_ENDINGS: Final = frozenset({*_TYPES, ".map", ".txt", ".ico", ".png", ".xml", ".php"})
"""Endings of files: what has one and is not there is missing, everything else is a path of the page (/symbol/BRK.B)."""
STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem;color:#1b1f24;"
    "background:#fff}@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#14171b}a{color:#8ab4f8}}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}"
    "code{font-family:ui-monospace,monospace}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PLAIN_POLICY: Final = CONTENT_POLICY.replace("style-src 'self'", f"style-src 'sha256-{_DIGEST}'")
"""The policy of our own small pages: no script, and this one style."""

NOT_BUILT: Final = """<h1>Tradewind runs, its page was not built</h1>
<p>The API answers: <a href="/docs">operations</a>, <a href="/readyz">is it ready</a>.</p>
<p>In a checkout <code>make web</code> builds it (Node is fetched where there is none); after a restart it is here.
Installed wheels contain it.</p>"""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media: str
    etag: str
    cache: str


class Page:
    """Answers every path that the API does not have.

    Parameters
    ----------
    folder
        Where ``index.html`` and what it needs lie; read now, and not again.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _read(path, folder)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    @property
    def built(self) -> bool:
        """Whether there is a page."""
        return "index.html" in self._files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, with the page itself, or with what is not there."""
        scope["tradewind_page"] = True
        try:
            response = self._answer(scope)
        except Refused as refusal:
            response = of_refusal(refusal, scope.get("state", {}).get("request_id", ""))
        await response(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        name = scope["path"].lstrip("/")
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused(404 if _of_api(name) else 405, f"nothing takes {scope['method']} here")
        file = self._files.get(name or "index.html")
        if file is not None:
            return _sent(file, Headers(scope=scope))
        if _of_api(name) or Path(name).suffix in _ENDINGS:
            raise Refused(404, "there is nothing at this path")
        return _sent(self._files["index.html"], Headers(scope=scope)) if self.built else plain_page("", NOT_BUILT)


def plain_page(title: str, body: str) -> Response:
    """Return a page of our own: text, tables and links."""
    name = f"{title} · Tradewind" if title else "Tradewind"
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{STYLE}</style><body>{body}</body></html>"
    )
    headers = {"Content-Security-Policy": PLAIN_POLICY, "Cache-Control": ALWAYS_ASK}
    return Response(html, headers=headers, media_type="text/html")


def _of_api(name: str) -> bool:
    return name == "api" or name.startswith("api/")


def _read(path: Path, folder: Path) -> _File:
    content = path.read_bytes()
    media = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    hashed = path.relative_to(folder).parts[0] == "assets"
    return _File(content, media, f'"{hashlib.sha256(content).hexdigest()[:32]}"', LONG if hashed else ALWAYS_ASK)


def _sent(file: _File, headers: Headers) -> Response:
    said = {"ETag": file.etag, "Cache-Control": file.cache}
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=said)
    return Response(file.content, headers={**said, "Content-Type": file.media})
