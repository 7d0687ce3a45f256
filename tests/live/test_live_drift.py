"""The monitor of features: quiet where nothing changed, loud where it did, the same bar by bar and after a restart."""

from __future__ import annotations

import io
import json
from dataclasses import fields

import numpy as np
import pytest
from drift_worlds import FEATURES, LIFE, NAMES, SYMBOLS, TRAIN, WINDOW, features, times
from safetensors.numpy import load, save

from tradewind.errors import DataError, InputError
from tradewind.live.drift_joint import NAMES as JOINT
from tradewind.live.drift_kernel import count_bars
from tradewind.live.drift_monitor import DriftMonitor, DriftReading, DriftState
from tradewind.live.drift_reference import DriftReference, drift_reference
from tradewind.live.settings_drift import DriftSection
from tradewind.stats import drift as distances

PAYLOAD = {"seat", "model_id", "time", "level", "since", "data", "concept", "persistence", "action", "what"}
FEATURE = {"name", "psi", "js", "ks_p", "wasserstein", "threshold", "drifted"}
CONCEPT = {
    "coverage", "coverage_expected", "brier", "brier_expected", "loss_ratio", "adwin", "confidence_shift",
}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> np.ndarray:
    return features()


@pytest.fixture(scope="module")
def reference(world: np.ndarray) -> DriftReference:
    return drift_reference(world[:TRAIN], NAMES, WINDOW, LIFE)


def live(reference: DriftReference, world: np.ndarray, **settings: object) -> list[DriftReading]:
    """Return the readings of the bars behind the training part."""
    monitor = DriftMonitor(reference, settings=DriftSection(**settings))
    state = monitor.start(SYMBOLS, world[:TRAIN])
    return monitor.step(state, times(len(world))[TRAIN:], world[TRAIN:])[1]


def said(readings: list[DriftReading]) -> list[str]:
    return [json.dumps(one.to_dict("seat", "model"), sort_keys=True) for one in readings]


def levels(readings: list[DriftReading]) -> list[str]:
    return [one.level for one in readings]


# -- quiet and loud ---------------------------------------------------------------------------------------------------


def test_histories_without_a_change_are_quiet() -> None:
    drifting, watched = 0, 0
    for seed in range(8):
        x = features(seed=seed)
        found = levels(live(drift_reference(x[:TRAIN], NAMES, WINDOW, LIFE), x))
        drifting += "drift" in found
        watched += "watch" in found
    assert drifting == 0
    assert watched <= 2


def test_among_the_training_data_a_p_value_is_what_it_says() -> None:
    p = []
    for seed in range(6):
        x = features(seed=seed + 20)
        p += [one.p[:FEATURES] for one in live(drift_reference(x[:TRAIN], NAMES, WINDOW, LIFE), x)]
    rate = [(np.array(p) <= level).mean() for level in (0.1, 0.01)]
    assert 0.03 < rate[0] < 0.2
    assert rate[1] < 0.03


@pytest.mark.parametrize("size", [2.0, -2.0])
def test_a_moved_mean_is_drift_within_days_and_not_before_it_has_persisted(
    reference: DriftReference, world: np.ndarray, size: float
) -> None:
    moved = world.copy()
    moved[TRAIN + 20 :] += (size * reference.deviation).astype(np.float32)
    readings = live(reference, moved)
    found = levels(readings)
    assert "drift" not in found[: 20 + 2]
    first = found.index("drift")
    assert first <= 20 + 10
    assert [one.persistence for one in readings[first - 2 : first + 1]] == [1, 2, 3]
    assert readings[first].since == readings[first].time
    assert readings[first].what
    assert max(one.share_drifted for one in readings[first:]) > 0.3
    assert any("features have drifted" in one.what for one in readings[first:])
    assert readings[-1].since == readings[first].since, "the level has not changed since"


def test_only_what_moved_is_named(reference: DriftReference, world: np.ndarray) -> None:
    moved = world.copy()
    moved[TRAIN + 10 :, :, [2, 7]] += (6 * reference.deviation[[2, 7]]).astype(np.float32)
    last = live(reference, moved)[-1]
    assert {NAMES[i] for i in np.flatnonzero(last.drifted[:FEATURES])} == {NAMES[2], NAMES[7]}
    shown = last.to_dict("seat", "model")["data"]["features"]
    assert [one["name"] for one in shown if one["drifted"] and one["name"] in NAMES] == [NAMES[2], NAMES[7]]
    assert all(one["psi"] > 0 and one["ks_p"] < 0.1 for one in shown[:2] if one["name"] in NAMES)


