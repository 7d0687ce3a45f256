"""How long it takes to get out, and that an unknown volume stays unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.risk.liquidity import average_value_traded, liquidity

SYMBOLS = ("BIG", "SMALL", "GONE", "HALT")


def test_days_are_position_over_what_may_be_sold_a_day() -> None:
    found = liquidity(np.array([0.5, -0.5]), 1_000_000, np.array([1e6, 1e5]), participation=0.1)
    assert found.days == pytest.approx([5.0, 50.0])
    assert found.adv_share == pytest.approx([0.5, 5.0])
    assert found.liquidated == pytest.approx({1: 0.11, 5: 0.55, 20: 0.7})
    assert found.above(0.5).tolist() == [False, True]


def test_an_unknown_volume_is_unknown_and_counts_as_still_held() -> None:
    weights = np.array([0.5, 0.2, 0.2, 0.1])
    found = liquidity(weights, 1000.0, np.array([1e9, 1e9, np.nan, 0.0]))
    told = found.to_dict(SYMBOLS, weights, 0.05)
    assert found.unknown == pytest.approx(0.2) and found.liquidated[20] == pytest.approx(0.7)
    assert math.isnan(found.days[2]) and math.isinf(found.days[3])
    assert (told["unknown"], told["without_volume"], told["above_adv_share_max"]) == (["GONE"], ["HALT"], ["HALT"])
    assert told["days_to_liquidate"] is None


def test_what_is_not_held_takes_no_time_whatever_its_volume() -> None:
    weights = np.array([0.0, 1.0])
    found = liquidity(weights, 100.0, np.array([np.nan, 1e6]))
    assert found.days[0] == 0 and found.unknown == 0
    assert found.to_dict(("A", "B"), weights, 0.05)["days_to_liquidate"] == pytest.approx(0.001)
    flat = liquidity(np.zeros(2), 100.0, np.array([np.nan, 1e6]))
    assert flat.liquidated == {1: 1.0, 5: 1.0, 20: 1.0} and flat.unknown == 0


@given(st.integers(0, 500))
def test_a_larger_book_takes_longer_and_more_days_close_more(seed: int) -> None:
    draw = np.random.default_rng(seed)
    weights, traded = draw.normal(size=8), np.exp(draw.normal(10, 2, 8))
    small, large = (liquidity(weights, equity, traded) for equity in (1e4, 1e6))
    assert (large.days >= small.days).all()
    sold = list(large.liquidated.values())
    assert sold == sorted(sold) and 0 <= sold[0] <= sold[-1] <= 1 + 1e-12
    assert all(large.liquidated[d] <= small.liquidated[d] + 1e-12 for d in large.liquidated)


def test_the_value_traded_is_a_mean_over_the_sessions_that_are_known() -> None:
    close, volume = np.full((30, 5), 2.0), np.full((30, 5), 100.0)
    volume[:10] = 1e9
    volume[10:21, 1] = np.nan
    volume[10:20, 2] = np.nan
    volume[-5:, 3] = np.nan
    volume[15:, 4] = 0.0
    found = average_value_traded(close, volume, sessions=20)
    assert found == pytest.approx([200.0, np.nan, 200.0, np.nan, 50.0], nan_ok=True)


@pytest.mark.parametrize(
    ("weights", "equity", "participation"),
    [([1.0], 1.0, 0.0), ([1.0], 0.0, 0.1), ([1.0, 2.0], 1.0, 0.1), ([np.nan], 1.0, 0.1)],
)
def test_what_cannot_be_is_refused(weights: list[float], equity: float, participation: float) -> None:
    with pytest.raises(InputError):
        liquidity(np.array(weights), equity, np.array([1e6]), participation=participation)
    with pytest.raises(InputError):
        average_value_traded(np.ones((3, 2)), np.ones((3, 1)))
