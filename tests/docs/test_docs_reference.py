"""The reference of all sections is made from the code; this keeps the page current."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reference_page_and_the_readmes_table_of_models_are_current() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "playbooks.md").read_text("utf-8")
    assert page == module.reference(), "run python docs/make_reference.py"
    readme = (ROOT / "README.md").read_text("utf-8")
    assert module.START in readme and module.END in readme
    assert readme == module.readme(readme), "run python docs/make_reference.py"
