"""Read a small table of reference data, whatever format it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tradewind.errors import DataError, InputError


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV (also gzipped), TSV or Parquet file; CSV columns stay text.

    Raises ``InputError`` where there is no such file and ``DataError`` where it cannot be read.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", hint="check the path in the playbook")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        separator = "\t" if ".tsv" in path.name else ","
        return pl.read_csv(path, separator=separator, infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="expected CSV, TSV or Parquet") from error


def column_of(table: pl.DataFrame, names: Sequence[str]) -> str | None:
    """Return the first column called by one of the names, whatever its case."""
    plain = {column.strip().lower(): column for column in table.columns}
    return next((plain[name] for name in names if name in plain), None)
