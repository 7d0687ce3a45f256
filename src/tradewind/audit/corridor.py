"""The proof by other futures: recompute on truncated, perturbed and shuffled futures and compare the past.

A computation that uses nothing from the future gives the same past whatever follows. Each subject is recomputed
on panels that agree up to a moment and differ after it; any difference at or before the moment is a leak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tradewind.audit.findings import CorridorAudit, Finding, Unexamined, iso
from tradewind.audit.futures import ATTACKS
from tradewind.errors import BugError, DataError, InputError, did_you_mean
from tradewind.features.table import Features
from tradewind.labels.targets import Labels
from tradewind.market.panel import Panel
from tradewind.models.forecast import Forecast

Output = Any
Progress = Callable[[str, int, int], None]


@runtime_checkable
class Timed(Protocol):
    """An output that carries its own times."""

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Times of the rows."""
        ...


@dataclass(frozen=True)
class Subject:
    """Something to recompute.

    Attributes
    ----------
    name
        What it is called in findings.
    recompute
        Panel in, values known at each bar out: an array with time on axis 0, a mapping of such arrays,
        ``Features``, ``Labels`` (returns, classes and scale as known at the moment; weights are not compared)
        or a ``Forecast`` (aligned by its own times). Deterministic: twice on one panel gives the same.
    tolerance
        Largest absolute difference that is no difference; 0 is bit for bit.
    columns
        Names along the last axis of a plain array; by default the panel's symbols where the length fits.
    first_row
        Moments before this row are not tried (training history that must exist).
    attacks
        Which other futures: ``truncate``, ``perturb``, ``shuffle``. A slow subject may take fewer.
    """

    name: str
    recompute: Callable[[Panel], Output]
    tolerance: float = 0.0
    columns: tuple[str, ...] = ()
    first_row: int = 0
    attacks: tuple[str, ...] = ("truncate", "perturb", "shuffle")


