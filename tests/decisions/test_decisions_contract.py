"""What every rule keeps, whatever it looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_kit import belief
from tradewind.decisions.confidence import EVENTS
from tradewind.decisions.signals import RULES, Action, Belief, decide
from tradewind.errors import DataError, InputError

RULE_NAMES = RULES.names()
EVENT_NAMES = EVENTS.names()
SHAPE = (6, 9)
few = settings(max_examples=20)


def random_belief(name: str, seed: int, **settings: object) -> Belief:
    """Forecasts of every size over three horizons, some missing; any RSI."""
    rng = np.random.default_rng(seed)
    gone = rng.random(SHAPE) < 0.2
    medians = {h: np.where(gone, np.nan, rng.normal(0, 0.03, SHAPE)) for h in (1, 5, 20)}
    sigmas = {h: rng.uniform(0.001, 0.3, SHAPE) for h in (1, 5, 20)}
    chosen = {"confidence_min": 0.4, "entry_threshold": 0.005, **settings}
    close = rng.uniform(0.6, 900, SHAPE)
    return belief(medians, sigmas, close=close, columns={"rsi_14": rng.uniform(0, 100, SHAPE)}, rule=name, **chosen)


def test_the_rules_of_the_issue_are_registered() -> None:
    assert {"probability", "expected_move", "nasdaq_tft"} <= set(RULE_NAMES)


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'probability'"):
        RULES.create("probabilty")


@pytest.mark.parametrize("name", RULE_NAMES)
@pytest.mark.parametrize("event", EVENT_NAMES)
@few
@given(seed=st.integers(0, 10_000), tier_stops=st.booleans(), floor=st.floats(0.001, 0.1))
def test_every_signal_is_complete_and_in_range(
    name: str, event: str, seed: int, tier_stops: bool, floor: float
) -> None:
    believed = random_belief(name, seed, tier_stops=tier_stops, stop_minimum=floor, event=event)
    signals = RULES.create(name).decide(believed)
    shaped = (signals.action, signals.decided, signals.close, signals.horizon_bars, signals.confidence, signals.stop)
    assert all(a.shape == SHAPE for a in (*shaped, signals.target, signals.clause))
    at = signals.decided
    assert np.all(np.isfinite(signals.confidence[at]))
    assert np.all((signals.confidence[at] >= 0) & (signals.confidence[at] <= 1))
    assert np.all(signals.stop[at] >= floor)
    assert np.all(signals.stop[at & (signals.action >= 0)] < 1)
    assert np.all(np.isnan(signals.target) | (signals.target > 0))
    assert np.all(signals.horizon_bars >= 1)
    assert signals.clause.min() >= 0 and signals.clause.max() < len(signals.clauses)
    assert set(np.unique(signals.action)) <= {int(a) for a in Action}


@pytest.mark.parametrize("name", RULE_NAMES)
@few
@given(seed=st.integers(0, 10_000))
def test_nothing_is_said_where_there_is_no_forecast_no_bar_or_no_membership(name: str, seed: int) -> None:
    believed = random_belief(name, seed)
    member = np.random.default_rng(seed).random(SHAPE) < 0.7
    believed = replace(believed, panel=replace(believed.panel, member=member))
    signals = RULES.create(name).decide(believed)
    silent = ~(member & believed.panel.mask & believed.forecast.available.all(axis=2))
    assert not signals.decided[silent].any()
    assert np.all(signals.action[silent] == Action.HOLD)
    assert not signals.close[silent].any()


@pytest.mark.parametrize("name", RULE_NAMES)
@pytest.mark.parametrize("event", EVENT_NAMES)
@few
@given(seed=st.integers(0, 10_000), keep=st.integers(2, 5))
def test_what_was_said_does_not_change_when_time_goes_on(name: str, event: str, seed: int, keep: int) -> None:
    believed = random_belief(name, seed, event=event)
    rows = np.arange(keep)
    earlier = replace(
        believed,
        panel=believed.panel.head(keep),
        features=believed.features.head(keep),
        forecast=believed.forecast.part(rows),
        members={name: one.part(rows) for name, one in believed.members.items()},
    )
    whole, part = RULES.create(name).decide(believed), RULES.create(name).decide(earlier)
    for field in ("action", "close", "horizon_bars", "confidence", "stop", "target", "clause"):
        np.testing.assert_array_equal(getattr(whole, field)[:keep], getattr(part, field), err_msg=field)


@pytest.mark.parametrize("name", RULE_NAMES)
def test_a_rule_that_never_fires_is_an_error_that_names_its_threshold(name: str) -> None:
    quiet = belief(
        {1: [[0.0]] * 8, 5: [[0.0]] * 8, 20: [[0.0]] * 8},
        columns={"rsi_14": 50.0},
        rule=name,
        confidence_min=0.75,
        entry_threshold=0.05,
    )
    with pytest.raises(DataError, match=f"'{name}' never fired in 8 decisions") as caught:
        decide(quiet)
    assert "confidence_min=0.75 on 0.0%" in caught.value.what
    assert "--set decision." in caught.value.hint


@pytest.mark.parametrize("name", ["expected_move", "nasdaq_tft"])
def test_medians_that_are_too_small_are_not_blamed_on_confidence(name: str) -> None:
    flat = {1: [[0.0]] * 8, 5: [[0.0]] * 8, 20: [[0.0]] * 8}
    with pytest.raises(DataError, match="never fired in 8 decisions") as caught:
        decide(belief(flat, columns={"rsi_14": 50.0}, rule=name, confidence_min=0.1, entry_threshold=0.04))
    assert "decision.entry_threshold=0.02" in caught.value.hint
    assert "confidence_min" not in caught.value.hint


@pytest.mark.parametrize("name", RULE_NAMES)
def test_no_forecast_at_all_is_not_a_rule_that_never_fires(name: str) -> None:
    nothing = np.full(SHAPE, np.nan)
    blind = belief({1: nothing, 5: nothing, 20: nothing}, columns={"rsi_14": 50.0}, rule=name)
    assert not decide(blind).decided.any()
    assert RULES.create(name).thresholds(blind)


@pytest.mark.parametrize("name", RULE_NAMES)
def test_every_clause_can_be_said_in_words(name: str) -> None:
    believed = random_belief(name, 1)
    signals = RULES.create(name).decide(believed)
    assert len(signals.exits) == len(signals.clauses)
    for clause in signals.clauses:
        words = clause.format(**believed.settings.model_dump())
        assert words and "{" not in words


@few
@given(st.integers(0, 10_000), st.floats(0.5, 4))
def test_the_stop_of_a_calm_forecast_is_its_sigmas_and_never_below_the_floor(seed: int, sigmas: float) -> None:
    sigma = np.random.default_rng(seed).uniform(0.0005, 0.2, (3, 2))
    believed = belief({5: np.zeros((3, 2))}, {5: sigma}, stop_sigma=sigmas, stop_minimum=0.01)
    stop = RULES.create("probability").decide(believed).stop
    np.testing.assert_allclose(stop, np.maximum(-np.expm1(-sigmas * sigma), 0.01))
