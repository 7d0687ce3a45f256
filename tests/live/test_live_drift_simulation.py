"""Planted changes: each is seen where it shows, is what it says, and nothing is seen where nothing was planted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from drift_worlds import LIFE, NAMES, TRAIN, WINDOW, history

from tradewind.errors import DataError, InputError
from tradewind.live.drift_simulation import CHANGES, History, Planted, Said, simulate, simulate_all, with_change
from tradewind.live.settings_drift import DriftSection

MUST = {"detected", "delay_bars", "rolled_back", "false_alarm_rate"}


@pytest.fixture(scope="module")
def past() -> History:
    return history()


def asked(past: History, planted: Planted, **more: object) -> dict[str, object]:
    found = simulate(past, planted, train_bars=TRAIN, life_bars=LIFE, window_bars=WINDOW, **more)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) >= MUST
    return found


def changed(past: History, planted: Planted, row: int) -> History:
    x = past.features.reshape(-1, len(NAMES)).astype(float)
    return with_change(past, planted, row, x.std(axis=0), x.mean(axis=0))


@pytest.mark.parametrize("change", ["mean_shift", "variance", "sign_flip"])
def test_a_large_change_is_drift_soon_and_in_every_life(past: History, change: str) -> None:
    found = asked(past, Planted(change))
    assert found["detected"] and found["detected_share"] == 1.0 and found["lives"] == 3
    assert found["delay_bars"] <= 25
    assert found["false_alarm_rate"] == 0.0


def test_where_the_signal_turns_the_one_before_without_a_signal_takes_over(past: History) -> None:
    found = asked(past, Planted("sign_flip", after_bars=0))
    assert found["rolled_back"] and found["action"] == "rolled_back"
    assert found["evidence"]["p_value"] < 0.05
    assert found["rolled_back_after_bars"] > found["delay_bars"], "at first too little is known"
    alone = asked(replace(past, previous=None), Planted("sign_flip", after_bars=0))
    assert alone["detected"] and not alone["rolled_back"] and alone["action"] == "stopped"


def test_a_champion_that_breaks_gives_way_to_the_one_before(past: History) -> None:
    found = asked(past, Planted("broken_champion"))
    assert found["detected"] and found["rolled_back"] and found["delay_bars"] <= 10
    assert "worse than in validation" in found["what"] and found["false_alarm_rate"] == 0.0


def test_lives_before_whose_start_nothing_is_known_of_the_champion_are_left_out_where_only_results_change(
    past: History,
) -> None:
    late = replace(past, champion=Said(past.champion.quantiles.copy()))
    late.champion.quantiles[: TRAIN + LIFE - 30] = np.nan
    found = asked(late, Planted("broken_champion"))
    assert (found["lives"], found["lives_left_out"], found["detected_share"]) == (2, 1, 1.0)
    plain = asked(late, Planted("mean_shift"))
    assert (plain["lives"], plain["lives_left_out"]) == (3, 0)
    late.champion.quantiles[:] = np.nan
    with pytest.raises(DataError, match="none of 3 lives has a champion"):
        asked(late, Planted("broken_champion"))


def test_every_rate_has_its_interval(past: History) -> None:
    found = asked(past, Planted("broken_champion"))
    for name, at in (
        ("detected_interval", "detected_share"),
        ("false_alarm_lives_interval", "false_alarm_lives"),
        ("false_alarm_interval", "false_alarm_rate"),
    ):
        low, high = found[name]
        assert 0 <= low <= found[at] <= high <= 1, name
    assert found["detected_interval"][0] == pytest.approx(0.4385, abs=1e-4), "three of three lives"
    assert found["rolled_back_share"] == 1.0 and found["rolled_back_without_change_share"] == 0.0


def test_changes_together_are_what_each_is_alone(past: History) -> None:
    changes = [Planted("mean_shift"), Planted("broken_champion", after_bars=30), Planted("correlation")]
    found = simulate_all(past, changes, train_bars=TRAIN, life_bars=LIFE, window_bars=WINDOW)
    assert found == [asked(past, planted) for planted in changes]


def test_an_alarm_that_comes_without_the_change_is_no_detection(past: History) -> None:
    bad = replace(past, champion=Said(past.champion.quantiles.copy()))
    start = len(past.times) - LIFE
    bad.champion.quantiles[start:] += 0.1
    found = asked(bad, Planted("dead_feature"), lives_most=1)
    assert found["false_alarm_lives"] == 1.0 and found["false_alarm_rate"] > 0.9
    assert not found["detected"] and found["delay_bars"] is None


@pytest.mark.parametrize("change", ["dead_feature", "missing_feature"])
def test_one_feature_that_dies_is_watched_and_named(past: History, change: str) -> None:
    found = asked(past, Planted(change, seed=3))
    assert found["level"] == "watch" and "no new value: feature_" in found["what"]
    assert found["watch"]["detected_share"] == 1.0 and not found["detected"] and found["action"] == "none"


def test_a_correlation_break_is_seen_by_joint_features(past: History) -> None:
    found = asked(past, Planted("correlation"))
    assert found["watch"]["detected_share"] > 0.5
    assert "joint" in found["what"] or "hang together" in found["what"]


def test_a_change_begins_where_it_is_said_and_what_came_before_stays(past: History) -> None:
    row = TRAIN + 20
    for change in CHANGES:
        before = {name: getattr(past, name).copy() for name in ("features", "returns")}
        told = changed(past, Planted(change), row)
        np.testing.assert_array_equal(told.features[:row], past.features[:row])
        np.testing.assert_array_equal(told.returns[:row], past.returns[:row])
        assert np.array_equal(told.champion.quantiles, past.champion.quantiles) == (change != "broken_champion"), change
        np.testing.assert_array_equal(told.champion.quantiles[:row], past.champion.quantiles[:row])
        np.testing.assert_array_equal(told.previous.quantiles, past.previous.quantiles)
        moved = not np.array_equal(told.features[row:], past.features[row:], equal_nan=True)
        turned = not np.array_equal(told.returns[row:], past.returns[row:], equal_nan=True)
        assert (moved, turned) == (
            change not in ("sign_flip", "broken_champion"),
            change in ("variance", "sign_flip"),
        ), change
        for name, array in before.items():
            np.testing.assert_array_equal(array, getattr(past, name), err_msg="the history itself is left alone")


def test_changes_are_what_they_say(past: History) -> None:
    row, x = TRAIN, past.features[TRAIN:].astype(float)
    spread = past.features.reshape(-1, len(NAMES)).astype(float).std(axis=0)
    shifted = changed(past, Planted("mean_shift", 1.5), row).features[row:]
    np.testing.assert_allclose(shifted - x, np.broadcast_to(1.5 * spread, x.shape), rtol=1e-3, atol=1e-3)
    wider = changed(past, Planted("variance", 2.0), row)
    assert wider.features[row:].std() == pytest.approx(2 * x.std(), rel=0.05)
    np.testing.assert_allclose(wider.returns[row:], 2 * past.returns[row:])
    mixed = changed(past, Planted("correlation"), row).features[row:]
    np.testing.assert_array_equal(np.sort(mixed, axis=0), np.sort(past.features[row:], axis=0))
    np.testing.assert_array_equal(changed(past, Planted("sign_flip"), row).returns[row:], -past.returns[row:])
    mirrored = changed(past, Planted("mirrored_features"), row).features[row:]
    centre = past.features.reshape(-1, len(NAMES)).astype(float).mean(axis=0)
    np.testing.assert_allclose(mirrored - centre, centre - x, atol=1e-4)
    dead = changed(past, Planted("dead_feature"), row).features
    still = (dead[row:] == dead[row - 1]).all(axis=(0, 1))
    assert still.sum() == 1
    gone = changed(past, Planted("missing_feature", share=0.5), row).features[row:]
    assert np.isnan(gone).all(axis=(0, 1)).sum() == len(NAMES) // 2


def test_a_share_of_the_features_is_drawn_by_its_seed(past: History) -> None:
    row = TRAIN
    moved = [
        (changed(past, Planted("mean_shift", share=0.25, seed=seed), row).features[row] != past.features[row]).any(
            axis=0
        )
        for seed in (1, 1, 2)
    ]
    assert [int(one.sum()) for one in moved] == [3, 3, 3]
    assert (moved[0] == moved[1]).all() and (moved[0] != moved[2]).any()


def test_a_model_that_can_be_asked_anew_says_what_the_changed_features_make_it_say(past: History) -> None:
    def again(features: np.ndarray) -> np.ndarray:
        return past.champion.quantiles + 100 * (features[:, :, :1, None] != past.features[:, :, :1, None])

    told = changed(replace(past, champion=Said(past.champion.quantiles, again)), Planted("mean_shift"), TRAIN)
    np.testing.assert_array_equal(told.champion.quantiles[:TRAIN], past.champion.quantiles[:TRAIN])
    np.testing.assert_allclose(told.champion.quantiles[TRAIN:], past.champion.quantiles[TRAIN:] + 100)


def test_features_alone_are_enough_but_for_a_sign(past: History) -> None:
    bare = History(past.times, past.names, past.features)
    found = asked(bare, Planted("mean_shift"))
    assert found["detected"] and found["action"] == "stopped" and not found["rolled_back"]
    for change in ("sign_flip", "broken_champion"):
        with pytest.raises(InputError, match=f"{change} shows in forecasts"):
            asked(bare, Planted(change))


def test_lives_are_spread_over_history_and_the_newest_is_told_of(past: History) -> None:
    found = asked(past, Planted("mean_shift"), lives_most=2)
    assert found["lives"] == 2
    assert found["changed_at"] == str(past.times[len(past.times) - LIFE + LIFE // 3])[:19] + "Z"


def test_progress_is_told(past: History) -> None:
    told: list[tuple[str, int, int]] = []
    asked(past, Planted("mean_shift"), progress=lambda *step: told.append(step))
    assert told == [("lives of a model", done, 3) for done in range(3)]


def test_what_cannot_be_simulated_is_said(past: History) -> None:
    with pytest.raises(InputError, match="unknown change 'mean'") as error:
        asked(past, Planted("mean"))  # type: ignore[arg-type]
    assert "mean_shift" in error.value.hint
    with pytest.raises(InputError, match="0 < share <= 1"):
        asked(past, Planted("mean_shift", share=0.0))
    with pytest.raises(InputError, match="within a life"):
        asked(past, Planted("mean_shift", after_bars=LIFE))
    with pytest.raises(DataError, match="too few"):
        simulate(past, Planted("mean_shift"), train_bars=len(past.times), life_bars=LIFE, window_bars=WINDOW)


def test_settings_are_those_of_the_playbook(past: History) -> None:
    slow = asked(past, Planted("mean_shift"), settings=DriftSection(persist_bars=12))
    assert slow["delay_bars"] >= asked(past, Planted("mean_shift"))["delay_bars"] + 5
