"""What a desk knows of risk: the same from daily and from small bars, nothing of the future, and stored bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from tradewind.risk import beta as slopes
from tradewind.risk import covariance as ewma
from tradewind.risk.monitor import Exposure, Monitor, MonitorState
from tradewind.risk.settings import RiskSection

FloatArray = NDArray[np.float64]
NAN = float("nan")
SETTINGS = RiskSection(half_life_sessions=20.0, shrinkage=0.1, warm_up_sessions=8)
seeds = st.integers(0, 2**32 - 1)
few = examples(max_examples=20)


def monitor(symbols: int = 3, volume_sessions: int = 5, *, measures: bool = True) -> Monitor:
    return Monitor(SETTINGS, volume_sessions, symbols, measures)


def market(
    seed: int, sessions: int = 40, symbols: int = 3, gaps: float = 0.0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return total-return closes, an index and the value traded in each session."""
    r = np.random.default_rng(seed)
    moves = r.normal(0, 0.01, (sessions, 1)) * r.uniform(0.5, 1.5, symbols) + r.normal(0, 0.01, (sessions, symbols))
    close = 10 * np.exp(np.cumsum(moves, axis=0))
    close[r.random(close.shape) < gaps] = np.nan
    index = 1000 * np.exp(np.cumsum(r.normal(0, 0.01, sessions)))
    return close, index, r.uniform(1e5, 1e6, (sessions, symbols))


def lived(one: Monitor, close: FloatArray, index: FloatArray, value: FloatArray, pieces: int = 1) -> list[MonitorState]:
    """Take in sessions of so many bars each; return the state after each of them."""
    state, told = one.open(), []
    for row in range(len(close)):
        for piece in range(pieces):
            state = one.traded(state, value[row] / pieces, ended=piece == pieces - 1)
        state = one.session(state, close[row], index[row])
        told.append(state.copy())
    return told


def known(one: Monitor, state: MonitorState) -> Exposure:
    return one.exposure(state, np.ones(one.symbols, bool), wanted=True)


@few
@given(seeds)
def test_covariances_and_betas_are_those_of_the_sessions_returns(seed: int) -> None:
    one, (close, index, value) = monitor(), market(seed)
    found = known(one, lived(one, close, index, value)[-1])
    returns, moved = np.diff(np.log(close), axis=0), np.diff(np.log(index))
    wanted = ewma.sample_covariance(returns, half_life_bars=20.0, shrinkage=0.1, least=8)
    np.testing.assert_allclose(found.covariance, wanted, rtol=1e-12)
    state = slopes.step(slopes.initial_state(3, 20.0), returns, moved)
    np.testing.assert_allclose(found.beta, slopes.betas(state, least=8).shrunk, rtol=1e-12)


@few
@given(seeds, st.sampled_from([2, 13]))
def test_small_bars_and_daily_ones_say_the_same(seed: int, pieces: int) -> None:
    one, told = monitor(), market(seed, gaps=0.1)
    days, bars = (known(one, lived(one, *told, pieces=n)[-1]) for n in (1, pieces))
    np.testing.assert_array_equal(days.covariance, bars.covariance)
    np.testing.assert_array_equal(days.beta, bars.beta)
    np.testing.assert_allclose(days.daily_value, bars.daily_value, rtol=1e-12)


@few
@given(seeds, st.integers(1, 39))
def test_a_prefix_of_the_sessions_gives_what_was_known_then(seed: int, cut: int) -> None:
    one, (close, index, value) = monitor(), market(seed, gaps=0.1)
    whole = lived(one, close, index, value)[cut - 1]
    part = lived(one, close[:cut], index[:cut], value[:cut])[-1]
    for name in ("covariance", "beta", "daily_value"):
        np.testing.assert_array_equal(getattr(known(one, part), name), getattr(known(one, whole), name))


@few
@given(seeds, st.integers(1, 39), st.booleans())
def test_what_is_stored_and_read_again_goes_on_the_same(seed: int, cut: int, measures: bool) -> None:
    one, (close, index, value) = monitor(measures=measures), market(seed, gaps=0.1)
    whole = lived(one, close, index, value)
    kept = {name: np.asarray(part) for name, part in whole[cut - 1].arrays().items()}
    state = MonitorState.of(kept)
    for row in range(cut, 40):
        state = one.session(one.traded(state, value[row], ended=True), close[row], index[row])
    for name, part in state.arrays().items():
        np.testing.assert_array_equal(part, whole[-1].arrays()[name], err_msg=name)


