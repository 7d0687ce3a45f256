"""Every leak planted in the corridor is caught with its guilty column and first time; none is invented."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from audit_kit import panel_of

from tradewind.audit import Subject, audit_corridor
from tradewind.audit.corridor import Output
from tradewind.errors import BugError, DataError, InputError, LeakError
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.forecast import LEVELS, Forecast

MOMENT = 150
Recompute = Callable[[Panel], Output]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of(np.random.default_rng(1))


def log_close(panel: Panel) -> np.ndarray:
    """Closes in logs, missing ones carried from the past (the price of the first bar before it)."""
    close = np.where(panel.mask, panel.close, np.nan)
    out = np.full(close.shape, np.nan)
    last = np.full(close.shape[1], np.nan)
    for t in range(len(close)):
        last = np.where(np.isfinite(close[t]), close[t], last)
        out[t] = np.log(last)
    return out


def returns(panel: Panel) -> np.ndarray:
    price = log_close(panel)
    return np.vstack([np.full((1, price.shape[1]), np.nan), np.diff(price, axis=0)])


def known(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values)


def shifted(values: np.ndarray, bars: int) -> np.ndarray:
    """Values of ``bars`` rows later."""
    return np.vstack([values[bars:], np.full((bars, values.shape[1]), np.nan)])


def smoothed(panel: Panel, alpha: float = 0.2) -> np.ndarray:
    out = known(log_close(panel)).copy()
    for t in range(1, len(out)):
        out[t] = alpha * out[t] + (1.0 - alpha) * out[t - 1]
    return out


def future_shift(panel: Panel) -> Output:
    return {"momentum": returns(panel), "tomorrow": shifted(returns(panel), 1)}


def centred_window(panel: Panel) -> Output:
    price = known(log_close(panel))
    middle = np.stack([price[max(0, t - 5) : t + 6].mean(axis=0) for t in range(len(price))])
    return {"smooth": smoothed(panel), "centred": middle}


def whole_sample_scaler(panel: Panel) -> Output:
    step = returns(panel)
    return {"raw": step, "scaled": (step - np.nanmean(step, axis=0)) / np.nanstd(step, axis=0)}


def backward_ema(panel: Panel) -> Output:
    out = known(log_close(panel)).copy()
    for t in range(len(out) - 2, -1, -1):
        out[t] = 0.2 * out[t] + 0.8 * out[t + 1]
    return {"forward": smoothed(panel), "backward": out}


def filled_from_the_future(panel: Panel) -> Output:
    close = np.where(panel.mask, panel.close, np.nan)
    back = close.copy()
    for t in range(len(close) - 2, -1, -1):
        back[t] = np.where(np.isfinite(back[t]), back[t], back[t + 1])
    return {"close": close, "filled": back}


def back_adjusted(panel: Panel) -> Output:
    after = np.vstack([np.cumprod(panel.split[::-1], axis=0)[::-1][1:], np.ones((1, panel.split.shape[1]))])
    return {"raw": panel.close, "adjusted": panel.close / after}


def target_encoding(panel: Panel) -> Output:
    label = known(shifted(returns(panel), 1))
    weekday = np.arange(len(label)) % 5
    mean = np.stack([label[weekday == d].mean(axis=0) if (weekday == d).any() else label[0] for d in range(5)])
    return {"weekday": weekday.astype(float), "encoded": mean[weekday]}


def selection_on_everything(panel: Panel) -> Output:
    step = known(returns(panel))
    candidates = np.stack([np.roll(step, k, axis=0) for k in range(1, 9)])
    corr = [float(np.corrcoef(c[8:].ravel(), step[8:].ravel())[0, 1]) for c in candidates]
    best = candidates[int(np.argmax(np.abs(corr)))]
    return {"chosen": best * np.max(np.abs(corr))}


def smoothed_states(panel: Panel) -> Output:
    """Probability of a calm state by the forward pass (filter) and by forward and backward (smoother)."""
    step = known(returns(panel))[:, 0]
    stay, spread = np.array([[0.97, 0.03], [0.03, 0.97]]), np.array([0.01, 0.03])
    like = np.exp(-0.5 * (step[:, None] / spread) ** 2) / spread
    forward = np.empty_like(like)
    belief = np.array([0.5, 0.5])
    for t, seen in enumerate(like):
        belief = (belief @ stay) * seen
        belief = belief / belief.sum()
        forward[t] = belief
    backward = np.ones_like(like)
    for t in range(len(like) - 2, -1, -1):
        b = stay @ (like[t + 1] * backward[t + 1])
        backward[t] = b / b.sum()
    both = forward * backward
    return {"filtered": forward[:, 0], "smoothed": (both / both.sum(axis=1, keepdims=True))[:, 0]}


def undelayed_calibration(panel: Panel) -> Output:
    """Interval widths that learn from outcomes five bars ahead: at once, or when they are known."""
    outcome = known(shifted(log_close(panel), 5) - log_close(panel))[:, 0]
    at_once, delayed = np.ones(len(outcome)), np.ones(len(outcome))
    for t in range(1, len(outcome)):
        at_once[t] = at_once[t - 1] * (1.02 if abs(outcome[t - 1]) > 0.03 * at_once[t - 1] else 0.99)
        late = t - 1 - 5
        delayed[t] = delayed[t - 1]
        if late >= 0:
            delayed[t] *= 1.02 if abs(outcome[late]) > 0.03 * delayed[late] else 0.99
    return {"delayed": delayed, "at_once": at_once}


def survivor_universe(panel: Panel) -> Output:
    alive = panel.mask[-min(5, len(panel)) :].any(axis=0)
    heavy = np.nanmean(np.where(panel.mask, panel.volume, np.nan), axis=0, keepdims=True) > 0
    return {"listed": panel.member, "survivors": panel.member & alive & heavy & panel.mask[-1]}


def early_decision(panel: Panel) -> Output:
    step = known(returns(panel))
    return {"weights": np.sign(step), "foreseen": np.sign(known(shifted(step, 1)))}


def macro_as_of_the_end(panel: Panel) -> Output:
    """A figure revised in the light of what followed."""
    vix = panel.context["vix"]
    usable = np.where(np.isfinite(vix), vix, np.nanmean(vix))
    return {"first": vix, "revised": vix - 0.1 * (vix - usable[-1])}


PLANTS: dict[str, tuple[Recompute, str, int]] = {
    "future shift": (future_shift, "tomorrow", MOMENT),
    "centred window": (centred_window, "centred", MOMENT - 4),
    "whole-sample scaler": (whole_sample_scaler, "scaled", 1),
    "backward EMA": (backward_ema, "backward", 60),
    "filled from the future": (filled_from_the_future, "filled", -1),
    "back-adjusted prices": (back_adjusted, "adjusted", 0),
    "target encoding on all data": (target_encoding, "encoded", 0),
    "whole-sample selection": (selection_on_everything, "chosen", -1),
    "smoothed states": (smoothed_states, "smoothed", -1),
    "calibration with undelayed feedback": (undelayed_calibration, "at_once", -1),
    "survivor universe": (survivor_universe, "survivors", -1),
    "decision before its time": (early_decision, "foreseen", MOMENT),
    "revised macro": (macro_as_of_the_end, "revised", 0),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_leak_is_caught_with_its_column_and_first_time(panel: Panel, name: str) -> None:
    recompute, column, first = PLANTS[name]
    rng = np.random.default_rng(2)
    in_a_gap = int(np.flatnonzero(~panel.mask[:MOMENT].all(axis=1))[-1])
    moments = sorted({in_a_gap, MOMENT})
    audit = audit_corridor(panel, [Subject("part", recompute)], moments=moments, rng=rng)
    assert {finding.column for finding in audit.findings} == {column}
    (finding,) = audit.findings
    assert np.datetime64(finding.first_time[:-1]) <= panel.times[MOMENT]
    if first >= 0:
        assert np.datetime64(finding.first_time[:-1]) <= panel.times[first]


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("seed", [1, 2])
def test_four_moments_chosen_by_the_audit_itself_are_enough(panel: Panel, name: str, seed: int) -> None:
    recompute, column, _ = PLANTS[name]
    audit = audit_corridor(panel, [Subject("part", recompute)], moments=4, rng=np.random.default_rng(seed))
    assert {finding.column for finding in audit.findings} == {column}


@pytest.mark.parametrize("attack", ["truncate", "perturb", "shuffle"])
def test_each_other_future_alone_catches_a_future_shift(panel: Panel, attack: str) -> None:
    subject = Subject("features", future_shift, attacks=(attack,))
    (finding,) = audit_corridor(panel, [subject], rng=np.random.default_rng(3)).findings
    assert (finding.column, finding.how) == ("tomorrow", attack)


def test_the_first_time_of_a_centred_window_is_half_a_window_before_the_moment(panel: Panel) -> None:
    audit = audit_corridor(panel, [Subject("f", centred_window)], moments=[MOMENT], rng=np.random.default_rng(4))
    assert np.datetime64(audit.findings[0].first_time[:-1]) == panel.times[MOMENT - 4]


@pytest.mark.parametrize("seed", range(5))
def test_honest_computations_pass_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    market = panel_of(rng, bars=120, symbols=3)
    subjects = [
        Subject("ema", smoothed),
        Subject("returns", returns),
        Subject("volatility", lambda p: np.sqrt(np.cumsum(known(returns(p)) ** 2, axis=0))),
        Subject("bars", lambda p: np.where(p.mask, p.volume, np.nan)),
        Subject("context", lambda p: p.context["vix"]),
        Subject("factor", lambda p: p.factor),
    ]
    assert audit_corridor(market, subjects, rng=rng).clean


def labels_of(panel: Panel, late: int) -> Labels:
    """Five-bar labels that say they are known ``late`` bars after they are."""
    step = shifted(log_close(panel), 5) - log_close(panel)
    rows = np.arange(len(step))[:, None] + 5 + late
    end = np.broadcast_to(rows, step.shape)[..., None].astype(np.int64)
    scale = np.sqrt(np.cumsum(known(returns(panel)) ** 2, axis=0))
    return Labels((5,), step[..., None], scale, end, np.ones((*step.shape, 1)))


def test_labels_are_compared_as_known_at_the_moment(panel: Panel) -> None:
    rng = np.random.default_rng(5)
    assert audit_corridor(panel, [Subject("labels", lambda p: labels_of(p, 0))], rng=rng).clean
    early = audit_corridor(panel, [Subject("labels", lambda p: labels_of(p, -1))], rng=rng)
    assert {finding.column for finding in early.findings} == {"return_5"}


def forecast_of(panel: Panel, peek: int) -> Forecast:
    """A normal forecast of the last ten bars' spread, or of the next bar's."""
    step = known(shifted(returns(panel), peek)) if peek else known(returns(panel))
    spread = np.sqrt(np.maximum(np.cumsum(step**2, axis=0), 1e-8))[20:]
    levels = np.array(LEVELS) - 0.5
    quantiles = np.sort(spread[..., None, None] * levels, axis=-1)
    return Forecast(panel.times[20:], panel.symbols, (1,), LEVELS, quantiles, np.zeros((*spread.shape, 1)))


def test_forecasts_are_aligned_by_their_own_times(panel: Panel) -> None:
    rng = np.random.default_rng(6)
    assert audit_corridor(panel, [Subject("forecasts", lambda p: forecast_of(p, 0))], rng=rng).clean
    peeking = audit_corridor(panel, [Subject("forecasts", lambda p: forecast_of(p, 1))], rng=rng)
    assert "q0.05_1" in {finding.column for finding in peeking.findings}


def test_a_tolerance_forgives_rounding_and_nothing_more(panel: Panel) -> None:
    def rounding(p: Panel) -> Output:
        return smoothed(p) * (1.0 + 1e-13 * len(p))

    rng = np.random.default_rng(7)
    assert not audit_corridor(panel, [Subject("x", rounding)], rng=rng).clean
    assert audit_corridor(panel, [Subject("x", rounding, tolerance=1e-9)], rng=rng).clean


def test_columns_of_plain_arrays_are_named_after_symbols_or_as_given(panel: Panel) -> None:
    rng = np.random.default_rng(8)

    def one_bad(p: Panel) -> Output:
        values = known(returns(p)).copy()
        values[:, 2] = known(shifted(returns(p), 1))[:, 2]
        return values

    (finding,) = audit_corridor(panel, [Subject("x", one_bad)], rng=rng).findings
    assert finding.column == "S2"
    named = Subject("x", lambda p: one_bad(p)[:, 1:3], columns=("good", "bad"))
    assert [f.column for f in audit_corridor(panel, [named], rng=rng).findings] == ["bad"]


def test_rows_of_the_past_that_vanish_are_a_finding(panel: Panel) -> None:
    subject = Subject("x", lambda p: smoothed(p)[: len(p) // 2], attacks=("truncate",))
    assert not audit_corridor(panel, [subject], rng=np.random.default_rng(9)).clean


def test_a_subject_that_cannot_be_recomputed_is_reported_and_not_passed(panel: Panel) -> None:
    def needs_history(p: Panel) -> Output:
        if len(p) < 200:
            raise DataError("too few bars")
        return smoothed(p)

    audit = audit_corridor(panel, [Subject("x", needs_history)], moments=[100], rng=np.random.default_rng(10))
    assert not audit.clean
    assert audit.unexamined[0].subject == "x"


def test_a_subject_of_chance_is_a_bug(panel: Panel) -> None:
    rng = np.random.default_rng(11)
    with pytest.raises(BugError, match="not deterministic"):
        audit_corridor(panel, [Subject("x", lambda p: rng.normal(size=p.shape))], rng=np.random.default_rng(12))


def test_what_makes_no_sense_is_refused(panel: Panel) -> None:
    rng = np.random.default_rng(13)
    with pytest.raises(InputError, match="no subjects"):
        audit_corridor(panel, [], rng=rng)
    with pytest.raises(InputError, match="leave no future"):
        audit_corridor(panel, [Subject("x", smoothed)], moments=[len(panel) - 1], rng=rng)
    with pytest.raises(InputError, match="did you mean 'shuffle'"):
        audit_corridor(panel, [Subject("x", smoothed, attacks=("shufle",))], rng=rng)


def test_the_audit_is_json_and_raises_when_asked(panel: Panel) -> None:
    audit = audit_corridor(panel, [Subject("f", future_shift)], rng=np.random.default_rng(14))
    assert json.loads(json.dumps(audit.to_dict()))["findings"][0]["column"] == "tomorrow"
    assert "tomorrow" in audit.to_text()
    with pytest.raises(LeakError, match="tomorrow"):
        audit.raise_if_guilty()


def test_our_features_use_nothing_from_the_future(panel: Panel) -> None:
    features = pytest.importorskip("tradewind.features")
    from tradewind.features import registry

    names = registry.select(("all",))
    subject = Subject("features", lambda p: features.compute(p, names))
    audit = audit_corridor(panel, [subject], moments=2, rng=np.random.default_rng(15))
    assert audit.columns["features"] == len(names)
    assert audit.findings == ()


def test_our_labels_use_nothing_beyond_their_end(panel: Panel) -> None:
    from tradewind.labels.forward import forward_returns

    subject = Subject("labels", lambda p: forward_returns(p, (1, 5, 20)))
    assert audit_corridor(panel, [subject], rng=np.random.default_rng(16)).findings == ()
