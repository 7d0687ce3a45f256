"""Everything that can go wrong, classed by what the caller should do about it.

::

    TradewindError
    ├── InputError      the user's input is wrong: correct it and call again      exit 2
    │   └── PlaybookError   a playbook or setting is wrong, with its place
    ├── DataError       the data (or an audit of it) says no                      exit 3
    │   └── LeakError       something knows more than it may
    ├── RetryError      a passing fault outside this process: try again later     exit 1
    ├── SafetyStop      stop trading now; a person must look                      exit 4
    └── BugError        an invariant of ours is broken: please report it          exit 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TradewindError(Exception):
    """A failure that says what happened, with the values, and what to do next.

    Parameters
    ----------
    what
        What happened, with the offending values.
    hint
        What the reader should do next; a command where there is one.
    """

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  → {self.hint}" if self.hint else self.what


class InputError(TradewindError):
    """The user's input is wrong: correct it and call again."""

    exit_code = 2


class PlaybookError(InputError):
    """A playbook or a setting is wrong."""


class DataError(TradewindError):
    """The data is missing, wrong or corrupt, or an audit of it says no."""

    exit_code = 3


class LeakError(DataError):
    """Something knows more than it may."""


class RetryError(TradewindError):
    """A passing fault outside this process (rate limit, outage, lock): try again later."""


class SafetyStop(TradewindError):  # noqa: N818 - not an error of anyone's: an order to stop
    """Stop trading now; a person must look before anything goes on."""

    exit_code = 4


class BugError(TradewindError):
    """An invariant of Tradewind's own is broken."""


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the nearest known ones."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {', '.join(choices)}"
    return InputError(f"unknown {kind} {name!r}", hint=hint)
