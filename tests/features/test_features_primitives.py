"""The stateful primitives: laws that hold for all, and known answers for each."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tradewind.features.primitives import PRIMITIVES

CASES = [
    ("smooth", 1, (5, 0.3)),
    ("lag", 1, (3,)),
    ("rolling_sum", 1, (5,)),
    ("rolling_variance", 1, (5,)),
    ("rolling_covariance", 2, (6,)),
    ("rolling_extreme", 1, (4, 1.0)),
    ("rolling_extreme", 1, (4, -1.0)),
    ("age_of_extreme", 1, (5, 1.0)),
    ("cumulative", 1, (0,)),
    ("cumulative", 1, (1,)),
    ("run_length", 1, (0,)),
    ("run_length", 1, (1,)),
    ("rolling_scan", 1, (6, 0)),
    ("rolling_scan", 1, (6, 1)),
    ("rolling_scan", 1, (6, 2)),
    ("rolling_scan", 1, (6, 3)),
    ("rolling_quantile", 1, (6, 0.3)),
    ("volume_profile", 2, (6, 4)),
    ("parabolic", 2, (0.02, 0.2)),
    ("session_range", 2, ()),
]


def run(name, arrays, params, *, state=None, columns=None):
    primitive = PRIMITIVES[name]
    arrays = [np.ascontiguousarray(a, dtype=np.float64) for a in arrays]
    state = state or primitive.start(arrays[0].shape[1], params)
    outs = [np.full(arrays[0].shape, -7.0) for _ in range(primitive.outputs)]
    for first, last in columns or [(0, arrays[0].shape[1])]:
        primitive.run(*arrays, *outs, state.memory, state.marks, state.ring, *params, first, last)
    return np.stack(outs), state


def inputs_for(name, arity, bars, rng, *, missing=0.1):
    x = np.round(rng.normal(size=(bars, 3)) * 4.0) / 2.0  # ties on purpose
    x[rng.random(x.shape) < missing] = np.nan
    second = {
        "parabolic": lambda: x - rng.random(x.shape),
        "volume_profile": lambda: rng.random(x.shape) + 0.1,
        "session_range": lambda: np.repeat(np.arange(bars) // 4, 3).reshape(bars, 3).astype(float),
    }.get(name, lambda: rng.normal(size=x.shape))
    return [x, second()][:arity]


@pytest.mark.parametrize(("name", "arity", "params"), CASES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.sets(st.integers(1, 39), max_size=6), middle=st.integers(0, 3))
def test_cutting_history_anywhere_gives_the_same_bits(name, arity, params, seed, cuts, middle):
    arrays = inputs_for(name, arity, 40, np.random.default_rng(seed))
    whole, end = run(name, arrays, params)
    state, parts = None, []
    edges = [0, *sorted(cuts), 40]
    for a, b in itertools.pairwise(edges):
        part, state = run(name, [x[a:b] for x in arrays], params, state=state, columns=[(0, middle), (middle, 3)])
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(state.ring, end.ring)
    np.testing.assert_array_equal(state.memory, end.memory)
    np.testing.assert_array_equal(state.marks, end.marks)


@pytest.mark.parametrize(("name", "arity", "params"), CASES)
def test_a_missing_bar_leaves_the_state_alone_and_gives_nothing(name, arity, params):
    arrays = inputs_for(name, arity, 60, np.random.default_rng(3), missing=0.3)
    arrays = [a[:, :1] for a in arrays]
    there = np.isfinite(arrays[0][:, 0])
    with_gaps, _ = run(name, arrays, params)
    without, _ = run(name, [a[there] for a in arrays], params)
    np.testing.assert_array_equal(with_gaps[:, there], without)
    assert np.isnan(with_gaps[:, ~there]).all()


@pytest.mark.parametrize(("name", "arity", "params"), CASES)
def test_an_infinite_value_is_a_missing_one(name, arity, params):
    arrays = inputs_for(name, arity, 30, np.random.default_rng(4), missing=0.0)
    holes = [a.copy() for a in arrays]
    holes[0][10], arrays[0][10] = np.nan, np.inf
    np.testing.assert_array_equal(run(name, arrays, params)[0], run(name, holes, params)[0])


def windows(x, window):
    return np.lib.stride_tricks.sliding_window_view(x, window)


def one(name, params, *series):
    return run(name, [s[:, None] for s in series], params)[0][:, :, 0]


X = np.random.default_rng(11).normal(size=400).cumsum() + 100.0
Y = np.random.default_rng(12).normal(size=400) + 0.2 * X
W = 12


@pytest.mark.parametrize(
    ("name", "params", "oracle"),
    [
        ("rolling_sum", (W,), lambda w: w.sum(axis=1)),
        ("rolling_variance", (W,), lambda w: w.var(axis=1)),
        ("rolling_extreme", (W, 1.0), lambda w: w.max(axis=1)),
        ("rolling_extreme", (W, -1.0), lambda w: w.min(axis=1)),
        ("age_of_extreme", (W, 1.0), lambda w: W - 1 - w.argmax(axis=1)),
        ("age_of_extreme", (W, -1.0), lambda w: W - 1 - w.argmin(axis=1)),
        ("rolling_scan", (W, 0), lambda w: np.abs(w - w.mean(axis=1, keepdims=True)).mean(axis=1)),
        ("rolling_scan", (W, 1), lambda w: ((w < w[:, -1:]).sum(axis=1) + 0.5) / W),
        ("rolling_scan", (W, 2), lambda w: stats.skew(w, axis=1)),
        ("rolling_scan", (W, 3), lambda w: stats.kurtosis(w, axis=1)),
        ("rolling_quantile", (W, 0.3), lambda w: np.quantile(w, 0.3, axis=1)),
    ],
)
def test_a_window_says_what_numpy_says(name, params, oracle):
    out = one(name, params, X)[0]
    assert np.isnan(out[: W - 1]).all()
    np.testing.assert_allclose(out[W - 1 :], oracle(windows(X, W)), rtol=1e-10, atol=1e-12)


def test_covariance_and_variances_are_numpys():
    cov, var_x, var_y = one("rolling_covariance", (W,), X, Y)
    a, b = windows(X, W), windows(Y, W)
    expected = (a * b).mean(axis=1) - a.mean(axis=1) * b.mean(axis=1)
    np.testing.assert_allclose(cov[W - 1 :], expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(var_x[W - 1 :], a.var(axis=1), rtol=1e-10)
    np.testing.assert_allclose(var_y[W - 1 :], b.var(axis=1), rtol=1e-10)


def test_a_million_bars_leave_no_drift():
    rng = np.random.default_rng(5)
    x = 1e4 + rng.normal(size=1_000_000) * rng.choice([1e-2, 1e3], size=1_000_000)
    tail = x[-50:]
    np.testing.assert_allclose(one("rolling_sum", (50,), x)[0, -1], tail.sum(), rtol=1e-15)
    np.testing.assert_allclose(one("rolling_variance", (50,), x)[0, -1], tail.var(), rtol=1e-12)
    cov, _, var = one("rolling_covariance", (50,), x, x[::-1].copy())
    np.testing.assert_allclose(var[-1], x[:50].var(), rtol=1e-12)
    np.testing.assert_allclose(cov[-1], np.cov(tail, x[:50][::-1], bias=True)[0, 1], rtol=1e-9)
    steps = np.full(1_000_000, 0.1)
    assert one("cumulative", (0,), steps)[0, -1] == 1e6 * 0.1


def test_a_giant_print_is_forgotten_when_it_leaves_the_window():
    x = np.random.default_rng(6).normal(size=200) + 10.0
    x[50] = 1e12
    np.testing.assert_allclose(one("rolling_variance", (20,), x)[0, 70:], windows(x, 20)[51:].var(axis=1), rtol=1e-9)
    np.testing.assert_allclose(one("rolling_sum", (20,), x)[0, 70:], windows(x, 20)[51:].sum(axis=1), rtol=1e-12)


def test_a_constant_has_no_variance_and_no_covariance():
    flat = np.full(100, 0.1)
    assert (one("rolling_variance", (7,), flat)[0, 6:] == 0.0).all()
    assert (one("rolling_covariance", (7,), flat, X[:100])[0, 6:] == 0.0).all()


def test_streaks_count_signs_and_bars_since_counts_from_the_last_time():
    x = np.array([1.0, 2.0, -1.0, -1.0, -3.0, 0.0, 5.0])
    assert one("run_length", (0,), x)[0].tolist() == [1, 2, -1, -2, -3, 0, 1]
    since = one("run_length", (1,), np.array([0.0, 1.0, 0.0, 0.0, 1.0, -1.0]))[0]
    np.testing.assert_array_equal(since, [np.nan, 0, 1, 2, 0, 1])


def test_the_session_before_is_known_and_the_running_sum_restarts():
    price = np.array([5.0, 7.0, 6.0, 1.0, 2.0, 9.0])
    day = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 5.0])
    high, low, last, total = one("session_range", (), price, day)
    np.testing.assert_array_equal(high, [np.nan, np.nan, np.nan, 7, 7, 2])
    np.testing.assert_array_equal(low, [np.nan, np.nan, np.nan, 5, 5, 1])
    np.testing.assert_array_equal(last, [np.nan, np.nan, np.nan, 6, 6, 2])
    assert total.tolist() == [5, 12, 18, 1, 3, 9]


def test_volume_profile_finds_the_busiest_slice_and_the_volume_below():
    price = np.array([10.0, 11.0, 12.0, 13.0, 14.0])
    size = np.array([1.0, 1.0, 6.0, 1.0, 1.0])
    centre, below = one("volume_profile", (5, 4), price, size)
    assert centre[-1] == 12.5  # slices of width 1 from 10: 12 falls into [12, 13)
    assert below[-1] == pytest.approx(0.95)