def test_features_are_told_of_the_worst_first_though_p_values_of_the_worst_are_all_zero(
    reference: DriftReference, world: np.ndarray
) -> None:
    moved = world.copy()
    sizes = {3: 4e4, 8: 4e5, 1: 4e6}
    for column, size in sizes.items():
        moved[TRAIN + 10 :, :, column] += np.float32(size * reference.deviation[column])
    last = live(reference, moved)[-1]
    assert (last.p[list(sizes)] == 0).all(), "no order is in them"
    shown = last.worst(len(last.names))
    own = [column for column in shown if column < FEATURES]
    assert own[:3] == [1, 8, 3]
    excess = last.excess[[column for column in shown if not last.drifted[column]]]
    assert (np.diff(excess) <= 0).all() and (last.p[own[-3:]] == 0.5).all()


def test_no_threshold_is_negative_where_chance_alone_would_move_a_feature_further(world: np.ndarray) -> None:
    steady = world.copy()
    steady[..., 0] = np.linspace(-1, 1, SYMBOLS, dtype=np.float32)
    steady[..., 1] = (np.arange(len(steady)) % WINDOW)[:, None]
    found = drift_reference(steady[:TRAIN], NAMES, WINDOW, LIFE)
    readings = live(found, steady)
    assert min(one.measured[0, :2].max() for one in readings) < 0, "an index from which chance is taken off may be"
    assert all((found.thresholds(column) >= 0).all() for column in range(4))
    assert not any(one.drifted[:2].any() for one in readings)


def test_values_that_are_there_no_more_are_a_change_of_their_own(reference: DriftReference, world: np.ndarray) -> None:
    gone = world.copy()
    gone[TRAIN + 10 :, :, 4] = np.nan
    last = live(reference, gone)[-1]
    assert last.drifted[4] and last.silent[4] and last.drifted[:FEATURES].sum() == 1
    assert last.level == "watch"
    assert f"no new value: {NAMES[4]}" in last.what


def test_a_feature_that_stands_still_is_named_though_its_value_is_an_ordinary_one(
    reference: DriftReference, world: np.ndarray
) -> None:
    stuck = world.copy()
    stuck[TRAIN + 10 :, :, 1] = stuck[TRAIN + 9, :, 1]
    readings = live(reference, stuck)
    silent = [bool(one.silent[1]) for one in readings]
    assert silent.index(True) == 10 + WINDOW, "longer than a window, as it never stood still in training"
    assert all(one.silent.sum() == one.silent[1] for one in readings)
    assert readings[-1].level == "watch"


def test_a_feature_that_always_stood_still_may(world: np.ndarray) -> None:
    slow = world.copy()
    slow[:, :, 3] = np.repeat(slow[::20, :1, 3], 20, axis=0)[: len(slow)]
    readings = live(drift_reference(slow[:TRAIN], NAMES, WINDOW, LIFE), slow)
    assert not any(one.silent.any() for one in readings)


def test_broken_correlations_show_in_joint_features_alone(reference: DriftReference, world: np.ndarray) -> None:
    broken = world.copy()
    for column in range(FEATURES):
        broken[TRAIN + 10 :, :, column] = np.roll(broken[TRAIN + 10 :, :, column], 1 + 3 * column, axis=0)
    last = live(reference, broken)[-1]
    assert last.drifted[FEATURES:].any() and not last.drifted[:FEATURES].any()
    assert any(name in last.what for name in JOINT) or "hang together" in last.what


def test_features_to_leave_out_are_never_named(world: np.ndarray) -> None:
    grown = world.copy()
    grown[:, :, 0] += np.arange(len(world), dtype=np.float32)[:, None]
    settings = DriftSection(exclude=(NAMES[0],))
    reference = drift_reference(grown[:TRAIN], NAMES, WINDOW, LIFE, settings)
    assert not any(one.drifted[0] for one in live(reference, grown, exclude=(NAMES[0],)))
    with pytest.raises(InputError, match="unknown feature to exclude") as error:
        drift_reference(grown[:TRAIN], NAMES, WINDOW, LIFE, DriftSection(exclude=("feature0",)))
    assert "did you mean" in error.value.hint


def test_triggers_of_a_retraining_are_no_drift(reference: DriftReference, world: np.ndarray) -> None:
    monitor = DriftMonitor(reference, trained_until=times(len(world))[TRAIN - 1])
    readings = monitor.step(monitor.start(SYMBOLS, world[:TRAIN]), times(len(world))[TRAIN:], world[TRAIN:])[1]
    assert ["age" in one.triggers for one in readings].index(True) == 29, "thirty days after the last bar of training"
    assert set(levels(readings)) <= {"ok", "watch"}
    slowly = world.copy()
    slowly[TRAIN:] += (0.8 * reference.deviation).astype(np.float32)
    assert "psi" in live(reference, slowly)[-1].triggers
    assert not any("psi" in one.triggers for one in live(reference, world))


