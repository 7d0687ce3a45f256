"""ADWIN2: river's window, value by value; what depends on nothing rarely sets it off; it goes on from its arrays."""

from __future__ import annotations

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.stats import adwin


def stream(seed: int, after: float) -> np.ndarray:
    draw = np.random.default_rng(seed)
    parts = draw.normal(0.3, 0.1, 300), draw.normal(after, 0.15, 300)
    return np.clip(np.concatenate(parts), 0, 1)


def walked(values: np.ndarray, delta: float = 0.002) -> tuple[list[int], list[tuple[int, int]]]:
    state, widths, changes = adwin.AdwinState.empty(), [], []
    for row, value in enumerate(values):
        state, changed = adwin.step(state, float(value), delta)
        widths.append(state.width)
        if changed:
            changes.append((row, changed))
    return widths, changes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("after", [0.1, 0.3, 0.45, 0.8])
def test_it_is_river_s_window_value_by_value(seed: int, after: float) -> None:
    from river._river_rust.drift import AdaptiveWindowing

    oracle = AdaptiveWindowing(delta=0.002, clock=1, max_buckets=5, min_window_length=5, grace_period=10)
    values = stream(seed, after)
    theirs = [(bool(oracle.update(float(value))), int(oracle.get_width())) for value in values]
    widths, changes = walked(values)
    assert widths == [width for _, width in theirs]
    assert [row for row, _ in changes] == [row for row, (changed, _) in enumerate(theirs) if changed]


def test_it_says_which_way_the_mean_went() -> None:
    assert {way for _, way in walked(stream(5, 0.8))[1]} == {1}
    assert {way for _, way in walked(stream(5, 0.05))[1]} == {-1}


def test_independent_values_hardly_ever_set_it_off() -> None:
    draw = np.random.default_rng(6)
    assert sum(bool(walked(draw.random(400))[1]) for _ in range(20)) <= 1


def test_it_goes_on_from_its_arrays_as_if_nothing_had_been() -> None:
    values = stream(7, 0.6)
    whole = adwin.AdwinState.empty()
    for value in values:
        whole, _ = adwin.step(whole, float(value))
    part = adwin.AdwinState.empty()
    for value in values[:350]:
        part, _ = adwin.step(part, float(value))
    again = adwin.AdwinState.of_arrays({name: array.copy() for name, array in part.arrays().items()})
    for value in values[350:]:
        again, _ = adwin.step(again, float(value))
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])


def test_a_step_leaves_the_state_before_it_alone() -> None:
    state, _ = adwin.step(adwin.AdwinState.empty(), 0.4)
    before = {name: array.copy() for name, array in state.arrays().items()}
    adwin.step(state, 0.9)
    for name, array in before.items():
        np.testing.assert_array_equal(array, state.arrays()[name])
    assert state.mean == pytest.approx(0.4)


@pytest.mark.parametrize("value", [-0.1, 1.2, float("nan")])
def test_values_outside_of_the_unit_interval_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="in \\[0, 1\\]"):
        adwin.step(adwin.AdwinState.empty(), value)
