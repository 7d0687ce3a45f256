"""A user's table, made ready to be examined: times read, rows ordered, columns turned into numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: A text column with at most this many values is examined value by value.
MOST_CATEGORIES = 12
#: A column with fewer known values than this is not examined.
FEWEST_VALUES = 60
#: More rows than this are not needed for any verdict: symbols are thinned evenly.
MOST_ROWS = 120_000
_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".gz": "read_csv", ".arrow": "read_ipc"}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A column that was not examined, and why."""

    column: str
    reason: str


@dataclass(frozen=True, eq=False)
class UserTable:
    """A table in the order of symbol, then time.

    Attributes
    ----------
    times
        ``(n,)`` ``datetime64[us]`` of each row, rising within each symbol.
    group
        ``(n,)`` int64 number of each row's symbol; 0 everywhere where the table has one symbol.
    columns
        Column name -> ``(n, c)`` float64 with NaN for missing: one number a row, or for text one indicator a
        value.
    skipped, notices
        What was left out and what was found odd on the way.
    """

    times: NDArray[np.datetime64]
    group: IntArray
    columns: dict[str, FloatArray]
    skipped: tuple[Skipped, ...]
    notices: tuple[str, ...]

    @property
    def symbols(self) -> int:
        """The number of symbols."""
        return int(self.group[-1]) + 1

    def rows(self, keep: NDArray[np.bool_]) -> UserTable:
        """Return the rows that are kept, symbols renumbered."""
        group = np.unique(self.group[keep], return_inverse=True)[1].astype(np.int64)
        columns = {name: values[keep] for name, values in self.columns.items()}
        return UserTable(self.times[keep], group, columns, self.skipped, self.notices)

    def series(self, name: str) -> FloatArray:
        """Return a column that is one number a row, ``(n,)``; refuse others with the reason."""
        if name not in self.columns:
            reason = next((s.reason for s in self.skipped if s.column == name), None)
            if reason is None:
                raise did_you_mean("column", name, self.columns)
            raise DataError(f"column {name!r} cannot be examined: {reason}", hint="name a numeric column")
        if self.columns[name].shape[1] != 1:
            raise InputError(f"column {name!r} is text of several values", hint="give it as numbers")
        return self.columns[name][:, 0]


def load(source: str | Path | pl.DataFrame, *, time: str, symbol: str | None = None) -> UserTable:
    """Read a table from a Parquet, CSV or Arrow file or a Polars frame.

    Parameters
    ----------
    source
        The file, or the frame itself.
    time
        Column of the moment each row was known: ISO text, ``YYYYMMDD``, a date, a datetime or a Unix time.
    symbol
        Column that tells instruments apart where a time has several rows.

    Raises
    ------
    InputError
        No such file or column, or times that cannot be read.
    DataError
        A corrupt file, no rows, or several rows of one symbol at one time.
    """
    frame = _read(source)
    for column in (time, symbol):
        if column is not None and column not in frame.columns:
            raise did_you_mean("column", column, frame.columns)
    times = _times(frame[time], time)
    group = _groups(frame, symbol)
    order = np.lexsort((times, group))
    notices = _order_notices(times, group, order, time)
    times, group = times[order], group[order]
    _refuse_repeats(times, group, frame, time, symbol)
    columns, skipped = _columns(frame, order, {time, symbol} - {None})
    return _thinned(UserTable(times, group, columns, tuple(skipped), tuple(notices)))


