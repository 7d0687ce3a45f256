"""What every registered model must keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from foundation_kit import CONTEXT, tiny

from tradewind.errors import DataError, InputError
from tradewind.labels.barriers import triple_barrier
from tradewind.models import artefact
from tradewind.models.base import MODELS
from tradewind.models.forecast import LEVELS
from tradewind.models.networks import sequences
from tradewind.models.sequence_model import SequenceModel

SPLIT = 600
SMALL = {
    "lightgbm_quantile": {"trees": 10},
    "lightgbm_rank": {"trees": 10},
    "random_forest": {"trees": 8},
    "xgboost": {"trees": 20},
    "voting": {"maximum_samples": 1_000},
    "stacked_classifier": {"blocks": 2},
}
#: Pretrained models run with random weights, of which nobody can promise how wide they forecast.
PRETRAINED = {"chronos": "chronos_bolt", "timesfm": "timesfm_3"}
NETWORK = {"window_bars": 20, "width": 8, "epochs": 3, "epoch_windows": 800, "batch_windows": 128}


def weights_of(name):
    if name not in PRETRAINED:
        return {}
    return {"weights": str(tiny(PRETRAINED[name])), "context_bars": CONTEXT, "least_bars": 32, "batch_series": 1_024}


def parameters_of(name):
    network = issubclass(MODELS.factory(name), SequenceModel)
    return {"seed": 7, **SMALL.get(name, {}), **weights_of(name), **(NETWORK if network else {})}


def taught(name, windows):
    """The windows with the labels that the model learns from."""
    if not getattr(MODELS.factory(name), "needs_classes", False):
        return windows
    labels = triple_barrier(windows.panel, windows.labels, up_sigma=1.0, down_sigma=1.0).labels
    return replace(windows, labels=replace(windows.labels, classes=labels.classes))


def small(name):
    return MODELS.create(name, **parameters_of(name))


@pytest.fixture(scope="module")
def panel(make_panel):
    return make_panel()


@pytest.fixture(scope="module")
def fitted(panel, make_windows):
    known = panel.head(SPLIT)
    training = make_windows(known, np.arange(80, SPLIT))
    return {name: small(name).fit(taught(name, training)) for name in MODELS.names()}


@pytest.fixture(scope="module")
def forecasts(panel, make_windows, fitted):
    windows = make_windows(panel, np.arange(SPLIT, len(panel)))
    return {name: model.predict(windows) for name, model in fitted.items()}


@pytest.mark.parametrize("name", MODELS.names())
def test_a_forecast_fits_its_axes_and_names_its_model(name, forecasts, panel):
    forecast = forecasts[name]
    assert forecast.model == name
    assert forecast.version
    assert forecast.levels == LEVELS
    assert np.array_equal(forecast.times, panel.times[SPLIT:])
    assert forecast.available[:, :-1].mean() > 0.95


@pytest.mark.parametrize("name", [n for n in MODELS.names() if n not in PRETRAINED])
def test_quantiles_never_cross_and_straddle_a_day_without_news(name, forecasts):
    quantiles = forecasts[name].quantiles[forecasts[name].available]
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles[:, 0] < 0).mean() > 0.99
    assert (quantiles[:, -1] > 0).mean() > 0.99


@pytest.mark.parametrize("name", MODELS.names())
def test_a_symbol_without_a_bar_gets_no_forecast(name, forecasts, panel):
    row = len(panel) - 40 - SPLIT
    assert not forecasts[name].available[row, 0].any()
    assert np.isnan(forecasts[name].score[row, 0]).all()


@pytest.mark.parametrize("name", MODELS.names())
def test_only_the_asked_samples_are_forecast(name, fitted, panel, make_windows):
    windows = make_windows(panel, np.array([SPLIT, SPLIT + 3]))
    forecast = fitted[name].predict(windows)
    assert len(forecast.times) == 4
    assert not forecast.available[1:3].any()
    assert forecast.available[[0, 3]].all()


@pytest.mark.parametrize("name", MODELS.names())
def test_a_forecast_does_not_know_the_bars_after_it(name, fitted, forecasts, panel, make_windows):
    last = SPLIT + 30
    early = fitted[name].predict(make_windows(panel.head(last), np.arange(SPLIT, last)))
    whole = forecasts[name]
    np.testing.assert_allclose(early.quantiles, whole.quantiles[:30], atol=1e-6, rtol=0)
    np.testing.assert_allclose(early.score, whole.score[:30], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", MODELS.names())
def test_the_same_seed_gives_the_same_forecast_and_version(name, forecasts, panel, make_windows):
    training = make_windows(panel.head(SPLIT), np.arange(80, SPLIT))
    again = small(name).fit(taught(name, training)).predict(make_windows(panel, np.arange(SPLIT, len(panel))))
    assert again.version == forecasts[name].version
    np.testing.assert_array_equal(again.quantiles, forecasts[name].quantiles)


@pytest.mark.parametrize("name", MODELS.names())
def test_what_is_stored_forecasts_the_same_bit_for_bit_and_needs_no_pickle(
    name, fitted, forecasts, panel, make_windows, tmp_path
):
    card = {"model": name, "version": forecasts[name].version, "parameters": parameters_of(name), "features": []}
    stored = artefact.write(tmp_path / "kept", fitted[name], card, {})
    assert not stored.pickled
    again = artefact.read(tmp_path / "kept").model().predict(make_windows(panel, np.arange(SPLIT, len(panel))))
    assert again.version == forecasts[name].version
    for said, values in forecasts[name].arrays.items():
        np.testing.assert_array_equal(getattr(again, said), values)


@pytest.mark.parametrize("name", MODELS.names())
def test_prices_in_another_currency_change_nothing(name, panel, make_windows, rescaled, monkeypatch):
    """Nothing but the price tier, which is in dollars and which networks are told (row A8)."""
    monkeypatch.setattr(sequences, "tier_index", lambda close: np.zeros(close.shape, dtype=np.int64))

    def made(prices):
        model = small(name).fit(taught(name, make_windows(prices.head(SPLIT), np.arange(80, SPLIT))))
        return model.predict(make_windows(prices, np.arange(SPLIT, len(prices)))).quantiles

    np.testing.assert_allclose(made(rescaled(panel, 4.0)), made(panel), rtol=0.02, atol=2e-4)


@pytest.mark.parametrize("name", [n for n in MODELS.names() if n not in PRETRAINED])
def test_about_the_promised_share_of_returns_falls_inside(name, forecasts, panel, make_windows):
    forecast = forecasts[name]
    truth = make_windows(panel, np.arange(SPLIT, len(panel))).labels.returns[SPLIT:, :, 0]
    inside = (truth >= forecast.quantiles[:, :, 0, 1]) & (truth <= forecast.quantiles[:, :, 0, 5])
    share = inside[np.isfinite(truth) & forecast.available[:, :, 0]].mean()
    assert 0.6 < share < 0.95


@pytest.mark.parametrize("name", [n for n in MODELS.names() if n != "naive_normal"])
def test_too_little_history_is_said_not_guessed(name, make_panel, make_windows):
    with pytest.raises(DataError):
        MODELS.create(name, **weights_of(name)).fit(taught(name, make_windows(make_panel(bars=25), np.arange(25))))


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="naive"):
        MODELS.create("naive_norml")
