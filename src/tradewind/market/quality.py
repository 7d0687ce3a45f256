"""Is the data fit for use? Checks that mark and report; nothing is ever repaired in silence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.market.calendar import calendar

if TYPE_CHECKING:
    from tradewind.market.panel import Panel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

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


def mark(bars: pl.DataFrame, actions: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the bars with the marks of :func:`mark_rows` and those that need neighbours; none of them excludes.

    ``outlier``: the total return is more than 3 standard deviations of the 60 usable bars before it away from
    zero. ``suspect``: more than 10, and the next bar takes back four fifths of it, as a bad tick does (this one
    looks one bar ahead, so it is for reports, not for features). ``stale``: fifth or later bar in a row with the
    same open, high, low and close. ``split-suspected``: the raw price opened at a usual split ratio of the close
    before, to 6 %, stayed within 5 % of there without a rush of trading, and no split is recorded.

    Parameters
    ----------
    bars
        At least symbol, time, prices, volume and marks, of one timeframe.
    actions
        Splits and dividends of these symbols (``symbol, time, kind, value``), so that ex-dates are no outliers.
    """
    ordered = mark_rows(bars).sort("symbol", "time")
    usable = ordered.filter(~is_excluded()).select("symbol", "time", *_PRICES, "volume")
    found = usable.with_columns(_event_factor(usable, actions)).with_columns(
        raw=(pl.col("close") / pl.col("close").shift(1).over("symbol")).log(),
        gap=(pl.col("open") / pl.col("close").shift(1).over("symbol")).log(),
        dollars=pl.col("close") * pl.col("volume"),
        flat=_repeats().over("symbol"),
    )
    found = found.with_columns(move=pl.col("raw") + pl.col("factor").log())
    spread = pl.col("move").rolling_std(_WINDOW, min_samples=20).shift(1).over("symbol")
    z = pl.when(spread > 0).then(pl.col("move") / spread)
    back = -pl.col("move").shift(-1).over("symbol") / pl.col("move")
    calm = (pl.col("close") / pl.col("open")).log().abs() < _CALM_DAY
    calm &= pl.col("dollars") < 4 * pl.col("dollars").rolling_median(20, min_samples=5).shift(1).over("symbol")
    split = (pl.col("gap").abs() > _SPLIT_SIZE) & (pl.col("factor") == 1) & _near_split(pl.col("gap")) & calm
    soft = found.select(
        "symbol",
        "time",
        soft=join_marks(
            _always(z.abs() > _OUTLIER, "outlier"),
            _always((z.abs() > _SUSPECT) & back.is_between(0.8, 1.25), "suspect"),
            _always(pl.col("flat") >= _STALE - 1, "stale"),
            _always(split, "split-suspected"),
        ),
    )
    joined = ordered.join(soft, on=["symbol", "time"], how="left", maintain_order="left")
    return joined.with_columns(marks=join_marks(pl.col("marks"), pl.col("soft"))).drop("soft")


_PRICES: Final = ("open", "high", "low", "close")
_WINDOW, _OUTLIER, _SUSPECT, _STALE, _SPLIT_SIZE, _CALM_DAY = 60, 3.0, 10.0, 5, 0.35, 0.05


def _always(condition: pl.Expr, mark: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(mark)).otherwise(None)


def _event_factor(bars: pl.DataFrame, actions: pl.DataFrame | None) -> pl.Series:
    """Return what each bar's total return must be multiplied by for the day's split and dividend."""
    if actions is None or actions.is_empty():
        return pl.Series("factor", np.ones(len(bars)))
    wide = actions.group_by("symbol", "time").agg(
        split=pl.col("value").filter(pl.col("kind") == "split").product(),
        dividend=pl.col("value").filter(pl.col("kind") == "dividend").sum(),
    )
    split, dividend = pl.col("split").fill_null(1.0), pl.col("dividend").fill_null(0.0)
    before = pl.col("close").shift(1).over("symbol") / split
    factor = split / (1 - pl.when(dividend < before).then(dividend / before).otherwise(0.0))
    joined = bars.join(wide, on=["symbol", "time"], how="left", maintain_order="left")
    return joined.select(factor.fill_null(1.0).alias("factor")).to_series()


def _repeats() -> pl.Expr:
    """Count how many bars in a row have had the prices of the bar before."""
    same = pl.all_horizontal((pl.col(name) == pl.col(name).shift(1)).fill_null(False) for name in _PRICES)
    seen = same.cast(pl.Int64).cum_sum()
    return seen - pl.when(~same).then(seen).forward_fill().fill_null(0)


