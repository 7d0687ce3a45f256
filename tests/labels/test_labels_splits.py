"""Splits: no training label may know anything about the test block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tradewind.errors import InputError
from tradewind.labels.settings import LabelsSection
from tradewind.labels.splits import combinatorial_paths, combinatorial_purged, purge, walk_forward

shapes = st.fixed_dictionaries(
    {
        "rows": st.integers(60, 400),
        "min_train_bars": st.integers(1, 30),
        "test_bars": st.integers(1, 40),
        "longest_horizon_bars": st.integers(0, 20),
        "embargo_bars": st.integers(0, 5),
        "first_row": st.integers(0, 4),
    }
)


@given(shapes, st.sampled_from(["expanding", "rolling"]))
@settings(max_examples=100, deadline=None)
def test_every_training_label_is_known_before_the_test_block_and_its_embargo(
    shape: dict[str, int], window: str
) -> None:
    h, embargo = shape["longest_horizon_bars"], shape["embargo_bars"]
    for fold in walk_forward(window=window, **shape):  # type: ignore[arg-type]
        assert fold.train.max() + h < fold.test[0] - embargo
        assert fold.purge_cut == fold.train.max() + 1
        assert len(fold.train) >= shape["min_train_bars"]
        assert fold.train.min() >= shape["first_row"]


@given(shapes)
@settings(max_examples=50, deadline=None)
def test_test_blocks_follow_each_other_and_cover_the_rest(shape: dict[str, int]) -> None:
    tests = np.concatenate([fold.test for fold in walk_forward(**shape)])
    assert np.array_equal(tests, np.arange(tests[0], shape["rows"]))


@given(shapes)
@settings(max_examples=50, deadline=None)
def test_a_longer_history_leaves_earlier_full_folds_alone(shape: dict[str, int]) -> None:
    short, long = list(walk_forward(**shape)), list(walk_forward(**(shape | {"rows": shape["rows"] + 30})))
    for a, b in zip(short[:-1], long, strict=False):
        assert np.array_equal(a.train, b.train)
        assert np.array_equal(a.test, b.test)


def test_a_rolling_window_has_a_fixed_length() -> None:
    folds = list(walk_forward(200, min_train_bars=50, test_bars=20, longest_horizon_bars=5, window="rolling"))
    assert {len(f.train) for f in folds} == {50}
    longer = walk_forward(200, min_train_bars=50, test_bars=20, longest_horizon_bars=5, window="rolling", train_bars=80)
    assert [len(f.train) for f in longer][-1] == 80


def test_too_short_a_history_says_what_is_missing() -> None:
    with pytest.raises(InputError, match="too few"):
        list(walk_forward(50, min_train_bars=45, test_bars=5, longest_horizon_bars=5))


@pytest.mark.parametrize("bad", [{"test_bars": 0}, {"embargo_bars": -1}, {"min_train_bars": 0}])
def test_senseless_lengths_are_refused(bad: dict[str, int]) -> None:
    good = {"min_train_bars": 10, "test_bars": 5, "longest_horizon_bars": 1}
    with pytest.raises(InputError, match=next(iter(bad))):
        list(walk_forward(100, **(good | bad)))


@given(st.integers(0, 10_000), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_purged_rows_share_no_bar_with_the_test_labels(seed: int, embargo: int) -> None:
    generator = np.random.default_rng(seed)
    rows = 120
    end = np.arange(rows) + generator.integers(1, 10, rows)
    test = np.concatenate([np.arange(20, 30), np.arange(60, 75)])
    train = np.setdiff1d(np.arange(rows), test)
    kept = purge(train, end, test, embargo_bars=embargo)
    for a, b in ((20, 29), (60, 74)):
        reach = end[a : b + 1].max()
        clear = (end[kept] < a - embargo) | (kept > reach + embargo)
        assert clear.all()
    near = np.setdiff1d(train, kept)
    assert len(kept) > 0
    assert all(
        any(end[t] >= a - embargo and t <= end[a : b + 1].max() + embargo for a, b in ((20, 29), (60, 74)))
        for t in near
    )


@pytest.mark.parametrize(("horizon", "embargo"), [(0, 0), (5, 0), (5, 3)])
def test_combinatorial_folds_never_overlap(horizon: int, embargo: int) -> None:
    folds = list(combinatorial_purged(200, longest_horizon_bars=horizon, folds=6, test_folds=2, embargo_bars=embargo))
    assert len(folds) == 15
    for fold in folds:
        assert not np.intersect1d(fold.train, fold.test).size
        spans = {int(b) for t in fold.test for b in range(t, t + horizon + 1)}
        assert all(not spans & set(range(t, t + horizon + 1)) for t in fold.train)
    tested = np.bincount(np.concatenate([f.test for f in folds]), minlength=200)
    assert (tested == 5).all()


def test_combinatorial_paths_use_every_test_block_once() -> None:
    paths = combinatorial_paths(6, 2)
    assert paths.shape == (15, 2)
    assert np.bincount(paths.ravel()).tolist() == [6] * 5


def test_the_section_refuses_senseless_values() -> None:
    assert LabelsSection().horizons_bars == (1, 5, 20)
    for bad in ({"horizons_bars": (5, 1)}, {"horizons_bars": ()}, {"barrier_up_sigma": 0}, {"horizon": 3}):
        with pytest.raises(ValidationError):
            LabelsSection(**bad)
