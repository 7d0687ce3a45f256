"""Whether a challenger may take the champion's seat: judged on the newest bars that neither has learnt from.

Both forecast the same bars. The challenger is promoted only where all of this holds, else the champion is kept:

* there are enough dates with an outcome (symbols of one date are one observation);
* it saves at least ``margin`` of the champion's pinball loss over the deciding horizon, and Diebold and Mariano's test
  says that this is no luck (one-sided, date means, HAC);
* it is in the model confidence set of champion, challenger and naive forecast;
* neither the coverage of its intervals, nor its F1 of ups and downs, nor what it earns in shadow after costs is worse
  beyond chance (block bootstrap over dates).

Whoever looks often enough at the same days will find something. So look number ``k`` at one champion on days that
overlap has to stay below ``p_max / (k (k + 1))``: these sum to ``p_max``, however often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import InputError
from tradewind.evaluation.challenge_direction import calls_of, direction_scores, f1
from tradewind.evaluation.challenge_settings import ChallengeSection
from tradewind.models.forecast import Forecast
from tradewind.stats.bootstrap import stationary_indices
from tradewind.stats.diebold_mariano import diebold_mariano
from tradewind.stats.losses import crps, pinball
from tradewind.stats.metrics import performance
from tradewind.stats.paired_bootstrap import compare

FloatArray = NDArray[np.float64]

PROMOTED, KEPT, FIRST, ROLLED_BACK = "promoted", "kept", "first", "rolled_back"

CHAMPION, CHALLENGER, NAIVE = "champion", "challenger", "naive"

Shadow = Callable[[str], FloatArray]
"""Lets ``champion`` or ``challenger`` trade the bars in an account of its own: simple returns a bar, after costs."""


@dataclass(frozen=True, eq=False)
class Question:
    """What the bars that nobody has learnt from had in store.

    Attributes
    ----------
    times
        ``(T,)`` bar closes.
    horizons
        In bars, ``H``; ``horizon_bars`` is the one that decides.
    returns
        ``(T, N, H)`` log returns from each close, NaN where not known yet.
    classes
        ``(T, N, H)`` which barrier was touched first (-1, 0, 1), where the playbook asks that.
    bars_per_year
        For what is earned in shadow.
    """

    times: NDArray[np.datetime64]
    horizons: tuple[int, ...]
    horizon_bars: int
    returns: FloatArray
    classes: NDArray[np.int8] | None
    bars_per_year: float

    def __post_init__(self) -> None:
        """Refuse a deciding horizon that nobody forecasts."""
        if self.horizon_bars not in self.horizons:
            raise InputError(
                f"challenge.horizon_bars = {self.horizon_bars} is not forecast",
                hint=f"choose one of {list(self.horizons)}",
            )

    @property
    def index(self) -> int:
        """Place of the deciding horizon."""
        return self.horizons.index(self.horizon_bars)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What came of it.

    Attributes
    ----------
    decision
        ``promoted`` or ``kept``.
    reasons
        In words: all that speaks for it where it is promoted, all that is missing where not.
    evidence
        Every figure, JSON-able; ``tested`` says whether the losses were compared: that is what counts as a look.
    """

    decision: str
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]


def threshold_of(p_max: float, looks: int) -> float:
    """Return what the p-value of look number ``looks`` (from 1) has to stay below; all of them sum to ``p_max``."""
    if looks < 1:
        raise InputError(f"looks is {looks}, this one counts too")
    return p_max / (looks * (looks + 1))


def judge(
    champion: Forecast,
    challenger: Forecast,
    naive: Forecast,
    question: Question,
    settings: ChallengeSection,
    *,
    looks: int = 1,
    shadow: Shadow | None = None,
) -> Judgement:
    """Judge a challenger. Pure: the same arrays and settings give the same judgement.

    Parameters
    ----------
    champion, challenger, naive
        Calibrated forecasts of the question's bars and symbols, as each would be served.
    looks
        How often this champion has been judged on days that overlap with these, this time included.
    shadow
        What both would have earned; None where nothing trades.
    """
    made = {CHAMPION: champion, CHALLENGER: challenger, NAIVE: naive}
    _require_alike(made, question)
    horizons = {str(h): _scores(made, question, i) for i, h in enumerate(question.horizons)}
    decisive, need = horizons[str(question.horizon_bars)], settings.dates_needed(question.horizon_bars)
    evidence: dict[str, Any] = {
        "bars": _bars(question, decisive["dates"], need),
        "horizons": horizons,
        "looks": looks,
        "p_max": settings.p_max,
        "threshold": threshold_of(settings.p_max, looks),
        "margin": settings.margin,
        "tested": False,
    }
    if decisive["dates"] < need:
        return Judgement(KEPT, (_too_few(decisive["dates"], need),), evidence)
    if decisive["saved"] is None or decisive["differs"] is False:
        return Judgement(KEPT, ("both say the same: there is nothing to choose between",), evidence)
    evidence |= {
        "tested": True,
        "confidence_set": _confidence_set(made, question, settings),
        "coverage": _coverage(made, question, settings),
        "direction": _direction(made, question, settings),
        "shadow": None if shadow is None else _shadow(question, settings, shadow),
    }
    lacking = _lacking(evidence, decisive, settings)
    return Judgement(KEPT, lacking, evidence) if lacking else Judgement(PROMOTED, _merits(evidence, decisive), evidence)


