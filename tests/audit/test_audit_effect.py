"""The numbers behind the verdicts agree with plain least squares."""

from __future__ import annotations

import numpy as np
import pytest
from audit_kit import ema
from hypothesis import given
from hypothesis import strategies as st

from tradewind.audit import effect, past


@given(st.integers(0, 2**32), st.floats(0.0, 3.0))
def test_residuals_are_those_of_least_squares_with_an_intercept(seed: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    controls = rng.normal(size=(120, 4))
    x = slope * controls[:, 0] + rng.normal(size=120)
    design = np.column_stack([np.ones(120), controls])
    expected = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    np.testing.assert_allclose(effect.Past(controls).beyond(x), expected, atol=1e-9)


def test_missing_values_stay_missing_and_do_not_enter_the_fit() -> None:
    rng = np.random.default_rng(1)
    controls, x = rng.normal(size=(200, 3)), rng.normal(size=200)
    holes = x.copy()
    holes[::7] = np.nan
    known = np.isfinite(holes)
    rest = effect.Past(controls).beyond(holes)
    assert np.isnan(rest[~known]).all()
    np.testing.assert_allclose(rest[known], effect.Past(controls[known]).beyond(x[known]), atol=1e-9)


def test_nothing_is_left_of_a_column_that_the_past_determines() -> None:
    controls = np.random.default_rng(2).normal(size=(200, 3))
    assert np.isnan(effect.Past(controls).beyond(controls @ [1.0, 2.0, 3.0] + 5.0)).all()


def test_block_moments_add_up_to_the_correlation_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=500), rng.normal(size=(500, 3))
    x[::11], y[::13, 1] = np.nan, np.nan
    sums = effect.moments(x, y, effect.blocks_of(500))
    whole = sums.pooled(np.arange(len(sums.n)))
    for j in range(3):
        known = np.isfinite(x) & np.isfinite(y[:, j])
        assert whole.correlation[0, j] == pytest.approx(np.corrcoef(x[known], y[known, j])[0, 1], abs=1e-12)
        assert whole.slope[0, j] == pytest.approx(np.polyfit(x[known], y[known, j], 1)[0], abs=1e-12)


@given(st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_the_share_explained_unseen_is_near_the_true_share_and_never_above_one(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=4_000)
    y = np.sqrt(share) * x + np.sqrt(1.0 - share) * rng.normal(size=4_000)
    sums = effect.moments(x, y[:, None], effect.blocks_of(4_000))
    assert effect.explained_unseen(sums)[0] == pytest.approx(share, abs=0.08)
    assert effect.explained_unseen(sums)[0] <= 1.0


def test_a_curve_is_seen_by_bins_and_not_by_a_line() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=2_000)
    y = (np.abs(x) + 0.1 * rng.normal(size=2_000))[:, None]
    starts = effect.blocks_of(2_000)
    assert effect.explained_unseen(effect.moments(x, y, starts))[0] < 0.02
    assert effect.explained_by_bins(x, y, starts)[0] > 0.7


def test_overlap_shrinks_the_number_of_independent_rows() -> None:
    lags = np.arange(1, 101)
    overlapping = np.maximum(1.0 - lags / 20.0, 0.0)
    rows = effect.effective_rows(np.array([1_000.0]), overlapping, overlapping[:, None])
    assert 60.0 < rows[0] < 90.0
    free = effect.effective_rows(np.array([1_000.0]), np.zeros(100), overlapping[:, None])
    assert free[0] == 1_000.0


@given(st.integers(20, 380), st.integers(40, 200))
def test_the_stretch_of_a_leak_is_found(start: int, length: int) -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(size=600)
    x = rng.normal(size=600)
    x[start : start + length] = y[start : start + length]
    found = effect.stretch(x, y)
    assert abs(found.start - start) <= 15
    assert abs(found.stop - start - length) <= 15


@given(st.integers(1, 60), st.integers(0, 2**32))
def test_the_moving_average_of_each_group_starts_anew(span: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=50)
    group = np.repeat([0, 1], [20, 30])
    expected = np.r_[ema(values[:20], span), ema(values[20:], span)]
    np.testing.assert_allclose(past.moving_average(values, span, group), expected, atol=1e-12)


@given(st.integers(-30, 30))
def test_a_shift_never_crosses_from_one_group_to_another(by: int) -> None:
    values, group = np.arange(40.0), np.repeat([0, 1], [15, 25])
    moved = past.shift(values, by, group)
    known = np.isfinite(moved)
    np.testing.assert_array_equal(moved[known], values[known] - by)
    assert (group[moved[known].astype(int)] == group[known]).all()
