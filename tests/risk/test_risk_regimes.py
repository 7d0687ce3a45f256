"""Regimes of a history: what they may know, what they are called, and what becomes of them when data is bad."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from regimes_kit import DAILY_DEVIATION, DAILY_MEAN, QUICK, a_market, days

from tradewind.errors import InputError
from tradewind.risk.regimes import (
    LABELS,
    UNSURE,
    Observations,
    RegimeDetector,
    RegimeRows,
    Regimes,
    RegimesSection,
    detect,
)

ARRAYS = [name for name in RegimeRows.__dataclass_fields__ if name != "fits"]


@pytest.fixture(scope="module")
def market() -> tuple[np.ndarray, Observations]:
    return a_market(seed=0, sessions=700)


@pytest.fixture(scope="module")
def found(market: tuple[np.ndarray, Observations]) -> Regimes:
    return detect(market[1], QUICK)


@pytest.fixture(scope="module")
def long_run() -> tuple[np.ndarray, Observations, Regimes]:
    path, seen = a_market(seed=1, sessions=1800)
    return path, seen, detect(seen, RegimesSection(use=True))


def same(a: RegimeRows, b: RegimeRows, rows: int) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name)[:rows], getattr(b, name)[:rows], err_msg=name)


@pytest.mark.parametrize("rows", [120, 121, 180, 333])
def test_a_prefix_of_the_data_gives_a_prefix_of_the_regimes(market, found, rows: int):
    same(detect(market[1].rows(0, rows), QUICK).rows, found.rows, rows)


def test_a_changed_future_leaves_the_past_unchanged(market, found):
    values = market[1].values.copy()
    values[400:] = np.random.default_rng(9).standard_normal(values[400:].shape) * 10
    changed = detect(replace(market[1], values=values), QUICK)
    same(changed.rows, found.rows, 400)
    assert not np.array_equal(changed.probability[400:], found.probability[400:])


def test_one_block_and_session_by_session_agree_bit_for_bit(market, found):
    detector = RegimeDetector(QUICK, market[1].names)
    state, at = detector.initial_state(), 0
    steps = [1] * 130 + [0, 59, 1, 1, 200] + [1] * 70 + [239]
    for size in steps:
        state, rows = detector.step(state, market[1].values[at : at + size])
        for name in ARRAYS:
            np.testing.assert_array_equal(
                getattr(rows, name), getattr(found.rows, name)[at : at + size], err_msg=f"{name} from {at}"
            )
        at += size
    assert at == len(found)


def test_a_step_leaves_the_state_that_it_was_given_as_it_was(market):
    detector = RegimeDetector(QUICK, market[1].names)
    state, _ = detector.step(detector.initial_state(), market[1].values[:150])
    once = detector.step(state, market[1].values[150:200])[1]
    again = detector.step(state, market[1].values[150:200])[1]
    same(once, again, 50)


def test_regimes_that_are_there_are_found_and_called_by_their_names(long_run):
    path, _, regimes = long_run
    known = regimes.regime != UNSURE
    assert np.mean(regimes.regime[known] == path[known]) > 0.85
    for label in range(4):
        assert np.mean(regimes.regime[known & (path == label)] == label) > 0.6, LABELS[label]


def test_bull_drifts_above_bear_and_volatile_moves_most(long_run):
    _, seen, regimes = long_run
    mean = [seen.values[regimes.regime == i, 0].mean() for i in range(4)]
    deviation = [seen.values[regimes.regime == i, 0].std() for i in range(4)]
    assert mean[LABELS.index("bull")] > mean[LABELS.index("bear")]
    assert int(np.argmax(deviation)) == LABELS.index("volatile")


def test_probabilities_add_up_to_one_and_say_nothing_before_the_first_fit(found):
    assert np.isnan(found.probability[:120]).all()
    assert np.isnan(found.multiplier[:120]).all()
    assert (found.regime[:120] == UNSURE).all()
    np.testing.assert_allclose(found.probability[120:].sum(axis=1), 1.0, atol=1e-12)
    assert (found.probability[120:] >= 0).all()


def test_a_state_is_named_only_where_it_is_probable_enough(found):
    highest = found.probability[120:].max(axis=1)
    sure = found.state[120:] != UNSURE
    np.testing.assert_array_equal(sure, highest >= QUICK.confidence_min)
    np.testing.assert_array_equal(found.state[120:][sure], found.probability[120:].argmax(axis=1)[sure])


def test_an_unsure_state_leaves_the_confirmed_regime_in_force(found):
    unsure = np.flatnonzero(found.state[121:] == UNSURE) + 121
    assert len(unsure)
    np.testing.assert_array_equal(found.regime[unsure], found.regime[unsure - 1])


def test_a_regime_is_confirmed_by_its_second_session_in_a_row(found):
    changed = np.flatnonzero(np.diff(found.regime)) + 1
    assert len(changed) > 3
    for row in changed:
        assert found.state[row] == found.state[row - 1] == found.regime[row]


def test_the_multiplier_is_the_smoothed_mean_of_the_regimes_multipliers(found):
    expected = found.probability[120:] @ np.array([1.0, 0.5, 0.3, 0.8])
    decay, smooth = 0.5 ** (1 / 3), [expected[0]]
    for value in expected[1:]:
        smooth.append(decay * smooth[-1] + (1 - decay) * value)
    np.testing.assert_allclose(found.multiplier[120:], smooth, rtol=1e-12)
    assert np.abs(np.diff(found.multiplier[120:])).max() <= (1 - decay) * 0.7 + 1e-12


def test_without_smoothing_the_multiplier_follows_the_probabilities_at_once(market):
    regimes = detect(market[1].rows(0, 200), QUICK.model_copy(update={"smoothing_half_life_sessions": 0.0}))
    np.testing.assert_allclose(regimes.multiplier[120:], regimes.probability[120:] @ [1.0, 0.5, 0.3, 0.8])


def test_every_change_of_the_confirmed_regime_is_an_alert(found):
    changed = [t for t in range(1, len(found)) if found.regime[t] != found.regime[t - 1] and found.regime[t - 1] >= 0]
    assert [a.time for a in found.alerts] == [found.times[t] for t in changed]
    assert found.switches() == len(changed) == len(found.alerts)
    for alert, row in zip(found.alerts, changed, strict=True):
        assert (alert.before, alert.after) == (LABELS[found.regime[row - 1]], LABELS[found.regime[row]])
        assert alert.probability >= QUICK.confidence_min


def test_alerts_can_be_switched_off(market):
    assert detect(market[1].rows(0, 400), QUICK.model_copy(update={"alert": False})).alerts == ()


def test_spells_cover_the_confirmed_sessions_and_give_the_durations(found):
    spells = found.spells()
    assert sum(s.stop - s.start for s in spells) == int((found.regime != UNSURE).sum())
    duration, share = found.average_duration_sessions(), found.share_of_time()
    for label in LABELS:
        own = [s.stop - s.start for s in spells if s.label == label]
        assert duration[label] == (pytest.approx(np.mean(own)) if own else None)
    assert sum(v for v in share.values() if v is not None) == pytest.approx(1.0)


def test_a_bar_inside_a_session_sees_the_session_before_and_the_closing_bar_its_own(found):
    close = found.times[300]
    minute = np.timedelta64(1, "m")
    assert found.row_at(np.array([close - minute, close, close + minute])).tolist() == [299, 300, 300]
    early = found.times[:1] - minute
    assert np.isnan(found.multiplier_at(early)).all()
    assert found.regime_at(early).tolist() == [UNSURE]
    np.testing.assert_array_equal(found.multiplier_at(found.times), found.multiplier)
    np.testing.assert_array_equal(found.regime_at(found.times), found.regime)


def test_the_summary_is_json_and_says_what_holds_now(found):
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["current"]["regime"] == LABELS[found.regime[-1]]
    assert set(told["current"]["probability"]) == set(LABELS)
    assert told["switches"] == found.switches()
    assert len(told["alerts"]) <= 20
    assert told["fits"]["made"] == sum(e.kind == "fitted" for e in found.rows.fits) > 5


def test_regimes_that_are_there_predict_better_than_one_gaussian(long_run):
    told = long_run[2].log_likelihood()
    assert told["gain_95"][0] > 0
    assert told["return_alone"]["gain_95"][0] > 0


def test_where_there_are_none_the_likelihood_says_that_they_lose():
    rng = np.random.default_rng(4)
    values = rng.standard_normal((900, 3))
    seen = Observations(days(900), ("return", "volatility", "momentum"), values, np.full(900, 100.0))
    told = detect(seen, QUICK).log_likelihood()
    assert told["gain"] < 0
    assert told["gain"] == pytest.approx(told["regimes"] - told["one_state"])


def test_what_came_after_is_the_next_sessions_return(found):
    following = np.diff(np.log(found.price))
    bull = following[found.regime[:-1] == 0]
    told = found.next_session()["bull"]
    assert told["sessions"] == len(bull)
    assert told["mean_return"] == pytest.approx(bull.mean())


def test_a_missing_session_only_predicts(market):
    values = market[1].values.copy()
    values[310] = np.nan
    regimes = detect(replace(market[1], values=values), QUICK)
    detector = RegimeDetector(QUICK, market[1].names)
    state, _ = detector.step(detector.initial_state(), values[:310])
    np.testing.assert_allclose(regimes.probability[310], np.exp(state.predicted), atol=1e-12)
    assert np.isnan(regimes.rows.log_likelihood[310])
    assert np.isnan(regimes.rows.one_state[310])


def test_fewer_sessions_than_parameters_give_no_model_and_say_so():
    seen = a_market(seed=2, sessions=100)[1]
    settings = RegimesSection(look_back_sessions=60, window_sessions=60, refit_sessions=20)
    names = (*seen.names, *(f"noise_{i}" for i in range(5)))
    noise = np.random.default_rng(0).standard_normal((100, 5))
    regimes = detect(replace(seen, names=names, values=np.hstack([seen.values, noise])), settings)
    assert np.isnan(regimes.multiplier).all()
    assert any("60 complete sessions cannot determine" in note for note in regimes.notes)
    assert regimes.to_dict()["current"] is None


def test_a_history_shorter_than_the_look_back_says_what_it_needs():
    regimes = detect(a_market(seed=2, sessions=100)[1])
    assert regimes.notes[-1] == "no model: 100 sessions, the first fit needs 252 before it"
    assert json.dumps(regimes.to_dict(), allow_nan=False)


def test_no_session_at_all_is_an_empty_answer():
    regimes = detect(a_market(seed=2, sessions=10)[1].rows(0, 0))
    assert len(regimes) == 0
    assert regimes.to_dict()["switches"] == 0
    assert np.isnan(regimes.multiplier_at(days(3))).all()


def test_columns_that_determine_each_other_are_regularised_and_named(market):
    seen = market[1].rows(0, 300)
    doubled = replace(
        seen, names=(*seen.names, "vix"), values=np.hstack([seen.values, 2.0 * seen.values[:, 1:2] + 1.0])
    )
    regimes = detect(doubled, QUICK)
    assert np.isfinite(regimes.probability[120:]).all()
    assert any("singular (volatility, vix determine each other)" in note for note in regimes.notes)


def test_a_column_that_does_not_vary_is_left_out_and_named(market, found):
    seen = market[1]
    flat = replace(seen, names=(*seen.names, "vix"), values=np.hstack([seen.values, np.full((len(seen), 1), 3.0)]))
    regimes = detect(flat, QUICK)
    np.testing.assert_array_equal(regimes.probability, found.probability)
    assert any("'vix' left out: it does not vary" in note for note in regimes.notes)


def test_a_column_that_begins_late_is_used_from_when_it_is_mostly_there(market):
    seen = market[1]
    late = np.random.default_rng(0).standard_normal((len(seen), 1))
    late[:300] = np.nan
    regimes = detect(replace(seen, names=(*seen.names, "vix"), values=np.hstack([seen.values, late])), QUICK)
    assert np.isfinite(regimes.probability[120:]).all()
    assert any("'vix' left out: it is missing in more than 33% of the window" in note for note in regimes.notes)
    used = [len(e.notes) == 0 for e in regimes.rows.fits]
    assert used == sorted(used)
    assert used[-1]


def test_a_market_that_does_not_move_has_no_regimes(market):
    values = market[1].values.copy()
    values[:, 0] = 0.0
    regimes = detect(replace(market[1], values=values), QUICK)
    assert np.isnan(regimes.probability).all()
    assert any("'return' left out: it does not vary" in note for note in regimes.notes)


def test_a_fit_that_does_not_converge_leaves_the_previous_one_in_force(market, found, monkeypatch):
    from tradewind.risk.regimes import detector as module

    real, calls = module.fit_window, []

    def sometimes(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise module.NoFitError("no convergence in 5 iterations, the last gained 3 nats")
        return real(*arguments)

    monkeypatch.setattr(module, "fit_window", sometimes)
    regimes = detect(market[1].rows(0, 240), QUICK)
    assert [e.kind for e in regimes.rows.fits] == ["fitted", "kept"]
    assert np.isfinite(regimes.probability[120:]).all()
    np.testing.assert_array_equal(regimes.probability[:180], found.probability[:180])
    assert any(note.startswith("the previous fit was kept: no convergence in 5") for note in regimes.notes)


def test_too_few_iterations_are_no_convergence_and_no_model():
    values = np.random.default_rng(4).standard_normal((200, 3))
    seen = Observations(days(200), ("return", "volatility", "momentum"), values, np.full(200, 100.0))
    regimes = detect(seen, QUICK.model_copy(update={"iterations_max": 5}))
    assert {e.kind for e in regimes.rows.fits} == {"none"}
    assert np.isnan(regimes.probability).all()
    assert any("no convergence in 5 iterations" in note for note in regimes.notes)


def test_infinities_are_missing_values(market):
    values = market[1].values[:300].copy()
    values[200, 1] = np.inf
    missing = values.copy()
    missing[200, 1] = np.nan
    seen = market[1].rows(0, 300)
    a, b = (detect(replace(seen, values=v), QUICK) for v in (values, missing))
    same(a.rows, b.rows, 300)


def test_the_scale_of_the_observations_does_not_matter(market, found):
    factor = np.array([100.0, 1.0, 0.01])
    regimes = detect(replace(market[1], values=market[1].values * factor + [0.0, 5.0, 0.0]), QUICK)
    np.testing.assert_allclose(regimes.probability, found.probability, atol=1e-5)


def test_observations_without_the_markets_return_are_refused(market):
    with pytest.raises(InputError, match="lack the market's 'return'"):
        RegimeDetector(QUICK, ("volatility",))
    with pytest.raises(InputError, match="lack the market's 'return'"):
        Observations(days(2), ("vix",), np.zeros((2, 1)), np.ones(2))
    with pytest.raises(InputError, match="the detector expects"):
        detector = RegimeDetector(QUICK, market[1].names)
        detector.step(detector.initial_state(), np.zeros((3, 2)))


def test_a_window_shorter_than_the_look_back_is_refused():
    with pytest.raises(ValidationError, match="window_sessions = 100 is less than look_back_sessions = 252"):
        RegimesSection(window_sessions=100)


def test_the_markets_of_these_tests_are_what_their_names_say():
    assert DAILY_MEAN.argmax() == LABELS.index("bull")
    assert DAILY_MEAN.argmin() == LABELS.index("bear")
    assert DAILY_DEVIATION.argmax() == LABELS.index("volatile")
