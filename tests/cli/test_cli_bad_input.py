"""Bad input through the verbs: a clear error with a remedy, or a marked exclusion; never a traceback, nothing lost."""

from __future__ import annotations

import errno
import fcntl
import json
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from spine_kit import BARS, PLAYBOOK, SYMBOLS, QuickRun, prices, system
from tradewind.cli.main import app
from tradewind.evaluation import backtest
from tradewind.market.store.lake import Lake
from tradewind.market.store.records import Records
from tradewind.playbook import FORMAT

OURS = ("open", "high", "low", "close")
ALL_BARS = BARS * len(SYMBOLS)


class Home:
    """A market in a file, a playbook that reads it, and a home; verbs print one object and never raise."""

    def __init__(self, folder: Path, table: pl.DataFrame | str, playbook: str = PLAYBOOK) -> None:
        self.folder, self.path = folder, folder / "home"
        self.playbook = system(folder, table if isinstance(table, pl.DataFrame) else prices(5), playbook)
        if isinstance(table, str):
            (folder / "prices.csv").write_text(table)

    def __call__(self, verb: str, *words: str, code: int = 0) -> dict[str, Any]:
        told = [*verb.split(), str(self.playbook), *words, "--json"]
        result = CliRunner(env={"TRADEWIND_HOME": str(self.path)}).invoke(app, told, catch_exceptions=False)
        assert result.exit_code == code, result.output
        assert result.stdout.count("\n") == 1
        return dict(json.loads(result.stdout))

    def refused(self, verb: str, *words: str, code: int = 3) -> str:
        error = self(verb, *words, code=code)["error"]
        assert error["hint"]
        return f"{error['what']} → {error['hint']}"


def with_value(column: str, value: str, *rows: int, symbol: str = "BBB") -> pl.DataFrame:
    """Return the market as text, with another value in some rows of a symbol."""
    at = (pl.col("symbol") == symbol) & pl.int_range(pl.len()).over("symbol").is_in(rows)
    text = prices().with_columns(pl.all().cast(pl.String))
    return text.with_columns(pl.when(at).then(pl.lit(value)).otherwise(column).alias(column))


def only(first: int, symbol: str = "BBB") -> pl.DataFrame:
    """Return the market with so many bars of one symbol and all of the others."""
    return prices().filter((pl.col("symbol") != symbol) | (pl.int_range(pl.len()).over("symbol") < first))


# -- what no table may lack ----------------------------------------------------------------------------------

UNREADABLE = {
    "no close": (prices().drop("close"), "no column for close"),
    "no time": (prices().drop("date"), "no column for time"),
    "words for prices": (prices().with_columns(close=pl.lit("dear")), "holds no numbers (first value: 'dear')"),
    "words for times": (prices().with_columns(date=pl.lit("someday")), "cannot read times such as 'someday'"),
    "mixed zones": (
        prices().with_columns(
            date=pl.col("date") + pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("T16:00:00")).otherwise(
                pl.lit("T16:00:00-05:00")
            )
        ),
        "mixed zones cannot be told apart",
    ),
    "a header alone": (prices().head(0), "holds no rows with a symbol"),
    "nothing": ("", "is empty"),
    "noise": ("\x01\x02 noise", "no column for time"),
}  # fmt: skip


@pytest.mark.parametrize("verb", ["sync", "data check", "backtest"])
@pytest.mark.parametrize("case", UNREADABLE)
def test_a_table_that_cannot_be_read_is_refused_with_what_it_lacks(tmp_path: Path, case: str, verb: str) -> None:
    table, says = UNREADABLE[case]
    assert says in Home(tmp_path, table).refused(verb)


def test_a_file_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    home = Home(tmp_path, prices(5))
    (tmp_path / "prices.csv").unlink()
    assert "there is no file or folder" in home.refused("backtest", code=2)


# -- rows that are left out, marked and counted --------------------------------------------------------------

