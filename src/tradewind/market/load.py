"""From the lake's long rows to a dense panel: everything a run reads of the market passes here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tradewind.errors import DataError
from tradewind.market.instruments import Instruments
from tradewind.market.panel import BoolArray, FloatArray, Panel, TimeArray
from tradewind.market.quality import is_excluded
from tradewind.market.store.lake import Lake, Pin

_PRICES: Final = ("open", "high", "low", "close", "volume")
_COLUMNS: Final = (
    "instrument",
    "time",
    *_PRICES,
    "known_at",
    "vintage",
    "adjustment",
    "marks",
)
IntArray = NDArray[np.int64]

#: Given bar closes ``(T,)`` and symbols ``(N,)``, who belonged to the universe: ``(T, N)``.
Membership = Callable[[TimeArray, tuple[str, ...]], BoolArray]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was read, what was left out, and how far it can be trusted.

    Attributes
    ----------
    dropped
        Symbols asked for but not in the panel, with the reason.
    missing_context
        Context series asked for that have no data at all.
    bars, excluded
        Usable bars, and bars that are there but marked unfit for use.
    share_assumed, share_reconstructed
        Share of the bars whose ``known_at`` is assumed, and whose raw prices were reconstructed.
    events
        Renames and delistings in the period: symbol, time, kind, value, detail.
    """

    dropped: Mapping[str, str]
    missing_context: tuple[str, ...]
    bars: int
    excluded: int
    share_assumed: float
    share_reconstructed: float
    events: pl.DataFrame = field(repr=False)


def load_panel(
    lake: Lake,
    *,
    symbols: Sequence[str],
    timeframe: str,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    pin: Pin | None = None,
    source: str | None = None,
    context: Mapping[str, str] | None = None,
    context_source: str | None = None,
    context_age: timedelta = timedelta(days=5),
    membership: Membership | None = None,
    sectors: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    timezone: str = "America/New_York",
) -> tuple[Panel, LoadReport]:
    """Return the panel of these symbols on the union of their bar closes.

    Parameters
    ----------
    symbols
        Symbols as of ``end``; each becomes one column, in this order. A column follows its instrument through
        renames.
    start, end
        Bars with ``start <= time <= end`` (closes, UTC).
    as_of, pin, source
        As in :meth:`Lake.read_bars`.
    context
        Series known at each bar, by name: ``{"index": "^GSPC", "vix": "^VIX"}``. The value in row ``t`` is
        the last close that was known then, as it was known then; NaN where none is younger than ``context_age``.
    context_source
        Source of the context where it is not ``source``.
    membership
        Who belonged to the universe at each bar; everybody always when None.
    sectors
        GICS sector by symbol; ``"unknown"`` for the rest.
    flags
        Provenance to repeat beside every result; shares of assumed and reconstructed bars are added.
    timezone
        Where the exchange is: corporate actions take effect on local dates.

    Raises
    ------
    DataError
        When no symbol has a usable bar in the period.
    """
    columns, dropped = _columns(lake.instruments(pin=pin), symbols, end)
    rows = _Rows(
        lake.read_bars(
            None,
            timeframe,
            start,
            end,
            instruments=list(columns),
            source=source,
            as_of=as_of,
            pin=pin,
            columns=_COLUMNS,
            ordered=False,
        ),
        list(columns),
    )
    dropped |= {columns[i]: why for i, why in rows.unusable().items()}
    kept = {i: s for i, s in columns.items() if s not in dropped}
    if not kept:
        raise DataError(
            f"none of {len(symbols)} symbols ({', '.join(symbols[:5])}{' …' * (len(symbols) > 5)}) has a usable "
            f"{timeframe} bar{_period(start, end)}",
            hint="run `tradewind sync` for this playbook first, correct the symbols, or widen its period "
            "(a later --as-of)",
        )
    rows = rows.only(list(kept))
    actions = lake.read_actions(instruments=list(kept), end=end, source=source, as_of=as_of, pin=pin)
    fields, mask = rows.dense()
    names, times = tuple(kept.values()), _instants(rows.times)
    series, absent = _context(
        lake, context or {}, timeframe, context_source or source, as_of, pin, times, rows, context_age
    )
    report = _report(rows, dropped, absent, actions)
    panel = Panel(
        times=times,
        symbols=names,
        instruments=tuple(kept),
        fields={**fields, **_aligned_actions(actions, rows.times, list(kept), timezone)},
        mask=mask,
        member=np.ones(mask.shape, dtype=np.bool_) if membership is None else membership(times, names),
        context=series,
        sectors=tuple((sectors or {}).get(s, "unknown") for s in names),
        timeframe=timeframe,
        flags=(*flags, *_flags(report)),
    )
    object.__setattr__(panel, "version", content_hash(panel))
    return panel, report


