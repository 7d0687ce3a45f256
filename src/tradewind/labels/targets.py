"""What we ask about the bars after t."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Labels:
    """Forward log returns, and optionally barrier classes, per bar, symbol and horizon.

    Attributes
    ----------
    horizons
        Horizons in bars, ``H``.
    returns
        ``(T, N, H)`` float64: log return of the forward-adjusted close from bar ``t`` to bar ``t + h``.
        NaN where either close is missing or the horizon has not passed.
    scale
        ``(T, N)`` float64: causal one-bar volatility at ``t`` (log-return units); ``returns / (scale *
        sqrt(h))`` is the volatility-scaled target.
    end
        ``(T, N, H)`` int64: row at which the label is resolved and known; ``T`` or more where it is not yet.
    classes
        ``(T, N, H)`` int8 with -1 down, 0 neutral, +1 up, or None without barriers.
    weight
        ``(T, N, H)`` float64 average uniqueness (López de Prado 2018, ch. 4); 1 where labels do not overlap.
    """

    horizons: tuple[int, ...]
    returns: NDArray[np.float64]
    scale: NDArray[np.float64]
    end: NDArray[np.int64]
    weight: NDArray[np.float64]
    classes: NDArray[np.int8] | None = None

    def head(self, stop: int) -> Labels:
        """Return the labels as known at the close of bar ``stop - 1``: unresolved ones are NaN."""
        open_ = self.end[:stop] >= stop
        classes = None if self.classes is None else np.where(open_, np.int8(0), self.classes[:stop])
        return replace(
            self,
            returns=np.where(open_, np.nan, self.returns[:stop]),
            scale=self.scale[:stop],
            end=self.end[:stop],
            weight=np.where(open_, 0.0, self.weight[:stop]),
            classes=classes,
        )