EXCLUDED = {
    "not a number": (with_value("close", "NaN", 5, 6, 300), "missing-price"),
    "infinite": (with_value("high", "inf", 5, 6, 300), "missing-price"),
    "a word": (with_value("close", "dear", 5, 6, 300), "missing-price"),
    "negative": (with_value("low", "-4", 5, 6, 300), "non-positive"),
    "negative volume": (with_value("volume", "-1000", 5, 6, 300), "negative-volume"),
    "two values for one bar": (
        pl.concat([prices(), prices().head(3).with_columns(close=pl.col("close") * 1.001)]),
        "duplicate",
    ),
}


@pytest.mark.parametrize("case", EXCLUDED)
def test_unfit_bars_are_stored_marked_counted_and_left_out(tmp_path: Path, case: str) -> None:
    table, reason = EXCLUDED[case]
    home = Home(tmp_path, table)
    assert home("sync")["excluded"] == {reason: 3}
    checked = home("data check", code=3)
    assert checked["counts"][f"excluded:{reason}"] == checked["excluded"] == 3
    result = home("backtest", "--no-report")
    assert "3 bars are unfit for use and left out" in result["notes"]
    assert len(result["recommendations"]) == len(SYMBOLS)


def test_rows_without_a_symbol_or_a_time_are_left_out_and_said(tmp_path: Path) -> None:
    nameless = Home(tmp_path / "a", with_value("symbol", "", 3, 4))("sync")
    assert (nameless["bars"]["added"], len(nameless["notes"])) == (ALL_BARS - 2, 1)
    assert "2 rows" in nameless["notes"][0] and "have no symbol" in nameless["notes"][0]
    timeless = Home(tmp_path / "b", with_value("date", "someday", 3))("sync")
    assert timeless["bars"]["added"] == ALL_BARS - 1
    assert "1 rows have a time that cannot be read" in timeless["notes"][0]


def test_the_order_of_rows_and_exact_copies_change_nothing_but_a_note(tmp_path: Path) -> None:
    straight = Home(tmp_path / "a", prices())("backtest", "--no-report")
    home = Home(tmp_path / "b", pl.concat([prices(), prices().head(30)]).sample(fraction=1, shuffle=True, seed=1))
    notes = home("sync")["notes"]
    assert any("not in order" in note for note in notes)
    assert any("30 rows were exact copies" in note for note in notes)
    shuffled = home("backtest", "--no-report")
    said = [f"sync: {note}" for note in notes]
    assert [note for note in shuffled["notes"] if note.startswith("sync: ")] == said
    shuffled["notes"] = [note for note in shuffled["notes"] if note not in said]
    for result in (straight, shuffled):
        result.pop("run"), result.pop("playbook_hash")  # the file lies elsewhere
    assert straight == shuffled


# -- too little ----------------------------------------------------------------------------------------------


def test_one_symbol_only_is_traded_alone(tmp_path: Path) -> None:
    home = Home(tmp_path, prices(symbols=("AAA",)))
    for model in ("scale_blend", "naive_t"):
        result = home("backtest", "--set", f"models.use={model}", "--set", "decision.confidence_min=0.4", "--no-report")
        assert [r["symbol"] for r in result["recommendations"]] == ["AAA"]
    two = ("--set", "models.use=naive_t", "--horizon", "5", "--buckets", "2")
    assert "too few for 2 buckets" in home.refused("ranks", *two)


def test_one_symbol_too_short_for_a_model_says_how_much_it_needs(tmp_path: Path) -> None:
    assert "the model needs 200 → give it a longer history" in Home(tmp_path, prices(symbols=("AAA",))).refused(
        "backtest"
    )


def test_three_bars_are_too_few_and_it_says_how_many_are_needed(tmp_path: Path) -> None:
    home = Home(tmp_path, prices(3))
    assert home("sync")["bars"]["added"] == 12
    for verb in ("backtest", "recommend", "train"):
        assert "3 bars are too few" in home.refused(verb)


