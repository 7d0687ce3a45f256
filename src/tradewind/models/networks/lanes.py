"""Elementary functions for numba kernels that LLVM turns into vector code, within 3e-7 of the true value."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

#: Channels, at most, that a kernel works on side by side, in a task of its own: with 16 states and 16 bars of them,
#: what a task touches stays within half a megabyte of cache.
LANES = 128

#: How kernels are compiled: sums in any order, products fused into them, never the assumption that there is no NaN;
#: a division by zero is no exception (whose check would forbid vector code).
KERNEL: dict[str, Any] = {
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
    "error_model": "numpy",
    "cache": True,
}

f32 = np.float32
LOG2_E, LN_2 = f32(1.4426950408889634), f32(0.6931471805599453)

_LARGEST = f32(126.0)
_BIAS, _MANTISSA_BITS = np.int32(127), np.int32(23)
#: 2**r on [-1/2, 1/2] by powers of r, least largest relative error.
_P1, _P2, _P3 = f32(0.693147182), f32(0.240226464), f32(0.0555032082)
_P4, _P5, _P6 = f32(0.00961835496), f32(0.00133988704), f32(0.000154637042)
#: atanh(s) / s by powers of s squared; s is 1/3 at most, so that what is left out is below 2e-8.
_S1, _S2, _S3 = f32(1 / 3), f32(1 / 5), f32(1 / 7)
_S4, _S5, _S6 = f32(1 / 9), f32(1 / 11), f32(1 / 13)


def _reading(typing_context: Any, bits: Any) -> Any:
    """Read the bits of an int32 as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


_float_of_bits: Any = intrinsic(_reading)


@njit(inline="always")
def decay_of(x: f32) -> f32:
    """Two to the power of x for x below 127, and 2**-126 at least; NaN stays NaN."""
    x = -_LARGEST if x < -_LARGEST else x
    whole = np.rint(x)
    r = x - whole
    part = f32(1.0) + r * (_P1 + r * (_P2 + r * (_P3 + r * (_P4 + r * (_P5 + r * _P6)))))
    return part * _float_of_bits((np.int32(whole) + _BIAS) << _MANTISSA_BITS)


@njit(inline="always")
def exp2(x: f32) -> f32:
    """Two to the power of x, x held within ±126; NaN stays NaN."""
    return decay_of(_LARGEST if x > _LARGEST else x)


@njit(inline="always")
def sigmoid(x: f32) -> f32:
    """One over one plus e to the minus x."""
    return f32(1.0) / (f32(1.0) + exp2(-x * LOG2_E))


@njit(inline="always")
def softplus(x: f32) -> f32:
    """Return the logarithm of one plus e to the x."""
    small = exp2(-abs(x) * LOG2_E)
    s = small / (f32(2.0) + small)
    q = s * s
    series = f32(1.0) + q * (_S1 + q * (_S2 + q * (_S3 + q * (_S4 + q * (_S5 + q * _S6)))))
    return (x if x > f32(0.0) else f32(0.0)) + f32(2.0) * s * series


@njit(inline="always")
def silu_slope(x: f32, sigma: f32) -> f32:
    """Return the derivative of x * sigmoid(x), where sigma is sigmoid(x)."""
    return sigma * (f32(1.0) + x * (f32(1.0) - sigma))
