"""Forward returns: what is asked at t is answered at t + h, and never changes afterwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.labels.forward import forward_returns, one_bar_returns
from tradewind.labels.targets import Labels
from tradewind.labels.uniqueness import average_uniqueness, horizon_ends
from tradewind.market.panel import Panel


def make_panel(close: np.ndarray, split: np.ndarray | None = None, dividend: np.ndarray | None = None) -> Panel:
    rows, columns = close.shape
    mask = np.isfinite(close)
    symbols = tuple(f"S{n}" for n in range(columns))
    times = np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(1, "D").astype("timedelta64[us]")
    ones, zeros = np.ones_like(close), np.zeros_like(close)
    fields = dict.fromkeys(("open", "high", "low", "close"), close) | {
        "volume": np.where(mask, 1e6, np.nan),
        "split": ones if split is None else split,
        "dividend": zeros if dividend is None else dividend,
    }
    return Panel(times, symbols, symbols, fields, mask, mask)


def random_close(seed: int, rows: int = 60, columns: int = 3, holes: float = 0.1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.02, (rows, columns)), axis=0))
    close[generator.random((rows, columns)) < holes] = np.nan
    return close


def test_returns_are_log_returns_over_each_horizon() -> None:
    close = np.array([[100.0], [110.0], [121.0], [60.5]])
    labels = forward_returns(make_panel(close), (1, 2))
    assert labels.returns[:, 0, 0] == pytest.approx([np.log(1.1), np.log(1.1), np.log(0.5), np.nan], nan_ok=True)
    assert labels.returns[:, 0, 1] == pytest.approx([np.log(1.21), np.log(0.55), np.nan, np.nan], nan_ok=True)
    assert labels.end[:, 0, 1].tolist() == [2, 3, 4, 5]


def test_splits_and_dividends_are_not_returns() -> None:
    close = np.array([[100.0], [100.0], [50.0], [49.0]])
    split = np.array([[1.0], [1.0], [2.0], [1.0]])
    dividend = np.array([[0.0], [0.0], [0.0], [1.0]])
    labels = forward_returns(make_panel(close, split, dividend), (1,))
    assert labels.returns[:3, 0, 0] == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)


def test_a_missing_bar_answers_no_question_and_asks_none() -> None:
    close = np.array([[1.0], [2.0], [np.nan], [4.0], [8.0]])
    found = forward_returns(make_panel(close), (1,)).returns[:, 0, 0]
    assert found == pytest.approx([np.log(2), np.nan, np.nan, np.log(2), np.nan], nan_ok=True)


def test_volatility_spans_a_missing_bar() -> None:
    close = np.array([[1.0], [2.0], [np.nan], [4.0]])
    found = one_bar_returns(close)[:, 0]
    assert found == pytest.approx([np.nan, np.log(2), np.nan, np.log(2)], nan_ok=True)


def test_a_symbol_that_ends_leaves_its_labels_unresolved() -> None:
    close = np.full((10, 1), 5.0)
    close[6:] = np.nan
    labels = forward_returns(make_panel(close), (3,))
    assert (labels.end[3:, 0, 0] >= 10).all()
    assert np.isnan(labels.returns[3:]).all()
    assert np.isfinite(labels.returns[:3]).all()
    assert (labels.weight[3:] == 0).all()


@given(st.integers(0, 10_000), st.integers(5, 59))
@settings(max_examples=40, deadline=None)
def test_labels_known_early_never_change_later(seed: int, stop: int) -> None:
    panel = make_panel(random_close(seed))
    early, late = (forward_returns(p, (1, 4, 9), warm_up_bars=3) for p in (panel.head(stop), panel))
    known = late.head(stop)
    assert np.array_equal(early.returns, known.returns, equal_nan=True)
    assert np.array_equal(early.scale, known.scale, equal_nan=True)
    assert np.array_equal(early.weight, known.weight)
    resolved = np.isfinite(early.returns)
    assert np.array_equal(early.end[resolved], late.end[:stop][resolved])


@given(st.integers(0, 10_000), st.floats(0.01, 1000))
@settings(max_examples=20, deadline=None)
def test_the_unit_of_the_price_does_not_matter(seed: int, factor: float) -> None:
    close = random_close(seed)
    one, two = (forward_returns(make_panel(k * close), (1, 5)) for k in (1.0, factor))
    assert two.returns == pytest.approx(one.returns, nan_ok=True, abs=1e-9)


def test_permuting_symbols_permutes_labels() -> None:
    close = random_close(3)
    order = [2, 0, 1]
    one, two = forward_returns(make_panel(close), (1, 5)), forward_returns(make_panel(close[:, order]), (1, 5))
    assert np.array_equal(one.returns[:, order], two.returns, equal_nan=True)
    assert np.array_equal(one.weight[:, order], two.weight)


def test_scale_is_the_volatility_known_at_the_bar() -> None:
    close = random_close(4, rows=300, holes=0.0)
    labels = forward_returns(make_panel(close), (1,), 1e9, 10)
    r = np.diff(np.log(close[:, 0]))
    assert labels.scale[100, 0] == pytest.approx(np.sqrt((r[:100] ** 2).mean()))
    assert np.isnan(labels.scale[:10]).all()


def test_overlapping_labels_share_their_weight() -> None:
    labels = forward_returns(make_panel(random_close(5, rows=100, holes=0.0)), (1, 5))
    resolved = np.isfinite(labels.returns)
    assert (labels.weight[..., 0][resolved[..., 0]] == 1.0).all()
    assert labels.weight[50, 0, 1] == pytest.approx(0.2)
    assert (labels.weight[~resolved] == 0).all()


def test_uniqueness_equals_a_count_by_hand() -> None:
    generator = np.random.default_rng(6)
    rows = 40
    started = generator.random((rows, 1)) < 0.7
    end = np.arange(rows)[:, None, None] + generator.integers(1, 8, (rows, 1, 1))
    found = average_uniqueness(started, end)[:, 0, 0]
    for t in range(rows):
        stop = int(end[t, 0, 0])
        if not started[t, 0] or stop >= rows:
            assert np.isnan(found[t])
            continue
        bars = range(t + 1, stop + 1)
        open_at = [sum(started[s, 0] and s < b <= end[s, 0, 0] for s in range(rows)) for b in bars]
        assert found[t] == pytest.approx(np.mean([1 / c for c in open_at]))


def test_horizon_ends_count_rows() -> None:
    assert horizon_ends(2, 1, (1, 5)).tolist() == [[[1, 5]], [[2, 6]]]


@pytest.mark.parametrize("horizons", [(), (0,), (5, 1), (1, 1)])
def test_senseless_horizons_are_refused(horizons: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="horizons"):
        forward_returns(make_panel(np.ones((5, 1))), horizons)


def test_a_history_shorter_than_the_horizon_has_no_labels() -> None:
    labels = forward_returns(make_panel(np.ones((3, 2))), (20,))
    assert isinstance(labels, Labels)
    assert np.isnan(labels.returns).all()
