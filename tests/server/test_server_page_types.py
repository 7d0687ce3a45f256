"""The page's types are made from what the server says of itself: the copy it keeps must be the newest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tradewind.server.openapi import bare

COPY = Path(__file__).parents[2] / "web" / "openapi.json"


@pytest.mark.parametrize("part", ["paths", "components"])
def test_the_page_knows_the_servers_newest_shapes(part):
    kept, said = json.loads(COPY.read_text("utf-8")), bare().openapi()
    assert kept[part] == said[part], "run `npm run types:export` in web/"
