"""The gate: what passes it breaks no limit, and what is lost or drifts has the consequence that the playbook says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from limits_kit import DEVIATIONS, closings, require_held
from tradewind.portfolio.limits import Alert, Gate, GateState, times_bound
from tradewind.portfolio.limits_kernel import CODES
from tradewind.portfolio.settings import CLIPPED, WATCHED, LimitsSection
from tradewind.risk.monitor import Exposure
from tradewind.risk.settings import RiskSection

FloatArray = NDArray[np.float64]

NAN = float("nan")
EQUITY = 100_000.0
OPEN = {"position_max": 1.0, "gross_max": 4.0}
UNTROUBLED = GateState(EQUITY, EQUITY)


@dataclass(frozen=True)
class Case:
    """A book, what is wanted of it, and what is known of its names."""

    gate: Gate
    held: FloatArray
    wish: FloatArray
    order: NDArray[np.int64]
    exposure: Exposure
    state: GateState = UNTROUBLED

    def allow(self) -> tuple[FloatArray, list[str]]:
        allowed, bound = self.gate.allow(self.state, self.held, self.wish, self.order, self.exposure, EQUITY)
        return allowed, [CODES[code] for code in bound]

    def after(self) -> FloatArray:
        """Return the book that the allowed wishes lead to."""
        allowed, _ = self.allow()
        return np.where(np.isnan(allowed), self.held, allowed)

    def closings(self) -> FloatArray:
        """Return the book that the wishes towards nothing alone lead to: nobody may refuse these."""
        return closings(self.held, self.wish)


def case(
    held: object,
    wish: object,
    *,
    sectors: object = None,
    symbol_of: object = None,
    beta: object = None,
    covariance: object = None,
    daily_value: object = None,
    borrowable: object = True,
    order: object = None,
    risk: RiskSection | None = None,
    reactions: dict[str, str] | None = None,
    state: GateState = UNTROUBLED,
    **limits: object,
) -> Case:
    held, wish = np.atleast_1d(np.asarray(held, float)), np.atleast_1d(np.asarray(wish, float))
    symbols = np.arange(len(held)) if symbol_of is None else np.asarray(symbol_of)
    count = int(symbols.max()) + 1
    section = LimitsSection.model_validate({**OPEN, **limits, "reactions": reactions or {}})
    groups = np.arange(count) if sectors is None else np.asarray(sectors)
    gate = Gate(section, risk or RiskSection(), symbols.astype(np.int64), groups.astype(np.int64))
    exposure = Exposure(
        np.broadcast_to(np.asarray(1e12 if daily_value is None else daily_value, float), (count,)).copy(),
        np.broadcast_to(np.asarray(borrowable, bool), (count,)).copy(),
        None if beta is None else np.asarray(beta, float),
        None if covariance is None else np.asarray(covariance, float),
    )
    served = np.arange(len(held)) if order is None else np.asarray(order)
    return Case(gate, held, wish, served.astype(np.int64), exposure, state)


# -- what a limit takes, by hand ---------------------------------------------------------------------------------

RISKY = np.diag([0.01, 0.02, 0.03, 0.04]) ** 2
"""Four names that move on their own, by 1 to 4 % a session."""

TWINS = np.array([[1.0, 0.9, 0.0, 0.0], [0.9, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.2], [0.0, 0.0, 0.2, 1.0]]) * 1e-4

TABLE: dict[str, tuple[Case, list[float], list[str]]] = {
    "a wish below every limit passes": (case([0, 0.1], [0.1, 0.2]), [0.1, 0.2], ["none"] * 2),
    "no word stays no word": (case([0.3, 0.1], [NAN, 0.2]), [NAN, 0.2], ["none"] * 2),
    "a position is clipped": (
        case([0, 0, 0], [0.3, -0.3, 0.1], position_max=0.2),
        [0.2, -0.2, 0.1],
        ["position_max", "position_max", "none"],
    ),
    "a position is refused where the playbook blocks": (
        case([0.1, 0], [0.3, 0.2], position_max=0.2, reactions={"position_max": "block"}),
        [0.1, 0.2],
        ["position_max", "none"],
    ),
    "what prices carried beyond may stay, and grows no more": (
        case([0.3, 0.3], [0.35, 0.3], position_max=0.2),
        [0.3, 0.3],
        ["position_max", "none"],
    ),
    "what prices carried beyond may shrink, although it stays beyond": (
        case([0.3], [0.25], position_max=0.2),
        [0.25],
        ["none"],
    ),
    "a change of sides closes all and opens what is allowed": (
        case([0.3], [-0.5], position_max=0.2),
        [-0.2],
        ["position_max"],
    ),
    "a change of sides that may not open still closes": (
        case([0.3], [-0.5], borrowable=False),
        [0.0],
        ["borrow"],
    ),
    "a short that nobody lends is not opened, a long is": (
        case([0, 0], [-0.2, 0.2], borrowable=False),
        [0.0, 0.2],
        ["borrow", "none"],
    ),
    "a short held may be covered, though nobody lends any more": (
        case([-0.3], [-0.1], borrowable=False),
        [-0.1],
        ["none"],
    ),
    "a symbol's timeframes count together": (
        case([0, 0.1, 0], [0.2, NAN, 0.2], symbol_of=[0, 0, 1], position_max=0.2),
        [0.1, NAN, 0.2],
        ["position_max", "none", "none"],
    ),
    "two timeframes share what is left in proportion": (
        case([0, 0], [0.3, 0.1], symbol_of=[0, 0], position_max=0.2),
        [0.15, 0.05],
        ["position_max"] * 2,
    ),
    "a position may be a tenth of a day's volume": (
        case([0, 0], [0.2, 0.2], daily_value=[1e5, 1e6], liquidity_max=0.1),
        [0.1, 0.2],
        ["liquidity_max", "none"],
    ),
    "a name without known volume is not bought": (
        case([0, 0.1], [0.2, 0.05], daily_value=[NAN, NAN], liquidity_max=0.1),
        [0.0, 0.05],
        ["unknown_risk", "none"],
    ),
    "a sector is scaled down in proportion, another is not": (
        case([0, 0, 0], [0.3, 0.1, 0.4], sectors=[0, 0, 1], sector_max=0.2),
        [0.15, 0.05, 0.2],
        ["sector_max"] * 3,
    ),
    "longs and shorts of a sector add up": (
        case([0, 0], [0.2, -0.2], sectors=[0, 0], sector_max=0.2),
        [0.1, -0.1],
        ["sector_max"] * 2,
    ),
    "a sector counts what is held without a word": (
        case([0.3, 0], [NAN, 0.3], sectors=[0, 0], sector_max=0.4),
        [NAN, 0.1],
        ["none", "sector_max"],
    ),
    "what closes makes room in a sector": (
        case([0.4, 0], [0.0, 0.4], sectors=[0, 0], sector_max=0.4),
        [0.0, 0.4],
        ["none", "none"],
    ),
    "the gross is scaled down": (
        case([0.5, 0, 0], [NAN, 0.6, -0.4], gross_max=1.0),
        [NAN, 0.3, -0.2],
        ["none", "gross_max", "gross_max"],
    ),
    "names that move together share one limit, the first in the queue first": (
        case([0, 0, 0, 0], [0.2, 0.2, 0.2, 0.2], order=[1, 0, 2, 3], covariance=TWINS, beta=np.ones(4),
             correlation_max=0.7, correlated_max=0.3),
        [0.1, 0.2, 0.2, 0.2],
        ["correlation_max", "none", "none", "none"],
    ),
    "a long and a short of twins hedge each other": (
        case([0, 0, 0, 0], [0.2, -0.2, NAN, NAN], covariance=TWINS, beta=np.ones(4), correlation_max=0.7,
             correlated_max=0.3),
        [0.2, -0.2, NAN, NAN],
        ["none"] * 4,
    ),
    "a name alone is no pair, whatever the limit on pairs": (
        case([0, 0, 0, 0], [0.5, NAN, NAN, NAN], covariance=TWINS, beta=np.ones(4), correlation_max=0.7,
             correlated_max=0.3),
        [0.5, NAN, NAN, NAN],
        ["none"] * 4,
    ),
    "without a limit of its own a crowd may be as large as one position": (
        case([0.2, 0, 0, 0], [NAN, 0.1, NAN, NAN], covariance=TWINS, beta=np.ones(4), correlation_max=0.7,
             position_max=0.25),
        [NAN, 0.05, NAN, NAN],
        ["none", "correlation_max", "none", "none"],
    ),
    "the net takes from the side that pushes": (
        case([0, 0, 0], [0.4, 0.2, -0.2], net_max=0.1),
        [0.2, 0.1, -0.2],
        ["net_max", "net_max", "none"],
    ),
    "a net that is short is held as well": (
        case([0, 0], [-0.6, 0.2], net_max=0.1),
        [-0.3, 0.2],
        ["net_max", "none"],
    ),
    "the beta takes in proportion to what pushes": (
        case([0, 0], [0.4, 0.2], beta=[2.0, 1.0], covariance=np.eye(2), beta_max=0.5),
        [0.2, 0.1],
        ["beta_max"] * 2,
    ),
    "a hedge of negative beta is left": (
        case([0, 0], [0.6, 0.2], beta=[1.0, -1.0], covariance=np.eye(2), beta_max=0.2),
        [0.4, 0.2],
        ["beta_max", "none"],
    ),
    "value at risk takes the same share of every wish": (
        case([0, 0], [0.3, 0.4], beta=np.ones(2), covariance=np.eye(2) * 1e-4, var_max=0.0025 * DEVIATIONS),
        [0.15, 0.2],
        ["var_max"] * 2,
    ),
    "value at risk counts what is held": (
        case([0.3, 0], [NAN, 0.8], beta=np.ones(2), covariance=np.eye(2) * 1e-4, var_max=0.005 * DEVIATIONS),
        [NAN, 0.4],
        ["none", "var_max"],
    ),
    "the volatility target is of a year": (
        case([0], [0.9], beta=[1], covariance=[[0.01**2]], risk=RiskSection(volatility_target=0.003 * np.sqrt(252))),
        [0.3],
        ["volatility_target"],
    ),
    "a name of unknown risk is not opened, but closed": (
        case([0, 0.2, 0], [0.1, 0.0, 0.1], beta=[1, NAN, 1], covariance=np.diag([NAN, NAN, 1e-4]), var_max=0.5),
        [0.0, 0.0, 0.1],
        ["unknown_risk", "none", "none"],
    ),
    "a halt lets nothing open and everything close": (
        case([0.2, 0.2, 0, -0.1], [0.3, 0.1, 0.2, 0.1], state=GateState(EQUITY, EQUITY, halted="drawdown_max")),
        [0.2, 0.1, 0.0, 0.0],
        ["halted", "none", "halted", "halted"],
    ),
    "a day's loss that blocks is named": (
        case([0, 0.1], [0.3, 0.0], state=GateState(EQUITY, EQUITY, blocked="daily_loss_max")),
        [0.0, 0.0],
        ["daily_loss_max", "none"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_a_limit_takes_by_hand(name: str) -> None:
    given_case, allowed, bound = TABLE[name]
    found, by = given_case.allow()
    np.testing.assert_allclose(found, allowed, rtol=0, atol=1e-9)
    assert by == bound


def test_a_crowd_is_counted_around_each_of_its_names() -> None:
    """B moves with A and with C, A and C on their own: around B all three count."""
    rho = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.8], [0.0, 0.8, 1.0]])
    wanted = case(
        [0, 0, 0], [0.2, 0.2, 0.2], order=[0, 1, 2], covariance=rho * 1e-4, beta=np.ones(3), correlation_max=0.7,
        correlated_max=0.5,
    )  # fmt: skip
    allowed, bound = wanted.allow()
    assert allowed == pytest.approx([0.2, 0.2, 0.1])
    assert bound == ["none", "none", "correlation_max"]


def test_two_timeframes_on_opposite_sides_of_a_symbol_do_not_overshoot_when_one_is_cut() -> None:
    book = case([0, 0], [1.0, -0.8], symbol_of=[0, 0], position_max=0.1).after()
    assert abs(book.sum()) <= 0.1 + 1e-9


def test_a_hedge_is_no_reason_to_break_the_position_limit_of_its_symbol() -> None:
    book = case([0, 0, 0], [0.3, -0.25, 0.4], symbol_of=[0, 0, 1], position_max=0.4, net_max=0.1).after()
    assert abs(book[:2].sum()) <= 0.4 + 1e-9
    assert abs(book.sum()) <= 0.1 + 1e-9


def test_net_and_beta_that_pull_against_each_other_both_hold() -> None:
    """Cutting longs for the net raises the short beta, cutting shorts for the beta raises the net, and so on."""
    wanted = case(
        [0, 0], [1.0, -0.9], beta=[1.0, 1.3], covariance=np.eye(2) * 1e-8, net_max=0.05, beta_max=0.02
    )  # fmt: skip
    book = wanted.after()
    assert abs(book.sum()) <= 0.05 + 1e-9
    assert abs(book @ [1.0, 1.3]) <= 0.02 + 1e-9


def test_what_is_held_at_unknown_risk_lets_nothing_be_opened_beside_it() -> None:
    covariance = np.diag([NAN, 1e-4])
    allowed, _ = case([0.2, 0], [NAN, 0.2], beta=[1, 1], covariance=covariance, var_max=0.05).allow()
    assert allowed[1] == 0.0
    allowed, _ = case([0.2, 0], [NAN, 0.2], beta=[NAN, 1], covariance=np.eye(2) * 1e-8, beta_max=0.5).allow()
    assert allowed[1] == 0.0


# -- laws --------------------------------------------------------------------------------------------------------

law = examples(max_examples=150)
seeds = st.integers(0, 2**32 - 1)
LIMITS = {
    "position_max": (0.05, 0.5), "gross_max": (0.2, 1.5), "sector_max": (0.1, 0.8), "net_max": (0.02, 0.6),
    "beta_max": (0.02, 0.8), "var_max": (0.001, 0.05), "liquidity_max": (0.01, 0.3), "correlated_max": (0.1, 0.6),
}  # fmt: skip


def anything(seed: int, *, alone: bool = False, risk: bool = True) -> Case:
    """Return a book of every kind; ``alone``: one timeframe, so that no symbol has two columns."""
    r = np.random.default_rng(seed)
    symbols = int(r.integers(1, 7))
    columns = symbols if alone else symbols + int(r.integers(0, 5))
    symbol_of = np.concatenate([np.arange(symbols), r.integers(0, symbols, columns - symbols)])
    held = np.where(r.random(columns) < 0.5, 0.0, r.normal(0, 0.2, columns))
    wish = np.where(r.random(columns) < 0.2, NAN, r.normal(0, 0.3, columns))
    wish = np.where(r.random(columns) < 0.15, 0.0, np.where(r.random(columns) < 0.1, held, wish))
    chosen = {name: float(r.uniform(*span)) for name, span in LIMITS.items() if r.random() < 0.6}
    if r.random() < 0.5 and risk:
        chosen["correlation_max"] = float(r.uniform(0.2, 0.9))
    factors = r.normal(0, 0.02, (symbols, int(r.integers(1, 4))))
    covariance = factors @ factors.T + (r.random() < 0.5) * np.diag(r.uniform(0, 4e-4, symbols))
    if not risk:
        for name in ("beta_max", "var_max", "correlated_max"):
            chosen.pop(name, None)
    target = float(r.uniform(0.02, 0.4)) if risk and r.random() < 0.5 else None
    reactions = {name: "block" for name in CLIPPED if r.random() < 0.2}
    return case(
        held, wish, symbol_of=symbol_of, sectors=r.integers(0, 3, symbols), order=r.permutation(columns),
        beta=r.normal(1, 0.7, symbols) if risk else None, covariance=covariance if risk else None,
        daily_value=r.uniform(1e4, 1e6, symbols), borrowable=r.random(symbols) < 0.9,
        risk=RiskSection(volatility_target=target), reactions=reactions, **chosen,
    )  # fmt: skip


def require(one: Case, before: FloatArray) -> None:
    require_held(one.gate, one.exposure, one.after(), before, EQUITY)


@law
@given(seeds)
def test_the_book_that_follows_breaks_no_limit_that_closing_alone_would_keep(seed: int) -> None:
    one = anything(seed, alone=True)
    require(one, one.closings())


@law
@given(seeds)
def test_that_holds_for_several_timeframes_on_one_symbol_too(seed: int) -> None:
    one = anything(seed)
    require(one, one.closings())


@law
@given(seeds)
def test_where_nothing_is_closed_no_limit_is_broken_that_was_kept_before(seed: int) -> None:
    one = anything(seed, alone=True)
    opens = np.isnan(one.wish) | ((one.held * one.wish >= 0) & (np.abs(one.wish) >= np.abs(one.held)))
    one = replace(one, wish=np.where(opens, one.wish, NAN))
    require(one, one.held)


@law
@given(seeds)
def test_a_wish_towards_nothing_always_passes(seed: int) -> None:
    one = anything(seed)
    allowed, bound = replace(one, state=GateState(EQUITY, EQUITY, halted="drawdown_max")).allow()
    towards = (one.held * one.wish >= 0) & (np.abs(one.wish) <= np.abs(one.held))
    assert np.array_equal(allowed[towards], one.wish[towards])
    assert all(bound[m] == "none" for m in np.flatnonzero(towards))


@law
@given(seeds)
def test_what_is_allowed_lies_between_the_closing_and_the_wish(seed: int) -> None:
    one = anything(seed)
    allowed, bound = one.allow()
    floor = one.closings()
    said = np.isfinite(one.wish)
    assert np.array_equal(np.isfinite(allowed), said)
    low, high = np.minimum(floor, one.wish), np.maximum(floor, one.wish)
    assert np.all((allowed >= low - 1e-12) & (allowed <= high + 1e-12) | ~said)
    changed = said & (allowed != one.wish)
    assert [b != "none" for b in bound] == changed.tolist()


@law
@given(seeds)
def test_without_limits_everything_passes_unchanged(seed: int) -> None:
    one = anything(seed, alone=True)
    free = Gate(LimitsSection.model_validate(OPEN), RiskSection(), one.gate.symbol_of, one.gate.sector_of)
    wish = np.clip(one.wish, -0.6, 0.6)
    exposure = replace(one.exposure, borrowable=np.ones(len(wish), bool), beta=None, covariance=None)
    allowed, bound = replace(one, gate=free, wish=wish, held=one.held / 10, exposure=exposure).allow()
    assert np.array_equal(allowed, wish, equal_nan=True)
    assert set(bound) == {"none"}


@law
@given(seeds, st.randoms(use_true_random=False))
def test_permuting_symbols_and_columns_permutes_the_answer(seed: int, shuffle: object) -> None:
    one = anything(seed)
    r = np.random.default_rng(seed + 1)
    symbols, columns = r.permutation(len(one.gate.sector_of)), r.permutation(len(one.held))
    place = np.argsort(symbols)
    exposure = replace(
        one.exposure,
        daily_value=one.exposure.daily_value[symbols],
        borrowable=one.exposure.borrowable[symbols],
        beta=one.exposure.beta[symbols],
        covariance=one.exposure.covariance[np.ix_(symbols, symbols)],
    )
    gate = Gate(one.gate.limits, one.gate.risk, place[one.gate.symbol_of][columns], one.gate.sector_of[symbols])
    moved = Case(gate, one.held[columns], one.wish[columns], np.argsort(columns)[one.order], exposure)
    (allowed, bound), (there, by) = one.allow(), moved.allow()
    np.testing.assert_allclose(there, allowed[columns], rtol=0, atol=1e-8)
    assert by == [bound[m] for m in columns]


@law
@given(seeds, st.floats(0.2, 0.9))
def test_half_the_wishes_under_half_the_limits_are_allowed_by_half(seed: int, share: float) -> None:
    one = anything(seed)
    limits, risk = one.gate.limits, one.gate.risk
    scaled = {name: getattr(limits, name) * share for name in LIMITS if getattr(limits, name) is not None}
    target = None if risk.volatility_target is None else risk.volatility_target * share
    gate = Gate(limits.model_copy(update=scaled), RiskSection(volatility_target=target), one.gate.symbol_of,
                one.gate.sector_of)  # fmt: skip
    smaller = replace(one, gate=gate, held=one.held * share, wish=one.wish * share)
    np.testing.assert_allclose(smaller.allow()[0], one.allow()[0] * share, rtol=0, atol=1e-7)


@law
@given(seeds)
def test_value_at_risk_takes_no_more_than_it_must(seed: int) -> None:
    """Brute force: the largest share of all wishes at which the book's risk is within the limit, on a fine grid."""
    r = np.random.default_rng(seed)
    count = int(r.integers(1, 6))
    factors = r.normal(0, 0.02, (count, int(r.integers(1, 4))))
    one = case(
        np.where(r.random(count) < 0.5, 0.0, r.normal(0, 0.1, count)), r.normal(0, 0.5, count), beta=np.ones(count),
        covariance=factors @ factors.T + 1e-6 * np.eye(count), var_max=float(r.uniform(0.001, 0.02)),
    )  # fmt: skip
    floor, book = one.closings(), one.after()
    shares = np.linspace(0, 1, 2001)
    ways = floor + shares[:, None] * (np.clip(one.wish, -1, 1) - floor)
    risk = np.sqrt(np.einsum("si,ij,sj->s", ways, one.exposure.covariance, ways)) * DEVIATIONS
    fits = risk <= one.gate.limits.var_max
    best = floor if not fits[0] and risk[-1] > one.gate.limits.var_max else ways[np.flatnonzero(fits)[-1]]
    np.testing.assert_allclose(book, best, atol=np.abs(ways[1] - ways[0]).max() + 1e-9)


