"""A network's forecasts one bar after the other: what it has read of the past is kept, and each new bar read once.

Reading is a fold (scaling, the bar's own channels, the last windows' rows), so that the answers are those of the same
network asked about its whole history, at the cost of one bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tradewind.errors import DataError
from tradewind.features.scaling import RollingScaler
from tradewind.market.panel import Panel
from tradewind.market.tiers import tier_index
from tradewind.models.networks.forecaster import Fitted, mean_answer
from tradewind.models.networks.network import Block, Outputs
from tradewind.models.networks.sequences import CLIP, BarChannels, known_future
from tradewind.models.networks.training import threads

if TYPE_CHECKING:
    from tradewind.models.base import Windows
    from tradewind.models.forecast import Forecast
    from tradewind.models.sequence_model import SequenceModel


class SequenceStepper:
    """A fitted network model that has read a history and goes on from there.

    Parameters
    ----------
    model
        Whose forecasts they are.
    fitted
        Its networks, or exported files in their place; none that reads whole dates.
    history
        What it is to have read: every bar of its panel.

    Raises
    ------
    DataError
        Other features than the model was trained with.
    """

    def __init__(self, model: SequenceModel, fitted: Fitted, history: Windows) -> None:
        self.model, self.fitted = model, fitted
        panel, length = history.panel, fitted.reading.window_bars
        self._scaler = RollingScaler(fitted.reading.half_life_bars, clip=CLIP)
        self._bars = BarChannels(panel.shape[1])
        self._horizons = history.labels.horizons
        self._fixed = fitted.vocabulary.encode(panel.rows(0, 1))[:, 0, :2]
        self._close = np.full(panel.shape[1], np.nan)
        self._rows = torch.zeros((panel.shape[1], length, len(fitted.channels)))
        self._read(history, 0)
        self.read = len(panel)

    def step(self, windows: Windows) -> Forecast | None:
        """Read the next bar and forecast some symbols at its close; None where nobody is asked about.

        Parameters
        ----------
        windows
            Their panel and features end with the bar; every sample is of it.
        """
        panel = windows.panel
        if len(panel) != self.read + 1 or (windows.rows != self.read).any():
            raise DataError(
                f"bar {self.read} is next to be read, not the one after {len(panel) - 1} bars",
                hint="give a stepper every bar once, in order",
            )
        self._read(windows, self.read)
        self.read += 1
        columns = windows.columns
        if not len(columns):
            return None
        scale = self._bars.volatility[columns][:, None] * np.sqrt(np.asarray(self._horizons, dtype=np.float64))
        can = np.flatnonzero(self._enough(panel)[columns])
        with threads(self.model.threads):
            said = self._answer(panel, columns[can]) if len(can) else None
        return self.model.assembled(windows, self._laid(said, can, len(columns)), scale, {})

    def _read(self, windows: Windows, start: int) -> None:
        """Take in the bars from a row on."""
        panel, features = windows.panel, windows.features
        channels = (*features.names, *self.fitted.channels[len(features.names) :])
        if channels != self.fitted.channels:
            changed = sorted(set(channels) ^ set(self.fitted.channels)) or ["their order"]
            raise DataError(
                f"the network was trained on other features: {', '.join(changed[:5])} differ",
                hint="train it again, or give it the playbook's [features] that it was trained with",
            )
        part = type(features)(features.times[start:], features.symbols, features.names, features.values[start:])
        scaled = self._scaler.transform(part).values
        there = panel.mask[start:, :, None].astype(np.float32)
        rows = np.concatenate([scaled, self._bars.step(panel, start), there], axis=-1)
        newest = np.nan_to_num(rows[-self._rows.shape[1] :].swapaxes(0, 1), nan=0.0, posinf=0.0, neginf=0.0)
        kept = self._rows.shape[1] - newest.shape[1]
        self._rows = torch.cat([self._rows[:, self._rows.shape[1] - kept :], torch.from_numpy(newest)], dim=1)
        closes = np.where(panel.mask[start:], panel.close[start:], np.nan)
        for close in closes:
            self._close = np.where(np.isfinite(close), close, self._close)

    def _enough(self, panel: Panel) -> NDArray[np.bool_]:
        """Return which symbols have enough bars in the newest window, ``(N,)``."""
        reading = self.fitted.reading
        seen = panel.mask[max(0, len(panel) - reading.window_bars) :].sum(axis=0)
        return np.asarray(seen >= max(1.0, reading.least_share * reading.window_bars))

    def _answer(self, panel: Panel, columns: NDArray[np.int64]) -> Outputs:
        tier = tier_index(self._close[None])[0] + 1
        statics = np.concatenate([self._fixed, tier[:, None]], axis=1)[columns]
        future = torch.from_numpy(known_future(panel.rows(len(panel) - 1, len(panel)), self._horizons))
        values, known = self._rows[torch.from_numpy(columns)], future.expand(len(columns), 1, -1, -1)
        precise = Block(
            values.double(), torch.from_numpy(statics), known.reshape(len(columns), 1, *future.shape[1:]).double()
        )
        with torch.inference_mode():
            return mean_answer([network(precise) for network in self.fitted.precise])

    def _laid(self, said: Outputs | None, can: NDArray[np.int64], count: int) -> Outputs:
        """Lay the answers out by sample; NaN where a window has too few bars."""
        shape = self.fitted.networks[0].shape
        if said is None:
            return Outputs(torch.full((count, shape.horizons, shape.levels), torch.nan))

        def whole(part: Tensor | None) -> Any:
            if part is None:
                return None
            found = torch.full((count, *part.shape[2:]), torch.nan, dtype=part.dtype)
            found[torch.from_numpy(can)] = part[:, 0]
            return found

        return Outputs(*(whole(part) for part in said))