def audit_corridor(
    panel: Panel,
    subjects: Sequence[Subject],
    *,
    moments: int | Sequence[int] = 3,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> CorridorAudit:
    """Prove for each subject that its past does not depend on the future, or name the column that does.

    Parameters
    ----------
    panel
        The history to audit on; a slice with all the oddities of the whole is enough.
    subjects
        What to recompute.
    moments
        Rows after which the future is replaced, or how many to choose at random from the last three quarters,
        every other one just before something happens (a gap ends, a split, a dividend, a change of members).
    rng
        Draws the moments and the other futures.
    progress
        Called with the subject, recomputations done and all.

    Raises
    ------
    InputError
        No subjects, a moment outside the panel, an unknown attack, or a panel too short to have a future.
    """
    _check(panel, subjects)
    rows = _moments(panel, moments, rng)
    findings: list[Finding] = []
    unexamined: list[Unexamined] = []
    columns: dict[str, int] = {}
    for done, subject in enumerate(subjects):
        if progress is not None:
            progress(subject.name, done, len(subjects))
        try:
            found, columns[subject.name] = _audit(panel, subject, rows, rng)
            findings += found
        except (InputError, DataError) as fault:
            unexamined.append(Unexamined(subject.name, str(fault)))
    return CorridorAudit(
        findings=tuple(findings),
        subjects=tuple(subject.name for subject in subjects),
        moments=tuple(iso(panel.times[row]) for row in rows),
        columns=columns,
        unexamined=tuple(unexamined),
    )


def _check(panel: Panel, subjects: Sequence[Subject]) -> None:
    if not subjects:
        raise InputError("nothing to audit: no subjects were given")
    if len(panel) < 4:
        raise InputError(f"a panel of {len(panel)} bars has no past and future to tell apart", hint="give 4 or more")
    for subject in subjects:
        for attack in subject.attacks:
            if attack not in ATTACKS:
                raise did_you_mean("attack", attack, ATTACKS)


def _moments(panel: Panel, moments: int | Sequence[int], rng: np.random.Generator) -> list[int]:
    last = len(panel) - 2
    if not isinstance(moments, int):
        outside = [row for row in moments if not 0 <= row <= last]
        if outside:
            raise InputError(f"moments {outside} leave no future in a panel of {len(panel)} bars")
        return sorted(set(moments))
    choices = np.arange(max(1, len(panel) // 4), last + 1)
    telling = np.intersect1d(choices, _telling(panel))
    rows = rng.choice(telling, size=min(moments // 2, len(telling)), replace=False)
    others = np.setdiff1d(choices, rows)
    more = rng.choice(others, size=min(moments - len(rows), len(others)), replace=False)
    return sorted(int(row) for row in np.r_[rows, more])


def _telling(panel: Panel) -> NDArray[np.int64]:
    """Return the rows just before something happens that careless code writes back into the past."""
    returns_ = ~panel.mask[:-1] & panel.mask[1:]
    moves = panel.member[:-1] != panel.member[1:]
    events = (panel.split[1:] != 1.0) | (panel.dividend[1:] != 0.0)
    return np.flatnonzero((returns_ | moves | events).any(axis=1))


def _audit(panel: Panel, subject: Subject, rows: Sequence[int], rng: np.random.Generator) -> tuple[list[Finding], int]:
    whole = subject.recompute(panel)
    if _difference_table(whole, subject.recompute(panel), panel, panel, len(panel) - 1, subject):
        raise BugError(f"{subject.name!r} is not deterministic: twice on one panel it gave two results")
    worst: dict[str, Finding] = {}
    tried = [row for row in rows if row >= subject.first_row]
    if not tried:
        raise InputError(f"no moment lies at or after row {subject.first_row}, where {subject.name!r} begins")
    for row in tried:
        for attack in subject.attacks:
            other = ATTACKS[attack](panel, row, rng)
            for found in _difference_table(whole, subject.recompute(other), panel, other, row, subject, attack):
                worst[found.column] = _earlier(worst.get(found.column), found)
    return sorted(worst.values(), key=lambda f: (f.first_time, f.column)), len(_arrays(whole, panel, subject))


def _earlier(one: Finding | None, other: Finding) -> Finding:
    """Return the finding that offends first; of one time, the first found."""
    return other if one is None or other.first_time < one.first_time else one


def _difference_table(
    whole: Output, changed: Output, panel: Panel, other: Panel, row: int, subject: Subject, attack: str = ""
) -> list[Finding]:
    moment = panel.times[row]
    before = _arrays(_as_of(whole, row), panel, subject)
    after = _arrays(_as_of(changed, row), other, subject)
    found = []
    for column in dict.fromkeys([*before, *after]):
        offence = _offence(before.get(column), after.get(column), moment, subject.tolerance)
        if offence is not None:
            first, size, where = offence
            text = f"with another future after {iso(moment)} {where}"
            found.append(Finding(subject.name, column, iso(first), attack, size, text))
    return found


def _as_of(output: Output, row: int) -> Output:
    """Return labels as known at the row; everything else as it is."""
    return output.head(row + 1) if isinstance(output, Labels) else output


Column = tuple[NDArray[np.datetime64], NDArray[Any]]


def _arrays(output: Output, panel: Panel, subject: Subject) -> dict[str, Column]:
    """Return name -> (times, values ``(T, …)``) of any output."""
    if isinstance(output, Features):
        return {name: (output.times, output.values[:, :, j]) for j, name in enumerate(output.names)}
    if isinstance(output, Labels):
        return _label_arrays(output, panel)
    if isinstance(output, Forecast):
        return _forecast_arrays(output)
    if isinstance(output, Mapping):
        return {str(name): _timed(np.asarray(values), panel, subject) for name, values in output.items()}
    values = np.asarray(output)
    times, values = _timed(values, panel, subject)
    names = _names(values, panel, subject)
    return {name: (times, values[..., j]) for j, name in enumerate(names)} if names else {subject.name: (times, values)}


def _timed(values: NDArray[Any], panel: Panel, subject: Subject) -> Column:
    if values.ndim == 0 or len(values) > len(panel):
        raise BugError(f"{subject.name!r} gave shape {values.shape} for {len(panel)} bars; axis 0 must be time")
    return panel.times[: len(values)], values


def _names(values: NDArray[Any], panel: Panel, subject: Subject) -> tuple[str, ...]:
    if values.ndim < 2:
        return ()
    if subject.columns and values.shape[-1] == len(subject.columns):
        return subject.columns
    if values.ndim == 2 and values.shape[1] == len(panel.symbols):
        return panel.symbols
    return tuple(f"{subject.name}[{j}]" for j in range(values.shape[-1]))


def _label_arrays(labels: Labels, panel: Panel) -> dict[str, Column]:
    times = panel.times[: len(labels.scale)]
    out: dict[str, Column] = {"scale": (times, labels.scale)}
    for j, horizon in enumerate(labels.horizons):
        out[f"return_{horizon}"] = (times, labels.returns[:, :, j])
        if labels.classes is not None:
            out[f"class_{horizon}"] = (times, labels.classes[:, :, j])
    return out


def _forecast_arrays(forecast: Forecast) -> dict[str, Column]:
    out: dict[str, Column] = {}
    for j, horizon in enumerate(forecast.horizons):
        out[f"score_{horizon}"] = (forecast.times, forecast.score[:, :, j])
        for k, level in enumerate(forecast.levels):
            out[f"q{level:g}_{horizon}"] = (forecast.times, forecast.quantiles[:, :, j, k])
        if forecast.probabilities is not None:
            out[f"probabilities_{horizon}"] = (forecast.times, forecast.probabilities[:, :, j])
    return out


def _offence(
    before: Column | None, after: Column | None, moment: np.datetime64, tolerance: float
) -> tuple[np.datetime64, float, str] | None:
    """Return the first offending time, the largest difference and what happened; None where the past agrees."""
    if before is None or after is None:
        return moment, np.inf, "the column appears or vanishes"
    (times, old), (other_times, new) = _past(before, moment), _past(after, moment)
    if old.shape[1:] != new.shape[1:]:
        return moment, np.inf, f"its shape changes from {old.shape[1:]} to {new.shape[1:]}"
    if len(times) != len(other_times) or not bool(np.array_equal(times, other_times)):
        only = np.setxor1d(times, other_times)
        return only[0], np.inf, f"{len(only)} rows of the past appear or vanish"
    differs, size = _differences(old, new, tolerance)
    if not differs.any():
        return None
    rows = differs.reshape(len(differs), -1).any(axis=1)
    return times[np.argmax(rows)], size, f"{int(rows.sum())} rows of the past change, the most by {size:.3g}"


def _past(column: Column, moment: np.datetime64) -> Column:
    known = column[0] <= moment
    return column[0][known], column[1][known]


def _differences(old: NDArray[Any], new: NDArray[Any], tolerance: float) -> tuple[NDArray[np.bool_], float]:
    if old.dtype.kind not in "fiub":
        differs = np.asarray(old != new)
        return differs, np.inf if differs.any() else 0.0
    a, b = old.astype(np.float64), new.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        distance = np.where(same, 0.0, np.abs(a - b))
    distance = np.where(np.isnan(distance), np.inf, distance)
    return distance > tolerance, float(distance.max(initial=0.0))
