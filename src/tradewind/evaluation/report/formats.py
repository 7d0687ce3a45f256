"""Numbers as people read them: units, thousands, signs; what is missing stays a dash with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tradewind.evaluation.report.markup import Markup, node

Format = Callable[[float], str]

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"


def is_missing(value: Any) -> bool:
    """Return whether there is no number here: None or not finite."""
    return value is None or (isinstance(value, int | float) and not math.isfinite(value))


def decimal(digits: int, *, signed: bool = False) -> Format:
    """Return the format of a plain number with so many digits after the point."""
    return lambda value: _minus(f"{value + 0.0:{'+' if signed else ''},.{digits}f}")


def percent(digits: int = 1, *, signed: bool = False) -> Format:
    """Return the format of a fraction, shown in percent."""
    number = decimal(digits, signed=signed)
    return lambda value: f"{number(value * 100)}{THIN}%"


def probability(value: float) -> str:
    """Return a probability in percent, never rounded up to certainty."""
    if 0.999 < value < 1:
        return f">99.9{THIN}%"
    return f"<0.1{THIN}%" if 0 < value < 0.001 else percent(1)(value)


def quantity(value: float) -> str:
    """Return a number of shares: whole ones as such, fractions with two digits."""
    if float(value).is_integer():
        return decimal(0)(value)
    return decimal(2)(value) if abs(value) >= 1 else f"{value:.4g}"


def price(value: float) -> str:
    """Return a price: two digits, four below one."""
    return decimal(2 if abs(value) >= 1 else 4)(value)


def money(value: float) -> str:
    """Return an amount in the account's currency without cents."""
    return decimal(0)(value)


def short_money(value: float) -> str:
    """Return an amount for an axis: thousands as k, millions as M."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return _minus(f"{value / unit:.4g}") + letter
    return decimal(0)(value)


def count(value: float) -> str:
    """Return a whole number."""
    return f"{int(value):,}"


def p_value(value: float) -> str:
    """Return a p-value; below a thousandth only that."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def shown(value: Any, how: Format, reason: str = "not defined for this sample", title: str | None = None) -> Markup:
    """Return a number in its format, or a dash that says on hover why there is none."""
    if is_missing(value):
        return missing(reason)
    return node("span", how(float(value)), title=title)


def missing(reason: str) -> Markup:
    """Return the dash of a missing value."""
    return node("span", "–", class_="missing", title=reason)


def change(value: Any, how: Format, reason: str = "not defined for this sample") -> Markup:
    """Return a signed number with its direction as a triangle and as a colour."""
    if is_missing(value):
        return missing(reason)
    said = how(float(value))
    if not any(digit in said for digit in "123456789"):
        return node("span", said)
    return node("span", f"{arrow(value)}{THIN}{said}", class_="up" if value > 0 else "down")


def arrow(value: float) -> str:
    """Return the triangle of a direction."""
    return "▲" if value > 0 else "▼" if value < 0 else "■"


def bars(number: int | str) -> str:
    """Return a number of bars in words."""
    return f"{number} bar" if str(number) == "1" else f"{number} bars"


def words(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ")


def _minus(text: str) -> str:
    """Use the typographic minus, and none before a zero."""
    bare = text.lstrip("-+")
    if not bare.strip("0.,"):
        return bare
    return MINUS + bare if text.startswith("-") else text
