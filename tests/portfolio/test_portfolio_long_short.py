"""Long/short books: neutral, capped, as near to the scores as a solver finds, and honest about what cannot be."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.portfolio.long_short import (
    REASONS,
    LongShortBook,
    LongShortSection,
    market_neutral,
    one_thirty_thirty,
    sector_neutral,
)

NAN = float("nan")
TOLERANCE = 1e-6
Kind = Callable[..., LongShortBook]


def names(seed: int, bars: int = 3, count: int = 30) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "score": rng.normal(size=(bars, count)),
        "volatility": rng.uniform(0.01, 0.05, (bars, count)),
        "beta": rng.normal(1.0, 0.4, (bars, count)),
    }


def sectors(count: int = 30) -> tuple[str, ...]:
    return tuple(f"sector {n % 5}" for n in range(count))


def book(kind: Kind, given: dict[str, np.ndarray], **more: object) -> LongShortBook:
    return kind(**given, sectors=sectors(given["score"].shape[-1]), **more)


KINDS = pytest.mark.parametrize("kind", [market_neutral, sector_neutral, one_thirty_thirty])


@KINDS
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), cap=st.floats(0.045, 0.3))
def test_a_book_is_neutral_within_its_caps_and_as_large_as_asked(kind: Kind, seed: int, cap: float) -> None:
    made = book(kind, names(seed), position_max=cap)
    assert np.abs(made.net - (kind is one_thirty_thirty)).max() < TOLERANCE
    assert np.abs(made.beta).max() < TOLERANCE
    assert np.abs(made.weight).max() <= cap + TOLERANCE
    assert made.gross.max() <= 1.6 + TOLERANCE
    fine = made.reason == 0
    assert made.gross[fine] == pytest.approx(1.6, abs=TOLERANCE)
    assert (made.gross[~fine] < 1.6).all() and set(made.reason[~fine]) <= {4, 5}
    if kind is not market_neutral:
        assert made.sector_net.max() < TOLERANCE


def test_130_30_is_130_long_and_30_short_with_the_beta_of_equal_weights() -> None:
    given_ = names(1)
    made = book(one_thirty_thirty, given_)
    assert np.maximum(made.weight, 0).sum(axis=1) == pytest.approx(1.3, abs=TOLERANCE)
    assert np.minimum(made.weight, 0).sum(axis=1) == pytest.approx(-0.3, abs=TOLERANCE)
    assert (made.weight * given_["beta"]).sum(axis=1) == pytest.approx(given_["beta"].mean(axis=1))


@KINDS
@pytest.mark.parametrize("cap", [0.2, 0.08, 0.07])
def test_the_book_is_the_one_that_a_quadratic_programme_finds(kind: Kind, cap: float) -> None:
    import cvxpy as cp

    given_ = names(5, bars=1)
    can = np.random.default_rng(0).random((1, 30)) < 0.8
    made = book(kind, given_, position_max=cap, borrowable=can)
    score, variance, beta = given_["score"][0], given_["volatility"][0] ** 2, given_["beta"][0]
    assert made.reason[0] == 0
    neutral = kind is market_neutral
    groups = [np.array([s == g for s in sectors()]) for g in sorted(set(sectors()))]
    exposures = np.array([np.ones(30) if neutral else groups[0], beta] + ([] if neutral else groups[1:])).astype(float)
    base = np.full(30, 1 / 30) if kind is one_thirty_thirty else np.zeros(30)
    d, scale = cp.Variable(30), _scale_of(made.weight[0] - base, score, variance, exposures, can[0], cap, base)
    distance = cp.sum_squares(cp.multiply(np.sqrt(variance) / 0.03, d - scale * score / variance))
    limits = [exposures @ d == 0, base + d <= cap, base + d >= np.where(can[0], -cap, 0.0)]
    cp.Problem(cp.Minimize(distance), limits).solve(solver="CLARABEL")
    np.testing.assert_allclose(base + d.value, made.weight[0], atol=2e-5)


def _scale_of(
    away: np.ndarray,
    score: np.ndarray,
    variance: np.ndarray,
    exposures: np.ndarray,
    can: np.ndarray,
    cap: float,
    base: np.ndarray,
) -> float:
    """Return the scale that the book's first-order conditions imply on the names that no limit holds."""
    weight = base + away
    free = (weight < cap - 1e-7) & (weight > np.where(can, -cap, 0.0) + 1e-7)
    # variance * away = scale * score - exposures' multipliers, on the free names
    design = np.column_stack([score, exposures.T])[free]
    return float(np.linalg.lstsq(design, (variance * away)[free], rcond=None)[0][0])


@KINDS
def test_the_names_may_stand_in_any_order(kind: Kind) -> None:
    given_, order = names(2), np.random.default_rng(0).permutation(30)
    straight = kind(**given_, sectors=sectors(), position_max=0.07)
    moved = {name: values[:, order] for name, values in given_.items()}
    permuted = kind(**moved, sectors=tuple(sectors()[n] for n in order), position_max=0.07)
    np.testing.assert_allclose(permuted.weight, straight.weight[:, order], atol=1e-6)


@KINDS
def test_only_the_order_and_the_distances_of_scores_count_not_their_unit_or_level(kind: Kind) -> None:
    given_ = names(3)
    other = given_ | {"score": 7.0 + 0.001 * given_["score"]}
    np.testing.assert_allclose(book(kind, other).weight, book(kind, given_).weight, atol=1e-6)


@KINDS
def test_a_bar_alone_gives_the_weights_that_it_has_in_history(kind: Kind) -> None:
    given_ = names(4, bars=4)
    whole = book(kind, given_, position_max=0.06)
    for t in range(4):
        alone = book(kind, {name: values[t] for name, values in given_.items()}, position_max=0.06)
        np.testing.assert_allclose(alone.weight[0], whole.weight[t], atol=1e-7)