@law
@given(seeds)
def test_the_net_and_the_beta_end_on_their_limit_where_they_bind(seed: int) -> None:
    r = np.random.default_rng(seed)
    wish, beta = r.normal(0.1, 0.3, 5), r.uniform(0.3, 2, 5)
    name = "net_max" if r.random() < 0.5 else "beta_max"
    one = case(np.zeros(5), wish, beta=beta, covariance=np.eye(5) * 1e-6, **{name: 0.05})
    slope = np.ones(5) if name == "net_max" else beta
    outside = abs(wish @ slope) > 0.05
    assert (one.after() @ slope == pytest.approx(np.sign(wish @ slope) * 0.05)) == outside
    pushes = np.sign(wish) == np.sign(wish @ slope)
    assert np.array_equal(one.after()[~pushes], wish[~pushes]), "the side that hedges is left alone"


# -- drift -------------------------------------------------------------------------------------------------------


def drifted(held: object, **kwargs: object) -> tuple[FloatArray, list[str]]:
    one = case(held, np.full(np.size(held), NAN), **kwargs)
    cut, bound = one.gate.drifted(one.held, one.exposure, EQUITY)
    return cut, [CODES[code] for code in bound]


def test_only_what_is_beyond_a_limit_by_more_than_the_tolerance_is_cut() -> None:
    cut, bound = drifted([0.21, 0.2199, 0.2201, -0.3, 0.0], position_max=0.2, drift_tolerance=0.1)
    np.testing.assert_allclose(cut, [NAN, NAN, 0.2, -0.2, NAN])
    assert bound == ["none", "none", "position_max", "position_max", "none"]


