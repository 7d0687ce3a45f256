"""A Kolmogorov-Arnold network over a few numbers of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tradewind.models.base import Windows, register
from tradewind.models.sequence_model import SequenceModel

if TYPE_CHECKING:
    from tradewind.models.networks.kan import KAN, Curves
    from tradewind.models.networks.network import Network, Shape

_EXPLAINED, _DRAWN = 256, 5


@register
@dataclass(eq=False, kw_only=True)
class Kan(SequenceModel):
    """Kolmogorov-Arnold layers (Liu et al. 2024): learnt functions of one number each, which can be drawn.

    Each channel is read as its newest value and a few learnt weighted sums over the window.

    Parameters
    ----------
    width, dropout
        Hidden units, and the share of them dropped in training.
    summaries
        Weighted sums of each channel beside its newest value.
    grid, order, reach
        Intervals and order of the splines, and where they end, in deviations.
    """

    name: ClassVar[str] = "kan"
    width: int = 16
    dropout: float = 0.3
    summaries: int = 2
    grid: int = 5
    order: int = 3
    reach: float = 3.0

    def network(self, shape: Shape) -> Network:
        """Return an untrained network."""
        from tradewind.models.networks import kan

        return kan.KAN(
            shape,
            width=self.width,
            dropout=self.dropout,
            summaries=self.summaries,
            grid=self.grid,
            order=self.order,
            reach=self.reach,
        )

    def explain(self, windows: Windows) -> dict[str, Any]:
        """Return also ``curves``: the functions learnt of the channels that moved the newest samples most.

        ``points`` are places in deviations of an input. Each channel has its ``share`` of all that moved the first
        layer, the strongest function of its ``newest`` value, and those of its ``sums``, the shortest memory first.
        """
        from tradewind.models.networks.forecaster import newest_block

        told = super().explain(windows)
        found = newest_block(self.fitted_, windows, _EXPLAINED)
        if found is None:
            return told
        network = cast("KAN", self.fitted_.networks[0])
        return {**told, "curves": _drawn(network.curves(found[1]), self.fitted_.channels)}


def _drawn(curves: Curves, channels: tuple[str, ...]) -> dict[str, Any]:
    share = curves.contribution.sum(dim=0) / curves.contribution.sum().clamp(min=1e-12)
    strongest = share.argsort(descending=True, stable=True)[:_DRAWN].tolist()
    values = curves.values.transpose(0, 1).tolist()
    return {
        "points": _rounded(curves.points.tolist()),
        "channels": {
            channels[place]: {
                "share": round(float(share[place]), 5),
                "newest": _rounded(values[place][0]),
                "sums": [_rounded(row) for row in values[place][1:]],
            }
            for place in strongest
        },
    }


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 5) for value in values]
