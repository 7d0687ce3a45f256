"""Row C12: which names a regime asks for.

Each regime has a screen: a rising market takes the names of the largest momentum (12, 3 and 1 months), a falling one
those with a beta below 1 and a yield above 2 %, a turbulent one those least correlated with the others, and one that
goes nowhere those that have fallen most below what is usual for them (RSI, Bollinger, z-score). Of the names that
pass, those with the best score are kept: ranks of momentum, calm and lack of correlation in the universe, weighed
0.3, 0.2 and 0.5.

What a name passed and scored before counts on with a half-life, so that neither a change of regime nor a rank at the
edge turns the selection over at once. It changes at the close of sessions. A name that no longer passes is not bought
any more and leaves; another takes its place, or that of a worse one. Neither happens more often than the turnover that
a month may have, counted as funds report it: the lesser of what came and what went. Where too few pass, the rest is
cash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tradewind.decisions.session import ends_session
from tradewind.decisions.surroundings import BEAR, BULL, RANGE, REGIMES, VOLATILE
from tradewind.errors import InputError
from tradewind.labels.horizons import bars_of, nearest
from tradewind.market.bars import TIMEFRAMES
from tradewind.models.assembly import bar_returns, log_prices

if TYPE_CHECKING:
    from tradewind.decisions.settings import DecisionSection
    from tradewind.decisions.signals import Belief
    from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

MONTH_SESSIONS = 21
MOMENTUM_MONTHS = (12, 3, 1)
RISK_MONTHS = 3
MOMENTUM_WEIGHT, CALM_WEIGHT, UNLIKE_WEIGHT = 0.3, 0.2, 0.5
BETA_MAX, YIELD_MIN = 1.0, 0.02

STAYS, ENTERS = 0.25, 0.5
"""Share of a name's recent screens that it must have passed to stay and to enter: what wavers at the edge stays put."""

BETTER = 0.05
"""How much more a name must score than one that is in, to take its place."""

ABSENT_BARS = 5
"""Bars without one that a member's place is kept for."""

LEAST_OF_WINDOW = 0.75
"""Share of the look-back that must be known of a name before its risk and its correlations are."""

EMPTY = "no name ever passes the screen of the market's regime"


@dataclass(frozen=True, eq=False)
class Selection:
    """Which names are selected at each close.

    Attributes
    ----------
    mask
        ``(T, N)`` who has a place in the selection.
    buys
        ``(T, N)`` who has one and still passes the screens: the turnover lets others keep a place for a while.
    score
        ``(T, N)`` smoothed, in [0, 1], NaN where unknown.
    notes
        How often there was too little to select, what was not known, and the turnover.
    """

    mask: BoolArray
    buys: BoolArray
    score: FloatArray
    notes: tuple[str, ...] = ()

    def outlived(self, grace_bars: int) -> BoolArray:
        """Return where a name has had no place for more than so many bars, ``(T, N)``."""
        rows = np.arange(len(self.mask))[:, None]
        last = np.maximum.accumulate(np.where(self.mask, rows, -1), axis=0)
        return rows - last > grace_bars


@dataclass(frozen=True, eq=False)
class Criteria:
    """What is known of each name at the close of some rows, ``(R, N)``; NaN where it is not.

    Attributes
    ----------
    momentum
        Mean of the log returns over 12, 3 and 1 months, each per month.
    volatility, likeness, beta
        Deviation of one bar's returns, mean correlation with the other names and beta to the market, of three months.
    reversion
        How far a name has fallen below what is usual for it: mean of RSI, Bollinger's %b and the z-score over three
        months, each about one where it is low.
    """

    momentum: FloatArray
    volatility: FloatArray
    likeness: FloatArray
    beta: FloatArray
    reversion: FloatArray


def select(belief: Belief) -> Selection:
    """Return the names that the regime asks for at every bar, by what was known at its close.

    Raises ``InputError`` where there are no regimes.
    """
    settings, panel, regime = belief.settings, belief.panel, belief.surroundings.regime
    if regime is None:
        raise InputError('decision.selection = "regime" needs regimes', hint="set [regimes] use = true as well")
    rows = np.flatnonzero(ends_session(panel))
    member = belief.tradable[rows]
    seen = criteria(panel, rows)
    size = sizes(panel, rows, seen.momentum, member, settings)
    known_yield = belief.surroundings.dividend_yield
    paid = np.full(panel.shape, np.nan) if known_yield is None else known_yield
    passes = screened(seen, paid[rows], regime[rows], np.where(member, 1.0, np.nan), size)
    half_life = settings.selection_half_life_sessions / max(1.0, TIMEFRAMES[panel.timeframe] / TIMEFRAMES["1d"])
    share = smoothed(passes, half_life)
    score = smoothed(scores(seen, member), half_life)
    pace = _pace(panel.timeframe, settings)
    there = (panel.member & recent(panel.mask, ABSENT_BARS))[rows]
    chosen = _keep(np.where(there, share, np.nan), np.where(there, score, np.nan), size, *pace, ENTERS, STAYS, BETTER)
    notes = _notes(belief, chosen, regime[rows], size, paid[rows], rows)
    back = np.searchsorted(rows, np.arange(len(panel)), side="right") - 1
    before = (back >= 0)[:, None]
    places = before & chosen[back]
    passing = belief.tradable & (share[back] >= STAYS)
    return Selection(places, places & passing, np.where(before, score[back], np.nan), notes)