def _read(source: str | Path | pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    if isinstance(source, pl.DataFrame):
        frame = source
    else:
        path = Path(source)
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise InputError(f"cannot read {path}: unknown kind {path.suffix!r}", hint="Parquet, CSV or Arrow")
        if not path.is_file():
            raise InputError(f"no such file: {path}", hint="give the path of a CSV or Parquet table")
        options: dict[str, Any] = {"infer_schema_length": None} if reader == "read_csv" else {}
        try:
            frame = getattr(pl, reader)(path, **options)
        except (pl.exceptions.PolarsError, OSError) as fault:
            raise DataError(f"cannot read {path}: {fault}", hint="is the file whole?") from fault
    if frame.height == 0:
        raise DataError("the table has no rows")
    return frame


def _times(column: pl.Series, name: str) -> NDArray[np.datetime64]:
    import polars as pl

    try:
        instants = _instants(column)
    except pl.exceptions.PolarsError as fault:
        raise InputError(f"column {name!r} cannot be read as times: {fault}") from fault
    bad = instants.null_count()
    if bad:
        example = column.filter(instants.is_null())[0]
        raise InputError(
            f"{bad} of {len(column)} times in {name!r} cannot be read, such as {example!r}",
            hint="use ISO dates (2024-03-28 or 2024-03-28T16:00:00Z), YYYYMMDD, or a datetime column",
        )
    return instants.to_numpy().astype("datetime64[us]")


def _instants(column: pl.Series) -> pl.Series:
    import polars as pl

    if column.dtype.is_integer():
        return _instants_of_numbers(column)
    if column.dtype == pl.String:
        return _instants_of_text(column.str.strip_chars())
    instants = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
    if not isinstance(instants.dtype, pl.Datetime):
        raise pl.exceptions.InvalidOperationError(f"its type is {column.dtype}")
    if instants.dtype.time_zone is not None:
        instants = instants.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return instants.cast(pl.Datetime("us"))


def _instants_of_text(text: pl.Series) -> pl.Series:
    """Read ISO dates and datetimes (UTC where no zone is given), ``YYYYMMDD``, and dates with slashes."""
    import polars as pl

    plain = text.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)
    if plain.null_count() == 0:
        return plain
    iso = text.str.starts_with("1") | text.str.starts_with("2")
    dashed = pl.Series([t if good and t is not None and "-" in t else None for t, good in zip(text, iso, strict=True)])
    stamped = (
        dashed.cast(pl.String).str.replace(" ", "T").str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    )
    digits = text.str.to_datetime("%Y%m%d", time_unit="us", strict=False)
    known = plain.zip_with(plain.is_not_null(), stamped.dt.replace_time_zone(None))
    known = known.zip_with(known.is_not_null(), digits)
    return known.zip_with(known.is_not_null(), _slashed(text))


def _slashed(text: pl.Series) -> pl.Series:
    """Read month/day/year or day/month/year, whichever all rows allow; where both do, neither is read."""
    month_first = text.str.to_datetime("%m/%d/%Y", time_unit="us", strict=False)
    day_first = text.str.to_datetime("%d/%m/%Y", time_unit="us", strict=False)
    if month_first.null_count() == day_first.null_count():
        return month_first.clear(len(text))
    return month_first if month_first.null_count() < day_first.null_count() else day_first


def _instants_of_numbers(column: pl.Series) -> pl.Series:
    """Read ``YYYYMMDD``, or Unix seconds, milliseconds, microseconds or nanoseconds, told apart by size."""
    import polars as pl

    largest = float(np.abs(column.drop_nulls().to_numpy()).max(initial=0.0))
    if 1.5e7 < largest < 3e7:
        return column.cast(pl.String).str.to_datetime("%Y%m%d", time_unit="us", strict=False)
    per_second = next((unit for unit in (1, 1_000, 1_000_000, 1_000_000_000) if largest / unit < 1e11), None)
    if per_second is None or largest < 1e8:
        raise pl.exceptions.InvalidOperationError(f"numbers up to {largest:.0f} are no times")
    return (column.cast(pl.Float64) * (1e6 / per_second)).cast(pl.Int64).cast(pl.Datetime("us"))


def _groups(frame: pl.DataFrame, symbol: str | None) -> IntArray:
    if symbol is None:
        return np.zeros(frame.height, dtype=np.int64)
    names = frame[symbol].cast(str).fill_null("").to_numpy()
    return np.unique(names.astype(str), return_inverse=True)[1].astype(np.int64)


