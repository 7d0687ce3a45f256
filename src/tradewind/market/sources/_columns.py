"""Which column of a user's table is which: the playbook's mapping first, usual names second."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tradewind.errors import DataError, did_you_mean

#: Usual names of each field, lower case, without spaces and punctuation; the first one found wins.
USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "symbol": ("symbol", "ticker", "tic", "sid", "instrument", "code", "name"),
    "time": ("time", "timestamp", "datetime", "date", "tset", "tsevent", "ts", "tradedate", "day"),
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h"),
    "low": ("low", "lowprice", "l"),
    "close": ("close", "closeprice", "price", "last", "c"),
    "volume": ("volume", "vol", "v"),
    "adjusted_close": ("adjustedclose", "adjclose", "closeadj", "adjustedclosingprice"),
    "dividend": ("dividend", "dividends", "dividendamount", "divcash", "exdividend"),
    "split": ("split", "splits", "stocksplits", "splitcoefficient", "splitratio", "splitfactor"),
}
REQUIRED: Final = ("time", "open", "high", "low", "close", "volume")


def recognise(
    available: Sequence[str], mapping: Mapping[str, str], required: Sequence[str], where: str
) -> dict[str, str]:
    """Return field -> column of the table in ``where``.

    Raises ``InputError`` for a mapping of an unknown field, and ``DataError`` for mapped or required columns
    that the table does not have; optional fields without a column are left out.
    """
    for field, column in mapping.items():
        if field not in USUAL:
            raise did_you_mean("field in `columns`", field, USUAL)
        if column not in available:
            raise DataError(
                f"{where} has no column {column!r} (mapped to {field})", hint=f"it has {', '.join(available)}"
            )
    plain = {re.sub(r"[^a-z0-9^]", "", name.lower()): name for name in reversed(available)}
    found = {field: next((plain[name] for name in names if name in plain), None) for field, names in USUAL.items()}
    chosen = {field: column for field, column in {**found, **mapping}.items() if column is not None}
    missing = [field for field in required if field not in chosen]
    if missing:
        raise DataError(
            f"{where} has no column for {', '.join(missing)}; it has {', '.join(available) or 'no columns'}",
            hint=f'say which column is which: columns = {{ {missing[0]} = "…" }}',
        )
    return chosen
