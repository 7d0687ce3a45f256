"""PBO, SPA and the model confidence set."""

import numpy as np
import pytest

from tradewind.errors import InputError
from tradewind.stats import overfitting as o


def test_below_two_configurations_there_is_no_pbo_but_a_reason() -> None:
    found = o.probability_of_overfitting(np.random.default_rng(0).normal(size=(500, 1)))
    assert found.value is None
    assert found.reason is not None
    assert "at least two" in found.reason


@pytest.mark.parametrize(
    ("returns", "word"),
    [
        (np.full((500, 2), np.nan), "lack returns"),
        (np.zeros((500, 2)), "never traded"),
        (np.random.default_rng(0).normal(size=(7, 2)), "too few"),
    ],
)
def test_what_cannot_be_judged_says_why(returns: np.ndarray, word: str) -> None:
    found = o.probability_of_overfitting(returns)
    assert found.value is None
    assert word in str(found.reason)


def test_picking_from_noise_is_overfitting_half_of_the_time() -> None:
    values = [
        o.probability_of_overfitting(np.random.default_rng(seed).normal(size=(600, 20)), blocks=10).value
        for seed in range(30)
    ]
    assert np.mean([v for v in values if v is not None]) == pytest.approx(0.5, abs=0.12)


def test_a_configuration_with_real_skill_is_not_overfitting() -> None:
    r = np.random.default_rng(1).normal(size=(1000, 20))
    r[:, 7] += 0.3
    found = o.probability_of_overfitting(r, blocks=10)
    assert found.value == 0.0
    assert found.splits == 252
    assert found.probability_of_loss == 0.0


def test_pbo_equals_a_loop_over_all_splits() -> None:
    from itertools import combinations

    r = np.random.default_rng(2).normal(size=(120, 5))
    parts = np.array_split(np.arange(120), 6)
    below = []
    for chosen in combinations(range(6), 3):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.setdiff1d(np.arange(120), inside)
        best = np.argmax(r[inside].mean(axis=0) / r[inside].std(axis=0, ddof=1))
        score = r[outside].mean(axis=0) / r[outside].std(axis=0, ddof=1)
        below.append((score < score[best]).sum() + 1 <= 3)
    assert o.probability_of_overfitting(r, blocks=6).value == pytest.approx(np.mean(below))


def test_returns_must_be_a_table() -> None:
    with pytest.raises(InputError, match="shape"):
        o.probability_of_overfitting(np.zeros(10))


def test_spa_finds_the_better_model_and_nothing_in_noise() -> None:
    generator = np.random.default_rng(3)
    benchmark = generator.normal(1.0, 1.0, 400)
    noise = generator.normal(1.0, 1.0, (400, 3))
    assert o.superior_predictive_ability(benchmark, noise, block_bars=5, samples=300).consistent > 0.05
    noise[:, 1] -= 0.5
    assert o.superior_predictive_ability(benchmark, noise, block_bars=5, samples=300).consistent < 0.01


def test_the_confidence_set_keeps_the_best_and_drops_the_bad() -> None:
    losses = np.random.default_rng(4).normal(1.0, 0.5, (400, 3)) + np.array([0.0, 0.0, 1.0])
    p = o.model_confidence_set(losses, ["good", "equal", "bad"], block_bars=5, samples=300)
    assert p["bad"] < 0.05
    assert max(p["good"], p["equal"]) == 1.0
    assert o.model_confidence_set(losses[:, :1], ["only"], block_bars=5) == {"only": 1.0}


def test_models_with_the_same_losses_stand_for_each_other_in_the_confidence_set() -> None:
    rng = np.random.default_rng(3)
    good, bad = rng.normal(1.0, 0.1, 300), rng.normal(1.2, 0.1, 300)
    p = o.model_confidence_set(np.column_stack([good, bad, good]), ("a", "b", "a again"), block_bars=5, samples=200)
    assert p["a"] == p["a again"] == 1.0
    assert p["b"] < 0.1
