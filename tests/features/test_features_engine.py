"""The engine: one code for history and the newest bar, blind to the future, indifferent to order and units."""

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from features_market import market, scaled
from hypothesis import given, settings
from hypothesis import strategies as st

from tradewind.errors import DataError, InputError
from tradewind.features import FeatureEngine, FeatureState, compute, missing_inputs, registry
from tradewind.features.graph import build_plan

ALL = registry.select(["all"])
LONG = 420
PANEL = market(LONG, 8)
WHOLE = compute(PANEL, ALL)


def test_single_bars_give_the_bits_of_history():
    engine = FeatureEngine(ALL)
    state, rows = engine.initial_state(8), []
    for t in range(LONG):
        state, row = engine.step(state, PANEL.rows(t, t + 1))
        rows.append(row.values)
    np.testing.assert_array_equal(np.concatenate(rows), WHOLE.values)


@settings(max_examples=5, deadline=None)
@given(
    cuts=st.sets(st.integers(1, LONG - 1), max_size=5),
    threads=st.integers(1, 3),
    elements=st.sampled_from([100, 600, 5000]),
)
def test_blocks_threads_and_buffers_change_nothing(cuts, threads, elements):
    engine = FeatureEngine(ALL, threads=threads, block_elements=elements)
    state, rows = engine.initial_state(8), []
    edges = [0, *sorted(cuts), LONG]
    for a, b in itertools.pairwise(edges):
        state, part = engine.step(state, PANEL.rows(a, b))
        rows.append(part.values)
    np.testing.assert_array_equal(np.concatenate(rows), WHOLE.values)


def test_many_threads_on_a_wide_panel_give_the_bits_of_one():
    wide = market(60, 700, seed=2)
    names = registry.select(["core"])
    one, many = (compute(wide, names, threads=n).values for n in (1, 3))
    np.testing.assert_array_equal(one, many)


def test_a_prefix_of_the_data_has_a_prefix_of_the_features():
    np.testing.assert_array_equal(compute(PANEL.head(300), ALL).values, WHOLE.values[:300])


def test_no_feature_sees_a_changed_future():
    fields = {name: values.copy() for name, values in PANEL.fields.items()}
    for name in ("open", "high", "low", "close", "volume"):
        fields[name][350:] *= np.random.default_rng(1).uniform(0.5, 2.0, size=(LONG - 350, 8))
    context = {name: np.concatenate([series[:350], series[350:] * 3.0]) for name, series in PANEL.context.items()}
    changed = compute(replace(PANEL, fields=fields, context=context), ALL)
    np.testing.assert_array_equal(changed.values[:350], WHOLE.values[:350])


def test_a_permutation_of_symbols_permutes_the_features():
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    shuffled = compute(PANEL.select([PANEL.symbols[i] for i in order]), ALL)
    np.testing.assert_allclose(shuffled.values, WHOLE.values[:, order], rtol=2e-5, atol=1e-6)


def test_one_symbol_alone_has_the_features_it_has_in_company():
    alone = compute(PANEL.select(["S2"]), ALL)
    own = [f for f, n in enumerate(ALL) if not registry.get(n).inputs & {"members", "sectors"}]
    np.testing.assert_array_equal(alone.values[:, 0, own], WHOLE.values[:, 2, own])


def test_scale_free_features_do_not_know_the_unit_of_price_or_volume():
    names = registry.select(["model"])
    there, here = compute(scaled(PANEL, 8.0, 4.0), names), compute(PANEL, names)
    for name in names:
        a, b = there.column(name), here.column(name)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)


def test_levels_do_know_the_unit():
    names = [s.name for s in registry.specs().values() if not s.scale_free and s.expression is not None]
    there, here = compute(scaled(PANEL, 8.0, 4.0), names), compute(PANEL, names)
    for name in names:
        assert not np.allclose(there.column(name)[-1], here.column(name)[-1], atol=0.0, equal_nan=True), name


def test_values_begin_exactly_when_the_look_back_is_satisfied():
    full = market(340, 4, gaps=False, events=False)
    full = replace(full, sectors=("Energy",) * 4)
    table = compute(full, ALL)
    event_bound = {"bars_since_abnormal"}
    for name in ALL:
        first = int(np.argmax(np.isfinite(table.column(name)[:, 0])))
        assert np.isfinite(table.column(name)[first, 0]), name
        if name not in event_bound:
            assert first == registry.get(name).look_back_bars - 1, name


def test_a_symbol_without_a_bar_has_no_features_there():
    assert np.isnan(WHOLE.values[~PANEL.mask]).all()


def test_a_missing_session_of_one_symbol_moves_its_windows_by_one_bar():
    gap = market(200, 3, gaps=False, events=False)
    mask = gap.mask.copy()
    mask[100, 1] = False
    fields = {k: np.where(mask, v, np.nan) if k not in ("split", "dividend") else v for k, v in gap.fields.items()}
    holed = compute(replace(gap, mask=mask, fields=fields), ["sma_20", "rsi_14", "atr_14"]).values
    keep = np.delete(np.arange(200), 100)
    kept = replace(
        gap,
        times=gap.times[keep],
        mask=gap.mask[keep],
        member=gap.member[keep],
        context={},
        fields={k: v[keep] for k, v in gap.fields.items()},
    )
    np.testing.assert_array_equal(holed[keep, 1], compute(kept, ["sma_20", "rsi_14", "atr_14"]).values[:, 1])
    assert np.isnan(holed[100, 1]).all()


