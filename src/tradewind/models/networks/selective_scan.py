r"""The selective scan of Mamba (Gu & Dao 2023, section 3): the recurrence and its gradient as one numba kernel each.

.. math::

    \Delta_t = \mathrm{softplus}(\delta_t + \delta_0), \quad
    h_t = e^{\Delta_t A} h_{t-1} + \Delta_t B_t u_t, \quad
    y_t = (C_t h_t + D u_t)\,\mathrm{silu}(z_t)

A state of ``N`` numbers per channel lives only inside the kernel. The forward pass keeps it every ``EVERY`` bars; the
backward pass computes the states in between again, so a sixteenth of the states is kept where an operation-by-operation
form keeps several copies of all. Channels lie side by side in the innermost loops; blocks of channels and the sequences
of a batch are shared among threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor, nn

from tradewind.models.networks.lanes import KERNEL, LANES, LN_2, LOG2_E, decay_of, f32, sigmoid, silu_slope, softplus

#: Bars between two states that are kept for the backward pass.
EVERY = 16


class Scan(NamedTuple):
    """What goes into a selective scan.

    Attributes
    ----------
    u, delta, z
        ``(B, L, D)``: input, step size before bias and softplus, and gate before SiLU.
    A
        ``(D, N)``, below 0.
    B, C
        ``(B, L, N)``: what enters the state and what is read from it.
    D, bias
        ``(D,)``: what passes by the state, and the step size's bias.
    """

    u: Tensor
    delta: Tensor
    z: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    bias: Tensor


def fusible(x: Tensor) -> bool:
    """Return whether the kernels can take this: float32 on the CPU, and nobody is tracing a graph."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()


def scan_fused(scan: Scan) -> tuple[Tensor, Tensor]:
    """Return ``y`` of ``(B, L, D)`` and the last state ``(B, D, N)``, from which no gradient flows.

    Only for what :func:`fusible` allows; NaN goes through to everything that depends on it.
    """
    return _SelectiveScan.apply(*scan)  # type: ignore[no-untyped-call]


def scan_loop(scan: Scan) -> tuple[Tensor, Tensor]:
    """Return the same, bar after bar in PyTorch: any device and dtype, exportable, and the oracle of the kernels."""
    decay, drive = _discretise(scan)
    state = torch.zeros_like(decay[:, 0])
    states = []
    for t in range(decay.shape[1]):
        state = decay[:, t] * state + drive[:, t]
        states.append(state)
    return _read(scan, torch.stack(states, dim=1)), state


def scan_doubling(scan: Scan) -> tuple[Tensor, Tensor]:
    """Return the same in ``log2(L)`` rounds over all bars at once (Hillis & Steele 1986): for devices of many lanes.

    After a round every bar's state holds what twice as many bars before it put in.
    """
    decay, state = _discretise(scan)
    reach, length = 1, state.shape[1]
    while reach < length:
        state = torch.cat([state[:, :reach], torch.addcmul(state[:, reach:], decay[:, reach:], state[:, :-reach])], 1)
        decay = torch.cat([decay[:, :reach], decay[:, reach:] * decay[:, :-reach]], dim=1)
        reach *= 2
    return _read(scan, state), state[:, -1]