def _near_split(move: pl.Expr) -> pl.Expr:
    ratios = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 50.0)
    return pl.any_horizontal((move.abs() - float(np.log(ratio))).abs() < 0.06 for ratio in ratios)


@dataclass(frozen=True, eq=False)
class QualityReport:
    """What was found in a table of bars.

    Attributes
    ----------
    findings
        One row per finding: symbol, time (null where it is about the whole symbol), check, detail.
    bars, symbols
        How much was looked at.
    """

    findings: pl.DataFrame
    bars: int
    symbols: int

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by check."""
        return dict(sorted(self.findings.group_by("check").len().iter_rows()))

    @property
    def excluded(self) -> int:
        """Number of findings that exclude a bar."""
        return sum(count for check, count in self.counts.items() if check.startswith(EXCLUDED))

    def to_dict(self, examples: int = 3) -> dict[str, Any]:
        """Return plain data for JSON: counts, and the first examples of each check."""
        first = self.findings.group_by("check", maintain_order=True).head(examples)
        rows = first.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
        return {
            "bars": self.bars,
            "symbols": self.symbols,
            "excluded": self.excluded,
            "counts": self.counts,
            "examples": rows,
        }


def report(
    bars: pl.DataFrame,
    actions: pl.DataFrame | None = None,
    *,
    timeframe: str = "1d",
    exchange: str = "XNYS",
    volume_reference: pl.DataFrame | None = None,
) -> QualityReport:
    """Check a table of bars of one timeframe; nothing is changed.

    Besides all marks: ``duplicate`` and ``unsorted`` rows, ``gap`` (closes of the exchange's calendar between a
    symbol's first and last bar that it lacks), ``ends`` (stops more than five sessions before the others),
    ``constant`` (one price throughout), ``short`` (fewer than 60 bars) and ``partial-feed``.

    Parameters
    ----------
    bars
        ``symbol, time, open, high, low, close, volume`` and, if it has them, ``marks``.
    actions
        As in :func:`mark`.
    exchange
        Whose sessions the bars belong to.
    volume_reference
        Bars of the same symbols from a feed that is whole, of any timeframe: a symbol whose volume a session is
        less than half of that one's is a ``partial-feed``.

    Raises
    ------
    DataError
        When columns are missing.
    """
    missing = [c for c in ("symbol", "time", *_PRICES, "volume") if c not in bars.columns]
    if missing:
        raise DataError(f"the bars lack {', '.join(missing)}; they have {', '.join(bars.columns)}")
    bars = bars if "marks" in bars.columns else bars.with_columns(marks=pl.lit(""))
    once = bars.unique(["symbol", "time"], keep="first", maintain_order=True)
    parts = [
        _marked(mark(once, actions)),
        _duplicates(bars),
        _unsorted(bars),
        _gaps(once, timeframe, exchange),
        _whole_symbols(once),
    ]
    if volume_reference is not None:
        parts.append(_partial_feed(once, volume_reference))
    findings = pl.concat([p.select(pl.col(c).cast(t) for c, t in _FINDING.items()) for p in parts])
    return QualityReport(findings, len(bars), bars["symbol"].n_unique())


_INSTANT: Final = pl.Datetime("us", "UTC")
_FINDING: Final = {
    "symbol": pl.String(),
    "time": _INSTANT,
    "check": pl.String(),
    "detail": pl.String(),
}


def _marked(bars: pl.DataFrame) -> pl.DataFrame:
    prices = pl.format("open {} high {} low {} close {} volume {}", *_PRICES, "volume")
    return (
        bars.filter(pl.col("marks") != "")
        .with_columns(check=pl.col("marks").str.split(","), detail=prices)
        .explode("check")
    )


def _finding(rows: pl.DataFrame, check: str, detail: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(check=pl.lit(check), detail=detail)


def _duplicates(bars: pl.DataFrame) -> pl.DataFrame:
    counted = bars.group_by("symbol", "time", maintain_order=True).len().filter(pl.col("len") > 1)
    return _finding(counted, "duplicate", pl.format("{} rows", "len"))


def _unsorted(bars: pl.DataFrame) -> pl.DataFrame:
    back = bars.with_columns(step=pl.col("time").diff().over("symbol")).filter(pl.col("step") < timedelta(0))
    return _finding(back.unique("symbol", keep="first", maintain_order=True), "unsorted", pl.lit("out of time order"))


def _gaps(bars: pl.DataFrame, timeframe: str, exchange: str) -> pl.DataFrame:
    """Return the bars after which closes of the calendar are missing, by runs."""
    if bars.is_empty() or timeframe not in ("1d", "1w"):
        return _finding(bars.clear(), "gap", pl.lit(""))
    low, high = bars["time"].min(), bars["time"].max()
    assert isinstance(low, datetime) and isinstance(high, datetime)
    closes = calendar(exchange).bar_closes(timeframe, low, high)
    stamps = bars["time"].dt.replace_time_zone(None).to_numpy()
    at = np.searchsorted(closes, stamps.astype("datetime64[us]"))
    ordered = bars.with_columns(at=pl.Series(at, dtype=pl.Int64)).sort("symbol", "time")
    missed = ordered.with_columns(missed=pl.col("at").diff().over("symbol") - 1).filter(pl.col("missed") > 0)
    return _finding(missed, "gap", pl.format("{} bars are missing before it", "missed"))


def _whole_symbols(bars: pl.DataFrame) -> pl.DataFrame:
    last = bars["time"].max()
    each = bars.group_by("symbol", maintain_order=True).agg(
        pl.len(), end=pl.col("time").max(), prices=pl.col("close").n_unique(), time=pl.lit(None, _INSTANT)
    )
    day = pl.format("last bar {}", pl.col("end").dt.date())
    return pl.concat(
        [
            _finding(each.filter(pl.col("end") < pl.lit(last, _INSTANT) - pl.duration(days=7)), "ends", day),
            _finding(each.filter((pl.col("prices") == 1) & (pl.col("len") > 1)), "constant", pl.lit("one price only")),
            _finding(each.filter(pl.col("len") < _WINDOW), "short", pl.format("{} bars", "len")),
        ]
    )


def _partial_feed(bars: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Compare volume a day with a reference feed's, over the days that both have."""
    day = pl.col("time").dt.convert_time_zone("America/New_York").dt.date().alias("day")
    mine, other = (
        frame.group_by("symbol", day).agg(pl.col("volume").sum()).filter(pl.col("volume") > 0)
        for frame in (bars, reference)
    )
    ratio = (
        mine.join(other, on=["symbol", "day"])
        .group_by("symbol")
        .agg(ratio=(pl.col("volume") / pl.col("volume_right")).median(), days=pl.len(), time=pl.lit(None, _INSTANT))
        .filter(pl.col("ratio") < 0.5)
        .sort("symbol")
    )
    detail = pl.format("volume is 1/{} of the reference feed's over {} days", (1 / pl.col("ratio")).round(1), "days")
    return _finding(ratio, "partial-feed", detail)


def fill_forward(
    close: FloatArray, mask: BoolArray, max_bars: int, split: FloatArray | None = None
) -> tuple[FloatArray, BoolArray]:
    """Return closes with gaps of at most ``max_bars`` bars carried forward, and where that was done.

    Causal: the bars of a longer gap are filled up to the limit and then stay missing. A split inside of the gap
    divides what is carried.

    Parameters
    ----------
    close, mask
        ``(T, N)`` raw closes, read where ``mask`` is True.
    split
        ``(T, N)`` shares after one share before; none when omitted.
    """
    values, filled = np.where(mask, close, np.nan), np.zeros(mask.shape, dtype=bool)
    age = np.full(mask.shape[1], max_bars)
    for t in range(1, len(mask)):
        age = np.where(mask[t - 1], 0, age)
        filled[t] = ~mask[t] & (age < max_bars) & np.isfinite(values[t - 1])
        carried = values[t - 1] if split is None else values[t - 1] / split[t]
        values[t] = np.where(filled[t], carried, values[t])
        age = age + 1
    return values, filled


def fill_panel(panel: Panel, max_bars: int) -> tuple[Panel, BoolArray]:
    """Return the panel with short gaps filled, a flag that says so, and where: ``(T, N)``.

    A filled bar has the last close as all four prices and no volume. ``max_bars`` 0 changes nothing.
    """
    values, filled = fill_forward(panel.close, panel.mask, max_bars, panel.split)
    if not filled.any():
        return panel, filled
    fields = {name: np.where(filled, values, panel.fields[name]) for name in _PRICES}
    fields["volume"] = np.where(filled, 0.0, panel.volume)
    flag = f"filled_forward: {filled.sum()} bars filled forward (at most {max_bars} in a row)"
    return replace(
        panel, fields={**panel.fields, **fields}, mask=panel.mask | filled, flags=(*panel.flags, flag)
    ), filled
