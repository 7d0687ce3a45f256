from __future__ import annotations

import numpy as np

from tradewind.models.peers import peer_means


def two_industries(bars=600, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((bars, 2))
    moves = np.repeat(common, 3, axis=1) * 0.8 + 0.6 * rng.standard_normal((bars, 6))
    return moves, rng.standard_normal((1, bars, 6))


def test_a_symbols_peers_are_those_of_its_industry():
    moves, _ = two_industries()
    values = np.zeros((1, 600, 6))
    values[:, :, 0] = 1.0  # news of the first symbol
    seen = peer_means(moves, values)[0, -1]
    assert seen[0] == 0.0, "nobody is a peer of itself"
    assert min(seen[1:3]) > 0.1
    assert max(np.abs(seen[3:])) < 0.03


def test_a_prefix_gives_a_prefix_bit_for_bit():
    moves, values = two_industries()
    whole = peer_means(moves, values)
    for stop in (1, 119, 121, 333, 599):
        np.testing.assert_array_equal(peer_means(moves[:stop], values[:, :stop]), whole[:, :stop])


def test_todays_moves_do_not_choose_todays_peers():
    moves, values = two_industries()
    other = moves.copy()
    other[340:] *= -3.0
    np.testing.assert_array_equal(peer_means(other, values)[:, :360], peer_means(moves, values)[:, :360])


def test_nobody_has_peers_in_the_first_hundred_and_twenty_bars():
    means = peer_means(*two_industries())
    assert np.abs(means[:, :120]).max() == 0.0
    assert np.abs(means[:, 120:140]).max() > 0.0


def test_order_of_symbols_does_not_matter():
    moves, values = two_industries()
    order = np.array([3, 0, 5, 1, 4, 2])
    mixed = peer_means(moves[:, order], values[:, :, order])
    np.testing.assert_allclose(mixed, peer_means(moves, values)[:, :, order], atol=1e-12)


def test_without_peers_nothing_is_said():
    rng = np.random.default_rng(1)
    alone = np.zeros((400, 3))
    alone[:, 0] = rng.standard_normal(400)
    assert np.abs(peer_means(alone, rng.standard_normal((2, 400, 3)))).max() == 0.0