# -- what speaks against it ----------------------------------------------------------------------------------


def _lacking(evidence: Mapping[str, Any], decisive: Mapping[str, Any], settings: ChallengeSection) -> tuple[str, ...]:
    """Return every condition that does not hold, in words with its figures."""
    p, limit, saved = decisive["p"], evidence["threshold"], decisive["saved"]
    chosen = evidence["confidence_set"][CHALLENGER]
    found = [
        (saved < settings.margin, f"it saves {saved:.2%} of the champion's loss, the margin is {settings.margin:.2%}"),
        (p > limit, f"that may be luck: one-sided p {p:.3g}, {_at_look(evidence)} p must be at most {limit:.3g}"),
        (
            chosen <= settings.confidence_set,
            f"it is not in the model confidence set (p {chosen:.3g}, size {settings.confidence_set:.0%})",
        ),
    ]
    for name, words in (("coverage", _coverage_words), ("direction", _direction_words), ("shadow", _shadow_words)):
        told = evidence[name]
        found.append((bool(told and told["worse"]), words(told) if told and told["worse"] else ""))
    return tuple(said for holds, said in found if holds)


def _merits(evidence: Mapping[str, Any], decisive: Mapping[str, Any]) -> tuple[str, ...]:
    dates, horizon = decisive["dates"], evidence["bars"]["horizon_bars"]
    said = [
        f"it saves {decisive['saved']:.2%} of the champion's loss over {horizon} bars on {dates:,} dates "
        f"(margin {evidence['margin']:.2%})",
        f"that is no luck: one-sided p {decisive['p']:.3g}, {_at_look(evidence)} at most {evidence['threshold']:.3g}",
        "coverage, F1 of ups and downs and profit in shadow are not worse beyond chance",
    ]
    return tuple(said)


def _at_look(evidence: Mapping[str, Any]) -> str:
    looks = evidence["looks"]
    return "at the first look" if looks == 1 else f"at look {looks} at this champion on these days"


def _too_few(dates: int, need: int) -> str:
    return f"there are {dates} bars with an outcome that neither has learnt from, {need} are needed"


def _coverage_words(told: Mapping[str, Any]) -> str:
    return (
        f"its {told['nominal']:.0%} intervals held {told[CHALLENGER]:.1%}, the champion's {told[CHAMPION]:.1%}: "
        f"further off beyond chance (p {told['p_worse']:.3g})"
    )


def _direction_words(told: Mapping[str, Any]) -> str:
    return (
        f"its F1 of ups and downs is {told[CHALLENGER]['f1']:.3f}, the champion's {told[CHAMPION]['f1']:.3f}: "
        f"worse beyond chance (p {told['p_worse']:.3g})"
    )


def _shadow_words(told: Mapping[str, Any]) -> str:
    return (
        f"in shadow, after costs, it earned {told[CHALLENGER]['total_return']:+.2%}, the champion "
        f"{told[CHAMPION]['total_return']:+.2%}: worse beyond chance (p {told['p_worse']:.3g})"
    )


# -- figures -------------------------------------------------------------------------------------------------


def _scores(made: Mapping[str, Forecast], question: Question, index: int) -> dict[str, Any]:
    """Return the proper scores of all on one horizon, on what all forecast, and how likely the saving is luck."""
    common = _common(made, question, index)
    losses = {name: np.where(common, _pinball(one, question, index), np.nan) for name, one in made.items()}
    dates = int(common.any(axis=1).sum())
    test = diebold_mariano(losses[CHAMPION], losses[CHALLENGER], question.horizons[index])
    means = {name: _date_mean(one) for name, one in losses.items()}
    known = dates > 0 and means[CHAMPION] > 0
    return {
        "dates": dates,
        "forecasts": int(common.sum()),
        "pinball": _finite(means),
        "crps": _finite(
            {name: _date_mean(np.where(common, _crps(o, question, index), np.nan)) for name, o in made.items()}
        ),
        "skill": _finite(
            {name: 1.0 - means[name] / means[NAIVE] if known else math.nan for name in (CHAMPION, CHALLENGER)}
        ),
        "saved": 1.0 - means[CHALLENGER] / means[CHAMPION] if known else None,
        "differs": bool(np.nanmax(np.abs(losses[CHAMPION] - losses[CHALLENGER])) > 0) if dates else False,
        "p": _one_sided(test.difference, test.p_value),
        "dm_p": test.p_value if math.isfinite(test.p_value) else None,
        **_class_scores(made, question, index, common),
    }


