"""A local HTTP server that answers what a function says: status, body, headers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

Reply = tuple[int, bytes, dict[str, str]]


class HttpStandin:
    """Answers scripted replies first, then what ``answer(path, query, headers)`` says; notes what was asked."""

    def __init__(self, answer: Callable[[str, dict[str, str], dict[str, str]], Reply]) -> None:
        self.answer, self.script, self.asked = answer, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                place = urlparse(self.path)
                query = {name: values[0] for name, values in parse_qs(place.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((place.path, query, headers))
                reply = outer.script.pop(0) if outer.script else outer.answer(place.path, query, headers)
                status, body, more = reply
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
