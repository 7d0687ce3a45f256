"""Ensembles: what every way of weighting must keep, what each is for, and how forecasts are combined."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from tradewind.errors import DataError, InputError
from tradewind.models.ensembles.base import COMBINERS, combiner_of
from tradewind.models.ensembles.combine import average, blank_forecast, combine, disagreement, shares_of
from tradewind.models.ensembles.fold import WeightFold, came_due
from tradewind.models.ensembles.resolved import Resolved, sigma_of
from tradewind.models.ensembles.stacking import least_loss
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.models.settings import EnsembleSection
from tradewind.stats import distribution
from tradewind.stats.losses import pinball

HORIZONS = (1, 3)
BARS, SYMBOLS = 160, 4
METHODS = COMBINERS.names()
#: So that every method has learnt something within the short history.
EAGER = {"ewma_softmax": {"learning_rate": 0.2}, "stacking": {"refit_bars": 7, "prior_dates": 5.0}}
Z = stats.norm.ppf(LEVELS)


def method(name: str, **parameters):
    return COMBINERS.create(name, **{"seed": 3, **EAGER.get(name, {}), **parameters})


def outcomes(bars: int = BARS, seed: int = 0) -> np.ndarray:
    """Log returns from each bar over each horizon, NaN at the end where they are not known yet."""
    step = np.random.default_rng(seed).normal(0.0, 0.01, (bars, SYMBOLS))
    path = np.vstack([np.zeros(SYMBOLS), np.cumsum(step, axis=0)])[:bars]
    found = np.full((bars, SYMBOLS, len(HORIZONS)), np.nan)
    for index, h in enumerate(HORIZONS):
        found[:-h, :, index] = path[h:] - path[:-h]
    return found


def forecast(width: float = 1.0, shift: float = 0.0, bars: int = BARS, seed: int = 1, name: str = "made") -> Forecast:
    """Normal forecasts of the right width times ``width``, off by ``shift`` sigma and a little noise."""
    noise = 1.0 + 0.1 * np.random.default_rng(seed).random((bars, SYMBOLS, len(HORIZONS)))
    sigma = 0.01 * np.sqrt(HORIZONS) * noise
    quantiles = sigma[..., None] * (shift + width * Z)
    times = np.datetime64("2020-01-01T21:00:00", "us") + np.arange(bars) * np.timedelta64(1, "D")
    return Forecast(
        times, tuple("ABCD"), HORIZONS, LEVELS, quantiles, quantiles[..., 3].copy(), model=name, version=name
    )


def extremes(one: Forecast) -> Forecast:
    """The same with a highest high and a lowest low, a little outside."""
    return replace(one, high=one.quantiles + 0.002, low=one.quantiles - 0.003)


def members(bars: int = BARS) -> dict[str, Forecast]:
    made = {"right": forecast(1.0, seed=1), "wide": forecast(2.5, seed=2), "off": forecast(1.0, 0.7, seed=3)}
    return {name: replace(one.part(np.arange(bars)), model=name) for name, one in made.items()}


def silenced(one: Forecast, rows: slice, columns: slice = slice(None)) -> Forecast:
    quantiles, score = one.quantiles.copy(), one.score.copy()
    quantiles[rows, columns], score[rows, columns] = np.nan, np.nan
    return replace(one, quantiles=quantiles, score=score)


def with_gaps() -> dict[str, Forecast]:
    """Members of which one starts late, one misses a symbol, and none speaks at one bar."""
    made = members()
    made["right"] = silenced(made["right"], slice(0, 40))
    made["wide"] = silenced(made["wide"], slice(None), slice(2, 3))
    return {name: silenced(one, slice(70, 71)) for name, one in made.items()}


def weights_of(combiner, made: dict[str, Forecast], came: np.ndarray) -> np.ndarray:
    """Weights ``(T, H, M)`` by the fold, told outcomes as they become known."""
    fold = WeightFold(combiner, HORIZONS, LEVELS, len(made))
    arrays = [one.quantiles for one in made.values()]
    return fold.step(fold.initial_state(SYMBOLS), arrays, came_due(came, HORIZONS))[1]


# --- what every method keeps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_weights_are_shares_of_one_for_every_bar_and_horizon(name: str) -> None:
    weights = weights_of(method(name), with_gaps(), outcomes())
    assert weights.shape == (BARS, len(HORIZONS), 3)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=2), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
@given(stop=st.integers(5, BARS - 1))
@settings(max_examples=10)
def test_another_future_changes_no_earlier_weight(name: str, stop: int) -> None:
    whole = weights_of(method(name), with_gaps(), outcomes())
    truncated = {key: one.part(np.arange(stop)) for key, one in with_gaps().items()}
    np.testing.assert_array_equal(weights_of(method(name), truncated, as_known(outcomes(), stop)), whole[:stop])


@pytest.mark.parametrize("name", METHODS)
def test_a_block_gives_what_bar_by_bar_gives_bit_for_bit(name: str) -> None:
    made, known = [one.quantiles for one in with_gaps().values()], came_due(outcomes(), HORIZONS)
    fold = WeightFold(method(name), HORIZONS, LEVELS, 3)
    _, whole = fold.step(fold.initial_state(SYMBOLS), made, known)
    state, rows = fold.initial_state(SYMBOLS), []
    for bar in range(BARS):
        state, weights = fold.step(state, [one[bar : bar + 1] for one in made], known[bar : bar + 1])
        rows.append(weights)
    np.testing.assert_array_equal(np.concatenate(rows), whole)


@pytest.mark.parametrize("name", METHODS)
def test_a_state_can_be_stepped_from_twice(name: str) -> None:
    made, known = [one.quantiles for one in members().values()], came_due(outcomes(), HORIZONS)
    fold = WeightFold(method(name), HORIZONS, LEVELS, 3)
    state, _ = fold.step(fold.initial_state(SYMBOLS), [one[:90] for one in made], known[:90])
    go_on = partial(fold.step, state, [one[90:] for one in made], known[90:])
    np.testing.assert_array_equal(go_on()[1], go_on()[1])


@pytest.mark.parametrize("name", METHODS)
def test_members_in_another_order_have_the_same_weights(name: str) -> None:
    if name == "thompson":
        pytest.skip("the draws belong to places, not to members")
    made = members()
    turned = dict(reversed(made.items()))
    weights, other = (weights_of(method(name), one, outcomes()) for one in (made, turned))
    np.testing.assert_allclose(other[..., ::-1], weights, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_prices_and_volatility_on_another_scale_change_no_weight(name: str) -> None:
    made = members()
    louder = {key: replace(one, quantiles=one.quantiles * 8, score=one.score * 8) for key, one in made.items()}
    weights = weights_of(method(name), made, outcomes())
    np.testing.assert_allclose(weights_of(method(name), louder, outcomes() * 8), weights, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_where_nothing_has_come_due_nothing_is_learnt(name: str) -> None:
    weights = weights_of(method(name), members(), np.full((BARS, SYMBOLS, len(HORIZONS)), np.nan))
    if name == "thompson":
        assert (weights.mean(axis=0) > 0.2).all()
    else:
        np.testing.assert_allclose(weights, 1 / 3)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "equal"])
def test_the_member_that_is_right_comes_to_count_most(name: str) -> None:
    late = weights_of(method(name), members(), outcomes())[-60:].mean(axis=0)
    assert late[0].argmax() == 0


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("wrong", [{"half_life_bars": 0}, {"half_life_bars": "long"}, {"window_bars": 0.5}])
def test_parameters_that_cannot_be_are_refused(name: str, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        method(name, **wrong)


# --- nothing unresolved ------------------------------------------------------------------------------------------


def as_known(came: np.ndarray, stop: int) -> np.ndarray:
    """Outcomes as labels had them at the close of bar ``stop - 1``."""
    part = came[:stop].copy()
    for index, h in enumerate(HORIZONS):
        part[max(stop - h, 0) :, :, index] = np.nan
    return part


def peeking(made: dict[str, Forecast], came: np.ndarray, early: int) -> np.ndarray:
    """A planted leak: weights that are told every outcome some bars before it is known."""
    fold = WeightFold(method("ewma_softmax"), HORIZONS, LEVELS, len(made))
    known = np.full_like(came, np.nan)
    known[:-early] = came_due(came, HORIZONS)[early:]
    return fold.step(fold.initial_state(SYMBOLS), [one.quantiles for one in made.values()], known)[1]


@pytest.mark.parametrize("early", [1, 2])
def test_weights_that_know_an_outcome_early_are_caught(early: int) -> None:
    stop, made = 100, members()
    truncated = {key: one.part(np.arange(stop)) for key, one in made.items()}
    then = peeking(truncated, as_known(outcomes(), stop), early)
    assert not np.array_equal(then, peeking(made, outcomes(), early)[:stop])


@pytest.mark.parametrize("name", METHODS)
def test_a_forecast_is_judged_by_the_method_when_its_horizon_has_passed(name: str) -> None:
    """What came at bar 50 over 3 bars is about the forecast of bar 47: only that one's quality can matter."""
    bar, h = 50, 1
    made = members()
    changed = dict(made)
    quantiles = made["off"].quantiles.copy()
    quantiles[bar - HORIZONS[h], :, h] += 5.0
    changed["off"] = replace(made["off"], quantiles=quantiles)
    before, after = (weights_of(method(name), one, outcomes()) for one in (made, changed))
    np.testing.assert_array_equal(before[:bar], after[:bar])
    assert np.array_equal(before, after) == (name == "equal")