# -- a fold -----------------------------------------------------------------------------------------------------------


def test_one_block_is_bar_by_bar_and_a_restart_changes_no_bit(reference: DriftReference, world: np.ndarray) -> None:
    moved = world.copy()
    moved[TRAIN + 25 :, :, :6] += reference.deviation[:6].astype(np.float32) * 2
    monitor = DriftMonitor(reference)
    when, start = times(len(world)), monitor.start(SYMBOLS, moved[:TRAIN])
    end, whole = monitor.step(start, when[TRAIN:], moved[TRAIN:])
    state, single = start, []
    for row in range(TRAIN, len(moved)):
        state, found = monitor.step(state, when[row : row + 1], moved[row : row + 1])
        single += found
        if row % 9 == 0:
            state = DriftState.of_arrays(load(save(state.arrays())))
            monitor = DriftMonitor(DriftReference.of_arrays(load(save(reference.arrays()))))
    assert said(single) == said(whole)
    for name, array in end.arrays().items():
        np.testing.assert_array_equal(array, state.arrays()[name], err_msg=name)


def test_the_past_does_not_depend_on_what_comes(reference: DriftReference, world: np.ndarray) -> None:
    other = world.copy()
    other[TRAIN + 30 :] = 7
    assert said(live(reference, other))[:30] == said(live(reference, world))[:30]
    assert said(live(reference, other))[30:] != said(live(reference, world))[30:]


def test_the_order_of_symbols_means_nothing(world: np.ndarray) -> None:
    turned = np.ascontiguousarray(world[:, ::-1])
    one, other = (drift_reference(x[:TRAIN], NAMES, WINDOW, LIFE) for x in (world, turned))
    assert one.share_limit == other.share_limit
    for a, b in zip(live(one, world), live(other, turned), strict=True):
        assert (a.level, a.persistence) == (b.level, b.persistence)
        np.testing.assert_allclose(a.measured[:, :FEATURES], b.measured[:, :FEATURES], rtol=1e-5, atol=1e-6)


def test_a_step_leaves_the_state_before_it_alone(reference: DriftReference, world: np.ndarray) -> None:
    monitor = DriftMonitor(reference)
    state = monitor.start(SYMBOLS, world[:TRAIN])
    before = {name: array.copy() for name, array in state.arrays().items()}
    monitor.step(state, times(2), world[TRAIN : TRAIN + 2])
    for name, array in before.items():
        np.testing.assert_array_equal(array, state.arrays()[name], err_msg=name)


def test_a_window_that_is_not_full_says_nothing(reference: DriftReference, world: np.ndarray) -> None:
    monitor = DriftMonitor(reference)
    far = world[:WINDOW] + 50
    readings = monitor.step(monitor.start(SYMBOLS), times(WINDOW), far)[1]
    assert [one.warm for one in readings] == [False] * (WINDOW - 1) + [True]
    assert [bool(one.drifted.any()) for one in readings] == [False] * (WINDOW - 1) + [True]
    assert readings[0].what == "too few bars yet"


def test_another_table_than_it_was_made_for_is_refused(reference: DriftReference, world: np.ndarray) -> None:
    monitor = DriftMonitor(reference)
    with pytest.raises(InputError, match="the monitor knows"):
        monitor.step(monitor.start(SYMBOLS), times(2), world[:2, :, :3])
    with pytest.raises(InputError, match="do not fit"):
        drift_reference(world, NAMES[:3], WINDOW, LIFE)


# -- the reference ----------------------------------------------------------------------------------------------------


def test_counts_are_those_of_a_loop(world: np.ndarray) -> None:
    x = world[:40].copy()
    x[3:9, :2, 1], x[5, 0, 2] = np.nan, np.inf
    edges = distances.quantile_edges(x.reshape(-1, FEATURES), 8)
    counts, beyond = count_bars(x, edges)
    for t in range(0, 40, 7):
        for f in range(FEATURES):
            values = x[t, :, f][np.isfinite(x[t, :, f])].astype(float)
            places = [int(sum(value >= edge for edge in edges[f])) for value in values]
            expected = [places.count(b) for b in range(8)] + [SYMBOLS - len(values)]
            assert counts[t, f].tolist() == expected
            assert beyond[t, f, 0] == pytest.approx(sum(max(edges[f, 0] - v, 0) for v in values))
            assert beyond[t, f, 1] == pytest.approx(sum(max(v - edges[f, -1], 0) for v in values))


