r"""The elementwise parts of variable selection as fused kernels: one pass over memory where PyTorch takes ten.

Between its matrix products a gated residual network (Lim et al. 2021, equations 2 to 5) adds offsets, gates, adds the
skip and norms, and the selection (equation 8) weighs and sums. Each of these steps is cheap and reads and writes all of
its numbers; here a block of rows goes through all of them while it lies in the cache, and the way back computes the
block again instead of keeping it. Rows lie side by side in the innermost loops, so channels come before rows.

What stands here are float32 forms for the CPU, see :func:`worth_it`. The plain forms, which they are tested against,
stand beside their callers: for other devices and precisions, for exported graphs and for small inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from tradewind.models.networks.lanes import KERNEL, LANES, LOG2_E, exp2, f32, sigmoid
from tradewind.models.networks.selective_scan import as_array, fusible, thread_count

#: Below so many numbers the kernels take longer to begin than PyTorch takes to finish.
LEAST_NUMBERS = 1 << 14

_EPSILON = f32(1e-5)
"""Of the layer norm, PyTorch's."""
_KINDS = 6
"""Gradients summed over rows, by channel: offsets of values and of gates, scale, shift, weight, bias."""


def worth_it(x: Tensor, width: int = 1) -> bool:
    """Return whether the kernels can take what ``width`` numbers are made of for each of ``x``, and are faster."""
    return fusible(x) and x.numel() * width >= LEAST_NUMBERS


