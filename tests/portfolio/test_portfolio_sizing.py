"""Signal to target weight: the tightest step wins and is named; limits hold whatever the signals are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from spine_kit import belief
from tradewind.decisions.signals import RULES, Action, Belief, Signals
from tradewind.portfolio.settings import LimitsSection, SizingSection
from tradewind.portfolio.sizing import Targets, kelly, size

SECTORS = ("tech", "tech", "energy", "tech", "unknown")
FREE = LimitsSection(position_max=1.0, gross_max=4.0)


def signalled(believed: Belief, action: object, stop: object = 0.1, confidence: object = 0.6) -> Signals:
    """Return what the probability rule says, with these actions, stops and confidences instead."""
    said = RULES.create("probability").decide(believed)
    shape = said.action.shape
    chosen = np.broadcast_to(np.asarray(action, dtype=np.int8), shape)
    return replace(
        said,
        action=chosen,
        decided=np.ones(shape, dtype=bool),
        close=np.zeros(shape, dtype=bool),
        stop=np.broadcast_to(np.asarray(stop, dtype=float), shape),
        confidence=np.broadcast_to(np.asarray(confidence, dtype=float), shape),
    )


def sized(
    action: object, *, stop: object = 0.1, close: object = 100.0, short: bool = False, **limits: object
) -> Targets:
    believed = belief({5: np.full((1, np.size(action)), 0.01)}, close=close)
    chosen = LimitsSection.model_validate({"position_max": 1.0, "gross_max": 4.0, **limits})
    return size(believed, signalled(believed, action, stop), SizingSection(), chosen, short_allowed=short)


def bound_by(targets: Targets) -> list[str]:
    return [targets.steps[int(i)] for i in targets.bound_by[0]]


# -- one position --------------------------------------------------------------------------------------------


def test_a_stop_that_is_hit_costs_the_risk_per_trade() -> None:
    targets = sized([1, 1, 2], stop=[0.02, 0.04, 0.1])
    assert targets.weight[0] == pytest.approx([1.0, 0.5, 0.2])
    assert targets.weight[0] * [0.02, 0.04, 0.1] == pytest.approx([0.02] * 3)
    assert bound_by(targets) == ["risk_per_trade"] * 3


def test_no_position_is_larger_than_the_position_limit_and_the_limit_is_named() -> None:
    targets = sized([1, 1], stop=[0.05, 0.5], position_max=0.10)
    assert targets.weight[0] == pytest.approx([0.10, 0.04])
    assert bound_by(targets) == ["position_max", "risk_per_trade"]


def test_the_price_tiers_limit_holds_where_it_is_lower() -> None:
    prices = [[2.0, 10.0, 50.0, 200.0, 900.0]]  # penny, low, mid, high, mega
    targets = sized([1] * 5, stop=0.02, close=prices, position_max=0.11, tier_limits=True)
    assert targets.weight[0] == pytest.approx([0.05, 0.08, 0.10, 0.11, 0.11])
    assert bound_by(targets) == ["tier_limit"] * 3 + ["position_max"] * 2


def test_below_half_a_dollar_nothing_may_be_bought() -> None:
    assert sized([1], close=0.4, tier_limits=True).weight[0, 0] == 0.0


def test_kelly_is_mean_less_costs_over_variance_and_never_negative() -> None:
    believed = belief({5: [0.01, 0.0, -0.01]}, 0.2, cost=0.002)
    weight = kelly(believed, signalled(believed, [1, 1, -1]))[0]
    mean = np.array([0.01, 0.0, -0.01]) + 0.2**2 / 2
    assert weight == pytest.approx([(mean[0] - 0.002) / 0.04, (mean[1] - 0.002) / 0.04, 0.0])


def test_a_fraction_of_kelly_caps_the_weight_and_is_named() -> None:
    believed = belief({5: [0.01]}, 0.2, cost=0.002)
    targets = size(believed, signalled(believed, [1], stop=0.02), SizingSection(kelly_fraction=0.5), FREE)
    assert targets.weight[0, 0] == pytest.approx(0.5 * (0.01 + 0.02 - 0.002) / 0.04)
    assert bound_by(targets) == ["kelly"]


@pytest.mark.parametrize("least", [0.2, 0.52])
def test_conviction_gives_half_the_weight_at_the_least_confidence_and_all_of_it_five_points_above(least: float) -> None:
    believed = belief({5: [0.01] * 5}, confidence_min=least)
    confidence = [least + points / 100 for points in (-5, 0, 2.5, 5, 30)]
    signals = signalled(believed, [1] * 5, stop=0.1, confidence=confidence)
    targets = size(believed, signals, SizingSection(conviction="confidence"), FREE)
    assert targets.weight[0] == pytest.approx([0.0, 0.1, 0.15, 0.2, 0.2])


# -- sides ---------------------------------------------------------------------------------------------------


def test_a_sell_closes_a_long_and_opens_a_short_only_where_shorts_are_allowed() -> None:
    assert sized([-1, -2]).weight[0].tolist() == [0.0, 0.0]
    assert sized([-1, -2], short=True).weight[0] == pytest.approx([-0.2, -0.2])


def test_hold_leaves_a_position_alone_until_it_should_be_closed() -> None:
    believed = belief({5: [0.0, 0.0]})
    signals = replace(signalled(believed, [0, 0]), close=np.array([[False, True]]))
    weight = size(believed, signals, SizingSection(), FREE).weight[0]
    assert np.isnan(weight[0])
    assert weight[1] == 0.0


def test_nothing_is_decided_where_the_rule_had_no_forecast() -> None:
    believed = belief({5: [0.01, 0.01]})
    signals = replace(signalled(believed, [1, -1]), decided=np.zeros((1, 2), dtype=bool))
    assert np.isnan(size(believed, signals, SizingSection(), FREE).weight).all()


# -- the book ------------------------------------------------------------------------------------------------


def test_a_bar_that_asks_for_too_much_is_scaled_down_in_proportion() -> None:
    targets = sized([1, 1, 1], stop=[0.05, 0.05, 0.1], gross_max=0.5)
    assert targets.weight[0] == pytest.approx([0.2, 0.2, 0.1])
    assert bound_by(targets) == ["gross_max"] * 3


def test_a_sector_that_asks_for_too_much_is_scaled_down_alone() -> None:
    believed = belief({5: [0.01] * 5}, sectors=SECTORS)
    limits = LimitsSection(position_max=1.0, gross_max=4.0, sector_max=0.3)
    targets = size(believed, signalled(believed, [1] * 5, stop=0.1), SizingSection(), limits)
    assert targets.weight[0] == pytest.approx([0.1, 0.1, 0.2, 0.1, 0.2])
    assert bound_by(targets) == ["sector_max", "sector_max", "risk_per_trade", "sector_max", "risk_per_trade"]


def test_longs_and_shorts_both_count_for_the_gross_limit() -> None:
    targets = sized([1, -1], stop=0.02, short=True, gross_max=1.0)
    assert targets.weight[0] == pytest.approx([0.5, -0.5])


def test_what_bound_is_counted_over_opened_positions_only() -> None:
    targets = sized([1, 1, 0, -1], stop=[0.02, 0.5, 0.02, 0.02], position_max=0.1)
    counts = targets.times_bound()
    assert (counts["position_max"], counts["risk_per_trade"], sum(counts.values())) == (1, 1, 2)


# -- laws ----------------------------------------------------------------------------------------------------

SHAPE = (5, 5)
few = examples(max_examples=40)


def anything(seed: int, scale: float = 1.0) -> tuple[Belief, Signals]:
    """Forecasts, prices, actions, stops and confidences of every size."""
    rng = np.random.default_rng(seed)
    close = rng.uniform(0.2, 900, SHAPE) * scale
    gone = rng.random(SHAPE) < 0.1
    believed = belief(
        {5: np.where(gone, np.nan, rng.normal(0, 0.05, SHAPE))},
        {5: rng.uniform(0.005, 0.3, SHAPE)},
        close=close,
        sectors=SECTORS,
    )
    signals = signalled(
        believed, rng.integers(-2, 3, SHAPE), rng.uniform(0.005, 0.6, SHAPE), rng.uniform(0.3, 0.9, SHAPE)
    )
    return believed, replace(signals, decided=~gone, close=rng.random(SHAPE) < 0.3)


settings = st.builds(
    SizingSection,
    risk_per_trade=st.floats(0.001, 0.2),
    kelly_fraction=st.none() | st.floats(0.1, 1.0),
    conviction=st.sampled_from(["none", "confidence"]),
)
limits = st.builds(
    LimitsSection,
    position_max=st.floats(0.01, 1.0),
    tier_limits=st.booleans(),
    gross_max=st.floats(0.1, 4.0),
    sector_max=st.none() | st.floats(0.05, 1.0),
)


@few
@given(st.integers(0, 10_000), settings, limits, st.booleans())
def test_no_limit_is_ever_passed(seed: int, sizing: SizingSection, limits: LimitsSection, short: bool) -> None:
    believed, signals = anything(seed)
    weight = np.nan_to_num(size(believed, signals, sizing, limits, short_allowed=short).weight)
    assert np.all(np.abs(weight) <= limits.position_max + 1e-12)
    assert np.all(np.abs(weight) * signals.stop <= sizing.risk_per_trade + 1e-12)
    assert np.all(np.abs(weight).sum(axis=1) <= limits.gross_max + 1e-9)
    assert np.all(weight >= 0) or short
    assert np.all(np.sign(weight) * np.sign(signals.action) >= 0)
    if limits.sector_max is not None:
        for sector in set(SECTORS):
            columns = [s == sector for s in SECTORS]
            assert np.all(np.abs(weight[:, columns]).sum(axis=1) <= limits.sector_max + 1e-9)


@few
@given(st.integers(0, 10_000), settings, st.floats(0.01, 100))
def test_quoting_every_price_in_another_currency_changes_no_weight(
    seed: int, sizing: SizingSection, scale: float
) -> None:
    limits = LimitsSection(position_max=0.2, gross_max=1.0, sector_max=0.5)
    one, other = (size(*anything(seed, s), sizing, limits, short_allowed=True) for s in (1.0, scale))
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-12)
    np.testing.assert_array_equal(one.bound_by, other.bound_by)


@few
@given(st.integers(0, 10_000), st.permutations(range(5)))
def test_the_order_of_the_symbols_changes_nothing(seed: int, order: list[int]) -> None:
    believed, signals = anything(seed)
    columns = np.asarray(order)
    moved = replace(
        believed,
        panel=believed.panel.select([believed.panel.symbols[i] for i in order]),
        forecast=replace(
            believed.forecast,
            quantiles=believed.forecast.quantiles[:, columns],
            score=believed.forecast.score[:, columns],
        ),
    )
    fields = ("action", "decided", "close", "cover", "stop", "confidence")
    signals_moved = replace(signals, **{name: getattr(signals, name)[:, columns] for name in fields})
    limits = LimitsSection(position_max=0.3, gross_max=0.9, sector_max=0.4)
    sizing = SizingSection(kelly_fraction=0.5)
    before = size(believed, signals, sizing, limits, short_allowed=True)
    after = size(moved, signals_moved, sizing, limits, short_allowed=True)
    np.testing.assert_allclose(after.weight, before.weight[:, columns], rtol=1e-12)


def test_the_actions_are_signed_by_side() -> None:
    assert [np.sign(int(a)) for a in sorted(Action)] == [-1, -1, 0, 1, 1]
