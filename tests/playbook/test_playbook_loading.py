"""A playbook is resolved with an origin for every value, and refused with a place and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradewind.decisions.settings import DecisionSection
from tradewind.errors import PlaybookError
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.validate import validated
from tradewind.playbook import FORMAT, load, shipped

TEXT = """\
[playbook]
format = 1

[data]
source = "files"

[decision]
confidence_min = 0.6
rule = "probability"

[source.files]
data.timeframe = "1h"
[source.files.options]
path = "prices.parquet"

[source.synthetic]
decision.confidence_min = 0.51
"""


def written(folder: Path, text: str = TEXT) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_playbook_is_valid(name: str) -> None:
    assert Plan.of(load(name)).playbook.name == name


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    environ = {"TRADEWIND__DECISION__CONFIDENCE_MIN": "0.55", "TRADEWIND__DECISION__EVERY_BARS": "3"}
    book = load(written(tmp_path), environ=environ, overrides={"decision.confidence_min": "0.57"})
    decision = book.section("decision", DecisionSection)
    assert (decision.confidence_min, decision.every_bars, decision.rule) == (0.57, 3, "probability")
    assert book.origins["decision.confidence_min"] == "--set decision.confidence_min"
    assert book.origins["decision.every_bars"] == "TRADEWIND__DECISION__EVERY_BARS"
    assert book.origins["decision.rule"] == "mine.toml:9"


def test_a_source_narrows_the_playbook_only_when_it_is_chosen(tmp_path: Path) -> None:
    path = written(tmp_path)
    own, other = load(path), load(path, source="synthetic")
    assert own.values["data"]["timeframe"] == "1h"
    assert own.source_options == {"path": "prices.parquet"}
    assert "timeframe" not in other.values["data"]
    assert other.values["decision"]["confidence_min"] == 0.51
    assert other.values["data"]["source"] == "synthetic"


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    book = load(written(tmp_path, TEXT.replace("confidence_min = 0.6", "confidence_mim = 0.6")))
    with pytest.raises(PlaybookError) as caught:
        book.section("decision", DecisionSection)
    assert "mine.toml:8" in str(caught.value)
    assert "did you mean 'confidence_min'" in str(caught.value)


def test_a_value_out_of_range_is_refused_with_its_line_and_the_range(tmp_path: Path) -> None:
    book = load(written(tmp_path, TEXT.replace("confidence_min = 0.6", "confidence_min = 1.6")))
    with pytest.raises(PlaybookError) as caught:
        book.section("decision", DecisionSection)
    assert "mine.toml:8" in str(caught.value)
    assert ">= 0" in str(caught.value) and "<= 1" in str(caught.value)


def test_an_unknown_section_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    book = load(written(tmp_path, TEXT + "\n[decisoin]\nrule = 'x'\n"))
    with pytest.raises(PlaybookError, match="unknown section") as caught:
        Plan.of(book)
    assert "did you mean 'decision'" in str(caught.value)


@pytest.mark.parametrize("version", ['"1"', "true", "0", "1.0"])
def test_a_format_that_is_no_number_of_ours_is_not_called_newer(tmp_path: Path, version: str) -> None:
    path = written(tmp_path, TEXT.replace("format = 1", f"format = {version}"))
    with pytest.raises(PlaybookError, match="is no format") as caught:
        load(path)
    assert caught.value.hint == f"write format = {FORMAT}"


def test_a_bracket_that_is_not_closed_is_said_with_its_line_and_what_to_look_for(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match="line ") as caught:
        load(written(tmp_path, "[universe]\nsymbols = ['A'\n[data]\n"))
    assert "bracket" in caught.value.hint


def test_a_playbook_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace("format = 1", f"format = {FORMAT + 1}"))
    with pytest.raises(PlaybookError, match="newer than this version") as caught:
        load(path)
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize(("text", "says"), [("[data", "not valid TOML"), ("data = 3\n", "must be a table")])
def test_a_broken_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(PlaybookError, match=says):
        Plan.of(load(written(tmp_path, text)))


def test_a_missing_playbook_names_the_nearest_shipped_one() -> None:
    with pytest.raises(PlaybookError) as caught:
        load("sampel")
    assert "did you mean 'sample'" in str(caught.value)


def test_the_content_hash_ignores_prose_and_nothing_else(tmp_path: Path) -> None:
    first = load(written(tmp_path)).content_hash
    described = load(written(tmp_path, TEXT.replace("format = 1", 'format = 1\ndescription = "new words"')))
    changed = load(written(tmp_path, TEXT.replace("0.6", "0.61")))
    assert described.content_hash == first
    assert changed.content_hash != first


def test_options_of_a_source_can_be_set_by_flag_and_variable_and_are_checked_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[data]\nsource = "files"\n[source.files.options]\npath = "a.csv"\ntimezone = "UTC"\n')
    environ = {"TRADEWIND__SOURCE__FILES__OPTIONS__TIMEZONE": "Europe/Berlin"}
    flags = {
        "source.files.options.path": "b.csv",
        "source.files.data.timeframe": "1h",
        "source.sample.data.end": "2012",
    }
    book = load(path, environ=environ, overrides=flags)
    assert dict(book.source_options) == {"path": "b.csv", "timezone": "Europe/Berlin"}
    assert book.values["data"]["timeframe"] == "1h"
    assert book.origins["data.timeframe"] == "--set source.files.data.timeframe"
    assert book.place("source.files.options.path") == "--set source.files.options.path"
    assert "end" not in book.values["data"]  # another source's
    assert book.content_hash != load(path).content_hash
    with pytest.raises(PlaybookError, match=r"--set source.files.options.pth: unknown key 'pth'"):
        validated(Plan.of(load(path, overrides={"source.files.options.pth": "b.csv"})))
    with pytest.raises(PlaybookError, match="must be a table"):
        load(path, overrides={"source.files": 3})