def test_distances_are_those_of_the_samples_themselves(reference: DriftReference, world: np.ndarray) -> None:
    exact = distances.two_sample(
        world[:TRAIN].reshape(-1, FEATURES), world[TRAIN : TRAIN + WINDOW].reshape(-1, FEATURES)
    )
    measured = live(reference, world)[WINDOW - 1].measured[:, :FEATURES]
    np.testing.assert_allclose(measured[3], exact.wasserstein / reference.deviation, rtol=0.15, atol=0.02)
    assert (np.abs(measured[2] - exact.kolmogorov_smirnov) < 0.1).all()
    assert (measured[2] <= exact.kolmogorov_smirnov + 1e-6).all()


def test_a_window_of_features_that_linger_is_worth_less_than_its_values(reference: DriftReference) -> None:
    assert (reference.window_size[:FEATURES] < 0.7 * WINDOW * SYMBOLS).all()
    assert (reference.total_size >= reference.window_size).all()


def test_it_is_stored_without_pickle_and_read_again(reference: DriftReference) -> None:
    file = io.BytesIO()
    np.savez(file, **reference.arrays())
    file.seek(0)
    again = DriftReference.of_arrays(dict(np.load(file, allow_pickle=False)))
    for field in fields(DriftReference):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(reference, field.name), err_msg=field.name)
    assert all(array.dtype != object and array.flags.c_contiguous for array in reference.arrays().values())


@pytest.mark.parametrize("damage", ["edges", "header", "garbage", "format"])
def test_one_that_is_damaged_is_no_reference(reference: DriftReference, damage: str) -> None:
    arrays = reference.arrays()
    if damage == "garbage":
        arrays["header"] = np.frombuffer(b"{}x", dtype=np.uint8)
    elif damage == "format":
        arrays["header"] = np.frombuffer(b'{"format": 99}', dtype=np.uint8)
    else:
        del arrays[damage]
    with pytest.raises(DataError, match="reference of drift") as error:
        DriftReference.of_arrays(arrays)
    assert "tradewind train" in error.value.hint


def test_bars_that_warm_up_are_no_training_data(world: np.ndarray) -> None:
    late = np.concatenate([np.full((40, SYMBOLS, FEATURES), np.nan, dtype=np.float32), world[:TRAIN]])
    found, plain = (drift_reference(x, NAMES, WINDOW, LIFE) for x in (late, world[:TRAIN]))
    assert found.rows == TRAIN
    np.testing.assert_array_equal(found.counts, plain.counts)


def test_too_little_training_data_are_refused(world: np.ndarray) -> None:
    with pytest.raises(DataError, match="too few to know how windows"):
        drift_reference(world[: 29 * WINDOW], NAMES, WINDOW, LIFE)


def test_one_that_never_varied_and_one_that_is_never_known_are_no_trouble(world: np.ndarray) -> None:
    odd = world.copy()
    odd[:, :, 0], odd[:, :, 5] = 3.0, np.nan
    readings = live(drift_reference(odd[:TRAIN], NAMES, WINDOW, LIFE), odd)
    assert not any(one.drifted[[0, 5]].any() or one.silent.any() for one in readings)
    odd[TRAIN:, :, 5] = 1.0
    assert live(drift_reference(odd[:TRAIN], NAMES, WINDOW, LIFE), odd)[-1].drifted[5], "now it is known"


# -- what is said -----------------------------------------------------------------------------------------------------


def test_the_payload_has_the_shape_that_page_and_interface_know(reference: DriftReference, world: np.ndarray) -> None:
    payload = live(reference, world)[-1].to_dict("lstm", "lstm-2020", "retrain")
    assert set(payload) >= PAYLOAD
    assert set(payload["data"]) >= {"share_drifted", "features"}
    assert set(payload["data"]["features"][0]) >= FEATURE
    assert set(payload["concept"]) >= CONCEPT
    assert payload["persistence"] == {"bars": 0, "needed": 3}
    assert (payload["seat"], payload["model_id"], payload["action"]) == ("lstm", "lstm-2020", "retrain")
    assert payload["time"].endswith("+00:00") and payload["since"] is None
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


@pytest.mark.parametrize(("timeframe", "bars"), [("1m", 60), ("5m", 12), ("1h", 6), ("1d", 5), ("1w", 4)])
def test_a_window_is_an_hour_or_a_few_bars(timeframe: str, bars: int) -> None:
    assert DriftSection().window_of(timeframe) == bars
    assert DriftSection(window_bars=33).window_of(timeframe) == 33
