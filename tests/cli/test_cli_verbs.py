"""Every verb as a program sees it: one object, an exit code, an example, and nothing heavy before it is needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from spine_kit import SYMBOLS, QuickRun
from tradewind.cli import common
from tradewind.cli.check import _text
from tradewind.cli.main import app
from tradewind.evaluation import runs
from tradewind.market.sources.base import SOURCES

TRADEWIND = Path(sys.executable).parent / "tradewind"
HEAVY = ("pandas", "numba", "polars", "sklearn", "scipy", "numpy", "deltalake", "sqlalchemy", "lightgbm", "pyarrow")

Call = Callable[..., Result]


@pytest.fixture
def call(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a verb in-process, in a folder and a home of its own where the quick run has been."""
    monkeypatch.setenv("TRADEWIND_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return invoke


def one_object(result: Result, code: int = 0) -> dict[str, Any]:
    """Return the one object on stdout; nothing else may stand there, and no NaN in it."""
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1 and result.stdout.endswith("}\n")
    return dict(json.loads(result.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON")))


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in command.commands.items():
        yield from verbs(child, (*path, name)) if hasattr(child, "commands") else [((*path, name), child)]


ALL = dict(verbs(typer.main.get_command(app)))

# -- help ----------------------------------------------------------------------------------------------------


def test_every_verb_of_the_issue_is_there() -> None:
    wanted = ["init", "sync", "train", "backtest", "recommend", "explain", "ranks", "report", "reproduce"]
    wanted += ["backup", "restore", "demo", "doctor"]
    assert {(w,) for w in wanted} <= set(ALL)
    assert {("data", "check"), ("features", "list"), ("config", "show"), ("audit", "frame")} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_what_a_verb_does_with_an_example_and_json(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    words = " ".join(result.stdout.split())
    assert result.exit_code == 0
    assert "--json" in words
    assert re.search(r"Example: .*tradewind", words)


def test_the_first_page_names_the_exit_codes_and_where_to_start() -> None:
    words = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())
    assert "tradewind demo" in words
    assert "0 fine, 1 failed, 2 usage, 3 the data or an audit says no, 4 safety stop" in words


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from tradewind.cli.main import app
for words in (["--help"], ["backtest", "--help"], ["audit", "frame", "--help"]):
    try:
        app(words)
    except SystemExit:
        pass
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


def test_the_command_itself_starts_and_says_its_version() -> None:
    done = subprocess.run([TRADEWIND, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert re.fullmatch(r"tradewind \d+\.\d+\.\d+\n", done.stdout)


# -- one object, whatever happens ----------------------------------------------------------------------------


def test_backtest_prints_its_result_and_writes_what_it_is_told_to(call: Call, quick: QuickRun, tmp_path: Path) -> None:
    words = ("backtest", quick.playbook, "--json", "--forecasts", "f.csv", "--weights", "w.parquet")
    found = one_object(call(*words))
    assert not re.search(
        r"\d\.\d{7}", (tmp_path / "f.csv").read_text()
    )  # forecasts have six decimals, and show no more
    assert (tmp_path / "f.csv").stat().st_size and (tmp_path / "w.parquet").stat().st_size
    assert Path(found["run"]["report"]).read_text().startswith("<!")
    again = one_object(call(*words))
    assert found.pop("run") != again.pop("run")
    assert found == again


def test_recommend_prints_one_recommendation_a_symbol(call: Call, quick: QuickRun) -> None:
    found = one_object(call("recommend", quick.playbook, "--json"))
    assert sorted(r["symbol"] for r in found["recommendations"]) == list(SYMBOLS)
    assert {"verdict", "coverage", "red_flags", "warnings", "as_of", "run"} <= set(found)


def test_recommend_as_of_a_day_knows_that_day_and_nothing_later(call: Call, quick: QuickRun) -> None:
    day = str(quick.record.world.panel.times[371])[:10]
    found = one_object(call("recommend", quick.playbook, "--as-of", day, "--json"))
    assert found["as_of"].startswith(day)


def test_explain_takes_its_playbook_as_every_other_verb_does(call: Call, quick: QuickRun) -> None:
    beside, named = (
        one_object(call("explain", "CCC", *words, "--json"))
        for words in ((quick.playbook,), ("--playbook", quick.playbook))
    )
    assert {**beside, "run": None} == {**named, "run": None}


def test_explain_refuses_an_unknown_symbol_before_the_walk(
    call: Call, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[object] = []
    monkeypatch.setattr("tradewind.evaluation.corridor.build_world", lambda *parts: walked.append(parts))
    assert "did you mean AAA?" in call("explain", "aaa", quick.playbook).stderr
    assert not walked


def test_explain_prints_the_steps(call: Call, quick: QuickRun) -> None:
    found = one_object(call("explain", "CCC", "--playbook", quick.playbook, "--json"))
    assert found["symbol"] == "CCC"
    assert {"1_bars", "7_order", "run"} <= set(found)


def test_ranks_prints_what_the_issue_says(call: Call, quick: QuickRun) -> None:
    found = one_object(call("ranks", quick.playbook, "--horizon", 5, "--buckets", 2, "--json"))
    assert set(found) == {"as_of", "horizon", "symbols"}
    assert {s: round(sum(p), 12) for s, p in found["symbols"].items()} == dict.fromkeys(SYMBOLS, 1.0)


def test_sync_is_idempotent_and_a_dry_run_stores_nothing(call: Call, quick: QuickRun) -> None:
    found = one_object(call("sync", quick.playbook, "--json"))
    assert (found["bars"]["added"], found["bars"]["unchanged"]) == (0, 4 * 420)
    assert one_object(call("sync", quick.playbook, "--dry-run", "--json"))["dry_run"] is True


def test_train_says_what_was_fitted(call: Call, quick: QuickRun) -> None:
    found = one_object(call("train", quick.playbook, "--json"))
    assert found["models"]["ridge"]["folds"] == 3
    assert found["trained_until"].endswith("Z")


def test_data_check_counts_what_it_found(call: Call, quick: QuickRun) -> None:
    found = one_object(call("data", "check", quick.playbook, "--json"))
    assert (found["bars"], found["symbols"], found["excluded"]) == (4 * 420, 4, 0)


def test_report_says_where_it_is_and_makes_it_again_where_it_is_missing(call: Call, quick: QuickRun) -> None:
    found = one_object(call("report", "latest", "--json"))
    path = Path(found["report"])
    assert path.is_file()
    path.unlink()
    assert Path(one_object(call("report", quick.folder.name, "--json"))["report"]).is_file()


def test_reproduce_agrees_and_exits_3_where_a_number_was_changed(call: Call, quick: QuickRun, home: Path) -> None:
    assert one_object(call("reproduce", "latest", "--json"))["equal"] is True
    folder = home / "runs" / quick.folder.name
    result = runs.read(folder, "result.json")
    result["coverage"]["5"]["realised"] += 1e-6
    runs.write(folder, "result.json", result)
    found = one_object(call("reproduce", quick.folder.name, "--json"), code=3)
    assert [row["path"] for row in found["differences"]] == ["coverage.5.realised"]
    said = call("reproduce", quick.folder.name)
    assert said.exit_code == 3 and "coverage.5.realised" in said.stdout


def test_a_backup_is_restored_into_an_empty_home_and_never_over_a_full_one(
    call: Call, tmp_path: Path, quick: QuickRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "all.tar"
    one_object(call("backup", archive, "--json"))
    assert "error" in one_object(call("restore", archive, "--json"), code=2)
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "other"))
    one_object(call("restore", archive, "--json"))
    one_object(call("restore", archive, "--replace", "--json"))
    assert one_object(call("reproduce", "latest", "--json"))["equal"] is True
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("other")]) == 2  # nothing stored is lost


def test_doctor_says_that_all_is_well_twice_in_the_same_words(call: Call) -> None:
    found = one_object(call("doctor", "--json"))
    assert found["healthy"] is True
    assert found == one_object(call("doctor", "--json"))


def test_doctor_exits_3_where_something_is_broken(call: Call, home: Path) -> None:
    (home / "records.sqlite").write_bytes(b"nonsense" * 1000)
    assert one_object(call("doctor", "--json"), code=3)["healthy"] is False
    assert "BAD  records" in call("doctor").stdout


def test_an_honest_playbook_passes_its_audit(call: Call, quick: QuickRun) -> None:
    found = one_object(call("audit", quick.playbook, "--json"))
    assert found["findings"] == []
    assert "features" in json.dumps(found)


def test_features_list_has_a_hundred_or_more_with_all_that_the_issue_asks_for(call: Call) -> None:
    found = one_object(call("features", "list", "--json"))
    assert found["count"] == len(found["features"]) >= 100
    assert {"name", "family", "unit", "look_back_bars", "description", "source"} <= set(found["features"][0])
    for row in found["features"]:
        assert row["description"] and row["unit"] and row["look_back_bars"] >= 0
    some = one_object(call("features", "list", "--family", "volatility", "--json"))
    assert {row["family"] for row in some["features"]} == {"volatility"}
    assert call("features", "list", "--family", "volatilty").exit_code == 2


def test_init_copies_a_playbook_and_never_overwrites_one(call: Call, tmp_path: Path) -> None:
    assert one_object(call("init", "mine.toml", "--from", "sample", "--json")) == {
        "playbook": "mine.toml",
        "from": "sample",
    }
    (tmp_path / "mine.toml").write_text("# edited for hours\n")
    refused = call("init", "mine.toml")
    assert refused.exit_code == 2 and "exists already" in refused.stderr
    assert (tmp_path / "mine.toml").read_text() == "# edited for hours\n"


def test_init_into_a_folder_that_does_not_exist_is_refused_in_words(call: Call, tmp_path: Path) -> None:
    refused = call("init", tmp_path / "no" / "mine.toml", "--json")
    assert "no" in one_object(refused, code=2)["error"]["what"]


def test_config_show_gives_what_a_timeframe_says_otherwise(call: Call) -> None:
    flag = "timeframes.scalper.evaluation.min_train_bars=2000"
    found = one_object(call("config", "show", "ai-semis", "--source", "synthetic", "--set", flag, "--json"))
    rows = {row["key"]: row for row in found["values"]}
    assert rows["timeframes.swing.decision.rule"]["value"] == "swing"
    assert rows["timeframes.swing.decision.rule"]["origin"].startswith("ai-semis.toml:")
    own = "timeframes.scalper.evaluation.min_train_bars"
    assert (rows[own]["value"], rows[own]["origin"]) == (2000, f"--set {own}")
    assert "timeframes.swing.decision.threshold" not in rows, "what is the playbook's is told once"


def test_config_show_gives_every_value_with_its_origin_and_hides_secrets(
    call: Call, quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES._factories, "vendor", object)  # somebody's own source, which checks its options itself
    secret = tmp_path / "secret.toml"
    options = '[source.vendor.options]\napi_key = "hush"\nauth = { token = "hush", user = "me" }\n'
    secret.write_text(quick.playbook.read_text().replace('source = "files"', 'source = "vendor"') + options)
    monkeypatch.setenv("TRADEWIND__DECISION__EVERY_BARS", "7")
    result = call("config", "show", secret, "--set", "limits.position_max=0.05", "--json")
    rows = {row["key"]: row for row in one_object(result)["values"]}
    assert "hush" not in result.output
    assert rows["source.vendor.options.api_key"]["value"] == "********"
    assert rows["source.vendor.options.auth"]["value"] == {"token": "********", "user": "me"}
    assert (rows["decision.every_bars"]["value"], rows["decision.every_bars"]["origin"]) == (
        7,
        "TRADEWIND__DECISION__EVERY_BARS",
    )
    assert rows["limits.position_max"]["origin"].startswith("--set")
    assert rows["models.use"]["origin"].startswith("secret.toml:")
    assert rows["sizing.risk_per_trade"]["origin"] == "default"


# -- for people ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("recommend", "PLAYBOOK"), "Recommendations as of 2015-09-01"),
        (("backtest", "PLAYBOOK", "--no-report"), "Verdict"),
        (("explain", "AAA", "--playbook", "PLAYBOOK"), "7 order"),
        (("explain", "DDD", "--playbook", "PLAYBOOK"), "rsi_14"),
        (("ranks", "PLAYBOOK", "--horizon", "5", "--buckets", "2"), "bucket 1 is the lowest"),
        (("sync", "PLAYBOOK"), "stored 0 new"),
        (("train", "PLAYBOOK"), "3 folds"),
        (("data", "check", "PLAYBOOK"), "1,680 bars of 4 symbols"),
        (("config", "show", "PLAYBOOK"), "limits.position_max"),
        (("features", "list"), "families"),
        (("report",), "report.html"),
        (("reproduce",), "every number agrees"),
        (("doctor",), "ok   lakes"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_json_a_verb_speaks_to_people(call: Call, quick: QuickRun, words: tuple[str, ...], says: str) -> None:
    result = call(*(quick.playbook if word == "PLAYBOOK" else word for word in words))
    assert result.exit_code == 0, result.output
    assert says in result.stdout
    assert "nan" not in result.stdout.lower().split()


# -- exit codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("backtest", "smaple"), 2, "did you mean 'sample'"),
        (("backtest", "no/such.toml"), 2, "no playbook file"),
        (("backtest", "PLAYBOOK", "--set", "decision.confidense_min=0.5"), 2, "did you mean 'confidence_min'"),
        (("backtest", "PLAYBOOK", "--set", "decision.confidence_min=5"), 2, "<= 1"),
        (("backtest", "PLAYBOOK", "--set", "decision.confidence_min"), 2, "section.key=value"),
        (("backtest", "PLAYBOOK", "--set", "every_bars=5"), 2, "name the section too"),
        (("backtest", "PLAYBOOK", "--set", "models.use=rigde"), 2, "did you mean 'ridge'"),
        (("backtest", "PLAYBOOK", "--set", "decision.rule=probabilty"), 2, "did you mean 'probability'"),
        (("backtest", "PLAYBOOK", "--set", "features.include=['rsi_15']"), 2, "rsi_14"),
        (("backtest", "PLAYBOOK", "--set", "decision.horizon_bars=3"), 2, "[1, 5]"),
        (("backtest", "PLAYBOOK", "--set", "decision.use_sentiment=true"), 2, "sentiment"),
        (("backtest", "PLAYBOOK", "--source", "flies"), 2, "did you mean 'files'"),
        (("config", "show", "PLAYBOOK", "--source", "flies"), 2, "did you mean 'files'"),
        (("config", "show", "PLAYBOOK", "--set", "decision.rule=probabilty"), 2, "did you mean 'probability'"),
        (("config", "show", "PLAYBOOK", "--set", "decision.horizon_bars=3"), 2, "[1, 5]"),
        (("backtest", "PLAYBOOK", "--forecasts", "f.xlsx"), 2, ".parquet or .csv"),
        (("backtest", "PLAYBOOK", "--to", "2014-06-30", "--as-of", "2014-03-01"), 2, "one of them"),
        (("backtest", "PLAYBOOK", "--as-of", "yesterday"), 2, "2012-06-29"),
        (("backtest", "PLAYBOOK", "--as-of", "2013-01-01"), 3, "tradewind sync"),
        (("backtest", "PLAYBOOK", "--as-of", "2014-03-01"), 3, "min_train_bars"),
        (("backtest", "PLAYBOOK", "--set", "decision.confidence_min=0.99"), 3, "never fired"),
        (("explain", "ZZZ", "--playbook", "PLAYBOOK"), 2, "it has AAA"),
        (("explain", "aaa", "--playbook", "PLAYBOOK"), 2, "did you mean AAA?"),
        (("explain", "aaa", "PLAYBOOK"), 2, "did you mean AAA?"),
        (("explain", "AAA", "PLAYBOOK", "--playbook", "sample"), 2, "two playbooks"),
        (("backup", "no/folder/b.tar"), 2, "there is no folder no/folder"),
        (("ranks", "PLAYBOOK", "--horizon", "9"), 2, "[1, 5]"),
        (("ranks", "PLAYBOOK", "--horizon", "5", "--buckets", "9"), 3, "too few for 9 buckets"),
        (("reproduce", "nothing"), 2, "known:"),
        (("report", "nothing"), 2, "known:"),
        (("restore", "no.tar", "--replace"), 2, "no.tar"),
        (("audit", "frame", "no.parquet", "--time", "t", "--price", "p"), 2, "no.parquet"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy_and_its_exit_code(
    call: Call, quick: QuickRun, words: tuple[str, ...], code: int, says: str
) -> None:
    told = [quick.playbook if word == "PLAYBOOK" else word for word in words]
    plain = call(*told)
    assert plain.exit_code == code, plain.output
    assert says in plain.stderr
    assert "→" in plain.stderr
    assert plain.stdout == ""
    error = one_object(call(*told, "--json"), code=code)["error"]
    assert error["what"] and error["hint"] and error["kind"].endswith("Error")


def test_quiet_says_the_result_alone_and_verbose_each_phase(call: Call, quick: QuickRun) -> None:
    words = ("backtest", quick.playbook, "--no-report")
    assert "files in" in call(*words).stderr
    assert call("-q", *words).stderr == ""
    assert re.findall(r"(features|judge): \d+ steps", call("-v", *words).stderr) == ["features", "judge"]
    assert "Traceback" in call("-v", "explain", "ZZZ", "--playbook", quick.playbook).stderr
    assert "Traceback" not in call("explain", "ZZZ", "--playbook", quick.playbook).stderr


def test_a_home_that_is_a_file_is_refused_in_words(
    call: Call, quick: QuickRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").write_text("mine")
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "notes"))
    assert "is a file, not a folder" in one_object(call("sync", quick.playbook, "--json"), code=2)["error"]["what"]
    assert (tmp_path / "notes").read_text() == "mine"


def test_an_explanation_for_people_has_no_json_in_it_and_few_digits(call: Call, quick: QuickRun) -> None:
    said = call("explain", "CCC", "--playbook", quick.playbook).stdout
    assert not re.search(r'[{}"]|\d\.\d{7}', said)
    assert [str(n) for n in range(1, 8)] == re.findall(r"^(\d) [a-z]", said, re.MULTILINE)


def test_an_example_in_close_only_bars_has_no_none_in_it() -> None:
    found = {"symbol": "^VIX", "time": "2014-01-03T21:00:00Z", "check": "close-only", "detail": None}
    report = {"bars": 1, "symbols": 1, "excluded": 0, "counts": {"close-only": 1}, "examples": [found]}
    assert _text(report).endswith("^VIX  2014-01-03T21:00:00Z  close-only")


def test_the_package_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tradewind", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("tradewind ")


def test_an_unknown_option_is_a_usage_error(call: Call) -> None:
    assert call("backtest", "sample", "--nonsense").exit_code == 2


def test_a_value_that_no_json_can_hold_is_null() -> None:
    assert common.plain({"a": float("nan"), "b": [float("inf"), 1.0], "c": (1, None)}) == {
        "a": None,
        "b": [None, 1.0],
        "c": [1, None],
    }


# -- the open data and the sample ----------------------------------------------------------------------------

OPEN = Path(__file__).parents[2] / "../shared/data/papers"


SOME = ("mom", "ROC_5", "EMA_10", "GBP")  # all columns: tests/audit


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "columns", "options", "code", "guilty"),
    [
        ("samba_IXIC_LEAKY", ("Date", "Price", *SOME), ("--time", "Date", "--price", "Price"), 3, SOME[:3]),
        ("mambastock_600036", (), ("--time", "trade_date", "--target", "pct_chg"), 3, ("change",)),
        ("cnnpred_NASDAQ", ("Date", "Close", *SOME), ("--time", "Date", "--price", "Close"), 0, ()),
    ],
)
def test_foreign_tables_are_audited_as_the_issue_says(
    call: Call,
    tmp_path: Path,
    file: str,
    columns: tuple[str, ...],
    options: tuple[str, ...],
    code: int,
    guilty: tuple[str, ...],
) -> None:
    path = OPEN / f"{file}.parquet"
    if not path.is_file():
        pytest.skip(f"the open data are not beside the project: no {path}")
    pl.read_parquet(path, columns=list(columns) or None).write_parquet(tmp_path / "some.parquet")
    found = one_object(call("audit", "frame", tmp_path / "some.parquet", *options, "--json"), code=code)
    assert set(guilty) <= {leak["column"] for leak in found["leaks"]}
    assert bool(found["leaks"]) == (code == 3)
    assert all({"column", "lead", "effect", "evidence"} <= set(leak) for leak in found["leaks"])


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the sample playbook use its quickest model, through the environment."""
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "sample-home"))
    quickest = {"MODELS__USE": "naive_t", "MODELS__COMPARE": "[]", "FEATURES__INCLUDE": '["return_5"]'}
    quickest |= {"EVALUATION__BOOTSTRAP_SAMPLES": "100", "DECISION__CONFIDENCE_MIN": "0.5"}
    for key, value in quickest.items():
        monkeypatch.setenv(f"TRADEWIND__{key}", value)


@pytest.mark.usefixtures("light")
def test_the_demo_has_everything_that_must_show_and_a_back_test_of_the_sample_agrees_with_it(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "sample-home"))
    found = one_object(call("demo", "--json"))
    assert Path(found["report"]).is_file()
    assert found["seconds"] > 0
    assert found["as_of"] == "2013-03-01T21:00:00Z"
    assert {r["symbol"] for r in found["recommendations"]} == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    wanted = {"symbol", "action", "confidence", "entry", "target", "stop", "weight", "intervals", "reasons"}
    assert all(wanted <= set(r) for r in found["recommendations"])
    assert all({"nominal", "realised"} <= set(row) for row in found["coverage"].values())
    keys = {"sharpe", "sharpe_ci", "deflated_sharpe", "pbo", "max_drawdown", "trials", "baseline_sharpe"}
    assert keys <= set(found["track_record"])
    assert {"selection"} <= {flag["code"] for flag in found["red_flags"]}
    assert {row["verdict"] for row in found["targets"]} <= {"met", "not met", "cannot tell"}
    again = one_object(call("backtest", "sample", "--no-report", "--json"))
    for changing in ("run", "report", "seconds"):
        found.pop(changing), again.pop(changing, None)
    assert again == found
