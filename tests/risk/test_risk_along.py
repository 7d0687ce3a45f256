"""Risk stepped along rows is the risk that is computed from nothing at each of them."""

from __future__ import annotations

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.risk import beta, covariance
from tradewind.risk.along import RiskAlong


def returns(bars: int = 200, names: int = 7) -> np.ndarray:
    rng = np.random.default_rng(5)
    moves = rng.normal(0, 0.01, (bars, 1)) + rng.normal(0, 0.01, (bars, names))
    moves[rng.random(moves.shape) < 0.1] = np.nan
    return moves


def test_a_step_at_a_time_is_bit_for_bit_what_all_at_once_gives_of_any_symbols() -> None:
    moves = returns()
    market = np.nan_to_num(moves).mean(axis=1)
    known = RiskAlong(moves, market, 30.0, 0.2, 20)
    for row in (40, 41, 90, 199):
        known.at(row)
        for columns in (np.arange(7), np.array([1, 4, 5])):
            alone = covariance.sample_covariance(
                moves[: row + 1, columns], half_life_bars=30.0, shrinkage=0.2, least=20
            )
            np.testing.assert_array_equal(known.covariance(columns), alone)
        state = beta.step(beta.initial_state(7, 30.0), moves[: row + 1], market[: row + 1])
        np.testing.assert_array_equal(known.betas(), beta.betas(state, least=20).shrunk)


def test_what_lies_forty_half_lives_back_is_forgotten() -> None:
    moves = returns(600, 4)
    whole = RiskAlong(moves, None, 5.0, 0.0, 20).at(599).covariance(np.arange(4))
    late = RiskAlong(moves, None, 5.0, 0.0, 20, row=399).at(599).covariance(np.arange(4))
    np.testing.assert_allclose(late, whole, rtol=1e-11)
    assert RiskAlong(moves, None, 5.0, 0.0, 20).at(3).betas() is None


def test_rows_are_asked_for_in_their_order() -> None:
    known = RiskAlong(returns(), None, 30.0, 0.2, 20).at(50)
    known.at(50)
    with pytest.raises(InputError, match="row 49 comes after row 50"):
        known.at(49)
