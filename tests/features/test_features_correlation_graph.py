"""The correlation graph: networkx's measures, causal, for members alone, in the engine as in one go."""

from __future__ import annotations

import numpy as np
import pytest
from features_market import market
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import InputError
from tradewind.features import FeatureEngine, compute, registry
from tradewind.features.expression import RETURN, correlation_graph, delta, log, source
from tradewind.features.families.correlation_graph import FAMILY
from tradewind.features.graph import LEAST_PER_THREAD
from tradewind.stats.correlation_graph import MEASURES, correlation_matrix, graph_measures

networkx = pytest.importorskip("networkx")

NAMES = tuple(spec.name for spec in FAMILY.specs)


def moves(bars, nodes, *, seed=0, missing=0.05, common=0.7):
    draw = np.random.default_rng(seed)
    returns = common * draw.normal(size=(bars, 1)) + draw.normal(size=(bars, nodes))
    returns[draw.random(returns.shape) < missing] = np.nan
    return returns


def networkx_says(window, least, threshold):
    """The four measures of the columns that are in the graph of the last row, and which those are."""
    inside = np.flatnonzero(np.isfinite(window[-1]) & (np.isfinite(window).sum(axis=0) >= least))
    graph = networkx.Graph()
    graph.add_nodes_from(inside)
    for a in inside:
        for b in inside[inside > a]:
            both = np.isfinite(window[:, a]) & np.isfinite(window[:, b])
            if both.sum() >= least and np.corrcoef(window[both, a], window[both, b])[0, 1] > threshold:
                graph.add_edge(a, b)
    count = len(inside)
    central = networkx.eigenvector_centrality(graph, max_iter=100_000, tol=1e-13)
    told = (
        networkx.degree_centrality(graph),
        {node: value * count**0.5 for node, value in central.items()},
        networkx.clustering(graph),
        {node: value * count for node, value in networkx.pagerank(graph, tol=1e-13, max_iter=1000).items()},
    )
    return inside, np.array([[part[node] for part in told] for node in inside])


@settings(max_examples=25, deadline=None)
@given(
    nodes=st.integers(3, 12),
    seed=st.integers(0, 2**31),
    common=st.sampled_from([0.5, 0.8, 1.5]),
    missing=st.sampled_from([0.0, 0.1]),
)
def test_the_measures_are_networkxs(nodes, seed, common, missing):
    returns = moves(16, nodes, seed=seed, missing=missing, common=common)
    made = graph_measures(returns, np.ones(returns.shape, bool), bars=16, least=10, threshold=0.3)[-1]
    inside, truth = networkx_says(returns, 10, 0.3)
    outside = np.setdiff1d(np.arange(nodes), inside)
    assert np.isnan(made[outside]).all()
    if len(inside) < 3:
        assert np.isnan(made).all()
        return
    rest = [MEASURES.index(name) for name in ("degree", "clustering", "pagerank")]
    np.testing.assert_allclose(made[inside][:, rest], truth[:, rest], atol=1e-8)
    values = np.linalg.eigvalsh(networkx_adjacency(returns, inside))
    if values[-1] - values[-2] > 0.5:  # 200 steps of the power method are enough
        np.testing.assert_allclose(made[inside, 1], truth[:, 1], atol=1e-6)


def networkx_adjacency(returns, inside):
    return (np.nan_to_num(correlation_matrix(returns, 10)[np.ix_(inside, inside)]) > 0.3).astype(float)


def test_more_nodes_than_a_word_has_bits():
    returns = moves(30, 150, missing=0.02)
    made = graph_measures(returns, np.ones(returns.shape, bool))[-1]
    inside, truth = networkx_says(returns, 20, 0.3)
    np.testing.assert_allclose(made[inside], truth, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(10, 40), st.integers(0, 2**31), st.sampled_from([0.0, 0.2]))
def test_correlations_are_numpys_over_the_common_rows(nodes, bars, seed, missing):
    window = moves(bars, nodes, seed=seed, missing=missing)
    made = correlation_matrix(window, 5)
    for a in range(nodes):
        for b in range(nodes):
            both = np.isfinite(window[:, a]) & np.isfinite(window[:, b])
            if a == b or both.sum() < 5:
                assert np.isnan(made[a, b])
            else:
                truth = np.corrcoef(window[both, a], window[both, b])[0, 1]
                assert made[a, b] == pytest.approx(truth, abs=1e-10)
                assert made[a, b] == made[b, a]


def test_who_did_not_move_is_joined_with_nobody():
    returns = moves(30, 5, missing=0.0, common=5.0)
    returns[:, 2] = 0.0
    returns[:, 3] = 0.0123
    last = graph_measures(returns, np.ones(returns.shape, bool))[-1]
    assert last[[2, 3], 0].tolist() == [0.0, 0.0]
    assert last[[0, 1, 4], 0].tolist() == [0.5, 0.5, 0.5]
    assert last[[0, 1, 4], 2].tolist() == [1.0, 1.0, 1.0]
    assert (last[[2, 3], 3] < 1.0).all()


