"""Triple barrier, on candles worked by hand and on properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.labels.barriers import Barriers, triple_barrier
from tradewind.labels.forward import forward_returns
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel

NAN = float("nan")


def candles(rows: list[tuple[float, float, float, float]]) -> Panel:
    table = np.asarray(rows, dtype=np.float64)[:, None, :]
    return from_arrays(*(np.ascontiguousarray(table[..., i]) for i in range(4)))


def from_arrays(o: np.ndarray, h: np.ndarray, low: np.ndarray, c: np.ndarray) -> Panel:
    mask = np.isfinite(c)
    times = np.datetime64("2020-01-01", "us") + np.arange(len(c)) * np.timedelta64(86_400_000_000, "us")
    names = tuple(f"S{n}" for n in range(c.shape[1]))
    fields = {"open": o, "high": h, "low": low, "close": c, "volume": np.where(mask, 1e6, np.nan)}
    fields |= {"split": np.ones_like(c), "dividend": np.zeros_like(c)}
    return Panel(times, names, names, fields, mask, mask)


def judged(rows: list[tuple[float, float, float, float]], horizon: int, side: str = "long") -> Barriers:
    """Barriers at +10 % and -10 % (log) of the close of bar 0, whatever the volatility."""
    panel = candles(rows)
    labels = forward_returns(panel, (horizon,))
    fixed = Labels(
        (horizon,), labels.returns, np.full((len(rows), 1), 0.1 / np.sqrt(horizon)), labels.end, labels.weight
    )
    return triple_barrier(panel, fixed, up_sigma=1.0, down_sigma=1.0, side=side)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bars", "expected_class", "expected_return", "expected_end", "tie"),
    [
        # a quiet walk: the time limit decides
        ([(100, 101, 99, 101), (101, 104, 100, 103), (103, 105, 102, 104)], 0, np.log(1.04), 3, False),
        # the high reaches the upper barrier intraday
        ([(100, 101, 99, 101), (101, 112, 100, 103), (103, 105, 80, 104)], 1, 0.1, 2, False),
        # the low reaches the lower barrier intraday
        ([(100, 101, 99, 101), (101, 104, 90, 103), (103, 125, 102, 104)], -1, -0.1, 2, False),
        # the bar opens beyond the barrier: the open is what one gets
        ([(120, 121, 119, 120), (101, 104, 90, 103), (103, 105, 102, 104)], 1, np.log(1.2), 1, False),
        ([(80, 121, 79, 120), (101, 104, 99, 103), (103, 105, 102, 104)], -1, np.log(0.8), 1, False),
        # both inside one bar: against a long
        ([(100, 115, 85, 101), (101, 104, 99, 103), (103, 105, 102, 104)], -1, -0.1, 1, True),
        # a missing bar touches nothing
        ([(NAN, NAN, NAN, NAN), (101, 104, 99, 103), (103, 105, 102, 104)], 0, np.log(1.04), 3, False),
    ],
)
def test_candles_by_hand(
    bars: list[tuple[float, float, float, float]],
    expected_class: int,
    expected_return: float,
    expected_end: int,
    tie: bool,
) -> None:
    found = judged([(100, 100, 100, 100), *bars], horizon=3)
    assert found.labels.classes is not None
    assert found.labels.classes[0, 0, 0] == expected_class
    assert found.labels.returns[0, 0, 0] == pytest.approx(expected_return)
    assert found.labels.end[0, 0, 0] == expected_end
    assert bool(found.ambiguous[0, 0, 0]) is tie


def test_a_tie_goes_against_a_short_too_and_is_counted() -> None:
    found = judged([(100, 100, 100, 100), (100, 115, 85, 101)], horizon=1, side="short")
    assert found.labels.classes is not None
    assert found.labels.classes[0, 0, 0] == 1
    assert found.ties.tolist() == [1]


def test_a_missing_bar_at_the_time_limit_leaves_no_answer() -> None:
    found = judged([(100, 100, 100, 100), (100, 101, 99, 100), (NAN,) * 4, (100, 101, 99, 100)], horizon=2)
    assert np.isnan(found.labels.returns[0, 0, 0])
    assert found.labels.weight[0, 0, 0] == 0


def test_a_symbol_that_ends_undecided_stays_unresolved() -> None:
    found = judged([(100, 100, 100, 100), (100, 101, 99, 100), (NAN,) * 4, (NAN,) * 4, (NAN,) * 4], horizon=3)
    assert found.labels.end[0, 0, 0] >= 5
    assert np.isnan(found.labels.returns[0, 0, 0])


def test_barriers_must_stand_apart() -> None:
    panel = candles([(1, 1, 1, 1)] * 3)
    with pytest.raises(InputError, match="positive"):
        triple_barrier(panel, forward_returns(panel, (1,)), up_sigma=0.0, down_sigma=1.0)


def random_market(seed: int, rows: int = 70, columns: int = 3) -> Panel:
    generator = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.02, (rows, columns)), axis=0))
    open_ = close * np.exp(generator.normal(0, 0.01, close.shape))
    high = np.maximum(open_, close) * np.exp(np.abs(generator.normal(0, 0.01, close.shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(generator.normal(0, 0.01, close.shape)))
    missing = generator.random(close.shape) < 0.05
    for table in (open_, high, low, close):
        table[missing] = np.nan
    return from_arrays(open_, high, low, close)


def barriers_of(panel: Panel, up: float = 1.0, down: float = 1.0) -> Barriers:
    return triple_barrier(panel, forward_returns(panel, (3, 8), warm_up_bars=5), up_sigma=up, down_sigma=down)


@given(st.integers(0, 10_000), st.integers(10, 69))
@settings(max_examples=40, deadline=None)
def test_labels_decided_early_never_change_later(seed: int, stop: int) -> None:
    panel = random_market(seed)
    early, late = barriers_of(panel.head(stop)).labels, barriers_of(panel).labels
    known = late.head(stop)
    decided = np.isfinite(early.returns)
    assert np.array_equal(early.returns, known.returns, equal_nan=True)
    assert np.array_equal(early.weight, known.weight)
    assert early.classes is not None
    assert known.classes is not None
    assert np.array_equal(early.classes, known.classes)
    assert np.array_equal(early.end[decided], late.end[:stop][decided])


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_unreachable_barriers_give_the_forward_return(seed: int) -> None:
    panel = random_market(seed)
    forward = forward_returns(panel, (3, 8), warm_up_bars=5)
    found = barriers_of(panel, 1e6, 1e6).labels
    known = np.isfinite(found.returns)
    assert found.returns[known] == pytest.approx(forward.returns[known])
    assert found.classes is not None
    assert not found.classes.any()
    assert np.array_equal(known, np.isfinite(forward.returns) & np.isfinite(forward.scale)[:, :, None])


def test_classes_agree_with_a_plain_loop() -> None:
    panel = random_market(11)
    found = barriers_of(panel)
    forward = forward_returns(panel, (3, 8), warm_up_bars=5)
    assert found.labels.classes is not None
    o, h, low, c = (np.log(panel.adjusted(f)) for f in ("open", "high", "low", "close"))
    for t, n, k in np.ndindex(*forward.returns.shape):
        horizon = forward.horizons[k]
        reach = forward.scale[t, n] * np.sqrt(horizon)
        expected = 0
        for s in range(t + 1, min(t + horizon + 1, len(panel))):
            up, down = h[s, n] >= c[t, n] + reach, low[s, n] <= c[t, n] - reach
            gap_up = o[s, n] >= c[t, n] + reach
            if up or down:
                expected = 1 if gap_up or (up and not down) else -1
                break
        assert found.labels.classes[t, n, k] == (expected if np.isfinite(reach) and np.isfinite(c[t, n]) else 0)
