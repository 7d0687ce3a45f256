from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.models.networks import products
from tradewind.models.networks.products import LEAST_MULTIPLICATIONS, linear


def answers(function, x, weight, bias, slope):
    parts = [part.detach().clone().requires_grad_() for part in (x, weight) + ((bias,) if bias is not None else ())]
    y = function(*parts) if bias is not None else function(*parts, None)
    return y.detach(), *torch.autograd.grad((y * slope).sum(), parts)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 99))
def test_products_and_their_gradients_are_pytorchs(batch, rows, inputs, outputs, biased, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, rows, inputs, generator=draw)
    weight = torch.randn(outputs, inputs, generator=draw)
    bias = torch.randn(outputs, generator=draw) if biased else None
    slope = torch.randn(batch, rows, outputs, generator=draw)
    before = products.LEAST_MULTIPLICATIONS
    products.LEAST_MULTIPLICATIONS = 0
    try:
        ours = answers(linear, x, weight, bias, slope)
    finally:
        products.LEAST_MULTIPLICATIONS = before
    doubled = [None if part is None else part.double() for part in (x, weight, bias, slope)]
    for one, other in zip(ours, answers(torch.nn.functional.linear, *doubled), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


def test_memory_that_is_not_in_order_is_taken(monkeypatch):
    monkeypatch.setattr(products, "LEAST_MULTIPLICATIONS", 0)
    wide, weight = torch.randn(4, 30, 12), torch.randn(5, 6)
    x = wide[..., 3:9]
    torch.testing.assert_close(linear(x, weight), torch.nn.functional.linear(x, weight))
    y = linear(x.requires_grad_(), weight)
    (slope,) = torch.autograd.grad(y.sum(), x)  # an expanded scalar, without memory of its own
    torch.testing.assert_close(slope, weight.sum(dim=0).expand(4, 30, 6))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_pytorch(dtype):
    x, weight = torch.randn(2048, 64, dtype=dtype), torch.randn(64, 64, dtype=dtype)
    assert x.numel() * 64 >= LEAST_MULTIPLICATIONS
    assert torch.equal(linear(x, weight), torch.nn.functional.linear(x, weight))


def test_without_onednn_pytorchs_own_product_is_used(monkeypatch):
    monkeypatch.setattr(products, "_available", lambda: False)
    x, weight = torch.randn(2048, 64), torch.randn(64, 64)
    assert torch.equal(linear(x, weight), torch.nn.functional.linear(x, weight))


def test_only_the_gradients_that_are_asked_for_are_computed(monkeypatch):
    monkeypatch.setattr(products, "LEAST_MULTIPLICATIONS", 0)
    x, weight = torch.randn(7, 3), torch.randn(2, 3, requires_grad=True)
    linear(x, weight).sum().backward()
    assert x.grad is None
    torch.testing.assert_close(weight.grad, x.sum(dim=0).expand(2, 3))
