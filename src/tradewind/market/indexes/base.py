"""What a source of an index's members is: one protocol, one registry, one contract test."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, Final, Protocol

from tradewind.errors import DataError
from tradewind.registry import Registry

_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9.\-/=^]{0,14}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The members of an index as one answer gave them.

    Attributes
    ----------
    symbols
        The members, sorted, each once.
    stated_on
        The date that the answer gives itself; None where it says none.
    provider
        Where the answer came from.
    """

    symbols: tuple[str, ...]
    stated_on: date | None
    provider: str


class IndexSource(Protocol):
    """A provider of an index's present members.

    Attributes
    ----------
    fewest, most
        How many members a complete list has; a list outside of this is refused.
    """

    name: ClassVar[str]
    fewest: ClassVar[int]
    most: ClassVar[int]

    def members(self) -> Listing:
        """Return the members of this moment.

        Raises ``RetryError`` when the provider is down or throttling after all retries, ``DataError`` for an
        answer that cannot be read.
        """
        ...


def listing(symbols: Iterable[object], *, stated_on: date | None, provider: str) -> Listing:
    """Return the listing of some symbols; raises ``DataError`` for what is none, and for repeats."""
    names = [str(s).strip() if isinstance(s, str) else s for s in symbols]
    wrong = [s for s in names if not isinstance(s, str) or not _SYMBOL.fullmatch(s)]
    if wrong:
        raise DataError(f"{provider} lists {wrong[0]!r}, which is no symbol", hint="the service may have changed")
    known = sorted({str(s) for s in names})
    if len(known) < len(names):
        raise DataError(f"{provider} lists {len(names) - len(known)} members twice", hint="try again later")
    return Listing(tuple(known), stated_on, provider)


INDEXES = Registry[IndexSource]("index", room="tradewind.market.indexes", group="tradewind.indexes")
register = INDEXES.register