@pytest.mark.parametrize("model", ["ridge", "scale_blend", "naive_normal", "lightgbm_quantile"])
def test_constant_prices_are_flagged_and_no_model_stumbles_over_them(tmp_path: Path, model: str) -> None:
    home = Home(tmp_path, prices(300).with_columns(pl.lit(10.0).alias(name) for name in OURS))
    assert home("data check")["counts"]["constant"] == len(SYMBOLS)
    assert home.refused("backtest", "--set", f"models.use={model}")


def test_one_constant_symbol_is_held_and_the_others_go_on(tmp_path: Path) -> None:
    constant = pl.when(pl.col("symbol") == "BBB").then(10.0)
    table = prices().with_columns(constant.otherwise(name).alias(name) for name in OURS)
    said = {r["symbol"]: r for r in Home(tmp_path, table)("recommend")["recommendations"]}
    assert said["BBB"]["action"] == "HOLD" and "no forecast" in said["BBB"]["reasons"][0]
    assert said["AAA"]["confidence"] is not None


@pytest.mark.parametrize("bars", [100, 300])
def test_a_symbol_that_ends_mid_sample_is_named_held_and_traded_no_more(tmp_path: Path, bars: int) -> None:
    home = Home(tmp_path, only(bars))
    assert home("data check")["counts"]["ends"] == 1
    result = home("backtest", "--no-report")
    assert any("end before the data do" in note and "BBB" in note for note in result["notes"])
    (said,) = [r for r in result["recommendations"] if r["symbol"] == "BBB"]
    assert (said["action"], said["weight"], said["entry"]) == ("HOLD", 0.0, None)


# -- who is asked for ----------------------------------------------------------------------------------------


def test_an_unknown_symbol_is_dropped_and_named(tmp_path: Path) -> None:
    home, asked = Home(tmp_path, prices()), ("--set", 'universe.symbols=["AAA", "BBB", "ZZZ"]')
    assert home("sync", *asked)["without_data"] == ["ZZZ"]
    result = home("backtest", "--no-report", *asked)
    assert result["universe"]["dropped"] == {"ZZZ": "never stored"}
    assert any("ZZZ was dropped" in note for note in result["notes"])


def test_unknown_symbols_alone_are_an_error(tmp_path: Path) -> None:
    home, asked = Home(tmp_path, prices()), ("--set", 'universe.symbols=["YYY", "ZZZ"]')
    assert "YYY, ZZZ" in home.refused("backtest", *asked)
    assert "YYY, ZZZ" in home.refused("data check", *asked)


def test_a_universe_emptied_by_its_filters_is_an_error_that_names_them(tmp_path: Path) -> None:
    said = Home(tmp_path, prices()).refused("backtest", "--set", 'universe.tiers=["penny"]')
    assert "the universe is empty" in said and "universe.tiers" in said


def test_symbols_that_were_never_asked_for_are_fetched_when_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path, prices())
    home("sync", "--set", 'universe.symbols=["AAA", "BBB"]')
    assert len(home("backtest", "--no-report")["recommendations"]) == len(SYMBOLS)


def test_a_bar_size_that_the_source_does_not_have_is_refused(tmp_path: Path) -> None:
    said = Home(tmp_path, prices(5)).refused("sync", "--set", "data.timeframe=1h", code=2)
    assert "has no '1h' bars" in said and "it serves 1d" in said


# -- the playbook --------------------------------------------------------------------------------------------


def test_a_wrong_option_of_a_source_is_refused_with_its_line(tmp_path: Path) -> None:
    home = Home(tmp_path, prices(5), PLAYBOOK + 'colums = { close = "last" }\n')
    said = home.refused("sync", code=2)
    assert f"quick.toml:{len(PLAYBOOK.splitlines()) + 1}: unknown key 'colums'" in said
    assert "did you mean 'columns'" in said


def test_an_unknown_parameter_of_a_model_is_refused(tmp_path: Path) -> None:
    said = Home(tmp_path, prices()).refused("backtest", "--set", "models.parameters={ridge={penalti=1}}", code=2)
    assert "penalti" in said and "penalty" in said


