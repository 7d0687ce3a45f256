"""Large matrix products on the CPU through oneDNN instead of MKL, which does not use AMD's vector units fully."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: Products of fewer multiplications than this are left to PyTorch: oneDNN takes longer to begin.
LEAST_MULTIPLICATIONS = 1 << 22


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias``, ``(…, I)`` to ``(…, O)``, as ``torch.nn.functional.linear``, to rounding.

    PyTorch sends float32 products to MKL. On an AMD processor with AVX-512 oneDNN, which PyTorch carries too, is 2.0 to
    2.4 times as fast from about 2,000 rows on. Where it is absent or cannot take the product, PyTorch's own is used;
    the gradient cannot be differentiated again where it is not.
    """
    if _worth_it(x, weight):
        return _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return nn.functional.linear(x, weight, bias)


def _worth_it(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() * weight.shape[0] >= LEAST_MULTIPLICATIONS
        and _available()
    )


def _available() -> bool:
    built = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(built) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` of matrices."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, weight = x.contiguous(), weight.contiguous()  # for others oneDNN may take a reference implementation
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return _product(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = dy.contiguous().flatten(0, -2)
        dx = _product(rows, weight.t()).view(x.shape) if ctx.needs_input_grad[0] else None
        dweight = _product(rows.t(), x.flatten(0, -2).t()) if ctx.needs_input_grad[1] else None
        return dx, dweight, rows.sum(dim=0) if ctx.has_bias else None