def scan_step(scan: Scan, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``y`` and the next state of one bar, ``L = 1``, from the state ``(B, D, N)`` before it."""
    decay, drive = _discretise(scan)
    state = torch.addcmul(drive[:, 0], decay[:, 0], state)
    return _read(scan, state[:, None]), state


def _discretise(scan: Scan) -> tuple[Tensor, Tensor]:
    """Return what is left of the state and what enters it at each bar, ``(B, L, D, N)``."""
    step = nn.functional.softplus(scan.delta + scan.bias)
    return torch.exp(step[..., None] * scan.A), (step * scan.u)[..., None] * scan.B[..., None, :]


def _read(scan: Scan, states: Tensor) -> Tensor:
    read = (states @ scan.C[..., None]).squeeze(-1)
    return (read + scan.D * scan.u) * nn.functional.silu(scan.z)


def as_array(x: Tensor) -> np.ndarray[Any, Any]:
    """Return the tensor's memory as a contiguous array; of a copy where it is not contiguous (for reading only)."""
    return x.detach().contiguous().numpy()


@contextmanager
def thread_count() -> Iterator[None]:
    """Let numba use as many threads inside as torch does, and torch as many as before.

    Where both share one OpenMP runtime, numba tells it at its first launch to use all cores, torch included.
    """
    wanted, before = torch.get_num_threads(), numba.get_num_threads()
    numba.set_num_threads(min(wanted, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> tuple[Tensor, Tensor]:
        scan = Scan(*(part.contiguous() for part in parts))
        batch, length, channels = scan.u.shape
        states = scan.A.shape[1]
        y = torch.empty_like(scan.u)
        kept = scan.u.new_empty((batch, -(-length // EVERY), states, channels))
        last = scan.u.new_empty((batch, states, channels))
        with thread_count():
            _forward(*_arrays(scan), as_array(y), as_array(kept), as_array(last))
        ctx.save_for_backward(*scan, kept)
        last = last.transpose(1, 2)
        ctx.mark_non_differentiable(last)
        return y, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        *parts, kept = ctx.saved_tensors
        scan = Scan(*parts)
        batch, channels = scan.u.shape[0], scan.u.shape[2]
        blocks = -(-channels // LANES)
        new = scan.u.new_empty
        du, ddelta, dz = (torch.empty_like(scan.u) for _ in range(3))
        dA = new((batch, scan.A.shape[1], channels))
        dB, dC = (new((blocks, *scan.B.shape)) for _ in range(2))
        dD, dbias = (new((batch, channels)) for _ in range(2))
        gradients = (du, ddelta, dz, dA, dB, dC, dD, dbias)
        with thread_count():
            _backward(*_arrays(scan), as_array(kept), as_array(dy), *(as_array(part) for part in gradients))
        return du, ddelta, dz, dA.sum(dim=0).t(), dB.sum(dim=0), dC.sum(dim=0), dD.sum(dim=0), dbias.sum(dim=0)


def _arrays(scan: Scan) -> tuple[np.ndarray[Any, Any], ...]:
    """Return the parts as the kernels want them: ``A`` as ``(N, D)``, channels last like everything else."""
    return tuple(as_array(part) for part in scan._replace(A=scan.A.t()))


@njit(**KERNEL)
def _rates(A: Any) -> Any:
    """Return a block's ``A`` for powers of two, ``(N, width)``."""
    rates = np.empty(A.shape, dtype=np.float32)
    for n in range(A.shape[0]):
        for d in range(A.shape[1]):
            rates[n, d] = A[n, d] * LOG2_E
    return rates


@njit(**KERNEL)
def _zeros(width: int) -> Any:
    """Return zeros for a block of channels; an unpacked row of a matrix would be typed as strided: no vector code."""
    return np.zeros(width, dtype=np.float32)


@njit(**KERNEL)
def _load(u: Any, delta: Any, bias: Any, step: Any, push: Any) -> None:
    """Fill the lanes with one bar's step size and what it pushes into the state."""
    for d in range(u.shape[0]):
        size = softplus(delta[d] + bias[d])
        step[d] = size
        push[d] = size * u[d]


@njit(**KERNEL)
def _advance(rates: Any, step: Any, push: Any, enter: Any, leave: Any, state: Any, read: Any) -> None:
    """Move the states of a block one bar on, in place, and read them."""
    read[:] = f32(0.0)
    for n in range(rates.shape[0]):
        b, c = enter[n], leave[n]
        for d in range(rates.shape[1]):
            h = decay_of(step[d] * rates[n, d]) * state[n, d] + push[d] * b
            state[n, d] = h
            read[d] += c * h


@njit(**KERNEL)
def _answer(u: Any, z: Any, D: Any, read: Any, y: Any) -> None:
    """Add what passes by the state, and gate."""
    for d in range(u.shape[0]):
        y[d] = (read[d] + D[d] * u[d]) * z[d] * sigmoid(z[d])


@njit(parallel=True, **KERNEL)
def _forward(
    u: Any, delta: Any, z: Any, A: Any, B: Any, C: Any, D: Any, bias: Any, y: Any, kept: Any, last: Any
) -> None:
    batch, length, channels = u.shape
    states = A.shape[0]
    blocks = (channels + LANES - 1) // LANES
    for task in prange(batch * blocks):
        b, first = task // blocks, task % blocks * LANES
        past = min(first + LANES, channels)
        width = past - first
        rates = _rates(A[:, first:past])
        state = np.zeros((states, width), dtype=np.float32)
        step, push, read = _zeros(width), _zeros(width), _zeros(width)
        for t in range(length):
            if t % EVERY == 0:
                kept[b, t // EVERY, :, first:past] = state
            now = u[b, t, first:past]
            _load(now, delta[b, t, first:past], bias[first:past], step, push)
            _advance(rates, step, push, B[b, t], C[b, t], state, read)
            _answer(now, z[b, t, first:past], D[first:past], read, y[b, t, first:past])
        last[b, :, first:past] = state


@njit(**KERNEL)
def _advance_keeping(
    rates: Any, step: Any, push: Any, enter: Any, leave: Any, before: Any, decay: Any, after: Any, read: Any
) -> None:
    """Move the states of a block one bar on and keep what the way back needs."""
    read[:] = f32(0.0)
    for n in range(rates.shape[0]):
        b, c = enter[n], leave[n]
        for d in range(rates.shape[1]):
            e = decay_of(step[d] * rates[n, d])
            decay[n, d] = e
            h = e * before[n, d] + push[d] * b
            after[n, d] = h
            read[d] += c * h


@njit(**KERNEL)
def _unanswer(dy: Any, u: Any, z: Any, D: Any, read: Any, slope: Any, dz: Any, dD: Any) -> None:
    """Turn the gradient of the answer into that of what was read, of the gate and of what passed by."""
    for d in range(u.shape[0]):
        sigma = sigmoid(z[d])
        pull = dy[d] * z[d] * sigma
        slope[d] = pull
        dz[d] = dy[d] * (read[d] + D[d] * u[d]) * silu_slope(z[d], sigma)
        dD[d] += pull * u[d]


@njit(**KERNEL)
def _retreat(
    rates: Any, slope: Any, step: Any, push: Any, enter: Any, leave: Any,
    before: Any, after: Any, decay: Any, carry: Any,
    dpush: Any, dstep: Any, dA: Any, denter: Any, dleave: Any,
) -> None:  # fmt: skip
    """Move the gradient of the states of a block one bar back; ``slope`` is that of what was read.

    ``carry`` comes in as the gradient of the state after the bar by all later bars, and leaves as that of the state
    before it. ``dstep`` is in units of the rates (powers of two).
    """
    dpush[:] = f32(0.0)
    dstep[:] = f32(0.0)
    for n in range(rates.shape[0]):
        b, c = enter[n], leave[n]
        entered, left = f32(0.0), f32(0.0)
        for d in range(rates.shape[1]):
            dh = carry[n, d] + c * slope[d]
            left += slope[d] * after[n, d]
            entered += dh * push[d]
            dpush[d] += dh * b
            back = dh * decay[n, d]
            carry[n, d] = back
            faded = back * before[n, d]
            dstep[d] += faded * rates[n, d]
            dA[n, d] += faded * step[d]
        denter[n], dleave[n] = entered, left


@njit(**KERNEL)
def _unload(
    u: Any, delta: Any, bias: Any, D: Any, step: Any, slope: Any, dpush: Any, dstep: Any,
    du: Any, ddelta: Any, dbias: Any,
) -> None:  # fmt: skip
    """Turn the gradients of the step size and of what was pushed into those of what they were made of."""
    for d in range(u.shape[0]):
        change = (dstep[d] * LN_2 + dpush[d] * u[d]) * sigmoid(delta[d] + bias[d])
        ddelta[d] = change
        dbias[d] += change
        du[d] = dpush[d] * step[d] + slope[d] * D[d]


@njit(parallel=True, **KERNEL)
def _backward(
    u: Any, delta: Any, z: Any, A: Any, B: Any, C: Any, D: Any, bias: Any, kept: Any, dy: Any,
    du: Any, ddelta: Any, dz: Any, dA: Any, dB: Any, dC: Any, dD: Any, dbias: Any,
) -> None:  # fmt: skip
    batch, length, channels = u.shape
    states = A.shape[0]
    blocks = (channels + LANES - 1) // LANES
    for task in prange(batch * blocks):
        b, block = task // blocks, task % blocks
        first = block * LANES
        past = min(first + LANES, channels)
        width = past - first
        rates, direct, offset = _rates(A[:, first:past]), D[first:past], bias[first:past]
        state = np.zeros((EVERY + 1, states, width), dtype=np.float32)
        decay = np.empty((EVERY, states, width), dtype=np.float32)
        step = np.zeros((EVERY, width), dtype=np.float32)
        push, read = np.zeros_like(step), np.zeros_like(step)
        carry = np.zeros((states, width), dtype=np.float32)
        drate = np.zeros_like(carry)
        slope, dpush, dstep, ddirect, doffset = (
            _zeros(width),
            _zeros(width),
            _zeros(width),
            _zeros(width),
            _zeros(width),
        )
        for chunk in range(kept.shape[1] - 1, -1, -1):
            start = chunk * EVERY
            count = min(EVERY, length - start)
            state[0] = kept[b, chunk, :, first:past]
            for s in range(count):
                t = start + s
                _load(u[b, t, first:past], delta[b, t, first:past], offset, step[s], push[s])
                _advance_keeping(rates, step[s], push[s], B[b, t], C[b, t], state[s], decay[s], state[s + 1], read[s])
            for s in range(count - 1, -1, -1):
                t = start + s
                now = u[b, t, first:past]
                _unanswer(
                    dy[b, t, first:past], now, z[b, t, first:past], direct, read[s],
                    slope, dz[b, t, first:past], ddirect,
                )  # fmt: skip
                _retreat(
                    rates, slope, step[s], push[s], B[b, t], C[b, t], state[s], state[s + 1], decay[s], carry,
                    dpush, dstep, drate, dB[block, b, t], dC[block, b, t],
                )  # fmt: skip
                _unload(
                    now, delta[b, t, first:past], offset, direct, step[s], slope, dpush, dstep,
                    du[b, t, first:past], ddelta[b, t, first:past], doffset,
                )  # fmt: skip
        dA[b, :, first:past] = drate
        dD[b, first:past] = ddirect
        dbias[b, first:past] = doffset
