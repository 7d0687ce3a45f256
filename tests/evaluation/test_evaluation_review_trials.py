"""Trials are compared over the very same bars, not over as many."""

from __future__ import annotations

from pathlib import Path

from spine_kit import QuickRun, workspace
from tradewind.evaluation.backtest import TrackRecord, backtest


def test_a_trial_over_as_many_other_bars_is_counted_but_not_compared(quick: QuickRun, home: Path) -> None:
    def run(**overrides: object) -> TrackRecord:
        used = workspace(quick.playbook, home, **overrides)
        record = backtest(used)
        used.records.close()
        return record

    times = quick.record.world.panel.times
    later = run(data__start=str(times[1])[:10], evaluation__min_train_bars=200)
    earlier = run(data__end=str(times[-2])[:10])
    assert len(later.simulations["base"].equity) == len(earlier.simulations["base"].equity)
    assert later.result["track_record"]["bars"] == earlier.result["track_record"]["bars"]
    assert earlier.result["track_record"]["trials"] == 3
    assert earlier.result["track_record"]["pbo"] is None
    assert "1 configuration tried on these bars" in earlier.result["track_record"]["pbo_reason"]
