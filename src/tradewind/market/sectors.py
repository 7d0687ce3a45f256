"""The eleven GICS sectors, and what is typical of each before any data is seen (row A2)."""

from __future__ import annotations

from typing import Final

#: The GICS sectors by their official names; data that says anything else is ``unknown``.
SECTORS: Final = (
    "Communication Services",
    "Consumer Discretionary",
    "Consumer Staples",
    "Energy",
    "Financials",
    "Health Care",
    "Industrials",
    "Information Technology",
    "Materials",
    "Real Estate",
    "Utilities",
)
UNKNOWN: Final = "unknown"