def test_without_a_tolerance_every_excess_is_cut() -> None:
    cut, _ = drifted([0.201, 0.2], position_max=0.2, drift_tolerance=0.0)
    np.testing.assert_allclose(cut, [0.2, NAN])


def test_a_short_that_can_no_longer_be_borrowed_is_no_drift() -> None:
    cut, _ = drifted([-0.2], position_max=0.2, borrowable=False)
    assert np.isnan(cut).all()


def test_a_name_of_unknown_risk_is_not_sold_for_that() -> None:
    cut, _ = drifted([0.2, 0.1], beta=[NAN, 1], covariance=np.diag([NAN, 1e-4]), var_max=0.5)
    assert np.isnan(cut).all()


def test_a_volatility_target_sells_nothing_and_hides_no_other_limit() -> None:
    target = RiskSection(volatility_target=0.01)
    known = {"beta": [1, 1], "covariance": np.eye(2) * 4e-4, "risk": target, "position_max": 0.2}
    assert np.isnan(drifted([0.2, 0.1], **known)[0]).all()
    cut, bound = drifted([0.3, 0.1], **known)
    np.testing.assert_allclose(cut, [0.2, NAN])
    assert bound == ["position_max", "none"]


@pytest.mark.parametrize("reaction", ["flatten", "halt"])
def test_a_harsher_reaction_has_the_same_tolerance(reaction: str) -> None:
    held = [0.21, 0.3]
    cut, bound = drifted(held, position_max=0.2, drift_tolerance=0.1, reactions={"position_max": reaction})
    assert np.isnan(cut[0])
    assert bound == ["none", "position_max"]