def lifted(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return ``elu(x w + b)`` of each variable, ``(V, C, rows)``, for ``(V, rows)`` and twice ``(V, C)``."""
    return _Lifted.apply(x, weight, bias)  # type: ignore[no-untyped-call]


def selected(
    x: Tensor, weight: Tensor, bias: Tensor, both: Tensor, offset: Tensor, scale: Tensor, shift: Tensor, share: Tensor
) -> Tensor:
    """Return the sum over variables of ``share * LayerNorm(x w + b + value * sigmoid(gate))``, ``(C, rows)``.

    Parameters
    ----------
    x, share
        ``(V, rows)``: the variables and their selection weights.
    weight, bias
        ``(V, C)``: their embedding, which is the skip.
    both, offset
        ``(V, 2 C, rows)`` and ``(V, 2 C)``: values and then gates, and what is added to them.
    scale, shift
        ``(V, C)``, of the norms.
    """
    return _Selected.apply(x, weight, bias, both, offset, scale, shift, share)  # type: ignore[no-untyped-call]


def raised(hidden: Tensor, offset: Tensor) -> Tensor:
    """Return ``elu(hidden + offset)`` of ``(L, …)`` and what is added to each of its ``L`` steps, ``(1, …)``."""
    return _Raised.apply(hidden, offset)  # type: ignore[no-untyped-call]


def gated_norm(skip: Tensor, both: Tensor, offset: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``LayerNorm(skip + value * sigmoid(gate))``; for answering only, there is no gradient.

    Parameters
    ----------
    skip
        ``(…, C)``.
    both, offset
        ``(…, 2 C)`` and ``(2 C,)``: values and then gates, and what is added to them.
    scale, shift
        ``(C,)``, of the norm.
    """
    out = torch.empty_like(skip, memory_format=torch.contiguous_format)
    _run(_gated_norm, skip.flatten(0, -2), both.flatten(0, -2), offset, scale, shift, out.view(-1, skip.shape[-1]))
    return out


class _Lifted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        x, weight, bias = (part.contiguous() for part in parts)
        out = x.new_empty((*weight.shape, x.shape[1]))
        _run(_lift, x, weight, bias, out)
        ctx.save_for_backward(x, weight, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, ...]:
        x, weight, out = ctx.saved_tensors
        dx, dweight, dbias = (torch.zeros_like(part) for part in (x, weight, weight))
        _run(_unlift, x, weight, out, slope, dx, dweight, dbias)
        return dx, dweight, dbias


class _Raised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, offset: Tensor) -> Tensor:
        out = torch.empty_like(hidden, memory_format=torch.contiguous_format)
        _run(_raise, hidden.flatten(1), offset.flatten(), out.flatten(1))
        ctx.save_for_backward(out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        (out,) = ctx.saved_tensors
        dhidden = torch.empty_like(out)
        _run(_unraise, out.flatten(1), slope.flatten(1), dhidden.flatten(1))
        return dhidden, dhidden.sum(0, keepdim=True)


class _Selected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        parts = tuple(part.contiguous() for part in parts)
        ctx.save_for_backward(*parts)
        x, weight = parts[:2]
        out = x.new_zeros((weight.shape[1], x.shape[1]))
        _run(_select, *parts, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, ...]:
        parts = ctx.saved_tensors
        x, weight, both = parts[0], parts[1], parts[3]
        dx, dboth, dshare = torch.zeros_like(x), torch.empty_like(both), torch.zeros_like(x)
        blocks = -(-x.shape[1] // LANES)
        sums = x.new_empty((blocks, weight.shape[0], _KINDS, weight.shape[1]))
        _run(_unselect, *parts, slope, dx, dboth, dshare, sums)
        total = sums.sum(0)
        return dx, total[:, 4], total[:, 5], dboth, total[:, :2].flatten(1), total[:, 2], total[:, 3], dshare


def _run(kernel: Any, *parts: Tensor) -> None:
    with thread_count():
        kernel(*(as_array(part) for part in parts))


@njit(**KERNEL)
def _zeros(rows: int) -> Any:
    """Return zeros for a block of rows; see the selective scan's."""
    return np.zeros(rows, dtype=np.float32)


@njit(parallel=True, **KERNEL)
def _raise(hidden: Any, offset: Any, out: Any) -> None:
    steps, lanes = hidden.shape
    for t in prange(steps):
        row, to = hidden[t], out[t]
        for r in range(lanes):
            h = row[r] + offset[r]
            to[r] = h if h > f32(0.0) else exp2(h * LOG2_E) - f32(1.0)


@njit(parallel=True, **KERNEL)
def _unraise(out: Any, slope: Any, dhidden: Any) -> None:
    steps, lanes = out.shape
    for t in prange(steps):
        was, down, to = out[t], slope[t], dhidden[t]
        for r in range(lanes):
            to[r] = down[r] * (f32(1.0) if was[r] > f32(0.0) else was[r] + f32(1.0))


@njit(parallel=True, **KERNEL)
def _gated_norm(skip: Any, both: Any, offset: Any, scale: Any, shift: Any, out: Any) -> None:
    """Take rows one quantity at a time: within a row, one would wait for the other."""
    total, width = skip.shape
    for block in prange((total + LANES - 1) // LANES):
        first = block * LANES
        rows = min(LANES, total - first)
        mean, square = _zeros(rows), _zeros(rows)
        add, lift = offset[:width], offset[width:]
        for r in range(rows):
            row, to = skip[first + r], out[first + r]
            value, gate = both[first + r, :width], both[first + r, width:]
            for c in range(width):
                to[c] = row[c] + (value[c] + add[c]) * sigmoid(gate[c] + lift[c])
        for r in range(rows):
            to, plain = out[first + r], f32(0.0)
            for c in range(width):
                plain += to[c]
            mean[r] = plain / f32(width)
        for r in range(rows):
            to, middle, plain = out[first + r], mean[r], f32(0.0)
            for c in range(width):
                d = to[c] - middle
                plain += d * d
            square[r] = plain
        for r in range(rows):
            square[r] = f32(1.0) / np.sqrt(square[r] / f32(width) + _EPSILON)
        for r in range(rows):
            to, middle, by = out[first + r], mean[r], square[r]
            for c in range(width):
                to[c] = (to[c] - middle) * by * scale[c] + shift[c]


@njit(parallel=True, **KERNEL)
def _lift(x: Any, weight: Any, bias: Any, out: Any) -> None:
    variables, width, rows = out.shape
    for v in prange(variables):
        for c in range(width):
            w, b, to = weight[v, c], bias[v, c], out[v, c]
            for r in range(rows):
                h = x[v, r] * w + b
                to[r] = h if h > f32(0.0) else exp2(h * LOG2_E) - f32(1.0)


@njit(parallel=True, **KERNEL)
def _unlift(x: Any, weight: Any, out: Any, slope: Any, dx: Any, dweight: Any, dbias: Any) -> None:
    variables, width, rows = out.shape
    for v in prange(variables):
        at, to = x[v], dx[v]
        for c in range(width):
            w, was, down, along, plain = weight[v, c], out[v, c], slope[v, c], f32(0.0), f32(0.0)
            for r in range(rows):
                d = down[r] * (f32(1.0) if was[r] > f32(0.0) else was[r] + f32(1.0))
                to[r] += d * w
                along += d * at[r]
                plain += d
            dweight[v, c], dbias[v, c] = along, plain


@njit(**KERNEL)
def _normed(
    at: Any, weight: Any, bias: Any, both: Any, first: int, offset: Any, t: Any, share: Any, inverse: Any
) -> None:
    """Fill ``t`` with one variable's normed sums, ``share`` with its gates, ``inverse`` with one over the deviation."""
    width, rows = t.shape
    mean, square = _zeros(rows), _zeros(rows)
    for c in range(width):
        w, b, add, lift = weight[c], bias[c], offset[c], offset[width + c]
        value, gate = both[c, first : first + rows], both[width + c, first : first + rows]
        row, gates = t[c], share[c]
        for r in range(rows):
            gates[r] = sigmoid(gate[r] + lift)
        for r in range(rows):
            total = at[r] * w + b + (value[r] + add) * gates[r]
            row[r] = total
            mean[r] += total
    for r in range(rows):
        mean[r] /= f32(width)
    for c in range(width):
        row = t[c]
        for r in range(rows):
            d = row[r] - mean[r]
            row[r] = d
            square[r] += d * d
    for r in range(rows):
        inverse[r] = f32(1.0) / np.sqrt(square[r] / f32(width) + _EPSILON)
    for c in range(width):
        row = t[c]
        for r in range(rows):
            row[r] *= inverse[r]


@njit(parallel=True, **KERNEL)
def _select(
    x: Any, weight: Any, bias: Any, both: Any, offset: Any, scale: Any, shift: Any, chosen: Any, out: Any
) -> None:
    variables, width = weight.shape
    for block in prange((x.shape[1] + LANES - 1) // LANES):
        first = block * LANES
        rows = min(LANES, x.shape[1] - first)
        t, share = np.empty((width, rows), dtype=np.float32), np.empty((width, rows), dtype=np.float32)
        inverse = _zeros(rows)
        for v in range(variables):
            _normed(x[v, first : first + rows], weight[v], bias[v], both[v], first, offset[v], t, share, inverse)
            by = chosen[v, first : first + rows]
            for c in range(width):
                row, to, stretch, move = t[c], out[c, first : first + rows], scale[v, c], shift[v, c]
                for r in range(rows):
                    to[r] += by[r] * (row[r] * stretch + move)


@njit(**KERNEL)
def _unnormed(t: Any, up: Any, inverse: Any) -> None:
    """Turn the gradient of normed rows into that of the rows, in place."""
    width, rows = t.shape
    plain, along = _zeros(rows), _zeros(rows)
    for c in range(width):
        row, slope = t[c], up[c]
        for r in range(rows):
            plain[r] += slope[r]
            along[r] += slope[r] * row[r]
    for c in range(width):
        row, slope = t[c], up[c]
        for r in range(rows):
            slope[r] = inverse[r] * (slope[r] - (plain[r] + row[r] * along[r]) / f32(width))


@njit(**KERNEL)
def _ungated(up: Any, share: Any, both: Any, dboth: Any, first: int, offset: Any, sums: Any) -> None:
    """Turn the gradient of the sums into those of values and gates."""
    width, rows = up.shape
    for c in range(width):
        slope, gates, value, add = up[c], share[c], both[c, first : first + rows], offset[c]
        dvalue, dgate = dboth[c, first : first + rows], dboth[width + c, first : first + rows]
        pulled, pushed = f32(0.0), f32(0.0)
        for r in range(rows):
            pull = slope[r] * gates[r]
            dvalue[r] = pull
            pulled += pull
        for r in range(rows):
            push = slope[r] * gates[r] * (f32(1.0) - gates[r]) * (value[r] + add)
            dgate[r] = push
            pushed += push
        sums[0, c], sums[1, c] = pulled, pushed


@njit(parallel=True, **KERNEL)
def _unselect(
    x: Any, weight: Any, bias: Any, both: Any, offset: Any, scale: Any, shift: Any, chosen: Any,
    slope: Any, dx: Any, dboth: Any, dchosen: Any, sums: Any,
) -> None:  # fmt: skip
    variables, width = weight.shape
    for block in prange((x.shape[1] + LANES - 1) // LANES):
        first = block * LANES
        rows = min(LANES, x.shape[1] - first)
        t, share = np.empty((width, rows), dtype=np.float32), np.empty((width, rows), dtype=np.float32)
        up, inverse = np.empty((width, rows), dtype=np.float32), _zeros(rows)
        for v in range(variables):
            at, by, total = x[v, first : first + rows], chosen[v, first : first + rows], sums[block, v]
            dat, dby = dx[v, first : first + rows], dchosen[v, first : first + rows]
            _normed(at, weight[v], bias[v], both[v], first, offset[v], t, share, inverse)
            for c in range(width):
                row, mine, down = t[c], up[c], slope[c, first : first + rows]
                stretch, move, along, plain = scale[v, c], shift[v, c], f32(0.0), f32(0.0)
                for r in range(rows):
                    dby[r] += down[r] * (row[r] * stretch + move)
                for r in range(rows):
                    pull = by[r] * down[r]
                    along += pull * row[r]
                    plain += pull
                    mine[r] = pull * stretch
                total[2, c], total[3, c] = along, plain
            _unnormed(t, up, inverse)
            _ungated(up, share, both[v], dboth[v], first, offset[v], total)
            for c in range(width):
                mine, w, along, plain = up[c], weight[v, c], f32(0.0), f32(0.0)
                for r in range(rows):
                    along += mine[r] * at[r]
                    plain += mine[r]
                    dat[r] += mine[r] * w
                total[4, c], total[5, c] = along, plain
