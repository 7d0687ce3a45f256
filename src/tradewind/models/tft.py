"""The Temporal Fusion Transformer: close, high and low jointly over several horizons (playbook row A8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from tradewind.models.assembly import top_importance
from tradewind.models.base import Windows, register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.network import Network, Shape
    from tradewind.models.networks.tft import TemporalFusionTransformer

_EXPLAINED = 256


@register
@dataclass(eq=False, kw_only=True)
class Tft(SequenceModel):
    """Temporal Fusion Transformer (Lim, Arik, Loeff & Pfister 2021) on windows that share their rows.

    It forecasts the close and the path's highest high and lowest low over each horizon; at every level the low is not
    above, and the high not below, the close. Static are ticker, sector and price tier (of the raw close at the window's
    end); known beforehand is the calendar up to each horizon.

    Parameters
    ----------
    width, heads, dropout
        Of every hidden state, of the attention, and the share of channels dropped in training.
    """

    name: ClassVar[str] = "tft"
    path: ClassVar[bool] = True
    width: int = 32
    heads: int = 4
    dropout: float = 0.2

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks.tft import TemporalFusionTransformer

        return TemporalFusionTransformer(shape, width=self.width, heads=self.heads, dropout=self.dropout)

    def explain(self, windows: Windows) -> dict[str, Any]:
        """Return the variables that were selected and the bars that were looked at, for the newest samples.

        ``importance`` is the mean weight of each variable over the newest samples, ``latest`` that of each symbol at
        its newest one, ``attention`` the mean over them, by horizon, of each bar of the window (oldest first) and then
        of the horizons' own positions.
        """
        from tradewind.models.networks.forecaster import newest_block

        told = super().explain(windows)
        found = newest_block(self.fitted_, windows, _EXPLAINED)
        if found is None:
            return told
        chosen, block = found
        network = cast("TemporalFusionTransformer", self.fitted_.networks[0])
        said = network.explain(block)
        past = said.past[:, 0].detach().numpy()
        attention = said.attention[:, 0].mean(dim=0).detach().numpy()
        latest = {}
        for place, sample in enumerate(chosen):
            latest[windows.panel.symbols[windows.columns[sample]]] = top_importance(
                self.fitted_.channels, past[place], count=5
            )
        return {
            **told,
            "importance": top_importance(self.fitted_.channels, past.mean(axis=0)),
            "latest": latest,
            "attention": {
                str(h): [round(float(share), 5) for share in row]
                for h, row in zip(windows.labels.horizons, np.atleast_2d(attention), strict=True)
            },
        }