def test_a_limit_that_only_refuses_sells_nothing() -> None:
    cut, _ = drifted([0.3], position_max=0.2, reactions={"position_max": "block"})
    assert np.isnan(cut).all()


@law
@given(seeds)
def test_what_is_cut_is_never_more_than_what_was_held(seed: int) -> None:
    one = anything(seed)
    cut, bound = one.gate.drifted(one.held, one.exposure, EQUITY)
    told = np.isfinite(cut)
    assert np.all(np.abs(cut[told]) < np.abs(one.held[told]))
    assert np.all(cut[told] * one.held[told] >= 0)
    assert np.array_equal(bound > 0, told)


# -- losses ------------------------------------------------------------------------------------------------------


def watched(path: list[float], *, bars: int = 1, **limits: object) -> list[tuple[str, str, bool, list[Alert]]]:
    """Return (blocked, halted, whether to flatten, alerts) after each close; a session has so many bars."""
    gate = case([0], [0], **limits).gate
    state, told = gate.open(100.0), []
    for row, equity in enumerate(path):
        state, flatten, alerts = gate.watch(state, equity, row, session_ended=row % bars == bars - 1)
        told.append((state.blocked, state.halted, flatten, alerts))
    return told


def test_a_drawdown_is_measured_from_the_highest_close_and_halts() -> None:
    told = watched([110, 100, 99.1, 98.9, 120], drawdown_max=0.1)
    assert [halted for _, halted, *_ in told] == ["", "", "", "drawdown_max", "drawdown_max"]
    assert told[3][2], "a halt closes the book"
    (alert,) = told[3][3]
    assert (alert.row, alert.level, alert.kind) == (3, "critical", "drawdown_max")
    assert "10.09%" in alert.what
    assert "10.00%" in alert.what
    assert not told[4][3], "said once"


