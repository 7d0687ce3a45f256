"""What a column knows of the future returns of a price."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tradewind.audit import past
from tradewind.audit.effect import Past, normal_scores
from tradewind.audit.past import shift
from tradewind.audit.question import Aim, Question
from tradewind.audit.tables import UserTable
from tradewind.errors import DataError

FloatArray = NDArray[np.float64]

#: Spans of the cumulative returns that are asked about, beside every single bar ahead.
SPANS = (2, 3, 5, 10, 15, 20, 40, 60)
SIZE_SPANS = (5, 10, 20)
#: An honest forecast of volatility (an implied volatility, say) explains up to a quarter beyond recent sizes.
GUILTY_OF_VOLATILITY = 0.5
FEWEST_BARS = 60
#: Share of a column's steps explained by its distance from the price that betrays an average from the end.
RUNNING_AWAY = 0.9


def with_price(table: UserTable, price: str) -> tuple[UserTable, tuple[str, ...]]:
    """Return the rows that have a usable price, and what was left out."""
    values = table.series(price)
    known = np.isfinite(values)
    notices = []
    if not known.all():
        first = table.times[~known][0]
        notices.append(f"{int((~known).sum())} rows without a price in {price!r} were left out, first {first}")
    if int(known.sum()) < FEWEST_BARS:
        raise DataError(f"{int(known.sum())} rows have a price; {FEWEST_BARS} are needed to judge anything")
    if bool(np.any(values[known] <= 0.0)):
        first = table.times[known][values[known] <= 0.0][0]
        raise DataError(
            f"{price!r} is not positive on {first}: its returns are undefined",
            hint="name a price column; correct or drop such rows",
        )
    if float(np.ptp(values[known])) == 0.0:
        raise DataError(f"{price!r} never moves: there is no future return to know")
    return table.rows(known), tuple(notices)


def questions(table: UserTable, price: str, *, max_lead: int, guilty: float) -> list[Question]:
    """Return the questions about future returns and about their size.

    Returns are log returns from row to row of a symbol; one-bar returns up to ``max_lead`` bars ahead and
    cumulative ones over ``SPANS``, none over more than an eighth of the rows.
    """
    log_price = np.log(table.series(price))
    returns = log_price - shift(log_price, 1, table.group)
    reach = table.times.size // table.symbols // 8
    order = np.argsort(table.times, kind="stable")
    times, columns = np.unique(table.times).size, len(table.columns)
    relative = within(log_price, table, centre_only=True)
    known_past = past.of_returns(relative, returns, table.group)
    scale = spread_of(returns, table)
    controls = known_past / scale[:, None] if table.symbols > 1 else known_past
    ahead = {aim: values / scale for aim, values in _returns_ahead(log_price, returns, table, max_lead, reach)}
    sizes = dict(_sizes_ahead(returns / scale, table, max_lead, reach))
    about_size = np.column_stack([past.of_volatility(returns / scale, table.group), controls[:, :3]])
    return [
        Question.about(ahead, Past(controls), order, guilty=guilty, columns=columns, times=times),
        Question.about(
            sizes,
            Past(about_size),
            order,
            guilty=max(guilty, GUILTY_OF_VOLATILITY),
            columns=columns,
            times=times,
        ),
    ]


def _returns_ahead(
    log_price: FloatArray, returns: FloatArray, table: UserTable, max_lead: int, reach: int
) -> list[tuple[Aim, FloatArray]]:
    single = [
        (Aim(k, 1, f"the one-bar return {k} bar{'s' * (k > 1)} ahead"), shift(returns, -k, table.group))
        for k in range(1, min(max_lead, reach) + 1)
    ]
    spans = [h for h in SPANS if h <= reach]
    return single + [
        (Aim(h, h, f"the return over the next {h} bars"), shift(log_price, -h, table.group) - log_price) for h in spans
    ]


def _sizes_ahead(returns: FloatArray, table: UserTable, max_lead: int, reach: int) -> list[tuple[Aim, FloatArray]]:
    ahead = [np.abs(shift(returns, -k, table.group)) for k in range(1, min(max_lead, reach) + 1)]
    single = [
        (Aim(k, 1, f"the size of the one-bar return {k} bar{'s' * (k > 1)} ahead"), size)
        for k, size in enumerate(ahead, start=1)
    ]
    return single + [
        (Aim(h, h, f"the volatility of the next {h} bars"), np.log(np.mean(ahead[:h], axis=0) + 1e-6))
        for h in SIZE_SPANS
        if h <= len(ahead)
    ]


def forms(values: FloatArray, table: UserTable) -> list[FloatArray]:
    """Return the forms in which a column may hide what it knows, each ``(n,)``: as it is, in logs, as changes."""
    shapes: list[FloatArray] = []
    for j in range(values.shape[1]):
        one = values[:, j]
        shapes.append(one)
        base = one
        positive = bool(np.nanmin(one) > 0.0)
        if positive and float(np.nanmax(one)) > 1.2 * float(np.nanmin(one)):
            base = np.log(one)
            shapes.append(base)
        if values.shape[1] == 1:
            shapes.append(base - shift(base, 1, table.group))
    return [within(shape, table) for shape in shapes]


def runs_backward(values: FloatArray, table: UserTable, price: str) -> float:
    """Return the share of a column's steps that lead away from the price, as only in an average from the end.

    0 below ``RUNNING_AWAY``.

    An exponential average that starts at the last row obeys ``x[t] = a p[t] + (1 - a) x[t + 1]``, so that its
    distance from the price *grows* by a fixed share each row. An average of the past is drawn to the price; a
    column that is pushed away from it and yet stays near knows where the price will go.
    """
    one = values[:, 0]
    if values.shape[1] != 1 or not float(np.nanmin(one)) > 0.0:
        return 0.0
    x, gap = np.log(one), np.log(one / table.series(price))
    step, before = x - shift(x, 1, table.group), shift(gap, 1, table.group)
    known = np.isfinite(step) & np.isfinite(before)
    if int(known.sum()) < FEWEST_BARS or step[known].std() < 1e-9 or before[known].std() < 1e-9:
        return 0.0
    together = float(np.corrcoef(normal_scores(step[known]), normal_scores(before[known]))[0, 1])
    return together**2 if together > 0.0 and together**2 >= RUNNING_AWAY else 0.0


def within(values: FloatArray, table: UserTable, *, centre_only: bool = False) -> FloatArray:
    """Return values relative to each symbol's own mean and spread where there are several symbols."""
    if table.symbols == 1:
        return values
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    n = np.maximum(np.bincount(table.group, known), 1.0)
    centred = filled - (np.bincount(table.group, filled) / n)[table.group]
    if centre_only:
        return np.where(known, centred, np.nan)
    spread = np.sqrt(np.bincount(table.group, np.where(known, centred, 0.0) ** 2) / n)[table.group]
    return np.where(known & (spread > 0.0), centred / np.where(spread > 0.0, spread, 1.0), np.nan)


def spread_of(returns: FloatArray, table: UserTable) -> FloatArray:
    """Return each row's symbol's standard deviation of returns, ``(n,)``; 1 for all where there is one symbol."""
    if table.symbols == 1:
        return np.ones_like(returns)
    known = np.isfinite(returns)
    n = np.maximum(np.bincount(table.group, known), 1.0)
    spread = np.sqrt(np.bincount(table.group, np.where(known, returns, 0.0) ** 2) / n)
    return np.where(spread > 0.0, spread, 1.0)[table.group]
