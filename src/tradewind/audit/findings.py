"""What an audit of the corridor found: the guilty column, the first offending time, and how it was shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tradewind.errors import LeakError


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that knows more than it may.

    Attributes
    ----------
    subject
        Which part of the corridor: ``features``, ``splits``, ``fills`` …
    column
        The guilty column of it.
    first_time
        ISO 8601 time of the first offending row, ``""`` where there is none.
    how
        ``truncate``, ``perturb`` or ``shuffle`` when another future changed the past; otherwise the broken rule:
        ``overlap``, ``order``, ``price``, ``survivorship``, ``membership``, ``vintage``.
    difference
        The largest offence: absolute difference of values, or bars; ``inf`` when a value appeared or vanished.
    evidence
        The offence in words.
    """

    subject: str
    column: str
    first_time: str
    how: str
    difference: float
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Unexamined:
    """A subject that could not be recomputed, and why: no proof either way."""

    subject: str
    reason: str


@dataclass(frozen=True)
class CorridorAudit:
    """The audit of a corridor: empty ``findings`` is a pass for everything in ``subjects``.

    Attributes
    ----------
    subjects
        What was examined.
    moments
        ISO times after which the future was replaced.
    columns
        How many columns each subject has.
    """

    findings: tuple[Finding, ...]
    subjects: tuple[str, ...]
    moments: tuple[str, ...] = ()
    columns: dict[str, int] = field(default_factory=dict)
    unexamined: tuple[Unexamined, ...] = ()

    @property
    def clean(self) -> bool:
        """True where nothing was found and everything could be examined."""
        return not self.findings and not self.unexamined

    def joined(self, other: CorridorAudit) -> CorridorAudit:
        """Return both audits as one."""
        return CorridorAudit(
            findings=self.findings + other.findings,
            subjects=tuple(dict.fromkeys(self.subjects + other.subjects)),
            moments=tuple(dict.fromkeys(self.moments + other.moments)),
            columns={**self.columns, **other.columns},
            unexamined=self.unexamined + other.unexamined,
        )

    def raise_if_guilty(self) -> None:
        """Raise ``LeakError`` naming the first finding, if there is one."""
        if self.findings:
            first = self.findings[0]
            raise LeakError(
                f"{first.subject}: {first.column} uses the future from {first.first_time} on ({first.how}); "
                f"{len(self.findings)} findings in all",
                hint="`tradewind audit PLAYBOOK` lists them",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON-able values; an infinite difference is None."""
        whole = {**asdict(self), "clean": self.clean}
        for finding in whole["findings"]:
            if not np.isfinite(finding["difference"]):
                finding["difference"] = None
        return whole

    def to_text(self) -> str:
        """Return the audit for a reader: the verdict first."""
        verdict = f"{len(self.findings)} leaks" if self.findings else "No leak found"
        lines = [f"{verdict} in {', '.join(self.subjects) or 'nothing'} ({len(self.moments)} moments)."]
        lines += [
            f"  LEAK   {f.subject} / {f.column}: {f.how} from {f.first_time}: {f.evidence}" for f in self.findings
        ]
        lines += [f"  not examined  {u.subject}: {u.reason}" for u in self.unexamined]
        return "\n".join(lines)


def iso(time: np.datetime64) -> str:
    """Return a UTC time as ISO 8601, to the second."""
    return f"{np.datetime_as_string(time, unit='s')}Z"
