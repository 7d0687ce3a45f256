"""What a back-test would refuse later is refused at once, with the line of the file and what is meant or allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from spine_kit import PLAYBOOK, system
from tradewind.errors import PlaybookError
from tradewind.evaluation.plan import Plan
from tradewind.evaluation.validate import validated
from tradewind.playbook import load, shipped


def line(text: str, part: str) -> int:
    return next(n for n, row in enumerate(text.splitlines(), start=1) if part in row)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_playbook_is_accepted(name: str) -> None:
    assert validated(Plan.of(load(name))).playbook.name == name


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("horizon_bars = 5", 'rule = "probabilty"\nhorizon_bars = 5', "did you mean 'probability'?"),
        ("horizon_bars = 5", 'event = "top_fith"\nhorizon_bars = 5', "did you mean 'top_fifth'?"),
        ("horizon_bars = 5", 'strategy = "day_trade"\nhorizon_bars = 5', "another decision.rule"),
        ("horizon_bars = 5", "horizon_bars = 3", "[1, 5]"),
        ("horizon_bars = 5", "use_sentiment = true\nhorizon_bars = 5", "use_sentiment = false"),
        ('use = "ridge"', 'use = "rigde"', "did you mean 'ridge'?"),
        ("compare = []", 'compare = ["naive_norml"]', "'naive_normal'"),
        ("compare = []", "parameters.rigde = {}", "did you mean 'ridge'?"),
        ("compare = []", "[models.parameters.ridge]\nwat = 3", "known:"),
        ('include = ["rsi_14", "price"]', 'include = ["rsi_14", "prise"]', "'price'"),
        ('include = ["rsi_14", "price"]', 'exclude = ["rsi_41"]', "'rsi_14'"),
        ('include = ["rsi_14", "price"]', 'forecasts = ["hra"]', "did you mean 'har'?"),
        ("context = {}", "context = {}\nstart = 2015-01-01\nend = 2014-01-01", "swap"),
        ('source = "files"', 'source = "flies"', "did you mean 'files'?"),
        ("[features]", '[universe]\nindex = "nasdaq10"\n[features]', "did you mean 'nasdaq100'?"),
        (
            "[source.files.options]",
            "[source.synthetic.options]\nsed = 3\n[source.files.options]",
            "did you mean 'seed'?",
        ),
        ("[source.files.options]", "[source.synthetik]\n[source.files.options]", "did you mean 'synthetic'?"),
        ("[source.files.options]", "[source.yahoo.limit]\n[source.files.options]", "did you mean 'limits'?"),
        (
            "[source.files.options]",
            "[source.yahoo.limits]\nposition_mx = 1\n[source.files.options]",
            "did you mean 'position_max'",
        ),
        ('path = "prices.csv"', 'pth = "prices.csv"', "did you mean 'path'?"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = PLAYBOOK.replace(before, after)
    path = system(tmp_path, playbook=text)
    with pytest.raises(PlaybookError) as refused:
        validated(Plan.of(load(path)))
    wrong = max(after.splitlines(), key=lambda row: row.startswith(WRONG))
    assert f"{path}:{line(text, wrong)}" in refused.value.what
    assert said in refused.value.hint


#: How the wrong line begins where a case has several.
WRONG = (
    "[models.parameters",
    "rule",
    "event",
    "strategy",
    "use_s",
    "end",
    "index",
    "sed",
    "[source.synthetik",
    "[source.yahoo.limit]",
    "posi",
)


@pytest.mark.parametrize("head", ['source = "files"', "[source]\nfiles = 3", "[source.files]\noptions = 3"])
def test_a_source_that_is_no_table_is_refused(tmp_path: Path, head: str) -> None:
    with pytest.raises(PlaybookError, match="must be a table"):
        load(system(tmp_path, playbook=f"{head}\n{PLAYBOOK.partition('[source.files.options]')[0]}"))


def test_a_flag_that_names_no_source_is_its_own_place(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match=r"^--source flies: data\.source") as refused:
        validated(Plan.of(load(system(tmp_path), source="flies")))
    assert "did you mean 'files'?" in refused.value.hint
