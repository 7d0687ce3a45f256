"""Kolmogorov-Arnold networks: the splines are scipy's, the functions are learnt, drawn and told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from tradewind.errors import InputError
from tradewind.models.base import MODELS
from tradewind.models.networks.kan import KAN, KANLayer, SplineBasis, fading
from tradewind.models.networks.network import Block, Shape

GRIDS, ORDERS, REACHES = st.integers(1, 12), st.integers(1, 5), st.floats(0.5, 6.0)
SHAPE = Shape(length=24, inputs=5, statics=(4, 3), future=2, horizons=2, levels=5, classes=True)


@pytest.fixture(autouse=True)
def one_seed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def scipys(basis):
    """The same splines, each on its own knots, zero elsewhere."""
    step = 2 * basis.reach / basis.grid
    knots = -basis.reach + step * np.arange(-basis.order, basis.grid + basis.order + 1)
    return knots, [
        BSpline.basis_element(knots[j : j + basis.order + 2], extrapolate=False)
        for j in range(basis.grid + basis.order)
    ]


def a_kan(**changed):
    return KAN(SHAPE, **({"width": 8, "dropout": 0.0} | changed))


def a_block(runs=3, windows=4, apart=1):
    return Block(
        torch.randn(runs, SHAPE.length + (windows - 1) * apart, SHAPE.inputs),
        torch.randint(0, 3, (runs, 2)),
        torch.randn(runs, windows, SHAPE.horizons, SHAPE.future),
    )


# --- the splines --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(GRIDS, ORDERS, REACHES)
def test_the_basis_is_scipys_design_matrix_on_the_grid(grid, order, reach):
    basis = SplineBasis(grid, order, reach).double()
    places = np.linspace(-reach, reach, 101)[1:-1]
    knots, _ = scipys(basis)
    truth = BSpline.design_matrix(places, knots, order).toarray()
    np.testing.assert_allclose(basis(torch.from_numpy(places)).numpy(), truth, atol=1e-10, rtol=0)


@settings(max_examples=20, deadline=None)
@given(GRIDS, ORDERS, REACHES)
def test_beyond_the_grid_each_spline_ends_where_scipys_does(grid, order, reach):
    basis = SplineBasis(grid, order, reach).double()
    places = np.random.default_rng(0).uniform(-9 * reach, 9 * reach, 300)
    _, elements = scipys(basis)
    truth = np.stack([np.nan_to_num(element(places)) for element in elements], axis=-1)
    np.testing.assert_allclose(basis(torch.from_numpy(places)).numpy(), truth, atol=1e-10, rtol=0)


def test_single_precision_says_the_same_to_a_millionth():
    basis, places = SplineBasis(5, 3, 3.0), torch.linspace(-4, 4, 401)
    _, elements = scipys(basis)
    truth = np.stack([np.nan_to_num(element(places.double().numpy())) for element in elements], axis=-1)
    np.testing.assert_allclose(basis(places).numpy(), truth, atol=1e-6, rtol=0)


@settings(max_examples=40, deadline=None)
@given(GRIDS, ORDERS, st.floats(-1.0, 1.0))
def test_the_splines_add_up_to_one_on_the_grid(grid, order, place):
    total = SplineBasis(grid, order, 3.0).double()(torch.tensor([3.0 * place], dtype=torch.float64)).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(GRIDS, ORDERS, REACHES)
def test_the_slopes_are_scipys_on_the_grid_and_beyond(grid, order, reach):
    basis = SplineBasis(grid, order, reach).double()
    places = np.random.default_rng(0).uniform(-2 * reach, 2 * reach, 60)
    asked = torch.from_numpy(places).requires_grad_()
    _, elements = scipys(basis)
    for number, element in enumerate(elements):
        (slope,) = torch.autograd.grad(basis(asked)[:, number].sum(), asked)
        truth = np.nan_to_num(element.derivative()(places))
        np.testing.assert_allclose(slope.numpy(), truth, atol=1e-9, rtol=0)


@pytest.mark.parametrize("wrong", [{"grid": 0}, {"order": 0}, {"reach": 0.0}, {"summaries": -1}])
def test_sizes_that_no_function_can_have_are_refused(wrong):
    with pytest.raises(InputError):
        a_kan(**wrong)


# --- the layer ----------------------------------------------------------------------------------------------------


def error_of(layer, seed=0):
    """How far a layer stays from the sine after a short training."""
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.05, weight_decay=1e-3)
    x = torch.rand(256, 1, generator=torch.Generator().manual_seed(seed)) * 6 - 3
    for _ in range(200):
        loss = (layer(x) - torch.sin(x)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def test_a_layer_learns_a_sine_that_a_line_cannot():
    curved, straight = error_of(KANLayer(1, 1)), error_of(torch.nn.Linear(1, 1))
    assert curved < 1e-3
    assert curved < straight / 50


def test_an_output_is_the_sum_of_its_edges():
    layer, x = KANLayer(6, 3), torch.randn(10, 6)
    torch.testing.assert_close(layer.edges(x).sum(dim=-1), layer(x))


def test_far_beyond_the_grid_only_the_base_function_is_left():
    layer, x = KANLayer(4, 2), torch.tensor([[100.0, -100.0, 8.0, -8.0]])
    torch.testing.assert_close(layer(x), torch.nn.functional.silu(x) @ layer.weight[..., 0].T)


# --- the network --------------------------------------------------------------------------------------------------


def test_the_sums_begin_as_exponential_means():
    weights = fading(60, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert (weights.diff(dim=1) > 0).all()
    torch.testing.assert_close(weights[0, -1] / weights[0, -3], torch.tensor(2.0))
    torch.testing.assert_close(weights[2, -1] / weights[2, -31], torch.tensor(2.0))


@pytest.mark.parametrize("summaries", [0, 1, 3])
def test_answers_have_the_contracts_shapes_and_quantiles_rise(summaries):
    outputs = a_kan(summaries=summaries)(a_block())
    assert outputs.quantiles.shape == (3, 4, 2, 5)
    assert outputs.logits.shape == (3, 4, 2, 3)
    assert (outputs.quantiles.diff(dim=-1) > 0).all()


@pytest.mark.parametrize("apart", [1, 3])
def test_a_window_has_the_same_answer_in_a_run_and_alone(apart):
    network, block = a_kan().eval(), a_block(apart=apart)
    together = network(block)
    for number in range(4):
        begin = number * apart
        alone = Block(
            block.values[:, begin : begin + SHAPE.length], block.statics, block.future[:, number : number + 1]
        )
        torch.testing.assert_close(network(alone).quantiles[:, 0], together.quantiles[:, number], rtol=1e-6, atol=1e-6)


def test_a_window_does_not_see_later_bars_of_its_run():
    network, block = a_kan().eval(), a_block()
    changed = block._replace(values=block.values.clone())
    changed.values[:, SHAPE.length :] += 10.0
    assert torch.equal(network(block).quantiles[:, 0], network(changed).quantiles[:, 0])
    assert not torch.equal(network(block).quantiles[:, 1], network(changed).quantiles[:, 1])


def test_every_parameter_learns():
    network = a_kan()
    outputs = network(a_block())
    (outputs.quantiles.square().sum() + outputs.logits.square().sum()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def learnt():
    """A network that was taught the sine of the second channel's newest value."""
    network = a_kan(summaries=1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
    losses = []
    for _ in range(150):
        block = a_block(runs=24)
        wanted = torch.sin(2 * block.values[:, SHAPE.length - 1 :, 1])
        loss = (network(block).quantiles[..., 2] - wanted[..., None]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return network.eval(), losses


def test_what_it_was_taught_by_contributes_most():
    network, losses = learnt()
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:5])
    curves = network.curves(a_block(runs=60))
    assert int(curves.contribution.argmax()) == 1  # the newest value of the second channel