# --- each method ---------------------------------------------------------------------------------------------------


def test_no_weight_falls_below_the_floor() -> None:
    weights = weights_of(method("ewma_softmax", floor=0.1, sharpness=1e4, learning_rate=1.0), members(), outcomes())
    assert weights.min() == pytest.approx(0.1)
    assert weights.max() == pytest.approx(0.8)


def test_a_floor_that_is_more_than_the_whole_is_refused() -> None:
    with pytest.raises(InputError, match="more than the whole"):
        method("ewma_softmax", floor=0.4).start(HORIZONS, 3)


def test_ewma_softmax_is_its_formula() -> None:
    made, came = members(), outcomes()
    weights = weights_of(method("ewma_softmax", half_life_bars=10, sharpness=5, learning_rate=0.3), made, came)
    decay, excess, expected = 0.5**0.1, np.zeros(3), np.full(3, 1 / 3)
    unit = stats.norm.pdf(Z).mean()
    for bar in range(BARS):
        if bar >= 1:
            losses = np.stack(
                [pinball(came[bar - 1, :, 0], m.quantiles[bar - 1, :, 0], LEVELS).mean(axis=1) for m in made.values()]
            )
            scale = np.mean([sigma_of(m.quantiles[bar - 1, :, 0], LEVELS) for m in made.values()], axis=0)
            latest = ((losses - losses.mean(axis=0)) / scale / unit).mean(axis=1)
            excess = decay * excess + (1 - decay) * latest
        aim = 0.1 + 0.7 * np.exp(-5 * excess) / np.exp(-5 * excess).sum()
        expected = expected + 0.3 * (aim - expected)
        np.testing.assert_allclose(weights[bar, 0], expected, atol=1e-12)


