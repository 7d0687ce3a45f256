"""How rare a score is: a tail whose decline is known, what is ordinary, and few episodes."""

from __future__ import annotations

import numpy as np
import pytest

from tradewind.live.drift_tail import fitted_tail, tail_excess, tail_p


def test_the_tail_of_exponential_scores_is_theirs() -> None:
    score = np.random.default_rng(0).exponential(2.0, size=(20_000, 2))
    start, scale = fitted_tail(score, 1)
    np.testing.assert_allclose(start, 2.0 * np.log(10), rtol=0.05)
    np.testing.assert_allclose(scale, 2.0, rtol=0.1)
    far = np.array([12.0, 15.0])
    np.testing.assert_allclose(tail_p((far - start) / scale), np.exp(-far / 2.0), rtol=0.5)


def test_what_is_not_in_the_tail_is_ordinary_and_what_is_missing_is_missing() -> None:
    assert tail_p(np.array([-3.0, 0.0])).tolist() == [0.5, 0.5]
    assert tail_p(np.array([0.001]))[0] == pytest.approx(0.1, rel=0.01)
    assert np.isnan(tail_p(np.array([np.nan]))[0])
    assert tail_p(np.array([tail_excess(1e-4)]))[0] == pytest.approx(1e-4)
    assert tail_excess(0.3) == 0.0


def test_few_episodes_widen_the_tail() -> None:
    draw = np.random.default_rng(1)
    often = draw.exponential(1.0, size=(1000, 1))
    once = np.sort(often, axis=0)
    assert fitted_tail(once, 10)[1] > 1.5 * fitted_tail(often, 10)[1]
