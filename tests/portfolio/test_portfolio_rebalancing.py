"""A book walked over bars: what prices make of it, when it is chosen anew, and who leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optimiser_kit import market, section

from tradewind.portfolio.optimiser import Binding, OptimiserSection, optimise
from tradewind.portfolio.rebalancing import Chosen, Path, Question, Wishes, bound_by, carried, walk

WEIGHTS = arrays(np.float64, 4, elements=st.floats(-0.4, 0.4))
GROWTH = arrays(np.float64, 4, elements=st.floats(0.5, 1.5))


def wishes(bars: int, names: int = 3, **changes: Any) -> Wishes:
    """Return wishes of a market that stands still and in which everybody may be held and nobody leaves."""
    yes = np.ones((bars, names), dtype=bool)
    usual = {
        "due": np.ones(bars, dtype=bool),
        "growth": np.ones((bars, names)),
        "trades": yes,
        "usable": yes,
        "wanted": np.full((bars, names), np.nan),
        "opens": yes,
        "side": np.zeros((bars, names)),
    }
    return Wishes(**{**usual, **changes})


def always(*weight: float) -> Callable[[Question], Chosen]:
    return lambda question: Chosen(np.where(question.admitted, weight, np.nan), [""] * len(weight))


def chosen_on(path: Path) -> list[int]:
    return list(path.rebalances)


# -- what prices make of it ----------------------------------------------------------------------------------


@given(WEIGHTS, GROWTH)
def test_carried_weights_are_those_of_an_account_that_does_nothing(weight: np.ndarray, growth: np.ndarray) -> None:
    values, cash = weight * 1000.0, 1000.0 * (1.0 - weight.sum())
    after = values * growth
    worth = cash + after.sum()
    if worth > 1.0:
        np.testing.assert_allclose(carried(weight, growth), after / worth, rtol=1e-9, atol=1e-12)


def test_what_is_worth_nothing_any_more_is_an_empty_book() -> None:
    assert not carried(np.array([-2.0]), np.array([2.0])).any()


# -- when a book is chosen -----------------------------------------------------------------------------------


def test_a_book_is_chosen_every_so_many_bars_on_bars_that_are_due() -> None:
    settings = OptimiserSection(every_bars=4)
    assert chosen_on(walk(wishes(12), always(0.2, 0.2, 0.2), settings)) == [0, 4, 8]
    third = np.arange(12) % 3 == 0
    path = walk(wishes(12, due=third), always(0.2, 0.2, 0.2), settings)
    assert chosen_on(path) == [0, 6]
    assert np.isnan(path.weight[[1, 2, 3, 4, 5, 7]]).all() and (path.weight[6] == 0.2).all()


def test_a_weight_that_drifted_far_from_its_target_brings_the_next_book_forward() -> None:
    growth = np.ones((10, 3))
    growth[3, 0] = 1.5
    settings = OptimiserSection(every_bars=8, drift_trigger=0.05)
    assert chosen_on(walk(wishes(10, growth=growth), always(0.2, 0.2, 0.2), settings)) == [0, 3]
    assert chosen_on(walk(wishes(10, growth=growth), always(0.05, 0.2, 0.2), settings)) == [0, 8]


def test_the_question_knows_the_book_as_prices_carried_it() -> None:
    growth = np.ones((3, 2))
    growth[1:, 0] = 1.1
    asked: list[np.ndarray] = []

    def choose(question: Question) -> Chosen:
        asked.append(question.held)
        return Chosen(np.array([0.5, 0.0]), ["", ""])

    walk(wishes(3, 2, growth=growth), choose, OptimiserSection(every_bars=2))
    once = 0.55 / 1.05
    assert not asked[0].any() and asked[1] == pytest.approx([once * 1.1 / (1 + once * 0.1), 0.0])


def test_nothing_is_asked_while_nobody_may_take_part_and_the_first_who_may_need_not_wait() -> None:
    opens = np.zeros((10, 3), dtype=bool)
    opens[3:, 1] = True
    path = walk(wishes(10, opens=opens), always(0.2, 0.2, 0.2), OptimiserSection(every_bars=5))
    assert chosen_on(path) == [3, 8] and np.isnan(path.weight[:3]).all()
    assert path.weight[3].tolist() == [0.0, 0.2, 0.0]


def test_without_an_answer_the_old_book_stays_until_the_next_is_due() -> None:
    answers = iter(
        [Chosen(np.full(3, 0.2), [""] * 3), "limits in conflict", Chosen(np.full(3, 0.1), ["gross_max"] * 3)]
    )
    path = walk(wishes(9), lambda _: next(answers), OptimiserSection(every_bars=3))
    assert chosen_on(path) == [0, 6] and path.refused == ((3, "limits in conflict"),)
    assert np.isnan(path.weight[3]).all() and [path.names[i] for i in path.bound[6]] == ["gross_max"] * 3


# -- who leaves ----------------------------------------------------------------------------------------------


def test_who_is_closed_leaves_at_once_and_does_not_come_back_without_being_opened() -> None:
    wanted, opens = np.full((8, 3), np.nan), np.zeros((8, 3), dtype=bool)
    opens[0], wanted[0], wanted[2, 1] = True, 0.1, 0.0
    path = walk(wishes(8, wanted=wanted, opens=opens), always(0.2, 0.2, 0.2), OptimiserSection(every_bars=4))
    assert path.weight[2, 1] == 0 and np.isnan(path.weight[2, [0, 2]]).all()
    assert path.weight[4].tolist() == [0.2, 0.0, 0.2]


def test_a_wish_for_the_other_side_closes_and_then_turns() -> None:
    wanted = np.full((5, 3), np.nan)
    wanted[0], wanted[2, 0], wanted[4, 0] = 0.1, -0.1, -0.1
    sides: list[np.ndarray] = []

    def choose(question: Question) -> Chosen:
        sides.append(question.side)
        return Chosen(np.where(question.side < 0, -0.2, 0.2), [""] * 3)

    given_sides = np.sign(np.nan_to_num(wanted))
    opens = given_sides != 0
    path = walk(wishes(5, wanted=wanted, opens=opens, side=given_sides), choose, OptimiserSection(every_bars=4))
    assert path.weight[2, 0] == 0 and path.weight[4].tolist() == [-0.2, 0.2, 0.2]
    assert sides[1].tolist() == [-1, 1, 1]


def test_who_has_no_bar_stays_and_who_is_no_longer_known_leaves() -> None:
    trades, usable = np.ones((4, 3), dtype=bool), np.ones((4, 3), dtype=bool)
    trades[2:, 0], usable[2:, :2] = False, False
    path = walk(wishes(4, trades=trades, usable=usable), always(0.2, 0.2, 0.2), OptimiserSection(every_bars=3))
    assert np.isnan(path.weight[2, 0]) and path.weight[2, 1] == 0
    assert np.isnan(path.weight[3, 0]) and path.weight[3, 1:].tolist() == [0.0, 0.2]


@given(st.integers(0, 10_000), st.integers(5, 40))
def test_a_prefix_of_the_bars_gives_a_prefix_of_the_path(seed: int, stop: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 3)
    wanted = rng.choice([np.nan, 0.0, 0.1, -0.1], shape)
    parts = {
        "due": rng.random(40) < 0.6,
        "growth": np.exp(rng.normal(0, 0.05, shape)),
        "trades": rng.random(shape) < 0.9,
        "usable": rng.random(shape) < 0.9,
        "wanted": wanted,
        "opens": np.nan_to_num(wanted) != 0,
        "side": np.sign(np.nan_to_num(wanted)),
    }

    def choose(question: Question) -> Chosen | str:
        if question.row % 7 == 3:
            return "no"
        return Chosen(np.where(question.admitted, 0.1 + question.held / 2, np.nan), ["a", "b", ""])

    settings = OptimiserSection(every_bars=3)
    whole = walk(wishes(40, **parts), choose, settings)
    part = walk(wishes(stop, **{name: values[:stop] for name, values in parts.items()}), choose, settings)
    np.testing.assert_array_equal(part.weight, whole.weight[:stop])
    np.testing.assert_array_equal(part.bound, whole.bound[:stop])


# -- what bound, and on which side ---------------------------------------------------------------------------


def test_a_limit_on_a_name_comes_before_one_on_the_book_and_the_dearest_first() -> None:
    binding = (
        Binding("gross_max", "", 1.0, 0.9),
        Binding("sector_max", "tech", 0.4, 0.5),
        Binding("pairwise_correlation_max", "A and B", 0.2, 0.4),
        Binding("position_max", "A", 0.2, 0.1),
        Binding("long_only", "D", 0.0, 0.1),
        Binding("net_max", "", 1.0, 0.0),
    )
    names, sectors = ("A", "B", "C", "D"), ("tech", "energy", "energy", "energy")
    assert bound_by(binding, names, sectors) == ["sector_max", "pairwise_correlation_max", "gross_max", "gross_max"]
    assert bound_by(binding[-1:], names, sectors) == [""] * 4


def test_the_side_of_a_name_is_kept_by_the_optimiser() -> None:
    problem = market(6, seed=2)
    free = optimise(problem, section(long_only=False, net_min=None, position_max=0.3, gross_max=1.0))
    side = -np.sign(free.weights)
    kept = optimise(
        type(problem)(**{**vars(problem), "side": side}),
        section(long_only=False, net_min=None, net_max=1.0, position_max=0.3, gross_max=1.0, objective="mean_variance"),
    )
    assert (kept.weights * side >= -1e-9).all() and (free.weights * side < 0).any()
    assert not {one.name for one in kept.binding} - {"side", "position_max", "gross_max"}