def _order_notices(times: NDArray[np.datetime64], group: IntArray, order: NDArray[np.intp], name: str) -> list[str]:
    if bool(np.all(order[1:] > order[:-1])):
        return []
    same = group[1:] == group[:-1]
    falling = bool(same.any()) and bool(np.all((np.diff(times) < np.timedelta64(0, "us"))[same]))
    how = "newest first" if falling else "not in order"
    return [f"rows were {how} by {name!r} and have been sorted; features computed in that order look backward"]


def _refuse_repeats(
    times: NDArray[np.datetime64], group: IntArray, frame: pl.DataFrame, time: str, symbol: str | None
) -> None:
    repeated = np.flatnonzero((times[1:] == times[:-1]) & (group[1:] == group[:-1]))
    if repeated.size == 0:
        return
    import polars as pl

    keys = [c for c in frame.columns if frame[c].dtype == pl.String and c not in (time, symbol)]
    tells = [c for c in keys if frame.select(time, c).n_unique() == frame.height]
    hint = (
        f"does {tells[0]!r} tell the instruments apart? Name it as the symbol column"
        if tells
        else ("keep one row a time, or name the column that tells the instruments apart as the symbol")
    )
    first = times[repeated[0]]
    raise DataError(f"{repeated.size} times occur more than once, first {first}", hint=hint)


def _columns(
    frame: pl.DataFrame, order: NDArray[np.intp], keys: set[Any]
) -> tuple[dict[str, FloatArray], list[Skipped]]:
    columns: dict[str, FloatArray] = {}
    skipped: list[Skipped] = []
    for name in frame.columns:
        if name in keys:
            continue
        values = _numbers(frame[name])
        reason = values if isinstance(values, str) else _emptiness(values)
        if isinstance(values, str) or reason:
            skipped.append(Skipped(name, reason))
        else:
            columns[name] = values[order]
    return columns, skipped


def _numbers(column: pl.Series) -> FloatArray | str:
    """Return ``(n, c)`` numbers, or why there are none."""
    import polars as pl

    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
        return np.where(np.isfinite(values), values, np.nan)[:, None]
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        return _indicators(column.cast(pl.String))
    return f"neither numbers nor text ({column.dtype})"


def _indicators(column: pl.Series) -> FloatArray | str:
    import polars as pl

    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() == column.null_count() < len(column):
        return _numbers(numbers)
    kinds = sorted(column.drop_nulls().unique().to_list())
    if len(kinds) > MOST_CATEGORIES:
        return f"text with {len(kinds)} different values"
    if len(kinds) < 2:
        return "constant"
    indicators = [(column == kind).cast(pl.Float64).fill_null(np.nan).to_numpy() for kind in kinds]
    return np.column_stack(indicators[1:] if len(kinds) == 2 else indicators).astype(np.float64)


def _emptiness(values: FloatArray) -> str:
    known = np.isfinite(values[:, 0])
    if not known.any():
        return "all missing"
    if int(known.sum()) < FEWEST_VALUES:
        return f"only {int(known.sum())} values; {FEWEST_VALUES} are needed"
    inside = values[known]
    return "constant" if bool(np.all(inside == inside[0])) else ""


def _thinned(table: UserTable) -> UserTable:
    """Keep evenly spaced whole symbols of a table that is larger than any verdict needs."""
    if table.times.size <= MOST_ROWS or table.symbols == 1:
        return table
    share = MOST_ROWS / table.times.size
    kept = np.unique(np.linspace(0, table.symbols - 1, max(1, int(table.symbols * share))).astype(np.int64))
    thin = table.rows(np.isin(table.group, kept))
    notice = f"{kept.size} of {table.symbols} symbols, evenly spaced in the alphabet, were examined"
    return UserTable(thin.times, thin.group, thin.columns, thin.skipped, (*thin.notices, notice))