def test_bayes_without_forgetting_is_the_posterior_of_the_model() -> None:
    """One symbol and a horizon of one bar: the weights are proportional to the product of the densities."""
    came = outcomes()[:, :1, :1]
    made = [one.quantiles[:, :1, :1] for one in members().values()]
    fold = WeightFold(method("bayes", half_life_bars=1e12), (1,), LEVELS, 3)
    _, weights = fold.step(fold.initial_state(1), made, came_due(came, (1,)))
    on = distribution.grid(LEVELS)
    logs = np.stack([distribution.log_density(one[:10, 0, 0], came[:10, 0, 0], on).sum() for one in made])
    likelihood = np.exp(logs - logs.max())
    np.testing.assert_allclose(weights[10, 0], likelihood / likelihood.sum(), rtol=1e-6)


def test_thompson_chooses_one_member_and_the_same_again_for_the_same_seed() -> None:
    once, again, other = (weights_of(method("thompson", seed=s), members(), outcomes()) for s in (1, 1, 2))
    assert set(np.unique(once)) == {0.0, 1.0}
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


@given(seed=st.integers(0, 20))
def test_stacking_finds_the_least_loss_that_a_general_solver_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    came = rng.standard_normal(300)
    made = np.sort(
        Z[:, None] * rng.uniform(0.4, 2.0, 3) + rng.normal(0, 0.4, 3) + rng.normal(0, 0.3, (300, 1, 3)), axis=1
    )

    def loss(weights: np.ndarray) -> float:
        return float(pinball(came, made @ weights, LEVELS).mean())

    solved = optimize.minimize(
        loss, np.full(3, 1 / 3), bounds=[(0, 1)] * 3, constraints={"type": "eq", "fun": lambda w: w.sum() - 1}
    )
    assert loss(least_loss(made, came, LEVELS)) <= float(solved.fun) * 1.003


