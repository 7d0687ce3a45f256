"""Splits, fills, membership and vintages are checked on what was recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_kit import panel_of
from hypothesis import given
from hypothesis import strategies as st

from tradewind.audit import (
    FillRecord,
    Membership,
    audit_fills,
    audit_splits,
    audit_universe,
    audit_vintages,
)
from tradewind.errors import DataError
from tradewind.labels.splits import walk_forward
from tradewind.market.panel import Panel

BARS = 200
TIMES = np.datetime64("2015-01-01T21:00", "us") + np.arange(BARS) * np.timedelta64(1, "D")
END = np.arange(BARS) + 5


def rows(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype=np.int64)


def test_training_labels_that_reach_into_the_test_are_named_with_their_first_time() -> None:
    (finding,) = audit_splits([(rows(0, 100), rows(100, 120))], END, TIMES)
    assert (finding.subject, finding.column, finding.how) == ("splits", "fold 0", "overlap")
    assert finding.first_time == "2015-04-06T21:00:00Z"  # row 95: its label ends on row 100
    assert finding.difference == 5.0


def test_a_purged_split_is_clean_and_an_embargo_asks_for_more() -> None:
    purged = [(rows(0, 95), rows(100, 120))]
    assert audit_splits(purged, END, TIMES) == []
    assert len(audit_splits(purged, END, TIMES, embargo_bars=3)) == 1
    assert audit_splits([(rows(0, 92), rows(100, 120))], END, TIMES, embargo_bars=3) == []


def test_training_after_a_test_stretch_must_wait_for_its_labels() -> None:
    assert len(audit_splits([(rows(122, 150), rows(100, 120))], END, TIMES)) == 1
    assert audit_splits([(rows(125, 150), rows(100, 120))], END, TIMES) == []


def test_rows_in_both_sets_are_found() -> None:
    found = audit_splits([(rows(0, 20), rows(19, 30))], np.arange(BARS), TIMES)
    assert "both training and test" in found[0].evidence


@given(st.integers(1, 10), st.integers(0, 10), st.integers(5, 40), st.integers(20, 60))
def test_our_walk_forward_never_overlaps(horizon: int, embargo: int, test: int, train: int) -> None:
    folds = walk_forward(BARS, min_train_bars=train, test_bars=test, longest_horizon_bars=horizon, embargo_bars=embargo)
    pairs = [(fold.train, fold.test) for fold in folds]
    assert audit_splits(pairs, np.arange(BARS) + horizon, TIMES, embargo_bars=embargo) == []


@given(st.integers(1, 10), st.integers(1, 10))
def test_a_walk_forward_with_too_short_a_purge_is_always_found(horizon: int, lack: int) -> None:
    folds = walk_forward(BARS, min_train_bars=40, test_bars=20, longest_horizon_bars=horizon)
    longer = np.arange(BARS) + horizon + lack
    assert audit_splits([(fold.train, fold.test) for fold in folds], longer, TIMES)


@pytest.fixture(scope="module")
def panel() -> Panel:
    whole = panel_of(np.random.default_rng(1), bars=BARS)
    full = np.ones_like(whole.mask)
    fields = {name: np.where(np.isfinite(v), v, np.nanmedian(v)) for name, v in whole.fields.items()}
    return replace(whole, mask=full, fields=fields)


def fills(panel: Panel, decided: list[int], filled: list[int], price: list[float]) -> FillRecord:
    return FillRecord(np.array(decided), np.array(filled), np.zeros(len(decided), dtype=np.int64), np.array(price))


def test_fills_at_the_next_open_are_clean(panel: Panel) -> None:
    at = np.arange(10, 20)
    record = FillRecord(at - 1, at, np.zeros(10, dtype=np.int64), panel.open[at, 0])
    assert audit_fills(record, panel) == []


def test_a_fill_on_the_bar_of_its_decision_is_found(panel: Panel) -> None:
    record = fills(panel, [9, 20], [10, 20], [panel.open[10, 0], panel.close[20, 0]])
    (finding,) = audit_fills(record, panel)
    assert (finding.column, finding.how, finding.first_time) == ("S0", "order", "2015-01-21T21:00:00Z")


def test_a_fill_before_its_decision_is_found(panel: Panel) -> None:
    (finding,) = audit_fills(fills(panel, [30], [28], [panel.open[28, 0]]), panel)
    assert finding.difference == 3.0


def test_a_price_outside_the_bar_is_found(panel: Panel) -> None:
    record = fills(panel, [9], [10], [panel.low[10, 0] * 0.99])
    (finding,) = audit_fills(record, panel)
    assert finding.how == "price"


def test_a_fill_without_a_bar_is_found(panel: Panel) -> None:
    mask = panel.mask.copy()
    mask[10, 0] = False
    (finding,) = audit_fills(fills(panel, [9], [10], [panel.open[10, 0]]), replace(panel, mask=mask))
    assert "no bar" in finding.evidence


def test_fills_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="differ in length"):
        FillRecord(rows(0, 2), rows(0, 3), rows(0, 3), np.zeros(3))


def test_a_member_before_it_joined_is_found(panel: Panel) -> None:
    stays = [Membership("S0", TIMES[50]), *(Membership(f"S{j}", TIMES[0]) for j in (1, 2, 3))]
    (finding,) = audit_universe(panel, stays)
    assert (finding.column, finding.how, finding.difference) == ("S0", "membership", 50.0)
    assert finding.first_time == "2015-01-01T21:00:00Z"


def test_a_universe_without_those_that_left_is_a_survivor_universe(panel: Panel) -> None:
    stays = [Membership(s, TIMES[0]) for s in panel.symbols] + [Membership("GONE", TIMES[0], TIMES[80])]
    (finding,) = audit_universe(panel, stays)
    assert (finding.column, finding.how) == ("GONE", "survivorship")


def test_a_universe_as_of_each_date_is_clean(panel: Panel) -> None:
    member = panel.member.copy()
    member[:30, 0], member[120:, 1] = False, False
    stays = [Membership("S0", TIMES[30]), Membership("S1", TIMES[0], TIMES[120])]
    stays += [Membership("S2", TIMES[0]), Membership("S3", TIMES[0])]
    assert audit_universe(replace(panel, member=member), stays) == []


def test_revised_figures_used_before_they_were_known_are_found() -> None:
    known = TIMES + np.timedelta64(30, "D")
    (finding,) = audit_vintages("macro", "GDP", TIMES, known)
    assert (finding.column, finding.how, finding.difference) == ("GDP", "vintage", 30.0)
    assert finding.first_time == "2015-01-01T21:00:00Z"
    assert audit_vintages("macro", "GDP", known, known) == []
    assert len(audit_vintages("macro", "GDP", known, known, lag=np.timedelta64(1, "h"))) == 1


def test_figures_that_never_became_known_are_found() -> None:
    known = np.full(BARS, np.datetime64("NaT"), dtype="datetime64[us]")
    assert audit_vintages("macro", "GDP", TIMES, known)[0].difference == np.inf
