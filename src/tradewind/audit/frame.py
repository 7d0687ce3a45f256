"""The leak audit of any table: which columns know more than they may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradewind.audit import accomplices, foresight, nowcast, tables
from tradewind.audit.question import Question, Suspicion
from tradewind.audit.tables import Skipped, UserTable
from tradewind.errors import InputError

if TYPE_CHECKING:
    import polars as pl

GUILTY = 0.2
CLEAN = 0.05
LIMITS = (
    "A table cannot show everything: a scaler fitted on all rows, a selection made on all rows or a survivor "
    "universe leave no trace in it, and knowledge of things unrelated to the price or target is not looked for. "
    "`tradewind audit PLAYBOOK` recomputes instead of looking."
)
_BACKWARD = "it leaves the price as only an average taken from the last row does"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that knows more than it may.

    Attributes
    ----------
    column
        The guilty column.
    lead
        How many rows ahead lies what it knows; 0 for the target of its own row.
    effect
        Share of the variance beyond the past that it explains, 0 … 1 (partial R² on unseen stretches of time).
    evidence
        What it knows, in words and numbers.
    first_time, last_time
        Times between which it does, ISO 8601; None where that cannot be said.
    together_with
        Columns it needs to know it; empty for one that knows it alone.
    """

    column: str
    lead: int
    effect: float
    evidence: str
    first_time: str | None
    last_time: str | None
    together_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameAudit:
    """What the audit of a table found.

    Attributes
    ----------
    leaks
        Guilty columns, the strongest first. Empty is a pass.
    watch
        Columns between clean and guilty: real but weak knowledge, or chance.
    examined, skipped
        Columns that were and were not looked at, with the reason.
    notices
        Oddities of the table that a reader should know of.
    limits
        What an audit of a table cannot see.
    """

    leaks: tuple[Leak, ...]
    watch: tuple[Leak, ...]
    examined: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notices: tuple[str, ...]
    rows: int
    symbols: int
    first_time: str
    last_time: str
    price: str | None
    target: str | None
    guilty_effect: float = GUILTY
    clean_effect: float = CLEAN
    limits: str = LIMITS

    @property
    def clean(self) -> bool:
        """True where no column was found guilty."""
        return not self.leaks

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON-able values."""
        return {**asdict(self), "clean": self.clean}

    def to_text(self) -> str:
        """Return the audit for a reader: the verdict first."""
        about = " and ".join(f"{kind} {name!r}" for kind, name in _asked(self.price, self.target))
        size = f"{len(self.examined)} columns, {self.rows} rows, {self.symbols} symbol{'s' * (self.symbols > 1)}"
        verdict = f"{len(self.leaks)} leaking column{'s' * (len(self.leaks) != 1)}" if self.leaks else "No leak found"
        lines = [f"{verdict} ({about}; {size})."]
        lines += [f"  LEAK   {_line(leak)}" for leak in self.leaks]
        lines += [f"  watch  {_line(leak)}" for leak in self.watch]
        lines += [f"  skipped {s.column}: {s.reason}" for s in self.skipped]
        return "\n".join([*lines, *(f"  note: {n}" for n in self.notices), self.limits])


def audit_frame(
    table: str | Path | pl.DataFrame,
    *,
    time: str,
    price: str | None = None,
    target: str | None = None,
    symbol: str | None = None,
    max_lead: int = 30,
    guilty: float = GUILTY,
    progress: Progress | None = None,
) -> FrameAudit:
    """Look for columns of a table that know the future of a price, or a target of their own row.

    Decides by effect size (partial R² given the past, on stretches of time the effect was not fitted on) over
    every lead, guarded against small samples by the number of independent observations.

    Parameters
    ----------
    table
        A Parquet, CSV or Arrow file or a Polars frame, one row a time (and symbol).
    time
        Column of the moment at which each row is said to be known.
    price
        Find columns that know returns of this price after their row: one bar up to ``max_lead`` bars ahead,
        cumulative up to 60 bars ahead (never more than an eighth of the rows), and (at a higher bar) the size of
        those returns.
    target
        Find columns that determine this column in the same row beyond what earlier rows say.
    symbol
        Column that tells instruments apart where a time has several rows.
    max_lead
        Furthest single bar ahead that is asked about.
    guilty
        Share explained from which a column is guilty; clean columns stay below 0.05.
    progress
        Called with what is being done, the columns done and all columns.

    Raises
    ------
    InputError
        No such file or column, unreadable times, neither price nor target.
    DataError
        Too few rows, repeated times, a price that never moves or is not positive.
    """
    if price is None and target is None:
        raise InputError("nothing to look for", hint="name a price (--price), a target (--target) or both")
    if not 0.0 < guilty < 1.0 or max_lead < 1:
        raise InputError(f"guilty is {guilty} and max_lead {max_lead}; a share in (0, 1) and one bar or more")
    whole = tables.load(table, time=time, symbol=symbol)
    bench = _Bench(whole, progress or _silent)
    if price is not None:
        bench.try_foresight(price, max_lead=max_lead, guilty=guilty)
    if target is not None:
        bench.try_nowcast(target, guilty=guilty)
    return bench.verdict(price, target, guilty)


def _silent(_what: str, _done: int, _all: int) -> None:
    return None


class _Bench:
    """Collects suspicions over the questions that are asked."""

    def __init__(self, table: UserTable, progress: Progress) -> None:
        self._table, self._progress = table, progress
        self._leaks: dict[str, Leak] = {}
        self._watch: dict[str, Leak] = {}
        self._examined: set[str] = set()
        self._skipped = list(table.skipped)
        self._notices = list(table.notices)

    def try_foresight(self, price: str, *, max_lead: int, guilty: float) -> None:
        """Ask every column about future returns of ``price``."""
        table, notices = foresight.with_price(self._table, price)
        self._notices += notices
        names = [name for name in table.columns if name != price]
        questions = foresight.questions(table, price, max_lead=max_lead, guilty=guilty)
        for done, name in enumerate(names):
            self._progress(f"future of {price}", done, len(names))
            shapes = foresight.forms(table.columns[name], table)
            backward = foresight.runs_backward(table.columns[name], table, price)
            for question in questions:
                suspicion = question.put_to(name, shapes)
                if suspicion is not None and backward and question is questions[0] and not suspicion.guilty:
                    suspicion = replace(suspicion, guilty=True, effect=backward, how=_BACKWARD)
                self._note(suspicion, table, question)
        self._examined.update(names)
        innocent = {n: nowcast.form(table.columns[n], table) for n in names if n not in self._leaks}
        self._together(questions[:1], innocent, table)

    def try_nowcast(self, target: str, *, guilty: float) -> None:
        """Ask every column about ``target`` in the same row, and in later rows."""
        table, notices = nowcast.with_target(self._table, target)
        self._notices += notices
        room = nowcast.Nowcast(table, target, guilty=guilty)
        names = [name for name in table.columns if name != target]
        early = self._too_early(room, names, table)
        questions = room.same_row(early)
        for done, name in enumerate(names):
            self._progress(f"same row as {target}", done, len(names))
            self._note(room.judge(name, table.columns[name], questions), table, questions[0])
        self._examined.update(names)
        innocent = {n: nowcast.form(table.columns[n], table) for n in names if n not in self._leaks}
        self._together(questions, innocent, table)

    def verdict(self, price: str | None, target: str | None, guilty: float) -> FrameAudit:
        """Return everything that was found."""
        table = self._table
        watch = [leak for name, leak in self._watch.items() if name not in self._leaks]
        return FrameAudit(
            leaks=tuple(sorted(self._leaks.values(), key=lambda leak: -leak.effect)),
            watch=tuple(sorted(watch, key=lambda leak: -leak.effect)),
            examined=tuple(name for name in table.columns if name in self._examined),
            skipped=tuple(self._skipped),
            notices=tuple(self._notices),
            rows=len(table.times),
            symbols=table.symbols,
            first_time=_iso(table.times.min()),
            last_time=_iso(table.times.max()),
            price=price,
            target=target,
            guilty_effect=guilty,
        )

    def _too_early(self, room: nowcast.Nowcast, names: list[str], table: UserTable) -> set[str]:
        later = room.later()
        if later is None:
            return set()
        early = set()
        for name in names:
            suspicion = later.put_to(name, foresight.forms(table.columns[name], table))
            if suspicion is not None and suspicion.guilty:
                early.add(name)
                self._note(suspicion, table, later)
        return early

    def _note(self, suspicion: Suspicion | None, table: UserTable, question: Question) -> None:
        if suspicion is None:
            return
        store = self._leaks if suspicion.guilty else self._watch
        if not suspicion.guilty and (suspicion.effect < CLEAN or suspicion.sigmas < 5.0):
            return
        leak = _leak(suspicion, table, question)
        if suspicion.column not in store or store[suspicion.column].effect < leak.effect:
            store[suspicion.column] = leak

    def _together(self, questions: Sequence[Question], innocent: dict[str, Any], table: UserTable) -> None:
        found = accomplices.agreed(questions, innocent)
        if found is None:
            return
        for name in found.columns:
            others = tuple(c for c in found.columns if c != name)
            company = f"with {', '.join(others)} it " if others else ""
            evidence = (
                f"{company}explains {found.effect:.0%} of {found.aim.text} beyond the past "
                f"({found.how}, unseen stretches of time)"
            )
            self._leaks[name] = Leak(
                name, found.aim.lead, round(found.effect, 4), evidence, _iso(table.times.min()), None, others
            )


def _leak(suspicion: Suspicion, table: UserTable, question: Question) -> Leak:
    times = table.times[question.order]
    first, last = _iso(times[suspicion.first]), _iso(times[suspicion.last])
    where = "" if suspicion.whole else f" between {first[:10]} and {last[:10]}"
    evidence = (
        f"explains {suspicion.effect:.0%} of {suspicion.aim.text} beyond the past{where} "
        f"({suspicion.how}, {suspicion.sigmas:.0f} standard errors)"
    )
    if suspicion.how == _BACKWARD:
        evidence = f"its distance from the price explains {suspicion.effect:.0%} of its next step: {_BACKWARD}"
    return Leak(suspicion.column, suspicion.aim.lead, round(suspicion.effect, 4), evidence, first, last)


def _iso(time: np.datetime64) -> str:
    text = str(np.datetime_as_string(time, unit="s"))
    return text.removesuffix("T00:00:00") if text.endswith("T00:00:00") else f"{text}Z"


def _asked(price: str | None, target: str | None) -> list[tuple[str, str]]:
    return [(kind, name) for kind, name in (("price", price), ("target", target)) if name is not None]


def _line(leak: Leak) -> str:
    return f"{leak.column}: {leak.evidence}; since {leak.first_time}"