def test_a_days_loss_is_measured_from_the_last_sessions_close() -> None:
    told = watched([99, 98, 97, 96.5, 95, 92], bars=2, daily_loss_max=0.03)
    assert [bool(alerts) for *_, alerts in told] == [False, False, False, False, False, True]
    assert not any(flatten for _, _, flatten, _ in told), "the usual reaction refuses only"


def test_a_block_ends_with_the_first_close_of_the_next_session() -> None:
    told = watched([94, 94, 94, 94], bars=3, daily_loss_max=0.05)
    assert [blocked for blocked, *_ in told] == ["daily_loss_max"] * 3 + [""]


def test_a_loss_found_at_a_sessions_close_blocks_what_is_decided_there() -> None:
    """On daily bars every close is its session's last: a block that ended at once would be none."""
    told = watched([94, 94.5, 94], daily_loss_max=0.05)
    assert [blocked for blocked, *_ in told] == ["daily_loss_max", "", ""]


def test_a_flattened_book_stays_flat_until_the_next_session() -> None:
    told = watched([94, 94, 94, 95], bars=3, daily_loss_max=0.05, reactions={"daily_loss_max": "flatten"})
    assert [flatten for _, _, flatten, _ in told] == [True, True, True, False]
    assert [len(alerts) for *_, alerts in told] == [1, 0, 0, 0]


