"""One question put to every column: what it knows about some numbers that the past does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tradewind.audit import effect
from tradewind.audit.effect import Moments, Past

FloatArray = NDArray[np.float64]

#: Chance of one false alarm in a whole table of independent noise that the guard on small samples allows.
ALARM_PROBABILITY = 1e-3
#: Share explained inside one part of the sample that is guilty although the whole is not.
GUILTY_IN_PART = 0.5
#: Inside a part, a return over several bars is judged on this many rows for each bar more than one.
ROWS_PER_BAR_OF_SPAN = 40
#: Overlapping returns over several bars count at most this often in a stretch as long as one of them: slow
#: columns look quicker than they are once the controls have been taken out.
MOST_PAIRS_PER_SPAN = 2.0
#: Further standard errors asked of a slow column: beside a price that wanders, any trend seems to know where the
#: price will return to (Dickey and Fuller 1979).
SLOW, PATIENCE = 0.97, 3.0
_ACF_LAGS = 100


@dataclass(frozen=True, slots=True)
class Aim:
    """One thing that may be known too early: ``lead`` bars ahead, over ``span`` bars."""

    lead: int
    span: int
    text: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """How much one column knows about one aim.

    Attributes
    ----------
    effect
        Share of the variance beyond the past that the column explains (partial R², cross-validated over blocks
        of time; within ``first`` … ``last`` alone when ``whole`` is False).
    sigmas
        Standard errors of Fisher's z above none, on the number of independent pairs.
    first, last
        Rows in time order between which the knowledge pays.
    """

    column: str
    aim: Aim
    effect: float
    sigmas: float
    guilty: bool
    whole: bool
    how: str
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class _Look:
    """One form of one column: its independent rows for each aim, and the further standard errors asked of it."""

    column: str
    rows: FloatArray
    patience: float


@dataclass(frozen=True, eq=False)
class Question:
    """Aims with their numbers, beyond the past.

    Attributes
    ----------
    aims, answers
        What may be known too early, and ``(n, aims)`` its numbers given the past, in time order.
    scores
        The same as normal scores.
    past
        The controls, in the table's order.
    order
        Table rows in time order.
    acf
        ``(lags, aims)`` autocorrelation of the answers.
    guilty
        The share explained from which a column is guilty.
    tests
        How many looks the whole table takes, for the guard on small samples.
    times
        Number of distinct times; many symbols at one time are not independent.
    """

    aims: tuple[Aim, ...]
    answers: FloatArray
    scores: FloatArray
    past: Past
    order: NDArray[np.intp]
    acf: FloatArray
    guilty: float
    tests: int
    times: int

    @classmethod
    def about(
        cls,
        answers: Mapping[Aim, FloatArray],
        past: Past,
        order: NDArray[np.intp],
        *,
        guilty: float,
        columns: int,
        times: int,
    ) -> Question:
        """Ask about raw ``answers`` in the table's order."""
        rest = np.column_stack([past.beyond(values) for values in answers.values()])
        acf = np.column_stack([effect.autocorrelation(rest[:, j], _ACF_LAGS) for j in range(rest.shape[1])])
        rest = np.column_stack([effect.clipped(rest[:, j]) for j in range(rest.shape[1])])[order]
        scores = np.column_stack([effect.normal_scores(rest[:, j]) for j in range(rest.shape[1])])
        tests = columns * len(answers) * 7
        return cls(tuple(answers), rest, scores, past, order, acf, guilty, tests, times)

    def put_to(self, column: str, forms: Sequence[FloatArray]) -> Suspicion | None:
        """Return the strongest suspicion against any form of one column, None if it cannot know anything."""
        found = [s for j, form in enumerate(forms) for s in self._looks(column, form, curve=j == 0)]
        return max(found, key=lambda s: (s.guilty, s.whole, s.effect), default=None)

    def beyond(self, form: FloatArray) -> FloatArray:
        """Return one form of a column given the past, in time order, clipped."""
        return effect.clipped(self.past.beyond(form))[self.order]

    def _looks(self, column: str, form: FloatArray, *, curve: bool) -> list[Suspicion]:
        rest = self.past.beyond(form)
        if not np.isfinite(rest).any():
            return []
        x = effect.clipped(rest)[self.order]
        ranks = effect.normal_scores(x)
        starts = effect.blocks_of(len(x))
        straight = effect.moments(x, self.answers, starts)
        ranked = effect.moments(ranks, self.scores, starts)
        n, own = straight.n.sum(axis=0), effect.autocorrelation(form, _ACF_LAGS)
        rows = self._independent(n, effect.autocorrelation(rest, _ACF_LAGS))
        look = _Look(column, rows, PATIENCE if own[0] > SLOW else 0.0)
        looks = [self._judged(look, effect.explained_unseen(straight), "straight line", (x, self.answers))]
        looks.append(self._judged(look, effect.explained_unseen(ranked), "ranks", (ranks, self.scores)))
        if curve:
            bent = replace(look, rows=np.minimum(rows, self._independent(n, own)))
            share = effect.explained_by_bins(form[self.order], self.scores, starts)
            looks.append(self._judged(bent, share, "curve", None))
        lively = effect.moments(np.where(_resting(form)[self.order], np.nan, ranks), self.scores, starts)
        return looks + self._parts(look, lively, ranks)

    def _independent(self, n: FloatArray, acf: FloatArray) -> FloatArray:
        """Return the independent pairs that remain: fewer for slow columns, crowds of symbols and many controls."""
        span = np.array([aim.span for aim in self.aims], dtype=np.float64)
        overlap = np.where(span > 1.0, MOST_PAIRS_PER_SPAN / span, 1.0)
        rows = np.minimum(effect.effective_rows(n, acf, self.acf), n * np.minimum(overlap, 1.0))
        crowd = n.max(initial=1.0) / self.times
        rows = rows if crowd <= 1.5 else rows / (1.0 + 0.3 * (crowd - 1.0))
        return np.maximum(rows - self.past.controls, 0.0)

    def _needed(self, tests: int, patience: float) -> FloatArray:
        """Return the standard errors that a guilty effect must lie above none, ``(aims,)``; more for long returns."""
        span = np.array([aim.span for aim in self.aims], dtype=np.float64)
        usual = sigmas_needed(tests)
        return np.maximum(usual * np.minimum(1.0 + 0.02 * (span - 1.0), 1.3), usual + patience)

    def _judged(
        self, look: _Look, share: FloatArray, how: str, pair: tuple[FloatArray, FloatArray] | None
    ) -> Suspicion:
        sigmas = effect.surprise(share, look.rows)
        guilty = (share >= self.guilty) & (sigmas >= self._needed(self.tests, look.patience))
        j = int(np.argmax(np.where(guilty, share + 1.0, np.where(sigmas >= 3.0, share, share - 1.0))))
        where = slice(0, len(self.order))
        if guilty[j] and pair is not None:
            where = effect.stretch(pair[0], pair[1][:, j])
        size = float(np.clip(share[j], 0.0, 1.0))
        return Suspicion(
            look.column, self.aims[j], size, float(sigmas[j]), bool(guilty[j]), True, how, where.start, where.stop - 1
        )

    def _parts(self, look: _Look, sums: Moments, x: FloatArray) -> list[Suspicion]:
        """Judge every run of 1, 2, 4 and 8 blocks alone, by ranks; long returns need long runs."""
        blocks = sums.n.shape[0]
        fewest = np.maximum(effect.FEWEST_ROWS_ALONE, [ROWS_PER_BAR_OF_SPAN * (a.span - 1) for a in self.aims])
        best: list[Suspicion] = []
        needed = self._needed(self.tests * 50, look.patience)
        for length in (1, 2, 4, 8):
            if length >= blocks:
                break
            step = max(1, length // 2)
            run = sums.runs(length, step)
            n = run.n
            share = 1.0 - (1.0 - run.correlation**2) * (n - 1.0) / np.maximum(n - 2.0, 1.0)
            share[n < fewest] = 0.0
            sigmas = effect.surprise(share, n * (look.rows / np.maximum(sums.n.sum(axis=0), 1.0)))
            guilty = (share >= max(GUILTY_IN_PART, self.guilty)) & (sigmas >= needed)
            if guilty.any():
                best.append(self._in_part(look.column, np.where(guilty, share, -1.0), sigmas, x))
        return best

    def _in_part(self, column: str, share: FloatArray, sigmas: FloatArray, x: FloatArray) -> Suspicion:
        i, j = np.unravel_index(int(np.argmax(share)), share.shape)
        where = effect.stretch(x, self.scores[:, j])
        aim, size, z = self.aims[int(j)], float(share[i, j]), float(sigmas[i, j])
        return Suspicion(column, aim, size, z, True, False, "ranks", where.start, where.stop - 1)


def _resting(form: FloatArray) -> NDArray[np.bool_]:
    """Return where a column that mostly rests on one value (a rare pattern) does so: it says nothing there."""
    known = form[np.isfinite(form)]
    values, counts = np.unique(known, return_counts=True)
    if values.size == 0 or counts.max() < 0.8 * known.size:
        return np.zeros(form.shape, dtype=np.bool_)
    return np.asarray(form == values[np.argmax(counts)])


@lru_cache(maxsize=64)
def sigmas_needed(tests: int) -> float:
    """Return the standard errors that chance exceeds in one of ``tests`` looks with the allowed probability."""
    from scipy.special import ndtri

    return float(-ndtri(ALARM_PROBABILITY / max(tests, 1) / 2.0))
