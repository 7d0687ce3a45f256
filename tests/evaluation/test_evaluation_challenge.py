"""A challenger takes the seat on evidence and margin alone, on bars that nobody has learnt from."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score

from tradewind.errors import InputError
from tradewind.evaluation.challenge import KEPT, PROMOTED, Judgement, Question, judge, threshold_of
from tradewind.evaluation.challenge_direction import BARRIERS, SIGN
from tradewind.evaluation.challenge_settings import ChallengeSection
from tradewind.models.forecast import LEVELS, Forecast
from tradewind.stats.diebold_mariano import diebold_mariano
from tradewind.stats.losses import pinball

SIGMA = 0.02
SETTINGS = ChallengeSection(samples=400)


class Market:
    """Normal returns whose mean a forecaster may know more or less of; one horizon of one bar, and one of three."""

    def __init__(self, dates: int = 120, symbols: int = 4, seed: int = 1, signal: float = 0.015) -> None:
        self.rng = np.random.default_rng(seed)
        self.signal = signal * self.rng.standard_normal((dates, symbols, 2))
        self.returns = self.signal + SIGMA * self.rng.standard_normal((dates, symbols, 2))
        self.times = np.datetime64("2024-01-02T21:00", "us") + np.arange(dates) * np.timedelta64(1, "D")
        self.symbols = tuple(f"S{i}" for i in range(symbols))

    def forecast(self, knows: float = 0.0, width: float = 1.0, shift: float = 0.0, model: str = "m") -> Forecast:
        """Return normal forecasts that know so much of the signal."""
        middle = knows * self.signal + shift
        quantiles = middle[..., None] + width * SIGMA * ndtri(np.asarray(LEVELS))
        return Forecast(self.times, self.symbols, (1, 3), LEVELS, quantiles, middle, model=model)

    def question(self, classes: np.ndarray | None = None) -> Question:
        return Question(self.times, (1, 3), 1, self.returns, classes, 252.0)


def judged(market: Market, champion: Forecast, challenger: Forecast, **options: object) -> Judgement:
    settings = options.pop("settings", SETTINGS)
    question = options.pop("question", None) or market.question()
    return judge(champion, challenger, market.forecast(), question, settings, **options)  # type: ignore[arg-type]


def test_a_challenger_that_knows_more_is_promoted_with_every_figure() -> None:
    market = Market()
    found = judged(market, market.forecast(0.2), market.forecast(0.8))
    assert found.decision == PROMOTED
    losses = [
        pinball(market.returns[:, :, 0], market.forecast(k).quantiles[:, :, 0], LEVELS).mean(axis=-1)
        for k in (0.2, 0.8)
    ]
    row = found.evidence["horizons"]["1"]
    assert row["saved"] == pytest.approx(1 - losses[1].mean() / losses[0].mean())
    assert row["p"] == pytest.approx(diebold_mariano(*losses).p_value / 2)
    assert row["dates"] == 120 and row["forecasts"] == 480
    assert found.evidence["confidence_set"]["challenger"] == 1.0
    assert found.evidence["tested"] and "saves" in found.reasons[0] and "no luck" in found.reasons[1]


def test_one_that_knows_less_is_kept_out_and_told_why() -> None:
    market = Market()
    found = judged(market, market.forecast(0.8), market.forecast(0.2))
    assert found.decision == KEPT
    assert "the margin is 0.50%" in found.reasons[0] and "may be luck" in found.reasons[1]
    assert found.evidence["horizons"]["1"]["p"] > 0.5, "worse is no evidence for better"


def test_the_same_forecasts_are_nothing_to_choose_between_and_no_look() -> None:
    market = Market()
    found = judged(market, market.forecast(0.5), market.forecast(0.5))
    assert (found.decision, found.evidence["tested"]) == (KEPT, False)
    assert "nothing to choose between" in found.reasons[0]


def test_too_few_dates_are_no_look_either() -> None:
    market = Market(dates=59)
    found = judged(market, market.forecast(0.0), market.forecast(1.0))
    assert (found.decision, found.evidence["tested"]) == (KEPT, False)
    assert "59 bars with an outcome" in found.reasons[0] and "60 are needed" in found.reasons[0]


def test_outcomes_that_are_not_known_yet_are_no_dates() -> None:
    market = Market(dates=100)
    market.returns[50:] = np.nan
    found = judged(market, market.forecast(0.0), market.forecast(1.0))
    assert found.evidence["bars"]["dates"] == 50 and found.decision == KEPT


def test_a_longer_horizon_needs_more_dates() -> None:
    assert SETTINGS.dates_needed(1) == 60
    assert SETTINGS.dates_needed(40) == 120
    assert SETTINGS.kept_from_training(40, 1) == 160
    assert SETTINGS.kept_from_training(12, 78) == 390, "five sessions of 5-minute bars"


def test_a_sure_but_small_gain_is_below_the_margin() -> None:
    market = Market(dates=3000, symbols=8)
    found = judged(market, market.forecast(0.50), market.forecast(0.505))
    assert found.decision == KEPT and found.evidence["horizons"]["1"]["p"] < 1e-3
    assert len(found.reasons) == 1 and "the margin is" in found.reasons[0]


def test_intervals_that_hold_less_than_they_say_keep_a_better_score_out() -> None:
    market = Market(dates=400)
    found = judged(market, market.forecast(0.0, width=1.25), market.forecast(1.0, width=0.7))
    told = found.evidence["coverage"]
    assert found.evidence["horizons"]["1"]["saved"] > 0.1
    assert told["challenger"] < 0.7 and told["worse"]
    assert found.decision == KEPT and [reason for reason in found.reasons if "intervals held" in reason]


def test_profit_in_shadow_that_is_worse_beyond_chance_keeps_it_out() -> None:
    market = Market()
    rng = np.random.default_rng(5)
    common = 0.01 * rng.standard_normal(119)
    earned = {"champion": common + 0.003, "challenger": common + 0.001 * rng.standard_normal(119)}
    found = judged(market, market.forecast(0.2), market.forecast(0.8), shadow=earned.__getitem__)
    assert found.decision == KEPT
    (reason,) = found.reasons
    assert "in shadow, after costs" in reason
    told = found.evidence["shadow"]
    assert told["champion"]["total_return"] == pytest.approx(np.prod(1 + earned["champion"]) - 1)
    assert told["difference_per_year"]["high"] < 0 and told["p_worse"] < 0.05


def test_two_books_that_never_trade_are_no_reason() -> None:
    market = Market()
    found = judged(market, market.forecast(0.2), market.forecast(0.8), shadow=lambda _: np.zeros(119))
    assert found.decision == PROMOTED and found.evidence["shadow"]["p_worse"] == 1.0


def test_nothing_is_traded_where_nothing_is_tested() -> None:
    market = Market(dates=30)

    def refuse(_: str) -> np.ndarray:
        raise AssertionError

    assert judged(market, market.forecast(0.0), market.forecast(1.0), shadow=refuse).decision == KEPT


def test_ups_and_downs_are_counted_as_scikit_learn_counts_them() -> None:
    market = Market()
    found = judged(market, market.forecast(0.2, shift=0.004), market.forecast(0.8)).evidence["direction"]
    came = np.sign(market.returns[:, :, 0]).ravel()
    for name, knows, shift in (("champion", 0.2, 0.004), ("challenger", 0.8, 0.0)):
        called = np.sign(knows * market.signal[:, :, 0] + shift).ravel()
        for side, label in (("up", 1), ("down", -1)):
            assert found[name][f"precision_{side}"] == pytest.approx(
                precision_score(came, called, labels=[label], average="macro")
            )
            assert found[name][f"recall_{side}"] == pytest.approx(
                recall_score(came, called, labels=[label], average="macro")
            )
        assert found[name]["f1"] == pytest.approx(f1_score(came, called, labels=[1, -1], average="macro"))
        assert found[name]["accuracy"] == pytest.approx((came == called).mean())
    assert found["event"] == SIGN


def with_classes(made: Forecast, chances: np.ndarray) -> Forecast:
    return replace(made, probabilities=np.repeat(chances[:, :, None], 2, axis=2))


def test_barrier_classes_are_called_and_scored_where_both_have_them() -> None:
    market = Market()
    rng = np.random.default_rng(8)
    chances = [rng.dirichlet([1.0, 1.0, 1.0], size=(120, 4)) for _ in range(2)]
    classes = np.repeat(rng.integers(-1, 2, (120, 4, 1)).astype(np.int8), 2, axis=2)
    made = [with_classes(market.forecast(k), c) for k, c in zip((0.2, 0.8), chances, strict=True)]
    found = judged(market, *made, question=market.question(classes)).evidence
    came = classes[:, :, 0].ravel()
    row = found["horizons"]["1"]
    for name, said in zip(("champion", "challenger"), chances, strict=True):
        flat = said.reshape(-1, 3)
        assert row["log_score"][name] == pytest.approx(log_loss(came, flat, labels=[-1, 0, 1]))
        assert row["brier"][name] == pytest.approx(((flat - np.eye(3)[came + 1]) ** 2).sum(axis=1).mean())
        called = flat.argmax(axis=1) - 1
        assert found["direction"][name]["f1"] == pytest.approx(f1_score(came, called, labels=[1, -1], average="macro"))
    assert found["direction"]["event"] == BARRIERS
    plain = judged(market, made[0], market.forecast(0.8), question=market.question(classes)).evidence
    assert plain["direction"]["event"] == SIGN and plain["horizons"]["1"]["log_score"] is None


def test_calls_that_are_worse_beyond_chance_keep_a_better_score_out() -> None:
    market = Market(dates=300)
    champion, challenger = market.forecast(0.0, width=2.0), market.forecast(0.0, width=1.0)
    came = np.sign(market.returns[:, :, :1]).astype(np.int8)
    good, bad = (0.6 * np.eye(3)[side * came[:, :, 0] + 1] + 0.4 / 3 for side in (1, -1))
    found = judged(
        market,
        with_classes(champion, good),
        with_classes(challenger, bad),
        question=market.question(np.repeat(came, 2, axis=2)),
    )
    assert found.evidence["horizons"]["1"]["saved"] > 0.05
    assert found.decision == KEPT and any("F1 of ups and downs" in reason for reason in found.reasons)


def test_only_what_both_forecast_is_compared() -> None:
    """A challenger that is silent about a wild stock must not win by that."""
    market = Market()
    market.returns[:, 0] *= 30
    silent = market.forecast(0.2)
    quantiles = silent.quantiles.copy()
    quantiles[:, 0] = np.nan
    found = judged(market, market.forecast(0.2), replace(silent, quantiles=quantiles, score=silent.score))
    assert found.evidence["horizons"]["1"]["forecasts"] == 360
    assert found.decision == KEPT and found.evidence["horizons"]["1"]["saved"] == pytest.approx(0.0)


def test_ten_copies_of_a_symbol_are_no_ten_observations() -> None:
    market = Market(symbols=1, dates=90)
    once = judged(market, market.forecast(0.3), market.forecast(0.5)).evidence
    many = Market(symbols=1, dates=90)
    many.signal, many.returns = np.repeat(many.signal, 10, axis=1), np.repeat(many.returns, 10, axis=1)
    many.symbols = tuple(f"S{i}" for i in range(10))
    ten = judged(many, many.forecast(0.3), many.forecast(0.5)).evidence
    assert ten["horizons"]["1"]["p"] == pytest.approx(once["horizons"]["1"]["p"])
    assert ten["coverage"]["p_worse"] == pytest.approx(once["coverage"]["p_worse"])


def test_the_same_arrays_are_judged_the_same() -> None:
    market = Market()
    first, again = (judged(market, market.forecast(0.3), market.forecast(0.5)) for _ in range(2))
    assert (first.decision, first.reasons, first.evidence) == (again.decision, again.reasons, again.evidence)


def test_no_better_challengers_are_promoted_no_more_often_than_promised() -> None:
    """150 pairs of which none is better: at the first look at most p_max / 2 of them may pass, here 2.5 %."""
    settings = ChallengeSection(samples=200, margin=0.0)
    promoted = 0
    for seed in range(150):
        market = Market(dates=80, seed=seed, signal=0.0)
        noise = [market.rng.standard_normal((80, 4, 2)) * 0.004 for _ in range(2)]
        one, other = (
            replace(market.forecast(), quantiles=market.forecast().quantiles + n[..., None], score=n) for n in noise
        )
        promoted += judged(market, one, other, settings=settings).decision == PROMOTED
    assert promoted <= 9


@given(st.floats(0.001, 0.4), st.integers(1, 400))
def test_all_looks_together_spend_no_more_than_was_allowed(p_max: float, looks: int) -> None:
    spent = [threshold_of(p_max, k) for k in range(1, looks + 1)]
    assert sum(spent) < p_max and all(a > b for a, b in pairwise(spent))


def test_a_look_more_asks_for_more_evidence() -> None:
    market = Market(dates=60, symbols=1, signal=0.012)
    first = judged(market, market.forecast(0.6), market.forecast(0.7))
    p = first.evidence["horizons"]["1"]["p"]
    assert first.decision == PROMOTED and 1e-4 < p < 0.025
    later = judged(market, market.forecast(0.6), market.forecast(0.7), looks=30)
    assert later.decision == KEPT and "at look 30 at this champion" in later.reasons[0]
    with pytest.raises(InputError, match="this one counts too"):
        threshold_of(0.05, 0)


def test_what_was_not_asked_for_is_refused() -> None:
    market = Market()
    with pytest.raises(InputError, match="is not forecast"):
        Question(market.times, (1, 3), 2, market.returns, None, 252.0)
    fewer = market.forecast().part(np.arange(10))
    with pytest.raises(InputError, match="forecasts other bars"):
        judged(market, market.forecast(), fewer)