def test_a_graph_without_edges_has_equal_places():
    draw = np.random.default_rng(3).normal(size=(30, 3))
    independent = np.linalg.qr(np.column_stack([np.ones(30), draw]))[0][:, 1:]
    last = graph_measures(independent, np.ones((30, 3), bool))[-1]
    np.testing.assert_allclose(last, np.tile([0.0, 1.0, 0.0, 1.0], (3, 1)), atol=1e-9)


def test_a_row_knows_nothing_of_later_ones_and_nothing_before_the_window():
    returns = moves(80, 8)
    nodes = np.ones(returns.shape, bool)
    whole = graph_measures(returns, nodes)
    np.testing.assert_array_equal(graph_measures(returns[:60], nodes[:60]), whole[:60])
    np.testing.assert_array_equal(graph_measures(returns[30:], nodes[30:])[29:], whole[59:])


def test_the_order_of_nodes_means_nothing():
    returns, order = moves(60, 9), np.random.default_rng(1).permutation(9)
    nodes = np.ones(returns.shape, bool)
    there, here = graph_measures(returns[:, order], nodes), graph_measures(returns, nodes)[:, order]
    np.testing.assert_allclose(there, here, atol=1e-9)


@pytest.mark.parametrize(
    ("returns", "nodes", "more"),
    [
        (np.zeros((5, 3)), np.ones((5, 2), bool), {}),
        (np.zeros(5), np.ones(5, bool), {}),
        (np.zeros((5, 3)), np.ones((5, 3), bool), {"least": 2}),
        (np.zeros((5, 3)), np.ones((5, 3), bool), {"bars": 10, "least": 11}),
    ],
)
def test_what_makes_no_graph_is_refused(returns, nodes, more):
    with pytest.raises(InputError):
        graph_measures(returns, nodes, **more)


# --- as features --------------------------------------------------------------------------------------------------


def test_the_engine_says_what_the_whole_panel_says_at_once():
    panel = market(120, 12)
    returns = FeatureEngine.of({"r": RETURN})
    moved = returns.step(returns.initial_state(12), panel)[1].column("r")
    truth = graph_measures(moved.astype(float), panel.mask & panel.member)
    made = compute(panel, NAMES).values
    np.testing.assert_array_equal(np.isnan(made), np.isnan(truth))
    np.testing.assert_allclose(made, truth, atol=1e-5)
    assert np.isfinite(made).mean() > 0.3


@pytest.mark.parametrize("cuts", [[1], [7, 8, 40], list(range(1, 220))])
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_give_the_bits_of_history(cuts, threads):
    panel = market(220, 70)
    whole = compute(panel, NAMES, threads=1).values
    engine = FeatureEngine(NAMES, threads=threads, block_elements=70 * 200)
    assert 2 * LEAST_PER_THREAD <= 70 * 200
    state, rows = engine.initial_state(70), []
    for a, b in zip([0, *cuts], [*cuts, 220], strict=True):
        state, part = engine.step(state, panel.rows(a, b))
        rows.append(part.values)
    np.testing.assert_array_equal(np.concatenate(rows), whole)


def test_two_windows_side_by_side_do_not_write_into_each_other():
    price = log(source("close"))
    both = {
        f"{what}_{bars}": correlation_graph(delta(price, lag), what, bars=bars, least=15, threshold=0.3)
        for what in MEASURES
        for bars, lag in ((20, 1), (30, 2), (40, 3))
    }
    panel = market(220, 60, events=False)
    assert 2 * LEAST_PER_THREAD <= 220 * 60

    def made(expressions, threads):
        engine = FeatureEngine.of(expressions, threads=threads)
        return engine.step(engine.initial_state(60), panel)[1]

    together = made(both, 3)
    for name, expression in both.items():
        np.testing.assert_array_equal(together.column(name), made({name: expression}, 1).column(name), err_msg=name)


def test_who_is_no_member_is_not_in_the_graph():
    panel = market(60, 9)
    made = compute(panel, NAMES).values
    assert np.isnan(made[~panel.member]).all()
    assert np.isfinite(made[-1][panel.mask[-1] & panel.member[-1]]).any()


def test_they_are_only_computed_where_they_are_asked_for():
    assert tuple(f"graph_{what}_30" for what in MEASURES) == NAMES
    assert not set(NAMES) & set(registry.select(("model",)))
    assert not set(NAMES) & set(registry.select(("core",)))
    assert set(NAMES) <= set(registry.select(("all",)))
    assert registry.select(("correlation_graph",)) == NAMES
    assert all(registry.get(name).inputs >= {"close", "members"} for name in NAMES)