@pytest.mark.parametrize("verb", ["sync", "backtest", "config show", "train", "data check"])
def test_a_playbook_from_a_newer_version_is_refused(tmp_path: Path, verb: str) -> None:
    newer = PLAYBOOK.replace("format = 1", f"format = {FORMAT + 1}")
    assert "upgrade" in Home(tmp_path, prices(5), newer).refused(verb, code=2)


# -- what is stored ------------------------------------------------------------------------------------------


@pytest.fixture
def stored(quick: QuickRun, home: Path) -> Home:
    """The quick run's playbook with a home of its own."""
    verb = Home.__new__(Home)
    verb.folder, verb.path, verb.playbook = home.parent, home, quick.playbook
    return verb


def contents(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*.parquet")}


@pytest.mark.parametrize("damage", ["half", "gone", "noise"])
def test_a_corrupt_lake_file_stops_every_verb_that_reads_it_and_nothing_is_lost(stored: Home, damage: str) -> None:
    victim = sorted(stored.path.glob("lake/*/bars/**/*.parquet"))[0]
    whole = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(whole[: len(whole) // 2] if damage == "half" else b"x" * len(whole))
    before = contents(stored.path)
    for verb in ("backtest", "sync", "data check"):
        said = stored.refused(verb)
        assert victim.name in said and "tradewind restore" in said
    assert contents(stored.path) == before
    victim.write_bytes(whole)
    assert stored("backtest", "--no-report")["verdict"]


def test_a_corrupt_database_stops_the_verbs_and_is_left_as_it_is(stored: Home) -> None:
    for path in stored.path.glob("records.sqlite*"):
        path.unlink()
    (stored.path / "records.sqlite").write_bytes(b"nonsense" * 2000)
    assert "is corrupt" in stored.refused("backtest")
    assert (stored.path / "records.sqlite").read_bytes() == b"nonsense" * 2000


def test_a_locked_database_asks_to_try_again(stored: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Records.__init__.__kwdefaults__, "patience_seconds", 0.05)
    with closing(sqlite3.connect(stored.path / "records.sqlite", isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert "is locked by another process" in stored.refused("backtest", code=1)
    assert stored("backtest", "--no-report")["track_record"]["trials"] == 1


def test_a_lake_that_another_process_writes_to_asks_to_try_again_and_can_be_read(
    stored: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Lake.__init__
    monkeypatch.setattr(Lake, "__init__", lambda self, root: patient(self, root, 0.05))
    lock = next(stored.path.glob("lake/*")) / "writer.lock"
    with lock.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process is writing" in stored.refused("sync", code=1)
        assert stored("backtest", "--no-report")["verdict"]


def test_a_full_disk_is_said_to_be_full_and_the_same_command_goes_on_later(stored: Home) -> None:
    before = contents(stored.path)
    done = subprocess.run(
        [Path(sys.executable).parent / "tradewind", "backtest", stored.playbook, "--json"],
        env={"TRADEWIND_HOME": str(stored.path), "HOME": str(stored.folder), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and done.stdout, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "RetryError" and "free some space" in error["hint"]
    assert "Traceback" not in done.stderr
    assert {path: content for path, content in contents(stored.path).items() if path in before} == before
    assert stored("backtest")["track_record"]["trials"] == 1


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "no space left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied"), 2, "cannot write to"),
    ],
)
def test_a_disk_that_fails_anywhere_is_said_in_words(
    stored: Home, monkeypatch: pytest.MonkeyPatch, failure: OSError, code: int, says: str
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(backtest, "write_weights", fail)
    assert says in stored.refused("backtest", "--weights", "w.csv", code=code)


def test_a_fault_of_ours_is_not_hidden(stored: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(backtest, "write_weights", fail)
    with pytest.raises(ZeroDivisionError):
        stored("backtest", "--weights", "w.csv")
