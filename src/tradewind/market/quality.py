"""Is the data fit for use? Checks that mark and report; nothing is ever repaired in silence."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

#: A bar whose open or close leaves its own range by more than this share of the price is excluded.
RANGE_TOLERANCE: Final = 0.005
_ROUNDING: Final = 1e-6

EXCLUDED: Final = "excluded:"


def join_marks(*marks: pl.Expr) -> pl.Expr:
    """Return the comma-separated union of marks, in the order given; nulls and blanks are left out."""
    blank_free = [pl.when(m == "").then(None).otherwise(m) for m in marks]
    return pl.concat_str(blank_free, separator=",", ignore_nulls=True).fill_null("")


def is_excluded(column: str = "marks") -> pl.Expr:
    """Return the expression that is True for rows that must not be used."""
    return pl.col(column).str.contains(EXCLUDED, literal=True)


def mark_rows(bars: pl.DataFrame) -> pl.DataFrame:
    """Mark what each bar says against itself, looking at no other bar, so that marks never change later.

    ``excluded:missing-price`` (no finite price), ``excluded:non-positive``, ``excluded:range`` (open or close
    outside of high and low by more than 0.5 %, or high below low), ``excluded:negative-volume``; and, still
    usable, ``range`` (outside by less, or an index, which nobody trades), ``zero-volume`` and ``close-only`` (an
    index, ``^NAME``, of which only the close is known). Prices of excluded bars are kept as they came, for the report.
    """
    prices = ("open", "high", "low", "close")
    finite = {name: pl.col(name).is_finite().fill_null(False) for name in prices}
    only_close = finite["close"] & pl.col("symbol").str.starts_with("^")
    only_close &= pl.all_horizontal(pl.col(name).is_null() for name in prices[:3])
    missing = ~pl.all_horizontal(finite.values()) & ~only_close
    negative = pl.any_horizontal((pl.col(name) <= 0).fill_null(False) for name in prices)
    beyond = _outside_range().fill_null(0.0).fill_nan(0.0)
    tolerance = pl.when(pl.col("symbol").str.starts_with("^")).then(np.inf).otherwise(RANGE_TOLERANCE)
    bad_volume = (pl.col("volume") < 0) | (pl.col("volume").is_finite() == pl.lit(False))
    return bars.with_columns(
        marks=join_marks(
            pl.col("marks"),
            _when(missing, "excluded:missing-price"),
            _when(negative, "excluded:non-positive"),
            _when(~missing & ~negative & (beyond > tolerance), "excluded:range"),
            _when(bad_volume, "excluded:negative-volume"),
            _when((beyond > _ROUNDING) & (beyond <= tolerance), "range"),
            _when(pl.col("volume") == 0, "zero-volume"),
            _when(only_close, "close-only"),
        )
    )


def _outside_range() -> pl.Expr:
    """Share of the price by which a bar contradicts its own high and low."""
    top = pl.max_horizontal("open", "close", "low") / pl.col("high") - 1
    bottom = pl.col("low") / pl.min_horizontal("open", "close", "high") - 1
    return pl.max_horizontal(top, bottom)


def _when(condition: pl.Expr, mark: str) -> pl.Expr:
    """Return the mark where the condition holds and it is not there yet."""
    new = ~pl.col("marks").str.split(",").list.contains(mark)
    return pl.when(condition & new).then(pl.lit(mark)).otherwise(None)
