"""What we know at each bar, as one dense tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tradewind.errors import DataError, InputError


@dataclass(frozen=True, eq=False)
class Features:
    """Feature values known at the close of each bar.

    Attributes
    ----------
    times
        Bar closes, UTC ``datetime64[us]``, ``(T,)``.
    symbols
        Columns, ``N``.
    names
        Feature names in the order of the last axis, ``F``.
    values
        ``(T, N, F)`` float32; NaN is missing (warm-up, no bar, no source). Never filled here.
    """

    times: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse values that do not fit the axes."""
        expected = (len(self.times), len(self.symbols), len(self.names))
        if self.values.shape != expected:
            raise DataError(f"features have shape {self.values.shape}, expected {expected}")

    def column(self, name: str) -> NDArray[np.float32]:
        """Return one feature, ``(T, N)``."""
        if name not in self.names:
            raise InputError(f"no feature {name!r} in this table", hint=f"it has {', '.join(self.names[:12])} …")
        return self.values[:, :, self.names.index(name)]

    def joined(self, other: Features) -> Features:
        """Return both tables side by side; raises ``DataError`` unless they speak of the same bars and symbols."""
        if self.symbols != other.symbols or not np.array_equal(self.times, other.times):
            raise DataError("feature tables of different bars or symbols cannot be joined")
        values = np.concatenate([self.values, other.values], axis=-1)
        return replace(self, names=(*self.names, *other.names), values=values)

    def head(self, stop: int) -> Features:
        """Return the first ``stop`` bars (a view)."""
        return replace(self, times=self.times[:stop], values=self.values[:stop])
