"""A causal convolution of every channel with its own taps, then SiLU: forward and backward as one numba kernel each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor, nn

from tradewind.models.networks.lanes import KERNEL, LANES, f32, sigmoid, silu_slope
from tradewind.models.networks.selective_scan import as_array, fusible, thread_count


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``silu(bias + Σ_k weight[:, k] x[t - K + 1 + k])``; before the first bar there are zeros.

    Parameters
    ----------
    x
        ``(B, L, D)``; the answer has its shape.
    weight, bias
        ``(D, K)`` taps, the newest bar's last, and ``(D,)``.
    """
    if fusible(x):
        return _CausalConv.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return causal_conv_plain(x, weight, bias)


def causal_conv_plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the same from PyTorch's own operations."""
    padded = nn.functional.pad(x.transpose(1, 2), (weight.shape[1] - 1, 0))
    mixed = nn.functional.conv1d(padded, weight[:, None], bias, groups=weight.shape[0])
    return nn.functional.silu(mixed).transpose(1, 2)


class _CausalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous()
        y = torch.empty_like(x)
        with thread_count():
            _forward(as_array(x), as_array(weight.t()), as_array(bias), as_array(y))
        ctx.save_for_backward(x, weight, bias)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, bias = ctx.saved_tensors
        dx = torch.empty_like(x)
        taps = weight.t()
        dweight = x.new_empty((x.shape[0], *taps.shape))
        dbias = x.new_empty((x.shape[0], *bias.shape))
        with thread_count():
            arrays = (as_array(part) for part in (x, taps, bias, dy, dx, dweight, dbias))
            _backward(*arrays)
        return dx, dweight.sum(dim=0).t(), dbias.sum(dim=0)


@njit(**KERNEL)
def _add_product(total: Any, factor: Any, other: Any) -> None:
    for d in range(total.shape[0]):
        total[d] += factor[d] * other[d]


@njit(**KERNEL)
def _mix(x: Any, taps: Any, bias: Any, t: int, first: int, past: int, mixed: Any) -> None:
    """Fill the lanes with the convolution at bar ``t`` of the channels from ``first`` to before ``past``."""
    reach = taps.shape[0] - 1
    mixed[:] = bias[first:past]
    for k in range(max(0, reach - t), reach + 1):
        _add_product(mixed, taps[k, first:past], x[t - reach + k, first:past])


@njit(**KERNEL)
def _gate(mixed: Any, y: Any) -> None:
    for d in range(mixed.shape[0]):
        y[d] = mixed[d] * sigmoid(mixed[d])


@njit(**KERNEL)
def _ungate(mixed: Any, dy: Any, dbias: Any) -> None:
    """Turn what was mixed into its gradient, in place."""
    for d in range(mixed.shape[0]):
        slope = dy[d] * silu_slope(mixed[d], sigmoid(mixed[d]))
        mixed[d] = slope
        dbias[d] += slope


@njit(parallel=True, **KERNEL)
def _forward(x: Any, taps: Any, bias: Any, y: Any) -> None:
    batch, length, channels = x.shape
    blocks = (channels + LANES - 1) // LANES
    for task in prange(batch * blocks):
        b, first = task // blocks, task % blocks * LANES
        past = min(first + LANES, channels)
        mixed = np.empty(past - first, dtype=np.float32)
        for t in range(length):
            _mix(x[b], taps, bias, t, first, past, mixed)
            _gate(mixed, y[b, t, first:past])


@njit(parallel=True, **KERNEL)
def _backward(x: Any, taps: Any, bias: Any, dy: Any, dx: Any, dtaps: Any, dbias: Any) -> None:
    batch, length, channels = x.shape
    reach = taps.shape[0] - 1
    blocks = (channels + LANES - 1) // LANES
    for task in prange(batch * blocks):
        b, first = task // blocks, task % blocks * LANES
        past = min(first + LANES, channels)
        slope = np.empty(past - first, dtype=np.float32)
        dtaps[b, :, first:past] = f32(0.0)
        dbias[b, first:past] = f32(0.0)
        for t in range(length):
            dx[b, t, first:past] = f32(0.0)
            _mix(x[b], taps, bias, t, first, past, slope)
            _ungate(slope, dy[b, t, first:past], dbias[b, first:past])
            for k in range(max(0, reach - t), reach + 1):
                _add_product(dtaps[b, k, first:past], slope, x[b, t - reach + k, first:past])
                _add_product(dx[b, t - reach + k, first:past], slope, taps[k, first:past])
