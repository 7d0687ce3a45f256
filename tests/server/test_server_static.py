"""The page is served as it was built, cached as it should be, and is honest where it was not built."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from server_kit import in_thread

INDEX = '<!doctype html><script type="module" src="/assets/index-abc123.js"></script>'


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "page" / "assets").mkdir(parents=True)
    (folder / "page" / "index.html").write_text(INDEX, "utf-8")
    (folder / "page" / "icon.svg").write_text("<svg/>", "utf-8")
    (folder / "page" / "assets" / "index-abc123.js").write_text("export {}", "utf-8")
    (folder / "page" / ".hidden").write_text("secret", "utf-8")
    (folder / "beside.txt").write_text("secret", "utf-8")
    with in_thread(folder, page=folder / "page") as service, httpx2.Client(base_url=service.url) as made:
        yield made


@pytest.mark.parametrize("path", ["/", "/symbol/AAPL", "/models", "/symbol/BRK-B/chart", "/symbol/BRK.B", "/.hidden"])
def test_the_page_answers_every_path_of_its_own(client: httpx2.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_what_carries_a_hash_is_kept_and_the_rest_is_asked_for_again(client: httpx2.Client) -> None:
    script = client.get("/assets/index-abc123.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    icon = client.get("/icon.svg")
    assert (icon.headers["content-type"], icon.headers["cache-control"]) == ("image/svg+xml", "no-cache")
    again = client.get("/icon.svg", headers={"If-None-Match": f'"other", W/{icon.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    ["/assets/index-old.js", "/beside.txt", "/../beside.txt", "/%2e%2e/beside.txt", "/robots.txt", "/assets/x.php"],
)
def test_what_is_not_part_of_the_page_is_not_there(client: httpx2.Client, path: str) -> None:
    answer = client.request("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "secret" not in answer.text


def test_head_says_the_same_without_the_content(client: httpx2.Client) -> None:
    answer = client.head("/icon.svg")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "6")


def test_where_it_was_not_built_the_page_says_how_to(tmp_path: Path) -> None:
    with in_thread(tmp_path) as service:
        answer = httpx2.get(service.url)
    assert answer.status_code == 200
    assert "make web" in answer.text
    style = re.search(r"<style>(.*?)</style>", answer.text)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