def _period(start: datetime | None, end: datetime | None) -> str:
    return "".join(f" {word} {moment:%Y-%m-%d}" for word, moment in (("from", start), ("to", end)) if moment)


class _Rows:
    """Long bars of some instruments, with the place of each row in a ``(time, instrument)`` array."""

    def __init__(self, frame: pl.DataFrame, instruments: list[str]) -> None:
        self.frame = frame
        self.instruments = instruments
        self.usable = frame.select(_usable()).to_series()
        self.column = _column_index(frame["instrument"], instruments)

    @cached_property
    def times(self) -> pl.Series:
        """All bar closes, once each, in order."""
        return self.frame["time"].unique().sort()

    def unusable(self) -> dict[str, str]:
        """Return the instruments without a usable bar, and why."""
        count = len(self.instruments)
        stored = np.bincount(self.column, minlength=count)
        usable = np.bincount(self.column[self.usable.to_numpy()], minlength=count)
        return {self.instruments[i]: _why_dropped(int(stored[i])) for i in np.flatnonzero(usable == 0)}

    def only(self, instruments: list[str]) -> _Rows:
        """Return the rows of these instruments."""
        if instruments == self.instruments:
            return self
        return _Rows(self.frame.filter(pl.col("instrument").is_in(instruments)), instruments)

    def dense(self) -> tuple[dict[str, FloatArray], BoolArray]:
        """Scatter the usable rows into ``(T, N)`` arrays."""
        row = np.searchsorted(_instants(self.times), _instants(self.frame["time"]))
        flat = row * len(self.instruments) + self.column
        everything = bool(self.usable.all())
        chosen = flat if everything else flat[self.usable.to_numpy()]
        shape = (len(self.times), len(self.instruments))
        mask = np.zeros(shape, dtype=np.bool_)
        mask.ravel()[chosen] = True
        prices = self.frame.select(_PRICES) if everything else self.frame.select(_PRICES).filter(self.usable)
        return {name: _scattered(prices[name], chosen, shape) for name in _PRICES}, mask

    def lag(self) -> timedelta:
        """Return how long after its close a bar was usually known."""
        first = self.frame.group_by("time").agg(pl.col("known_at").min())
        lag = first.select((pl.col("known_at") - pl.col("time")).median()).item()
        return lag if isinstance(lag, timedelta) else timedelta(0)

    def share(self, column: str, value: str) -> float:
        """Return the share of usable bars that say ``value``."""
        return int(((self.frame[column] == value) & self.usable).sum()) / int(self.usable.sum())


