"""The steps of a size: regime, risk budget, correlation, Kelly by confidence; each in its place, each effect shown."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from spine_kit import belief
from tradewind.decisions.signals import RULES, Belief, Signals
from tradewind.decisions.surroundings import Surroundings
from tradewind.errors import InputError
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.portfolio.sizing import CORRELATION_BARS, Targets, annual_volatility, correlation_factor, size
from tradewind.stats.correlation_matrix import ewma_correlation

FloatArray = NDArray[np.float64]
FREE = LimitsSection(position_max=1.0, gross_max=4.0)
SECTORS = ("tech", "tech", "energy", "energy", "tech")
ORDER = (
    "risk_per_trade", "kelly", "risk_budget", "position_max", "tier_limit", "conviction", "pyramid", "regime",
    "correlation_penalty", "sector_max", "gross_max",
)  # fmt: skip
seeds = st.integers(0, 2**32 - 1)
law = examples(max_examples=25)


def signalled(
    believed: Belief, action: object = 1, stop: object = 0.1, confidence: object = 0.6, scale: object = None
) -> Signals:
    said = RULES.create("probability").decide(believed)
    shape = said.action.shape

    def laid(value: object, kind: type = float) -> NDArray[np.generic]:
        return np.broadcast_to(np.asarray(value, dtype=kind), shape)

    return replace(
        said, action=laid(action, np.int8), decided=laid(True, bool), close=laid(False, bool), stop=laid(stop),
        confidence=laid(confidence), scale=None if scale is None else laid(scale),
    )  # fmt: skip


def walk(seed: int, bars: int = 40, names: int = 5) -> FloatArray:
    """Return closes of names that share a factor, one of which is listed late."""
    r = np.random.default_rng(seed)
    moves = r.normal(0, 0.01, (bars, 1)) * r.uniform(0, 2, names) + r.normal(0, 0.01, (bars, names))
    close = 50 * np.exp(np.cumsum(moves, axis=0))
    close[: bars // 2, -1] = np.nan
    return close


def anything(seed: int, bars: int = 40) -> tuple[Belief, Signals]:
    r = np.random.default_rng(seed)
    close = walk(seed, 40)
    shape = close.shape
    medians, sigmas = r.normal(0, 0.03, shape), r.uniform(0.01, 0.2, shape)
    believed = belief({5: medians[:bars]}, {5: sigmas[:bars]}, close=close[:bars], sectors=SECTORS)
    share = np.where(r.random(40) < 0.1, np.nan, r.choice([1.0, 0.5, 0.3, 0.8], 40))
    believed = replace(believed, surroundings=Surroundings(multiplier=share[:bars]))
    fields = (r.integers(-2, 3, shape), r.uniform(0.01, 0.4, shape), r.uniform(0.3, 0.9, shape), r.uniform(0, 1, shape))
    return believed, signalled(believed, *(values[:bars] for values in fields))


ALL = SizingSection(
    kelly_fraction=0.5, kelly_from="confidence", risk_budget=0.3, conviction="confidence", regime_multipliers=True,
    correlation_penalty=True,
)  # fmt: skip
TIGHT = LimitsSection(position_max=0.4, tier_limits=True, sector_max=0.5, gross_max=0.7)


def sized(seed: int, bars: int = 40) -> Targets:
    return size(*anything(seed, bars), ALL, TIGHT, short_allowed=True)


# -- steps -------------------------------------------------------------------------------------------------------


def test_beliefs_come_first_then_risk_then_limits() -> None:
    targets = sized(1)
    assert tuple(targets.after) == ORDER
    assert targets.steps == ORDER


def test_a_step_that_the_playbook_does_not_take_is_not_there() -> None:
    believed, signals = anything(1)
    plain = size(believed, replace(signals, scale=None), SizingSection(), FREE)
    assert plain.steps == ("risk_per_trade", "position_max", "gross_max")


@law
@given(seeds)
def test_the_effects_of_all_steps_lead_from_the_first_size_to_the_last_and_none_makes_it_larger(seed: int) -> None:
    targets = sized(seed)
    steps = list(targets.after.values())
    for before, after in pairwise(steps):
        assert np.all(np.abs(after) <= np.abs(before) + 1e-15)
        assert np.all(after * before >= 0)
    opened = np.isfinite(targets.weight) & (targets.weight != 0)
    np.testing.assert_array_equal(targets.weight[opened], steps[-1][opened])
    effects = [np.divide(b, a, out=np.ones_like(a), where=a != 0) for a, b in pairwise(steps)]
    np.testing.assert_allclose((steps[0] * np.prod(effects, axis=0))[opened], targets.weight[opened], rtol=1e-12)
    row, column = np.argwhere(opened)[0]
    assert list(targets.path(row, column).values()) == [step[row, column] for step in steps]


@law
@given(seeds)
def test_the_step_that_is_named_is_the_last_that_changed_the_weight(seed: int) -> None:
    targets = sized(seed)
    steps = list(targets.after.values())
    for row, column in np.argwhere(np.isfinite(targets.weight) & (targets.weight != 0)):
        path = [step[row, column] for step in steps]
        changed = [i for i in range(1, len(path)) if path[i] != path[i - 1]]
        assert targets.bound_by[row, column] == (changed[-1] if changed else 0)


@law
@given(seeds, st.integers(2, 39))
def test_a_prefix_of_the_bars_gives_a_prefix_of_the_weights(seed: int, bars: int) -> None:
    whole, part = sized(seed), sized(seed, bars)
    np.testing.assert_array_equal(part.weight, whole.weight[:bars])
    np.testing.assert_array_equal(part.bound_by, whole.bound_by[:bars])
    for name, values in part.after.items():
        np.testing.assert_array_equal(values, whole.after[name][:bars], err_msg=name)


def test_what_nobody_knows_opens_nothing() -> None:
    believed = belief({5: [0.01, np.nan, 0.01]}, 0.02)
    signals = signalled(believed, stop=[0.1, 0.1, np.nan])
    targets = size(believed, signals, SizingSection(risk_budget=0.5), FREE)
    assert targets.weight[0, 0] > 0
    assert targets.weight[0, 1:].tolist() == [0.0, 0.0]


# -- regime ------------------------------------------------------------------------------------------------------


def test_a_regime_takes_its_share_of_every_size_and_an_unknown_one_all_of_it() -> None:
    believed = belief({5: np.full((4, 2), 0.01)}, close=np.full((4, 2), 100.0))
    believed = replace(believed, surroundings=Surroundings(multiplier=np.array([1.0, 0.5, 0.3, np.nan])))
    targets = size(believed, signalled(believed), SizingSection(regime_multipliers=True), FREE)
    assert targets.weight[:, 0] == pytest.approx([0.2, 0.1, 0.06, 0.0])
    assert [targets.steps[i] for i in targets.bound_by[:, 0]] == ["risk_per_trade", "regime", "regime", "regime"]


def test_regime_multipliers_without_regimes_are_refused() -> None:
    believed = belief({5: [0.01]})
    with pytest.raises(InputError, match="there are no regimes"):
        size(believed, signalled(believed), SizingSection(regime_multipliers=True), FREE)


# -- risk budget -------------------------------------------------------------------------------------------------


def test_no_position_brings_more_volatility_than_its_budget() -> None:
    believed = belief({5: [0.0, 0.0, 0.0]}, {5: np.array([[0.01, 0.05, 0.2]])})
    targets = size(believed, signalled(believed, stop=0.02), SizingSection(risk_budget=0.1), FREE)
    yearly = np.array([0.01, 0.05, 0.2]) * np.sqrt(252 / 5)
    assert targets.weight[0] == pytest.approx(np.minimum(1.0, 0.1 / yearly))
    assert np.all(targets.weight[0] * yearly <= 0.1 + 1e-12)


@pytest.mark.parametrize(
    ("timeframe", "bars_a_year"), [("1d", 252), ("1w", 252 / 5), ("5m", 252 * 78), ("1h", 252 * 6.5)]
)
def test_a_years_volatility_is_told_in_trading_time_whatever_the_bars(timeframe: str, bars_a_year: float) -> None:
    believed = belief({4: [0.0]}, 0.03)
    believed = replace(believed, panel=replace(believed.panel, timeframe=timeframe))
    assert annual_volatility(believed)[0, 0] == pytest.approx(0.03 * np.sqrt(bars_a_year / 4))


# -- correlation -------------------------------------------------------------------------------------------------


def of_correlation(rho: float, bars: int = 200) -> FloatArray:
    """Return closes of two names with exactly this correlation around zero, equally often up and down."""
    r = np.random.default_rng(7)
    first, other = r.normal(0, 0.01, (2, bars))
    return 100 * np.exp(np.cumsum(np.column_stack([first, rho * first + np.sqrt(1 - rho**2) * other]), axis=0))


@pytest.mark.parametrize(
    ("rho", "sides", "factor"),
    [(1.0, (1, 1), 0.5), (1.0, (1, -1), 1.0), (-1.0, (1, 1), 1.0), (-1.0, (1, -1), 0.5), (-1.0, (-1, 1), 0.5)],
)
def test_full_correlation_halves_and_a_hedge_costs_nothing(rho: float, sides: tuple[int, int], factor: float) -> None:
    close = of_correlation(rho)
    believed = belief({5: np.zeros(close.shape)}, close=close)
    weight = np.broadcast_to(np.array(sides, dtype=float), close.shape)
    assert correlation_factor(believed, weight)[-1] == pytest.approx([factor, factor])


@law
@given(seeds)
def test_the_factor_is_one_less_twice_the_mean_correlation_with_what_is_wanted(seed: int) -> None:
    r = np.random.default_rng(seed)
    close = walk(seed, 150)
    believed = belief({5: np.zeros(close.shape)}, close=close)
    row, side = 149, r.choice([-1.0, 0.0, 1.0], 5)
    weight = np.zeros(close.shape)
    weight[row] = side * 0.1
    factor = correlation_factor(believed, weight)
    moves = np.diff(np.log(close), axis=0)[-CORRELATION_BARS:]
    wanted = np.flatnonzero(side)
    for i in range(5):
        others = [j for j in wanted if j != i]
        if side[i] == 0 or not others:
            assert factor[row, i] == 1.0
            continue
        rho = [ewma_correlation(moves[:, [i, j]], decay=0.97)[0, 1] * side[i] * side[j] for j in others]
        assert factor[row, i] == pytest.approx(np.clip(1 - 2 * np.mean(rho), 0.5, 1.0), abs=1e-6)
    assert np.all(factor[:row] == 1.0)


def test_a_name_of_unknown_likeness_is_taken_as_alike() -> None:
    close = walk(3)
    close[:, -1] = np.nan
    close[-1, -1] = 50.0
    believed = belief({5: np.zeros(close.shape)}, close=close)
    weight = np.zeros(close.shape)
    weight[-1, -2:] = 0.1
    assert correlation_factor(believed, weight)[-1, -1] == 0.5


# -- Kelly by confidence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sure", [0.51, 0.55, 0.7])
def test_kelly_by_confidence_is_the_weight_that_grows_fastest_at_that_chance_of_a_profit(sure: float) -> None:
    """Brute force: the best expected growth, to the second order, under the normal with that chance of a net gain."""
    sigma, odds = 0.02, norm.ppf(sure)
    believed = belief({5: [0.0]}, sigma)
    section = SizingSection(kelly_fraction=1.0, kelly_from="confidence", risk_per_trade=0.2)
    wide = LimitsSection(position_max=1.0, gross_max=4.0)
    targets = size(believed, signalled(believed, stop=0.005, confidence=sure), section, wide)
    mean = sigma * odds

    def growth(weight: float) -> float:
        gain = lambda x: (weight * x - (weight * x) ** 2 / 2) * norm.pdf(x, mean, sigma)  # noqa: E731
        return quad(gain, mean - 8 * sigma, mean + 8 * sigma)[0]

    best = minimize_scalar(lambda w: -growth(w), bounds=(0, 60), method="bounded").x
    assert odds / sigma == pytest.approx(best * (1 + odds**2), rel=1e-3), "the square of the mean is left out"
    assert targets.after["kelly"][0, 0] == pytest.approx(min(0.2 / 0.005, odds / sigma))


def test_a_coin_toss_or_less_is_worth_nothing() -> None:
    believed = belief({5: [0.05, 0.05, 0.05]})
    section = SizingSection(kelly_fraction=0.5, kelly_from="confidence")
    targets = size(believed, signalled(believed, confidence=[0.5, 0.3, np.nan]), section, FREE)
    assert targets.weight[0].tolist() == [0.0, 0.0, 0.0]


def test_certainty_is_no_infinite_bet() -> None:
    believed = belief({5: [0.05, 0.05]})
    section = SizingSection(kelly_fraction=0.5, kelly_from="confidence")
    targets = size(believed, signalled(believed, confidence=[1.0, 0.0]), section, FREE)
    assert targets.weight[0].tolist() == [pytest.approx(0.2), 0.0]


def test_a_confidence_in_something_else_is_no_chance_of_a_profit() -> None:
    believed = belief({5: [0.05]})
    signals = replace(signalled(believed), event="target_before_stop")
    with pytest.raises(InputError, match="confidence in profits"):
        size(believed, signals, SizingSection(kelly_fraction=0.5, kelly_from="confidence"), FREE)