def test_a_book_flattened_for_its_drawdown_is_measured_anew() -> None:
    told = watched([89, 88.5, 88, 79, 78], drawdown_max=0.1, reactions={"drawdown_max": "flatten"})
    assert [bool(alerts) for *_, alerts in told] == [True, False, False, True, False]


@pytest.mark.parametrize("path", [[85, 85, 85], [89.5, 85, 85]], ids=["at once", "one after the other"])
def test_a_limit_that_only_blocks_does_not_undo_a_flatten(path: list[float]) -> None:
    told = watched(
        path, bars=4, drawdown_max=0.1, daily_loss_max=0.12,
        reactions={"drawdown_max": "flatten", "daily_loss_max": "block"},
    )  # fmt: skip
    assert [flatten for _, _, flatten, _ in told] == [True, True, True]
    assert [[alert.kind for alert in alerts] for *_, alerts in told] == [["drawdown_max"], [], []]


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ([85, 85, 84], [["drawdown_max", "daily_loss_max"], [], []]),
        ([89, 85, 84], [["drawdown_max"], ["daily_loss_max"], []]),
        ([85, 95, 85], [["drawdown_max", "daily_loss_max"], [], []]),
    ],
    ids=["at once", "one after the other", "made good between"],
)
def test_two_limits_that_only_block_are_each_told_of_once_a_session(path: list[float], kinds: list[list[str]]) -> None:
    told = watched(
        [*path, 83], bars=3, drawdown_max=0.1, daily_loss_max=0.12, reactions={"drawdown_max": "block"}
    )  # fmt: skip
    assert [[alert.kind for alert in alerts] for *_, alerts in told[:3]] == kinds
    assert all(blocked for blocked, *_ in told)
    assert [alert.kind for alert in told[3][3]] == ["drawdown_max"], "a new session is told anew"


