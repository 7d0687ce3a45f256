"""Exponentially weighted volatility against pandas."""

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.stats import volatility as v


def test_ewma_variance_equals_pandas_with_normalised_weights() -> None:
    import pandas as pd

    r = np.random.default_rng(0).normal(size=(60, 3))
    oracle = pd.DataFrame(r**2).ewm(halflife=8, adjust=True).mean().to_numpy()
    assert v.ewma_variance(r, 8.0, 1) == pytest.approx(oracle)


def test_a_prefix_of_the_returns_gives_a_prefix_of_the_volatility() -> None:
    r = np.random.default_rng(1).normal(size=(80, 4))
    assert np.array_equal(v.ewma_volatility(r[:50], 10.0), v.ewma_volatility(r, 10.0)[:50], equal_nan=True)


def test_missing_bars_stay_missing_and_are_skipped() -> None:
    r = np.random.default_rng(2).normal(size=(40, 1))
    holed = np.insert(r, 20, np.nan, axis=0)
    found = v.ewma_volatility(holed, 10.0)
    assert np.isnan(found[20, 0])
    assert np.array_equal(np.delete(found, 20, axis=0), v.ewma_volatility(r, 10.0), equal_nan=True)


def test_volatility_needs_its_warm_up() -> None:
    found = v.ewma_volatility(np.ones((12, 1)), 5.0, warm_up_bars=10)
    assert np.isnan(found[:9]).all()
    assert found[9, 0] == pytest.approx(1.0)


def test_a_half_life_is_positive() -> None:
    assert v.decay_of(1.0) == 0.5
    with pytest.raises(InputError, match="half-life"):
        v.decay_of(0.0)
