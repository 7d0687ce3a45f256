"""What any rule's entries may be put under: conditions of the playbook that hold a signal back, each with its words.

A guard keeps a rule from opening and closes nothing that is held; a SELL that is held back still closes a long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradewind.decisions import width
from tradewind.decisions.selection import EMPTY, select
from tradewind.decisions.surroundings import FILINGS, asked_for
from tradewind.decisions.width import hold_where
from tradewind.labels.forward import one_bar_returns
from tradewind.stats.volatility import ewma_volatility

if TYPE_CHECKING:
    from tradewind.decisions.signals import Belief, Signals

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

GAP_HALF_LIFE_BARS, GAP_WARM_UP_BARS = 21.0, 10


@dataclass(frozen=True, eq=False)
class Guard:
    """A condition of opening.

    Attributes
    ----------
    name
        What it is called beside the rule's thresholds.
    fine
        ``(T, N)``: where the signal's side may be opened.
    said
        Why it may not elsewhere, in words.
    hint
        What to do when it lets nothing through.
    notes
        What it did not know, and how often.
    outlived
        ``(T, N)``: where a long is to be closed because it is fine no more; None where a guard closes nothing.
    """

    name: str
    fine: BoolArray
    said: str
    hint: str
    notes: tuple[str, ...] = ()
    outlived: BoolArray | None = None


def guards(belief: Belief, signals: Signals) -> list[Guard]:
    """Return the guards that the playbook asks for, in the order in which they are applied."""
    asked: list[tuple[bool, Callable[[Belief, Signals], Guard]]] = [
        (width.limited(belief.settings), _width),
        (belief.settings.earnings_sessions > 0, _earnings),
        (belief.settings.gap_sigma_max is not None, _gap),
        (FILINGS in asked_for(belief.settings), _fundamentals),
        (belief.settings.selection == "regime", _selection),
    ]
    return [make(belief, signals) for wanted, make in asked if wanted]


def guarded(signals: Signals, applied: list[Guard]) -> Signals:
    """Return the signals with HOLD where a guard does not let the rule open, and with what the guards say."""
    for guard in applied:
        signals = hold_where(signals, ~guard.fine, guard.said)
        if guard.outlived is not None:
            signals = replace(signals, close=signals.close | (signals.decided & guard.outlived))
        signals = replace(signals, notes=(*signals.notes, *guard.notes))
    return signals


def gap_sigmas(belief: Belief) -> FloatArray:
    """Return each bar's gap, open over the last close, in sigmas of one bar as they were before it, ``(T, N)``.

    Signed, of total returns: a split or a dividend is no gap. NaN where there is no bar, and while sigma is not known.
    """
    panel = belief.panel
    opened, close = (np.where(panel.mask, panel.adjusted(name), np.nan) for name in ("open", "close"))
    moved = one_bar_returns(close)
    sigma = ewma_volatility(moved, GAP_HALF_LIFE_BARS, GAP_WARM_UP_BARS)
    before = np.concatenate([np.full((1, sigma.shape[1]), np.nan), sigma[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((moved - np.log(close / opened)) / before)


def _width(belief: Belief, signals: Signals) -> Guard:
    return Guard(
        "interval_width",
        width.narrow_enough(belief, signals),
        "the rule would act, but the interval over {horizon_bars} bars is too wide (decision.interval_width_…)",
        "no interval was narrow enough: raise decision.interval_width_max or decision.interval_width_usual_max",
    )


def _earnings(belief: Belief, signals: Signals) -> Guard:
    settings = belief.settings
    due = belief.surroundings.earnings_in
    due = np.full(signals.action.shape, np.nan) if due is None else due
    known = np.isfinite(due)
    near = known & (due <= settings.earnings_sessions)
    held = settings.earnings_unknown == "hold"
    share = _share(~known, signals.decided)
    what = "nothing is opened then" if held else "traded as if none were near"
    said = "the rule would act, but earnings come within {earnings_sessions} sessions"
    return Guard(
        f"earnings_sessions={settings.earnings_sessions}",
        ~near & (known | (not held)),
        f"{said} or their date is not known" if held else said,
        'set decision.earnings_unknown = "trade", or name a source that knows the dates',
        (f"no date of the next earnings was known at {share:.0%} of the decisions: {what} (decision.earnings_unknown)",)
        if share > 0
        else (),
    )


def _gap(belief: Belief, _signals: Signals) -> Guard:
    most = belief.settings.gap_sigma_max or np.inf
    gap = gap_sigmas(belief)
    return Guard(
        f"gap_sigma_max={most:g}",
        ~(np.abs(gap) > most),
        "the rule would act, but the bar opened with a gap of more than {gap_sigma_max:g} sigmas",
        f"every bar opens with a gap: raise decision.gap_sigma_max, e.g. to {2 * most:g}",
    )


def _fundamentals(belief: Belief, signals: Signals) -> Guard:
    """Let buys through whose P/E and growth, as last filed, are within the limits; shorts are not asked."""
    settings, around = belief.settings, belief.surroundings
    shape = signals.action.shape
    good, known = np.ones(shape, np.bool_), np.ones(shape, np.bool_)
    for limit, values, sign in (
        (settings.price_earnings_max, around.price_earnings, 1.0),
        (settings.growth_min, around.growth, -1.0),
    ):
        if limit is None:
            continue
        told = np.full(shape, np.nan) if values is None else values
        known &= ~np.isnan(told)
        good &= ~(sign * told > sign * limit)
    held = settings.fundamentals_unknown == "hold"
    share = _share(~known, signals.decided)
    what = "nothing is bought then" if held else "bought as if they were fine"
    return Guard(
        "fundamentals",
        (signals.action < 0) | (good & (known | (not held))),
        "the rule would buy, but P/E or growth as last filed are not within the limits"
        + (" or are not known" if held else ""),
        'ask less of decision.price_earnings_max and growth_min, or set decision.fundamentals_unknown = "trade"',
        (f"P/E or growth were not known at {share:.0%} of the decisions: {what} (decision.fundamentals_unknown)",)
        if share > 0
        else (),
    )


def _selection(belief: Belief, signals: Signals) -> Guard:
    chosen = select(belief)
    return Guard(
        "selection",
        (signals.action < 0) | chosen.buys,
        "the rule would buy, but the market's regime asks for other names (decision.selection)",
        f'{EMPTY}: widen the universe, or set decision.selection = "none"',
        chosen.notes,
        chosen.outlived(belief.settings.selection_grace_bars),
    )


def _share(where: BoolArray, among: BoolArray) -> float:
    return float(where[among].mean()) if among.any() else 0.0