def criteria(panel: Panel, rows: IntArray) -> Criteria:
    """Return what the screens and scores look at, at the close of these rows."""
    from tradewind.features import compute

    price, moved = log_prices(panel), bar_returns(log_prices(panel))
    months = {m: _bars(panel.timeframe, m) for m in (*MOMENTUM_MONTHS, RISK_MONTHS)}
    window = months[RISK_MONTHS]
    volatility, likeness, beta, z = _of_window(price, moved, _market(panel), rows, window)
    table = compute(panel, ["rsi_14", "bollinger_position_20"])
    rsi, band = (table.column(name)[rows].astype(np.float64) for name in table.names)
    return Criteria(
        momentum=np.mean([_change(price, rows, months[m]) / m for m in MOMENTUM_MONTHS], axis=0),
        volatility=volatility,
        likeness=likeness,
        beta=beta,
        reversion=((50.0 - rsi) / 20.0 + 2.0 * (1.0 - 2.0 * band) - z) / 3.0,
    )


def screened(
    seen: Criteria, paid: FloatArray, regime: NDArray[np.int8], member: FloatArray, size: IntArray
) -> FloatArray:
    """Return 1 where a name passes the screen of the row's regime and 0 where not, ``(R, N)``.

    NaN on rows without a regime and for names that are no members (``member`` is NaN for them, else 1). What a screen
    asks
    for and nobody knows is not passed.
    """
    momentum, likeness, reversion = (values * member for values in (seen.momentum, seen.likeness, seen.reversion))
    by_regime = {
        BULL: _first(momentum, size),
        BEAR: (seen.beta < BETA_MAX) & (paid > YIELD_MIN),
        VOLATILE: _first(-likeness, size),
        RANGE: _first(reversion, size) & (reversion > 0),
    }
    passes = np.full(member.shape, np.nan)
    for code, passed in by_regime.items():
        passes = np.where((regime == code)[:, None], passed, passes)
    return passes * member


def scores(seen: Criteria, member: BoolArray) -> FloatArray:
    """Return each member's weighted ranks of momentum, calm and unlikeness, ``(R, N)`` in [0, 1], NaN where unknown."""
    parts = ((MOMENTUM_WEIGHT, seen.momentum), (CALM_WEIGHT, -seen.volatility), (UNLIKE_WEIGHT, -seen.likeness))
    return np.asarray(sum(weight * _rank(np.where(member, values, np.nan)) for weight, values in parts))


def sizes(panel: Panel, rows: IntArray, momentum: FloatArray, member: BoolArray, settings: DecisionSection) -> IntArray:
    """Return how many names are selected, ``(R,)``: more of them the more sectors rise."""
    rising = []
    for sector in sorted(set(panel.sectors)):
        own = np.array([s == sector for s in panel.sectors])
        values = np.where(member & own, momentum, np.nan)
        count = np.isfinite(values).sum(axis=1)
        rising.append((count > 0) & (np.nansum(values, axis=1) > 0))
    share = np.mean(rising, axis=0) if rising else np.zeros(len(rows))
    return np.floor(settings.selection_size * (1.0 + settings.selection_widen * share)).astype(np.int64)


def smoothed(values: FloatArray, half_life: float) -> FloatArray:
    """Return each column's average so far, the newer counting more; what is missing leaves it as it was."""
    keep = 0.5 ** (1.0 / half_life) if half_life > 0 else 0.0
    now, result = np.full(values.shape[1], np.nan), np.full(values.shape, np.nan)
    for t, row in enumerate(values):
        now = np.where(np.isnan(row), now, np.where(np.isnan(now), row, keep * now + (1.0 - keep) * row))
        result[t] = now
    return result


def recent(mask: BoolArray, bars: int) -> BoolArray:
    """Return where there is a bar among the last ``bars``, ``(T, N)``."""
    rows = np.arange(len(mask))[:, None]
    return np.asarray(rows - np.maximum.accumulate(np.where(mask, rows, -bars), axis=0) < bars)