def test_a_copy_is_not_changed_by_what_comes_after_it() -> None:
    one, (close, index, value) = monitor(), market(1)
    state = one.open()
    for row in range(10):
        state = one.session(one.traded(state, value[row], ended=True), close[row], index[row])
    kept = state.copy()
    before = {name: np.array(part) for name, part in kept.arrays().items()}
    for row in range(10, 40):
        state = one.session(state, close[row], index[row])
    for name, part in kept.arrays().items():
        np.testing.assert_array_equal(part, before[name], err_msg=name)


def test_the_volume_is_the_mean_of_the_last_sessions_with_bars_and_counts_those_without_trades() -> None:
    one = monitor(symbols=2, volume_sessions=3)
    state = one.open()
    told = []
    for value in ([100.0, NAN], [200.0, 0.0], [300.0, 50.0], [NAN, 70.0], [800.0, NAN]):
        state = one.traded(state, np.array(value), ended=True)
        told.append(one.exposure(state, np.ones(2, bool), wanted=False).daily_value.tolist())
    np.testing.assert_array_equal(told, [[100, NAN], [150, 0], [200, 25], [250, 40], [550, 60]])


def test_what_is_traded_within_a_session_counts_only_when_it_is_over() -> None:
    one = monitor(symbols=1, volume_sessions=3)
    state = one.traded(one.traded(one.open(), np.array([100.0]), ended=True), np.array([900.0]), ended=False)
    assert one.exposure(state, np.ones(1, bool), wanted=False).daily_value.tolist() == [100.0]
    state = one.traded(state, np.array([100.0]), ended=True)
    assert one.exposure(state, np.ones(1, bool), wanted=False).daily_value.tolist() == [550.0]


def test_a_name_is_unknown_until_it_has_had_enough_sessions() -> None:
    one, (close, index, value) = monitor(), market(2)
    close[:15, 2] = np.nan  # listed late
    for row, state in enumerate(lived(one, close, index, value)):
        found = known(one, state)
        assert np.isfinite(found.beta).tolist() == [row >= 8, row >= 8, row >= 23]
        assert np.isfinite(np.diag(found.covariance)).tolist() == [row >= 8, row >= 8, row >= 23]


def test_without_an_index_the_market_is_the_mean_of_the_names() -> None:
    one, (close, _, value) = monitor(), market(3)
    mean = np.exp(np.log(close).mean(axis=1))
    with_index, without = (known(one, lived(one, close, i, value)[-1]) for i in (mean, np.full(40, NAN)))
    np.testing.assert_allclose(without.beta, with_index.beta, rtol=1e-9)
    assert without.beta.mean() == pytest.approx(1.0, abs=0.1)


def test_a_session_without_a_bar_gives_the_next_return_over_both() -> None:
    one, (close, index, value) = monitor(symbols=1), market(4, symbols=1)
    close[20] = np.nan
    state = lived(one, close, index, value)[-1]
    returns = np.diff(np.log(np.delete(close, 20, axis=0)), axis=0)
    padded = np.insert(returns, 19, np.nan, axis=0)
    wanted = ewma.sample_covariance(padded, half_life_bars=20.0, shrinkage=0.1, least=8)
    np.testing.assert_allclose(known(one, state).covariance, wanted, rtol=1e-12)


def test_a_desk_that_asks_for_no_risk_keeps_none() -> None:
    one, (close, index, value) = monitor(measures=False), market(5)
    state = lived(one, close, index, value)[-1]
    assert state.covariance.products.size == 0
    found = one.exposure(state, np.ones(3, bool), wanted=False)
    assert found.covariance is None
    assert found.beta is None
    assert np.all(found.daily_value > 0)


def test_names_that_never_move_have_no_risk_and_spoil_nobodys() -> None:
    one, (close, index, value) = monitor(), market(6)
    close[:, 0] = 10.0
    found = known(one, lived(one, close, index, value)[-1])
    assert found.covariance[0].tolist() == [0.0, 0.0, 0.0]
    assert np.all(np.linalg.eigvalsh(found.covariance) >= -1e-18)
    assert np.isfinite(found.beta).all()