def test_a_curve_is_how_one_hidden_unit_moves_with_one_input_alone():
    network, block = a_kan().eval(), a_block()
    curves, summary, channel = network.curves(block), 2, 3
    assert curves.values.shape == (3, SHAPE.inputs, 25)
    assert curves.points[[0, -1]].tolist() == [-3.0, 3.0]
    place = summary * SHAPE.inputs + channel
    read = network.read(block).flatten(1)
    moved = read[:1].repeat(25, 1)
    moved[:, place] = curves.points
    units = network.first(moved).detach()
    drawn = curves.values[summary, channel]
    distance = ((units - units[:1]) - (drawn - drawn[0])[:, None]).abs().amax(dim=0)
    unit = int(distance.argmin())
    assert float(distance[unit]) < 1e-5
    edges = network.first.edges(read).detach()[:, :, place]
    spread = (edges - edges.mean(dim=0)).abs().mean(dim=0)
    assert unit == int(spread.argmax())
    torch.testing.assert_close(curves.contribution[summary, channel], spread.mean())


def test_a_network_can_be_exported():
    network, block = a_kan().eval(), a_block(windows=1)
    program = torch.export.export(network, (block,))
    torch.testing.assert_close(program.module()(block).quantiles, network(block).quantiles)


# --- the model ----------------------------------------------------------------------------------------------------


def test_a_forecast_tells_the_curves_of_five_channels(make_panel, make_windows):
    panel = make_panel(bars=400)
    model = MODELS.create(
        "kan", window_bars=20, width=8, epochs=2, epoch_windows=400, batch_windows=128, seed=3, summaries=2
    ).fit(make_windows(panel.head(330), np.arange(50, 330)))
    told = json.loads(json.dumps(model.explain(make_windows(panel, np.arange(330, 400)))))["curves"]
    assert told["points"][0] == -3.0 and told["points"][-1] == 3.0
    assert len(told["channels"]) == 5
    shares = [channel["share"] for channel in told["channels"].values()]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    for name, channel in told["channels"].items():
        assert name in model.fitted_.channels
        assert len(channel["sums"]) == 2
        for row in (channel["newest"], *channel["sums"]):
            assert len(row) == len(told["points"])
            assert np.isfinite(row).all()
