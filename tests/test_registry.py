"""What is plugged in is found by name: shipped files, a distribution's entry points, and classes typed in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tradewind.decisions.confidence import EVENTS
from tradewind.decisions.signals import RULES
from tradewind.errors import InputError
from tradewind.market.indexes.base import INDEXES
from tradewind.market.sources.base import SOURCES
from tradewind.models.base import MODELS
from tradewind.registry import Registry, load


@pytest.fixture
def greetings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry[object]]:
    """A registry with one shipped file and one installed distribution that brings another."""
    files = {
        "words.py": "from tradewind.registry import Registry\n\n"
        "WORDS = Registry('word', room='greetings', group='tradewind.test_words')\nregister = WORDS.register\n",
        "greetings/__init__.py": "",
        "greetings/hello.py": "from words import register\n\n\n@register\nclass Hello:\n    name = 'hello'\n\n"
        "    def __init__(self, *, loud: bool = False) -> None:\n        self.loud = loud\n",
        "others_words.py": "from words import register\n\n\n@register\nclass Bye:\n    name = 'bye'\n",
        "others-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: others\nVersion: 1.0\n",
        "others-1.0.dist-info/entry_points.txt": "[tradewind.test_words]\nbye = others_words:Bye\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("words").WORDS
    for name in [n for n in sys.modules if n.split(".")[0] in {"words", "greetings", "others_words"}]:
        del sys.modules[name]
    load.cache_clear()


def test_shipped_files_and_other_distributions_are_found_without_being_imported_by_hand(
    greetings: Registry[object],
) -> None:
    assert "greetings.hello" not in sys.modules  # nothing is imported before the first question
    assert greetings.names() == ("bye", "hello")
    assert "bye" in greetings
    assert greetings.create("hello", loud=True).loud  # type: ignore[attr-defined]


def test_a_class_typed_in_is_known_until_it_is_forgotten(greetings: Registry[object]) -> None:
    @greetings.register
    class Typed:
        name = "typed"

    assert isinstance(greetings.create("typed"), Typed)
    greetings.forget("typed")
    assert "typed" not in greetings


def test_unknown_names_and_parameters_are_refused_with_the_nearest(greetings: Registry[object]) -> None:
    with pytest.raises(InputError, match="unknown word 'helo'") as name:
        greetings.create("helo")
    with pytest.raises(InputError, match=r"parameter of the word 'hello'.*'lout'") as parameter:
        greetings.create("hello", lout=True)
    assert ("'hello'" in name.value.hint, "'loud'" in parameter.value.hint) == (True, True)


def test_the_file_of_a_plug_in_is_told_and_of_one_typed_in_is_none(greetings: Registry[object], tmp_path: Path) -> None:
    typed: dict[str, object] = {}
    exec("class Typed:\n    name = 'typed'\n", typed)
    greetings.register(typed["Typed"])  # type: ignore[type-var]
    assert greetings.source_file("hello") == tmp_path / "greetings" / "hello.py"
    assert greetings.source_file("typed") is None


@pytest.mark.parametrize("registry", [MODELS, RULES, EVENTS, SOURCES, INDEXES], ids=lambda r: r.kind)
def test_every_shipped_plug_in_stands_in_its_room_under_its_own_name(registry: Registry[object]) -> None:
    assert registry.names()
    for name in registry.names():
        factory = registry.factory(name)
        assert (factory.name, factory.__module__.startswith(registry.room)) == (name, True)  # type: ignore[attr-defined]