def test_names_that_cannot_be_borrowed_are_never_short() -> None:
    can = np.random.default_rng(1).random((3, 30)) < 0.5
    made = book(market_neutral, names(6), borrowable=can)
    assert made.weight[~can].min() >= 0 and made.weight[can].min() < 0
    assert np.abs(made.net).max() < TOLERANCE and np.abs(made.beta).max() < TOLERANCE


@pytest.mark.parametrize("kind", [market_neutral, sector_neutral])
def test_where_nothing_can_be_borrowed_there_is_no_neutral_book_and_it_says_so(kind: Kind) -> None:
    made = book(kind, names(7), borrowable=np.zeros((3, 30), dtype=bool))
    assert not made.weight.any()
    assert {REASONS[code] for code in made.reason} == {"limits keep the gross weight below what was asked for"}


def test_130_30_that_nobody_lends_for_stays_long_only_and_says_so() -> None:
    made = book(one_thirty_thirty, names(7), borrowable=np.zeros((3, 30), dtype=bool))
    assert made.weight.min() >= 0
    assert made.net == pytest.approx(1.0) and made.gross == pytest.approx(1.0)
    assert made.times()["limits keep the gross weight below what was asked for"] == 3


def test_caps_too_small_to_be_fully_invested_leave_no_book() -> None:
    made = book(one_thirty_thirty, names(8), position_max=0.02)
    assert not made.weight.any()
    assert {REASONS[code] for code in made.reason} == {"limits leave no book with these exposures"}


def test_a_name_alone_in_its_sector_has_no_position() -> None:
    given_ = names(9)
    made = sector_neutral(**given_, sectors=("alone", *("rest",) * 29))
    assert not made.weight[:, 0].any() and made.reason.max() == 0


def test_one_sector_for_all_is_market_neutral() -> None:
    given_ = names(10)
    one = sector_neutral(**given_, sectors=("unknown",) * 30)
    np.testing.assert_allclose(one.weight, market_neutral(**given_).weight, atol=1e-7)


@KINDS
def test_exposures_that_repeat_each_other_are_no_trouble(kind: Kind) -> None:
    same = names(11) | {"beta": np.ones((3, 30))}
    made = book(kind, same)
    assert made.reason.max() == 0 and np.abs(made.beta).max() < TOLERANCE
    none = book(kind, names(11) | {"beta": np.zeros((3, 30))})
    np.testing.assert_allclose(none.weight, made.weight, atol=1e-6)


def test_scores_that_are_all_exposure_ask_for_nothing() -> None:
    given_ = names(12)
    given_["score"] = 0.3 + 2.0 * given_["beta"]
    made = book(market_neutral, given_)
    assert not made.weight.any()
    assert {REASONS[code] for code in made.reason} == {"the scores do not differ beyond the exposures"}
    assert not book(market_neutral, given_ | {"score": np.ones((3, 30))}).weight.any()


@KINDS
def test_names_without_a_score_a_risk_or_a_beta_get_no_position(kind: Kind) -> None:
    given_ = names(13)
    given_["score"][0, 0] = given_["volatility"][0, 1] = given_["beta"][0, 2] = NAN
    given_["volatility"][0, 3] = 0.0
    made = book(kind, given_)
    assert not made.weight[0, :4].any() and made.reason[0] == 0
    without = {name: values[:1, 4:] for name, values in given_.items()}
    alone = kind(**without, sectors=sectors()[4:])
    np.testing.assert_allclose(made.weight[0, 4:], alone.weight[0], atol=1e-6)


def test_a_bar_without_scores_leaves_positions_as_they_are() -> None:
    given_ = names(14)
    given_["score"][1] = NAN
    made = book(market_neutral, given_)
    assert np.isnan(made.weight[1]).all() and REASONS[made.reason[1]] == "no scores"
    assert np.isfinite(made.weight[[0, 2]]).all()


@pytest.mark.parametrize("kind", [market_neutral, one_thirty_thirty])
def test_one_name_is_too_few(kind: Kind) -> None:
    made = kind(np.array([1.0]), np.array([0.02]), np.array([1.0]))
    assert REASONS[made.reason[0]] == "too few names" and made.weight.tolist() == [[0.0]]


def test_two_names_that_differ_in_beta_cannot_be_neutral_to_both() -> None:
    made = market_neutral(np.array([1.0, -1.0]), np.array([0.02, 0.02]), np.array([0.8, 1.4]), position_max=1.0)
    assert not made.weight.any() and made.reason[0] != 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"beta": np.ones(29)}, "beta has shape"),
        ({"position_max": 0.0}, "position_max is 0"),
        ({"gross": 1.7}, "gross 1.7"),
        ({"borrowable": np.ones((2, 30), dtype=bool)}, "borrowable has shape"),
    ],
)
def test_shapes_and_limits_that_make_no_sense_are_refused(change: dict[str, object], what: str) -> None:
    with pytest.raises(InputError, match=what):
        market_neutral(**(names(0) | change))  # type: ignore[arg-type]


def test_sectors_of_other_names_and_too_large_shorts_are_refused() -> None:
    with pytest.raises(InputError, match="2 sectors for 30 names"):
        sector_neutral(**names(0), sectors=("a", "b"))
    with pytest.raises(InputError, match="short is"):
        one_thirty_thirty(**names(0), short=0.5)


def test_the_section_keeps_the_gross_limit_of_the_row() -> None:
    assert LongShortSection().gross_max == 1.6
    with pytest.raises(ValueError, match="less than or equal"):
        LongShortSection(gross_max=1.8)