def test_stacking_uses_what_two_half_right_members_know_together() -> None:
    """One is too high by as much as the other is too low: half of each is right."""
    pair = {"high": forecast(1.0, 0.8, seed=1), "low": forecast(1.0, -0.8, seed=2), "wide": forecast(4.0, seed=3)}
    fitted = weights_of(method("stacking", prior_dates=0.0), pair, outcomes())[-1, 0]
    assert fitted[2] < 0.1
    np.testing.assert_allclose(fitted[:2], 0.5, atol=0.12)


def test_a_member_that_was_absent_on_hard_days_gains_nothing_by_it() -> None:
    came = outcomes()
    hard = np.abs(came[:, :, 0]).max(axis=1) > 0.015
    twins = {"there": forecast(seed=1), "other": forecast(1.2, seed=2), "away": forecast(seed=1)}
    quantiles = twins["away"].quantiles.copy()
    quantiles[hard] = np.nan
    twins["away"] = replace(twins["away"], quantiles=quantiles)
    arrays, known = [one.quantiles[:, :, :1] for one in twins.values()], came_due(came, HORIZONS)[:, :, :1]
    both = [Resolved(np.stack([a[t - 1] for a in arrays]), known[t], LEVELS).excess_loss[0] for t in range(1, BARS)]
    shared = np.stack([row for row in both if np.isfinite(row).all()])
    np.testing.assert_allclose(shared[:, 0], shared[:, 2], atol=1e-12)


# --- combining -----------------------------------------------------------------------------------------------------


@given(weights=st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01))
def test_combined_quantiles_never_cross_and_lie_between_the_members(weights: list[float]) -> None:
    made = list(with_gaps().values())
    shares = np.broadcast_to(np.asarray(weights) / sum(weights), (BARS, len(HORIZONS), 3))
    found = average(made, shares, "it")
    there = found.available
    assert (np.diff(found.quantiles[there], axis=-1) >= 0).all()
    stack = np.stack([one.quantiles for one in made])
    assert (found.quantiles <= np.nanmax(np.where(np.isnan(stack), -np.inf, stack), axis=0) + 1e-12)[there].all()
    assert (found.quantiles >= np.nanmin(np.where(np.isnan(stack), np.inf, stack), axis=0) - 1e-12)[there].all()


