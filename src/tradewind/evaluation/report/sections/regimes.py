"""The state of the market: price over its regimes, how probable each was, and what each has been like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tradewind.evaluation.report.formats import change, count, decimal, percent, price, probability, shown
from tradewind.evaluation.report.markup import Markup, empty, figure, node, section
from tradewind.evaluation.report.plot import Plot, legend
from tradewind.evaluation.report.scales import Array, Scale, around, milliseconds
from tradewind.evaluation.report.tables import Column, Table, definitions
from tradewind.market.bars import SESSIONS_PER_YEAR

if TYPE_CHECKING:
    from tradewind.risk.regimes import Regimes

SHOWN_ALERTS = 20
COLUMNS = 500
"""So many probabilities side by side; where there are more sessions, neighbours are averaged."""

STACKED = ("bull", "range", "bear", "volatile")
"""From the bottom up: the calmest first, so that trouble hangs from the top."""


def regimes(times: NDArray[np.datetime64], prices: Array, found: Regimes) -> Markup:
    """Return the chapter on regimes.

    Parameters
    ----------
    times, prices
        ``(B,)`` the line to draw, in any timeframe: an index or ``found.price`` at ``found.times``.
    found
        The regimes of the sessions; a band begins at the close at which its regime was confirmed.
    """
    lead = (
        "Each session's regime is what a hidden Markov model could say at its close: fitted on sessions before it, "
        "filtered forwards, never corrected by what came later."
    )
    known = np.isfinite(found.probability).all(axis=1)
    if not known.any():
        why = "; ".join(found.notes) or "no session came after a first fit"
        return section("regimes", "Market regimes", lead, figure("Regimes over price", empty(why), class_="wide"))
    side_by_side = node("div", likelihood(found), alerts(found), class_="grid")
    return section("regimes", "Market regimes", lead, chart(times, prices, found), durations(found), side_by_side)


def chart(times: NDArray[np.datetime64], prices: Array, found: Regimes) -> Markup:
    """Return the price over bands of its regimes, and the filtered probabilities on the same axis of time."""
    if np.isfinite(prices).sum() < 2:
        return figure("Regimes over price", empty("fewer than two prices are known"), class_="wide")
    at = milliseconds(times)
    axis = Scale(float(at[0]), float(at[-1]))
    key = legend(*((f"regime-{label}", label) for label in STACKED))
    caption = (
        "Bands: the confirmed regime, from the close at which it was known; white: none yet. Below: the filtered "
        f"probabilities, which add up to one, in the order {', '.join(STACKED)} from the bottom."
    )
    upper, lower = _banded(axis, at, np.asarray(prices, dtype=np.float64), found), _stacked(axis, found)
    return figure("Regimes over price", key, upper, lower, caption=caption, class_="wide")


def durations(found: Regimes) -> Markup:
    """Return the table of what each regime has been like."""
    table = Table(
        "regimes",
        "What each regime has been like",
        [
            Column("Regime", text=True),
            Column("Share of time"),
            Column("Spells"),
            Column("Average duration", hint="in sessions; the last spell counts for as long as it is so far"),
            Column("Return after", hint="mean log return of the session after, times 252"),
            Column("Volatility after", hint="standard deviation of the session after, a year"),
            Column("Probability now"),
        ],
    )
    spells = [spell.label for spell in found.spells()]
    share, duration, after = found.share_of_time(), found.average_duration_sessions(), found.next_session()
    for i, label in enumerate(found.labels):
        drift = _times(after[label]["mean_return"], SESSIONS_PER_YEAR)
        spread = _times(after[label]["deviation"], SESSIONS_PER_YEAR**0.5)
        now = float(found.probability[-1, i])
        values = [label, share[label], spells.count(label), duration[label], drift, spread, now]
        why = "this regime was never confirmed"
        table.add(
            [
                Markup(f"{legend_key(label)} {label}"),
                shown(share[label], percent(0), why),
                count(spells.count(label)),
                shown(duration[label], decimal(1), why),
                change(drift, percent(1, signed=True), why),
                shown(spread, percent(0), why),
                shown(now, probability, "the last session is not known"),
            ],
            values,
        )
    caption = (
        f"{found.switches()} changes, {found.switches_at_fits()} of them in the first session of a new fit. Names say "
        "what the market has been doing, not what it will do: the two columns after are what acting on them met."
    )
    return figure("What each regime has been like", table.render(), caption=caption, class_="wide")


def likelihood(found: Regimes) -> Markup:
    """Return whether the regimes predicted the next session better than one Gaussian did."""
    told = found.log_likelihood()
    pairs = [("All observations", _gain(told)), ("Return alone", _gain(told["return_alone"]))]
    caption = (
        "Log likelihood of each session as predicted at the one before, less that of one Gaussian fitted on the same "
        "window, in nats a session with its 95 % interval. Below zero the regimes lose."
    )
    notes = node("ul", *(node("li", note) for note in found.notes)) if found.notes else None
    return figure("Out-of-sample likelihood", definitions(pairs), notes, caption=caption)


def alerts(found: Regimes) -> Markup:
    """Return the last changes of regime, the newest first."""
    if not found.alerts:
        return figure("Changes of regime", empty("there was none, or alerts are switched off"))
    columns = [Column("Session"), Column("From", text=True), Column("To", text=True), Column("Probability")]
    table = Table("regime_changes", "Changes of regime", columns)
    for alert in found.alerts[: -SHOWN_ALERTS - 1 : -1]:
        day = str(alert.time)[:10]
        cells = [day, alert.before, alert.after, probability(alert.probability)]
        table.add(cells, [day, alert.before, alert.after, alert.probability])
    return figure("Changes of regime", table.alone(tall=True), table.download(), caption="The newest first.")


def legend_key(label: str) -> Markup:
    """Return the patch of colour of a regime."""
    return node("i", class_=f"key regime-{label}", style="display:inline-block")


def _banded(axis: Scale, at: Array, prices: Array, found: Regimes) -> Markup:
    scale = around(prices, log=bool(np.nanmin(prices) > 0))
    plot = Plot(axis, scale, label="Price over bands of its regimes", height=260, class_="upper")
    ends = milliseconds(found.times)
    for spell in found.spells():
        left = max(float(ends[spell.start]), axis.low)
        right = min(float(ends[spell.stop]) if spell.stop < len(found) else axis.high, axis.high)
        if left < right:
            title = f"{spell.label} from {str(found.times[spell.start])[:10]}, {spell.stop - spell.start} sessions"
            plot.box((left, right), (scale.low, scale.high), f"band regime-{spell.label}", title)
    plot.axis_y(price)
    plot.line(at, prices, "ink", "price")
    plot.hover("2")
    return plot.render()


def _stacked(axis: Scale, found: Regimes) -> Markup:
    plot = Plot(axis, Scale(0.0, 1.0), label="Filtered probability of each regime, stacked", height=120)
    ends = milliseconds(found.times)
    known = np.isfinite(found.probability).all(axis=1) & (ends >= axis.low) & (ends <= axis.high)
    at, shares = _averaged(ends[known], found.probability[known])
    below = np.zeros(len(at))
    for label in STACKED if len(at) else ():
        above = below + shares[:, found.labels.index(label)]
        plot.area(at, below, above, f"regime-{label}", label)
        below = above
    plot.axis_y(percent(0), 2)
    plot.axis_time()
    return plot.render()


def _averaged(at: Array, shares: Array) -> tuple[Array, Array]:
    """Return at most :data:`COLUMNS` rows, each the mean of neighbours."""
    if len(at) <= COLUMNS:
        return at, shares
    edges = np.linspace(0, len(at), COLUMNS + 1).astype(np.int64)[:-1]
    number = np.diff(np.append(edges, len(at)))
    return np.add.reduceat(at, edges) / number, np.add.reduceat(shares, edges, axis=0) / number[:, None]


def _gain(told: dict[str, object]) -> str:
    gain, ends = told["gain"], told["gain_95"]
    if not isinstance(gain, float):
        return "– no session was predicted"
    number = decimal(3, signed=True)
    interval = f" ({number(ends[0])} to {number(ends[1])})" if isinstance(ends, Sequence) else ""
    return f"{number(gain)}{interval}, {told['sessions']:,} sessions"


def _times(value: float | int | None, factor: float) -> float | None:
    return None if value is None else float(value) * factor