def _one_sided(saved: float, p: float) -> float:
    """Return how likely it is to save as much by chance; 1 where that cannot be told."""
    if not math.isfinite(p):
        return 1.0
    return p / 2 if saved > 0 else 1.0 - p / 2


def _class_scores(
    made: Mapping[str, Forecast], question: Question, index: int, common: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return log score and Brier score of the barrier classes, where both forecast them."""
    if question.classes is None or any(made[name].probabilities is None for name in (CHAMPION, CHALLENGER)):
        return {"log_score": None, "brier": None}
    happened = np.eye(3)[question.classes[:, :, index].astype(np.int64) + 1]
    logs, squares = {}, {}
    for name in (CHAMPION, CHALLENGER):
        chances = made[name].probabilities
        assert chances is not None
        said = chances[:, :, index]
        right = np.clip((said * happened).sum(axis=-1), 1e-12, None)
        logs[name] = _date_mean(np.where(common, -np.log(right), np.nan))
        squares[name] = _date_mean(np.where(common, ((said - happened) ** 2).sum(axis=-1), np.nan))
    return {"log_score": _finite(logs), "brier": _finite(squares)}


def _confidence_set(made: Mapping[str, Forecast], question: Question, settings: ChallengeSection) -> dict[str, float]:
    """Return the p-values of belonging to the set of the best, on the dates that all forecast."""
    from tradewind.stats.overfitting import model_confidence_set

    common = _common(made, question, question.index)
    rows = common.any(axis=1)
    losses = [np.where(common, _pinball(one, question, question.index), np.nan)[rows] for one in made.values()]
    table = np.stack([np.nanmean(one, axis=1) for one in losses], axis=1)
    block = _block(question, len(table))
    return model_confidence_set(
        table, list(made), size=settings.confidence_set, block_bars=block, samples=settings.samples, seed=settings.seed
    )


def _coverage(made: Mapping[str, Forecast], question: Question, settings: ChallengeSection) -> dict[str, Any]:
    """Return what share of the outcomes the intervals held, and how likely the challenger's is no further off."""
    from tradewind.calibration.coverage import inside, interval_levels

    common, index = _common(made, question, question.index), question.index
    pair = interval_levels(made[CHAMPION].levels, settings.coverage)
    nominal = made[CHAMPION].levels[pair[1]] - made[CHAMPION].levels[pair[0]]
    held = {
        name: np.where(common, inside(made[name].quantiles[:, :, index], question.returns[:, :, index], pair), np.nan)
        for name in (CHAMPION, CHALLENGER)
    }
    sums = np.stack(
        [np.nansum(held[CHAMPION], axis=1), np.nansum(held[CHALLENGER], axis=1), common.sum(axis=1)], axis=1
    )
    sums = sums[common.any(axis=1)].astype(np.float64)

    def further_off(total: FloatArray) -> FloatArray:
        share = total[..., :2] / total[..., 2:]
        return np.asarray(np.abs(share[..., 1] - nominal) - np.abs(share[..., 0] - nominal))

    p = _bootstrap_p(sums, lambda total: -further_off(total), question, settings)
    shares = sums.sum(axis=0)[:2] / sums.sum(axis=0)[2]
    off = float(further_off(sums.sum(axis=0)))
    return {
        "nominal": round(float(nominal), 12),
        CHAMPION: float(shares[0]),
        CHALLENGER: float(shares[1]),
        "p_worse": p,
        "worse": off > 0 and p < settings.worse_p,
    }


def _direction(made: Mapping[str, Forecast], question: Question, settings: ChallengeSection) -> dict[str, Any]:
    """Return accuracy, precision, recall and F1 of ups and downs, and how likely the challenger's F1 is no worse."""
    index, common = question.index, _common(made, question, question.index)
    both = {name: made[name] for name in (CHAMPION, CHALLENGER)}
    event, counts = calls_of(both, question.returns[:, :, index], _classes(question), index, common)
    rows = common.any(axis=1)
    table = np.concatenate([counts[CHAMPION][rows], counts[CHALLENGER][rows]], axis=1)
    width = counts[CHAMPION].shape[1]

    def better(total: FloatArray) -> FloatArray:
        return np.asarray(f1(total[..., width:]) - f1(total[..., :width]))

    gap = float(better(table.sum(axis=0)))
    p = _bootstrap_p(table, better, question, settings) if math.isfinite(gap) else 1.0
    return {
        "event": event,
        **{name: direction_scores(counts[name].sum(axis=0)) for name in both},
        "p_worse": p,
        "worse": gap < 0 and p < settings.worse_p,
    }


def _shadow(question: Question, settings: ChallengeSection, shadow: Shadow) -> dict[str, Any]:
    """Return what both would have earned on the same bars after costs, and how likely the challenger's is no less."""
    earned = {name: shadow(name) for name in (CHAMPION, CHALLENGER)}
    per_year = question.bars_per_year
    gap = compare(
        earned[CHALLENGER],
        {CHAMPION: earned[CHAMPION]},
        periods_per_year=per_year,
        samples=settings.samples,
        seed=settings.seed,
    )[CHAMPION].mean
    p = 1.0 if not math.isfinite(gap.p_value) else gap.p_value / 2 if gap.value < 0 else 1.0 - gap.p_value / 2
    return {
        "bars": len(earned[CHAMPION]),
        **{name: _earned(returns, per_year) for name, returns in earned.items()},
        "difference_per_year": _finite({"value": gap.value, "low": gap.low, "high": gap.high}),
        "p_worse": p,
        "worse": gap.value < 0 and p < settings.worse_p,
    }


def _earned(returns: FloatArray, per_year: float) -> dict[str, float | None]:
    figures = {
        "total_return": performance.total_return(returns, periods_per_year=per_year).value,
        "sharpe": performance.sharpe(returns, periods_per_year=per_year).value,
        "max_drawdown": performance.max_drawdown(returns, periods_per_year=per_year).value,
    }
    return _finite({name: float(value) for name, value in figures.items()})


# -- parts ---------------------------------------------------------------------------------------------------


def _bootstrap_p(
    sums: FloatArray, statistic: Callable[[FloatArray], FloatArray], question: Question, settings: ChallengeSection
) -> float:
    """Return how often a statistic of date sums ``(D, K)`` is not below 0 when whole stretches of dates are drawn."""
    n = len(sums)
    generator = np.random.default_rng(settings.seed)
    found, portion = [], max(1, 2_000_000 // n)
    for done in range(0, settings.samples, portion):
        rows = stationary_indices(n, _block(question, n), min(portion, settings.samples - done), generator)
        found.append(statistic(sums[rows].sum(axis=1)))
    drawn = np.concatenate(found)
    return float((np.sum(~(drawn < 0)) + 1) / (len(drawn) + 1))


def _block(question: Question, dates: int) -> int:
    """Return the length of a drawn stretch: outcomes of neighbours overlap by the horizon."""
    return max(1, min(max(5, question.horizon_bars), dates // 3))


def _common(made: Mapping[str, Forecast], question: Question, index: int) -> NDArray[np.bool_]:
    """Return where all have a forecast and the outcome is known, ``(T, N)``."""
    there = np.isfinite(question.returns[:, :, index])
    for one in made.values():
        there = there & one.available[:, :, index]
    return np.asarray(there)


def _classes(question: Question) -> NDArray[np.int8] | None:
    return None if question.classes is None else question.classes[:, :, question.index]


def _pinball(forecast: Forecast, question: Question, index: int) -> FloatArray:
    loss = pinball(question.returns[:, :, index], forecast.quantiles[:, :, index], forecast.levels)
    return np.asarray(loss.mean(axis=-1))


def _crps(forecast: Forecast, question: Question, index: int) -> FloatArray:
    return crps(question.returns[:, :, index], forecast.quantiles[:, :, index], forecast.levels)


def _date_mean(values: FloatArray) -> float:
    """Return the mean over dates of the mean over symbols."""
    count = np.isfinite(values).sum(axis=1)
    return float((np.nansum(values, axis=1)[count > 0] / count[count > 0]).mean()) if count.any() else math.nan


def _bars(question: Question, dates: int, need: int) -> dict[str, Any]:
    return {
        "from": _iso(question.times[0]) if len(question.times) else None,
        "to": _iso(question.times[-1]) if len(question.times) else None,
        "bars": len(question.times),
        "horizon_bars": question.horizon_bars,
        "dates": dates,
        "dates_needed": need,
    }


def _iso(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time, unit='s')}+00:00"


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def _require_alike(made: Mapping[str, Forecast], question: Question) -> None:
    first = made[CHAMPION]
    for name, one in made.items():
        axes = (one.symbols, one.horizons, one.levels, len(one.times))
        if axes != (first.symbols, question.horizons, first.levels, len(question.times)):
            raise InputError(f"{name} forecasts other bars, symbols, horizons or levels than it is asked about")
