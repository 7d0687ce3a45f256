"""The documentation is true: its Python runs, its commands run, in the order in which a reader meets them."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from spine_kit import prices
from tradewind.cli.main import app

ROOT = Path(__file__).parents[2]
README, TUTORIAL = (ROOT / "README.md").read_text("utf-8"), (ROOT / "docs" / "index.md").read_text("utf-8")

#: The sample with its quickest model: the commands are under test here, not the models.
QUICK = {
    "MODELS__USE": "naive_t",
    "MODELS__COMPARE": "[]",
    "FEATURES__INCLUDE": '["return_5"]',
    "EVALUATION__BOOTSTRAP_SAMPLES": "100",
    "DECISION__CONFIDENCE_MIN": "0.4",
}

pytestmark = pytest.mark.xdist_group("docs")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command after a ``$`` in a console block."""
    for block in blocks(text, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield shlex.split(line[2:])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader who tries everything in one place."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(autouse=True)
def reader(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.delenv("TRADEWIND_HOME", raising=False)
    for key, value in QUICK.items():
        monkeypatch.setenv(f"TRADEWIND__{key}", value)


def run(words: list[str]) -> str:
    assert words[0] == "tradewind"
    result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_readme_opens_with_the_two_commands_that_are_all_the_set_up() -> None:
    first = blocks(README, "sh")[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == ["make demo", "make test"]
    assert README.index("make demo") < 200


def test_the_python_of_the_readme_runs(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(README, "python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 12
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out
    assert all(symbol in said for symbol in ("AAPL", "FB", "GOOG", "IBM", "MSFT"))
    assert (desk / "report.html").read_text("utf-8").startswith("<!")


def test_every_command_of_the_tutorial_runs_in_its_order(desk: Path) -> None:
    told = list(commands(TUTORIAL))
    assert len(told) >= 9
    for words in told:
        assert run(words), words
    assert (desk / "my.toml").is_file()


def test_the_tutorials_own_data_section_reads_a_table_as_it_says(desk: Path) -> None:
    (part,) = blocks(TUTORIAL, "toml")
    tomllib.loads(part)
    table = (
        prices(900)
        .rename({"symbol": "ticker"})
        .with_columns(adj_close=pl.col("close"), date=pl.col("date").str.to_date())
    )
    table.write_parquet(desk / "prices.parquet")
    run(["tradewind", "init", "own.toml", "--from", "sample"])
    own = desk / "own.toml"
    own.write_text(f"{own.read_text('utf-8')}\n{part}", "utf-8")
    assert "stored 3,600 new" in run(["tradewind", "sync", "own.toml", "--source", "files"])
    assert "Verdict" in run(["tradewind", "backtest", "own.toml", "--source", "files", "--no-report"])


def test_every_verb_that_the_readme_names_exists() -> None:
    table = README[README.index("| you want to know") : README.index("Every verb takes")]
    for code in re.findall(r"`([^`]+)`", table):
        words = [word for word in shlex.split(code) if word.islower()][:2]
        while words and CliRunner().invoke(app, [*words, "--help"]).exit_code:
            words.pop()
        assert words, code


@pytest.mark.parametrize(
    "page", sorted(str(p.relative_to(ROOT)) for p in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target
