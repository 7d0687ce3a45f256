"""What outcomes say of a model: figures by hand, nothing before it is known, bands that hold, and what follows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from drift_worlds import LIFE, NAMES, SYMBOLS, TRAIN, WINDOW, features, forecasts, times
from safetensors.numpy import load, save

from tradewind.errors import DataError, InputError
from tradewind.live import drift_concept as concept
from tradewind.live.drift_concept import ConceptReference, ConceptState, concept_reference, outcomes
from tradewind.live.drift_monitor import DriftMonitor, DriftReading, DriftState
from tradewind.live.drift_reaction import reaction
from tradewind.live.drift_reference import drift_reference
from tradewind.live.settings_drift import DriftSection
from tradewind.models.forecast import LEVELS
from tradewind.stats.distribution import grid, probability_above

HORIZONS = (1, 5)
SETTINGS = DriftSection()
COVERAGE, BRIER, LOSS, HIT, LOCATION, CONFIDENCE = range(6)


def known(bars: int = TRAIN, seed: int = 0, skill: float = 0.6) -> np.ndarray:
    quantiles, returns = forecasts(bars, seed, skill)
    return outcomes(quantiles, LEVELS, returns, HORIZONS)


@pytest.fixture(scope="module")
def expected() -> ConceptReference:
    return concept_reference(known(), max(HORIZONS), LIFE)


def walked(reference: ConceptReference, bars: np.ndarray) -> list[concept.ConceptReading]:
    state, readings = concept.start(reference), []
    for bar in bars:
        state, found = concept.step(state, bar, reference, SETTINGS.adwin_delta)
        readings.append(found)
    return readings


# -- figures ----------------------------------------------------------------------------------------------------------


def test_a_bar_s_figures_are_those_of_a_loop_over_what_became_known_with_it() -> None:
    quantiles, returns = forecasts(40, seed=3)
    quantiles[7, 2, 0], returns[12, :, 1] = np.nan, np.nan
    found = outcomes(quantiles, LEVELS, returns, HORIZONS)
    chance = probability_above(quantiles, 0.0, grid(LEVELS))
    for t in (5, 8, 17, 33):
        hits, briers, losses, rights, costs = [], [], [], [], []
        for column, horizon in enumerate(HORIZONS):
            for n in range(SYMBOLS):
                q, y = quantiles[t - horizon, n, column], returns[t - horizon, n, column]
                if np.isnan(q).any() or math.isnan(y):
                    continue
                p, up = chance[t - horizon, n, column], float(y > 0)
                hits.append(q[1] <= y <= q[-2])
                briers.append((p - up) ** 2)
                rights.append((p > 0.5) == (y > 0))
                loss, about_zero = (lost(said, y) / (q[-1] - q[0]) for said in (q, q - q[3]))
                losses.append(min(loss, concept.LOSS_MOST))
                costs.append(loss - about_zero)
        sure = np.nanmean(np.abs(2 * chance[t] - 1))
        assert found[t] == pytest.approx([np.mean(x) for x in (hits, briers, losses, rights, costs)] + [sure])


def lost(quantiles: np.ndarray, outcome: float) -> float:
    return float(
        np.mean([max(a * (outcome - q), (a - 1) * (outcome - q)) for a, q in zip(LEVELS, quantiles, strict=True)])
    )


def test_a_gap_loses_no_more_than_half_a_spread_and_the_location_of_a_forecast_about_zero_costs_nothing() -> None:
    quantiles, _ = forecasts(3, skill=0.0)
    middle = quantiles[..., 3:4]
    found = concept.figures(quantiles - middle, LEVELS, np.full(quantiles.shape[:-1], 9.0))
    assert (found[..., LOSS] == concept.LOSS_MOST).all() and (found[..., LOCATION] == 0).all()


def test_nothing_counts_before_its_outcome_is_known() -> None:
    quantiles, returns = forecasts(60, seed=4)
    plain = outcomes(quantiles, LEVELS, returns, HORIZONS)
    now = 30
    for column, horizon in enumerate(HORIZONS):
        returns[now - horizon + 1 :, :, column] = 9.0
    quantiles[now + 1 :] = 0.0
    np.testing.assert_array_equal(outcomes(quantiles, LEVELS, returns, HORIZONS)[: now + 1], plain[: now + 1])
    assert np.isnan(plain[0, :CONFIDENCE]).all() and np.isfinite(plain[0, CONFIDENCE])


def test_a_horizon_beyond_the_bars_is_never_known() -> None:
    quantiles, returns = forecasts(8, horizons=(1, 20))
    found = outcomes(quantiles, LEVELS, returns, (1, 20))
    only = outcomes(quantiles[:, :, :1], LEVELS, returns[:, :, :1], (1,))
    np.testing.assert_array_equal(found[:, :CONFIDENCE], only[:, :CONFIDENCE])


# -- bands ------------------------------------------------------------------------------------------------------------


def test_a_model_that_goes_on_as_it_was_hardly_ever_leaves_its_bands() -> None:
    left = 0
    for seed in range(30):
        series = known(TRAIN + LIFE, seed=100 + seed)
        reference = concept_reference(series[:TRAIN], max(HORIZONS), LIFE)
        left += any(one.broken for one in walked(reference, series[TRAIN:]))
    assert left <= 4


def test_dependent_outcomes_have_wider_bands() -> None:
    draw, shape = np.random.default_rng(5), (900, 6)
    plain = 0.5 + 0.1 * draw.normal(size=shape)
    slow = np.empty(shape)
    slow[0] = plain[0] - 0.5
    for t in range(1, len(slow)):
        slow[t] = 0.9 * slow[t - 1] + math.sqrt(1 - 0.9**2) * (plain[t] - 0.5)
    bands = [concept_reference(x, 1, LIFE).high[-1, LOSS] - x[:, LOSS].mean() for x in (plain, 0.5 + slow)]
    assert bands[1] > 2.5 * bands[0]


def test_an_interval_that_is_too_narrow_is_told_by_its_coverage(expected: ConceptReference) -> None:
    quantiles, returns = forecasts(LIFE * 2, seed=6)
    middle = quantiles[..., 3:4]
    narrow = outcomes(middle + 0.6 * (quantiles - middle), LEVELS, returns, HORIZONS)
    last = walked(expected, narrow)[-1]
    assert "coverage" in last.broken and last.figures["coverage"] < 0.7 < last.expected["coverage"]
    assert last.loss_ratio > 1


def test_a_signal_whose_sign_turns_is_told_by_brier_score_direction_and_loss(expected: ConceptReference) -> None:
    quantiles, returns = forecasts(LIFE * 2, seed=7)
    readings = walked(expected, outcomes(quantiles, LEVELS, -returns, HORIZONS))
    last = readings[-1]
    assert {"brier", "loss", "hit"} <= set(last.broken)
    assert any(one.adwin for one in readings) and last.loss_ratio > 1.3
    assert last.accuracy_lost > 0.2


def test_forecasts_that_lie_to_the_side_are_told_within_days_by_what_their_location_costs(
    expected: ConceptReference,
) -> None:
    quantiles, returns = forecasts(LIFE, seed=11)
    quantiles += 0.5 * (quantiles[..., -1:] - quantiles[..., :1])
    readings = walked(expected, outcomes(quantiles, LEVELS, returns, HORIZONS))
    assert ["location" in one.broken for one in readings].index(True) <= 4


def test_a_short_mean_tells_of_a_sudden_change_sooner_and_a_long_one_of_a_small_one_at_all() -> None:
    assert concept_reference(known(), max(HORIZONS), LIFE).widths.tolist() == [5, 20, 60]
    reference = concept_reference(known(), max(HORIZONS), LIFE)
    room = np.abs(reference.high[:, LOCATION] - reference.expected[LOCATION])
    assert room[0] > 1.5 * room[1] > 1.5 * room[2]


def test_what_is_worse_than_by_chance_must_be_worse_by_enough_besides() -> None:
    draw = np.random.default_rng(12)
    series = np.column_stack([np.full((400, 4), 0.5), np.zeros((400, 2))]) + 1e-4 * draw.normal(size=(400, 6))
    little = series[:60].copy()
    little[:, BRIER] += 0.01
    bare, plain = (concept_reference(series, 1, LIFE, DriftSection(concept_worse_min=share)) for share in (0.0, 0.05))
    assert "brier" in walked(bare, little)[-1].broken and not walked(plain, little)[-1].broken
    little[:, BRIER] += 0.02
    assert "brier" in walked(plain, little)[-1].broken


def test_a_model_that_becomes_less_sure_shifts_its_confidence(expected: ConceptReference) -> None:
    last = walked(expected, known(LIFE * 2, seed=8, skill=0.2))[-1]
    assert last.confidence_shift < -5
    assert abs(walked(expected, known(LIFE * 2, seed=9))[-1].confidence_shift) < 4


def test_bars_without_outcomes_change_nothing(expected: ConceptReference) -> None:
    state = concept.start(expected)
    nothing = np.full(6, np.nan)
    after, reading = concept.step(state, nothing, expected, SETTINGS.adwin_delta)
    for name, array in state.arrays().items():
        np.testing.assert_array_equal(array, after.arrays()[name])
    assert not reading.broken and not reading.adwin
    with pytest.raises(InputError, match="6 figures"):
        concept.step(state, nothing[:3], expected, SETTINGS.adwin_delta)


def test_state_and_reference_go_on_from_their_arrays(expected: ConceptReference) -> None:
    bars = known(50, seed=10)
    whole = walked(expected, bars)
    state = concept.start(expected)
    for bar in bars[:23]:
        state, _ = concept.step(state, bar, expected, SETTINGS.adwin_delta)
    again = ConceptState.of_arrays(load(save(state.arrays())))
    reference = ConceptReference.of_arrays(load(save(expected.arrays())))
    for row, bar in enumerate(bars[23:], start=23):
        again, reading = concept.step(again, bar, reference, SETTINGS.adwin_delta)
        assert reading == whole[row]


def test_a_validation_of_a_few_bars_is_refused() -> None:
    with pytest.raises(DataError, match="only 19 bars"):
        concept_reference(known(20)[:20], 5, LIFE)


# -- in the monitor ---------------------------------------------------------------------------------------------------


def monitored(bars: np.ndarray) -> tuple[DriftMonitor, list[DriftReading], DriftState]:
    world = features(TRAIN + len(bars), seed=0)
    monitor = DriftMonitor(
        drift_reference(world[:TRAIN], NAMES, WINDOW, LIFE), concept_reference(known(), max(HORIZONS), LIFE)
    )
    state = monitor.start(SYMBOLS, world[:TRAIN])
    end, readings = monitor.step(state, times(len(world))[TRAIN:], world[TRAIN:], bars)
    return monitor, readings, end


def turned(bars: int = LIFE) -> np.ndarray:
    quantiles, returns = forecasts(bars, seed=7)
    return outcomes(quantiles, LEVELS, -returns, HORIZONS)


def test_outcomes_alone_are_drift_once_they_have_persisted() -> None:
    _, readings, end = monitored(turned())
    found = [one.level for one in readings]
    first = found.index("drift")
    assert first < LIFE // 2 and found[first - 2 : first] == ["watch", "watch"]
    assert "forecasts are worse than in validation" in readings[first].what
    assert readings[-1].triggers == ("accuracy",)
    assert (
        readings[-1].to_dict("s", "m")["concept"]["brier"] > readings[-1].to_dict("s", "m")["concept"]["brier_expected"]
    )
    again = DriftState.of_arrays(load(save(end.arrays())))
    for name, array in end.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name], err_msg=name)


# -- what follows -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drifting() -> DriftReading:
    return monitored(turned())[1][-1]


def losses(seed: int, mean: float, bars: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.1, (bars, SYMBOLS))


def test_the_previous_champion_takes_over_where_it_lost_less(drifting: DriftReading) -> None:
    found = reaction(drifting, losses(1, 1.0), losses(2, 0.9), horizon_bars=5)
    assert (found.action, found.retrain) == ("rolled_back", True)
    assert found.evidence["p_value"] < 0.05 and found.evidence["loss_difference"] == pytest.approx(0.1, abs=0.03)
    assert any("previous champion lost less on the newest 60 bars" in reason for reason in found.reasons)


@pytest.mark.parametrize("previous", [1.0, 1.1])
def test_recommendations_stop_where_it_did_not(drifting: DriftReading, previous: float) -> None:
    found = reaction(drifting, losses(1, 1.0), losses(2, previous))
    assert found.action == "stopped" and found.evidence["p_value"] > 0.05
    assert any("is not better" in reason for reason in found.reasons)


def test_recommendations_stop_where_there_is_nobody_to_go_back_to(drifting: DriftReading) -> None:
    found = reaction(drifting, losses(1, 1.0), None)
    assert (found.action, found.evidence) == ("stopped", {})
    assert "there is no previous champion to go back to" in found.reasons


def test_a_few_good_days_are_no_reason_to_go_back(drifting: DriftReading) -> None:
    found = reaction(drifting, losses(1, 1.0, 19), losses(2, 0.5, 19))
    assert found.action == "stopped" and "only 19 bars" in " ".join(found.reasons)


def test_only_bars_that_both_know_are_compared(drifting: DriftReading) -> None:
    champion, previous = losses(1, 1.0), losses(2, 0.9)
    champion[:50] = np.nan
    assert reaction(drifting, champion, previous).evidence["bars"] == 10


def test_two_that_say_the_same_do_not_differ(drifting: DriftReading) -> None:
    found = reaction(drifting, losses(1, 1.0), losses(1, 1.0))
    assert found.action == "stopped" and found.evidence["p_value"] is None


def test_a_trigger_trains_again_and_touches_nothing_else(drifting: DriftReading) -> None:
    quiet = replace(drifting, level="watch", triggers=("psi", "age"))
    found = reaction(quiet, losses(1, 1.0), losses(2, 0.1))
    assert (found.action, found.retrain, len(found.reasons), found.evidence) == ("retrain", True, 2, {})
    assert reaction(replace(quiet, triggers=())).action == "none"


def test_going_back_by_chance_is_as_rare_as_the_test_says(drifting: DriftReading) -> None:
    back = [
        reaction(drifting, losses(2 * seed, 1.0), losses(2 * seed + 1, 1.0)).action == "rolled_back"
        for seed in range(200)
    ]
    assert 0.0 < np.mean(back) < 0.1
