"""Scalers: robust, causal, and storable as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from features_market import market

from tradewind.errors import DataError, InputError
from tradewind.features import compute
from tradewind.features.scaling import CrossSectionScaler, RollingScaler, TrainScaler, scaler_from_dict

TABLE = compute(market(400, 8), ["return_1", "rsi_14", "volatility_20", "day_of_week", "vix"])


def poisoned(table, start):
    values = table.values.copy()
    values[start:] *= 50.0
    return replace(table, values=values)


def stored(scaler):
    return scaler_from_dict(json.loads(json.dumps(scaler.to_dict())))


def test_a_train_scaler_reads_the_training_part_alone():
    a, b = TrainScaler.fit(TABLE, until=200), TrainScaler.fit(poisoned(TABLE, 200), until=200)
    assert a.to_dict() == b.to_dict()
    assert a.fitted_until == str(TABLE.times[199])


def test_a_train_scaler_gives_median_zero_and_robust_deviation_one():
    scaled = TrainScaler.fit(TABLE, clip=1e6).transform(TABLE)
    for name in ("return_1", "rsi_14", "volatility_20"):
        values = scaled.column(name)[np.isfinite(scaled.column(name))]
        assert abs(np.median(values)) < 1e-4
        assert 1.4826 * np.median(np.abs(values)) == pytest.approx(1.0, abs=1e-3)


def test_a_train_scaler_scales_a_subset_and_refuses_what_it_never_saw():
    scaler = TrainScaler.fit(TABLE)
    part = replace(TABLE, names=("rsi_14",), values=TABLE.values[:, :, 1:2])
    np.testing.assert_array_equal(scaler.transform(part).values[:, :, 0], scaler.transform(TABLE).column("rsi_14"))
    with pytest.raises(InputError, match="not fitted on the feature 'adx_14'"):
        scaler.transform(replace(part, names=("adx_14",)))
    with pytest.raises(DataError, match="no bar"):
        TrainScaler.fit(TABLE, until=0)


@pytest.mark.parametrize("make", [CrossSectionScaler, RollingScaler], ids=["cross_section", "rolling"])
def test_a_prefix_of_features_has_a_prefix_of_scaled_features(make):
    whole, prefix = make().transform(poisoned(TABLE, 300)), make().transform(TABLE.head(300))
    np.testing.assert_array_equal(whole.values[:300], prefix.values)


def test_a_rolling_scaler_goes_on_where_it_stopped_even_through_storage():
    whole = RollingScaler().transform(TABLE)
    first = RollingScaler()
    head = first.transform(TABLE.head(150))
    rest = stored(first).transform(replace(TABLE, times=TABLE.times[150:], values=TABLE.values[150:]))
    np.testing.assert_array_equal(np.concatenate([head.values, rest.values]), whole.values)


def test_a_rolling_scaler_standardises_each_symbol_by_itself():
    scaled = RollingScaler(half_life_bars=50.0).transform(TABLE).column("return_1")[100:]
    assert np.all(np.abs(np.nanmean(scaled, axis=0)) < 0.35)
    assert np.all(np.abs(np.nanstd(scaled, axis=0) - 1.0) < 0.35)


def test_one_bad_print_does_not_blind_the_rolling_scaler():
    values = TABLE.values.copy()
    values[200, :, 0] = 1e6
    hit = RollingScaler().transform(replace(TABLE, values=values)).column("return_1")[220:]
    clean = RollingScaler().transform(TABLE).column("return_1")[220:]
    assert np.nanmax(np.abs(hit - clean)) < 1.0


def test_a_rolling_scaler_refuses_other_symbols():
    scaler = RollingScaler()
    scaler.transform(TABLE)
    with pytest.raises(InputError, match="symbols and features"):
        scaler.transform(replace(TABLE, symbols=TABLE.symbols[:2], values=TABLE.values[:, :2]))


def test_the_cross_section_of_each_bar_has_median_zero():
    scaled = CrossSectionScaler(clip=1e6).transform(TABLE)
    assert np.nanmax(np.abs(np.nanmedian(scaled.column("rsi_14")[150:], axis=1))) < 1e-5
    assert (scaled.column("vix")[np.isfinite(TABLE.column("vix"))] == 0.0).all()


@pytest.mark.parametrize(
    "scaler", [TrainScaler.fit(TABLE), CrossSectionScaler(), RollingScaler()], ids=lambda s: s.kind
)
def test_missing_stays_missing_and_nothing_exceeds_the_clip(scaler):
    scaled = scaler.transform(poisoned(TABLE, 390)).values
    assert np.isnan(scaled[np.isnan(TABLE.values)]).all()
    assert np.nanmax(np.abs(scaled)) <= 6.0


def test_storage_keeps_a_scaler_and_an_unknown_kind_is_refused():
    scaler = TrainScaler.fit(TABLE)
    np.testing.assert_array_equal(stored(scaler).transform(TABLE).values, scaler.transform(TABLE).values)
    with pytest.raises(InputError, match="unknown scaler 'trian'"):
        scaler_from_dict({"kind": "trian"})