def turnover(places: BoolArray, size: IntArray, window: int) -> FloatArray:
    """Return the share of the selection that was replaced in the last ``window`` rows, ``(R,)``.

    The lesser of how many came and how many went, over the number wanted: each name has an equal part, and a place that
    is empty is cash.
    """
    before = np.concatenate([np.zeros((1, places.shape[1]), np.bool_), places[:-1]])
    came, went = (np.cumsum(np.r_[0, moves.sum(axis=1)]) for moves in (places & ~before, before & ~places))
    end = np.arange(1, len(places) + 1)
    start = np.maximum(end - window, 0)
    return np.asarray(np.minimum(came[end] - came[start], went[end] - went[start]) / size)


def _bars(timeframe: str, months: int) -> int:
    return nearest(bars_of(months * MONTH_SESSIONS * TIMEFRAMES["1d"], TIMEFRAMES[timeframe]))


def _pace(timeframe: str, settings: DecisionSection) -> tuple[int, float]:
    """Return the rows of a month, on which the selection may change, and the share that may be replaced in it."""
    sessions = max(1.0, TIMEFRAMES[timeframe] / TIMEFRAMES["1d"])
    return max(1, round(MONTH_SESSIONS / sessions)), settings.selection_turnover_max


def _market(panel: Panel) -> FloatArray:
    """Return the log returns of the index, else the mean of the universe's where the data has none, ``(T,)``."""
    index = panel.context.get("index")
    if index is not None and np.isfinite(index).any():
        return np.diff(np.log(index), prepend=np.nan)
    moved = np.where(panel.member, bar_returns(log_prices(panel)), np.nan)
    count = np.isfinite(moved).sum(axis=1)
    return np.asarray(np.where(count, np.nansum(moved, axis=1) / np.maximum(count, 1), np.nan))


def _change(price: FloatArray, rows: IntArray, bars: int) -> FloatArray:
    there = (rows >= bars)[:, None]
    return np.where(there, price[rows] - price[np.maximum(rows - bars, 0)], np.nan)


def _of_window(
    price: FloatArray, moved: FloatArray, market: FloatArray, rows: IntArray, window: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return volatility, mean correlation with the others, beta and z-score of the price, ``(R, N)`` each.

    The mean correlation needs no matrix: the sum of a name's correlations is its correlation with the sum of all,
    each scaled to deviation one.
    """
    shape = (len(rows), price.shape[1])
    volatility, likeness, beta, z = (np.full(shape, np.nan) for _ in range(4))
    for i, row in enumerate(rows):
        if row + 1 < window:
            continue
        part = slice(row + 1 - window, row + 1)
        returns, level = moved[part], price[part]
        known = np.isfinite(returns).mean(axis=0) >= LEAST_OF_WINDOW
        columns = np.flatnonzero(known & np.isfinite(level[-1]))
        if not columns.size:
            continue
        own = returns[:, columns]
        centred = np.nan_to_num(own - np.nanmean(own, axis=0))
        deviation = np.sqrt((centred**2).sum(axis=0) / np.isfinite(own).sum(axis=0))
        volatility[i, columns] = deviation
        likeness[i, columns] = _mean_correlation(centred)
        beta[i, columns] = _beta(own, market[part])
        spread = np.nanstd(level[:, columns], axis=0)
        away = level[-1, columns] - np.nanmean(level[:, columns], axis=0)
        z[i, columns] = np.where(spread > 0, away / np.where(spread > 0, spread, 1.0), np.nan)
    return volatility, likeness, beta, z


def _mean_correlation(centred: FloatArray) -> FloatArray:
    """Return each column's mean correlation with the others ``(C,)``, of centred returns; NaN for one that stands."""
    norm = np.sqrt((centred**2).sum(axis=0))
    moves = norm > 0
    unit = centred / np.where(moves, norm, 1.0)
    others = moves.sum() - 1
    if others < 1:
        return np.full(len(norm), np.nan)
    return np.asarray(np.where(moves, (unit.T @ unit.sum(axis=1) - 1.0) / others, np.nan))


def _beta(own: FloatArray, market: FloatArray) -> FloatArray:
    """Return least squares betas to the market, over the bars that both have, NaN where too few or it stands still."""
    both = np.isfinite(own) & np.isfinite(market)[:, None]
    count = np.maximum(both.sum(axis=0), 1)
    x = np.where(both, np.nan_to_num(market)[:, None], 0.0)
    y = np.where(both, own, 0.0)
    x, y = (np.where(both, values - values.sum(axis=0) / count, 0.0) for values in (x, y))
    square = (x * x).sum(axis=0)
    told = (both.mean(axis=0) >= LEAST_OF_WINDOW) & (square > 0)
    return np.asarray(np.where(told, (x * y).sum(axis=0) / np.where(told, square, 1.0), np.nan))


def _first(values: FloatArray, size: IntArray) -> BoolArray:
    """Return the ``size`` largest known values of each row; equals go by their order."""
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), axis=1, kind="stable")
    place = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(values.shape[1]), values.shape), axis=1)
    return (place < size[:, None]) & np.isfinite(values)