def test_a_flattened_drawdown_that_begins_anew_is_told_anew_beside_a_flattened_day() -> None:
    flatten = {"drawdown_max": "flatten", "daily_loss_max": "flatten"}
    told = watched([89, 85, 75, 75], bars=4, drawdown_max=0.1, daily_loss_max=0.12, reactions=flatten)
    assert [[alert.kind for alert in alerts] for *_, alerts in told] == [
        ["drawdown_max"], ["daily_loss_max"], ["drawdown_max"], [],
    ]  # fmt: skip


def test_a_blocked_drawdown_blocks_until_it_is_made_good() -> None:
    told = watched([89, 89, 91, 89], drawdown_max=0.1, reactions={"drawdown_max": "block"})
    assert [blocked for blocked, *_ in told] == ["drawdown_max", "drawdown_max", "", "drawdown_max"]


@pytest.mark.parametrize(("bars", "sessions"), [(1, 1), (1, 3), (4, 2)])
def test_a_halt_is_released_after_so_many_whole_sessions(bars: int, sessions: int) -> None:
    path = [100.0] * bars + [85.0] * (bars * 6)
    told = watched(path, bars=bars, drawdown_max=0.1, release_after_sessions=sessions)
    first = bars
    released = bars * (sessions + 2) - 1  # the rest of its own session, then so many
    assert [bool(halted) for _, halted, *_ in told] == [first <= row < released for row in range(len(path))]
    (said,) = told[released][3]
    assert (said.kind, said.level) == ("release", "warning")
    assert not any(alerts for *_, alerts in told[released + 1 :]), "drawdowns are measured from the release"


