"""Retraining in one call: what is judged on was not learnt from, a kill costs nothing, and twice is once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retrain_and_die import MOMENTS

from spine_kit import LEARNABLE, learnable, sessions, system, workspace
from tradewind.errors import DataError, InputError, RetryError
from tradewind.evaluation.model_registry import ModelRegistry, member_of, seats_of
from tradewind.evaluation.retraining import KIND, lines_of, retrain
from tradewind.evaluation.training import retraining_folds, train
from tradewind.evaluation.workspace import Workspace
from tradewind.market.store.lock import writer_lock
from tradewind.market.store.records import AliasChange, ModelDecision, ModelRecord, Records
from tradewind.models.artefact import TENSORS
from tradewind.models.state import pack

TWO = LEARNABLE.replace('use = "ridge"', 'use = "ensemble"') + '[ensemble]\nmembers = ["ridge", "naive_t"]\n'


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Return a playbook, a home in which it was retrained once, and what came of that."""
    folder = tmp_path_factory.mktemp("first")
    playbook = system(folder, learnable(), LEARNABLE)
    used = workspace(playbook, folder / "home", models__use='"naive_normal"')
    result = retrain(used)
    used.records.close()
    return playbook, folder / "home", result


@pytest.fixture
def desk(first: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> tuple[Path, Path]:
    """Return the playbook and a home of one's own, whose champion is a naive model."""
    return first[0], shutil.copytree(first[1], tmp_path / "home")


@pytest.fixture
def used(desk: tuple[Path, Path]) -> Iterator[Workspace]:
    made = workspace(*desk)
    yield made
    made.records.close()


def registry_of(used: Workspace) -> ModelRegistry:
    return ModelRegistry(used.home, used.records, used.clock)


def kept_in(home: Path) -> dict[str, int]:
    """Count what a retraining must not double."""
    records = Records(f"sqlite:///{home / 'records.sqlite'}")
    found = {
        "models": len(records.models()),
        "aliases": len(records.alias_changes()),
        "decisions": len(records.model_decisions("quick")),
        "artefacts": len(list((home / "models").glob("[!.]*"))),
        "reports": len(list((home / "retrain").glob("[!.]*"))),
        "done": sum(job.status == "done" for job in records.jobs(KIND)),
    }
    records.close()
    return found


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    seats = {seat: {k: v for k, v in told.items() if k != "at"} for seat, told in result["seats"].items()}
    ends = {name: result[name] for name in ("decision", "evidence", "champion", "cut", "data")}
    return {**ends, "seats": seats}


def test_the_first_model_of_a_seat_sits_down(first: tuple[Path, Path, dict[str, Any]]) -> None:
    _, home, result = first
    assert result["decision"] == "first" and list(result)[-3:] == ["decision", "evidence", "champion"]
    told = result["seats"]["quick"]
    assert told["champion"] == told["artefact"] == result["champion"]["quick"]
    assert kept_in(home) == {"models": 1, "aliases": 1, "decisions": 1, "artefacts": 1, "reports": 1, "done": 1}
    stored = json.loads(Path(result["report"]).read_text())
    assert stored["decision"] == "first" and stored["lines"] == lines_of(result)


def test_a_challenger_that_proves_better_is_promoted_and_twice_is_once(used: Workspace) -> None:
    before = registry_of(used).find("champion").id
    result = retrain(used)
    told = result["seats"]["quick"]
    assert result["decision"] == told["decision"] == "promoted", told["reasons"]
    assert told["champion"].startswith("ridge-") and told["champion_before"] == before and told["challenger"] is None
    row = told["evidence"]["horizons"]["1"]
    assert row["saved"] > 0.05 and row["p"] < told["evidence"]["threshold"]
    assert told["evidence"]["shadow"]["bars"] > 50 and told["evidence"]["direction"]["challenger"]["f1"] > 0.55
    (decision, *_) = used.records.model_decisions("quick")
    assert (decision.decision, decision.champion, decision.challenger) == ("promoted", before, told["champion"])
    counted = kept_in(used.home)
    again = retrain(used)
    assert again["repeated"] and without_times(again) == without_times(result)
    assert again["seats"] == result["seats"] and kept_in(used.home) == counted


def test_a_promotion_that_was_rolled_back_is_not_repeated_on_the_same_bars(used: Workspace) -> None:
    champion = retrain(used)["seats"]["quick"]
    registry_of(used).rollback("quick")
    told = retrain(used)["seats"]["quick"]
    assert told["decision"] == "kept" and told["champion"] == champion["champion_before"]
    assert "it was promoted on these bars" in told["reasons"][0]


def test_what_it_is_judged_on_was_not_learnt_from(tmp_path: Path) -> None:
    """Other prices on every unseen bar: the model that is stored is the same, to its last weight."""
    wild = learnable()
    newest = pl.col("date") >= pl.lit(sessions(520)[-61])
    moved = [
        pl.when(newest).then(pl.col(c) * 3).otherwise(pl.col(c)).alias(c) for c in ("open", "high", "low", "close")
    ]
    learnt, cuts = [], set()
    for name, table in (("plain", learnable()), ("wild", wild.with_columns(moved))):
        own = workspace(system(tmp_path / name, table, LEARNABLE), tmp_path / name / "home")
        result = retrain(own)
        learnt.append(pack(registry_of(own).artefact("champion").model()).tensors)
        cuts.add(result["cut"]["unseen_from"])
        own.records.close()
    assert learnt[0].keys() == learnt[1].keys() and len(learnt[0]) > 0
    for part, weights in learnt[0].items():
        np.testing.assert_array_equal(weights, learnt[1][part])
    assert cuts == {f"{sessions(520)[-61]}T20:00:00+00:00"}


@given(
    st.integers(60, 400),
    st.integers(20, 200),
    st.integers(5, 120),
    st.integers(0, 10),
    st.integers(1, 30),
    st.integers(0, 600),
)
def test_the_walk_of_a_retraining_never_shows_a_model_what_it_is_asked(
    least: int, unseen: int, refit: int, embargo: int, horizon: int, more: int
) -> None:
    from tradewind.evaluation.plan import Plan
    from tradewind.playbook import load

    settings = {"evaluation.min_train_bars": least, "evaluation.refit_bars": refit, "labels.embargo_bars": embargo}
    plan = Plan.of(load("sample", overrides=settings))
    bars = least + horizon + embargo + unseen + more
    folds = retraining_folds(plan, bars, (1, horizon), unseen)
    assert [int(row) for fold in folds for row in fold.test] == list(range(int(folds[0].test[0]), bars))
    assert int(folds[-1].test[0]) == bars - unseen
    for fold in folds:
        assert int(fold.train[-1]) + horizon + embargo < int(fold.test[0])
        assert len(fold.train) >= least
    with pytest.raises(DataError, match="too few for a retraining"):
        retraining_folds(plan, bars - more - 1, (1, horizon), unseen)


@pytest.fixture(scope="module")
def undisturbed(
    first: tuple[Path, Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what a retraining that nobody kills comes to, and what it keeps."""
    home = shutil.copytree(first[1], tmp_path_factory.mktemp("undisturbed") / "home")
    whole = workspace(first[0], home)
    result = retrain(whole)
    whole.records.close()
    return result, kept_in(home)


@pytest.mark.parametrize("moment", [name for name in MOMENTS if name != "never"])
def test_a_kill_at_any_step_costs_nothing(
    desk: tuple[Path, Path], undisturbed: tuple[dict[str, Any], dict[str, int]], moment: str
) -> None:
    (playbook, home), (expected, kept) = desk, undisturbed
    script = Path(__file__).parent / "retrain_and_die.py"
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": ":".join(paths)}
    died = subprocess.run(
        [sys.executable, str(script), str(playbook), str(home), moment], env=environment, check=False, timeout=300
    )
    assert died.returncode == -9
    again = workspace(playbook, home)
    result = retrain(again)
    again.records.close()
    assert without_times(result) == without_times(expected)
    assert kept_in(home) == kept


def test_a_model_that_was_fitted_before_the_kill_is_not_fitted_again(
    desk: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tradewind.evaluation import training
    from tradewind.models.ridge import Ridge

    used = workspace(*desk)
    fit, fits = Ridge.fit, []

    def counted(self: Ridge, windows: Any) -> Ridge:
        fits.append(len(windows.rows))
        return fit(self, windows)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Ridge, "fit", counted)
    with monkeypatch.context() as patched:
        patched.setattr(training, "store", die)
        with pytest.raises(KeyboardInterrupt):
            retrain(used)
    assert fits
    fits.clear()
    assert retrain(used)["decision"] == "promoted" and fits == []
    used.records.close()


def test_only_one_retraining_runs_in_a_home(used: Workspace) -> None:
    with (
        writer_lock(used.home / "retrain.lock", patience_seconds=0.0),
        pytest.raises(RetryError, match="another retrain"),
    ):
        retrain(used)


def test_two_at_once_are_one(desk: tuple[Path, Path]) -> None:
    came: list[object] = []
    begin = threading.Barrier(2)

    def run() -> None:
        own = workspace(*desk)
        begin.wait()
        try:
            came.append(retrain(own)["decision"])
        except RetryError as error:
            came.append(error)
        own.records.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert "promoted" in came
    assert kept_in(desk[1])["aliases"] == 2, "whoever came second was refused, or found it done"


def test_a_dry_run_says_it_and_does_nothing(used: Workspace) -> None:
    counted = kept_in(used.home)
    result = retrain(used, dry_run=True)
    assert result["decision"] == "promoted" and result["report"] is None
    after = kept_in(used.home)
    assert {name: after[name] for name in ("aliases", "decisions", "reports", "done")} == {
        name: counted[name] for name in ("aliases", "decisions", "reports", "done")
    }
    assert retrain(used)["seats"]["quick"]["evidence"] == result["seats"]["quick"]["evidence"]


def test_looks_at_the_same_days_are_counted_and_ask_for_more(desk: tuple[Path, Path]) -> None:
    """The champion is a good one; every other penalty is another challenger on the same days."""
    good = workspace(*desk)
    assert retrain(good)["decision"] == "promoted"
    good.records.close()
    told = []
    for penalty in (10.0, 1000.0, 10.0):
        other = workspace(*desk, **{"models.parameters.ridge.penalty": penalty})
        told.append(retrain(other)["seats"]["quick"])
        other.records.close()
    looks = [(one["evidence"]["looks"], one["evidence"]["threshold"]) for one in told]
    assert looks[:2] == [(1, pytest.approx(0.05 / 2)), (2, pytest.approx(0.05 / 6))]
    assert told[2]["evidence"] == told[0]["evidence"], "what was asked before is answered as before, and is no look"
    assert [one["decision"] for one in told] == ["kept"] * 3
    assert told[1]["challenger"] == told[1]["artefact"]


def test_a_challenger_that_learnt_what_the_champion_has_challenges_nobody(desk: tuple[Path, Path]) -> None:
    first = workspace(*desk)
    champion = retrain(first)["champion"]["quick"]
    first.records.close()
    again = workspace(*desk, **{"calibration.memory_step": "0.001"})
    told = retrain(again)["seats"]["quick"]
    assert told["decision"] == "kept" and told["champion"] == champion != told["artefact"]
    assert told["challenger"] is None and "exactly what the champion has" in told["reasons"][0]
    again.records.close()


def test_a_champion_whose_files_are_lost_leaves_its_seat(used: Workspace) -> None:
    champion = registry_of(used).find("champion").id
    (used.home / "models" / champion / TENSORS).unlink()
    told = retrain(used)["seats"]["quick"]
    assert told["decision"] == "promoted" and "cannot forecast any more" in told["reasons"][0]
    assert told["evidence"]["champion_unusable"] and not told["evidence"]["tested"]


def test_a_champion_of_other_features_leaves_its_seat_too(desk: tuple[Path, Path]) -> None:
    other = workspace(*desk, **{"features.include": '["rsi_14"]'})
    told = retrain(other)["seats"]["quick"]
    assert told["decision"] == "promoted" and "other features" in told["reasons"][0]
    other.records.close()


def test_it_knows_only_what_was_known_then(used: Workspace) -> None:
    day = datetime.fromisoformat(f"{sessions(520)[480]}T23:59:00+00:00")
    result = retrain(used, as_of=day)
    assert result["data"]["bars"] == 481
    told = result["seats"]["quick"]
    assert told["evidence"]["bars"]["to"] <= day.isoformat()
    assert told["decision"] == "kept" and "needed" in told["reasons"][0], (
        "the champion has learnt from all but 20 of them"
    )


def test_a_champion_that_knows_more_than_the_world_is_kept(used: Workspace) -> None:
    day = datetime.fromisoformat(f"{sessions(520)[400]}T23:59:00+00:00")
    told = retrain(used, as_of=day)["seats"]["quick"]
    assert told["decision"] == "kept" and "nothing is left to judge on" in told["reasons"][0]


def test_too_short_a_history_says_what_to_do(desk: tuple[Path, Path]) -> None:
    short = workspace(*desk, evaluation__min_train_bars="500")
    with pytest.raises(DataError, match="too few for a retraining") as error:
        retrain(short)
    assert "min_train_bars" in error.value.hint
    (job, *_) = short.records.jobs(KIND)
    assert job.status == "failed" and "too few" in job.detail["error"]
    short.records.close()


def test_a_failure_is_noted_in_its_job(used: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from tradewind.models.ridge import Ridge

    def refuse(*_: Any) -> None:
        raise DataError("nothing to learn from")

    with monkeypatch.context() as patched:
        patched.setattr(Ridge, "fit", refuse)
        with pytest.raises(DataError, match="nothing to learn from"):
            retrain(used)
    (job, *_) = used.records.jobs(KIND)
    assert (job.status, job.detail["error"]) == ("failed", "nothing to learn from")
    assert retrain(used)["decision"] == "promoted"


def test_a_job_that_died_over_older_data_is_over(used: Workspace) -> None:
    detail = {"lineage": "quick"}
    used.records.resume_job(KIND, "older", started=datetime(2026, 1, 1, tzinfo=UTC), detail=detail)
    retrain(used)
    by_key = {job.key: job for job in used.records.jobs(KIND)}
    assert by_key["older"].status == "failed" and "newer bars" in by_key["older"].detail["error"]


# -- seats ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Return a playbook that trades an ensemble, its home, and what its first retraining said."""
    folder = tmp_path_factory.mktemp("two")
    playbook = system(folder, learnable(), TWO)
    used = workspace(playbook, folder / "home")
    result = retrain(used)
    used.records.close()
    return playbook, folder / "home", result


@pytest.fixture
def both(seated: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> Iterator[Workspace]:
    made = workspace(seated[0], shutil.copytree(seated[1], tmp_path / "home"))
    yield made
    made.records.close()


def test_every_member_of_an_ensemble_has_a_champion_of_its_own(seated: tuple[Path, Path, dict[str, Any]]) -> None:
    _, _, result = seated
    assert set(result["champion"]) == {"quick/ridge", "quick/naive_t"} and result["decision"] == "first"
    for seat, told in result["seats"].items():
        assert told["model"] == member_of(seat) and told["champion"].startswith(f"{member_of(seat)}-")


def test_a_training_seats_the_members_of_an_ensemble(seated: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    fresh = workspace(seated[0], tmp_path / "home")
    report = train(fresh)
    assert {seat: state["champion"] for seat, state in report["seats"].items()} == {
        f"quick/{member}": told["artefact"] for member, told in report["models"]["ensemble"]["members"].items()
    }
    assert report["aliases"]["champion"] is None, "nobody sits in the seat of a single traded model"
    fresh.records.close()


def test_a_member_is_judged_with_the_others_as_they_are(both: Workspace) -> None:
    """Another ridge challenges ridge; in shadow both are combined with the other seat's champion."""
    own = workspace(both.plan.playbook.path, both.home, **{"models.parameters.ridge.penalty": 1000.0})
    result = retrain(own)
    told = result["seats"]["quick/ridge"]
    assert told["evidence"]["tested"] and told["evidence"]["shadow"]["bars"] > 50
    other = result["seats"]["quick/naive_t"]
    assert other["decision"] in ("kept", "first") and not other["evidence"]["tested"]
    own.records.close()


def test_a_seat_is_found_by_its_name_and_a_family_of_several_asks_which(both: Workspace) -> None:
    registry = registry_of(both)
    champion = registry.find("quick/ridge:champion")
    assert champion.model == "ridge" and registry.find("champion", "quick/ridge").id == champion.id
    for ask in (lambda: registry.find("champion"), lambda: registry.find("quick:champion"), registry.rollback):
        with pytest.raises(InputError, match="quick has 2 seats: quick/naive_t, quick/ridge"):
            ask()
    with pytest.raises(InputError, match="unknown seat 'quick/rigde'") as error:
        registry.find("quick/rigde:champion")
    assert "quick/ridge" in error.value.hint
    with pytest.raises(InputError, match="unknown model"):
        registry.promote(champion.id, "quick/naive_t")


def test_the_models_of_a_family_are_listed_with_their_seats(both: Workspace) -> None:
    registry = registry_of(both)
    rows = {row["model"]: row for row in registry.listed("quick")}
    assert rows["ridge"]["seats"] == {"champion": ["quick/ridge"]} and rows["ridge"]["aliases"] == ["champion"]
    assert [row["model"] for row in registry.listed("quick/ridge")] == ["ridge"]


def test_a_promotion_by_id_goes_to_the_models_own_seat(both: Workspace) -> None:
    own = workspace(both.plan.playbook.path, both.home, **{"models.parameters.ridge.penalty": 1000.0})
    made = retrain(own)["seats"]["quick/ridge"]["artefact"]
    registry = registry_of(own)
    before = registry.find("quick/ridge:champion").id
    assert registry.promote(made, reason="tried on paper", by="anna")["lineage"] == "quick/ridge"
    assert registry.rollback("quick/ridge") == {
        "lineage": "quick/ridge", "champion": before, "challenger": made, "champions_before": []
    }  # fmt: skip
    assert registry.state_of("quick/naive_t")["challenger"] is None
    back, forth, *_ = own.records.model_decisions("quick/ridge")
    assert (forth.decision, forth.champion, forth.challenger, forth.by) == ("promoted", before, made, "anna")
    assert forth.reasons == ["tried on paper"] and back.reasons == ["no reason was given"]
    assert (back.decision, back.champion, back.challenger, back.by) == ("rolled_back", made, before, "by hand")
    own.records.close()


def test_who_was_champion_at_a_moment_is_known(both: Workspace) -> None:
    registry, seat = registry_of(both), "quick/ridge"
    (change,) = both.records.alias_changes(seat)
    later = [timedelta(hours=1), timedelta(hours=2)]
    for at, model in zip(later, (registry.find("quick/naive_t:champion").id, change.model), strict=True):
        moved = AliasChange(seat, "champion", model, change.at + at, "promote")
        both.records.change_aliases(seat, lambda _, moved=moved: [moved])
    assert registry.champion_at(seat, change.at - timedelta(seconds=1)) is None
    assert registry.champion_at(seat, change.at) == change.model
    assert str(registry.champion_at(seat, change.at + later[0])).startswith("naive_t-")
    assert registry.champion_at(seat, change.at + later[1] + timedelta(days=1)) == change.model


def test_a_decision_over_another_champion_is_not_carried_out(both: Workspace) -> None:
    """Somebody rolled back between the judgement and the promotion."""
    own = workspace(both.plan.playbook.path, both.home, **{"models.parameters.ridge.penalty": 1000.0})
    made = retrain(own)["seats"]["quick/ridge"]["artefact"]
    registry, seat = registry_of(own), "quick/ridge"
    stale = ModelDecision(seat, own.clock.now(), "promoted", "somebody-else", made, ["better"], {}, "test")
    before = registry.state_of(seat)
    with pytest.raises(RetryError, match="another champion since somebody-else was judged"):
        registry.promote(made, seat, decision=stale)
    assert registry.state_of(seat) == before
    assert all(one.decision != "promoted" for one in own.records.model_decisions(seat)), "nor is it recorded"
    own.records.close()


def test_promotions_in_two_seats_at_once_do_not_meet(tmp_path: Path) -> None:
    records = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for name in ("a", "b"):
        records.record_model(ModelRecord(name, "family", name, "1", at, at, "d"))

    def sit(name: str) -> None:
        own = Records(f"sqlite:///{tmp_path / 'records.sqlite'}")
        seat = f"family/{name}"

        def decide(known: list[AliasChange]) -> list[AliasChange]:
            return [AliasChange(seat, "champion", name, at, "promote")] * (len(known) < 10)

        for _ in range(10):
            own.change_aliases(seat, decide)
        own.close()

    threads = [threading.Thread(target=sit, args=(name,)) for name in ("a", "b") * 2]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [len(records.alias_changes(f"family/{name}")) for name in ("a", "b")] == [10, 10]
    assert records.seats("family") == ["family/a", "family/b"] and records.alias_changes("family") == []
    records.close()


def test_a_lineage_cannot_look_like_a_seat(desk: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="lineage"):
        workspace(*desk, **{"playbook.lineage": '"a/b"'})


@pytest.mark.parametrize("use", ["ridge", "ensemble"])
def test_the_seats_of_a_plan_are_its_models(desk: tuple[Path, Path], use: str) -> None:
    own = workspace(*desk, **{"models.use": f'"{use}"', "ensemble.members": '["ridge", "naive_t"]'})
    expected = {"quick": "ridge"} if use == "ridge" else {"quick/ridge": "ridge", "quick/naive_t": "naive_t"}
    assert seats_of(own.plan) == expected


NETWORKS = """
[models.parameters.lstm]
window_bars = 10
width = 8
epochs = 1
epoch_windows = 128
[models.parameters.transformer]
width = 8
window_bars = 10
epochs = 1
epoch_windows = 128
"""


def test_two_networks_that_must_agree_are_retrained_judged_and_ready_to_serve(tmp_path: Path) -> None:
    """Barrier classes, an exported file of each, and the shadow account under dual confirmation."""
    text = (
        LEARNABLE.replace('use = "ridge"', 'use = "ensemble"')
        .replace("horizons_bars = [1, 5]", "horizons_bars = [1, 5]\nbarriers = true")
        .replace("[decision]\n", '[decision]\nrule = "dual_confirmation"\n')
    )
    playbook = system(tmp_path, learnable(), text + '[ensemble]\nmembers = ["lstm", "transformer"]\n' + NETWORKS)
    used = workspace(playbook, tmp_path / "home")
    result = retrain(used)
    assert result["decision"] == "first" and set(result["champion"]) == {"quick/lstm", "quick/transformer"}
    rows = registry_of(used).listed("quick")
    assert all("onnx" in row["exports"] for row in rows)
    used.records.close()
    other = workspace(playbook, tmp_path / "home", **{"models.seed": "5"})
    told = retrain(other)["seats"]
    for one in told.values():
        assert one["evidence"]["tested"] and one["evidence"]["direction"]["event"] == "which barrier is touched first"
        assert one["evidence"]["horizons"]["1"]["log_score"]["champion"] > 0
        assert one["evidence"]["shadow"]["bars"] > 50
    other.records.close()
