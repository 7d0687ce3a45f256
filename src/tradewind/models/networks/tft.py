"""The Temporal Fusion Transformer, with everything that windows share computed once.

B. Lim, S. Ö. Arık, N. Loeff, T. Pfister, "Temporal Fusion Transformers for interpretable multi-horizon time series
forecasting", International Journal of Forecasting 37 (2021). Equation numbers are the paper's.

Variable selection (section 4.2) looks at one row and the static context alone, so it is done once for every row of a
run and its results are laid out as overlapping windows. What depends on the window (the LSTM, the enrichment of its
outputs, attention) is done per window, and queries are asked for the decoder's positions only. The windows of a run may
also lie ``k`` bars apart: ``L + (R - 1) * k`` rows for ``R`` windows.

Departures from the paper: dropout masks are held over a sequence; a learnt token tells the decoder's steps apart, as
horizons need not be equally far from each other; positions without a bar are not attended to; in training a category is
now and then replaced by the unseen one, so that the unseen one has a meaning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tradewind.errors import InputError
from tradewind.models.networks.heads import ClassHead, QuantileHead
from tradewind.models.networks.network import Block, Network, Outputs, Shape, stride_of
from tradewind.models.networks.tft_attention import InterpretableAttention
from tradewind.models.networks.tft_gating import GateAddNorm, GatedResidual, LockedDropout, zeros
from tradewind.models.networks.tft_selection import CategorySelection, NumericSelection

_RANGE_STEP = -1.5
"""What the untrained steps between the levels of highs and lows are made of; about 0.2 of a volatility each."""


class Explanation(NamedTuple):
    """What a forecast was made of; shares that sum to one.

    Attributes
    ----------
    past, last
        ``(S, R, F)`` selection weights of the past channels: their mean over the window, and at its last row.
    future
        ``(S, R, H, K)`` of what is known beforehand, by horizon.
    statics
        ``(S, C)`` of the categories.
    attention
        ``(S, R, H, L + H)`` over the window's bars, oldest first, and then the horizons' own positions.
    """

    past: Tensor
    last: Tensor
    future: Tensor
    statics: Tensor
    attention: Tensor


class _Weights(NamedTuple):
    """Selection weights by row, and attention."""

    past: Tensor
    future: Tensor
    statics: Tensor
    attention: Tensor


class TemporalFusionTransformer(Network):
    """Forecast close, high and low over several horizons.

    Parameters
    ----------
    shape
        The sizes of what it reads and says.
    width
        Of every hidden state, ``d_model``; a multiple of ``heads``.
    heads
        Of the attention.
    dropout
        Share of channels dropped in training.
    """

    def __init__(self, shape: Shape, *, width: int = 32, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width = {width} is no multiple of heads = {heads}")
        self.shape = shape
        self.width = width
        by_run, by_window, none = LockedDropout(dropout, 1), LockedDropout(dropout, 0), LockedDropout(0.0, 0)
        self.statics = CategorySelection(shape.statics, width, dropout) if shape.statics else None
        self.context = nn.ModuleDict(
            {name: GatedResidual(width, width, width, 0, by_run) for name in ("selection", "hidden", "cell", "enrich")}
        )
        self.past = NumericSelection(shape.inputs, width, dropout)
        self.future = NumericSelection(shape.future, width, dropout) if shape.future else None
        self.token = zeros(shape.horizons, width)
        self.encoder = nn.LSTM(width, width)
        self.decoder = nn.LSTM(width, width)
        self.local_gate = GateAddNorm(width, width, by_window)
        self.enrichment = GatedResidual(width, width, width, width, by_window)
        self.attention = InterpretableAttention(width, heads, dropout)
        self.attention_gate = GateAddNorm(width, width, by_window)
        self.feed_forward = GatedResidual(width, width, width, 0, by_window)
        self.last_gate = GateAddNorm(width, width, none)
        self.quantile_head = StepQuantileHead(width, 1, shape.levels)
        self.range_head = RangeHead(width, shape.levels)
        self.class_head = ClassHead(width, 1) if shape.classes else None

    def forward(self, block: Block) -> Outputs:
        """Answer every window of every run."""
        hidden, _ = self._process(block)
        quantiles = self.quantile_head(hidden)
        high, low = self.range_head(hidden, quantiles)
        logits = None if self.class_head is None else self.class_head(hidden).squeeze(-2)
        return Outputs(quantiles, logits, high, low)

    def start_at(self, quantiles: Tensor, shares: Tensor | None) -> None:
        """Let the heads, which all horizons share, say the mean over horizons."""
        self.quantile_head.start_at(quantiles)
        if self.class_head is not None and shares is not None:
            self.class_head.start_at(shares.mean(dim=0, keepdim=True))

    def explain(self, block: Block) -> Explanation:
        """Return what the forecasts of a block are made of."""
        _, weights = self._process(block)
        past = self._steps(weights.past, block.future.shape[1])
        mean, last = (part.reshape(*block.future.shape[:2], -1) for part in (past.mean(0), past[-1]))
        return Explanation(mean, last, weights.future, weights.statics, weights.attention)

    def _process(self, block: Block) -> tuple[Tensor, _Weights]:
        """Return the decoder's last hidden states ``(S, R, H, width)``.

        From the LSTMs on, steps come first: ``(L, S * R, width)`` of the past, ``(H, S * R, width)`` ahead.
        """
        runs, windows = block.future.shape[:2]
        static, static_weights = self._static(block)
        context = {name: encoder(static) for name, encoder in self.context.items()}
        rows, past_weights = self.past(block.values, context["selection"])
        steps, future_weights = self._ahead(block.future, context["selection"])
        state = _per_window(context["hidden"], windows), _per_window(context["cell"], windows)
        past, ahead = self._local(self._steps(rows, windows), steps, state)
        enrich = _per_window(context["enrich"], windows)
        asked, present = self.enrichment(ahead, enrich), self._steps(block.values[..., -1:], windows).squeeze(-1)
        found, attention = self.attention(self.enrichment(past, enrich), asked, present)
        decoded = self.feed_forward(self.attention_gate(found, asked))
        hidden = self.last_gate(decoded, ahead).transpose(0, 1).reshape(runs, windows, -1, self.width)
        attention = attention.view(runs, windows, *attention.shape[1:])
        return hidden, _Weights(past_weights, future_weights, static_weights, attention)

    def _steps(self, rows: Tensor, windows: int) -> Tensor:
        """Lay out the rows of runs ``(S, …, C)`` as windows with steps first, ``(L, S * R, C)``."""
        stride = stride_of(rows, self.shape.length, windows)
        unfolded = rows.unfold(1, self.shape.length, stride).permute(3, 0, 1, 2)
        return unfolded.reshape(self.shape.length, -1, rows.shape[-1])

    def _static(self, block: Block) -> tuple[Tensor, Tensor]:
        """Return what the categories say, ``(S, 1, width)``, and their weights ``(S, C)``."""
        if self.statics is None:
            runs = block.values.shape[0]
            return block.values.new_zeros(runs, 1, self.width), block.values.new_zeros(runs, 0)
        selected, weights = self.statics(block.statics)
        return selected.unsqueeze(1), weights

    def _ahead(self, future: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's inputs ``(H, S * R, width)`` and the weights behind them ``(S, R, H, K)``."""
        runs, windows, steps, _ = future.shape
        tokens = self.token.unsqueeze(1).expand(-1, runs * windows, -1)
        if self.future is None:
            return tokens.contiguous(), future
        selected, weights = self.future(future.flatten(1, 2), context)
        return tokens + selected.view(-1, steps, self.width).transpose(0, 1), weights.view(future.shape)

    def _local(self, past: Tensor, ahead: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Process both parts of every window in order, section 4.5.1; equation 17."""
        encoded, between = self.encoder(past, state)
        decoded, _ = self.decoder(ahead, between)
        return self.local_gate(encoded, past), self.local_gate(decoded, ahead)


def _per_window(of_run: Tensor, windows: int) -> Tensor:
    """Repeat ``(S, 1, width)`` for the windows of each run, ``(1, S * R, width)``."""
    return of_run.expand(-1, windows, -1).reshape(1, -1, of_run.shape[-1])


class StepQuantileHead(QuantileHead):
    """The rising quantiles of every decoder step, one layer for all of them (equation 23)."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Turn ``(..., H, width)`` into ``(..., H, Q)``."""
        return super().forward(hidden).squeeze(-2)

    @torch.no_grad()
    def start_at(self, quantiles: Tensor) -> None:
        """Let the untrained head say about the mean over horizons of these ``(H, Q)`` rising quantiles."""
        super().start_at(quantiles.mean(0, keepdim=True))


class RangeHead(nn.Module):
    """Quantiles of the path's highest high and lowest low, outside of those of its end and of where it starts.

    The distance to what bounds them only grows towards the outer levels, so that they rise over the levels as well.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * levels)
        nn.init.constant_(self.linear.bias, _RANGE_STEP)

    def forward(self, hidden: Tensor, quantiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return highs and lows ``(..., H, Q)``."""
        up, down = nn.functional.softplus(self.linear(hidden)).chunk(2, -1)
        high = quantiles.clamp(min=0.0) + torch.cumsum(up, -1)
        low = quantiles.clamp(max=0.0) - torch.flip(torch.cumsum(down, -1), [-1])
        return high, low