def test_without_a_number_of_sessions_a_halt_is_for_ever() -> None:
    told = watched([100, 85, *[200.0] * 300], drawdown_max=0.1)
    assert told[-1][1] == "drawdown_max"


def test_a_halt_by_a_person_is_released_by_a_person() -> None:
    gate = case([0], [0], drawdown_max=0.1, release_after_sessions=1).gate
    state = replace(gate.open(100.0), halted="kill switch")
    for row in range(5):
        state, flatten, alerts = gate.watch(state, 100.0, row, session_ended=True)
        assert (state.halted, flatten, alerts) == ("kill switch", False, [])


def test_an_account_that_owes_more_than_it_owns_has_lost_everything() -> None:
    told = watched([100, -5], drawdown_max=0.9)
    assert told[1][1] == "drawdown_max"
    assert "105.00%" in told[1][3][0].what


@pytest.mark.parametrize("name", WATCHED)
def test_no_limit_on_losses_is_no_alert(name: str) -> None:
    other = {n: 0.5 for n in WATCHED if n != name}
    assert not any(alerts for *_, alerts in watched([100, 60, 59], **other))


@law
@given(seeds)
def test_a_prefix_of_the_equity_gives_a_prefix_of_what_is_said(seed: int) -> None:
    r = np.random.default_rng(seed)
    path = list(100 * np.exp(np.cumsum(r.normal(0, 0.03, 40))))
    limits = {"drawdown_max": 0.1, "daily_loss_max": 0.03, "release_after_sessions": 2}
    whole = watched(path, bars=3, **limits)
    cut = int(r.integers(1, 40))
    assert watched(path[:cut], bars=3, **limits) == whole[:cut]


# -- counting ----------------------------------------------------------------------------------------------------


def test_every_limit_in_force_is_told_with_how_often_it_bound() -> None:
    limits = LimitsSection(sector_max=0.4, drawdown_max=0.1)
    told = times_bound({"position_max": 3, "borrow": 1}, limits, RiskSection(volatility_target=0.15))
    assert told == {
        "borrow": 1, "drawdown_max": 0, "position_max": 3, "sector_max": 0, "gross_max": 0, "volatility_target": 0,
    }  # fmt: skip
