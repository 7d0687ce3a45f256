"""What networks read: causal, per symbol, cut into runs that lose and repeat nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import DataError, InputError
from tradewind.models.base import MODELS
from tradewind.models.networks.sequences import Vocabulary, bar_channels, readable, runs_of, sequences_of

SMALL = {"window_bars": 20, "width": 8, "epochs": 2, "epoch_windows": 400, "batch_windows": 128, "seed": 3}


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel(bars=300)


def tensor(windows, padding=0):
    return sequences_of(windows, Vocabulary.of(windows), half_life_bars=60, padding=padding)


def test_no_row_of_the_tensor_depends_on_a_later_bar(panel, make_windows):
    rows = np.arange(50, 200)
    whole, early = tensor(make_windows(panel, rows)), tensor(make_windows(panel.head(200), rows))
    assert torch.equal(whole.values[:, :200], early.values)
    assert torch.equal(whole.future[:200], early.future)
    assert torch.equal(whole.statics[:, :200], early.statics)


def test_a_symbol_s_channels_are_its_own(panel, make_windows):
    windows = make_windows(panel, np.arange(50, 300))
    high = panel.high.copy()
    high[:, 2] *= 1.5
    other = make_windows(replace(panel, fields={**panel.fields, "high": high}), np.arange(50, 300))
    changed = (tensor(windows).values != tensor(other).values).any(dim=-1).any(dim=-1)
    assert changed.tolist() == [n == 2 for n in range(6)]


def test_the_bar_s_own_channels_are_prices_in_units_of_the_volatility_before_it(panel):
    channels = bar_channels(panel)
    close = np.log(panel.close[:, 1])
    returns = np.diff(close, prepend=np.nan)
    variance, seen = 0.0, 0.0
    for t in range(1, 120):
        variance, seen = 0.94 * variance + returns[t] ** 2, 0.94 * seen + 1
    at = 120
    volatility = np.sqrt(variance / seen)
    prices = np.array([panel.fields[name][at, 1] for name in ("close", "high", "low", "open")])
    wanted = np.clip((np.log(prices) - close[at - 1]) / volatility, -5, 5)
    np.testing.assert_allclose(channels[at, 1, :4], wanted, rtol=1e-5)


def test_missing_bars_are_empty_rows_that_say_so(panel, make_windows):
    sequences = tensor(make_windows(panel, np.arange(50, 300)), padding=7)
    there = sequences.values[:, 7:, -1].numpy().T
    np.testing.assert_array_equal(there, panel.mask)
    assert (sequences.values[:, 7:].numpy()[~panel.mask.T] == 0).mean() > 0.5
    assert (sequences.values[:, :7] == 0).all()
    assert torch.isfinite(sequences.values).all()


def test_unseen_tickers_and_untradable_prices_have_the_number_of_the_unknown(panel):
    cheap = replace(panel, fields={**panel.fields, "close": np.where(np.arange(6) == 0, 0.1, panel.close)})
    known = Vocabulary(("S1", "S2"), ("unknown",)).encode(cheap)
    assert known[:, 5, 0].tolist() == [0, 1, 2, 0, 0, 0]
    assert (known[0, :, 2] == 0).all()
    assert (known[1, :, 2] > 0).all()


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 9),
    offset=st.integers(0, 9),
    stride=st.integers(1, 5),
    asked=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), unique=True, min_size=1),
    tier=st.integers(0, 40),
)
def test_runs_hold_every_sample_once_in_evenly_spaced_windows_of_one_symbol(width, offset, stride, asked, tier):
    rows, columns = (np.array(part, dtype=np.int64) for part in zip(*asked, strict=True))
    statics = np.stack([columns, (rows > tier).astype(np.int64)], axis=-1)
    runs = runs_of(rows, columns, statics, width, offset, stride)
    held = runs.sample[runs.sample >= 0]
    assert sorted(held.tolist()) == list(range(len(rows)))
    for column, last, samples in zip(runs.column, runs.last, runs.sample, strict=True):
        for place, sample in enumerate(samples):
            if sample >= 0:
                assert (rows[sample], columns[sample]) == (last - (width - 1 - place) * stride, column)
        assert len({tuple(statics[s]) for s in samples if s >= 0}) == 1


@pytest.mark.parametrize(("width", "stride"), [(1, 1), (4, 1), (4, 3)])
def test_a_block_holds_the_bars_of_each_window_also_before_the_first_bar(panel, make_windows, width, stride):
    windows, length = make_windows(panel, np.array([3, 120, 121])), 20
    sequences = tensor(windows, padding=length - 1 + (width - 1) * stride)
    statics = np.zeros((len(windows.rows), 1), dtype=np.int64)
    runs = runs_of(windows.rows, windows.columns, statics, width, stride=stride)
    block = sequences.block(runs, length)
    for run, samples in enumerate(runs.sample):
        for place, sample in enumerate(samples):
            if sample >= 0:
                last = int(windows.rows[sample]) + sequences.padding
                wanted = sequences.values[windows.columns[sample], last - length + 1 : last + 1]
                assert torch.equal(block.values[run, place * stride : place * stride + length], wanted)
                assert torch.equal(block.future[run, place], sequences.future[windows.rows[sample]])


def test_a_window_with_too_few_bars_is_not_read(panel, make_windows):
    windows = make_windows(panel, np.arange(300))
    can = readable(windows, 20, 0.5)
    late = windows.columns == 5
    assert not can[late & (windows.rows < 109)].any()
    assert can[late & (windows.rows >= 109)].all()
    assert not can[~late & (windows.rows < 9)].any()


def test_a_window_longer_than_the_history_is_refused_with_both_lengths(panel, make_windows):
    with pytest.raises(DataError, match="400 bars long, the history 300"):
        MODELS.create("lstm", window_bars=400).fit(make_windows(panel, np.arange(50, 290)))
    with pytest.raises(InputError, match="no sequence"):
        MODELS.create("lstm", window_bars=1)


def test_other_features_than_it_was_trained_with_are_refused_by_name(panel, make_windows):
    model = MODELS.create("lstm", **SMALL).fit(make_windows(panel.head(250), np.arange(50, 250)))
    windows = make_windows(panel, np.arange(250, 300))
    renamed = replace(windows.features, names=("last_return", "other_size", "size_before"))
    with pytest.raises(DataError, match=r"other features: last_size, other_size differ"):
        model.predict(replace(windows, features=renamed))


def test_features_that_are_all_missing_leave_a_forecast_by_the_bar_alone(panel, make_windows):
    def without(windows):
        empty = np.full_like(windows.features.values, np.nan)
        return replace(windows, features=replace(windows.features, values=empty))

    model = MODELS.create("lstm", **SMALL).fit(without(make_windows(panel.head(250), np.arange(50, 250))))
    made = model.predict(without(make_windows(panel, np.arange(250, 300))))
    assert made.available[:, :5].mean() > 0.95
    shares = made.explanation["importance"]
    assert sum(share for name, share in shares.items() if name.startswith("bar_")) == pytest.approx(1.0, abs=1e-4)


def test_a_symbol_never_seen_in_training_is_forecast_as_an_unknown_one(panel, make_windows):
    whole = make_windows(panel.head(250), np.arange(50, 250))
    some = replace(whole, rows=whole.rows[whole.columns != 1], columns=whole.columns[whole.columns != 1])
    model = MODELS.create("lstm", **SMALL).fit(some)
    made = model.predict(make_windows(panel, np.arange(250, 300)))
    assert made.available[:, 1].all()


def test_a_network_without_features_is_refused(panel, make_windows):
    windows = make_windows(panel, np.arange(50, 290))
    bare = replace(windows.features, names=(), values=windows.features.values[:, :, :0])
    with pytest.raises(DataError, match="learns from features"):
        MODELS.create("lstm", **SMALL).fit(replace(windows, features=bare))
