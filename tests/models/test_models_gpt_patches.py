"""GPT-2 blocks over patches: a patch knows no later one, and a window's answer is its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tradewind.errors import InputError
from tradewind.models.networks.gpt_patches import DecoderBlock, GPTPatches
from tradewind.models.networks.network import Block, Shape

SHAPE = Shape(length=24, inputs=5, statics=(4, 3), future=2, horizons=2, levels=5, classes=True)


@pytest.fixture(autouse=True)
def one_seed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def a_network(**changed):
    sizes = {"patch_bars": 5, "stride_bars": 3, "width": 16, "heads": 4, "layers": 2, "dropout": 0.0}
    return GPTPatches(SHAPE, **(sizes | changed))


def a_block(runs=3, windows=4, apart=1):
    return Block(
        torch.randn(runs, SHAPE.length + (windows - 1) * apart, SHAPE.inputs),
        torch.randint(0, 3, (runs, 2)),
        torch.randn(runs, windows, SHAPE.horizons, SHAPE.future),
    )


def test_answers_have_the_contracts_shapes_and_quantiles_rise():
    outputs = a_network()(a_block())
    assert outputs.quantiles.shape == (3, 4, 2, 5)
    assert outputs.logits.shape == (3, 4, 2, 3)
    assert (outputs.quantiles.diff(dim=-1) > 0).all()


@pytest.mark.parametrize("stride_bars", [1, 3, 5])
@pytest.mark.parametrize("apart", [1, 3])
def test_a_window_has_the_same_answer_in_a_run_and_alone(apart, stride_bars):
    network, block = a_network(stride_bars=stride_bars).eval(), a_block(apart=apart)
    together = network(block)
    for number in range(4):
        begin = number * apart
        alone = network(
            Block(block.values[:, begin : begin + SHAPE.length], block.statics, block.future[:, number : number + 1])
        )
        torch.testing.assert_close(alone.quantiles[:, 0], together.quantiles[:, number], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(alone.logits[:, 0], together.logits[:, number], rtol=1e-6, atol=1e-6)


def test_a_window_does_not_see_later_bars_of_its_run():
    network, block = a_network().eval(), a_block()
    changed = block._replace(values=block.values.clone())
    changed.values[:, SHAPE.length :] += 10.0
    assert torch.equal(network(block).quantiles[:, 0], network(changed).quantiles[:, 0])
    assert not torch.equal(network(block).quantiles[:, 1], network(changed).quantiles[:, 1])


def test_a_patch_knows_the_patches_up_to_it_and_no_later_one():
    network, patches = a_network().eval(), torch.randn(2, 7, 16, requires_grad=True)
    (slope,) = torch.autograd.grad(network.states(patches)[:, 3].square().sum(), patches)
    assert (slope[:, 4:] == 0).all()
    assert (slope[:, :4].abs().sum(dim=-1) > 0).all()


@pytest.mark.parametrize("layers", [1, 3])
def test_the_newest_state_computed_alone_is_the_newest_of_all(layers):
    network = a_network(layers=layers).double().eval()
    patches = torch.randn(4, 7, 16, dtype=torch.float64)
    alone = network.states(patches, newest_alone=True)
    assert alone.shape == (4, 1, 16)
    torch.testing.assert_close(alone, network.states(patches)[:, -1:], rtol=0, atol=1e-13)


def test_patches_end_at_the_newest_bar():
    network = a_network().eval()
    values = torch.zeros(1, SHAPE.length, SHAPE.inputs, requires_grad=True)
    patches = network.patches(values, 1)
    assert patches.shape == (1, 7, 16)  # bars 1-5, 4-8, … 19-23; bar 0 is in no whole patch
    (newest,) = torch.autograd.grad(patches[0, -1].sum(), values, retain_graph=True)
    assert newest[0].any(dim=-1).nonzero().flatten().tolist() == [19, 20, 21, 22, 23]
    (oldest,) = torch.autograd.grad(patches[0, 0].sum(), values)
    assert oldest[0].any(dim=-1).nonzero().flatten().tolist() == [1, 2, 3, 4, 5]


def test_the_attention_of_a_block_is_the_formula_written_with_numpy():
    block, width, heads = DecoderBlock(8, 2, 0.0, 1).double().eval(), 8, 2
    torch.nn.init.normal_(block.attend.weight)
    seen = torch.randn(1, 5, width, dtype=torch.float64)
    query, key, value = np.split(block.attend(seen)[0].detach().numpy(), 3, axis=-1)
    expected = np.empty((5, width))
    for head in range(heads):
        part = slice(head * 4, head * 4 + 4)
        for place in range(5):
            fit = np.exp(key[: place + 1, part] @ query[place, part] / 2.0)
            expected[place, part] = fit @ value[: place + 1, part] / fit.sum()
    np.testing.assert_allclose(block._met(seen)[0].detach().numpy(), expected, atol=1e-12)


def test_every_parameter_learns():
    network = a_network()
    outputs = network(a_block())
    (outputs.quantiles.square().sum() + outputs.logits.square().sum()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_a_network_learns_a_fading_sum_of_the_bars():
    network = a_network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    fading = 0.5 * 0.8 ** torch.arange(SHAPE.length).flip(0)
    losses = []
    for _ in range(150):
        block = a_block(runs=24)
        wanted = block.values.unfold(1, SHAPE.length, 1)[:, :, 0] @ fading
        loss = (network(block).quantiles[..., 2] - wanted[..., None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:5])


def test_a_network_can_be_exported():
    network, block = a_network().eval(), a_block(windows=1)
    program = torch.export.export(network, (block,))
    torch.testing.assert_close(program.module()(block).quantiles, network(block).quantiles)


@pytest.mark.parametrize("patches", [{"patch_bars": 25}, {"patch_bars": 0}, {"stride_bars": 0}])
def test_patches_that_do_not_fit_are_refused(patches):
    with pytest.raises(InputError, match="cannot be cut out of windows of 24"):
        a_network(**patches)


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(InputError, match="cannot be shared"):
        a_network(width=10)
