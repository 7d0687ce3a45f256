"""The Transformer's fused kernels: what PyTorch says in double precision, one operation after the other."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tradewind.models.networks import tft_gating, tft_kernels, tft_selection
from tradewind.models.networks.lanes import LANES
from tradewind.models.networks.network import Block, Shape
from tradewind.models.networks.tft import TemporalFusionTransformer
from tradewind.models.networks.tft_gating import GateAddNorm, GatedResidual, LockedDropout
from tradewind.models.networks.tft_kernels import gated_norm, lifted, raised, selected, worth_it
from tradewind.models.networks.tft_selection import NumericSelection

ROWS = st.one_of(st.integers(1, 40), st.sampled_from([LANES - 1, LANES, LANES + 1, 3 * LANES + 5]))


def plain_lifted(x, weight, bias):
    return functional.elu(x[:, None] * weight[..., None] + bias[..., None])


def plain_gated_norm(skip, both, offset, scale, shift):
    value, gate = (both + offset).chunk(2, -1)
    return functional.layer_norm(skip + value * torch.sigmoid(gate), skip.shape[-1:], scale, shift)


def plain_selected(x, weight, bias, both, offset, scale, shift, share):
    total = 0.0
    for v in range(len(x)):
        skip = x[v][:, None] * weight[v] + bias[v]
        total = total + share[v][:, None] * plain_gated_norm(skip, both[v].t(), offset[v], scale[v], shift[v])
    return total.t()


def plain_raised(hidden, offset):
    return functional.elu(hidden + offset)


def answers(function, parts, slope):
    parts = [part.detach().clone().requires_grad_() for part in parts]
    answer = function(*parts)
    return answer.detach(), *torch.autograd.grad((answer * slope).sum(), parts)


def near(fused, plain, parts, slope):
    ours = answers(fused, parts, slope)
    truth = answers(plain, [part.double() for part in parts], slope.double())
    for one, other in zip(ours, truth, strict=True):
        assert float((one - other).abs().max()) <= 2e-5 * max(1.0, float(other.abs().max()))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 40), ROWS, st.integers(0, 99))
def test_kernels_and_their_gradients_are_the_plain_forms(variables, width, rows, seed):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g)

    x, weight, bias = draw(variables, rows), draw(variables, width), draw(variables, width)
    near(lifted, plain_lifted, (x, weight, bias), draw(variables, width, rows))
    near(raised, plain_raised, (draw(3, rows, width), draw(1, rows, width)), draw(3, rows, width))
    both, offset = draw(variables, 2 * width, rows), draw(variables, 2 * width)
    scale, shift, share = draw(variables, width), draw(variables, width), draw(variables, rows)
    if width > 3:  # of few numbers the deviation may be next to nothing, and a norm multiplies rounding by one over it
        near(selected, plain_selected, (x, weight, bias, both, offset, scale, shift, share), draw(width, rows))
        parts = draw(rows, width), both[0].t().contiguous(), offset[0], scale[0], shift[0]
        truth = plain_gated_norm(*(part.double() for part in parts))
        assert float((gated_norm(*parts) - truth).abs().max()) <= 2e-5 * float(truth.abs().max())


@pytest.fixture
def always(monkeypatch):
    """Let the kernels take everything that they can."""
    monkeypatch.setattr(tft_kernels, "LEAST_NUMBERS", 0)


def through(layer, parts):
    """Return a layer's answer and all gradients, with one draw of its dropout."""
    layer.zero_grad()
    parts = [part.detach().clone().requires_grad_() for part in parts]
    torch.manual_seed(7)
    answer = layer(*parts)
    answer = answer[0] if isinstance(answer, tuple) else answer
    torch.manual_seed(8)
    (answer * torch.randn(answer.shape).to(answer)).sum().backward()
    return answer.detach(), *(part.grad for part in parts), *(p.grad.clone() for p in layer.parameters())


LAYERS = {
    "selection": (lambda rate: NumericSelection(5, 16, rate), ((3, 50, 5), (3, 1, 16))),
    "enrichment": (lambda rate: GatedResidual(16, 16, 16, 16, LockedDropout(rate, 0)), ((6, 9, 16), (1, 9, 16))),
    "gate": (lambda rate: GateAddNorm(16, 16, LockedDropout(rate, 0)), ((6, 9, 16), (6, 9, 16))),
}


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_learn_the_same_with_kernels_and_without(name, rate, monkeypatch):
    torch.manual_seed(1)
    build, shapes = LAYERS[name]
    layer, parts = build(rate).train(), [torch.randn(shape) for shape in shapes]
    exact = through(copy.deepcopy(layer).double(), [part.double() for part in parts])
    monkeypatch.setattr(tft_kernels, "LEAST_NUMBERS", 0)
    for one, other in zip(through(layer, parts), exact, strict=True):
        assert float((one - other).abs().max()) <= 2e-5 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_answer_the_same_with_kernels_and_without(name, always, monkeypatch):
    torch.manual_seed(1)
    build, shapes = LAYERS[name]
    layer, parts = build(0.3).eval(), [torch.randn(shape) for shape in shapes]
    calls = []
    for module, kernel in ((tft_gating, "gated_norm"), (tft_selection, "selected")):
        original = getattr(module, kernel)
        monkeypatch.setattr(module, kernel, lambda *a, original=original: (calls.append(1), original(*a))[1])
    with torch.no_grad():
        said = layer(*parts)
        truth = copy.deepcopy(layer).double()(*(part.double() for part in parts))
    said, truth = (answer[0] if isinstance(answer, tuple) else answer for answer in (said, truth))
    assert calls
    assert float((said - truth).abs().max()) < 1e-5


def test_what_is_no_number_stays_none_in_its_row_and_goes_no_further(always):
    skip, both = torch.randn(5, 8), torch.randn(5, 16)
    skip[2, 3] = torch.nan
    said = gated_norm(skip, both, torch.zeros(16), torch.ones(8), torch.zeros(8))
    assert said.isnan().any(1).tolist() == [False, False, True, False, False]


def test_small_tensors_and_other_types_are_left_to_pytorch():
    large = torch.zeros(200, 100)
    assert worth_it(large)
    assert not worth_it(large[:2])
    assert worth_it(large[:2], 100)
    assert not worth_it(large.double())


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch's own word on its LSTM
def test_a_traced_network_is_plain_operations(always):
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            shape = Shape(length=5, inputs=3, statics=(3,), future=2, horizons=2, levels=3, classes=False)
            self.network = TemporalFusionTransformer(shape, width=8, heads=2)

        def forward(self, values, statics, future):
            return self.network(Block(values, statics, future)).quantiles

    torch.manual_seed(1)
    flat = Flat().eval()
    block = torch.randn(4, 5, 3), torch.zeros(4, 1, dtype=torch.int64), torch.randn(4, 1, 2, 2)
    with torch.no_grad():
        traced = torch.export.export(flat, block, strict=False).module()(*block)
        torch.testing.assert_close(traced, flat(*block), rtol=1e-5, atol=1e-5)