def test_prices_are_adjusted_as_the_panel_adjusts_them():
    table = compute(PANEL, ["open", "high", "low", "close", "volume"])
    for name in table.names:
        expected = np.where(PANEL.mask, PANEL.adjusted(name), np.nan).astype(np.float32)
        np.testing.assert_array_equal(table.column(name), expected, err_msg=name)


def test_an_impossible_dividend_is_refused_by_symbol():
    fields = dict(PANEL.fields)
    fields["dividend"] = PANEL.dividend.copy()
    fields["dividend"][200, 5] = 1e6
    with pytest.raises(DataError, match="S5"):
        compute(replace(PANEL, fields=fields), ["close"])


def test_a_state_survives_storage():
    engine = FeatureEngine(ALL)
    state, _ = engine.step(engine.initial_state(8), PANEL.rows(0, 300))
    file = io.BytesIO()
    np.savez(file, **state.arrays())
    file.seek(0)
    restored = FeatureState.from_arrays(dict(np.load(file)))
    restored, rest = FeatureEngine(ALL).step(restored, PANEL.rows(300, LONG))
    np.testing.assert_array_equal(rest.values, WHOLE.values[300:])
    assert restored.bars == LONG


def test_a_copy_of_a_state_is_not_touched_by_the_next_step():
    engine = FeatureEngine(["rsi_14", "sma_20"])
    state, _ = engine.step(engine.initial_state(8), PANEL.rows(0, 100))
    kept = state.copy()
    engine.step(state, PANEL.rows(100, 110))
    _, again = engine.step(kept, PANEL.rows(100, 110))
    np.testing.assert_array_equal(again.values, compute(PANEL, ["rsi_14", "sma_20"]).values[100:110])


def test_a_state_of_other_features_or_symbols_is_refused():
    engine = FeatureEngine(["rsi_14"])
    with pytest.raises(InputError, match="the state is for"):
        engine.step(engine.initial_state(3), PANEL)
    with pytest.raises(InputError, match="the state is for"):
        engine.step(FeatureEngine(["sma_20"]).initial_state(8), PANEL)


def test_bad_requests_say_what_to_do():
    with pytest.raises(InputError, match="did you mean 'rsi_14'"):
        FeatureEngine(["rsi_15"])
    with pytest.raises(InputError, match="twice: rsi_14"):
        FeatureEngine(["rsi_14", "rsi_14"])
    with pytest.raises(InputError, match="no source yet"):
        FeatureEngine(["sentiment_score"])
    with pytest.raises(InputError, match="no features"):
        FeatureEngine([])


def test_features_whose_inputs_are_absent_are_missing_and_reported():
    bare = replace(market(120, 8, context=False), sectors=("unknown",) * 8)
    names = ["vix", "index_beta_60", "sector_performance", "rsi_14", "sentiment_score"]
    report = missing_inputs(bare, names)
    assert report["vix"] == ("vix",)
    assert report["index_beta_60"] == ("index",)
    assert report["sector_performance"] == ("sectors",)
    assert "rsi_14" not in report
    assert "news" in report["sentiment_score"][0]
    table = compute(bare, names[:4])
    assert np.isnan(table.values[:, :, :3]).all()
    assert np.isfinite(table.values[-1, :, 3]).any()


@pytest.mark.parametrize(("bars", "symbols"), [(0, 3), (1, 1), (3, 1), (3, 3)])
def test_tiny_panels_are_answered_with_missing_values(bars, symbols):
    table = compute(market(max(bars, 1), symbols, gaps=False, events=False).head(bars), ALL)
    assert table.values.shape == (bars, symbols, len(ALL))
    assert np.isnan(table.values[:, :, ALL.index("sma_20")]).all()


def test_constant_prices_give_zero_volatility_and_no_infinities():
    flat = market(340, 5, gaps=False, events=False)
    still = {k: np.full_like(v, 10.0) if k not in ("split", "dividend") else v for k, v in flat.fields.items()}
    table = compute(replace(flat, fields=still), ALL)
    assert not np.isinf(table.values).any()
    assert (table.column("volatility_20")[-1] == 0.0).all()
    assert np.isnan(table.column("rsi_14")).all()


def test_common_parts_are_computed_once():
    rsi, stoch = (registry.get(n).expression for n in ("rsi_14", "stochrsi_k_14"))
    alone = len(build_plan([rsi]).steps)
    both = len(build_plan([rsi, stoch]).steps)
    assert both == len(build_plan([stoch]).steps)
    assert both > alone


def test_expressions_of_ones_own_run_beside_nothing_registered():
    from tradewind.features.expression import CLOSE, lag

    engine = FeatureEngine.of({"two_bar_ratio": CLOSE / lag(CLOSE, 2)})
    out = np.empty((LONG, 8, 1), dtype=np.float32)
    _, table = engine.step(engine.initial_state(8), PANEL, out=out)
    assert table.values is out
    assert engine.look_back_bars == 3
    np.testing.assert_allclose(np.log(table.values[:, :, 0]), compute(PANEL, ["return_2"]).values[:, :, 0], atol=1e-6)
    with pytest.raises(InputError, match="out is float32"):
        engine.step(engine.initial_state(8), PANEL, out=out[:5])
