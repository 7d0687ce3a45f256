"""The next correlations of stocks: what is learnt of them, from which bars, and how well."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tradewind.errors import DataError, InputError
from tradewind.models.base import MODELS
from tradewind.models.networks import next_correlations
from tradewind.models.networks.network import Block, Shape
from tradewind.models.networks.next_correlations import NextCorrelations, scaled_moves
from tradewind.models.networks.pair_head import FARTHEST
from tradewind.models.networks.samba import Samba
from tradewind.models.networks.sequences import PRESENT_CHANNEL, RETURN_CHANNEL
from tradewind.models.state import pack, unpack
from tradewind.stats.correlation_matrix import ewma_correlation

SHAPE = Shape(length=24, inputs=9, statics=(6, 3), future=2, horizons=2, levels=5, classes=True)
SMALL = {
    "window_bars": 20,
    "width": 8,
    "layers": 1,
    "graph_layers": 2,
    "epochs": 2,
    "epoch_windows": 400,
    "batch_windows": 128,
    "seed": 3,
}


@pytest.fixture(autouse=True)
def one_seed():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def a_network(**changed):
    sizes = {"width": 8, "layers": 1, "dropout": 0.0, "graph_layers": 2, "order": 2, "embedding": 4}
    more = {"correlation_bars": 16, "least_correlation": 0.3, "next_correlations": True}
    return Samba(SHAPE, **(sizes | more | changed))


def a_block(stocks=6, windows=1, section=None):
    """Stocks with a market in common, some bars missing."""
    rows = SHAPE.length + windows - 1
    values = torch.randn(stocks, rows, SHAPE.inputs)
    values[..., RETURN_CHANNEL] += torch.randn(1, rows)
    values[..., PRESENT_CHANNEL] = (torch.rand(stocks, rows) < 0.9).float()
    values = values * values[..., PRESENT_CHANNEL:]
    future = torch.randn(1, windows, SHAPE.horizons, SHAPE.future).expand(stocks, -1, -1, -1)
    return Block(values, torch.randint(0, 3, (stocks, 2)), future, section)


def pairs_of(network, block):
    with torch.no_grad():
        precise = block._replace(values=block.values.double(), future=block.future.double())
        return network.double().eval().with_pairs(precise)[1]


def taken(block, chosen):
    section = None if block.section is None else block.section[chosen]
    return Block(block.values[chosen], block.statics[chosen], block.future[chosen], section)


# --- the network --------------------------------------------------------------------------------------------------


def test_pairs_are_symmetric_bounded_and_nothing_between_sections():
    section = torch.tensor([7, 7, 7, 9, 9, 9])
    told = pairs_of(a_network(), a_block(windows=2, section=section))
    other = (section[:, None] != section[None, :]) | torch.eye(6, dtype=torch.bool)
    assert told.shape == (2, 6, 6)
    assert torch.equal(told, told.transpose(-1, -2))
    assert (told[:, other] == 0).all()
    assert (told[:, ~other] != 0).all()
    network = a_network()
    with torch.no_grad():
        network.pairs.line[1] = 50.0
    assert float(pairs_of(network, a_block()).max().tanh()) == pytest.approx(FARTHEST)


def test_an_untrained_head_says_about_the_line_it_starts_at():
    network, block = a_network(), a_block()
    network.pairs.start_at(torch.tensor([0.4, 0.1]))
    told = pairs_of(network, block)
    line = 0.4 * torch.atanh(network.graph.now(block).double()) + 0.1
    assert (told - line)[0][~torch.eye(6, dtype=torch.bool)].abs().max() < 0.1


def test_permuting_stocks_permutes_pairs():
    network, block, order = a_network(), a_block(), torch.randperm(6)
    torch.testing.assert_close(pairs_of(network, taken(block, order)), pairs_of(network, block)[:, order][:, :, order])


def test_the_pairs_of_a_date_do_not_depend_on_the_dates_beside_it():
    network, block = a_network(), a_block(stocks=9, section=torch.tensor([4, 4, 4, 8, 8, 8, 8, 8, 2]))
    together = pairs_of(network, block)
    for date in (2, 4, 8):
        chosen = torch.nonzero(block.section == date)[:, 0]
        alone = pairs_of(network, taken(block, chosen)._replace(section=None))
        torch.testing.assert_close(alone, together[:, chosen][:, :, chosen], rtol=1e-12, atol=1e-12)


def test_answers_are_the_same_with_pairs_beside_them():
    network, block = a_network().eval(), a_block()
    assert all(map(torch.equal, network.with_pairs(block)[0][:2], network(block)[:2]))


def test_pairs_alone_shape_the_graph_and_teach_every_parameter_of_theirs():
    network = a_network()
    network.with_pairs(a_block(stocks=8))[1].square().sum().backward()
    untaught = {name.split(".")[0] for name, value in network.named_parameters() if value.grad is None}
    assert untaught == {"context", "answer"}
    assert all(value.grad.any() for value in [*network.graph.parameters(), *network.pairs.parameters()])


def test_without_pairs_the_network_is_the_one_that_it_was():
    made = {}
    for asked in (True, False):
        torch.manual_seed(5)
        made[asked] = a_network(next_correlations=asked)
    with_head, without = (network.state_dict() for network in made.values())
    assert {name for name in with_head if not name.startswith("pairs.")} == set(without)
    assert all(torch.equal(with_head[name], value) for name, value in without.items())
    with pytest.raises(InputError, match="forecasts no correlations"):
        made[False].with_pairs(a_block())


# --- what is learnt from ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel(bars=300)


def test_labels_are_numpys_correlations_of_the_next_bars_and_weigh_by_common_ones(panel, make_windows):
    windows = make_windows(panel, np.arange(90, 299))
    target = NextCorrelations.of(windows, 20, 0.2)
    moves = scaled_moves(windows).numpy()
    for row in (91, 100, 250, 259, 279):
        truth, weight = target.after(np.flatnonzero(windows.rows == row))
        ahead = moves[row + 1 : row + 21]
        for i in range(6):
            for j in range(6):
                both = np.isfinite(ahead[:, i] + ahead[:, j])
                count = both.sum()
                expected = 0.0 if i == j or count < 10 else (count - 3) / 17
                assert float(weight[i, j]) == pytest.approx(expected)
                if expected:
                    known = np.corrcoef(ahead[both, i], ahead[both, j])[0, 1]
                    assert float(truth[i, j]) == pytest.approx(np.arctanh(known), abs=1e-4)
    assert set(np.unique(target.after(np.flatnonzero(windows.rows == 250))[1])) == {0.0, np.float32(16 / 17), 1.0}


def test_labels_that_are_not_resolved_by_the_last_bar_or_of_other_dates_weigh_nothing(panel, make_windows):
    windows = make_windows(panel, np.arange(200, 300))
    target = NextCorrelations.of(windows, 20, 0.2)
    last = np.flatnonzero(windows.rows >= 279)
    resolved = (target.after(last)[1] > 0).any(dim=0).numpy()
    assert set(windows.rows[last][resolved]) == {279}
    two = np.flatnonzero(np.isin(windows.rows, [210, 211]))
    weight = target.after(two)[1].numpy()
    assert (weight[windows.rows[two][:, None] != windows.rows[two][None]] == 0).all()
    some = np.flatnonzero(windows.rows == 210)
    some[2] = -1
    weight = target.after(some)[1].numpy()
    assert not weight[2].any()
    assert weight[0, 1] > 0


def test_a_label_depends_on_the_bars_after_its_date_and_no_farther_ones(panel, make_windows):
    windows = make_windows(panel, np.arange(90, 280))
    sample = np.flatnonzero(windows.rows == 150)
    target = NextCorrelations.of(windows, 20, 0.2)

    def changed(row):
        moves = target.moves.clone()
        moves[row, 0] += 3.0
        return not torch.equal(replace(target, moves=moves).after(sample)[0], target.after(sample)[0])

    assert [row for row in range(140, 180) if changed(row)] == list(range(151, 171))


def test_who_did_not_move_has_no_label(panel, make_windows):
    windows = make_windows(panel, np.arange(200, 210))
    target = NextCorrelations.of(windows, 20, 0.2)
    moves = target.moves.clone()
    moves[:, 1] = 0.0
    weight = replace(target, moves=moves).after(np.flatnonzero(windows.rows == 205))[1]
    assert not weight[1].any()
    assert weight[0, 2] > 0


def test_what_is_learnt_from_reaches_neither_into_the_late_part_nor_beyond_the_fold(panel, make_windows, monkeypatch):
    seen = {}

    def start(self, network, examples):
        seen["start"] = self, examples

    monkeypatch.setattr(NextCorrelations, "start", start)
    windows = make_windows(panel.head(280), np.arange(50, 280))
    MODELS.create("samba", **SMALL | {"epochs": 1, "next_correlation_bars": 30}).fit(windows)
    target, examples = seen["start"]
    assert len(target.moves) == 280
    assert examples.rows[examples.early].max() + 30 < examples.rows[examples.late].min()
    weight = target.after(examples.late)[1].sum(dim=0).numpy()
    assert examples.rows[examples.late][weight > 0].max() == 249
    assert examples.rows[examples.late].max() > 249


# --- the model ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(panel, make_windows):
    return MODELS.create("samba", **SMALL | {"seeds": 2}).fit(make_windows(panel.head(250), np.arange(50, 250)))


def test_next_correlations_are_a_matrix_over_the_stocks_of_the_newest_date(model, panel, make_windows):
    found = model.correlations(make_windows(panel, np.arange(250, 280)))
    assert found.symbols == panel.symbols
    assert np.linalg.eigvalsh(found.forecast).min() > -1e-12
    assert (np.diag(found.forecast) == 1).all()
    assert np.array_equal(found.forecast, found.forecast.T)
    past = scaled_moves(make_windows(panel, np.array([279]))).numpy()[:280]
    np.testing.assert_allclose(found.naive, ewma_correlation(past.astype(float)), atol=2e-3)


def test_a_stock_without_a_bar_is_not_in_the_matrix(model, panel, make_windows):
    assert model.correlations(make_windows(panel, np.arange(250, 261))).symbols == panel.symbols[1:]


def test_later_bars_and_who_was_asked_about_change_nothing(model, panel, make_windows):
    windows = make_windows(panel, np.arange(250, 280))
    found = model.correlations(windows)
    ended = model.correlations(make_windows(panel.head(280), np.array([279])))
    one = model.correlations(replace(windows, rows=np.array([279]), columns=np.array([2])))
    for other in (ended, one):
        assert np.array_equal(other.forecast, found.forecast)
        assert np.array_equal(other.naive, found.naive)


def test_permuting_symbols_permutes_the_matrix(model, panel, make_windows):
    order = [3, 5, 0, 4, 1, 2]
    asked = np.array([299])
    permuted = model.correlations(make_windows(panel.select([f"S{n}" for n in order]), asked))
    found = model.correlations(make_windows(panel, asked))
    assert permuted.symbols == tuple(f"S{n}" for n in order)
    np.testing.assert_allclose(permuted.forecast, found.forecast[np.ix_(order, order)], atol=1e-10)
    np.testing.assert_allclose(permuted.naive, found.naive[np.ix_(order, order)], atol=1e-10)


def test_networks_of_several_seeds_are_averaged(model, panel, make_windows):
    windows = make_windows(panel, np.array([299]))
    found, fitted = model.correlations(windows).forecast, model.fitted_
    parts = []
    for network in fitted.networks:
        model.fitted_ = replace(fitted, networks=(network,))
        parts.append(np.arctanh(np.clip(model.correlations(windows).forecast, -FARTHEST, FARTHEST)))
    model.fitted_ = fitted
    off = ~np.eye(6, dtype=bool)
    assert not np.allclose(parts[0][off], parts[1][off])
    np.testing.assert_allclose(np.tanh(sum(parts) / 2)[off], found[off], atol=1e-10)


def test_the_explanation_tells_the_pairs_forecast_farthest_from_their_window_and_the_late_errors(
    model, panel, make_windows
):
    told = json.loads(json.dumps(model.explain(make_windows(panel, np.array([299]))), allow_nan=False))["correlations"]
    assert told["bars"] == 20
    changes = [abs(part["forecast"] - part["window"]) for part in told["changes"]]
    assert len(changes) == 5
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0
    assert all(part["pair"] == sorted(part["pair"]) for part in told["changes"])
    assert [sorted(scores) for scores in told["late_squared_error"]] == [["forecast", "naive", "shrunk_window"]] * 2
    assert all(error > 0 for scores in told["late_squared_error"] for error in scores.values())
    one = model.explain(replace(make_windows(panel, np.array([299])), rows=np.array([299]), columns=np.array([2])))
    assert len(one["correlations"]["changes"]) == 5
    assert all("S2" in part["pair"] for part in one["correlations"]["changes"])


def test_stored_and_read_again_it_tells_the_same(model, panel, make_windows):
    windows = make_windows(panel, np.array([299]))
    again = unpack("samba", SMALL | {"seeds": 2}, pack(model))
    assert np.array_equal(again.correlations(windows).forecast, model.correlations(windows).forecast)
    assert again.explain(windows) == model.explain(windows)


def test_one_seed_learns_one_model(panel, make_windows):
    windows = make_windows(panel.head(250), np.arange(50, 250))
    first, second = (MODELS.create("samba", **SMALL).fit(windows) for _ in range(2))
    assert first.version_ == second.version_
    asked = make_windows(panel, np.array([299]))
    assert np.array_equal(first.correlations(asked).forecast, second.correlations(asked).forecast)


def test_without_weight_nothing_is_forecast_or_told(panel, make_windows):
    windows = make_windows(panel.head(250), np.arange(50, 250))
    model = MODELS.create("samba", **SMALL | {"correlation_weight": 0.0, "epochs": 1}).fit(windows)
    assert not any(name.startswith("pairs.") for name in model.fitted_.networks[0].state_dict())
    assert "correlations" not in model.explain(windows)
    with pytest.raises(InputError, match="without correlations"):
        model.correlations(windows)


def test_no_graph_at_all_is_an_error(model, panel, make_windows):
    with pytest.raises(DataError, match="graph of two stocks"):
        model.correlations(make_windows(panel.select(["S1"]), np.array([299])))


def test_no_two_stocks_with_common_bars_are_an_error_that_says_what_to_do(panel, make_windows, monkeypatch):
    def taking_turns(windows):
        moves = scaled_moves(windows)
        moves[torch.arange(len(moves))[:, None] % 6 != torch.arange(6)] = torch.nan
        return moves

    monkeypatch.setattr(next_correlations, "scaled_moves", taking_turns)
    with pytest.raises(DataError, match="no two stocks have 10 bars in common in the 20 after") as refused:
        MODELS.create("samba", **SMALL).fit(make_windows(panel.head(250), np.arange(50, 250)))
    assert "correlation_weight = 0" in refused.value.hint


@pytest.mark.parametrize("wrong", [{"next_correlation_bars": 7}, {"correlation_weight": -0.1}])
def test_what_cannot_be_learnt_is_refused(wrong):
    with pytest.raises(InputError, match="cannot be learnt"):
        MODELS.create("samba", **wrong)


# --- planted ------------------------------------------------------------------------------------------------------


def two_groups(make_panel, make_windows, announced, bars=560, stocks=8, seed=4):
    """Two groups of stocks; for twenty bars each, each moves as one or everyone by itself, and a feature may say so."""
    draw = np.random.default_rng(seed)
    together = np.repeat(draw.random(bars // 20 + 2) < 0.5, 20)
    group = np.arange(stocks) % 2
    common = draw.normal(size=(bars, 2))[:, group]
    loading = np.where(together[:bars, None] if announced else np.full((bars, 1), True), 0.9, 0.0)
    returns = 0.01 * (loading * common + np.sqrt(1 - loading**2) * draw.normal(size=(bars, stocks)))
    panel = make_panel(bars=bars, symbols=stocks, closes_only=True)
    close, whole = 50 * np.exp(np.cumsum(returns, axis=0)), np.ones_like(panel.mask)
    prices = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": np.full_like(close, 1e5)}
    panel = replace(panel, fields=panel.fields | prices, mask=whole, member=whole)
    share = np.convolve(together.astype(float), np.ones(20) / 20)[20 : 20 + bars]  # of the next twenty bars
    said = np.broadcast_to(share[:, None, None], (bars, stocks, 1)).astype(np.float32)

    def windows_of(panel, rows):
        windows = make_windows(panel, rows)
        features = windows.features
        if announced:
            features = replace(features, names=("share",), values=said[: len(panel)])
        return replace(windows, features=features)

    return panel, windows_of


PLAN = SMALL | {"epochs": 8, "epoch_windows": 2_000, "dropout": 0.0, "learning_rate": 1e-2, "correlation_weight": 2.0}


def test_a_regime_that_a_feature_announces_is_learnt(make_panel, make_windows):
    panel, windows_of = two_groups(make_panel, make_windows, announced=True)
    model = MODELS.create("samba", **PLAN).fit(windows_of(panel.head(440), np.arange(60, 440)))
    (late,) = model.explain(windows_of(panel, np.array([500])))["correlations"]["late_squared_error"]
    excess = {name: error - 1 / 17 for name, error in late.items()}  # the variance of the truth itself
    assert excess["forecast"] < 0.4 * excess["shrunk_window"]
    assert excess["forecast"] < 0.2 * excess["naive"]
    errors = {"forecast": [], "naive": []}
    moves = scaled_moves(windows_of(panel, np.array([500]))).numpy()
    off = ~np.eye(8, dtype=bool)
    for row in range(440, 540, 10):
        found = model.correlations(windows_of(panel, np.array([row])))
        truth = np.corrcoef(moves[row + 1 : row + 21].T)
        for name, error in errors.items():
            error.append(np.square(getattr(found, name) - truth)[off].mean())
    assert np.mean(errors["forecast"]) < 0.65 * np.mean(errors["naive"])


def test_where_nothing_changes_the_forecast_is_the_shrunk_past(make_panel, make_windows):
    panel, windows_of = two_groups(make_panel, make_windows, announced=False)
    model = MODELS.create("samba", **PLAN).fit(windows_of(panel.head(440), np.arange(60, 440)))
    (late,) = model.explain(windows_of(panel, np.array([500])))["correlations"]["late_squared_error"]
    assert late["forecast"] == pytest.approx(late["shrunk_window"], rel=0.15)
    assert 0.6 * late["naive"] < late["forecast"] < 1.1 * late["naive"]
