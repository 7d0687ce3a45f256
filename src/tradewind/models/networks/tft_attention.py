"""Interpretable multi-head attention (Lim et al. 2021, section 4.4, equations 13 to 16)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tradewind.models.networks.tft_gating import LockedDropout, stacked, zeros

_NEVER = -1e9


class InterpretableAttention(nn.Module):
    """Heads with queries and keys of their own that share one value, so that their mean is *the* attention.

    Keys and values of the many past positions are never formed: with ``q (θ W)ᵀ = (q Wᵀ) θᵀ`` and ``A (θ W) = (A θ) W``
    all matrices are applied on the side of the few queries. A key's offset adds the same to all scores of a query,
    which the softmax takes out again, so there is none.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, size = heads, width // heads
        self.query, self.query_bias = stacked(heads, width, size), zeros(heads, 1, 1, size)
        self.key = stacked(heads, width, size)
        self.value, self.value_bias = nn.Parameter(stacked(1, width, size)[0].detach()), zeros(size)
        self.out = nn.Parameter(stacked(1, size, width)[0].detach())
        self.dropout = LockedDropout(dropout, steps=1)

    def forward(self, past: Tensor, ahead: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Answer the positions ahead.

        Parameters
        ----------
        past, ahead
            ``(L, N, width)`` and ``(D, N, width)``; a position ahead sees the past, itself and those before it.
        present
            ``(L, N)``, whether there was a bar at all.

        Returns
        -------
        tuple
            ``(D, N, width)``, and the attention ``(N, D, L + D)`` as the mean over heads.
        """
        past, ahead, present = past.transpose(0, 1), ahead.transpose(0, 1), present.t()
        asked = self._asked(ahead)
        scores = torch.cat([self._of_past(asked, past, present), self._of_ahead(asked, ahead)], -1)
        steps, length = ahead.shape[1], past.shape[1]
        attention = functional.softmax(scores, -1).view(-1, self.heads, steps, length + steps).mean(1)
        seen = torch.bmm(attention[..., :length], past) + torch.bmm(attention[..., length:], ahead)
        value = self.dropout(seen @ self.value + self.value_bias)
        return self.dropout(value @ self.out).transpose(0, 1), attention

    def _asked(self, ahead: Tensor) -> Tensor:
        """Queries as seen from the positions' side of the key matrices, ``(N, heads * D, width)``."""
        query = torch.einsum("ndw,hws->hnds", ahead, self.query) + self.query_bias
        back = torch.einsum("hnds,hws->nhdw", query, self.key)
        return back.flatten(1, 2) * query.shape[-1] ** -0.5

    def _of_past(self, asked: Tensor, past: Tensor, present: Tensor) -> Tensor:
        absent = (present < 0.5).unsqueeze(1)
        return torch.bmm(asked, past.transpose(1, 2)).masked_fill(absent, _NEVER)

    def _of_ahead(self, asked: Tensor, ahead: Tensor) -> Tensor:
        steps = ahead.shape[1]
        later = torch.ones(steps, steps, dtype=torch.bool, device=ahead.device).triu(1)
        scores = torch.bmm(asked, ahead.transpose(1, 2)).view(-1, self.heads, steps, steps)
        return scores.masked_fill(later, _NEVER).flatten(1, 2)
