"""Intervals of proportions: a library's, and what trials of one kind are worth."""

from __future__ import annotations

import numpy as np
import pytest

from tradewind.stats.proportion import clustered_wilson, wilson


def test_trials_that_are_independent_are_worth_what_they_are() -> None:
    draw = np.random.default_rng(0)
    hits = draw.binomial(20, 0.3, size=400)
    low, high = clustered_wilson(hits, np.full(400, 20))
    plain = wilson(hits.sum() / 8000, 8000)
    assert high - low == pytest.approx(float(plain[1] - plain[0]), rel=0.1)


def test_trials_that_agree_within_a_cluster_are_one_each() -> None:
    hits = np.array([20, 0, 0, 20, 0, 0, 0, 0, 20, 0])
    assert clustered_wilson(hits, np.full(10, 20)) == pytest.approx(np.array(wilson(0.3, 10)), abs=0.02)


def test_where_nothing_happened_each_cluster_is_one() -> None:
    assert clustered_wilson(np.zeros(5), np.full(5, 33)) == pytest.approx(np.array(wilson(0.0, 5)))
    assert clustered_wilson([7], [7]) == pytest.approx(np.array(wilson(1.0, 1)))


def test_an_interval_of_clusters_covers_what_it_says() -> None:
    draw, covered, plain = np.random.default_rng(1), 0, 0
    for _ in range(400):
        rate = draw.beta(1.0, 4.0, size=40)
        hits = draw.binomial(15, rate)
        low, high = clustered_wilson(hits, np.full(40, 15))
        covered += low <= 0.2 <= high
        ends = wilson(hits.sum() / 600, 600)
        plain += ends[0] <= 0.2 <= ends[1]
    assert 0.9 < covered / 400 < 0.99
    assert plain / 400 < 0.85