def _rank(values: FloatArray) -> FloatArray:
    """Return the rank of each known value in its row, from 0 for the smallest to 1; a lone one gets one half."""
    order = np.argsort(values, axis=1, kind="stable")  # NaN comes last
    place = np.empty(values.shape)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(values.shape[1]), values.shape), axis=1)
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    rank = np.where(count > 1, place / np.maximum(count - 1, 1), 0.5)
    return np.where(np.isfinite(values), rank, np.nan)


@njit(cache=True)
def _keep(
    share: FloatArray,
    score: FloatArray,
    size: IntArray,
    month: int,
    turnover_max: float,
    enters: float,
    stays: float,
    better: float,
) -> BoolArray:
    """Return who has a place at each row: leavers first (the farthest out first), then vacancies, then a better one.

    Every move is made only where the month's lesser of arrivals and departures stays within the turnover; who belongs
    to the universe no more (``share`` is NaN) leaves in any case. Where a month's turnover is less than one name the
    month is that much longer.
    """
    rows, columns = share.shape
    chosen = np.zeros((rows, columns), dtype=np.bool_)
    now = np.zeros(columns, dtype=np.bool_)
    came, went = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    for t in range(rows):
        allowed = turnover_max * size[t] + 1e-9
        window = month if allowed >= 1.0 else int(np.ceil(month / allowed))
        most, first = max(1, int(allowed)), max(0, t + 1 - window)
        arrived, left = came[first:t].sum(), went[first:t].sum()
        for n in range(columns):
            if now[n] and np.isnan(share[t, n]):
                now[n], left = False, left + 1
        while min(arrived, left + 1) <= most:
            least = -1
            for n in range(columns):
                if not now[n] or not share[t, n] < stays:
                    continue
                further = least < 0 or share[t, n] < share[t, least]
                if further or (share[t, n] == share[t, least] and score[t, n] < score[t, least]):
                    least = n
            if least < 0:
                break
            now[least], left = False, left + 1
        for _ in range(columns):
            best, worst, held = -1, -1, 0
            for n in range(columns):
                if now[n]:
                    held += 1
                    if worst < 0 or not score[t, n] >= score[t, worst]:
                        worst = n
                elif share[t, n] >= enters and np.isfinite(score[t, n]) and (best < 0 or score[t, n] > score[t, best]):
                    best = n
            crowded = held > size[t]
            swap = not crowded and held == size[t]
            if best < 0 and not crowded:
                break
            if min(arrived + (0 if crowded else 1), left + (1 if crowded or swap else 0)) > most:
                break
            if swap and not score[t, best] > score[t, worst] + better:
                break
            if crowded or swap:
                now[worst], left = False, left + 1
            if not crowded:
                now[best], arrived = True, arrived + 1
        came[t], went[t] = arrived - came[first:t].sum(), left - went[first:t].sum()
        chosen[t] = now
    return chosen


def _notes(
    belief: Belief, chosen: BoolArray, regime: NDArray[np.int8], size: IntArray, paid: FloatArray, rows: IntArray
) -> tuple[str, ...]:
    """Say how often nothing passed and too little did, by regime, what was unknown, and how much was turned over."""
    named, count, said = regime >= 0, chosen.sum(axis=1), []
    if not named.all():
        said.append(f"selection: no regime was known at {1 - named.mean():.0%} of the sessions: nothing is bought then")
    by_regime = [
        f"{name} at {at.mean():.0%} ({(count[at] == 0).mean():.0%}, {(count[at] < size[at]).mean():.0%})"
        for code, name in enumerate(REGIMES)
        if (at := regime == code).any()
    ]
    if by_regime:
        said.append(
            "selection: share of sessions by regime (of these nobody was selected at, fewer than wanted at: the rest "
            f"is cash): {', '.join(by_regime)}"
        )
    bear = (regime == BEAR)[:, None] & belief.tradable[rows]
    if bear.any() and (unknown := float(np.isnan(paid[bear]).mean())) > 0:
        said.append(f"selection: in bear regimes {unknown:.0%} of the dividend yields were not known: not selected")
    if belief.panel.context.get("index") is None:
        said.append("selection: there is no index, so that betas are to the mean of the universe")
    if chosen.any():
        moved = turnover(chosen, size, _pace(belief.panel.timeframe, belief.settings)[0])
        said.append(f"selection: turnover of a month {moved.mean():.0%} on average, {moved.max():.0%} at most")
    return tuple(said)
