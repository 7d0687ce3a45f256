"""The bars of a running corridor: a panel that grows by a row with every close, without copying what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tradewind.errors import DataError
from tradewind.market.panel import BoolArray, FloatArray, Panel
from tradewind.stats.growing import Growing


@dataclass(frozen=True, eq=False)
class BarRow:
    """All that is known of one bar of a universe when it closes.

    Attributes
    ----------
    fields
        Open, high, low, close, volume, split and dividend ``(N,)``, as in a panel; NaN where there is no bar.
    mask, member
        ``(N,)`` who has a usable bar, and who belongs to the universe.
    context
        Market-wide values known at this close.
    """

    time: np.datetime64
    fields: Mapping[str, FloatArray]
    mask: BoolArray
    member: BoolArray
    context: Mapping[str, float]

    @classmethod
    def of(cls, panel: Panel, row: int) -> BarRow:
        """Return one row of a panel."""
        return cls(
            panel.times[row],
            {name: values[row] for name, values in panel.fields.items()},
            panel.mask[row],
            panel.member[row],
            {name: float(series[row]) for name, series in panel.context.items()},
        )


@dataclass(frozen=True, eq=False)
class Closed:
    """What has closed since the bar before it: the finest bar, and with it the longer ones that are known by then.

    Attributes
    ----------
    time
        Close of the finest bar.
    bars
        By system ("" where there is but one), oldest first.
    """

    time: np.datetime64
    bars: Mapping[str, tuple[BarRow, ...]]

    @classmethod
    def alone(cls, bar: BarRow) -> Closed:
        """Return one bar of the only system."""
        return cls(bar.time, {"": (bar,)})


class Tape:
    """A panel that grows.

    Parameters
    ----------
    panel
        The bars that there are already.
    """

    def __init__(self, panel: Panel) -> None:
        self._like = panel
        self._times = Growing(panel.times)
        self._fields = {name: Growing(values) for name, values in panel.fields.items()}
        self._mask, self._member = Growing(panel.mask), Growing(panel.member)
        self._context = {name: Growing(series) for name, series in panel.context.items()}
        self.panel = panel

    def append(self, bar: BarRow) -> Panel:
        """Put a bar behind the last, and return the panel that ends with it.

        Raises
        ------
        DataError
            It does not close after the last one.
        """
        if len(self.panel) and not bar.time > self.panel.times[-1]:
            raise DataError(
                f"a bar of {bar.time} came after that of {self.panel.times[-1]}",
                hint="bars are taken in order; a late one belongs in the store, not in the loop",
            )
        self._times.extend(np.array([bar.time], dtype=self.panel.times.dtype))
        for name, values in self._fields.items():
            values.extend(bar.fields[name][None])
        self._mask.extend(bar.mask[None])
        self._member.extend(bar.member[None])
        for name, series in self._context.items():
            series.extend(np.array([bar.context.get(name, np.nan)]))
        self.panel = replace(
            self._like,
            times=self._times.view,
            fields={name: values.view for name, values in self._fields.items()},
            mask=self._mask.view,
            member=self._member.view,
            context={name: series.view for name, series in self._context.items()},
            version="",
        )
        return self.panel