def test_a_missing_member_is_left_out_and_the_others_share_its_weight() -> None:
    made = with_gaps()
    weights = np.broadcast_to([0.5, 0.3, 0.2], (BARS, len(HORIZONS), 3))
    found = average(list(made.values()), weights, "it")
    expected = 0.6 * made["wide"].quantiles[10, 0] + 0.4 * made["off"].quantiles[10, 0]
    np.testing.assert_allclose(found.quantiles[10, 0], expected)
    assert not found.available[70].any() and np.isnan(found.score[70]).all()
    np.testing.assert_allclose(sum(shares_of(list(made.values()), weights))[69], 1.0)


def test_where_only_members_without_weight_speak_they_share_alike() -> None:
    made = with_gaps()
    only_right = np.broadcast_to([1.0, 0.0, 0.0], (BARS, len(HORIZONS), 3))
    shares = [one[10, 0, 0] for one in shares_of(list(made.values()), only_right)]
    assert shares == [0.0, 0.5, 0.5]


def test_averaging_quantiles_of_normals_gives_the_normal_of_mean_place_and_width() -> None:
    pair = [forecast(1.0, 0.0, seed=1), forecast(3.0, 1.0, seed=1)]
    found = average(pair, np.full((BARS, len(HORIZONS), 2), 0.5), "it")
    np.testing.assert_allclose(found.quantiles, forecast(2.0, 0.5, seed=1).quantiles, atol=1e-15)


def test_class_probabilities_are_averaged_where_all_that_speak_have_them() -> None:
    chances = np.tile([0.2, 0.3, 0.5], (BARS, SYMBOLS, len(HORIZONS), 1))
    sure = np.tile([0.0, 0.0, 1.0], (BARS, SYMBOLS, len(HORIZONS), 1))
    pair = [replace(forecast(seed=1), probabilities=chances), replace(forecast(seed=2), probabilities=sure)]
    half = np.full((BARS, len(HORIZONS), 2), 0.5)
    together = average(pair, half, "it").probabilities
    assert together is not None
    np.testing.assert_allclose(together[3, 1, 0], [0.1, 0.15, 0.75])
    assert np.isfinite(together).all()
    mute = replace(silenced(forecast(seed=2), slice(0, 50)), probabilities=None)
    partly = average([pair[0], mute], half, "it").probabilities
    assert partly is not None
    assert np.isfinite(partly[:50]).all() and np.isnan(partly[50:]).all()
    assert average([replace(pair[0], probabilities=None), forecast()], half, "it").probabilities is None


@given(weight=st.floats(0, 1))
@settings(max_examples=20)
def test_the_paths_extremes_stay_on_their_sides_of_the_close(weight: float) -> None:
    pair = [extremes(forecast(seed=1)), extremes(forecast(2.0, 0.4, seed=2))]
    weights = np.broadcast_to([weight, 1.0 - weight], (BARS, len(HORIZONS), 2))
    found = average(pair, weights, "it")
    assert found.low is not None and found.high is not None
    assert (found.low <= found.quantiles).all() and (found.quantiles <= found.high).all()
    without = average([pair[0], forecast(seed=2)], np.full_like(weights, 0.5), "it")
    assert without.high is None and without.low is None


def test_members_that_agree_do_not_disagree_and_half_a_sigma_apart_is_half_a_sigma() -> None:
    same, apart = [forecast(seed=1)] * 2, [forecast(shift=s, seed=1) for s in (-0.5, 0.5)]
    half = np.full((BARS, len(HORIZONS), 2), 0.5)
    np.testing.assert_allclose(disagreement(same, average(same, half, "it"))[0], 0.0, atol=1e-12)
    for figure in disagreement(apart, average(apart, half, "it")):
        np.testing.assert_allclose(figure, 0.5, rtol=1e-6)
    alone = [silenced(forecast(), slice(None)), forecast(seed=2)]
    assert np.isnan(disagreement(alone, average(alone, half, "it"))[1]).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_combination_shows_its_baseline_its_members_and_its_weights(name: str) -> None:
    made = with_gaps()
    combined = combine(made, outcomes(), method(name), {"right": "too short"})
    np.testing.assert_array_equal(
        combined.equal.quantiles, combine(made, outcomes(), method("equal")).forecast.quantiles
    )
    said = combined.forecast.explanation
    assert said["method"] == name and said["members"] == list(made) and said["left_out"] == {"right": "too short"}
    assert set(said["weights_last"]["3"]) == set(made) and sum(said["weights_mean"]["1"].values()) == pytest.approx(1)
    assert combined.forecast.model == "ensemble" and combined.equal.model == "equal_weight"
    assert sum(combined.shares_at(10, 2)["1"].values()) == pytest.approx(1)
    assert combined.shares_at(10, 2)["1"]["right"] == 0.0
    assert combined.disagreement_at(70, 0)["1"] == {"spread": None, "distance": None}


