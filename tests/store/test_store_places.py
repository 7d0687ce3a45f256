"""A home may lie in any folder: what a name has in it is not read as an address or a pattern."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from store_kit import source_bars, store
from typer.testing import CliRunner

from spine_kit import prices, system, workspace
from tradewind.cli.main import app
from tradewind.errors import InputError
from tradewind.evaluation.data import load, load_or_sync
from tradewind.market.store.backup import backup, restore
from tradewind.market.store.lake import Lake

NAMES = ["with a space", "50% off", "c#", "what?", "größe 日本", "a*b", "a+b&c;d", "it's here"]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_home_is_called_it_is_read_again(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    playbook = system(folder, prices(120))
    first = workspace(playbook, folder / "home")
    stored = load_or_sync(first).panel
    first.records.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [name], "nothing lies beside it"
    again = workspace(playbook, folder / "home")
    assert load(again).panel.shape == stored.shape == (120, 4)
    assert again.lake.check() == [] == again.records.database.problems()
    assert again.records.jobs("sync")
    again.records.close()
    told = CliRunner().invoke(app, ["doctor", "--json"], env={"TRADEWIND_HOME": str(folder / "home")})
    assert json.loads(told.stdout)["healthy"], told.stdout


@pytest.mark.parametrize("name", ["with a space", "what?", "50% off"])
def test_whatever_it_is_called_it_is_backed_up(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    used = workspace(system(folder, prices(120)), folder / "home")
    stored = load_or_sync(used).panel
    used.records.close()
    backup(folder / "home", folder / "kept.tar")
    restore(folder / "kept.tar", folder / "again")
    found = workspace(folder / "quick.toml", folder / "again")
    assert load(found).panel.shape == stored.shape
    found.records.close()


def test_folders_of_names_that_match_each_other_are_kept_apart(tmp_path: Path) -> None:
    store(Lake(tmp_path / "axb"), source_bars("AAA", [1.0, 2.0]))
    shutil.copytree(tmp_path / "axb", tmp_path / "a?b")  # the same names of files
    store(Lake(tmp_path / "a?b"), source_bars("BBB", [3.0]))
    for name, closes in (("axb", [1.0, 2.0]), ("a?b", [1.0, 2.0, 3.0])):
        assert Lake(tmp_path / name).read_bars(None, "1d")["close"].to_list() == closes


@pytest.mark.parametrize("name", ["a%20b", "a[b]", "a=b"])
def test_names_that_no_lake_can_have_are_refused_in_words(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no lake can be kept in"):
        Lake(tmp_path / name).identity()
