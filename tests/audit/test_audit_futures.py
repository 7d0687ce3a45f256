"""Other futures agree with the past bit for bit, and are markets."""

from __future__ import annotations

import numpy as np
import pytest
from audit_kit import panel_of
from hypothesis import given
from hypothesis import strategies as st

from tradewind.audit.futures import ATTACKS, perturb, shuffle, truncate
from tradewind.errors import InputError
from tradewind.market.panel import FIELDS

PANEL = panel_of(np.random.default_rng(1), bars=60)


@given(st.sampled_from(sorted(ATTACKS)), st.integers(0, 58), st.integers(0, 2**32))
def test_the_past_is_untouched(attack: str, row: int, seed: int) -> None:
    other = ATTACKS[attack](PANEL, row, np.random.default_rng(seed))
    for name in FIELDS:
        np.testing.assert_array_equal(other.fields[name][: row + 1], PANEL.fields[name][: row + 1])
    np.testing.assert_array_equal(other.mask[: row + 1], PANEL.mask[: row + 1])
    np.testing.assert_array_equal(other.member[: row + 1], PANEL.member[: row + 1])
    np.testing.assert_array_equal(other.context["vix"][: row + 1], PANEL.context["vix"][: row + 1])


@given(st.integers(0, 58), st.integers(0, 2**32))
def test_a_perturbed_future_is_a_valid_market(row: int, seed: int) -> None:
    other = perturb(PANEL, row, np.random.default_rng(seed))
    later = other.rows(row + 1, len(other))
    seen = later.mask
    assert np.isfinite(later.close[seen]).all() and (later.low[seen] > 0.0).all()
    assert (later.high >= np.maximum(later.open, later.close))[seen].all()
    assert (later.low <= np.minimum(later.open, later.close))[seen].all()
    assert np.isnan(later.close[~seen]).all()
    assert (later.split > 0.0).all() and (later.dividend >= 0.0).all()


@pytest.mark.parametrize("row", [0, 20, 50])
def test_a_perturbed_future_is_another(row: int) -> None:
    other = perturb(PANEL, row, np.random.default_rng(2))
    both = other.mask[row + 1 :] & PANEL.mask[row + 1 :]
    assert (other.close[row + 1 :] != PANEL.close[row + 1 :])[both].all()


@given(st.integers(0, 50), st.integers(0, 2**32))
def test_a_shuffled_future_has_the_same_bars_at_the_same_times(row: int, seed: int) -> None:
    other = shuffle(PANEL, row, np.random.default_rng(seed))
    np.testing.assert_array_equal(other.times, PANEL.times)
    np.testing.assert_array_equal(np.sort(other.volume, axis=0), np.sort(PANEL.volume, axis=0))


def test_a_truncated_future_is_none() -> None:
    assert len(truncate(PANEL, 10)) == 11


def test_a_row_outside_the_panel_is_refused() -> None:
    with pytest.raises(InputError, match="outside"):
        truncate(PANEL, 60)
