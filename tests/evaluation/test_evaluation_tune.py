"""A search sees nothing of the test, counts every trial, refuses what cannot be, and goes on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spine_kit import BARS, PLAYBOOK, prices, sessions, system, workspace
from tradewind.errors import DataError, InputError, PlaybookError, RetryError
from tradewind.evaluation import corridor
from tradewind.evaluation.backtest import backtest
from tradewind.evaluation.track_record import Trials, deflated
from tradewind.evaluation.tuning import search as search_module
from tradewind.evaluation.tuning import study
from tradewind.evaluation.tuning.rewrite import fragment, rewritten
from tradewind.evaluation.tuning.search import tune
from tradewind.evaluation.tuning.study import Judged
from tradewind.market.store.lock import writer_lock
from tradewind.models.base import MODELS

FIRST_TEST = 200 + 5 + 1
"""Training bars, longest horizon and embargo of the quick playbook."""

PENALTY = '"models.parameters.ridge.penalty" = { low = 1.0, high = 1e5, log = true }'
SCRIPT = Path(__file__).with_name("tune_and_die.py")


def book(ranges: str = PENALTY, more: str = "", body: str = PLAYBOOK) -> str:
    return f"{body}\n[tune]\ntrials = 6\nstartup_trials = 3\n{more}\n[tune.ranges]\n{ranges}\n"


def search(folder: Path, text: str | None = None, home: str = "home", **named: Any) -> dict[str, Any]:
    used = workspace(system(folder, playbook=text or book()), folder / home)
    result = tune(used, **named)
    used.records.close()
    return result


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return search(tmp_path_factory.mktemp("found"))


# -- what it does ------------------------------------------------------------------------------------------


def test_the_playbook_as_it_stands_is_judged_first_and_the_best_is_no_worse(found: dict[str, Any]) -> None:
    first, best = found["trials"][0], found["best"]
    assert first["settings"] == {} and first == found["as_it_stands"]
    assert best["value"] <= first["value"]
    assert best["value"] == min(t["value"] for t in found["trials"] if t["state"] == "complete")
    assert len(found["trials"]) == 6
    assert all(1.0 <= t["settings"]["models.parameters.ridge.penalty"] <= 1e5 for t in found["trials"][1:])


def test_two_searches_with_one_seed_are_equal_and_another_seed_is_another_search(
    found: dict[str, Any], tmp_path: Path
) -> None:
    assert search(tmp_path / "again")["trials"] == found["trials"]
    other = search(tmp_path / "other", book(more="seed = 8"))
    assert other["trials"][0]["value"] == found["trials"][0]["value"]
    assert other["trials"][1:] != found["trials"][1:]


def test_the_same_search_again_judges_nothing_and_a_longer_one_goes_on(
    found: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = search(tmp_path, trials=4)
    assert short["trials"] == found["trials"][:4]
    assert search(tmp_path, trials=6)["trials"] == found["trials"], "going on is as never having stopped"
    monkeypatch.setattr(search_module.Search, "_next", lambda *_: pytest.fail("there is nothing left to judge"))
    assert search(tmp_path)["trials"] == found["trials"]


def test_another_value_in_the_playbook_is_another_search_and_another_description_is_not(tmp_path: Path) -> None:
    def key(text: str) -> str:
        return str(search(tmp_path, text, dry_run=True)["study"])

    own = key(book())
    assert key(book(body=PLAYBOOK.replace("Four invented stocks", "A few stocks"))) == own
    assert key(book().replace("trials = 6", "trials = 60")) == own
    assert key(book(body=PLAYBOOK.replace('"rsi_14"', '"rsi_14", "return_5"'))) != own
    assert key(book(more="folds = 2")) != own
    assert key(book(PENALTY.replace("1e5", "1e4"))) != own


def test_a_small_space_is_searched_once_and_then_it_is_over(tmp_path: Path) -> None:
    result = search(tmp_path, book('"evaluation.train_stride_bars" = { low = 1, high = 3 }'))
    assert result["exhausted"] and len(result["trials"]) == 3
    assert [t["settings"].get("evaluation.train_stride_bars", 1) for t in result["trials"]].count(1) == 1


def test_a_trial_worse_than_the_median_so_far_is_pruned_and_still_counted(tmp_path: Path) -> None:
    ranges = '"models.parameters.ridge.penalty" = { low = 1e-6, high = 1e6, log = true }'
    result = search(tmp_path, book(ranges), trials=14)
    pruned = [t for t in result["trials"] if t["state"] == "pruned"]
    assert pruned and result["counts"]["pruned"] == len(pruned)
    assert all(len(t["blocks"]) < 3 and t["value"] is None and t["sharpe"] is None for t in pruned)
    assert result["lineage_trials"] == 14
    whole = search(tmp_path / "whole", book(ranges, more="prune = false"), trials=8)
    assert whole["counts"]["pruned"] == 0


@pytest.mark.parametrize("objective", ["crps", "rank_ic", "sharpe"])
def test_every_objective_has_its_direction(objective: str, tmp_path: Path) -> None:
    result = search(tmp_path, book(more=f'objective = "{objective}"'), trials=4)
    values = [t["value"] for t in result["trials"] if t["state"] == "complete"]
    assert result["best"]["value"] == (min(values) if objective == "crps" else max(values))
    if objective == "sharpe":
        assert result["best"]["sharpe"] == result["best"]["value"]


def test_what_a_book_does_is_searched_by_its_sharpe_ratio(tmp_path: Path) -> None:
    ranges = '"decision.confidence_min" = { low = 0.5, high = 0.6 }\n"decision.every_bars" = { choices = [1, 2, 5] }'
    result = search(tmp_path, book(ranges, more='objective = "sharpe"'), trials=5)
    assert {t["settings"]["decision.every_bars"] for t in result["trials"][1:]} <= {1, 2, 5}
    assert len({t["sharpe"] for t in result["trials"]}) > 1


def test_lists_can_be_chosen_and_models_too(tmp_path: Path) -> None:
    ranges = '"features.include" = { choices = [["rsi_14", "price"], ["return_5"]] }\n'
    result = search(tmp_path, book(ranges + '"models.use" = { choices = ["ridge", "naive_t"] }'), trials=4)
    assert len(result["trials"]) == 4
    both = {(tuple(t["settings"]["features.include"]), t["settings"]["models.use"]) for t in result["trials"][1:]}
    assert len(both) == 3, "the fourth is the playbook as it stands"


# -- nothing of the test is seen ---------------------------------------------------------------------------


def another_future(first: int) -> pl.DataFrame:
    """Return the quick market with other bars from row ``first`` on."""
    table, other, days = prices(), prices(seed=99), sessions(BARS)
    late = set(days[first:])
    return pl.concat([table.filter(~pl.col("date").is_in(late)), other.filter(pl.col("date").is_in(late))])


def tuned_on(table: pl.DataFrame, folder: Path) -> dict[str, Any]:
    used = workspace(system(folder, table, book()), folder / "home")
    result = tune(used, trials=4)
    used.records.close()
    return result


def test_another_test_period_changes_not_one_digit_of_a_search(tmp_path: Path) -> None:
    here = tuned_on(prices(), tmp_path / "here")
    there = tuned_on(another_future(FIRST_TEST), tmp_path / "there")
    assert there["trials"] == here["trials"]
    assert there["period"] == here["period"]
    earlier = tuned_on(another_future(FIRST_TEST - 1), tmp_path / "earlier")
    assert earlier["trials"] != here["trials"], "the last bar before the test is learnt from: this test can fail"


def test_the_search_ends_on_the_bar_before_the_first_test_block_of_the_back_test(tmp_path: Path) -> None:
    used = workspace(system(tmp_path, playbook=book()), tmp_path / "home")
    result = tune(used, dry_run=True)
    record = backtest(used)
    used.records.close()
    days = [str(day)[:10] for day in record.world.panel.times]
    assert result["period"]["to"] == days[FIRST_TEST - 1]
    assert result["period"]["test_from"] == days[FIRST_TEST] == record.result["period"]["out_of_sample_from"]
    assert result["period"]["blocks"][-1]["to"] == days[FIRST_TEST - 1]
    firsts = [days.index(block["from"]) for block in result["period"]["blocks"]]
    assert all(b["train_bars"] + 5 + 1 == at for b, at in zip(result["period"]["blocks"], firsts, strict=True))


def test_a_search_may_end_earlier_and_never_later(tmp_path: Path) -> None:
    days = sessions(BARS)
    early = search(tmp_path, book(more=f"until = {days[180]}"), dry_run=True)
    assert early["period"]["to"] == days[180]
    with pytest.raises(PlaybookError, match=r"tune.until = .* lies in the test period"):
        search(tmp_path, book(more=f"until = {days[FIRST_TEST]}"), dry_run=True)


def test_too_few_bars_before_the_test_are_said(tmp_path: Path) -> None:
    short = PLAYBOOK.replace("min_train_bars = 200", "min_train_bars = 70")
    with pytest.raises(DataError, match="too few to search in"):
        search(tmp_path, book(body=short))


# -- every trial counts ------------------------------------------------------------------------------------


def test_every_trial_deflates_the_back_test_that_comes_after(tmp_path: Path) -> None:
    text = book()
    alone = workspace(system(tmp_path, playbook=text), tmp_path / "alone")
    before = backtest(alone).result["track_record"]
    alone.records.close()
    used = workspace(system(tmp_path, playbook=text), tmp_path / "home")
    result = tune(used)
    record = backtest(used).result["track_record"]
    used.records.close()
    assert result["lineage_trials"] == 6
    assert (before["trials"], record["trials"]) == (1, 7)
    assert record["sharpe"] == before["sharpe"]
    assert record["deflated_sharpe"] < before["deflated_sharpe"]


def test_a_trial_is_counted_before_its_result_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = workspace(system(tmp_path, playbook=book()), tmp_path / "home")

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search_module.Search, "_judge", power_cut)
    with pytest.raises(KeyboardInterrupt):
        tune(used)
    assert len(used.records.trials("quick")) == 1
    used.records.close()


def test_a_trial_without_a_sharpe_ratio_counts_as_one_without_skill() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, 500)
    near = (0.50, 0.51)
    two = deflated(returns, Trials(2, near, ()), 252.0)
    searched = deflated(returns, Trials(102, near, ()), 252.0)
    skill_less = deflated(returns, Trials(102, (), ()), 252.0)
    assert skill_less < searched < two
    assert searched - skill_less < 0.05 * two, "a hundred trials cannot hide behind two that are alike"


def test_a_failed_trial_is_recorded_counted_and_does_not_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = MODELS.factory("ridge").fit

    def refuses_large(self: Any, windows: Any) -> Any:
        if self.penalty > 500.0:
            raise ValueError("the solver has had enough")
        return fit(self, windows)

    monkeypatch.setattr(MODELS.factory("ridge"), "fit", refuses_large)
    result = search(
        tmp_path,
        book(body=PLAYBOOK.replace("[decision]", "[models.parameters.ridge]\npenalty = 10.0\n\n[decision]", 1)),
    )
    failed = [t for t in result["trials"] if t["state"] == "failed"]
    assert failed and all("the solver has had enough" in t["error"] for t in failed)
    assert result["counts"]["failed"] == len(failed)
    assert result["lineage_trials"] == len(result["trials"]) == 6


def test_a_playbook_that_cannot_be_judged_as_it_stands_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise DataError("no bars")

    monkeypatch.setattr(MODELS.factory("ridge"), "fit", refuses)
    with pytest.raises(DataError, match="no bars"):
        search(tmp_path)


def test_a_full_disk_ends_the_search_and_is_no_failed_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RetryError("no space left")

    search(tmp_path, trials=2)
    monkeypatch.setattr(corridor, "forecast_out_of_sample", full)
    with pytest.raises(RetryError):
        search(tmp_path)
    monkeypatch.undo()
    assert search(tmp_path)["counts"]["failed"] == 0


# -- killed ------------------------------------------------------------------------------------------------


def die(playbook: Path, home: Path, at: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-B", str(SCRIPT), str(playbook), str(home), str(at), "6"]
    return subprocess.run(command, text=True, capture_output=True, env=environment, check=False)


@pytest.mark.skipif(os.name == "nt", reason="there is no kill -9 on Windows")
def test_killed_in_the_middle_of_a_trial_it_goes_on_as_if_nothing_had_been(
    found: dict[str, Any], tmp_path: Path
) -> None:
    playbook, home = system(tmp_path, playbook=book()), tmp_path / "home"
    for at in (9, 5):
        killed = die(playbook, home, at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    (file,) = (home / "tune").glob("*/study.json")
    left = json.loads(file.read_text())["trials"]
    assert 0 < len(left) < 6
    result = search(tmp_path)
    assert result["trials"] == found["trials"]
    assert result["lineage_trials"] == 6, "the trial that was killed is tried again, not counted again"


def test_two_searches_of_one_study_do_not_run_at_once(tmp_path: Path) -> None:
    key = search(tmp_path, dry_run=True)["study"]
    with writer_lock(tmp_path / "home" / "tune" / key / "writer.lock", patience_seconds=0.0), pytest.raises(RetryError):
        search(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"trials": [{"number": 0}]}', '{"trials": 3}'])
def test_a_damaged_study_is_said_and_never_half_read(text: str, tmp_path: Path) -> None:
    (tmp_path / study.FILE).write_text(text)
    with pytest.raises(DataError, match="damaged"):
        study.read(tmp_path)


@given(
    st.lists(
        st.builds(
            Judged,
            number=st.integers(0, 99),
            settings=st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.text()),
            state=st.sampled_from(["complete", "pruned", "failed"]),
            value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
            blocks=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
            sharpe=st.none() | st.floats(-9, 9),
            error=st.none() | st.text(),
        )
    )
)
def test_a_study_that_was_written_is_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, trials: list[Judged]
) -> None:
    folder = tmp_path_factory.mktemp("study")
    study.write(folder, {"study": "key"}, trials)
    assert study.read(folder) == trials


# -- what is refused ---------------------------------------------------------------------------------------

REFUSED = {
    '"modls.parameters.ridge.penalty" = { low = 1.0, high = 2.0 }': "did you mean.*models",
    '"models.parameters.rigde.penalty" = { low = 1.0, high = 2.0 }': "did you mean.*ridge",
    '"models.parameters.ridge.penality" = { low = 1.0, high = 2.0 }': "did you mean.*penalty",
    '"models.parameters.ridge" = { low = 1.0, high = 2.0 }': "names a model, not a parameter",
    '"calibration" = { low = 1.0, high = 2.0 }': "is a section, not a setting",
    '"calibration.covrage" = { low = 0.5, high = 0.9 }': "did you mean.*coverage",
    '"calibration.coverage.low" = { low = 0.5, high = 0.9 }': "has no parts",
    '"calibration.coverage" = { low = 0.9, high = 0.5 }': "must be below",
    '"calibration.coverage" = { low = 0.5, high = 0.5 }': "must be below",
    '"calibration.coverage" = { low = 0.5, high = 1.5 }': "less than 0.99",
    '"calibration.coverage" = { low = 0.1, high = 0.9 }': "greater than 0.2",
    '"calibration.coverage" = { low = 0.5 }': "low = .*high = ",
    '"calibration.coverage" = { lo = 0.5, high = 0.9 }': "did you mean 'low'",
    '"calibration.coverage" = 0.5': "dictionary",
    '"calibration.coverage" = { low = 0.5, high = 0.9, choices = [0.5, 0.6] }': "choices stand alone",
    '"calibration.coverage" = { choices = [0.5] }': "two or more",
    '"calibration.coverage" = { choices = [0.5, 0.5] }': "each once",
    '"calibration.coverage" = { low = true, high = 0.9 }': "is a number",
    '"calibration.coverage" = { low = 0.5, high = 0.9, step = 0.3 }': "whole steps",
    '"calibration.method" = { choices = ["none", "adaptiv"] }': "adaptiv",
    '"calibration.folds" = { low = 2.5, high = 9.0 }': "whole number",
    '"calibration.symbol_limit" = { low = 0.0, high = 1.0, log = true }': "log wants low above 0",
    '"evaluation.train_stride_bars" = { low = 0, high = 4 }': "greater than or equal to 1",
    '"evaluation.min_train_bars" = { low = 100, high = 200 }': "part of the question",
    '"labels.horizons_bars" = { choices = [[1, 5], [1, 5, 20]] }': "part of the question",
    '"labels.embargo_bars" = { low = 0, high = 9 }': "part of the question",
    '"models.parameters.ridge.levels" = { choices = [[0.1, 0.5, 0.9], [0.2, 0.5, 0.8]] }': "part of the question",
    '"execution.spread_bps" = { low = 0.0, high = 9.0 }': "part of the question",
    '"universe.symbols" = { choices = [["AAA"], ["BBB"]] }': "part of the question",
    '"models.seed" = { low = 0, high = 99 }': "luck",
    '"models.parameters.ridge.seed" = { low = 0, high = 99 }': "luck",
    '"models.parameters.har.seed" = { low = 0, high = 99 }': "luck",
    '"models.parameters.lightgbm_quantile.trees" = { low = 9, high = 99 }': "not traded on",
    '"models.use" = { choices = ["ridge", "bridge"] }': "did you mean.*ridge",
    '"decision.confidence_min" = { low = 0.5, high = 0.6 }': "changes nothing that pinball measures",
}


@pytest.mark.parametrize("ranges", REFUSED)
def test_a_range_that_cannot_be_is_refused_with_its_line_before_anything_runs(ranges: str, tmp_path: Path) -> None:
    path = system(tmp_path, playbook=book(ranges))
    with pytest.raises(InputError) as refused:
        tune(workspace(path, tmp_path / "home"))
    said = f"{refused.value.what} {refused.value.hint}"
    assert re.search(REFUSED[ranges], said), said
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if text == ranges)
    assert f"quick.toml:{line}" in said
    assert not (tmp_path / "home").exists(), "nothing was synced for it"


def test_a_playbook_without_ranges_is_told_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"declares nothing to search") as refused:
        search(tmp_path, PLAYBOOK)
    assert "[tune.ranges]" in refused.value.hint


def test_tables_of_tables_name_a_setting_as_well(tmp_path: Path) -> None:
    tables = f"{PLAYBOOK}\n[tune]\ntrials = 6\nstartup_trials = 3\n[tune.ranges.models.parameters.ridge]\n"
    nested = search(tmp_path, tables + "penalty = { low = 1.0, high = 1e5, log = true }\n", dry_run=True)
    assert nested["study"] == search(tmp_path, dry_run=True)["study"]


def test_without_optuna_the_answer_is_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError) as refused:
        search(tmp_path)
    assert refused.value.hint == "pip install 'tradewind[tune]'"


# -- what is written ---------------------------------------------------------------------------------------


def at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "decision.every_bars",
                "models.use",
                "models.parameters.ridge.penalty",
                "sizing.method",
                "limits.position_max",
            ]
        ),
        st.integers(0, 9)
        | st.floats(0, 1e6)
        | st.booleans()
        | st.text("abc #\"'\\", max_size=8)
        | st.lists(st.integers()),
        min_size=1,
    )
)
def test_a_rewritten_playbook_says_the_new_values_and_all_that_it_said_before(settings: dict[str, Any]) -> None:
    text = PLAYBOOK.replace("every_bars = 2", "every_bars = 2 # twice a week").replace('use = "ridge"', "use='#' # s")
    said, before = tomllib.loads(rewritten(text, settings)), tomllib.loads(text)
    assert all(at(said, key) == value for key, value in settings.items())
    assert tomllib.loads(fragment(settings))
    kept = {"decision.horizon_bars", "data.source", "models.compare", "limits.position_max"} - set(settings)
    assert all(at(said, key) == at(before, key) for key in kept)


def test_comments_stay_where_a_value_changes() -> None:
    text = rewritten("[decision]\nevery_bars = 2 # twice a week\n", {"decision.every_bars": 5})
    assert text == "[decision]\nevery_bars = 5 # twice a week\n"


def test_a_layout_that_cannot_be_changed_by_lines_is_left_alone() -> None:
    with pytest.raises(InputError, match="line by line") as refused:
        rewritten("models = { use = 'ridge' }\n", {"models.parameters.ridge.penalty": 3.0})
    assert "[models.parameters.ridge]\npenalty = 3.0" in refused.value.hint
    with pytest.raises(InputError, match="line by line"):
        rewritten("[features]\ninclude = [\n  'a',\n]\n", {"features.include": ["b"]})