def content_hash(panel: Panel) -> str:
    """Return a hash of every number and name in the panel, flags aside."""
    digest = hashlib.blake2b(digest_size=16)
    for text in (panel.timeframe, *panel.symbols, *panel.instruments, *panel.sectors, *sorted(panel.context)):
        digest.update(text.encode() + b"\0")
    arrays: list[NDArray[Any]] = [panel.times.view(np.int64), panel.mask, panel.member]
    arrays += [panel.fields[name] for name in sorted(panel.fields)]
    arrays += [panel.context[name] for name in sorted(panel.context)]
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _columns(known: Instruments, symbols: Sequence[str], end: datetime | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the symbol of each instrument wanted, and why other symbols are left out."""
    moment = end or datetime.max.replace(tzinfo=UTC)
    columns: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for symbol in dict.fromkeys(symbols):
        instrument = known.id_of(symbol, moment)
        if instrument is None:
            dropped[symbol] = "never stored"
        elif instrument in columns:
            dropped[symbol] = f"the same instrument as {columns[instrument]}"
        else:
            columns[instrument] = symbol
    return columns, dropped


def _usable() -> pl.Expr:
    priced = pl.col("close").is_finite().fill_null(False) & (pl.col("close") > 0).fill_null(False)
    return (priced & ~is_excluded()).alias("usable")


def _why_dropped(stored: int) -> str:
    return f"all {stored} bars in the period are marked unfit" if stored else "no bars in the period"


def _column_index(instruments: pl.Series, order: list[str]) -> IntArray:
    return instruments.cast(pl.Enum(order)).to_physical().cast(pl.Int64).to_numpy()


def _scattered(values: pl.Series, flat: IntArray, shape: tuple[int, int]) -> FloatArray:
    dense = np.full(shape, np.nan)
    dense.ravel()[flat] = values.fill_null(float("nan")).to_numpy()
    return dense


def _instants(times: pl.Series) -> TimeArray:
    return times.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")


def _aligned_actions(
    actions: pl.DataFrame, times: pl.Series, instruments: list[str], timezone: str
) -> dict[str, FloatArray]:
    """Put splits and dividends on the first bar of their local date, or the next bar there is."""
    shape = (len(times), len(instruments))
    split, dividend = np.ones(shape), np.zeros(shape)
    events = _by_ex_date(actions, timezone)
    dates = times.dt.convert_time_zone(timezone).dt.date().to_numpy().astype("datetime64[D]")
    ex_dates = events["ex_date"].to_numpy().astype("datetime64[D]")
    rows = np.searchsorted(dates, ex_dates, side="left")
    effective = (ex_dates >= dates[0]) & (rows < len(dates))
    columns = _column_index(events["instrument"], instruments)
    kinds, values = events["kind"].to_list(), events["value"].to_list()
    for i in np.flatnonzero(effective):
        place = rows[i], columns[i]
        if kinds[i] == "split":
            split[place] *= values[i]
            dividend[place] /= values[i]
        else:
            dividend[place] += values[i]
    return {"split": split, "dividend": dividend}


def _by_ex_date(actions: pl.DataFrame, timezone: str) -> pl.DataFrame:
    """Return one row per event: one told for several timeframes or by several sources counts once."""
    local = pl.col("time").dt.convert_time_zone(timezone).dt.date().alias("ex_date")
    events = actions.filter(pl.col("kind").is_in(["split", "dividend"])).with_columns(local)
    once = events.sort("known_at", "recorded_at").unique(["instrument", "kind", "ex_date"], keep="last")
    return once.sort("ex_date", "kind", "instrument", descending=[False, True, False])


def _context(
    lake: Lake,
    wanted: Mapping[str, str],
    timeframe: str,
    source: str | None,
    as_of: datetime | None,
    pin: Pin | None,
    times: TimeArray,
    rows: _Rows,
    age: timedelta,
) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    found: dict[str, FloatArray] = {}
    lag = rows.lag() if wanted else timedelta(0)
    for name, symbol in wanted.items():
        versions = lake.versions_of_bars([symbol], timeframe, source=source, pin=pin)
        if as_of is not None:
            versions = versions.filter(pl.col("known_at") <= as_of)
        found[name] = as_known(versions.filter(_usable()), times, lag, age)
    return found, tuple(n for n, series in found.items() if not np.isfinite(series).any())


def as_known(versions: pl.DataFrame, times: TimeArray, lag: timedelta, age: timedelta) -> FloatArray:
    """Return the last close known at each instant, in the version known then.

    Parameters
    ----------
    versions
        Rows with ``time``, ``known_at``, ``close``: all versions of one series, in any order.
    times
        Instants asked about, ``(T,)``, increasing.
    lag
        Usual delay between a close and the moment it is acted on: a bar counts as known at ``t`` when
        ``time <= t`` and ``known_at <= t + lag``.
    age
        A close older than this is not carried on: the answer is NaN.
    """
    values = np.full(len(times), np.nan)
    if versions.is_empty():
        return values
    visible = pl.max_horizontal(pl.col("known_at") - lag, pl.col("time")).alias("visible")
    events = versions.with_columns(visible).sort("visible", "time", "known_at")
    moments, closes = _instants(events["time"]), events["close"].to_numpy()
    newest = _running_latest(moments)
    last = np.searchsorted(_instants(events["visible"]), times, side="right") - 1
    chosen = newest[np.maximum(last, 0)]
    fresh = (last >= 0) & (times - moments[chosen] <= np.timedelta64(age))
    values[fresh] = closes[chosen][fresh]
    return values


def _running_latest(moments: TimeArray) -> IntArray:
    """Return, for each event, the event up to it that tells of the latest bar (its last version)."""
    latest = np.maximum.accumulate(moments.view(np.int64))
    holds = np.where(moments.view(np.int64) == latest, np.arange(len(moments)), 0)
    return np.maximum.accumulate(holds)


def _report(rows: _Rows, dropped: dict[str, str], absent: tuple[str, ...], actions: pl.DataFrame) -> LoadReport:
    inside = pl.col("time").is_between(pl.lit(rows.times[0]), pl.lit(rows.times[-1]))
    events = actions.filter(inside, pl.col("kind").is_in(["rename", "delist"]))
    bars = int(rows.usable.sum())
    return LoadReport(
        dropped=dropped,
        missing_context=absent,
        bars=bars,
        excluded=rows.frame.height - bars,
        share_assumed=rows.share("vintage", "assumed"),
        share_reconstructed=rows.share("adjustment", "reconstructed"),
        events=events.select("symbol", "instrument", "time", "kind", "value", "detail"),
    )


def _flags(report: LoadReport) -> list[str]:
    flags = []
    if report.share_assumed > 0:
        flags.append(f"assumed_vintage: known times assumed for {report.share_assumed:.0%} of the bars")
    if report.share_reconstructed > 0:
        flags.append(f"reconstructed: raw prices reconstructed for {report.share_reconstructed:.0%} of the bars")
    return flags