def test_another_method_or_member_is_another_version() -> None:
    made = members()
    versions = {combine(made, outcomes(), method(name)).forecast.version for name in METHODS}
    other = made | {"off": replace(made["off"], version="2")}
    assert len(versions | {combine(other, outcomes(), method("equal")).forecast.version}) == len(METHODS) + 1


def test_what_cannot_be_combined_is_refused() -> None:
    made, equal = members(), method("equal")
    with pytest.raises(InputError, match="1 member"):
        combine({"right": made["right"]}, outcomes(), equal)
    stranger = replace(made["off"], levels=tuple(p + 0.01 for p in LEVELS))
    with pytest.raises(InputError, match="other levels"):
        combine({**made, "off": stranger}, outcomes(), equal)
    with pytest.raises(InputError, match="other times"):
        combine({**made, "off": made["off"].part(np.arange(BARS - 1))}, outcomes(), equal)
    nobody = {name: blank_forecast(one, name) for name, one in made.items()}
    with pytest.raises(DataError, match="no member"):
        combine(nobody, outcomes(), equal)


def test_the_section_names_the_method_and_its_parameters() -> None:
    section = EnsembleSection(members=("har", "ridge"), method="thompson", parameters={"prior_dates": 5})
    assert combiner_of(section, 11) == COMBINERS.create("thompson", seed=11, prior_dates=5)
    with pytest.raises(InputError) as refused:
        combiner_of(section.model_copy(update={"method": "stakking"}), 11)
    assert "did you mean 'stacking'?" in refused.value.hint


# --- the density of a quantile grid -----------------------------------------------------------------------------


@pytest.mark.parametrize(("tail", "family"), [("normal", stats.norm(0.3, 2.0)), ("t", stats.t(5.0, 0.3, 2.0))])
def test_the_density_of_a_familys_quantiles_is_the_familys(tail, family) -> None:
    x = np.linspace(-9, 9, 41)
    quantiles = np.tile(family.ppf(LEVELS), (41, 1))
    found = distribution.log_density(quantiles, x, distribution.grid(LEVELS, tail))
    np.testing.assert_allclose(found, family.logpdf(x), atol=1e-9)


def test_the_density_is_the_slope_of_the_distribution_function() -> None:
    quantiles = np.array([-3.0, -1.0, -0.4, 0.1, 0.5, 2.0, 2.2])
    on, x, step = distribution.grid(LEVELS), np.linspace(-6, 6, 57) + 0.013, 1e-6
    slope = (
        distribution.cdf(np.tile(quantiles, (57, 1)), x + step, on)
        - distribution.cdf(np.tile(quantiles, (57, 1)), x - step, on)
    ) / (2 * step)
    np.testing.assert_allclose(np.exp(distribution.log_density(np.tile(quantiles, (57, 1)), x, on)), slope, rtol=1e-4)


def test_levels_that_coincide_give_a_finite_density_or_none() -> None:
    on = distribution.grid(LEVELS)
    assert np.isfinite(distribution.log_density([-1.0, 0, 0, 0, 0, 0, 1.0], 0.0, on))
    assert np.isnan(distribution.log_density([0.5] * 7, 0.5, on))
    assert np.isnan(distribution.log_density([np.nan] * 7, 0.5, on))
