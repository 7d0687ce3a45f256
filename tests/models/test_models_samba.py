"""The graph over stocks: what connects them, whom a forecast may depend on, and what the network learns from others."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.models.base import MODELS
from tradewind.models.networks.network import Block, Shape
from tradewind.models.networks.samba import Samba
from tradewind.models.networks.sequences import (
    BAR_CHANNELS,
    PRESENT_CHANNEL,
    RETURN_CHANNEL,
    Runs,
    Vocabulary,
    dates_of,
    runs_of,
    seen_together,
    sequences_of,
)
from tradewind.models.networks.stock_graph import GraphLayer, correlations

SHAPE = Shape(length=24, inputs=9, statics=(6, 3), future=2, horizons=2, levels=5, classes=True)
SMALL = {"window_bars": 20, "width": 8, "epochs": 2, "epoch_windows": 400, "batch_windows": 128, "seed": 3}


@pytest.fixture(autouse=True)
def one_seed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def a_network(**changed):
    sizes = {"width": 8, "layers": 1, "dropout": 0.0, "graph_layers": 2, "order": 2, "embedding": 4}
    return Samba(SHAPE, **(sizes | {"correlation_bars": 16, "least_correlation": 0.3} | changed))


def a_block(stocks=6, windows=1, apart=1, section=None):
    """Stocks with a market in common, some bars missing."""
    rows = SHAPE.length + (windows - 1) * apart
    values = torch.randn(stocks, rows, SHAPE.inputs)
    values[..., RETURN_CHANNEL] += torch.randn(1, rows)
    values[..., PRESENT_CHANNEL] = (torch.rand(stocks, rows) < 0.9).float()
    values = values * values[..., PRESENT_CHANNEL:]
    future = torch.randn(1, windows, SHAPE.horizons, SHAPE.future).expand(stocks, -1, -1, -1)
    return Block(values, torch.randint(0, 3, (stocks, 2)), future, section)


def precise(network, block):
    with torch.no_grad():
        return network.double().eval()(block._replace(values=block.values.double(), future=block.future.double()))


def taken(block, chosen):
    section = None if block.section is None else block.section[chosen]
    return Block(block.values[chosen], block.statics[chosen], block.future[chosen], section)


# --- what connects stocks -----------------------------------------------------------------------------------------


def test_the_channels_that_are_correlated_are_the_bars_return_and_presence(make_panel, make_windows):
    panel = make_panel(bars=120)
    windows = make_windows(panel, np.arange(50, 110))
    sequences = sequences_of(windows, Vocabulary.of(windows), half_life_bars=60, padding=0)
    assert sequences.channels[RETURN_CHANNEL] == BAR_CHANNELS[0] == "bar_return"
    assert sequences.channels[PRESENT_CHANNEL] == "bar_present"


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 7), st.integers(10, 30), st.integers(0, 2**31), st.floats(0.4, 1.0))
def test_correlations_are_numpys_over_the_common_bars(stocks, bars, seed, share):
    draw = np.random.default_rng(seed)
    returns, present = draw.normal(size=(stocks, bars)), draw.random((stocks, bars)) < share
    least = bars // 2
    made = correlations(torch.from_numpy(returns), torch.from_numpy(present.astype(float)), least).numpy()
    for i in range(stocks):
        for j in range(stocks):
            both = present[i] & present[j]
            enough = both.sum() >= max(least, 2)
            truth = np.corrcoef(returns[i, both], returns[j, both])[0, 1] if enough else 0.0
            assert made[i, j] == pytest.approx(truth, abs=1e-6)


def test_a_stock_that_did_not_move_is_correlated_with_nobody_and_has_a_slope():
    returns = torch.randn(3, 20)
    returns[1] = 0.0
    returns.requires_grad_(True)
    made = correlations(returns, torch.ones(3, 20), 10)
    assert (made[1] == 0).all()
    made.sum().backward()
    assert torch.isfinite(returns.grad).all()


def test_edges_are_correlations_above_the_threshold_and_grow_from_nothing():
    network, block = a_network(least_correlation=0.6), a_block(stocks=8)
    with torch.no_grad():
        network.graph.balance.fill_(1e4)  # the correlations alone
    graph = network.neighbours(block)
    above = graph.correlation > 0.6
    assert 5 < above.sum() < 50
    assert torch.equal(graph.weight > 0, above)
    assert (graph.weight.sum(dim=-1) < 1).all()
    excess = ((graph.correlation - 0.6) / 0.4).clamp(min=0)
    torch.testing.assert_close(graph.weight, excess / (1 + excess.sum(dim=-1, keepdim=True)))


def test_what_is_learnt_is_a_gaussian_kernel_of_statics_and_states_over_the_others():
    network, block = a_network(), a_block(stocks=4)
    with torch.no_grad():
        states = network._read(block)
        nodes = (network.graph.place(block.statics) + network.graph.state(states[0])).numpy()
        sharpness = float(torch.nn.functional.softplus(network.graph.sharpness))
    kernel = np.exp(-sharpness * ((nodes[:, None] - nodes[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(kernel, 0.0)
    learnt = network.neighbours(block).learnt[0].numpy()
    np.testing.assert_allclose(learnt, kernel / kernel.sum(axis=1, keepdims=True), atol=1e-6)


def test_nothing_connects_stocks_of_different_dates_or_a_stock_with_itself():
    section = torch.tensor([7, 7, 7, 9, 9, 9])
    graph = a_network().neighbours(a_block(section=section))
    other = (section[:, None] != section[None, :]) | torch.eye(6, dtype=torch.bool)
    for part in graph:
        assert (part[0][other] == 0).all()
    assert (graph.weight[0][~other] > 0).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_graph_layer_hears_chebyshev_polynomials_of_the_adjacency(order):
    layer = GraphLayer(3, order, 0.0).double()
    root = torch.randn(5, 5, dtype=torch.float64)
    weight = (root + root.T) / 20
    states = torch.randn(1, 5, 3, dtype=torch.float64)
    values, vectors = np.linalg.eigh(weight.numpy())
    normed = layer.norm(states)[0].detach().numpy()
    terms = [
        vectors @ np.diag(np.polynomial.chebyshev.Chebyshev.basis(k)(values)) @ vectors.T @ normed
        for k in range(order + 1)
    ]
    mixed = layer.mix(torch.from_numpy(np.concatenate(terms, axis=-1)))
    torch.testing.assert_close(layer(states, weight[None])[0], states[0] + torch.nn.functional.silu(mixed))


# --- the network --------------------------------------------------------------------------------------------------


def test_answers_have_the_contracts_shapes_and_quantiles_rise():
    outputs = a_network()(a_block(windows=3))
    assert outputs.quantiles.shape == (6, 3, 2, 5)
    assert outputs.logits.shape == (6, 3, 2, 3)
    assert (outputs.quantiles.diff(dim=-1) > 0).all()


@pytest.mark.parametrize("apart", [1, 3])
def test_the_windows_of_a_date_have_the_same_answers_in_runs_and_alone(apart):
    network, block = a_network(), a_block(windows=3, apart=apart)
    together = precise(network, block).quantiles
    for number in range(3):
        begin = number * apart
        alone = Block(block.values[:, begin : begin + 24], block.statics, block.future[:, number : number + 1])
        torch.testing.assert_close(precise(network, alone).quantiles[:, 0], together[:, number])


def test_permuting_stocks_permutes_answers():
    network, block = a_network(), a_block()
    order = torch.randperm(6)
    torch.testing.assert_close(
        precise(network, taken(block, order)).quantiles, precise(network, block).quantiles[order]
    )


def test_what_is_said_of_a_date_does_not_depend_on_the_dates_beside_it():
    network, block = a_network(), a_block(stocks=9, section=torch.tensor([4, 4, 4, 8, 8, 8, 8, 8, 2]))
    together = precise(network, block).quantiles
    for date in (2, 4, 8):
        chosen = block.section == date
        alone = precise(network, taken(block, chosen)._replace(section=None)).quantiles
        torch.testing.assert_close(alone, together[chosen], rtol=1e-12, atol=1e-12)


def test_a_stock_s_answer_depends_on_the_others_of_its_date_and_on_no_later_bar():
    network, block = a_network(), a_block(windows=2)
    answer = precise(network, block).quantiles
    other, later = block.values.clone(), block.values.clone()
    other[3, : SHAPE.length] += 1.0
    later[3, SHAPE.length :] += 1.0
    assert (precise(network, block._replace(values=other)).quantiles[:, 0] != answer[:, 0]).any(dim=-1).all()
    changed = precise(network, block._replace(values=later)).quantiles
    assert torch.equal(changed[:, 0], answer[:, 0])
    assert not torch.equal(changed[:, 1], answer[:, 1])


def test_every_parameter_learns():
    network = a_network(layers=2)
    outputs = network(a_block(stocks=8))
    (outputs.quantiles.square().sum() + outputs.logits.square().sum()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(
    "wrong",
    [{"graph_layers": 0}, {"order": 0}, {"embedding": 0}, {"correlation_bars": 2}, {"least_correlation": 1.0}],
)
def test_sizes_that_make_no_graph_are_refused(wrong):
    with pytest.raises(InputError):
        a_network(**wrong)


@pytest.mark.parametrize("wrong", [{"run_windows": 4}, {"run_stride_bars": 5}])
def test_runs_of_one_symbol_are_refused(wrong):
    with pytest.raises(InputError, match="reads whole dates"):
        MODELS.create("samba", **wrong)


# --- whole dates --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 25), st.booleans())
def test_batches_hold_whole_dates_and_every_sample_that_is_seen_once(seed, size, shuffled):
    draw = np.random.default_rng(seed)
    seen = draw.random((30, 6)) < 0.7
    rows, columns = np.nonzero(draw.random(seen.shape) < 0.5)
    runs = dates_of(rows, columns, seen)
    parts = len(runs.edges) - 1
    batches = runs.batches(size, draw.permutation(parts) if shuffled else None)
    held = np.concatenate([batch.sample[:, 0] for batch in batches]) if batches else np.array([], int)
    assert sorted(held[held >= 0]) == np.flatnonzero(seen[rows, columns]).tolist()
    for batch in batches:
        assert len(batch) <= size or len(set(batch.last)) == 1
        for date in set(batch.last):
            assert batch.column[batch.last == date].tolist() == np.flatnonzero(seen[date]).tolist()
        for column, last, (sample,) in zip(batch.column, batch.last, batch.sample, strict=True):
            assert sample < 0 or (rows[sample], columns[sample]) == (last, column)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 40))
def test_runs_of_one_symbol_are_cut_into_batches_of_so_many_windows(samples, width, size):
    rows = np.arange(samples)
    runs = runs_of(rows, rows % 3, np.zeros((samples, 1), dtype=np.int64), width)
    batches = runs.batches(size)
    assert np.concatenate([b.last for b in batches]).tolist() == runs.last.tolist() if batches else not len(runs)
    assert all(len(batch) == max(1, size // width) for batch in batches[:-1])


def test_no_date_at_all_makes_no_batch():
    empty = np.array([], dtype=np.int64)
    assert Runs(empty, empty, empty[:, None], by_date=True).batches(4) == []


def test_members_with_a_bar_and_a_readable_window_are_seen_and_no_lonely_one(make_panel):
    panel = make_panel(bars=120)
    member = panel.member.copy()
    member[60:70, 1] = False
    member[80, 1:] = False
    seen = seen_together(replace(panel, member=member), 20, 0.5)
    assert not seen[:9].any()
    assert not seen[60:70, 1].any()
    assert not seen[80].any()
    assert not seen[80 + np.arange(0, 1), 0].any()
    assert seen[40:60, :5].all()
    assert not seen[panel.mask.sum(axis=1) < 6][:, 5].any()


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel(bars=300)


@pytest.fixture(scope="module")
def model(panel, make_windows):
    known = panel.select(["S0", "S1", "S2", "S3", "S4"]).head(250)
    return MODELS.create("samba", **SMALL).fit(make_windows(known, np.arange(50, 250)))


ASKED = np.arange(250, 300)


@pytest.fixture(scope="module")
def forecast(model, panel, make_windows):
    return model.predict(make_windows(panel, ASKED))


def test_who_was_asked_about_changes_nothing(model, forecast, panel, make_windows):
    windows = make_windows(panel, ASKED)
    chosen = (windows.columns == 2) & (windows.rows % 3 == 0)
    some = model.predict(replace(windows, rows=windows.rows[chosen], columns=windows.columns[chosen]))
    rows = np.arange(252, 300, 3)
    np.testing.assert_allclose(some.quantiles[rows - 252, 2], forecast.quantiles[rows - 250, 2], rtol=1e-12, atol=1e-15)
    assert some.available.any(axis=-1).sum() == len(rows)


def test_batches_of_other_dates_change_nothing_but_the_last_bits(forecast, panel, make_windows, model):
    before, model.batch_windows = model.batch_windows, 1
    alone = model.predict(make_windows(panel, ASKED))
    model.batch_windows = before
    np.testing.assert_allclose(alone.quantiles, forecast.quantiles, rtol=1e-12, atol=1e-15)


def test_permuting_symbols_permutes_forecasts(model, forecast, panel, make_windows):
    order = [3, 5, 0, 4, 1, 2]
    permuted = model.predict(make_windows(panel.select([f"S{n}" for n in order]), ASKED))
    np.testing.assert_allclose(permuted.quantiles, forecast.quantiles[:, order], rtol=1e-10, atol=1e-14)


def test_a_symbol_never_seen_in_training_is_forecast(forecast):
    assert forecast.available[:, 5].all()


def test_a_stock_without_a_bar_is_not_in_the_graph_of_that_day(model, forecast, panel, make_windows):
    gone = 300 - 40 - 250
    without = model.predict(make_windows(panel.select([f"S{n}" for n in range(1, 6)]), ASKED))
    same = np.isclose(without.quantiles, forecast.quantiles[:, 1:], rtol=1e-12, atol=1e-15).all(axis=(1, 2, 3))
    assert not forecast.available[gone, 0].any()
    assert same[gone]
    assert not same[np.arange(50) != gone].any()


def test_who_does_not_belong_to_the_universe_is_not_heard(model, forecast, panel, make_windows):
    member = panel.member.copy()
    member[:, 0] = False
    left = model.predict(make_windows(replace(panel, member=member), ASKED))
    alone = model.predict(make_windows(panel.select([f"S{n}" for n in range(1, 6)]), ASKED))
    assert not left.available[:, 0].any()
    np.testing.assert_allclose(left.quantiles[:, 1:], alone.quantiles, rtol=1e-12, atol=1e-15)


def test_a_date_with_one_stock_has_no_forecast(model, panel, make_windows):
    forecast = model.predict(make_windows(panel.select(["S1"]), ASKED))
    assert not forecast.available.any()
    assert "neighbours" not in forecast.explanation


def test_the_explanation_names_whom_each_asked_stock_heard_most(forecast, model, panel, make_windows):
    told = json.loads(json.dumps(forecast.explanation))["neighbours"]
    assert sorted(told) == [f"S{n}" for n in range(6)]
    for name, heard in told.items():
        assert len(heard) == 3
        assert name not in heard
        weights = [part["weight"] for part in heard.values()]
        assert weights == sorted(weights, reverse=True)
    windows = make_windows(panel, np.array([299]))
    one = replace(windows, rows=windows.rows[2:3], columns=windows.columns[2:3])
    assert list(model.predict(one).explanation["neighbours"]) == ["S2"]


def test_twins_hear_each_other_most(make_panel, make_windows, model):
    panel = make_panel(bars=300)
    fields = {name: values.copy() for name, values in panel.fields.items()}
    draw = np.random.default_rng(0)
    for name in ("open", "high", "low", "close"):
        fields[name][:, 4] = 2 * fields[name][:, 1] * np.exp(draw.normal(0, 1e-4, 300))
    told = model.predict(make_windows(replace(panel, fields=fields), ASKED)).explanation["neighbours"]
    assert next(iter(told["S1"])) == "S4"
    assert next(iter(told["S4"])) == "S1"
    assert told["S1"]["S4"]["correlation"] > 0.95


def follow_the_others(bars=600, stocks=16, seed=5):
    """Tomorrow's return is today's mean over all stocks, of which one stock alone tells little."""
    draw = np.random.default_rng(seed)
    returns = np.zeros((bars, stocks))
    for t in range(1, bars):
        returns[t] = 0.01 * (1.2 * np.tanh(150 * returns[t - 1].mean()) + draw.normal(0, 2.0, stocks))
    return returns


def test_what_only_the_others_know_is_learnt_from_them(make_panel, make_windows):
    returns = follow_the_others()
    panel = make_panel(bars=600, symbols=16, closes_only=True)
    close = 50 * np.exp(np.cumsum(returns, axis=0))
    mask = np.ones_like(panel.mask)
    fields = {**panel.fields, **dict.fromkeys(("open", "high", "low", "close"), close)}
    panel = replace(panel, fields={**fields, "volume": np.full_like(close, 1e5)}, mask=mask, member=mask)
    plan = {
        **SMALL,
        "window_bars": 8,
        "epochs": 6,
        "epoch_windows": 2_000,
        "learning_rate": 1e-2,
        "dropout": 0.0,
        "layers": 1,
    }
    training, asked = make_windows(panel.head(450), np.arange(60, 450)), make_windows(panel, np.arange(450, 599))
    truth = asked.labels.returns[450:599, :, 0].ravel()
    skill = {}
    for name in ("samba", "mamba_stock"):
        median = MODELS.create(name, **plan).fit(training).predict(asked).quantiles[..., 0, 3].ravel()
        skill[name] = np.corrcoef(median, truth)[0, 1]
    assert skill["samba"] > 0.25
    assert skill["samba"] > skill["mamba_stock"] + 0.07
