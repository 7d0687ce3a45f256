"""Running corridors and decisions about models: kept once, together with what they changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from store_kit import RECORDED

from tradewind.market.store.records import AliasChange, LiveSession, ModelDecision, ModelRecord, Prediction, Records

SESSION = LiveSession("live-1", "dual-model", "hash", "PAPER", "synthetic", RECORDED, detail={"origin": ["synthetic"]})
DECISION = ModelDecision(
    "dual/lstm", RECORDED, "promoted", "lstm-a", "lstm-b", ["it saves 3 %"], {"looks": 1}, "nightly", "key-1"
)


def test_a_corridor_is_there_from_its_start_and_stops_once(records: Records) -> None:
    records.record_live_session(SESSION)
    later = replace(SESSION, id="live-2", playbook="sample", started=RECORDED + timedelta(hours=1))
    records.record_live_session(later)
    assert records.live_sessions() == [later, SESSION] and records.live_sessions("sample") == [later]
    records.stop_live_session("live-1", at=RECORDED + timedelta(hours=2))
    assert records.live_sessions("dual-model") == [replace(SESSION, stopped=RECORDED + timedelta(hours=2))]


def test_the_same_question_is_decided_once(records: Records) -> None:
    records.record_decision(DECISION)
    records.record_decision(replace(DECISION, decision="kept"))
    assert records.model_decisions("dual/lstm") == [DECISION]
    for _ in range(2):  # without a key each is one of its own: a roll-back
        records.record_decision(replace(DECISION, decision="rolled_back", key=None))
    assert [one.decision for one in records.model_decisions("dual/lstm")] == ["rolled_back", "rolled_back", "promoted"]
    assert len(records.model_decisions("dual/lstm", limit=1)) == 1 and records.model_decisions("dual") == []


def test_a_decision_and_its_promotion_are_stored_together_or_not_at_all(records: Records) -> None:
    records.record_model(ModelRecord("lstm-b", "dual", "lstm", "1", RECORDED, RECORDED, "d"))
    change = AliasChange("dual/lstm", "champion", "lstm-b", RECORDED, "promote")

    def refuse(_: list[AliasChange]) -> list[AliasChange]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        records.change_aliases("dual/lstm", refuse, DECISION)
    assert records.model_decisions("dual/lstm") == []
    records.change_aliases("dual/lstm", lambda _: [change], DECISION)
    assert records.model_decisions("dual/lstm") == [DECISION] and records.alias_changes("dual/lstm") == [change]
    assert records.seats("dual") == ["dual/lstm"] and records.seats("du") == []


def test_forecasts_are_counted_and_read_by_seat_and_run(records: Records) -> None:
    made = [
        Prediction(run, "AAA", RECORDED + timedelta(days=day), "log_return:lstm", 1, {"0.5": 0.1}, seat=seat)
        for run in ("live-1", "live-2")
        for day in range(3)
        for seat in ("dual/lstm",)
    ]
    records.record_predictions(made)
    records.resolve(made[0], 0.2, at=RECORDED)
    assert records.count_predictions("dual/lstm") == (6, 1)
    assert records.count_predictions("dual/lstm", runs=["live-2"]) == (3, 0)
    (known,) = records.predictions_of("dual/lstm", resolved=True)
    assert (known.outcome, known.resolved_at, known.seat) == (0.2, RECORDED, "dual/lstm")
    newest = records.predictions_of("dual/lstm", runs=["live-1"], limit=2)
    assert [one.time for one in newest] == [RECORDED + timedelta(days=day) for day in (1, 2)], "oldest first"
    assert len(records.unresolved(until=RECORDED + timedelta(days=9), runs=["live-2"])) == 3
    assert len(records.unresolved(until=RECORDED + timedelta(days=9))) == 5


def test_outcomes_of_several_targets_are_stored_each_with_its_own_and_the_first_stays(records: Records) -> None:
    targets = ("log_return", "log_return:lstm", "log_return:transformer")
    made = [Prediction("live-1", s, RECORDED, t, h) for s in ("AAA", "BBB") for h in (1, 5) for t in targets]
    records.record_predictions([*made, *(replace(one, run="live-2") for one in made)])
    records.resolve(made[1], 0.9, at=RECORDED)
    came = {("AAA", 1): 0.1, ("AAA", 5): -0.2, ("BBB", 1): 0.1}
    outcomes = [(m, came[m.symbol, m.horizon_bars]) for m in made if (m.symbol, m.horizon_bars) in came]
    records.resolve_all([*outcomes, (made[-1], 0.7)], at=RECORDED + timedelta(days=1))
    expected = {(m.symbol, m.horizon_bars, m.target): outcome for m, outcome in [*outcomes, (made[-1], 0.7)]}
    expected["AAA", 1, "log_return:lstm"] = 0.9
    found = {(p.symbol, p.horizon_bars, p.target): p.outcome for p in records.predictions("live-1")}
    assert {key: outcome for key, outcome in found.items() if outcome is not None} == expected
    assert {p.outcome for p in records.predictions("live-2")} == {None}


def test_a_jobs_detail_is_changed_value_by_value(records: Records) -> None:
    job = records.resume_job("retrain", "key", started=RECORDED, detail={"lineage": "dual", "done": 0})
    records.update_job(job, done=2, phase="train")
    (found,) = records.jobs("retrain")
    assert found.detail == {"lineage": "dual", "done": 2, "phase": "train"}
