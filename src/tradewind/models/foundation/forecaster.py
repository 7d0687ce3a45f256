"""What an adapter to a package of foundation models offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError, TradewindError

_MOST_LETTERS = 300


class Forecaster(Protocol):
    """Loaded weights that continue series.

    Attributes
    ----------
    kind
        Which model they are, in words.
    longest_context, longest_horizon
        Bars that it reads and forecasts at most.
    """

    kind: str
    longest_context: int
    longest_horizon: int

    def own_levels(self, wanted: Sequence[float]) -> tuple[float, ...]:
        """Return the quantile levels that it answers with when these are wanted."""
        ...

    def quantiles(self, series: NDArray[np.float32], horizon: int, wanted: Sequence[float]) -> NDArray[np.float64]:
        """Return the quantiles of the next values, ``(n, horizon, Q)``, at its own levels.

        Parameters
        ----------
        series
            ``(n, bars)``, oldest first; NaN: missing. No answer depends on the other series.
        """
        ...


def require_fit(forecaster: Forecaster, context: int, horizons: Sequence[int], model: str) -> None:
    """Raise ``InputError`` for more bars than the weights read or forecast."""
    if context > forecaster.longest_context:
        raise InputError(
            f"context_bars = {context} of {model}: these weights ({forecaster.kind}) read {forecaster.longest_context}",
            hint=f"set models.parameters.{model}.context_bars = {forecaster.longest_context} or lower",
        )
    if max(horizons) > forecaster.longest_horizon:
        raise InputError(
            f"{model} is asked for {max(horizons)} bars ahead, its weights ({forecaster.kind}) forecast "
            f"{forecaster.longest_horizon}",
            hint="shorten labels.horizons, or use longer bars or other weights",
        )


@contextmanager
def loading(package: str, source: Path) -> Iterator[None]:
    """Say that a package could not load a checkpoint, whatever it raises; keep what it prints from standard output."""
    try:
        with redirect_stdout(StringIO()):
            yield
    except (TradewindError, MemoryError):
        raise
    except Exception as error:  # a damaged file can fail anywhere in the package
        if out_of_memory(error):
            raise
        said = " ".join(str(error).split())[:_MOST_LETTERS]
        raise DataError(
            f"{package} cannot load the weights in {source}: {type(error).__name__}: {said}",
            hint="they are damaged, of another kind than config.json says, or made for another version of the package",
        ) from error


@contextmanager
def memory_errors(model: str, batch: int, bars: int) -> Iterator[None]:
    """Say what to do where memory ends."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise DataError(
            f"memory ended while {model} forecast {batch} series of {bars} bars at a time",
            hint=f"lower models.parameters.{model}.batch_series or context_bars, take smaller weights, "
            'or device = "cpu"',
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch, or of Python, is about memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said
